"""Synthetic regression on curves: a named function, one whose noise grows, and a series to forecast.

Shapes: N rows. ``seed`` draws the data and is no run's seed.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from dlrun.components.hyperparameters import Count
from dlrun.data.dataset import Amount, Data, Seed, Several
from dlrun.data.sources.draws import check_size, normal, settled, uniform

Curve = Literal["sine", "step", "bump", "abs", "polynomial", "square_wave", "chirp", "sinc"]

CURVES: dict[str, Callable[[Tensor], Tensor]] = {
    "sine": lambda x: torch.sin(2.0 * math.pi * x),
    "step": lambda x: (x >= 0.0).to(x.dtype),
    "bump": lambda x: torch.exp(-25.0 * x.square()),
    "abs": lambda x: 2.0 * x.abs() - 1.0,
    "polynomial": lambda x: 4.0 * x**3 - 3.0 * x,
    "square_wave": lambda x: 1.0 - 2.0 * ((2.0 * x).floor() % 2.0),
    "chirp": lambda x: torch.sin(2.0 * math.pi * (x + 1.0).square()),
    "sinc": lambda x: torch.sinc(4.0 * x),
}


def function(*, function: Curve = "sine", rows: Several = 400, noise: Amount = 0.05, seed: Seed = 0) -> Data:
    """A named function of one variable: y = f(x) + noise * N(0, 1), x uniform in [-1, 1].

    f: sine sin(2 pi x); step 1 if x >= 0 else 0; bump exp(-25 x^2); abs 2|x| - 1; polynomial 4x^3 - 3x;
    square_wave +-1 with period 1; chirp sin(2 pi (x + 1)^2); sinc sin(4 pi x) / (4 pi x).
    """
    x = 2.0 * uniform(seed, 1, rows, 1) - 1.0
    y = CURVES[function](x) + noise * normal(seed, 0, rows, 1)
    return Data("function", settled(x), settled(y), "regression", 1, ("x",), (function,))


def heteroscedastic(*, rows: Several = 1000, noise: Amount = 0.5, seed: Seed = 0) -> Data:
    """A sine whose noise grows with x, so that the quantiles of y fan out: for quantile regression.

    Formula: y = sin(2 pi x) + s(x) * N(0, 1) with s(x) = noise * (0.1 + 0.9 x), x uniform in [0, 1]. The quantile of level
    tau is sin(2 pi x) + s(x) * z_tau, z_tau being that of the standard normal distribution.
    """
    x = uniform(seed, 1, rows, 1)
    y = torch.sin(2.0 * math.pi * x) + noise * (0.1 + 0.9 * x) * normal(seed, 0, rows, 1)
    return Data("heteroscedastic", settled(x), settled(y), "regression", 1, ("x",), ("y",))


def forecasting(*, rows: Several = 500, lags: Count = 16, horizon: Count = 6, noise: Amount = 0.02, seed: Seed = 0) -> Data:
    """Windows of a chaotic series: the value ``horizon`` steps after the last of ``lags`` values. Mackey & Glass 1977.

    Formula: s_t+1 = 0.9 s_t + 0.2 s_t-17 / (1 + s_t-17^10), observed with noise * N(0, 1).

    Windows do not overlap, inputs and target included: a random split shares no observation between training and test.
    """
    width = lags + horizon
    series = _mackey_glass(rows * width, (1.1 + 0.2 * uniform(seed, 1, 18)).tolist())
    window = (series + noise * normal(seed, 0, rows * width)).reshape(rows, width)
    names = tuple(f"lag {lag}" for lag in range(lags - 1, -1, -1))
    return Data("forecasting", settled(window[:, :lags]), settled(window[:, -1:]), "regression", 1, names, (f"in {horizon}",))


def _mackey_glass(steps: int, start: list[float]) -> Tensor:
    """The series after 1000 steps of warming up: float64 [steps]. ``start`` holds its 18 values up to now.

    The tenth power is multiplied out: a chaotic series would betray a processor's ``pow`` within a few hundred steps.
    """
    check_size(steps, each=40)  # as Python's floats in a list
    series = list(start)
    for _ in range(1000 + steps):
        past = series[-18]
        square = past * past
        fourth = square * square
        series.append(0.9 * series[-1] + 0.2 * past / (1.0 + fourth * fourth * square))
    return torch.tensor(series[-steps:], dtype=torch.float64)
