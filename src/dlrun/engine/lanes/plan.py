"""What the kernel is told of a cohort: which runs are the lanes of which block, its layers, and the numbers of every run.

Shapes: R runs, G blocks of V lanes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlrun.components.arrays import Array
from dlrun.components.regularizers import LabelSmoothing
from dlrun.engine import aligned
from dlrun.engine.batches import fours
from dlrun.engine.cohort import CohortRun
from dlrun.engine.lanes.changes import softens
from dlrun.engine.lanes.columns import Columns, UnfitError
from dlrun.engine.lanes.library import Layer, kernel, kinds
from dlrun.engine.lanes.pointwise import Functions
from dlrun.engine.lanes.updates import Updates
from dlrun.engine.layers import (
    Add,
    BatchNorm,
    Convolution,
    Dropout,
    Embedding,
    Flatten,
    Fork,
    Linear,
    MaxPool1d,
    MaxPool2d,
    Mean,
    Pointwise,
    Upsample,
)
from dlrun.engine.layers.convolution import convolved
from dlrun.engine.step import TrainStep

V = 8  # runs in a vector, as in native/vector.h

MOST = {"linear": 1 << 20, "convolution": 1 << 26}
"""Multiplications of a layer in a step of one run, above which torch is used: its libraries multiply large matrices faster.

How many runs there are does not count, since a run's bits must not depend on that. At the limits the kernel takes half of torch's
time for eight runs, and two to three times as long for one, which has seven empty lanes beside it.
"""


class LaneKind(NamedTuple):
    """The numbers of a run's components that decide with which others it can be in a block."""

    shared: tuple[int, int, int]  # activation, head and loss, which all runs of a block have
    update: tuple[int, int]  # the optimizer and its flags, of which a block may have several


class BlockKind(NamedTuple):
    """The runs of a block.

    Args:
        shared: see ``LaneKind``.
        updates: each optimizer with its flags and the lanes that have it, as bits.
    """

    shared: tuple[int, int, int]
    updates: Sequence[tuple[int, int, int]]


@dataclass(frozen=True)
class Part:
    """One run as a lane: the kind of block that it can be in, and its numbers."""

    kind: LaneKind
    activation: tuple[float, ...]
    loss: tuple[float, ...]
    rates: tuple[float, ...]  # of the optimizer and the penalties
    penalties: int  # flags, which all runs of a cohort share


