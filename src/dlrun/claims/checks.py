"""What a claim asks of its runs, and the answer, from the paired statistics of ``dlrun compare``.

    more: A, than: B, of: Q           Q is larger in the runs of A than in those of B, seed by seed
    less: A, than: B, of: Q           ... smaller
    equal: A, to: B, of: Q, margin: X ... differs by less than X
    rising: Q, along: KEY, among: A   Q grows with the setting: the rank correlation over its values, seed by seed
    falling: Q, along: KEY, among: A  ... shrinks
    within: [LOW, HIGH], of: Q, among: A   the mean of Q lies there
    rank: A, of: Q, best: low, among: C, within: [1, 4]   the rank of A by Q, averaged over datasets, 1 is best; of groups with C
    same: A, as: B, of: Q, up_to: X   Q is the same in every pair of runs, but for X; ``of: weights`` compares all weights
    holds: NAME                       the figure of a function of ``identities`` or ``fitted`` lies between its bounds

A, B are words that name a group of runs, as for ``--reference``; Q is a quantity (see ``quantities``); ``data: DATASET`` says
which of several datasets is meant. ``margin: X`` is the largest difference that does not matter: within it two groups are
equivalent, which refutes that one of them is better.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import spearmanr

from dlrun.claims.finding import Check, Evidence, Finding, Word
from dlrun.comparison.factors import shown
from dlrun.comparison.figures import number
from dlrun.comparison.groups import named
from dlrun.comparison.judging import Judge, pairs_of
from dlrun.comparison.power import ALPHA, LEAST
from dlrun.comparison.statistics import summarize_differences, verdict
from dlrun.comparison.summary import summarize
from dlrun.comparison.table import Group, Row, extent
from dlrun.errors import InputError

WEIGHTS = "weights"
MONOTONE = 0.5  # the rank correlation from which on a relation is called monotone

_IF_BETTER: dict[str, Word] = {"better": "supported", "worse": "refuted", "equivalent": "refuted"}
_IF_EQUAL: dict[str, Word] = {"better": "refuted", "worse": "refuted", "equivalent": "supported"}


@dataclass(frozen=True, kw_only=True)
class _Measured(Check):
    """A question about a quantity."""

    of: str

    @property
    def quantity(self) -> str:
        """See ``Check``."""
        return self.of


@dataclass(frozen=True, kw_only=True)
class Difference(_Measured):
    """Whether a quantity is larger in one group than in another (or smaller, or equal), by a paired t-test over seeds."""

    group: str
    than: str
    relation: Literal["larger", "smaller", "equal"]
    margin: float | None = None

    @property
    def asked(self) -> str:
        """See ``Check``."""
        by = f" (margin {self.margin:g})" if self.margin is not None else ""
        than = "to that with" if self.relation == "equal" else "than with"
        return f"{self.of} with {self.group} is {self.relation} {than} {self.than}{by}"

    def finding(self, evidence: Evidence, alpha: float) -> Finding:
        """See ``Check``."""
        table = evidence.table(self.of, self.data)
        mine, its = named(table, self.group), named(table, self.than)
        judge = Judge(self.of, self.relation != "smaller", best=False, margin=self.margin, alpha=alpha)
        (found,) = judge.judged(pairs_of([mine], its, self.of, its.keys), 0.0)
        low, high = found.interval or (found.difference.low, found.difference.high)
        word = (_IF_EQUAL if self.relation == "equal" else _IF_BETTER).get(found.verdict.word, "inconclusive")
        means = [group.summaries[self.of].mean if self.of in group.summaries else math.nan for group in (mine, its)]
        text = f"means {number(means[0])} and {number(means[1])}"
        text += "" if found.verdict.word in ("better", "worse") else f"; {found.verdict.text}"
        return Finding(word, self.what, found.difference.mean, low, high, found.difference.n, text)


@dataclass(frozen=True, kw_only=True)
class Trend(_Measured):
    """Whether a quantity grows or shrinks along a setting: Spearman's rank correlation in each seed, against MONOTONE."""

    along: str
    rises: bool
    among: str = ""

    @property
    def asked(self) -> str:
        """See ``Check``."""
        of = f" with {self.among}" if self.among else ""
        return f"{self.of} {'rises' if self.rises else 'falls'} with {self.along}{of}"

    def finding(self, evidence: Evidence, alpha: float) -> Finding:
        """See ``Check``."""
        members = [group for group in evidence.table(self.of, self.data) if _is_among(group, self.among)]
        lost = sum(not math.isfinite(value) for group in members for value in group.values(self.of).values())
        correlations = _correlations(members, self.along, self.of)
        sign = 1.0 if self.rises else -1.0
        found = summarize_differences([sign * value - MONOTONE for value in correlations], scale=1.0).at(0.0, 1 - alpha)
        word = _IF_BETTER.get(verdict(found, higher_is_better=True, alpha=alpha).word, "inconclusive")
        figure = math.fsum(correlations) / len(correlations) if correlations else math.nan
        low, high = sorted((sign * (found.low + MONOTONE), sign * (found.high + MONOTONE)))
        told = f"mean rank correlation {number(figure)} over {len(members)} values"
        if lost:
            return Finding("inconclusive", self.what, figure, low, high, found.n, f"{told}; {lost} runs have no value")
        return Finding(word, self.what, figure, low, high, found.n, told)


