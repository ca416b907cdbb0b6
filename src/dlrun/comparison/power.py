"""How many pairs a test needs to show a difference, or equivalence, of the size that was seen.

The formulas are those of the paired t-test and of its pair of one-sided tests, with the standard error of ``statistics``:

    se = sd * sqrt(1/n + r)
"""

import math
from collections.abc import Callable

from dlrun.comparison.summary import t_quantile

ALPHA = 0.05
POWER = 0.8
LEAST = 5  # pairs below which nothing is called better, worse or equivalent
MANY = 1_000  # further pairs beyond which their number is not given
_MOST_PAIRS = 10_000  # beyond it a number of seeds is no advice


def error_of(sd: float, n: int, ratio: float) -> float:
    """The standard error of a mean of n pairs that share samples in the ratio r; 0 where they are independent."""
    return sd * math.sqrt(1 / n + ratio)


def least(reached: Callable[[int], float], power: float) -> int | None:
    """The least number of pairs, at least 5, for which ``reached`` is ``power``; it grows with the number."""
    low, high = LEAST - 1, LEAST
    while reached(high) < power:
        if high >= _MOST_PAIRS:
            return None
        low, high = high, min(2 * high, _MOST_PAIRS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) >= power else (middle, high)
    return high


def pairs_for_difference(mean: float, sd: float, *, alpha: float = ALPHA, power: float = POWER, ratio: float = 0.0) -> int | None:
    """How many pairs, at least 5, a paired t-test needs to find a difference of ``mean``; None when no reasonable number does."""
    if mean == 0 or not math.isfinite(mean):
        return None
    if sd == 0:
        return _signs_needed(alpha, ratio)

    def reached(n: int) -> float:
        return _t_power(abs(mean) / error_of(sd, n, ratio), n - 1, t_quantile(1 - alpha / 2, n - 1))

    return least(reached, power)


def pairs_for_equivalence(
    mean: float, sd: float, margin: float, *, alpha: float = ALPHA, power: float = POWER, ratio: float = 0.0
) -> int | None:
    """How many pairs, at least 5, TOST needs to show that a difference of ``mean`` is within ``margin``; None when none does."""
    if not abs(mean) < margin:
        return None
    if sd == 0:
        return _signs_needed(2 * alpha, ratio)

    def reached(n: int) -> float:
        error, limit = error_of(sd, n, ratio), t_quantile(1 - alpha, n - 1)
        near, far = (_t_power((margin + side) / error, n - 1, limit) for side in (-abs(mean), abs(mean)))
        return near + far - 1

    return least(reached, power)


def _signs_needed(alpha: float, ratio: float) -> int | None:
    """From how many pairs of one sign the sign test is below ``alpha``; None when no reasonable number is enough."""
    fraction = 1 / (1 - math.log2(alpha)) - ratio
    n = math.floor(1 / fraction) + 1 if fraction > 0 else math.inf
    return max(LEAST, int(n)) if n <= _MOST_PAIRS else None


def _t_power(shift: float, df: int, limit: float) -> float:
    """The fraction of the noncentral t, shifted by ``shift``, above ``limit``."""
    from scipy.special import nctdtr, ndtr

    if df > 200 or shift > 30:  # where the noncentral t is slow or overflows, its normal approximation is good to 1e-3
        return float(ndtr((shift - limit) / math.sqrt(1 + limit * limit / (2 * df))))
    return float(1 - nctdtr(df, shift, limit))
