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
    """A group and what can be said of it against the reference.

    Args:
        difference: group minus reference over the seeds of both; None for the reference itself.
        p: the paired t-test's p after Holm's correction; ``wilcoxon_p`` likewise.
        verdict: None for the reference itself and for groups without a value.
    """

    group: Group
    is_reference: bool = False
    difference: Paired | None = None
    p: float | None = None
    wilcoxon_p: float | None = None
    verdict: Verdict | None = None


def comparison(
    rows: Iterable[Row | RunRecord | Mapping[str, Any]],
    metric: str,
    *,
    higher_is_better: bool,
    reference: str = "best",
    metrics: Sequence[str] = (),
    margin: float | None = None,
    alpha: float = ALPHA,
    ratio: float = 0.0,
) -> list[Compared]:
    """Group the long table and compare every group with the reference, seed by seed.

    The tests are corrected by Holm for the number of comparisons. The best group is the best that was seen: part of its lead is
    luck, which is why the others are called worse only where the seeds say so. A baseline is compared like any other group, and
    is the reference only when it is named.

    Args:
        metric: the one that sorts and is tested; ``metrics`` are summarized beside it.
        reference: ``best`` of the runs, or what names one group, such as ``activation=relu`` (all its parts have to be in the
            group's label).
        margin: the largest difference that does not matter, in the metric's unit.
        ratio: (test rows) / (training rows) for folds of a repeated cross-validation (Nadeau & Bengio), 0 for independent seeds.

    Raises:
        InputError: no such metric or reference.
    """
    table = groups(rows, metric, higher_is_better=higher_is_better, metrics=metrics)
    found = _reference(table, metric, reference)
    if found is None:
        return [Compared(group) for group in table]
    values = found.values(metric)
    differences = [
        None
        if group is found or metric not in group.summaries
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
            group is found,
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


def _reference(table: Sequence[Group], metric: str, wanted: str) -> Group | None:
    measured = [group for group in table if metric in group.summaries]
    if wanted == "best":
        return next((group for group in measured if not group.is_baseline), None)
    parts = set(wanted.split())
    found = [group for group in table if parts <= {f"{key}={value}" for key, value in group.factors.items()}]
    if len(found) == 1 and found[0] in measured:
        return found[0]
    labels = [group.label for group in table]
    said = "has no finite value" if len(found) == 1 else f"names {len(found)} groups" if found else "names no group"
    raise InputError(f"reference={wanted}: {said}; give best or one of {'; '.join(labels[:8])}{nearest(wanted, labels)}")
