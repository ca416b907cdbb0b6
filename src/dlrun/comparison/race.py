"""Which configurations still need seeds: a race on one dataset, from look to look.

Everybody who races has the same seeds. At each look every configuration is compared with the best so far, or with a reference, by
``sequential.settle``; who is worse than the best stops for good, and so does everybody else once all are settled. Which pair is
compared depends on what was seen, so the error is divided among all pairs that may be asked for.

What a seed gives to a pair is one difference, the mean over the folds that both have. Lost runs are treated as ``pairing`` treats
them: what is left is no fair sample, so nothing follows but that a configuration is worse whose lost runs diverged and whose
others are worse too. A configuration that lost runs and does not look worse gets no more seeds, since none would settle it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from dlrun.comparison.factors import Factor
from dlrun.comparison.groups import BEST, named, words_of
from dlrun.comparison.measures import resolution
from dlrun.comparison.pairing import defined
from dlrun.comparison.sequential import LEAST, Settled, settle
from dlrun.comparison.statistics import Verdict, with_losses
from dlrun.comparison.table import Group, Row, groups


@dataclass(frozen=True)
class Rules:
    """What is asked.

    Args:
        metric: with its split, such as ``test/r2``.
        reference: ``best``, or what names the configuration that all are compared with.
        margin: the largest difference that does not matter, in the metric's unit; None without one.
        alpha: the probability that any verdict of the race is false.
    """

    metric: str
    higher_is_better: bool
    reference: str | Sequence[str] = BEST
    margin: float | None = None
    alpha: float = 0.05

    @property
    def best(self) -> bool:
        """Whether the configurations are compared with the best so far."""
        return words_of(self.reference) == [BEST]

    def pairs(self, configurations: int) -> int:
        """How many pairs of so many configurations may be asked for."""
        return configurations * (configurations - 1) // 2 if self.best else configurations - 1


@dataclass(frozen=True)
class Standing:
    """A configuration at a look.

    Args:
        against: what it is compared with; None for the reference itself.
        found: what is known of the difference to that; None for the reference.
        lost: which runs were lost, in words; empty without any.
        open: whether more seeds may settle it.
        identical: whether both compute the same: all metrics are equal in all pairs.
    """

    group: Group
    against: Group | None = None
    found: Settled | None = None
    lost: str = ""
    open: bool = False
    identical: bool = False

    @property
    def settled(self) -> bool:
        """Whether there is a verdict, or none is asked for."""
        return self.found is None or self.found.word != "not settled"

    @property
    def text(self) -> str:
        """The verdict in words."""
        if self.found is None:
            return ""
        word, size = self.found.word, f"{abs(self.found.mean):.3g}"
        if word == "not settled":
            return f"not settled: {self.lost}" if self.lost else word
        said = f"{word} by {size}" if word in ("better", "worse") else "equivalent: identical runs" if self.identical else word
        return f"{said}; {self.lost}" if self.lost else said

    def content(self, metric: str) -> dict[str, Any]:
        """All of it in JSON's types; None for what is not known."""
        found, summary = self.found, self.group.summaries.get(metric)
        numbers = {} if found is None else {"difference": found.mean, "low": found.low, "high": found.high}
        return {
            "configuration": self.group.label,
            "factors": dict(self.group.factors),
            "runs": len(self.group.rows),
            "mean": None if summary is None else summary.mean,
            "verdict": "reference" if found is None else found.word,
            "against": None if self.against is None else self.against.label,
            "seeds": None if found is None else found.n,
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
            "lost": self.lost,
        }


