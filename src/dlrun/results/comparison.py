"""The comparison table: groups of runs, best first, each with a verdict against one of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlrun.errors import InputError, nearest
from dlrun.results.record import RunRecord
from dlrun.results.statistics import ALPHA, Paired, Verdict, holm, paired, verdict
from dlrun.results.table import Group, Row, groups


@dataclass(frozen=True)
class Compared:
    """A group and what can be said of it against the baseline.

    Args:
        difference: group minus baseline over the seeds of both; None for the baseline itself.
        p: the paired t-test's p after Holm's correction; ``wilcoxon_p`` likewise.
        verdict: None for the baseline itself and for groups without a value.
    """

    group: Group
    is_baseline: bool = False
    difference: Paired | None = None
    p: float | None = None
    wilcoxon_p: float | None = None
    verdict: Verdict | None = None


def comparison(
    rows: Iterable[Row | RunRecord | Mapping[str, Any]],
    metric: str,
    *,
    higher_is_better: bool,
    baseline: str = "best",
    metrics: Sequence[str] = (),
    margin: float | None = None,
    alpha: float = ALPHA,
    ratio: float = 0.0,
) -> list[Compared]:
    """Group the long table and compare every group with the baseline, seed by seed.

    The tests are corrected by Holm for the number of comparisons. The best group is the best that was seen: part of its lead is
    luck, which is why the others are called worse only where the seeds say so.

    Args:
        metric: the one that sorts and is tested; ``metrics`` are summarized beside it.
        baseline: ``best``, or what names one group, such as ``activation=relu`` (all its parts have to be in the group's label).
        margin: the largest difference that does not matter, in the metric's unit.
        ratio: (test rows) / (training rows) for folds of a repeated cross-validation (Nadeau & Bengio), 0 for independent seeds.

    Raises:
        InputError: no such metric or baseline.
    """
    table = groups(rows, metric, higher_is_better=higher_is_better, metrics=metrics)
    reference = _reference(table, metric, baseline)
    if reference is None:
        return [Compared(group) for group in table]
    values = reference.values(metric)
    differences = [
        None
        if group is reference or metric not in group.summaries
        else paired(group.values(metric), values, confidence=1 - alpha, ratio=ratio)
        for group in table
    ]
    p_values = holm([None if difference is None else difference.t_p for difference in differences])
    wilcoxon_p_values = holm([None if difference is None else difference.wilcoxon_p for difference in differences])
    equivalence_p_values = holm(
        [None if difference is None or margin is None else difference.equivalence_p(margin) for difference in differences]
    )
    return [
        Compared(
            group,
            group is reference,
            difference,
            p,
            wilcoxon_p,
            None
            if difference is None
            else verdict(
                difference, higher_is_better=higher_is_better, p=p, margin=margin, equivalence_p=equivalence_p, alpha=alpha
            ),
        )
        for group, difference, p, wilcoxon_p, equivalence_p in zip(
            table, differences, p_values, wilcoxon_p_values, equivalence_p_values, strict=True
        )
    ]


def _reference(table: Sequence[Group], metric: str, baseline: str) -> Group | None:
    measured = [group for group in table if metric in group.summaries]
    if baseline == "best":
        return measured[0] if measured else None
    wanted = set(baseline.split())
    found = [group for group in table if wanted <= {f"{key}={value}" for key, value in group.factors.items()}]
    if len(found) == 1 and found[0] in measured:
        return found[0]
    labels = [group.label for group in table]
    said = "has no finite value" if len(found) == 1 else f"names {len(found)} groups" if found else "names no group"
    raise InputError(f"baseline={baseline}: {said}; give best or one of {'; '.join(labels[:8])}{nearest(baseline, labels)}")
