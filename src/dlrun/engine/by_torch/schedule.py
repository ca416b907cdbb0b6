"""What schedules multiply the learning rates with, as the steps of an epoch read it.

A schedule is computed on the CPU for many steps at once. There it costs nothing to see in which steps the rows of an optimizer
agree: such a step gets a float, which is the fast path. The others get a column, sent to the device once an epoch.

Shapes: R runs, G rows of one optimizer, T steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dlrun.components.hyperparameters import Row
from dlrun.components.optimizers import Optimizer, TorchOptimizer
from dlrun.engine.components import Group
from dlrun.lazy import Tensor, torch


@dataclass(frozen=True)
class Factor:
    """The factors of one step: for each optimizer a float or a column [G, 1]; for all rows a column [R, 1], or None for 1."""

    each: Sequence[Row]
    column: Tensor | None = None


class Factors:
    """The factors of an epoch, from ``matrix`` [T, R] in float64 on the CPU."""

    def __init__(self, matrix: Tensor, optimizers: Sequence[tuple[Group, Optimizer]], device: torch.device) -> None:
        self._columns = matrix.to(device).unsqueeze(2)
        self._each = [_Share(matrix, group, optimizer, device) for group, optimizer in optimizers]

    def at(self, number: int) -> Factor:
        """Those of step ``number`` of the epoch."""
        return Factor([fraction.at(number) for fraction in self._each], self._columns[number])


class _Share:
    """The factors of one optimizer's rows."""

    def __init__(self, matrix: Tensor, group: Group, optimizer: Optimizer, device: torch.device) -> None:
        mine = matrix[:, list(group.rows.indices)]
        self._first: list[float] = mine[:, 0].tolist()
        agree = (mine == mine[:, :1]).all(1)
        self._agree: list[bool] = agree.tolist()
        # torch's own optimizers take one number a row, and would fetch each from the device
        place = torch.device("cpu") if isinstance(optimizer, TorchOptimizer) else device
        self._columns = None if bool(agree.all()) else mine.to(place).unsqueeze(2)

    def at(self, number: int) -> Row:
        if self._columns is None or self._agree[number]:
            return self._first[number]
        return self._columns[number]
