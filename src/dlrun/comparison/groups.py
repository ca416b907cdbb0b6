"""The comparison table: groups of runs, best first, each with a verdict against one of them."""

import math
import numbers
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from shlex import quote
from typing import Any, Literal

from dlrun.comparison.factors import Factor, shown
from dlrun.comparison.families import Method
from dlrun.comparison.judging import Judge, Judgement, pairs_of
from dlrun.comparison.pairing import Key, Lost, common, defined
from dlrun.comparison.power import ALPHA
from dlrun.comparison.statistics import Paired, Verdict
from dlrun.comparison.summary import Stuck, stuck
from dlrun.comparison.table import Group, Row, extent, groups
from dlrun.errors import InputError, nearest
from dlrun.results.record import RunRecord

BEST = "best"
_NAMES = frozenset(
    f"dataset.{key}"
    for key in ("target", "columns", "drop", "categorical", "missing", "positive", "split_column", "group", "time", "weight")
)
_PLAIN = re.compile(r"[\w.+-]+")  # a value that needs no quotation marks


@dataclass(frozen=True)
class Compared:
    """A group and what can be said of it against the reference, on these rows and on new ones.

    Args:
        reference: whether it is the one that the others are compared with, as the best that was seen or because it was named.
        difference: group minus reference over the seeds of both, with the interval of this comparison alone; None for the
            reference itself.
        p, wilcoxon_p, interval, tests, method: see ``Judgement``.
        verdict: on these rows, over their random splits; None for the reference itself and for groups without a value.
        on_new_rows: the same on rows that are still to come; None where it is not known how many rows were tested and trained on.
        lost: runs of this group without a value at seeds and folds where the reference (for it: any other group) has one.
        stuck: runs of this group that are far worse than the rest of them.
        chosen: of how many groups this was chosen as the best; its interval allows for that.
    """

    group: Group
    reference: Literal["best", "named"] | None = None
    difference: Paired | None = None
    p: float | None = None
    wilcoxon_p: float | None = None
    verdict: Verdict | None = None
    tests: int = 0
    lost: Lost | None = None
    interval: tuple[float, float] | None = None
    method: Method = ""
    on_new_rows: Judgement | None = None
    stuck: Stuck | None = None
    chosen: int = 1


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
    new_rows: float | None = None,
) -> list[Compared]:
    """Group the long table and compare every group with the reference, seed by seed.

    Runs among themselves are one family of comparisons, runs against baselines another, each with an error of ``alpha`` (see
    ``families``). The best group is the best that was seen, and part of its lead is luck: any other might have been it, so the
    comparisons that count are those of all pairs of groups of runs, and of each of them with each baseline. A baseline is
    compared like any other group, and is the reference only when it is named.

    Where the best is the reference, its seeds and folds are those that it shares with most groups (``pairing.common``), so that
    groups are ranked and compared on the same ones.

    Args:
        metric: the one that sorts and is tested; ``metrics`` are summarized beside it.
        reference: ``best`` of the runs, or the words that name one group; see ``named``.
        margin: the largest difference that does not matter, in the metric's unit.
        ratio: r on these rows: (test rows) / (training rows) for folds of a repeated cross-validation, 0 for seeds.
        new_rows: r on new rows: (test rows) / (training rows) for seeds and folds that split the same rows, 0 where each seed has
            rows of its own; None where it is not known. See ``table.resplit``.

    Raises:
        InputError: no such metric or reference, a margin that is no number above 0, or a seed twice in a group.
    """
    check_margin(margin)
    if not words_of(reference):
        raise InputError(f"reference={reference!r}: must be best, or what names a group, such as relu or [relu,sgd]")
    table = groups(rows, metric, higher_is_better=higher_is_better, metrics=metrics, ratio=ratio)
    best = words_of(reference) == [BEST]
    measured = [group for group in table if metric in group.summaries and not group.is_baseline]
    found = next(iter(measured), None) if best else named(table, reference)
    if found is None:
        return [Compared(group) for group in table]
    if metric not in found.summaries:
        raise InputError(f"reference={' '.join(words_of(reference))}: has no finite value of {metric}")
    seeds = (common([group.keys for group in measured]) & found.keys if best else found.keys) or found.keys
    compared = [group for group in table if group is not found and metric in group.summaries]
    pairs = pairs_of(compared, found, metric, seeds)
    judge = Judge(metric, higher_is_better, best, margin, alpha)
    here = judge.judged(pairs, ratio)
    beyond = here if new_rows == ratio else [None] * len(pairs) if new_rows is None else judge.judged(pairs, new_rows)
    elsewhere = frozenset[Key]().union(*(defined(group.values(metric)) for group in measured))
    said = {id(pair.group): (pair, one, other) for pair, one, other in zip(pairs, here, beyond, strict=True)}
    tests = next((one.tests for pair, one in zip(pairs, here, strict=True) if not pair.group.is_baseline), 0)
    result = []
    for group in table:
        jam = None if group.is_baseline else stuck(group.finite(metric), higher_is_better=higher_is_better)
        if group is found:
            among = len(measured) if best else 1
            within = extent([row for each in measured for row in each.rows], metric)
            group = group.chosen(metric, among, within, higher_is_better=higher_is_better, ratio=ratio)
            gone = group.lost(elsewhere, metric)
            result.append(Compared(group, "best" if best else "named", tests=tests, lost=gone, stuck=jam, chosen=among))
        elif id(group) in said:
            pair, one, other = said[id(group)]
            result.append(
                Compared(
                    group,
                    None,
                    one.difference,
                    one.p,
                    one.wilcoxon_p,
                    one.verdict,
                    one.tests,
                    pair.lost,
                    one.interval,
                    one.method,
                    other,
                    jam,
                )
            )
        else:
            result.append(Compared(group, tests=tests))
    return result


