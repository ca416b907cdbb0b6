"""Inference on paired differences that holds however often one looks and whenever one stops.

n differences have mean m, standard deviation s (divided by n) and skewness g. For a hypothetical mean mu let t = (m - mu) / s.
The mixture of the t-statistic's likelihood ratios over effect sizes with the prior N(0, 1/PRIOR) is

    E = sqrt(r) * ((1 + t^2) / (1 + r t^2))^(n/2)          r = PRIOR / (n + PRIOR)

For normal differences with mean mu it is a nonnegative martingale that begins at 1, whatever their standard deviation, so it ever
reaches 1/alpha with probability alpha at most (Ville's inequality; Lai 1976; Wang & Ramdas 2023, Anytime-valid t-tests and
confidence sequences for Gaussian means with unknown variance). The mu at which E is below 1/alpha are an interval, and with
probability 1 - alpha the intervals of all n hold the mean at once: a confidence sequence.

Of differences that are not normal this is approximate. What makes a t-statistic err is skewness, so the interval is joined with
that of Hall's statistic, which is the same with h = t + g t^2 / 3 + g^2 t^3 / 27 + g / (6n) in the place of t (Hall 1992, On the
removal of skewness by transformation). And it begins at LEAST pairs: fewer seldom show what happens in one run of ten. How often
it errs is measured by benchmarks/simulate.py; docs/statistics.md has the table.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dlrun.comparison.statistics import ROUNDING

Word = Literal["better", "worse", "equivalent", "not settled"]
Floats = NDArray[np.float64]

LEAST = 30  # pairs below which nothing is settled
PRIOR = 10.0  # 1 / (variance of the effect sizes that are mixed over): they are about 0.3


@dataclass(frozen=True)
class Settled:
    """What is known of the mean of paired differences, at the first look that settled it or else at the last one.

    Args:
        word: of the first group of the pair against the second.
        n: the pairs that were needed; all of them where it is not settled.
        mean: of those pairs; NaN where there are none.
        low, high: an interval that holds the true mean at every look; infinite below 30 pairs.
    """

    word: Word
    n: int
    mean: float
    low: float
    high: float


def confidence_sequence(differences: Sequence[float], *, alpha: float, step: float = 0.0) -> Floats:
    """Intervals of the mean after 1, 2, ..., n differences, each the intersection of all until then.

    Args:
        differences: n of them, in the order in which they came; their spread must not be part of how that order was chosen.
        alpha: the probability that any of the intervals misses the mean.
        step: the least difference that can be seen. The variance is that of the differences and one that is a step from their
            mean, since what was not seen in n pairs may be in the next.

    Returns:
        [n, 2]: low and high, infinite for fewer than 30 differences, and where these are equal and there is no ``step``.
    """
    d = np.asarray(differences, dtype=np.float64)
    bounds = np.tile([-math.inf, math.inf], (len(d), 1))
    if len(d) < LEAST:
        return bounds
    n = np.arange(1, len(d) + 1, dtype=np.float64)
    origin = float(d[:LEAST].mean())  # moments about a value close to the mean lose no digits
    first, second, third = (np.cumsum((d - origin) ** power) / n for power in (1, 2, 3))
    variance = np.maximum(second - first**2, 0.0) + step**2 / (n + 1)
    tail = slice(LEAST - 1, None)
    n, first, second, third, variance = n[tail], first[tail], second[tail], third[tail], variance[tail]
    with np.errstate(divide="ignore", invalid="ignore"):
        sd = np.sqrt(variance)
        skewness = np.where(variance > 0, (third - 3 * first * second + 2 * first**3) / sd**3, 0.0)
        low, high = _reach(n, skewness, alpha)
        bounds[tail, 0] = np.where(variance > 0, origin + first - high * sd, -math.inf)
        bounds[tail, 1] = np.where(variance > 0, origin + first - low * sd, math.inf)
    bounds[:, 0] = np.maximum.accumulate(bounds[:, 0])
    bounds[:, 1] = np.minimum.accumulate(bounds[:, 1])
    return bounds


def settle(
    differences: Sequence[float],
    *,
    higher_is_better: bool,
    alpha: float,
    margin: float | None = None,
    step: float = 0.0,
    scale: float = 0.0,
) -> Settled:
    """Whether the first group of each pair is better, worse or equivalent, by the first interval that says so.

    It is better or worse when the interval leaves out 0, and equivalent when it lies between -margin and +margin; the latter goes
    before. All that is ever said of a pair is false with probability ``alpha`` at most, since each follows from an interval.

    Args:
        differences: first minus second, in the order of their seeds.
        alpha: divided by the number of pairs of groups that may be asked for, for all their verdicts to be right.
        margin: the largest difference that does not matter; without one nothing is equivalent.
        step: the least difference that the metric can show in a pair, 0 where any is possible.
        scale: the size of the values; differences below a millionth of it are zeros.
    """
    rounding = ROUNDING * max((scale, *map(abs, differences)))
    values = [difference if abs(difference) > rounding else 0.0 for difference in differences]
    bounds = confidence_sequence(values, alpha=alpha, step=max(step, rounding))
    low, high = bounds[:, 0], bounds[:, 1]
    within = np.zeros(len(values), dtype=bool) if margin is None else (low > -margin) & (high < margin)
    found = np.flatnonzero(within | (low > 0) | (high < 0))
    n = int(found[0]) + 1 if len(found) else len(values)
    if not n:
        return Settled("not settled", 0, math.nan, -math.inf, math.inf)
    word: Word = "not settled"
    if len(found):
        word = "equivalent" if within[n - 1] else "better" if (low[n - 1] > 0) == higher_is_better else "worse"
    return Settled(word, n, math.fsum(values[:n]) / n, float(low[n - 1]), float(high[n - 1]))


def _reach(n: Floats, skewness: Floats, alpha: float) -> tuple[Floats, Floats]:
    """The lowest and the highest t = (m - mu) / s that are kept: by the t-statistic or by Hall's."""
    ratio = PRIOR / (n + PRIOR)
    grown = (1 / (alpha**2 * ratio)) ** (1 / n)
    t = np.sqrt(np.where(grown * ratio < 1, (grown - 1) / (1 - grown * ratio), math.inf))
    with np.errstate(divide="ignore", invalid="ignore"):
        hall = [
            np.where(np.abs(skewness) > 1e-9, 3 / skewness * (np.cbrt(1 + skewness * (h - skewness / (6 * n))) - 1), h)
            for h in (-t, t)
        ]
    return np.minimum(-t, hall[0]), np.maximum(t, hall[1])
