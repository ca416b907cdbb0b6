"""What the values of a metric come to: mean, spread, interval, and whether some runs are stuck.

The interval of the mean of n values is one of three, by what the metric can be. With the error e = sd sqrt(1/n + r) (r as in
``statistics``) and a quantile t of Student's t with n - 1 degrees of freedom:

    a metric between two bounds a and b, such as accuracy     logit(u) +- t e / ((b-a) u (1-u)),   u = (mean - a) / (b - a)
    values on one side of a bound, such as rmse or r2         exp(m + s^2/2 +- t sqrt(s^2 (1/n + r) + s^4 / (2 (n-1)))),
    (Cox's interval)                                          with m, s the mean and sd of the logarithms of the distances
    else, and below 5 values                                  mean +- t e, ended at the bounds

A metric without a bound is bounded by 0 where the whole table has positive values of it alone, as of a loss.

Skewed values make the third too narrow: of 10 lognormal values it covers the mean in 83%, Cox's in 94%. Where the spread is small
beside the distance to the bound all three agree. By simulation (docs/verdicts.md) they cover in 93 to 97% from 10 values on.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Bounds = tuple[float, float]

_FEW = 5  # values below which their logarithms say nothing
_GAP = 4.0  # ranges of the bulk between it and runs that are stuck
_FAR = 0.1  # of the bulk's median: the least distance of runs that are stuck
_MINORITY = 0.4  # the largest fraction of runs that are stuck


@dataclass(frozen=True, slots=True)
class Summary:
    """What n values of a metric come to; sd and the 95% interval of the mean are NaN below two values.

    The interval ends where the metric does: no accuracy is above 1. It is NaN too where the metric has bounds and all values are
    equal, which does not show that the next one is.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float
    median: float
    minimum: float
    maximum: float


@dataclass(frozen=True, slots=True)
class Stuck:
    """Runs that are far worse than all others, and near each other: ``count`` of ``runs``, near the value ``near``."""

    count: int
    runs: int
    near: float

    def short(self) -> str:
        """``2 of 20 near 0.5``."""
        return f"{self.count:,} of {self.runs:,} near {self.near:.3g}"


def summarize(
    values: Sequence[float],
    within: Bounds = (-math.inf, math.inf),
    *,
    ratio: float = 0.0,
    chosen: int = 1,
    side: Literal["low", "high"] = "low",
) -> Summary | None:
    """The summary of finite ``values``, which lie ``within`` bounds; None when there are none.

    Args:
        ratio: r of the values of folds, which share samples.
        chosen: of how many groups this one was chosen by its values. The end of its interval towards worse values, ``side``, is
            that of all of them together (Bonferroni): the chosen mean is too good in 5 of 200 cases at most.
    """
    n = len(values)
    if n == 0:
        return None
    mean = math.fsum(values) / n
    smallest, largest, middle = min(values), max(values), statistics.median(values)
    if n == 1:
        return Summary(n, mean, math.nan, math.nan, math.nan, middle, smallest, largest)
    sd = math.sqrt(math.fsum([(value - mean) ** 2 for value in values]) / (n - 1))
    plain, wide = t_quantile(0.975, n - 1), t_quantile(1 - 0.025 / chosen, n - 1)
    ends = (wide, plain) if side == "low" else (plain, wide)
    known = smallest >= within[0] and largest <= within[1]
    low, high = _interval(values, mean, sd, within if known else (-math.inf, math.inf), ratio, ends)
    return Summary(n, mean, sd, low, high, middle, smallest, largest)


def _interval(
    values: Sequence[float], mean: float, sd: float, within: Bounds, ratio: float, ends: tuple[float, float]
) -> tuple[float, float]:
    """The two ends of the interval, ``ends`` errors below and above the mean."""
    n, (least, most) = len(values), within
    error = sd * math.sqrt(1 / n + ratio)
    bounded = math.isfinite(least) and math.isfinite(most)
    if sd == 0:
        return (math.nan, math.nan) if bounded else (mean, mean)
    if bounded and n >= _FEW:
        u = (mean - least) / (most - least)
        width = error / ((most - least) * u * (1 - u))
        odds = math.log(u / (1 - u))
        low, high = [1 / (1 + math.exp(-min(max(odds + step * width, -700), 700))) for step in (-ends[0], ends[1])]
        return least + (most - least) * low, least + (most - least) * high
    below = math.isfinite(most)  # distances are measured from above
    bound = most if below else least
    distances = [bound - value if below else value - bound for value in values]
    if n >= _FEW and math.isfinite(bound) and min(distances) > 0:
        low, high = _cox(distances, ratio, ends[::-1] if below else ends)
        return (bound - high, bound - low) if below else (bound + low, bound + high)
    return max(mean - ends[0] * error, least), min(mean + ends[1] * error, most)


def _cox(values: Sequence[float], ratio: float, ends: tuple[float, float]) -> tuple[float, float]:
    """Cox's interval of the mean of lognormal values, with Student's t (Olsson 2005)."""
    n = len(values)
    logs = [math.log(value) for value in values]
    middle = math.fsum(logs) / n
    variance = math.fsum([(value - middle) ** 2 for value in logs]) / (n - 1)
    width = math.sqrt(variance * (1 / n + ratio) + variance**2 / (2 * (n - 1)))
    low, high = [math.exp(min(middle + variance / 2 + step * width, 700)) for step in (-ends[0], ends[1])]
    return low, high


def stuck(values: Sequence[float], *, higher_is_better: bool) -> Stuck | None:
    """Runs that end far below the others (above them, where lower is better): a minority behind a gap; None without any.

    The gap is wider than four times the range of the other values, and than a tenth of their median.
    """
    n = len(values)
    if n < _FEW:
        return None
    best_first = sorted(values, reverse=higher_is_better)
    found = None
    for end in range(n - 1, n - 1 - int(_MINORITY * n), -1):  # the bulk is before it
        gap, width = abs(best_first[end] - best_first[end - 1]), abs(best_first[end - 1] - best_first[0])
        if gap > max(_GAP * width, _FAR * abs(_middle(best_first, 0, end))):
            found = Stuck(n - end, n, _middle(best_first, end, n))
    return found


def _middle(ordered: Sequence[float], start: int, stop: int) -> float:
    """The median of a part of ordered values."""
    return (ordered[(start + stop - 1) // 2] + ordered[(start + stop) // 2]) / 2


@lru_cache(maxsize=4096)
def t_quantile(fraction: float, df: int) -> float:
    """The quantile of Student's t with ``df`` degrees of freedom below which ``fraction`` of it lies."""
    from scipy.special import stdtrit

    return float(stdtrit(df, fraction))
