"""Many comparisons at once: p-values and intervals of a family of them, of which one in twenty errs anywhere.

A family is what people ask as one question: groups of runs among themselves, or each of them against baselines.

Where k groups (3 or more) have values for the same n seeds and folds and spread alike, all of them tell how large that spread is,
and pairs that share a group are not corrected as if they had none in common:

    t = |difference| / (s sqrt(1/n + r)),   s^2 = max(pooled, (own + pooled) / 2)

with the pooled variance of a difference (twice the residual mean square of groups and seeds) on (k-1)(n-1) degrees of freedom.
Its p is that of the largest of all k(k-1)/2 such t, Tukey's studentized range, where the reference is the best that was seen, and
of the largest of k-1, Dunnett's, where one was named. A pair that varies more than the pool has a larger error.

Groups spread alike unless Bartlett's test of their residuals says otherwise at the 10% level. Then, and where runs are missing,
each pair has its own spread and Holm's correction.

References: Tukey 1953; Dunnett 1955; Holm 1979; Bartlett 1937. k groups, n pairs, r see ``statistics``.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dlrun.comparison.power import LEAST, error_of
from dlrun.comparison.statistics import ROUNDING, Paired, holm, t_tail
from dlrun.comparison.summary import t_quantile

Method = Literal["", "Tukey", "Dunnett", "Holm"]
Floats = NDArray[np.float64]

_UNLIKE = 0.1  # the level at which groups are taken to spread differently
_LARGEST = 8.5  # a normal deviate beyond which nothing is


@dataclass(frozen=True)
class Spread:
    """How much the difference of two groups varies over seeds, by all groups together, and the degrees of freedom of that."""

    variance: float
    df: int


@dataclass(frozen=True)
class Corrected:
    """What a comparison comes to within its family.

    Args:
        p, wilcoxon_p, equivalence_p: corrected; None where there is none. Wilcoxon's and the equivalence's are corrected by Holm.
        low, high: the simultaneous interval of the difference, which excludes 0 where p is below alpha; NaN where there is none.
        within: the interval of the test of equivalence, inside the margin where its p is below alpha; None without a margin.
        method: how p was corrected; empty where the family is one comparison.
    """

    p: float | None
    wilcoxon_p: float | None
    equivalence_p: float | None
    low: float
    high: float
    within: tuple[float, float] | None
    method: Method


@dataclass(frozen=True)
class Family:
    """Comparisons that are corrected together.

    Args:
        tests: how many comparisons there are, those among which the ones that are shown were chosen.
        groups: of how many groups each two are compared, or all but one with that one.
        best: whether the reference is the best that was seen of the groups; else it was named.
    """

    tests: int
    groups: int
    best: bool

    def corrected(
        self, differences: Sequence[Paired], alike: Sequence[bool], spread: Spread | None, *, margin: float | None, alpha: float
    ) -> list[Corrected]:
        """Correct the ``differences``, of which those that are ``alike`` share the ``spread``."""
        own = [d.t_p for d in differences]
        bare = [None if margin is None else d.equivalence_p(margin) for d in differences]
        columns = zip(
            differences,
            alike,
            holm(own, self.tests),
            _levels(own, self.tests, alpha),
            holm([d.wilcoxon_p for d in differences], self.tests),
            holm(bare, self.tests),
            _levels(bare, self.tests, alpha),
            strict=True,
        )
        found = []
        for d, shared, p, level, wilcoxon_p, equivalence_p, equivalence_level in columns:
            half = (
                t_quantile(1 - level / 2, d.n - 1) * d.error if d.n > 1 and d.sd > 0 else 0.0 if d.sd == d.mean == 0 else math.nan
            )
            method: Method = "Holm" if self.tests > 1 else ""
            if spread is not None and shared:
                method = "Tukey" if self.best else "Dunnett"
                error = error_of(math.sqrt(max(spread.variance, (d.sd**2 + spread.variance) / 2)), d.n, d.ratio)
                p = self._p(abs(d.mean) / error, spread.df)
                half = _critical(self.groups, spread.df, self.best, alpha) * error
            within = d.equivalence_interval(equivalence_level) if margin is not None else None
            found.append(Corrected(p, wilcoxon_p, equivalence_p, d.mean - half, d.mean + half, within, method))
        return found

    def _p(self, t: float, df: int) -> float:
        """The corrected p of t: no less than the bare one and no more than Bonferroni's, whatever rounding does to its tail."""
        bare = t_tail(t, df)
        return min(max(tail(t, self.groups, df, best=self.best), bare), self.tests * bare, 1.0)


