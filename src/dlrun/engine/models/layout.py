"""How the parameters of a model lie in one matrix.

``theta`` has a row for every run and a column for every parameter: [R, P]. A slot is a range of columns with a shape and a role;
layers see their slots as views, so that an optimizer can treat all of them at once and a layer needs no copy.

Shapes: R runs, P parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from dlrun import streams
from dlrun.components.initializers import Draw, Initializer
from dlrun.lazy import Tensor, torch

Role = Literal["weight", "bias", "norm", "activation"]


@dataclass(frozen=True)
class Shape:
    """A parameter that a layer asks for.

    ``value`` is where it starts when no initializer decides (norms, activations): a number, a value for each run [R, *shape], or
    a function from seeds to values. ``units_first`` says that a matrix has a unit in each row, as in torch.nn.Linear.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    fan_in: int = 1
    fan_out: int = 1
    value: float | Tensor | Callable[[Sequence[int]], Tensor] = 0.0
    units_first: bool = False


@dataclass(frozen=True)
class Slot:
    """A parameter with its place: columns ``start`` to ``stop`` of theta. ``layer`` counts the model's layers from 0."""

    layer: int
    spec: Shape
    start: int
    stop: int

    @property
    def name(self) -> str:
        """The name under which the parameter is saved, as torch.nn.Sequential would call it: "2.weight"."""
        return f"{self.layer}.{self.spec.name}"

    def view(self, matrix: Tensor) -> Tensor:
        """This slot of every run: [R, *shape], sharing memory with ``matrix`` [R, P]."""
        return matrix[:, self.start : self.stop].view(len(matrix), *self.spec.shape)


class Layout:
    """The slots of all layers, one after the other."""

    def __init__(self, shapes: Sequence[Sequence[Shape]]) -> None:
        self.slots: list[Slot] = []
        self._by_layer: list[list[Slot]] = []
        column = 0
        for layer, wanted in enumerate(shapes):
            mine = []
            for spec in wanted:
                mine.append(Slot(layer, spec, column, column + math.prod(spec.shape)))
                column = mine[-1].stop
            self.slots += mine
            self._by_layer.append(mine)
        self.size = column

    def views(self, matrix: Tensor) -> list[list[Tensor]]:
        """For each layer its slots in ``matrix`` [R, P], as views [R, *shape]."""
        return [[slot.view(matrix) for slot in slots] for slots in self._by_layer]

    def weight_mask(self, dtype: torch.dtype, device: torch.device | None = None) -> Tensor:
        """1 for the columns of weights, 0 for biases, norms and activations: [1, P]."""
        mask = torch.zeros(1, self.size, dtype=dtype, device=device)
        for slot in self.slots:
            if slot.spec.role == "weight":
                mask[:, slot.start : slot.stop] = 1.0
        return mask

    def initialize(
        self,
        seeds: Sequence[int],
        initializers: Sequence[tuple[Initializer, Sequence[int]]],
        dtype: torch.dtype,
    ) -> Tensor:
        """Fresh parameters of every run: [R, P] on the CPU.

        ``initializers`` pairs each initializer with the rows that use it. Every slot of every run draws from its own part of the
        run's init stream, so a run starts at the same point alone and in any cohort. Equal seeds are drawn once.
        """
        theta = torch.empty(len(seeds), self.size, dtype=dtype)
        for initializer, rows in initializers:
            distinct = sorted({seeds[row] for row in rows})
            place = {seed: i for i, seed in enumerate(distinct)}
            source = torch.tensor([place[seeds[row]] for row in rows])
            target = torch.tensor(list(rows))
            for part, slot in enumerate(self.slots):
                start = slot.spec.value
                if callable(start):
                    values = start(distinct).to(dtype)[source].reshape(len(rows), -1)
                elif slot.spec.role in ("weight", "bias"):
                    keys = streams.keys(distinct, "init", part=part)
                    draw = Draw(keys, slot.spec.shape, slot.spec.fan_in, slot.spec.fan_out, slot.spec.role == "bias")
                    values = torch.from_numpy(initializer(draw)).to(dtype)[source].flatten(1)
                elif isinstance(start, Tensor):
                    values = start.to(dtype)[target].flatten(1)
                else:
                    values = torch.full((len(rows), slot.stop - slot.start), start, dtype=dtype)
                theta[target, slot.start : slot.stop] = values
        return theta
