"""Regression metrics, in units of the target.

Shapes: R runs, N rows, K outputs, T quantile levels. Prediction and target are [R, N, K].
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dlrun.components.metrics.confidence import nan_for_nan
from dlrun.components.metrics.ranking import auroc


def mse(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error, mean of (p - y)^2: [R, N, K] -> [R]."""
    return (prediction - target).double().square_().flatten(1).mean(1)


def rmse(prediction: Tensor, target: Tensor) -> Tensor:
    """Root mean squared error, sqrt(mse): [R, N, K] -> [R]."""
    return mse(prediction, target).sqrt_()


def mae(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error, mean of |p - y|: [R, N, K] -> [R]."""
    return (prediction - target).double().abs_().flatten(1).mean(1)


def r2(prediction: Tensor, target: Tensor) -> Tensor:
    """Share of variance explained, 1 - sum (y - p)^2 / sum (y - mean y)^2, mean over outputs: [R, N, K] -> [R].

    1 is perfect, 0 is no better than the mean of these very targets, and there is no lower bound. Outputs whose targets are all
    equal have no variance to explain and are left out of the mean; NaN when all outputs are such, as in a single row.
    """
    y = target.double()
    spread = _squares(y)
    error = (prediction - y).square_().sum(1)
    fraction = torch.where(spread > 0, 1 - error / spread, torch.nan)
    if fraction.shape[1] == 1:
        return fraction[:, 0]
    return fraction.nanmean(1).masked_fill_(error.isnan().any(1), torch.nan)


def pinball(prediction: Tensor, target: Tensor, *, taus: Sequence[float] = (0.5,)) -> Tensor:
    """Mean pinball loss, tau (y - p) if y >= p else (tau - 1)(y - p), over rows and levels: [R, N, T] -> [R].

    Args:
        prediction: [R, N, T], one column for each level.
        target: [R, N, 1].
        taus: the T levels. One level serves any number of outputs.
    """
    shortfall = (target - prediction).double()
    levels = torch.tensor(taus, dtype=torch.float64, device=prediction.device)
    return torch.maximum(levels * shortfall, (levels - 1) * shortfall).flatten(1).mean(1)


def coverage(prediction: Tensor, target: Tensor, *, taus: Sequence[float] = (0.5,)) -> Tensor:
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
    fraction = inside.flatten(1).double().mean(1)
    return fraction.masked_fill_(prediction.flatten(1).isnan().any(1), torch.nan)


@nan_for_nan
def anomaly_auroc(prediction: Tensor, target: Tensor, *, anomalies: Tensor) -> Tensor:
    """How well the size of the error tells anomalies from other rows, the area under its ROC curve: [R, N, K] -> [R].

    The error of a row is the mean over outputs of (p - y)^2 / var(y), without outputs whose targets are all equal. NaN when all
    outputs are such, and when all rows or none are anomalies.

    Args:
        anomalies: bool [R, N], or [1, N] for all runs.
    """
    y = target.double()
    spread = _squares(y).unsqueeze(1)
    error = torch.where(spread > 0, (prediction - y).square() / spread, 0.0).mean(2)
    known = (spread > 0).any(2).squeeze(1)
    return torch.where(known, auroc(error, anomalies.expand(error.shape)), torch.nan)


def _squares(y: Tensor) -> Tensor:
    """Sum (y - mean y)^2 over rows: [R, N, K] -> [R, K], and exactly 0 where all y are equal.

    Measured from the first row, since the mean of equal numbers need not round to them: three times 0.1 have 0.10000000000000002.
    """
    y = y - y[:, :1]
    return (y - y.mean(1, keepdim=True)).square_().sum(1)


def median(prediction: Tensor, taus: Sequence[float]) -> Tensor:
    """The column whose level is nearest to 0.5, as the one prediction for metrics of location: [R, N, T] -> [R, N, 1]."""
    return prediction[..., _at(taus, min(taus, key=lambda tau: abs(tau - 0.5)))]


def crossing(prediction: Tensor, taus: Sequence[float]) -> Tensor:
    """Share of rows in which a higher level predicts less than a lower one, which no quantiles can: [R, N, T] -> [R]."""
    order = sorted(range(len(taus)), key=taus.__getitem__)
    falls = (prediction[..., order].diff(dim=2) < 0).any(2)
    return falls.double().mean(1).masked_fill_(prediction.flatten(1).isnan().any(1), torch.nan)


def _at(taus: Sequence[float], tau: float) -> slice:
    column = list(taus).index(tau)
    return slice(column, column + 1)