@dataclass(frozen=True, kw_only=True)
class Within(_Measured):
    """Whether the mean of a quantity lies between two numbers: its 95% interval inside, outside, or across a bound."""

    low: float
    high: float
    among: str = ""

    @property
    def asked(self) -> str:
        """See ``Check``."""
        of = f" with {self.among}" if self.among else ""
        return f"the mean {self.of}{of} is between {self.low:g} and {self.high:g}"

    def finding(self, evidence: Evidence, alpha: float) -> Finding:
        """See ``Check``."""
        table = evidence.table(self.of, self.data)
        group = named(table, self.among) if self.among else table[0]
        within = extent(group.rows, self.of)
        return _between(self.what, group.finite(self.of), len(group.rows), within, (self.low, self.high), alpha)


@dataclass(frozen=True, kw_only=True)
class Rank(_Measured):
    """Whether the mean rank of a group over datasets lies between two numbers; each seed has a rank in each dataset."""

    group: str
    best: Literal["low", "high"]
    low: float
    high: float
    among: str = ""

    @property
    def asked(self) -> str:
        """See ``Check``."""
        of = f" of those with {self.among}" if self.among else ""
        return f"the mean rank of {self.group}{of} by {self.of}, {self.best} is best, is between {self.low:g} and {self.high:g}"

    def finding(self, evidence: Evidence, alpha: float) -> Finding:
        """See ``Check``."""
        ranks: dict[Any, list[float]] = {}
        for data in evidence.rows:
            members = [group for group in evidence.table(self.of, data) if _is_among(group, self.among)]
            mine = next((group for group in members if _is_among(group, self.group)), None)
            if mine is None:
                raise InputError(f"rank: {self.group}: is the value of no factor of {data}")
            for key in mine.keys:
                ranks.setdefault(key, []).append(self._rank(mine, members, key))
        means = [math.fsum(found) / len(found) for found in ranks.values() if len(found) == len(evidence.rows)]
        return _between(self.what, means, len(ranks), (-math.inf, math.inf), (self.low, self.high), alpha)

    def _rank(self, mine: Group, members: Sequence[Group], key: Any) -> float:
        """1 and the number of groups that are better, ties counting half; a run without a value is worse than all others."""
        worst = math.inf if self.best == "low" else -math.inf
        values = [group.values(self.of).get(key, math.nan) for group in (mine, *members)]
        own, *every = [value if math.isfinite(value) else worst for value in values]
        better = sum(value < own if self.best == "low" else value > own for value in every)
        return 1 + better + (sum(value == own for value in every) - 1) / 2


