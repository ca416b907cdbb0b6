"""Binary metrics; class 1 is predicted where its margin is above 0, that is its probability above the threshold (0.5 by default).

Shapes: R runs, N rows. Margin, log odds, score, probability and target (0 or 1) are [R, N, 1]; every metric gives [R].

    log odds     log(p / (1 - p)), the logit before a sigmoid; infinite where p is 0 or 1
    margin       log odds minus those of the threshold
    score        any number that rises with p
    probability  of class 1

A sigmoid in float32 is exactly 1 for logits above 17. So what ranks rows or takes a logarithm is given numbers from before it.
"""

import numpy as np

from dlrun.components.arrays import Array, mean, nanmean, rows
from dlrun.components.links import log_sigmoid
from dlrun.components.metrics import ranking
from dlrun.components.metrics.confidence import calibration_error, mean_cost, nan_for_nan
from dlrun.components.metrics.regression import mse


@nan_for_nan
def accuracy(margin: Array, target: Array) -> Array:
    """Share of rows whose class is predicted."""
    return mean((margin > 0) == (target > 0.5))


@nan_for_nan
def balanced_accuracy(margin: Array, target: Array) -> Array:
    """Mean over the classes that occur of the share of their rows that is predicted: 0.5 is chance, whatever the shares."""
    z, y = _rows(margin, target)
    right = (z > 0) == y
    positives = np.count_nonzero(y, axis=1)
    hits = np.count_nonzero(right & y, axis=1)
    others = np.count_nonzero(right, axis=1) - hits
    return nanmean(np.stack((hits / positives, others / (y.shape[1] - positives)), axis=1))


@nan_for_nan
def f1(margin: Array, target: Array) -> Array:
    """2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall. NaN without positives, true or predicted."""
    z, y = _rows(margin, target)
    chosen = z > 0
    found: Array = 2 * np.count_nonzero(chosen & y, axis=1) / (np.count_nonzero(chosen, axis=1) + np.count_nonzero(y, axis=1))
    return found


@nan_for_nan
def auroc(score: Array, target: Array) -> Array:
    """Share of (positive, negative) pairs that are in the right order, ties counted half. NaN when a class is missing."""
    return ranking.auroc(*_rows(score, target))


@nan_for_nan
def average_precision(score: Array, target: Array) -> Array:
    """Area under precision by recall, in steps: sum of (R_n - R_n-1) P_n. NaN without positives."""
    return ranking.average_precision(*_rows(score, target))


def log_loss(log_odds: Array, target: Array) -> Array:
    """Mean of -y log p - (1 - y) log(1 - p), in nats, at most 36.04 a row (p is held at 2.2e-16)."""
    z = log_odds.astype(np.float64, copy=False)
    return mean_cost(log_sigmoid(np.where(target > 0.5, z, -z)))


def brier(probability: Array, target: Array) -> Array:
    """Mean of (p - y)^2: 0 is perfect, 0.25 is p = 0.5 for all. Brier 1950, in its binary form."""
    return mse(probability, target)


@nan_for_nan
def ece(probability: Array, target: Array) -> Array:
    """Expected calibration error of the probability of class 1, 15 equal bins: mean distance of p from the share of ones."""
    return calibration_error(*_rows(probability, target))


def _rows(values: Array, target: Array) -> tuple[Array, Array]:
    """Values [R, N] and class [R, N] as bool."""
    flat = rows(values)
    return flat, np.broadcast_to(rows(target) > 0.5, flat.shape)
