"""Binary metrics of the probability of class 1; it is predicted above 0.5.

Shapes: R runs, N rows. Probability and target (0 or 1) are [R, N, 1]; every metric gives [R].
"""

import torch
from torch import Tensor

from dlrun.components.metrics import ranking
from dlrun.components.metrics.confidence import bounded, calibration_error, nan_for_nan


@nan_for_nan
def accuracy(probability: Tensor, target: Tensor) -> Tensor:
    """Share of rows whose class is predicted."""
    return ((probability > 0.5) == (target > 0.5)).flatten(1).double().mean(1)


@nan_for_nan
def balanced_accuracy(probability: Tensor, target: Tensor) -> Tensor:
    """Mean over the classes that occur of the share of their rows that is predicted: 0.5 is chance, whatever the shares."""
    p, y = _rows(probability, target)
    right = (p > 0.5) == y
    positives = y.sum(1).double()
    recall = torch.stack(((right & y).sum(1) / positives, (right & ~y).sum(1) / (y.shape[1] - positives)), dim=1)
    return recall.nanmean(1)


@nan_for_nan
def f1(probability: Tensor, target: Tensor) -> Tensor:
    """2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall. NaN without positives, true or predicted."""
    p, y = _rows(probability, target)
    chosen = p > 0.5
    return 2 * (chosen & y).sum(1).double() / (chosen.sum(1) + y.sum(1))


@nan_for_nan
def auroc(probability: Tensor, target: Tensor) -> Tensor:
    """Share of (positive, negative) pairs that are in the right order, ties counted half. NaN when a class is missing."""
    return ranking.auroc(*_rows(probability, target))


@nan_for_nan
def average_precision(probability: Tensor, target: Tensor) -> Tensor:
    """Area under precision by recall, in steps: sum of (R_n - R_n-1) P_n. NaN without positives."""
    return ranking.average_precision(*_rows(probability, target))


def log_loss(probability: Tensor, target: Tensor) -> Tensor:
    """Mean of -y log p - (1 - y) log(1 - p), in nats, p held off 0 and 1 by the rounding error of its type."""
    p = bounded(probability)
    return -torch.where(target > 0.5, p, 1 - p).log_().flatten(1).mean(1)


def brier(probability: Tensor, target: Tensor) -> Tensor:
    """Mean of (p - y)^2: 0 is perfect, 0.25 is p = 0.5 for all. Brier 1950, in its binary form."""
    return (probability - target).double().square_().flatten(1).mean(1)


@nan_for_nan
def ece(probability: Tensor, target: Tensor) -> Tensor:
    """Expected calibration error of the probability of class 1, 15 equal bins: mean distance of p from the share of ones."""
    return calibration_error(*_rows(probability, target))


def _rows(probability: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Probability [R, N] and class [R, N] as bool."""
    p = probability.flatten(1)
    return p, (target.flatten(1) > 0.5).expand_as(p)
