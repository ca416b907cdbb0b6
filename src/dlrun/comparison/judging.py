"""Verdicts of groups against a reference: pairs of runs, the families in which they are corrected, and what lost runs forbid."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dlrun.comparison.families import Corrected, Family, Method, Spread, spread
from dlrun.comparison.measures import resolution
from dlrun.comparison.pairing import Key, Lost, Values, defined
from dlrun.comparison.power import LEAST
from dlrun.comparison.statistics import Paired, Verdict, paired, verdict, with_losses
from dlrun.comparison.table import Group, Row
from dlrun.results.record import MEASURED

_ALIKE = 1e-4  # of a metric's scale: differences below it may be float32's, grown in a training


@dataclass(frozen=True)
class Judgement:
    """What can be said of a difference.

    Args:
        difference: with the interval of this comparison alone.
        p, wilcoxon_p, interval: corrected for the ``tests`` comparisons of the family by ``method``. The interval is that of the
            test behind the verdict: of equivalence it is inside the margin, of a difference it excludes 0, else it has 0 in it.
            None where the verdict rests on something else.
    """

    difference: Paired
    p: float | None
    wilcoxon_p: float | None
    interval: tuple[float, float] | None
    verdict: Verdict
    tests: int
    method: Method


@dataclass(frozen=True)
class Pair:
    """A group and the reference, on the seeds and folds at which they are compared.

    Args:
        values: of the group, at those seeds and folds.
        difference: group minus reference, with r = 0.
        same_runs: whether the runs agree in all that was measured, so that equal values are no chance.
    """

    group: Group
    reference: Group
    seeds: frozenset[Key]
    values: Values
    difference: Paired
    lost: Lost | None
    lost_by_reference: Lost | None
    same_runs: bool


def pairs_of(compared: Sequence[Group], reference: Group, metric: str, seeds: frozenset[Key]) -> list[Pair]:
    """The pairs of groups with the reference, at the ``seeds`` and folds."""
    its = reference.values(metric)
    has = defined(its)
    rows = {(row.seed, row.fold): row for row in reference.rows if row.status in MEASURED}
    unit = "fold" if len({fold for _, fold in seeds}) > 1 else "seed"
    found = []
    for group in compared:
        mine = group.values(metric)
        values = {key: value for key, value in mine.items() if key in seeds}
        both = [
            (row, rows[key])
            for row in group.rows
            if row.status in MEASURED and (key := (row.seed, row.fold)) in rows and key in seeds
        ]
        step = resolution(metric, [row.metrics.get(f"{metric.partition('/')[0]}/rows") for row, _ in both])
        difference = paired(values, its, step=step, unit="fold" if unit == "fold" else "seed")
        same = difference.mean != 0 or difference.sd != 0 or _same_runs(both, metric)
        mine_has = defined(mine)
        lost = group.lost(has & seeds, metric) if len(mine_has) < len(mine) else None
        lost_by_reference = reference.lost(mine_has & seeds, metric) if len(has) < len(its) else None
        found.append(Pair(group, reference, seeds, values, difference, lost, lost_by_reference, same))
    return found


@dataclass(frozen=True)
class Judge:
    """How groups are compared with a reference.

    Args:
        best: whether the reference is the best of the runs that was seen; else it was named.
        margin: the largest difference that does not matter.
    """

    metric: str
    higher_is_better: bool
    best: bool
    margin: float | None
    alpha: float

    def judged(self, pairs: Sequence[Pair], ratio: float) -> list[Judgement]:
        """The judgement of each pair, with r = ``ratio``: runs are one family, baselines another."""
        found: dict[int, Judgement] = {}
        for beside in (False, True):
            mine = [pair for pair in pairs if pair.group.is_baseline == beside]
            found |= dict(zip(map(id, mine), self._family(mine, ratio, self._runs(pairs), beside), strict=True))
        return [found[id(pair)] for pair in pairs]

    def _runs(self, pairs: Sequence[Pair]) -> int:
        """How many groups of runs have been compared, with the reference."""
        return sum(not pair.group.is_baseline and pair.difference.n > 1 for pair in pairs) + 1

    def _family(self, pairs: Sequence[Pair], ratio: float, runs: int, beside: bool) -> list[Judgement]:
        tested = sum(pair.difference.n > 1 for pair in pairs)
        tests = tested if not self.best else tested * runs if beside else runs * (runs - 1) // 2
        family = Family(tests, runs, self.best)
        differences = [pair.difference.at(ratio, 1 - self.alpha) for pair in pairs]
        common, alike = (None, [False] * len(pairs)) if beside else self._spread(pairs)
        corrected = family.corrected(differences, alike, common, margin=self.margin, alpha=self.alpha)
        return [self._judgement(*each, tests) for each in zip(pairs, differences, corrected, strict=True)]

    def _spread(self, pairs: Sequence[Pair]) -> tuple[Spread | None, list[bool]]:
        """The spread that groups have in common which have values at all seeds and folds, and which of them these are."""
        if not pairs or pairs[0].reference.is_baseline:
            return None, [False] * len(pairs)
        keys = sorted(pairs[0].seeds, key=str)
        its = pairs[0].reference.values(self.metric)
        whole = [pair.difference.n == len(keys) for pair in pairs]
        rows = [its, *(pair.values for pair, has in zip(pairs, whole, strict=True) if has)]
        if not any(whole):
            return None, whole
        return spread([[values[key] for key in keys] for values in rows]), whole

    def _judgement(self, pair: Pair, difference: Paired, found: Corrected, tests: int) -> Judgement:
        given = verdict(
            difference,
            higher_is_better=self.higher_is_better,
            p=found.p,
            margin=self.margin,
            equivalence_p=found.equivalence_p,
            alpha=self.alpha,
            same_runs=pair.same_runs,
        )
        judged = with_losses(given, pair.lost, pair.lost_by_reference, diverged_is_worse="/" in self.metric)
        missing = pair.seeds - pair.group.keys
        if self.best and missing and not pair.group.is_baseline and judged.word == "better":
            said = f"has {difference.n} of {len(pair.seeds)} {difference.unit}s of the best; run the same {difference.unit}s"
            judged = Verdict("not enough evidence", f"not enough evidence: {said}", lost=said)
        if judged.lost and judged.word == "not enough evidence":  # a p of what is left would say what the verdict does not
            return Judgement(difference, None, None, None, judged, tests, found.method)
        chance = difference.sd == 0 and difference.mean == 0 and judged.word != "equivalent"
        interval = found.within if judged.word == "equivalent" and found.within and difference.sd else (found.low, found.high)
        none = difference.n < LEAST or chance or not math.isfinite(interval[0])
        return Judgement(difference, found.p, found.wilcoxon_p, None if none else interval, judged, tests, found.method)


def _same_runs(both: Sequence[tuple[Row, Row]], metric: str) -> bool:
    """Whether all other metrics agree in all pairs, up to what rounding may do in a training."""
    names = {name for row, other in both for name in row.metrics.keys() & other.metrics.keys() if "/" in name and name != metric}
    for name in names:
        known = [
            (one, two)
            for row, other in both
            if (one := row.metrics.get(name)) is not None and (two := other.metrics.get(name)) is not None
        ]
        scale = max((abs(value) for values in known for value in values if math.isfinite(value)), default=0.0)
        if any(abs(one - two) > _ALIKE * scale for one, two in known):
            return False
    return True
