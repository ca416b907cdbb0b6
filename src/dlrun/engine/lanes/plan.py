"""What the kernel is told of a cohort: its layers, its data, and the numbers of every run."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.components.arrays import Array
from dlrun.components.regularizers import LabelSmoothing
from dlrun.engine import aligned
from dlrun.engine.batches import fours
from dlrun.engine.cohort import CohortRun
from dlrun.engine.lanes.blocks import LaneKind
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

MOST = {"linear": 1 << 20, "convolution": 1 << 26}
"""Multiplications of a layer in a step of one run, above which torch is used: its libraries multiply large matrices faster.

How many runs there are does not count, since a run's bits must not depend on that. At the limits the kernel takes half of torch's
time for eight runs, and two to three times as long for one, which has seven empty lanes beside it.
"""


@dataclass(frozen=True)
class Part:
    """One run as a lane: the kind of block that it can be in, and its numbers."""

    kind: LaneKind
    activation: tuple[float, ...]
    loss: tuple[float, ...]
    rates: tuple[float, ...]  # of the optimizer and the penalties
    penalties: int  # flags, which all runs of a cohort share


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
