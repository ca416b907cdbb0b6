"""What binary and multiclass metrics of probabilities share: bins of calibration, the bound of logarithms, runs that broke.

Shapes: R runs, N rows, K classes.
"""

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

BINS = 15  # as in Guo et al. 2017
_EDGE = 1e-9  # a probability this near to the edge of a bin, such as 0.2 as exp(log(0.2)), is in the upper one
LEAST = torch.finfo(torch.float64).eps  # probabilities count as at least 2.2e-16 and at most 1 - 2.2e-16, as in scikit-learn
MOST_NATS = -math.log(LEAST)  # 36.04, what a row can cost at most

Function = TypeVar("Function", bound=Callable[..., Tensor])


def nan_for_nan(metric: Function) -> Function:
    """Make a metric NaN for each run with a NaN among its predictions; comparing and sorting would hide it."""

    @wraps(metric)
    def checked(prediction: Tensor, *others: Tensor, **options: Any) -> Tensor:
        broken = prediction.isnan().flatten(1).any(1)
        return metric(prediction, *others, **options).masked_fill(broken, torch.nan)

    return checked  # type: ignore[return-value]  # wraps keeps the signature, which mypy cannot see


def calibration_error(confidence: Tensor, came_true: Tensor) -> Tensor:
    """Expected calibration error over 15 equal bins: sum over bins of (n_b / N) |mean confidence - share that came true|.

    Args:
        confidence: [R, N], in [0, 1].
        came_true: [R, N], bool or 0/1.

    Returns:
        [R].
    """
    # n_b / N times the difference of means is the difference of sums over N, so that one sum a bin is enough
    gap = confidence.double() - came_true.double()
    index = (confidence.double() * BINS + _EDGE).long().clamp_(0, BINS - 1)
    return gap.new_zeros(len(gap), BINS).scatter_add_(1, index, gap).abs_().sum(1).div_(gap.shape[1])


def mean_cost(log_probability: Tensor) -> Tensor:
    """The mean of -log p of what came true, in nats, each held between 0 and ``MOST_NATS``: [R, ...] -> [R], float64.

    The bound gives a class that a decision tree or sparsemax calls impossible a finite cost. It holds for every prediction, so
    that runs and baselines of one column have one scale; a float32 probability of 1 no longer adds a bound of its own.
    """
    return log_probability.double().neg().clamp_(0, MOST_NATS).flatten(1).mean(1)


def bounded(probability: Tensor) -> Tensor:
    """Probabilities as float64, held off 0 and 1 by ``LEAST``."""
    return probability.double().clamp(LEAST, 1 - LEAST)


def mean_top_probability(probability: Tensor) -> Tensor:
    """Mean probability of the class that is predicted, a measure of confidence: [R, N, K] -> [R].

    With one column the two classes have p and 1 - p.
    """
    p = probability.double()
    top = torch.maximum(p, 1 - p) if p.shape[2] == 1 else p.amax(2)
    return top.flatten(1).mean(1)


def zero_probabilities(log_probability: Tensor) -> Tensor:
    """Share of probabilities that are exactly 0, which sparsemax gives and softmax does not: [R, N, K] -> [R].

    Args:
        log_probability: logarithms, -inf where p = 0; the p of a softmax in float32 is 0 too once it is below 1e-45.
    """
    fraction = (log_probability == -torch.inf).flatten(1).double().mean(1)
    return fraction.masked_fill_(log_probability.flatten(1).isnan().any(1), torch.nan)