@dataclass(frozen=True)
class Lanes:
    """Which run is which lane. Runs that are one object, as copies that fill up a cohort are, share a lane.

    Args:
        rows: of each lane, a row of theta that it is: [G V].
        lane: of each row of theta, its lane: [R].
        blocks: what runs each block has.
    """

    rows: NDArray[np.int64]
    lane: NDArray[np.int64]
    blocks: Sequence[BlockKind]

    @staticmethod
    def of(runs: Sequence[CohortRun], kinds: Sequence[LaneKind]) -> "Lanes":
        """Runs of a kind side by side in whole blocks; those that are left over share blocks with other optimizers.

        A block that is not full is filled up with copies of its last run.
        """
        first = {id(run): row for row, run in reversed(list(enumerate(runs)))}
        members: dict[LaneKind, list[int]] = {}
        for row in sorted(first.values()):
            members.setdefault(kinds[row], []).append(row)
        blocks = [mine[start : start + V] for mine in members.values() for start in range(0, len(mine) - V + 1, V)]
        blocks += _fitted({kind: mine[len(mine) // V * V :] for kind, mine in members.items()})
        place = {row: number * V + lane for number, block in enumerate(blocks) for lane, row in enumerate(block)}
        filled = [block + block[-1:] * (V - len(block)) for block in blocks]
        lane = np.array([place[first[id(run)]] for run in runs])
        return Lanes(np.array(filled).ravel(), lane, [_group([kinds[row] for row in block]) for block in filled])

    def spread(self, values: Array) -> Array:
        """Numbers of runs [R, n] as vectors of the kernel [G, n, V]."""
        return aligned.held(values[self.rows].reshape(len(self.blocks), V, values.shape[1]).swapaxes(1, 2))

    def gather(self, vectors: Array) -> Array:
        """Vectors of the kernel [G, n, V] as numbers of runs [R, n]."""
        return self.of_runs(vectors.swapaxes(1, 2).reshape(len(self.rows), vectors.shape[1]))

    def of_runs(self, lanes: Array) -> Array:
        """What lanes have, [G V, ...] or of those that are ``wanted``, as what runs have, [R, ...].

        A view where the runs are the first lanes.
        """
        return lanes[self.lane] if self._first is None else lanes[: self._first]

    @property
    def wanted(self) -> int:
        """How many of the lanes, from the first on, ``of_runs`` looks at."""
        return len(self.rows) if self._first is None else self._first

    @cached_property
    def _first(self) -> int | None:
        """How many runs there are, where they are the first lanes in their order."""
        runs = len(self.lane)
        return runs if bool((self.lane == np.arange(runs)).all()) else None


def _fitted(left: Mapping[LaneKind, list[int]]) -> list[list[int]]:
    """Rows of each kind, fewer than a block has, in as few blocks as going from the most to the fewest finds; none is divided."""
    blocks: dict[tuple[int, int, int], list[list[int]]] = {}
    for kind, rows in sorted(left.items(), key=lambda item: -len(item[1])):
        if rows:
            mine = blocks.setdefault(kind.shared, [])
            room = next((block for block in mine if len(block) + len(rows) <= V), None)
            if room is None:
                mine.append(room := [])
            room += rows
    return [block for mine in blocks.values() for block in mine]


def _group(kinds: Sequence[LaneKind]) -> BlockKind:
    """What the lanes of a block have, from their kinds."""
    lanes: dict[tuple[int, int], int] = {}
    for lane, kind in enumerate(kinds):
        lanes[kind.update] = lanes.get(kind.update, 0) | 1 << lane
    return BlockKind(kinds[0].shared, [(*update, bits) for update, bits in lanes.items()])


def samples(x: Array, y: Array, place: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Inputs and targets side by side, filled up to fours, as the kernel reads them: [S, N, D] and [S, N, T] to [S, N, n].

    Numbers of words and of classes are int32. Where x lies in its ``place`` already, y is put beside it.
    """
    inputs, numbers = x.shape[2], x.shape[2] + y.shape[2]
    found = aligned.zeros(*x.shape[:2], fours(numbers)) if place is None else place
    if place is None:
        _as(x, found)[..., :inputs] = x
    _as(y, found)[..., inputs:numbers] = y
    return found


def _as(values: Array, place: NDArray[np.float32]) -> Array:
    """The place as it is for such values."""
    return place if values.dtype.kind == "f" else place.view(np.int32)


@cache
def _catalogue() -> tuple[Functions, Updates]:
    found = kernel()
    assert found is not None
    return Functions(found), Updates(found)


def parts(train_step: TrainStep) -> list[Part]:
    """Every run as a lane. Raises UnfitError for a component that the kernel has not.

    Runs that differ in their seeds alone have the same components, which are looked at once.
    """
    known: dict[tuple[Any, ...], Part] = {}
    found = []
    for run in train_step.runs:
        key = components(run)
        if key not in known:
            known[key] = _part(run, train_step)
        found.append(known[key])
    return found


def components(run: CohortRun) -> tuple[Any, ...]:
    """What says which components a run has, without looking into them."""
    parts = (run.activation, run.loss, run.optimizer, *run.regularizers)
    return (*map(id, parts), run.head, run.clip_norm, run.clip_value)


def _part(run: CohortRun, train_step: TrainStep) -> Part:
    functions, updates = _catalogue()
    pixels = train_step.task.pixels_of(train_step.data.shape)
    soft = any(map(softens, run.regularizers))
    smoothing = next((r.values.get("smoothing", 0.1) for r in run.regularizers if r.function is LabelSmoothing), 0.0)
    activation, head = functions.activation(run.activation), functions.head(run.head)
    loss = functions.loss(run.loss, train_step.task.name, train_step.settings.outputs, soft=soft, smoothing=smoothing)
    optimizer = updates.optimizer(run.optimizer)
    penalties = updates.penalties(run.regularizers, run.clip_norm, run.clip_value)
    if activation is None or head is None or loss is None or optimizer is None or penalties is None:
        raise UnfitError("a component of a run")
    output_shape = train_step.task.output_shape(train_step.settings.outputs, pixels)
    if not functions.fits(loss, train_step.data.y, output_shape, soft=soft):
        raise UnfitError("a loss of other targets")
    if pixels and run.head in ("softmax", "log_probability"):
        raise UnfitError("a softmax of pixels")
    kind = LaneKind((activation.number, head.number, loss.number), (optimizer.kind, optimizer.flags))
    return Part(kind, activation.numbers, loss.numbers, (*optimizer.numbers, *penalties.numbers), penalties.flags)


Images = tuple[int, int, int]
"""Channels, height and width of a sample. A table is channels of one place, a signal is an image of one row."""


def layers(train_step: TrainStep, columns: Columns) -> list[Layer]:
    """The layers of the model; their numbers go to ``columns``. Raises UnfitError for a layer that the kernel has not."""
    model = train_step.model
    sample = train_step.data.sample
    shape: Images = (sample[0], *[1] * (3 - len(sample)), *sample[1:])  # type: ignore[assignment]
    flat = len(sample) == 1
    theta = {slot.layer: slot.start for slot in reversed(model.layout.slots)}
    buffer = {slot.layer: slot.start for slot in reversed(model.buffers.slots)}
    found: list[Layer] = []
    forks: list[int] = []
    for number, layer in enumerate(model.layers):
        if isinstance(layer, Flatten):
            shape, flat = (math.prod(shape), 1, 1), True
            continue
        made = Layer(theta=theta.get(number, 0), buffer=buffer.get(number, 0), channels=shape[0], height=shape[1], width=shape[2])
        made.inputs = math.prod(shape)
        if isinstance(layer, Pointwise):
            made.part = bool(layer.learned)
            kind = "activation" if model.is_activation(number) else "head"
            made.kernel = shape[0] if flat else shape[2]  # the axis of a softmax is the last one
        elif isinstance(layer, Fork):
            kind = "fork"
            forks.append(len(found))
        elif isinstance(layer, Add):
            kind, made.part = "add", forks.pop()
        else:
            kind, shape = _layer(layer, made, shape, columns)
            flat = isinstance(layer, Mean) or (flat and not isinstance(layer, Embedding))
        made.kind, made.outputs = kinds("layers")[kind], math.prod(shape)
        if products(made) * train_step.settings.batch_size * (train_step.task.members or 1) > MOST.get(kind, math.inf):
            raise UnfitError(f"a large {kind} layer")
        found.append(made)
    return found


def products(layer: Layer) -> int:
    """The multiplications of a layer for a row, forwards."""
    if layer.kind == kinds("layers")["convolution"]:
        return int(layer.outputs * layer.channels * layer.kernel_height * layer.kernel)
    return int(layer.inputs * (layer.outputs if layer.kind == kinds("layers")["linear"] else 1))


def _layer(layer: Any, made: Layer, shape: Images, columns: Columns) -> tuple[str, Images]:
    """Fill in what the kernel is told of a layer: its name there, and what it makes of such a sample."""
    channels, height, width = shape
    if isinstance(layer, Linear):
        return "linear", (layer.outputs, 1, 1)
    if isinstance(layer, Dropout):
        limit = np.rint(np.asarray(layer.keep) * 65536.0).astype(np.int32) - 32768
        made.part, made.numbers = layer.part, columns.add(limit, 1 / layer.keep)
        return "dropout", shape
    if isinstance(layer, BatchNorm):
        made.numbers = columns.add(layer.momentum, layer.eps)
        return "batch_norm", shape
    if isinstance(layer, Embedding):
        made.kernel, made.filters = layer.shapes[0].shape
        return "embedding", (layer.size, 1, channels)
    if isinstance(layer, Convolution):
        made.padded = layer.padded
        made.filters, made.kernel, made.stride, made.padding = layer.filters, layer.kernel, layer.stride[0], layer.padding[0]
        made.kernel_height, made.padding_height = (1, 0) if layer.axes == 1 else (made.kernel, made.padding)
        made.out_height, made.out_width = (
            convolved(side, kernel=kernel, stride=made.stride, padding=padding)
            for side, kernel, padding in ((height, made.kernel_height, made.padding_height), (width, made.kernel, made.padding))
        )
        return "convolution", (made.filters, made.out_height, made.out_width)
    if isinstance(layer, MaxPool2d | MaxPool1d):
        made.kernel_height, made.kernel = (layer if isinstance(layer, MaxPool2d) else layer.pool).kernel
        return "max_pool", (channels, height // made.kernel_height, width // made.kernel)
    if isinstance(layer, Mean):
        made.padded = layer.padded
        return "mean", (channels, 1, 1)
    if isinstance(layer, Upsample):
        made.stride = layer.scale
        return "upsample", (channels, height * layer.scale, width * layer.scale)
    raise UnfitError(f"the layer {type(layer).__name__}")
