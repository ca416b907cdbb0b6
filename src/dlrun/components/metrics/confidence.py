"""What binary and multiclass metrics of probabilities share: bins of calibration, the bound of logarithms, runs that broke.

Shapes: R runs, N rows, K classes.
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from dlrun.components.arrays import Array, mean, quiet

BINS = 15  # as in Guo et al. 2017
_EDGE = 1e-9  # a probability this near to the edge of a bin, such as 0.2 as exp(log(0.2)), is in the upper one
LEAST = float(np.finfo(np.float64).eps)  # probabilities count as at least 2.2e-16 and at most 1 - 2.2e-16, as in scikit-learn
MOST_NATS = -math.log(LEAST)  # 36.04, what a row can cost at most

Function = TypeVar("Function", bound=Callable[..., Array])


def nan_for_nan(metric: Function) -> Function:
    """Make a metric NaN for each run with a NaN among its predictions; comparing and sorting would hide it."""

    @wraps(metric)
    @quiet
    def checked(prediction: Array, *others: Array, **options: Any) -> Array:
        return np.where(broken(prediction), np.nan, metric(prediction, *others, **options))

    return checked  # type: ignore[return-value]  # wraps keeps the signature, which mypy cannot see


def broken(prediction: Array) -> Array:
    """Which runs have a NaN among their predictions: [R, ...] -> bool [R]."""
    found: Array = np.any(np.isnan(prediction), axis=tuple(range(1, prediction.ndim)))
    return found


@quiet
def calibration_error(confidence: Array, came_true: Array) -> Array:
    """Expected calibration error over 15 equal bins: sum over bins of (n_b / N) |mean confidence - share that came true|.

    Args:
        confidence: [R, N], in [0, 1].
        came_true: [R, N], bool or 0/1.

    Returns:
        [R].
    """
    # n_b / N times the difference of means is the difference of sums over N, so that one sum a bin is enough
    exact = confidence.astype(np.float64)
    runs, count = exact.shape
    index = np.clip(exact * BINS + _EDGE, 0, BINS - 1)
    index[np.isnan(index)] = 0
    index += np.arange(runs)[:, None] * BINS
    gaps = np.bincount(index.astype(np.int64).ravel(), (exact - came_true).ravel(), runs * BINS)
    found: Array = np.abs(gaps).reshape(runs, BINS).sum(1) / np.float64(count)
    return found


def mean_cost(log_probability: Array) -> Array:
    """The mean of -log p of what came true, in nats, each held between 0 and ``MOST_NATS``: [R, ...] -> [R], float64.

    The bound gives a class that a decision tree or sparsemax calls impossible a finite cost. It holds for every prediction, so
    that runs and baselines of one column have one scale; a float32 probability of 1 no longer adds a bound of its own.
    """
    return 0 - mean(np.clip(log_probability.astype(np.float64, copy=False), -MOST_NATS, 0))  # which is 0.0, never -0.0


def bounded(probability: Array) -> Array:
    """Probabilities as float64, held off 0 and 1 by ``LEAST``."""
    return np.clip(probability.astype(np.float64, copy=False), LEAST, 1 - LEAST)


def mean_top_probability(probability: Array) -> Array:
    """Mean probability of the class that is predicted, a measure of confidence: [R, N, K] -> [R].

    With one column the two classes have p and 1 - p.
    """
    p = probability.astype(np.float64, copy=False)
    return mean(np.maximum(p, 1 - p) if p.shape[2] == 1 else p.max(2))


def zero_probabilities(log_probability: Array) -> Array:
    """Share of probabilities that are exactly 0, which sparsemax gives and softmax does not: [R, N, K] -> [R].

    Args:
        log_probability: logarithms, -inf where p = 0; the p of a softmax in float32 is 0 too once it is below 1e-45.
    """
    return np.where(broken(log_probability), np.nan, mean(log_probability == -np.inf))