def spread(values: Sequence[Sequence[float]]) -> Spread | None:
    """The spread that groups have in common; None for fewer than 3, for too few seeds, or for groups that spread differently.

    Groups that differ by a constant say the same about the spread, and count once.

    Args:
        values: [k, n], all finite.
    """
    if len(values) < 3 or len(values[0]) < LEAST:
        return None
    x_KN = np.asarray(values, dtype=np.float64)
    scale = ROUNDING * (float(np.abs(x_KN).max()) or 1.0)
    x_KN -= x_KN.mean(1, keepdims=True)
    _, first = np.unique(np.round(x_KN / scale), axis=0, return_index=True)
    x_KN = x_KN[first]
    k, n = x_KN.shape
    if k < 3:
        return None
    variances_K = ((x_KN - x_KN.mean(0)) ** 2).sum(1) / (n - 1) * k / (k - 1)
    if not variances_K.min() > 0 or _bartlett(variances_K, n - 1) < _UNLIKE:
        return None
    return Spread(2 * float(variances_K.mean()), (k - 1) * (n - 1))


@lru_cache(maxsize=4096)
def tail(t: float, groups: int, df: int, *, best: bool) -> float:
    """P(T > t) for the largest T = |difference| / (s sqrt 2) of equal groups with independent normal means and a common s.

    Of all pairs of k groups, where s^2 df is chi-squared with df degrees of freedom (the studentized range, divided by sqrt 2):

        E_s  k integral phi(z) (Phi(z)^(k-1) - (Phi(z) - Phi(z - w))^(k-1)) dz,   w = sqrt 2 t s

    and of the k-1 pairs with one of them (Dunnett):

        E_s  integral phi(z) (1 - (Phi(z + w) - Phi(z - w))^(k-1)) dz

    Args:
        groups: k.
        best: all pairs; else those with one group.
    """
    from scipy.special import gammaln, ndtr

    log_s = np.linspace(-16 / math.sqrt(df) - 8 / df, min(6 / math.sqrt(df), 2.5), 48)[:, None]
    weights = (
        np.exp(df * log_s - df / 2 * np.exp(2 * log_s) + df / 2 * math.log(df / 2) - gammaln(df / 2)) * 2 * (log_s[1] - log_s[0])
    )
    z = np.linspace(-_LARGEST, _LARGEST, 86)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (z[1] - z[0])
    w = math.sqrt(2) * t * np.exp(log_s)
    with np.errstate(divide="ignore"):
        if best:
            below = ndtr(z)
            inside = (
                groups
                * density
                * below ** (groups - 1)
                * -np.expm1((groups - 1) * np.log1p(-np.minimum(ndtr(z - w) / below, 1.0)))
            )
        else:
            inside = density * -np.expm1((groups - 1) * np.log1p(-np.minimum(ndtr(z - w) + ndtr(-z - w), 1.0)))
    return float(min(1.0, (weights * inside).sum()))


@lru_cache(maxsize=1024)
def _critical(groups: int, df: int, best: bool, alpha: float) -> float:
    """The t of which ``tail`` is alpha."""
    from scipy.optimize import brentq

    pairs = groups * (groups - 1) // 2 if best else groups - 1
    low, high = t_quantile(1 - alpha / 2, df), t_quantile(1 - alpha / 2 / pairs, df)
    return float(brentq(lambda t: tail(t, groups, df, best=best) - alpha, low - 0.01, high + 0.01, xtol=1e-6))


def _bartlett(variances_K: Floats, df: int) -> float:
    """P of variances that differ as much as these, each on df degrees of freedom, where they are equal."""
    from scipy.special import chdtrc

    k = len(variances_K)
    statistic = df * float(k * np.log(variances_K.mean()) - np.log(variances_K).sum()) / (1 + (k + 1) / (3 * k * df))
    return float(chdtrc(k - 1, max(statistic, 0.0)))


def _levels(p_values: Sequence[float | None], tests: int, alpha: float) -> list[float]:
    """The level at which Holm's procedure decides each comparison: alpha / (m - i), up to the first that it leaves open."""
    order = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    levels = [alpha / max(tests, 1)] * len(p_values)
    left = max(tests, len(order))
    for p, index in order:
        levels[index] = alpha / left
        left -= p < levels[index] and left > 1
    return levels