@dataclass(frozen=True, kw_only=True)
class Same(_Measured):
    """Whether two groups have the same value in every pair of runs."""

    group: str
    as_: str
    up_to: float

    @property
    def quantity(self) -> str:
        """See ``Check``."""
        return "" if self.of == WEIGHTS else self.of

    @property
    def asked(self) -> str:
        """See ``Check``."""
        return f"{self.of} with {self.group} and with {self.as_} differ by {self.up_to:g} at most"

    def finding(self, evidence: Evidence, alpha: float) -> Finding:
        """See ``Check``."""
        table = evidence.table(self.quantity or "epochs", self.data)
        rows = [{(row.seed, row.fold): row for row in named(table, words).rows} for words in (self.group, self.as_)]
        pairs = [(rows[0][key], rows[1][key]) for key in rows[0] if key in rows[1]]
        deviations = [self._deviation(*pair, evidence) for pair in pairs]
        if not deviations or not all(map(math.isfinite, deviations)):
            return Finding("inconclusive", self.what, math.nan, math.nan, math.nan, len(pairs), "some pairs have no value")
        largest = max(deviations)
        word: Word = "supported" if largest <= self.up_to else "refuted"
        return Finding(word, self.what, largest, math.nan, math.nan, len(pairs), f"largest difference {largest:.2g}")

    def _deviation(self, one: Row, other: Row, evidence: Evidence) -> float:
        if self.of == WEIGHTS:
            return float(np.abs(evidence.weights(one.id) - evidence.weights(other.id)).max())
        values = [row.metrics.get(self.of) for row in (one, other)]
        return math.nan if None in values else abs(values[0] - values[1])  # type: ignore[operator]


@dataclass(frozen=True, kw_only=True)
class Holds(Check):
    """Whether the figure of a function lies between its bounds."""

    name: str

    @property
    def needs_runs(self) -> bool:
        """Whether the function looks at trained runs."""
        from dlrun.claims.fitted import FITTED

        return self.name in FITTED

    @property
    def asked(self) -> str:
        """See ``Check``."""
        from dlrun.claims.functions import described

        return described(self.name)

    def finding(self, evidence: Evidence, alpha: float) -> Finding:
        """See ``Check``."""
        figure, low, high, runs = evidence.call(self.name)
        word: Word = "supported" if low <= figure <= high else "refuted"
        bounds = f"at least {low:.3g}" if high == math.inf else f"at most {high:.2g}" if low == 0 else f"{low:.6g} to {high:.6g}"
        return Finding(word, self.what, figure, math.nan, math.nan, runs, f"{figure:.3g}; must be {bounds}")


def _is_among(group: Group, words: str) -> bool:
    """Whether every word is the value of one of the group's factors, alone or behind its name."""
    known = {text for key, value in group.factors.items() for text in (shown(value), f"{key}={shown(value)}")}
    return known.issuperset(words.split())


def _correlations(members: Sequence[Group], along: str, quantity: str) -> list[float]:
    """Spearman's rank correlation of a quantity with a setting, for each seed and fold of which every group has a value."""
    missing = [group.label for group in members if not isinstance(group.factors.get(along), int | float)]
    if missing or len(members) < 3:
        raise InputError(f"along: {along}: needs a number in three groups or more; there are {len(members)} groups")
    xs = [float(group.factors[along]) for group in members]
    values = [group.values(quantity) for group in members]
    shared = frozenset[Any].intersection(*(group.keys for group in members))
    found = []
    for key in sorted(shared, key=str):
        ys = [known[key] for known in values]
        if all(map(math.isfinite, ys)):
            found.append(rank_correlation(xs, ys))
    return found


def rank_correlation(xs: Sequence[float], ys: Sequence[float]) -> float:
    """Spearman's rank correlation; 0 where one of both is constant, for which it is not defined."""
    constant = len(set(xs)) == 1 or len(set(ys)) == 1
    return 0.0 if constant else float(spearmanr(xs, ys).statistic)


def _between(
    what: str, values: Sequence[float], runs: int, extent: tuple[float, float], bounds: tuple[float, float], alpha: float
) -> Finding:
    """Whether the interval of a mean lies between bounds, outside of them, or across one; at the end towards them it is wider
    where ``alpha`` is below 5%.
    """
    side: Literal["low", "high"] = "low" if values and math.fsum(values) > bounds[1] * len(values) else "high"
    found = summarize(values, extent, chosen=round(ALPHA / alpha), side=side)
    if found is None or len(values) < max(LEAST, runs):
        return Finding("inconclusive", what, math.nan, math.nan, math.nan, len(values), "runs have no value, or are few")
    low, high = (found.mean, found.mean) if found.sd == 0 else (found.low, found.high)
    inside, outside = bounds[0] <= low and high <= bounds[1], high < bounds[0] or low > bounds[1]
    word: Word = "supported" if inside else "refuted" if outside else "inconclusive"
    return Finding(word, what, found.mean, low, high, found.n, f"mean {number(found.mean)}")
