"""Synthetic regression on curves: a named function, one whose noise grows, and a series to forecast.

Shapes: N rows. ``seed`` draws the data and is no run's seed.
"""

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dlrun.components.hyperparameters import Count, Natural
from dlrun.data.dataset import Amount, Data, Seed, Several
from dlrun.data.sources.draws import check_size, normal, settled, uniform
from dlrun.errors import DataError

Curve = Literal["sine", "step", "bump", "abs", "polynomial", "square_wave", "chirp", "sinc"]

Floats = NDArray[np.float64]

CURVES: dict[str, Callable[[Floats], Floats]] = {
    "sine": lambda x: np.sin(2.0 * math.pi * x),
    "step": lambda x: (x >= 0.0).astype(np.float64),
    "bump": lambda x: np.exp(-25.0 * np.square(x)),
    "abs": lambda x: 2.0 * np.abs(x) - 1.0,
    "polynomial": lambda x: 4.0 * (x * x * x) - 3.0 * x,
    "square_wave": lambda x: 1.0 - 2.0 * (np.floor(2.0 * x) % 2.0),
    "chirp": lambda x: np.sin(2.0 * math.pi * np.square(x + 1.0)),
    "sinc": lambda x: np.sinc(4.0 * x),
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
    y = np.sin(2.0 * math.pi * x) + noise * (0.1 + 0.9 * x) * normal(seed, 0, rows, 1)
    return Data("heteroscedastic", settled(x), settled(y), "regression", 1, ("x",), ("y",))


def forecasting(
    *,
    rows: Several = 500,
    lags: Count = 16,
    horizon: Count = 6,
    horizons: Count = 1,
    season: Natural = 0,
    in_time: bool = False,
    noise: Amount = 0.02,
    seed: Seed = 0,
) -> Data:
    """Windows of a chaotic series: values up to ``horizon`` steps after the last of ``lags`` values. Mackey & Glass 1977.

    Formula: s_t+1 = 0.9 s_t + 0.2 s_t-17 / (1 + s_t-17^10), observed with noise * N(0, 1); with a season sin(2 pi t / season) is
    added.

    Windows do not overlap, inputs and target included: a random split shares no observation between training and test.

    Args:
        horizon: steps from the last value of a window to the last target.
        horizons: how many targets there are: the values of so many steps, the last of them ``horizon`` ahead.
        season: the length of a season in steps; 0 for none.
        in_time: whether training rows lie before validation rows, and these before test rows.
        noise: standard deviation of the observations.

    Raises:
        DataError: there are more horizons than steps.
    """
    if horizons > horizon:
        raise DataError(
            f"dataset.horizons={horizons}: at most dataset.horizon={horizon} steps can be predicted; lower one, or raise it"
        )
    width = lags + horizon
    series = _mackey_glass(rows * width, (1.1 + 0.2 * uniform(seed, 1, 18)).tolist())
    if season:
        series = series + np.sin(2 * math.pi * (np.arange(len(series)) % season) / season)
    window = (series + noise * normal(seed, 0, rows * width)).reshape(rows, width)
    features = tuple(f"lag {lag}" for lag in range(lags - 1, -1, -1))
    targets = tuple(f"in {step}" for step in range(horizon - horizons + 1, horizon + 1))
    return Data(
        "forecasting",
        settled(window[:, :lags]),
        settled(window[:, -horizons:]),
        "regression",
        horizons,
        features,
        targets,
        time=np.arange(rows, dtype=np.float64) if in_time else None,
    )


def _mackey_glass(steps: int, start: list[float]) -> Floats:
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
    return np.array(series[-steps:])
