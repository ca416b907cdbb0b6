"""The comparison table: groups of runs, best first, each with a verdict against one of them."""

import math
import numbers
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from shlex import quote
from typing import Any, Literal

from dlrun.comparison.factors import Factor, shown
from dlrun.comparison.measures import bounds
from dlrun.comparison.pairing import Key, Lost, common, defined
from dlrun.comparison.power import ALPHA
from dlrun.comparison.statistics import Paired, Verdict, holm, paired, verdict, with_losses
from dlrun.comparison.table import Group, Row, groups
from dlrun.errors import InputError, nearest
from dlrun.results.record import MEASURED, RunRecord

BEST = "best"
_ALIKE = 1e-4  # of a metric's scale: differences below it may be float32's, grown in a training
_NAMES = frozenset(f"dataset.{key}" for key in ("target", "columns", "drop", "categorical", "missing", "positive"))
_PLAIN = re.compile(r"[\w.+-]+")  # a value that needs no quotation marks


@dataclass(frozen=True)
class Compared:
    """A group and what can be said of it against the reference.

    Args:
        reference: whether it is the one that the others are compared with, as the best that was seen or because it was named.
        difference: group minus reference over the seeds of both; None for the reference itself.
        p: the paired t-test's p after Holm's correction for ``tests`` comparisons; ``wilcoxon_p`` likewise.
        verdict: None for the reference itself and for groups without a value.
        lost: runs of this group without a value at seeds and folds where the reference (for it: any other group) has one.
    """

    group: Group
    reference: Literal["best", "named"] | None = None
    difference: Paired | None = None
    p: float | None = None
    wilcoxon_p: float | None = None
    verdict: Verdict | None = None
    tests: int = 0
    lost: Lost | None = None


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

    Where the best is the reference, its seeds and folds are those that it shares with most groups (``pairing.common``), so that
    groups are ranked and compared on the same ones.

    Args:
        metric: the one that sorts and is tested; ``metrics`` are summarized beside it.
        reference: ``best`` of the runs, or the words that name one group; see ``named``.
        margin: the largest difference that does not matter, in the metric's unit.
        ratio: (test samples) / (training samples) for folds of a repeated cross-validation (Nadeau & Bengio), 0 for independent
            seeds.

    Raises:
        InputError: no such metric or reference, a margin that is no number above 0, or a seed twice in a group.
    """
    check_margin(margin)
    if not words_of(reference):
        raise InputError(f"reference={reference!r}: must be best, or what names a group, such as relu or [relu,sgd]")
    table = groups(rows, metric, higher_is_better=higher_is_better, metrics=metrics)
    best = words_of(reference) == [BEST]
    measured = [group for group in table if metric in group.summaries and not group.is_baseline]
    found = next(iter(measured), None) if best else named(table, reference)
    if found is None:
        return [Compared(group) for group in table]
    if metric not in found.summaries:
        raise InputError(f"reference={' '.join(words_of(reference))}: has no finite value of {metric}")
    seeds = common([group.keys for group in measured]) & found.keys if best else found.keys
    pairs = [
        None if group is found or metric not in group.summaries else _Pair.of(group, found, metric, seeds or found.keys)
        for group in table
    ]
    differences = [None if pair is None else pair.difference(metric, 1 - alpha, ratio) for pair in pairs]
    tested = [group for group, difference in zip(table, differences, strict=True) if difference and difference.t_p is not None]
    tests = _among_all(tested) if best else len(tested)

    def corrected(p_of: Callable[[Paired], float | None]) -> list[float | None]:
        return holm([None if difference is None else p_of(difference) for difference in differences], tests)

    elsewhere = frozenset[Key]().union(*(defined(group.values(metric)) for group in measured))
    compared = []
    for group, pair, difference, p, wilcoxon_p, equivalence_p in zip(
        table,
        pairs,
        differences,
        corrected(lambda difference: difference.t_p),
        corrected(lambda difference: difference.wilcoxon_p),
        corrected(lambda difference: None if margin is None else difference.equivalence_p(margin)),
        strict=True,
    ):
        if pair is None or difference is None:
            role: Literal["best", "named"] | None = None if group is not found else "best" if best else "named"
            gone = group.lost(elsewhere, metric) if role else None
            compared.append(Compared(group, role, tests=tests, lost=gone))
            continue
        judged = verdict(
            difference,
            higher_is_better=higher_is_better,
            p=p,
            margin=margin,
            equivalence_p=equivalence_p,
            alpha=alpha,
            same_runs=difference.mean != 0 or difference.sd != 0 or pair.same_runs(metric),
        )
        judged = pair.judged(judged, difference, metric, best)
        if judged.lost and judged.word == "not enough evidence":  # a p of what is left would say what the verdict does not
            p = wilcoxon_p = None
        compared.append(Compared(group, None, difference, p, wilcoxon_p, judged, tests, pair.lost))
    return compared


@dataclass(frozen=True)
class _Pair:
    """A group and the reference, on the seeds and folds at which they are compared."""

    group: Group
    reference: Group
    seeds: frozenset[Key]
    lost: Lost | None
    lost_by_reference: Lost | None

    @staticmethod
    def of(group: Group, reference: Group, metric: str, seeds: frozenset[Key]) -> "_Pair":
        mine, its = defined(group.values(metric)), defined(reference.values(metric))
        return _Pair(group, reference, seeds, group.lost(its & seeds, metric), reference.lost(mine & seeds, metric))

    def difference(self, metric: str, confidence: float, ratio: float) -> Paired:
        values = {key: value for key, value in self.group.values(metric).items() if key in self.seeds}
        return paired(values, self.reference.values(metric), confidence=confidence, ratio=ratio, step=self._step(metric))

    def judged(self, given: Verdict, difference: Paired, metric: str, best: bool) -> Verdict:
        """The verdict, where runs were lost or where the group has other seeds than those by which the best was found."""
        found = with_losses(given, self.lost, self.lost_by_reference, diverged_is_worse="/" in metric)
        missing = self.seeds - self.group.keys
        if best and missing and not self.group.is_baseline and found.word == "better":
            kind = "folds" if difference.ratio else "seeds"
            said = f"has {difference.n} of {len(self.seeds)} {kind} of the best; run the same {kind}"
            return Verdict("not enough evidence", f"not enough evidence: {said}", lost=said)
        return found

    def same_runs(self, metric: str) -> bool:
        """Whether all other metrics agree in all pairs, up to what rounding may do in a training."""
        both = [(row.metrics, other.metrics) for row, other in self._rows()]
        names = {name for mine, its in both for name in mine.keys() & its.keys() if "/" in name and name != metric}
        for name in names:
            known = [
                (one, two) for mine, its in both if (one := mine.get(name)) is not None and (two := its.get(name)) is not None
            ]
            scale = max((abs(value) for values in known for value in values if math.isfinite(value)), default=0.0)
            if any(abs(one - two) > _ALIKE * scale for one, two in known):
                return False
        return True

    def _rows(self) -> list[tuple[Row, Row]]:
        others = {(row.seed, row.fold): row for row in self.reference.rows if row.status in MEASURED}
        return [
            (row, others[row.seed, row.fold])
            for row in self.group.rows
            if row.status in MEASURED and (row.seed, row.fold) in others and (row.seed, row.fold) in self.seeds
        ]

    def _step(self, metric: str) -> float:
        """1 / (samples) of a metric that is a share of them, as far as the table says how many there are."""
        sizes = [row.metrics.get(f"{metric.partition('/')[0]}/rows") for row, _ in self._rows()]
        known = [size for size in sizes if size]
        return 1 / min(known) if known and all(map(math.isfinite, bounds(metric))) else 0.0


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
    return [str(reference)] if isinstance(reference, numbers.Real) else []


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
    known = [_typed(group.factors) for group in (found or table)]
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


def _typed(factors: Mapping[str, Factor]) -> str:
    """The reference that names the group with these factors, as one types it in a shell."""
    texts = {key: shown(value) for key, value in factors.items() if value != ""}
    words = [text if _PLAIN.fullmatch(text) else f'"{key}={text}"' for key, text in texts.items()]
    return quote("reference=" + (words[0] if len(words) == 1 else f"[{','.join(words)}]"))
