"""What the values of a metric come to: mean, spread, interval."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Summary:
    """What n values of a metric come to; sd and the 95% interval of the mean (Student's t) are NaN below two values.

    The interval ends where the metric does: no accuracy is above 1.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float
    median: float
    minimum: float
    maximum: float


def summarize(values: Sequence[float], within: tuple[float, float] = (-math.inf, math.inf)) -> Summary | None:
    """The summary of finite ``values``, which lie ``within`` bounds; None when there are none."""
    n = len(values)
    if n == 0:
        return None
    mean = math.fsum(values) / n
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)) if n > 1 else math.nan
    half = t_quantile(0.975, n - 1) * sd / math.sqrt(n) if n > 1 else math.nan
    smallest, largest = min(values), max(values)
    low = max(mean - half, min(within[0], smallest)) if n > 1 else math.nan
    high = min(mean + half, max(within[1], largest)) if n > 1 else math.nan
    return Summary(n, mean, sd, low, high, statistics.median(values), smallest, largest)


@lru_cache(maxsize=4096)
def t_quantile(share: float, df: int) -> float:
    """The quantile of Student's t with ``df`` degrees of freedom below which ``share`` of it lies."""
    from scipy.special import stdtrit

    return float(stdtrit(df, share))
