"""What binary and multiclass metrics of probabilities share: bins of calibration, bounds of logarithms, rows that broke.

Shapes: R runs, N rows, K classes.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

BINS = 15  # as in Guo et al. 2017

Function = TypeVar("Function", bound=Callable[..., Tensor])


def nan_for_nan(metric: Function) -> Function:
    """Make a metric NaN for each run with a NaN among its predictions; comparing and sorting would hide it."""

    @wraps(metric)
    def checked(prediction: Tensor, target: Tensor, **options: Any) -> Tensor:
        broken = prediction.isnan().flatten(1).any(1)
        return metric(prediction, target, **options).masked_fill(broken, torch.nan)

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
    index = (confidence * BINS).long().clamp_(0, BINS - 1)
    return gap.new_zeros(len(gap), BINS).scatter_add_(1, index, gap).abs_().sum(1).div_(gap.shape[1])


def bounded(probability: Tensor) -> Tensor:
    """Probabilities as float64, held off 0 and 1 by the rounding error of the type that they came in (as scikit-learn does)."""
    least = torch.finfo(probability.dtype).eps
    return probability.double().clamp(least, 1 - least)


def mean_top_probability(probability: Tensor) -> Tensor:
    """Mean probability of the class that is predicted, a measure of confidence: [R, N, K] -> [R].

    With one column the two classes have p and 1 - p.
    """
    p = probability.double()
    top = torch.maximum(p, 1 - p) if p.shape[2] == 1 else p.amax(2)
    return top.flatten(1).mean(1)


def zero_probabilities(probability: Tensor) -> Tensor:
    """Share of probabilities that are exactly 0, which sparsemax gives and softmax does not: [R, N, K] -> [R]."""
    share = (probability == 0).flatten(1).double().mean(1)
    return share.masked_fill_(probability.flatten(1).isnan().any(1), torch.nan)
