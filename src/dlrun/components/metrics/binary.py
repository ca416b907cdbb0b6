"""Binary metrics; class 1 is predicted where its margin is above 0, that is its probability above the threshold (0.5 by default).

Shapes: R runs, N rows. Margin, log odds, score, probability and target (0 or 1) are [R, N, 1]; every metric gives [R].

    log odds     log(p / (1 - p)), the logit before a sigmoid; infinite where p is 0 or 1
    margin       log odds minus those of the threshold
    score        any number that rises with p
    probability  of class 1

A sigmoid in float32 is exactly 1 for logits above 17. So what ranks rows or takes a logarithm is given numbers from before it.
"""

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from dlrun.components.metrics import ranking
from dlrun.components.metrics.confidence import calibration_error, mean_cost, nan_for_nan


@nan_for_nan
def accuracy(margin: Tensor, target: Tensor) -> Tensor:
    """Share of rows whose class is predicted."""
    return ((margin > 0) == (target > 0.5)).flatten(1).double().mean(1)


@nan_for_nan
def balanced_accuracy(margin: Tensor, target: Tensor) -> Tensor:
    """Mean over the classes that occur of the share of their rows that is predicted: 0.5 is chance, whatever the shares."""
    z, y = _rows(margin, target)
    right = (z > 0) == y
    positives = y.sum(1).double()
    recall = torch.stack(((right & y).sum(1) / positives, (right & ~y).sum(1) / (y.shape[1] - positives)), dim=1)
    return recall.nanmean(1)


@nan_for_nan
def f1(margin: Tensor, target: Tensor) -> Tensor:
    """2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall. NaN without positives, true or predicted."""
    z, y = _rows(margin, target)
    chosen = z > 0
    return 2 * (chosen & y).sum(1).double() / (chosen.sum(1) + y.sum(1))


@nan_for_nan
def auroc(score: Tensor, target: Tensor) -> Tensor:
    """Share of (positive, negative) pairs that are in the right order, ties counted half. NaN when a class is missing."""
    return ranking.auroc(*_rows(score, target))


@nan_for_nan
def average_precision(score: Tensor, target: Tensor) -> Tensor:
    """Area under precision by recall, in steps: sum of (R_n - R_n-1) P_n. NaN without positives."""
    return ranking.average_precision(*_rows(score, target))


def log_loss(log_odds: Tensor, target: Tensor) -> Tensor:
    """Mean of -y log p - (1 - y) log(1 - p), in nats, at most 36.04 a row (p is held at 2.2e-16)."""
    z = log_odds.double()
    return mean_cost(logsigmoid(torch.where(target > 0.5, z, -z)))


def brier(probability: Tensor, target: Tensor) -> Tensor:
    """Mean of (p - y)^2: 0 is perfect, 0.25 is p = 0.5 for all. Brier 1950, in its binary form."""
    return (probability - target).double().square_().flatten(1).mean(1)


@nan_for_nan
def ece(probability: Tensor, target: Tensor) -> Tensor:
    """Expected calibration error of the probability of class 1, 15 equal bins: mean distance of p from the share of ones."""
    return calibration_error(*_rows(probability, target))


def _rows(values: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Values [R, N] and class [R, N] as bool."""
    flat = values.flatten(1)
    return flat, (target.flatten(1) > 0.5).expand_as(flat)
