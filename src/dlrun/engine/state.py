"""What training changes, and nothing else: cut when rows end, replaced as a whole.

Shapes: R runs, P parameters, Q buffers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from dlrun.components.arrays import Array
from dlrun.engine.components import Rows
from dlrun.lazy import Tensor, torch

Parameters = tuple[Array, Array]
"""Theta [R, P] and the buffers [R, Q]."""


@dataclass
class Best:
    """What early stopping goes back to: for each run its best watched value so far, and the parameters it had then."""

    value: Array  # [R], smaller is better
    theta: Array  # [R, P]
    buffers: Array  # [R, Q]

    def select(self, keep: Sequence[int]) -> "Best":
        """The same of some rows."""
        return Best(self.value[keep], self.theta[keep], self.buffers[keep])


@dataclass
class State:
    """Everything that steps by torch change, for R runs."""

    theta: Tensor  # [R, P]
    buffers: Tensor  # [R, Q], such as running statistics
    optimizers: list[dict[str, Tensor]]  # for each group of rows its state matrices
    grad: Tensor  # [R, P], scratch
    step: int = 0
    kinks: list[dict[str, Tensor]] = field(default_factory=list)  # for each penalty with a kink what it keeps, [R, P]

    def select(self, keep: Sequence[int], groups: Sequence[Rows]) -> "State":
        """The state of some rows.

        Args:
            keep: their places, in ascending order.
            groups: the rows of each optimizer; one of which none is kept has no state any more.
        """
        chosen = set(keep)
        mine = [[number for number, place in enumerate(rows.indices) if place in chosen] for rows in groups]
        theta = self.theta[keep]
        return State(
            theta,
            self.buffers[keep],
            [_rows_of(slots, numbers) for slots, numbers in zip(self.optimizers, mine, strict=True) if numbers],
            torch.zeros_like(theta),
            self.step,
            [_rows_of(slots, keep) for slots in self.kinks],
        )


def _rows_of(slots: dict[str, Tensor], rows: Sequence[int]) -> dict[str, Tensor]:
    return {name: value[rows] for name, value in slots.items()}
