"""Regression metrics, in units of the target.

Shapes: R runs, N rows, K outputs, T quantile levels. Prediction and target are [R, N, K].
"""

from collections.abc import Sequence

import numpy as np

from dlrun.components.arrays import Array, mean, nanmean, quiet
from dlrun.components.metrics.confidence import broken, nan_for_nan
from dlrun.components.metrics.ranking import auroc


@quiet
def mse(prediction: Array, target: Array) -> Array:
    """Mean squared error, mean of (p - y)^2: [R, N, K] -> [R]."""
    error = (prediction - target).astype(np.float64, copy=False)
    return mean(np.square(error, out=error))


def rmse(prediction: Array, target: Array) -> Array:
    """Root mean squared error, sqrt(mse): [R, N, K] -> [R]."""
    return np.sqrt(mse(prediction, target))


@quiet
def mae(prediction: Array, target: Array) -> Array:
    """Mean absolute error, mean of |p - y|: [R, N, K] -> [R]."""
    error = (prediction - target).astype(np.float64, copy=False)
    return mean(np.abs(error, out=error))


@quiet
def r2(prediction: Array, target: Array) -> Array:
    """Share of variance explained, 1 - sum (y - p)^2 / sum (y - mean y)^2, mean over outputs: [R, N, K] -> [R].

    1 is perfect, 0 is no better than the mean of these very targets, and there is no lower bound. Outputs whose targets are all
    equal have no variance to explain and are left out of the mean; NaN when all outputs are such, as in a single row.
    """
    y = target.astype(np.float64, copy=False)
    spread = _squares(y)
    error = prediction - y
    error = np.square(error, out=error).sum(1)
    fraction = np.where(spread > 0, 1 - error / spread, np.nan)
    return np.where(broken(error), np.nan, nanmean(fraction))


@quiet
def pinball(prediction: Array, target: Array, *, taus: Sequence[float] = (0.5,)) -> Array:
    """Mean pinball loss, tau (y - p) if y >= p else (tau - 1)(y - p), over rows and levels: [R, N, T] -> [R].

    Args:
        prediction: [R, N, T], one column for each level.
        target: [R, N, 1].
        taus: the T levels. One level serves any number of outputs.
    """
    shortfall = (target - prediction).astype(np.float64, copy=False)
    levels = np.array(taus)
    below = (levels - 1) * shortfall
    return mean(np.maximum(levels * shortfall, below, out=below))


@quiet
def coverage(prediction: Array, target: Array, *, taus: Sequence[float] = (0.5,)) -> Array:
    """Share of targets from the lowest to the highest predicted quantile, ends included: [R, N, T] -> [R].

    Its nominal level is max(taus) - min(taus). For a single level: the share of targets at or below it, nominally tau.

    Args:
        prediction: [R, N, T], one column for each level.
        target: [R, N, 1].
        taus: the T levels, in any order.
    """
    high = prediction[..., _at(taus, max(taus))]
    inside = target <= high
    if len(taus) > 1:
        inside &= target >= prediction[..., _at(taus, min(taus))]
    return np.where(broken(prediction), np.nan, mean(inside))


@nan_for_nan
def anomaly_auroc(prediction: Array, target: Array, *, anomalies: Array) -> Array:
    """How well the size of the error tells anomalies from other rows, the area under its ROC curve: [R, N, K] -> [R].

    The error of a row is the mean over outputs of (p - y)^2 / var(y), without outputs whose targets are all equal. NaN when all
    outputs are such, and when all rows or none are anomalies.

    Args:
        anomalies: bool [R, N], or [1, N] for all runs.
    """
    y = target.astype(np.float64, copy=False)
    spread = _squares(y)[:, None]
    error = np.where(spread > 0, np.square(prediction - y) / spread, 0.0).mean(2)
    known = (spread > 0).any((1, 2))
    return np.where(known, auroc(error, np.broadcast_to(anomalies, error.shape)), np.nan)


def _squares(y: Array) -> Array:
    """Sum (y - mean y)^2 over rows: [R, N, K] -> [R, K], and exactly 0 where all y are equal.

    Measured from the first row, since the mean of equal numbers need not round to them: three times 0.1 have 0.10000000000000002.
    """
    y = y - y[:, :1]
    y -= y.sum(1, keepdims=True) / np.float64(y.shape[1])
    found: Array = np.square(y, out=y).sum(1)
    return found


def median(prediction: Array, taus: Sequence[float]) -> Array:
    """The column whose level is nearest to 0.5, as the one prediction for metrics of location: [R, N, T] -> [R, N, 1]."""
    return prediction[..., _at(taus, min(taus, key=lambda tau: abs(tau - 0.5)))]


@quiet
def crossing(prediction: Array, taus: Sequence[float]) -> Array:
    """Share of rows in which a higher level predicts less than a lower one, which no quantiles can: [R, N, T] -> [R]."""
    order = sorted(range(len(taus)), key=taus.__getitem__)
    falls = np.any(np.diff(prediction[..., order], axis=2) < 0, axis=2)
    return np.where(broken(prediction), np.nan, mean(falls))


def _at(taus: Sequence[float], tau: float) -> slice:
    column = list(taus).index(tau)
    return slice(column, column + 1)
