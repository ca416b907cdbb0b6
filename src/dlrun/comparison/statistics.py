"""Whether one group is better than another, over seeds: paired tests, corrections, effect size, equivalence, a verdict.

n pairs of runs with the same seed (and fold) give differences d_1..d_n with mean m and standard deviation s. All tests rest on

    se = s * sqrt(1/n + r)

where r = (test samples) / (training samples) when the pairs are splits of the same samples, and the statement is about new ones
(Nadeau & Bengio 2003, Inference for the generalization error). Seeds that split the samples anew are that as much as the folds of
a repeated cross-validation. So n pairs count as many as n / (1 + n r) independent ones. r = 0 for seeds where the statement is
about these samples alone, over their random splits, and for samples that are drawn afresh for each seed.

A t-test needs a spread. Metrics that count samples take few values, and a few differences are easily equal: where all are, the p
is that of the sign test, 2^(1-n), and from fewer than 5 pairs nothing is called better, worse or equivalent. That a metric of few
values is equal in some pairs does not show that it is equal in all: without a margin, only runs that agree in every metric are
equivalent; and a test of equivalence adds a pair that differs by one step of the metric, towards the margin (the idea of Wilson's
interval: what was not seen in n pairs may be in the next).

The signed-rank test has no such correction for pairs that share samples. Over folds it is not done.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from dlrun.comparison.figures import short
from dlrun.comparison.pairing import Lost
from dlrun.comparison.power import ALPHA, LEAST, MANY, error_of, least, pairs_for_difference, pairs_for_equivalence
from dlrun.comparison.summary import t_quantile

Word = Literal["better", "worse", "equivalent", "not enough evidence"]

Key = TypeVar("Key", bound=Hashable)

ROUNDING = 1e-6  # of a metric's scale: differences below it are those of float32, not of the runs
BY_CHANCE = "not in other metrics; type margin=NUMBER, the largest difference that does not matter"
_EXACT_WILCOXON = 50  # the most pairs for which the exact distribution is counted out


@dataclass(frozen=True)
class Paired:
    """Differences a - b over pairs.

    Args:
        n: pairs with two finite values; ``dropped`` pairs had a value that is missing or not finite.
        mean, sd: of the differences; NaN below one and two pairs.
        low, high: the confidence interval of the mean; NaN without spread, unless all pairs are identical.
        t_p: two-sided paired t-test, without spread the sign test; None below two pairs.
        wilcoxon_p: two-sided signed-rank test; None below two pairs, and for pairs that share samples.
        effect: Cohen's d_z = mean / sd with Hedges' correction; None below three pairs or without spread.
        ratio: r of the module's formula.
        step: the least difference that the metric can show in a pair, such as 1 / (test samples); 0 where any is possible.
        unit: what a pair is of.
    """

    n: int
    dropped: int
    mean: float
    sd: float
    low: float
    high: float
    t_p: float | None
    wilcoxon_p: float | None
    effect: float | None
    ratio: float = 0.0
    step: float = 0.0
    unit: Literal["seed", "fold"] = "seed"

    def at(self, ratio: float, confidence: float = 1 - ALPHA) -> "Paired":
        """The same pairs with the error, interval and p of another r. The signed-rank test is for r = 0 alone."""
        ranked = self.wilcoxon_p if ratio == self.ratio else None
        found = replace(self, ratio=ratio, wilcoxon_p=ranked)
        if self.n < 2:
            return found
        if self.sd == 0:
            p, half = (1.0, 0.0) if self.mean == 0 else (_signs(self.n, ratio), math.nan)
        else:
            p = t_tail(self.mean / found.error, self.n - 1)
            half = t_quantile((1 + confidence) / 2, self.n - 1) * found.error
        return replace(found, low=self.mean - half, high=self.mean + half, t_p=p)

    @property
    def error(self) -> float:
        """The standard error of the mean."""
        return error_of(self.sd, self.n, self.ratio) if self.n else math.nan

    def equivalence_p(self, margin: float) -> float | None:
        """TOST: the larger p of the two one-sided tests that the mean is within -margin and +margin; None below two pairs.

        Where the metric has a ``step``, the tests are of n + 1 pairs: these, and one that differs by a step towards the margin.
        """
        if self.n < 2:
            return None
        n, mean, sd = self._with_a_step()
        if sd == 0:
            return _signs(n, self.ratio) / 2 if margin > mean else 1.0
        return _t_upper((margin - mean) / error_of(sd, n, self.ratio), n - 1)

    def equivalence_interval(self, level: float) -> tuple[float, float]:
        """The interval that is within -margin and +margin where ``equivalence_p`` is below ``level``; NaN below two pairs."""
        if self.n < 2:
            return math.nan, math.nan
        n, mean, sd = self._with_a_step()
        half = t_quantile(1 - level, n - 1) * error_of(sd, n, self.ratio)
        middle = math.copysign(mean, self.mean)
        return min(middle - half, self.mean), max(middle + half, self.mean)

    def _with_a_step(self) -> tuple[int, float, float]:
        """n, |mean| and sd, where the metric has a step of one more pair, which differs by it."""
        n, mean, sd = self.n, abs(self.mean), self.sd
        if not self.step:
            return n, mean, sd
        squares = (n - 1) * sd**2 + n / (n + 1) * (self.step - mean) ** 2
        return n + 1, (n * mean + self.step) / (n + 1), math.sqrt(squares / n)


@dataclass(frozen=True)
class Verdict:
    """What can be said, in a word and in a sentence.

    Args:
        more: how many more pairs would settle it, None if none would.
        lost: which runs have no value although their pair's other run has one; empty without any.
    """

    word: Word
    text: str
    more: int | None = None
    lost: str = ""


def paired(
    a: Mapping[Key, float],
    b: Mapping[Key, float],
    *,
    confidence: float = 1 - ALPHA,
    ratio: float = 0.0,
    step: float = 0.0,
    unit: Literal["seed", "fold"] = "seed",
) -> Paired:
    """Compare two groups over the keys (seeds) that both have. Differences below a millionth of the largest value are none.

    Args:
        a, b: seed -> value.
        ratio: r of the module's formula.
        step: the least difference that the metric can show, 0 where any is possible.
        unit: what a pair is of.
    """
    pairs = [(a[key], b[key]) for key in a if key in b]
    kept = [pair for pair in pairs if math.isfinite(pair[0] - pair[1])]
    scale = max((abs(value) for pair in kept for value in pair), default=0.0)
    differences = [first - second for first, second in kept]
    dropped = len(pairs) - len(kept)
    return summarize_differences(
        differences, dropped=dropped, confidence=confidence, ratio=ratio, scale=scale, step=step, unit=unit
    )


def summarize_differences(
    differences: Sequence[float],
    *,
    dropped: int = 0,
    confidence: float = 1 - ALPHA,
    ratio: float = 0.0,
    scale: float = 0.0,
    step: float = 0.0,
    unit: Literal["seed", "fold"] = "seed",
) -> Paired:
    """The tests of the finite ``differences`` of n pairs; those below a millionth of ``scale`` are zeros."""
    least = ROUNDING * max((scale, *map(abs, differences)))
    differences = [difference if abs(difference) > least else 0.0 for difference in differences]
    n = len(differences)
    mean = math.fsum(differences) / n if n else math.nan
    found = Paired(n, dropped, mean, math.nan, math.nan, math.nan, None, None, None, 0.0, step, unit)
    if n < 2:
        return replace(found, ratio=ratio)
    ranked = None if ratio else wilcoxon(differences)
    sd = math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1))
    if max(differences) - min(differences) <= least:
        sd = 0.0
    effect = hedges(n - 1) * mean / sd if n > 2 and sd else None
    return replace(found, sd=sd, effect=effect, wilcoxon_p=ranked).at(ratio, confidence)


def hedges(df: int) -> float:
    """Hedges' correction of a standardized mean, J = gamma(df/2) / (sqrt(df/2) gamma((df-1)/2)). Hedges 1981; df above 1."""
    return math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2)