class Race:
    """The race on one dataset. ``pairs`` is the number of pairs that alpha is divided by, of all races together."""

    def __init__(self, rules: Rules, pairs: int) -> None:
        self.rules, self._alpha = rules, rules.alpha / max(1, pairs)
        self._out: dict[tuple[Factor, ...], Standing] = {}
        self.standings: tuple[Standing, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether every configuration has its verdict."""
        return all(standing.settled for standing in self.standings)

    @property
    def racing(self) -> list[Group]:
        """The configurations that need more seeds; none when the race is over."""
        if not any(standing.open for standing in self.standings):
            return []
        follows = self.rules.best  # the best may become another one, so those that are equivalent to it go on, too
        return [
            standing.group
            for standing in self.standings
            if standing.open or standing.found is None or (follows and standing.found.word == "equivalent")
        ]

    def look(self, rows: Sequence[Row], seeds: Sequence[int]) -> None:
        """Judge all configurations by the runs that have ended.

        Args:
            rows: every run that was asked for, however it ended.
            seeds: in the order in which they were asked for.

        Raises:
            InputError: the reference names no configuration, or several; no run has the metric.
        """
        metric = self.rules.metric
        table = groups(rows, metric, higher_is_better=self.rules.higher_is_better)
        running = [group for group in table if _key(group) not in self._out]
        reference = self._best(running) if self.rules.best else named(table, self.rules.reference)
        order = dict(zip(seeds, count(), strict=False))
        found = [self._judged(group, reference, order) for group in running]
        self._out |= {
            _key(standing.group): replace(standing, open=False)
            for standing in found
            if self.rules.best and standing.found is not None and standing.found.word == "worse"
        }
        self.standings = tuple([standing for standing in found if _key(standing.group) not in self._out] + [*self._out.values()])

    def _best(self, running: Sequence[Group]) -> Group:
        """The best mean, of those that lost no run at a seed at which another has a value, if there are such."""
        metric, sign = self.rules.metric, -1 if self.rules.higher_is_better else 1
        elsewhere = frozenset(key for group in running for key in defined(group.values(metric)))

        def rank(group: Group) -> tuple[bool, bool, float]:
            summary = group.summaries.get(metric)
            lost = group.lost(elsewhere, metric) is not None
            return summary is None, lost, math.inf if summary is None else sign * summary.mean

        return min(running, key=rank)

    def _judged(self, group: Group, reference: Group, order: Mapping[int, int]) -> Standing:
        if group is reference:
            return Standing(group)
        metric, better = self.rules.metric, self.rules.higher_is_better
        mine, its = group.values(metric), reference.values(metric)
        by_seed: dict[int, list[float]] = {}
        for key in mine.keys() & its.keys():
            if math.isfinite(mine[key]) and math.isfinite(its[key]):
                by_seed.setdefault(key[0], []).append(mine[key] - its[key])
        differences = [math.fsum(by_seed[seed]) / len(by_seed[seed]) for seed in sorted(by_seed, key=order.__getitem__)]
        scale = max((abs(value) for value in (*mine.values(), *its.values()) if math.isfinite(value)), default=0.0)
        found = settle(
            differences,
            higher_is_better=better,
            alpha=self._alpha,
            margin=self.rules.margin,
            step=_step(group, metric),
            scale=scale,
        )
        identical = len(differences) >= LEAST and not any(differences) and _identical(group, reference)
        if identical:
            found = Settled("equivalent", len(differences), 0.0, 0.0, 0.0)
        lost = group.lost(defined(its), metric), reference.lost(defined(mine), metric)
        if lost == (None, None):
            return Standing(group, reference, found, open=found.word == "not settled", identical=identical)
        given = Verdict("not enough evidence" if found.word == "not settled" else found.word, "")
        judged = with_losses(given, *lost, diverged_is_worse="/" in metric)
        if judged.word == "not enough evidence":
            found = replace(found, word="not settled")
        # the one verdict that can still come is that who lost runs is worse in the others, too
        loses = lost[0] is not None and lost[0].diverged, lost[1] is not None and lost[1].diverged
        behind = found.mean < 0 if better else found.mean > 0
        hopeful = loses != (True, True) and None in lost and ((loses[0] and behind) or (loses[1] and not behind))
        return Standing(group, reference, found, judged.lost, open=found.word == "not settled" and hopeful)


def _key(group: Group) -> tuple[Factor, ...]:
    return tuple(group.factors.values())


def _identical(group: Group, other: Group) -> bool:
    """Whether the runs of two configurations agree in everything that was measured on the data."""
    theirs = {(row.seed, row.fold): row.metrics for row in other.rows}
    pairs = [(row.metrics, theirs[row.seed, row.fold]) for row in group.rows if (row.seed, row.fold) in theirs]
    return all(mine.get(name) == its.get(name) for mine, its in pairs for name in {*mine, *its} if "/" in name)


def _step(group: Group, metric: str) -> float:
    """The least difference that the metric can show at a seed, as a mean over its folds."""
    rows = [row.metrics.get(f"{metric.partition('/')[0]}/rows") for row in group.rows]
    return resolution(metric, rows, len({row.fold for row in group.rows}))
