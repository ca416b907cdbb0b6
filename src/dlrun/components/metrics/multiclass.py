"""Metrics of classes that exclude each other, of rows or of pixels; the likeliest class is predicted.

Shapes: R runs, N rows, K classes, pixels may follow. Score, probability and log probability are [R, N, K, ...], target int64
[R, N, ...]; every metric gives [R]. A score orders the classes of a row as their probabilities do: the logits, where there are
some, since several classes may share a probability that was rounded to 1. Segmentation's Dice coefficient is ``macro_f1`` over
pixels: for sets, 2 |A and B| / (|A| + |B|) is the F1 score.
"""

import numpy as np

from dlrun.components.arrays import Array, mean, nanmean, quiet, rows
from dlrun.components.metrics.confidence import calibration_error, mean_cost, nan_for_nan


@nan_for_nan
def accuracy(score: Array, target: Array) -> Array:
    """Share of rows whose class is predicted."""
    return mean(_choice(score) == target)


@nan_for_nan
def balanced_accuracy(score: Array, target: Array) -> Array:
    """Mean over the classes that occur of the share of their rows that is predicted."""
    hits, _, actual = _counts(score, target)
    return nanmean(hits / actual)


@nan_for_nan
def macro_f1(score: Array, target: Array) -> Array:
    """Mean over classes of 2 TP / (2 TP + FP + FN); classes that are neither there nor predicted are left out."""
    hits, chosen, actual = _counts(score, target)
    return nanmean(2 * hits / (chosen + actual))


@nan_for_nan
def iou(score: Array, target: Array) -> Array:
    """Mean over classes of TP / (TP + FP + FN), intersection over union, over the pixels of all images together.

    Classes that are neither there nor predicted are left out.
    """
    hits, chosen, actual = _counts(score, target)
    return nanmean(hits / (chosen + actual - hits))


def log_loss(log_probability: Array, target: Array) -> Array:
    """Mean of -log p_y, in nats, at most 36.04 a row (p_y is held at 2.2e-16)."""
    return mean_cost(_of_class(log_probability, target))


@quiet
def brier(probability: Array, target: Array) -> Array:
    """Mean of sum_k (p_k - y_k)^2, from 0 to 2. Brier 1950."""
    squares = np.square(probability.astype(np.float64, copy=False)).sum(2)
    return mean(squares - 2 * _of_class(probability, target) + 1)


@nan_for_nan
def ece(probability: Array, score: Array, target: Array) -> Array:
    """Expected calibration error of the likeliest class, 15 equal bins: mean distance of its probability from its accuracy."""
    choice = _choice(score)
    return calibration_error(rows(_of_class(probability, choice)), rows(choice == target))


def _choice(score: Array) -> Array:
    """The likeliest class, int64 [R, N, ...]."""
    found: Array = score.argmax(2)
    return found


def _of_class(values: Array, target: Array) -> Array:
    """What stands at each row's class: [R, N, ...]."""
    index = np.expand_dims(target, 2)
    return np.take_along_axis(values, np.broadcast_to(index, (len(values), *index.shape[1:])), 2).squeeze(2)


def _counts(score: Array, target: Array) -> tuple[Array, Array, Array]:
    """Rows of each class that are predicted rightly, predicted, and there: three of int64 [R, K]."""
    runs, classes = len(score), score.shape[2]
    choice = rows(_choice(score))
    actual = rows(np.broadcast_to(target, (runs, *target.shape[1:])))
    offset = np.arange(runs)[:, None] * classes

    def count(labels: Array) -> Array:
        return np.bincount(labels.ravel(), minlength=runs * classes).reshape(runs, classes)

    offset_choice = choice + offset
    return count(offset_choice[choice == actual]), count(offset_choice), count(actual + offset)