def wilcoxon(differences: Sequence[float]) -> float:
    """Two-sided p of the signed-rank test; zeros are dropped, ties get their mean rank.

    Up to 50 pairs the distribution of the rank sum is counted out, ties included. Beyond, the normal approximation with the
    correction for ties.
    """
    values = np.asarray([d for d in differences if d != 0])
    n = len(values)
    if n == 0:
        return 1.0
    _, inverse, counts = np.unique(np.abs(values), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    doubled = (2 * ends - counts + 1)[inverse]  # twice the mean rank, so that it is whole
    positive = int(doubled[values > 0].sum())
    total = n * (n + 1)
    smaller = min(positive, total - positive)
    if n <= _EXACT_WILCOXON:
        ways = np.zeros(total + 1)
        ways[0] = 1.0
        for rank in doubled.tolist():
            ways[rank:] = ways[rank:] + ways[: total + 1 - rank]
        return min(1.0, 2 * float(ways[: smaller + 1].sum()) / 2.0**n)
    spread = math.sqrt(n * (n + 1) * (2 * n + 1) / 24 - float((counts.astype(float) ** 3 - counts).sum()) / 48)
    return math.erfc((total / 4 - smaller / 2) / spread / math.sqrt(2))


def holm(p_values: Sequence[float | None], tests: int | None = None) -> list[float | None]:
    """p-values corrected for their number, in the same order (Holm 1979); None stays None and is not counted.

    The i-th smallest becomes max over j <= i of min(1, (m - j + 1) p_j).

    Args:
        tests: m, where these were chosen from more tests by what came of them; their own number when None.
    """
    order = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    tests = len(order) if tests is None else max(tests, len(order))
    largest = 0.0
    for rank, (p, index) in enumerate(order):
        largest = max(largest, min(1.0, (tests - rank) * p))
        corrected[index] = largest
    return corrected


def verdict(
    result: Paired,
    *,
    higher_is_better: bool,
    p: float | None = None,
    margin: float | None = None,
    equivalence_p: float | None = None,
    alpha: float = ALPHA,
    same_runs: bool = True,
) -> Verdict:
    """Say in words whether a is better than b.

    Equivalence within ``margin`` goes before a difference, since a margin says which differences do not matter. Without a margin
    only identical runs are equivalent. The number of further seeds holds if the difference stays as measured. Below 5 pairs
    nothing is decided: too few to know their spread.

    Args:
        p: the t-test's p corrected for the number of comparisons; the uncorrected one when None.
        margin: the largest difference that does not matter, in the metric's unit.
        equivalence_p: TOST's p corrected for the number of comparisons; the uncorrected one when None.
        same_runs: whether the runs of a pair agree in all else that was measured, so that equal values are no chance.
    """
    kind = f"{result.unit}s"
    if result.n == 0:
        return Verdict("not enough evidence", f"not enough evidence: no {kind} in common")
    if result.n < LEAST:
        pairs = "1 pair" if result.n == 1 else f"{result.n} pairs"
        return Verdict("not enough evidence", f"not enough evidence: {pairs}; run at least {LEAST} {kind}", LEAST - result.n)
    p = result.t_p if p is None else p
    if margin is not None and equivalence_p is None:
        equivalence_p = result.equivalence_p(margin)
    equal = result.sd == 0 and result.mean == 0
    if equal and same_runs:
        return Verdict("equivalent", f"equivalent: identical in all {result.n} pairs")
    if margin is not None and equivalence_p is not None and equivalence_p < alpha:
        return Verdict("equivalent", f"equivalent within {margin:.3g}")
    if equal and margin is None:
        return Verdict("not enough evidence", f"not enough evidence: equal in all {result.n} pairs, {BY_CHANCE}")
    if p is not None and p < alpha:
        word: Word = "better" if (result.mean > 0) == higher_is_better else "worse"
        return Verdict(word, f"{word} by {short(result.mean)}")
    return _undecided(result, p, margin, equivalence_p, alpha)


def with_losses(given: Verdict, mine: Lost | None, reference: Lost | None, *, diverged_is_worse: bool = True) -> Verdict:
    """The verdict of two groups of which runs without a partner were ``lost``.

    The pairs that are left were chosen by what came of the runs, so a difference between them is none between the groups. One
    thing can still be said: where every lost run diverged, which is worse than any value, the group that lost them is worse if
    even its other runs are.
    """
    if mine is None and reference is None:
        return given
    words = [] if mine is None else [mine.said()]
    words += [] if reference is None else [reference.said("of the reference")]
    said = ", ".join(words)
    worse = mine is not None and reference is None and mine.diverged and given.word == "worse"
    better = reference is not None and mine is None and reference.diverged and given.word == "better"
    if diverged_is_worse and (worse or better):
        return Verdict(given.word, f"{given.text}; {said}", lost=said)
    return Verdict("not enough evidence", f"not enough evidence: {said}", lost=said)


def _undecided(result: Paired, p: float | None, margin: float | None, equivalence_p: float | None, alpha: float) -> Verdict:
    # The correction multiplied p by some number; planning has to stand up to the same.
    strict = alpha / _times(p, result.t_p)
    wanted = {"a difference": pairs_for_difference(result.mean, result.sd, alpha=strict, ratio=result.ratio)}
    if margin is not None:
        strict = alpha / _times(equivalence_p, result.equivalence_p(margin))
        if result.sd == 0:
            wanted["equivalence"] = _pairs_if_equal(result, margin, strict)
        else:
            wanted["equivalence"] = pairs_for_equivalence(result.mean, result.sd, margin, alpha=strict, ratio=result.ratio)
    enough = [(n, what) for what, n in wanted.items() if n is not None]
    if not enough:
        why = f"more {result.unit}s share the same samples" if result.ratio else "more seeds will not help"
        why += ", dataset.folds=10 shares fewer" if result.ratio and result.unit == "seed" else ""
        return Verdict("not enough evidence", f"not enough evidence: {why}")
    n, what = min(enough)
    more = max(1, n - result.n)
    kind = f"more {result.unit}{'s' * (more != 1)}"
    number = "1" if more == 1 else f"about {more:,}" if more <= MANY else f"more than {MANY:,}"
    return Verdict("not enough evidence", f"not enough evidence: {number} {kind} would show {what}", more)


def _pairs_if_equal(result: Paired, margin: float, alpha: float) -> int | None:
    """From how many pairs that differ by the same the test of equivalence is below ``alpha``; None when none is."""

    def reached(n: int) -> float:
        p = replace(result, n=n).equivalence_p(margin)
        return float(p is not None and p < alpha)

    return least(reached, 1.0)


def _times(corrected: float | None, bare: float | None) -> float:
    return max(1.0, corrected / bare) if corrected is not None and bare else 1.0


def _signs(n: int, ratio: float) -> float:
    """Two-sided p of the sign test when all of n pairs have one sign; pairs that share samples count as fewer."""
    return math.exp2(1 - max(1.0, n / (1 + n * ratio)))


def t_tail(t: float, df: int) -> float:
    """The two-sided p of Student's t."""
    return min(1.0, 2 * _t_upper(abs(t), df))


def _t_upper(t: float, df: int) -> float:
    """The share of Student's t above ``t``."""
    from scipy.special import stdtr

    return float(stdtr(df, -t))
