"""Synthetic regression in one dimension: a named function of x in [-1, 1], with noise on y.

Shapes: N rows. ``seed`` draws the data and is no run's seed.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from dlrun.data.dataset import Amount, Data, Seed, Several
from dlrun.data.sources.draws import normal, settled, uniform

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
