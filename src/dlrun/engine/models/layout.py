"""How the parameters of a model lie in one matrix.

``theta`` has a row for every run and a column for every parameter: [R, P]. A slot is a range of columns with a shape and a role;
layers see their slots as views, so that an optimizer can treat all of them at once and a layer needs no copy.

Shapes: R runs, P parameters.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from dlrun import streams
from dlrun.components.initializers import Draw, Initializer
from dlrun.lazy import Tensor

Matrix = TypeVar("Matrix", NDArray[Any], Tensor)
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
    value: float | NDArray[Any] | Callable[[Sequence[int]], NDArray[Any]] = 0.0
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

    def view(self, matrix: Matrix) -> Matrix:
        """This slot of every run: [R, *shape], sharing memory with ``matrix`` [R, P], an array or a tensor."""
        found: Matrix = matrix[:, self.start : self.stop].reshape(len(matrix), *self.spec.shape)
        return found


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

    def views(self, matrix: Matrix) -> list[list[Matrix]]:
        """For each layer its slots in ``matrix`` [R, P], as views [R, *shape]."""
        return [[slot.view(matrix) for slot in slots] for slots in self._by_layer]

    def weight_mask(self) -> NDArray[np.bool_]:
        """Which columns are weights, and not biases, norms or activations: [P]."""
        mask = np.zeros(self.size, dtype=bool)
        for slot in self.slots:
            mask[slot.start : slot.stop] = slot.spec.role == "weight"
        return mask

    def initialize(
        self, seeds: Sequence[int], initializers: Sequence[tuple[Initializer, Sequence[int]]], floats: str
    ) -> NDArray[Any]:
        """Fresh parameters of every run: [R, P].

        ``initializers`` pairs each initializer with the rows that use it. Every slot of every run draws from its own part of the
        run's init stream, so a run starts at the same point alone and in any cohort. Equal seeds are drawn once.
        """
        theta = np.empty((len(seeds), self.size), dtype=floats)
        for initializer, rows in initializers:
            distinct = sorted({seeds[row] for row in rows})
            place = {seed: i for i, seed in enumerate(distinct)}
            source = [place[seeds[row]] for row in rows]
            target = list(rows)
            for part, slot in enumerate(self.slots):
                start = slot.spec.value
                values: Any = start
                if callable(start):
                    values = start(distinct).reshape(len(distinct), -1)[source]
                elif slot.spec.role in ("weight", "bias"):
                    keys = streams.keys(distinct, "init", part=part)
                    draw = Draw(keys, slot.spec.shape, slot.spec.fan_in, slot.spec.fan_out, slot.spec.role == "bias")
                    values = initializer(draw).reshape(len(distinct), -1)[source]
                elif isinstance(start, np.ndarray):
                    values = start.reshape(len(seeds), -1)[target]
                theta[target, slot.start : slot.stop] = values
        return theta
