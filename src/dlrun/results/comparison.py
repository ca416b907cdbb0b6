"""The comparison table: groups of runs, best first, each with a verdict against one of them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from shlex import quote
from typing import Any, Literal

from dlrun.errors import InputError, nearest
from dlrun.results.record import RunRecord
from dlrun.results.statistics import ALPHA, Paired, Verdict, holm, paired, verdict
from dlrun.results.table import Group, Row, groups

BEST = "best"
_PLAIN = re.compile(r"[\w.+-]+")  # a value that needs no quotation marks


@dataclass(frozen=True)
class Compared:
    """A group and what can be said of it against the reference.

    Args:
        reference: whether it is the one that the others are compared with, as the best that was seen or because it was named.
        difference: group minus reference over the seeds of both; None for the reference itself.
        p: the paired t-test's p after Holm's correction for ``tests`` comparisons; ``wilcoxon_p`` likewise.
        verdict: None for the reference itself and for groups without a value.
    """

    group: Group
    reference: Literal["best", "named"] | None = None
    difference: Paired | None = None
    p: float | None = None
    wilcoxon_p: float | None = None
    verdict: Verdict | None = None
    tests: int = 0


def comparison(
    rows: Iterable[Row | RunRecord | Mapping[str, Any]],
    metric: str,
    *,
    higher_is_better: bool,
    reference: str | Sequence[str] = BEST,
    metrics: Sequence[str] = (),
    margin: float | None = None,
    alpha: float = ALPHA,
    ratio: float = 0.0,
) -> list[Compared]:
    """Group the long table and compare every group with the reference, seed by seed.

    The tests are corrected by Holm for the number of comparisons. The best group is the best that was seen, and part of its lead
    is luck: any other might have been it, so the comparisons that count are those of all pairs of groups of runs, and of each of
    them with each baseline. A baseline is compared like any other group, and is the reference only when it is named.

    Args:
        metric: the one that sorts and is tested; ``metrics`` are summarized beside it.
        reference: ``best`` of the runs, or the words that name one group; see ``named``.
        margin: the largest difference that does not matter, in the metric's unit.
        ratio: (test rows) / (training rows) for folds of a repeated cross-validation (Nadeau & Bengio), 0 for independent seeds.

    Raises:
        InputError: no such metric or reference.
    """
    if margin is not None and not margin > 0:
        raise InputError(f"margin={margin}: must be a number above 0 or None")
    table = groups(rows, metric, higher_is_better=higher_is_better, metrics=metrics)
    best = words_of(reference) == [BEST]
    measured = [group for group in table if metric in group.summaries and not group.is_baseline]
    found = next(iter(measured), None) if best else named(table, reference)
    if found is None:
        return [Compared(group) for group in table]
    if metric not in found.summaries:
        raise InputError(f"reference={' '.join(words_of(reference))}: has no finite value of {metric}")
    values = found.values(metric)
    differences = [
        None
        if group is found or metric not in group.summaries
        else paired(group.values(metric), values, confidence=1 - alpha, ratio=ratio)
        for group in table
    ]
    tested = [group for group, difference in zip(table, differences, strict=True) if difference and difference.t_p is not None]
    tests = _among_all(tested) if best else len(tested)
    p_values = holm([None if difference is None else difference.t_p for difference in differences], tests)
    wilcoxon_p_values = holm([None if difference is None else difference.wilcoxon_p for difference in differences], tests)
    equivalence_p_values = holm(
        [None if difference is None or margin is None else difference.equivalence_p(margin) for difference in differences], tests
    )
    return [
        Compared(
            group,
            None if group is not found else "best" if best else "named",
            difference,
            p,
            wilcoxon_p,
            None
            if difference is None
            else verdict(
                difference, higher_is_better=higher_is_better, p=p, margin=margin, equivalence_p=equivalence_p, alpha=alpha
            ),
            tests,
        )
        for group, difference, p, wilcoxon_p, equivalence_p in zip(
            table, differences, p_values, wilcoxon_p_values, equivalence_p_values, strict=True
        )
    ]


def _among_all(tested: Sequence[Group]) -> int:
    """In how many comparisons the best group could have been found: ``tested`` are those that were compared with it."""
    baselines = sum(group.is_baseline for group in tested)
    runs = len(tested) - baselines + 1
    return runs * (runs - 1) // 2 + runs * baselines


def words_of(reference: Any) -> list[str]:
    """``relu sgd`` or ``[relu, sgd]`` -> both words; none where it is neither a text nor a list of plain values."""
    if isinstance(reference, str):
        return reference.split()
    if isinstance(reference, Sequence):
        return (
            []
            if any(isinstance(part, Sequence | Mapping) and not isinstance(part, str) for part in reference)
            else [*map(str, reference)]
        )
    return [str(reference)] if isinstance(reference, int | float) else []


def named(table: Sequence[Group], reference: str | Sequence[str]) -> Group:
    """The group that every word of a reference speaks of: ``activation=relu``, or ``relu`` alone.

    Raises:
        InputError: there is none, or there are several.
    """
    words = words_of(reference)
    found = [group for group in table if all(_speaks_of(word, group.factors) for word in words)]
    if len(found) == 1:
        return found[0]
    said = f"names {len(found)} groups" if found else "names no group"
    known = [_typed(group.factors) for group in (found or table)]
    pairs = [(key, value) for group in table for key, value in group.factors.items() if value != ""]
    values = dict.fromkeys(name for key, value in pairs for name in (value, f"{key}={value}"))
    close = next((hint for word in words if word not in values and (hint := nearest(word, values))), "")
    more = f" and {len(known) - 8} more" if len(known) > 8 else ""
    raise InputError(f"reference={' '.join(words)}: {said}; type reference=best or one of {', '.join(known[:8])}{more}{close}")


def _speaks_of(word: str, factors: Mapping[str, str]) -> bool:
    key, equals, value = word.partition("=")
    said = [factors[key]] if equals and key in factors else []
    return any(_same(word, other) for other in factors.values()) or any(_same(value, other) for other in said)


def _same(word: str, value: str) -> bool:
    """Whether two texts are the same, or the same number: 1e-3 and 0.001."""
    with suppress(ValueError):
        return word == value or float(word) == float(value)
    return False


def _typed(factors: Mapping[str, str]) -> str:
    """The reference that names the group with these factors, as one types it in a shell."""
    words = [value if _PLAIN.fullmatch(value) else f'"{key}={value}"' for key, value in factors.items() if value != ""]
    return quote("reference=" + (words[0] if len(words) == 1 else f"[{','.join(words)}]"))
