"""Components of your own: an activation, a loss, a model. The files in conf/ name them, ``dlrun --import components`` lets them.

dlrun trains many runs side by side: the first axis of every tensor counts the runs, the second the rows of a batch, so no
operation may reduce or mix the first axis. A module is the exception: it is written for one run, as in any torch program.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from dlrun.extend import Positive  # a number above 0, which may differ from run to run


def snake(x: Tensor, *, frequency: Positive = 1.0) -> Tensor:
    """f(x) = x + sin(frequency x)^2 / frequency. Ziyin, Hartwig & Ueda 2020, arXiv:2006.08195."""
    return x + torch.sin(frequency * x).square() / frequency


def asymmetric(output: Tensor, target: Tensor, *, under: Positive = 3.0) -> Tensor:
    """Mean of w (y - p)^2, w = under where the prediction p is below the target y, else 1. [runs, rows, outputs] -> [runs]."""
    error = target - output
    weight = torch.where(error > 0, under * torch.ones_like(error), 1.0)
    return (weight * error.square()).flatten(1).mean(1)


class Gated(nn.Module):
    """y = (f(x W + a) * sigmoid(x V + b)) U + c, f the selected activation. x [rows, *inputs] -> y [rows, outputs].

    dlrun gives ``inputs``, ``outputs`` and ``activation``; all else is a key of conf/model/mine.yaml.
    """

    def __init__(
        self, *, inputs: tuple[int, ...], outputs: int, activation: Callable[[Tensor], Tensor], hidden: int = 16
    ) -> None:
        super().__init__()
        features = math.prod(inputs)
        self.value, self.gate = nn.Linear(features, hidden), nn.Linear(features, hidden)
        self.output = nn.Linear(hidden, outputs)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """One batch of one run."""
        rows = x.flatten(1)
        hidden: Tensor = self.activation(self.value(rows)) * torch.sigmoid(self.gate(rows))
        y: Tensor = self.output(hidden)
        return y
