"""Metrics of classes that exclude each other, of rows or of pixels; the likeliest class is predicted.

Shapes: R runs, N rows, K classes, pixels may follow. Score, probability and log probability are [R, N, K, ...], target int64
[R, N, ...]; every metric gives [R]. A score orders the classes of a row as their probabilities do: the logits, where there are
some, since several classes may share a probability that was rounded to 1. Segmentation's Dice coefficient is ``macro_f1`` over
pixels: for sets, 2 |A and B| / (|A| + |B|) is the F1 score.
"""

import torch
from torch import Tensor

from dlrun.components.metrics.confidence import calibration_error, mean_cost, nan_for_nan


@nan_for_nan
def accuracy(score: Tensor, target: Tensor) -> Tensor:
    """Share of rows whose class is predicted."""
    return (_choice(score) == target).flatten(1).double().mean(1)


@nan_for_nan
def balanced_accuracy(score: Tensor, target: Tensor) -> Tensor:
    """Mean over the classes that occur of the share of their rows that is predicted."""
    hits, _, actual = _counts(score, target)
    return (hits / actual).nanmean(1)


@nan_for_nan
def macro_f1(score: Tensor, target: Tensor) -> Tensor:
    """Mean over classes of 2 TP / (2 TP + FP + FN); classes that are neither there nor predicted are left out."""
    hits, chosen, actual = _counts(score, target)
    return (2 * hits / (chosen + actual)).nanmean(1)


@nan_for_nan
def iou(score: Tensor, target: Tensor) -> Tensor:
    """Mean over classes of TP / (TP + FP + FN), intersection over union, over the pixels of all images together.

    Classes that are neither there nor predicted are left out.
    """
    hits, chosen, actual = _counts(score, target)
    return (hits / (chosen + actual - hits)).nanmean(1)


def log_loss(log_probability: Tensor, target: Tensor) -> Tensor:
    """Mean of -log p_y, in nats, at most 36.04 a row (p_y is held at 2.2e-16)."""
    return mean_cost(_of_class(log_probability, target))


def brier(probability: Tensor, target: Tensor) -> Tensor:
    """Mean of sum_k (p_k - y_k)^2, from 0 to 2. Brier 1950."""
    squares = probability.double().square().sum(2)
    return (squares - 2 * _of_class(probability, target) + 1).flatten(1).mean(1)


@nan_for_nan
def ece(probability: Tensor, score: Tensor, target: Tensor) -> Tensor:
    """Expected calibration error of the likeliest class, 15 equal bins: mean distance of its probability from its accuracy."""
    return calibration_error(probability.amax(2).flatten(1), (_choice(score) == target).flatten(1))


def _choice(score: Tensor) -> Tensor:
    """The likeliest class, int64 [R, N, ...]. Not argmax, which is 8 times slower than max along a strided axis."""
    return score.max(2).indices


def _of_class(values: Tensor, target: Tensor) -> Tensor:
    """What stands at each row's class: [R, N, ...]."""
    index = target.unsqueeze(2)
    return values.gather(2, index.expand(len(values), *index.shape[1:])).squeeze(2)


def _counts(score: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows of each class that are predicted rightly, predicted, and there: three of float64 [R, K]."""
    runs, classes = len(score), score.shape[2]
    choice = _choice(score).flatten(1)
    actual = target.flatten(1).expand_as(choice)
    offset = torch.arange(runs, device=choice.device)[:, None] * classes

    def count(labels: Tensor) -> Tensor:
        return torch.bincount(labels.flatten(), minlength=runs * classes).view(runs, classes).double()

    offset_choice = choice + offset
    return count(offset_choice[choice == actual]), count(offset_choice), count(actual + offset)