def check_margin(margin: Any) -> None:
    """Whether a margin is a finite number above 0, or None.

    Raises:
        InputError: it is something else.
    """
    if margin is None:
        return
    number = isinstance(margin, numbers.Real) and not isinstance(margin, bool)
    if not number or not 0 < margin < math.inf:
        raise InputError(f"margin={margin}: must be a number above 0, and finite, in the metric's unit; or None")


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
    return [str(reference)] if isinstance(reference, numbers.Real) else []


def typed_words(text: str) -> list[str]:
    """The words of a reference as it is typed behind a flag: ``relu``, ``activation=relu``, ``[relu,sgd]``."""
    return [word.strip() for word in text.strip("[]").split(",")]


def named(table: Sequence[Group], reference: str | Sequence[str]) -> Group:
    """The group that every word of a reference speaks of: ``activation=relu``, or ``relu`` alone.

    Raises:
        InputError: there is none, or there are several.
    """
    words = words_of(reference)
    found = [group for group in table if all(_speaks_of(word, group.factors, exactly=True) for word in words)]
    found = found or [group for group in table if all(_speaks_of(word, group.factors, exactly=False) for word in words)]
    if len(found) == 1:
        return found[0]
    said = f"names {len(found)} groups" if found else "names no group"
    known = [_typed(group.factors, whole=bool(found)) for group in (found or table)]
    pairs = [(key, shown(value)) for group in table for key, value in group.factors.items() if value != ""]
    values = dict.fromkeys(name for key, value in pairs for name in (value, f"{key}={value}"))
    close = next((hint for word in words if word not in values and (hint := nearest(word, values))), "")
    more = f" and {len(known) - 8} more" if len(known) > 8 else ""
    raise InputError(f"reference={' '.join(words)}: {said}; type reference=best or one of {', '.join(known[:8])}{more}{close}")


def _speaks_of(word: str, factors: Mapping[str, Factor], *, exactly: bool) -> bool:
    """Whether a word is the value of a factor, alone or behind its name.

    Args:
        exactly: letter by letter; else 1e-3 means 0.001 too, but in the names of columns, where 1.1 and 1.10 are two.
    """
    key, equals, value = word.partition("=")
    said = [(key, value)] if equals and key in factors else []
    pairs = [*((name, word) for name in factors), *said]
    values = {name: shown(value) for name, value in factors.items()}
    return any(values[name] == text or (not exactly and name not in _NAMES and _same(text, values[name])) for name, text in pairs)


def _same(word: str, value: str) -> bool:
    """Whether two texts are the same number: 1e-3 and 0.001."""
    with suppress(ValueError):
        return float(word) == float(value)
    return False


def _typed(factors: Mapping[str, Factor], *, whole: bool) -> str:
    """The reference that names the group with these factors, as one types it in a shell; ``whole`` with the factors' names."""
    texts = {key: shown(value) for key, value in factors.items() if value != ""}
    words = [text if _PLAIN.fullmatch(text) and not whole else f'"{key}={text}"' for key, text in texts.items()]
    return quote("reference=" + (words[0] if len(words) == 1 else f"[{','.join(words)}]"))
