"""What a layer is, and how one is declared.

    forward(parameters, x, pass_) -> (y, saved)                     x [R, B, ...] -> y [R, B, ...]
    backward(parameters, gradients, grad, saved, first) -> dx       grad: the gradient of the loss with respect to y

``backward`` writes the gradients of the layer's parameters into ``gradients`` (views into the gradient matrix) and returns that
of its input, or None for the first layer, whose input needs none. Explicit gradients make a step about three times as fast as
autograd's at the sizes dlrun is made for.

A file of this package is a family of layers and ends with its ``TYPES``: the keys that select its layers in ``model.layers``,
what sizes and options they take, and how they follow from the layer before.

Shapes: R runs, B batch rows, D inputs, H outputs, C channels.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.data.modality import TABLE, Modality, modality_of
from dlrun.engine.models.layout import Shape
from dlrun.errors import InputError
from dlrun.lazy import Tensor, torch

Column = NDArray[np.float64]
"""A number of each run, [R, 1]."""


def column(value: float | Column) -> Callable[[torch.device], float | Tensor]:
    """A number, or one of each run, as torch computes with it on a device, to which it is sent once."""
    return cache(lambda device: torch.from_numpy(value).to(device) if isinstance(value, np.ndarray) else value)


@dataclass(frozen=True)
class Pass:
    """One forward pass: training or evaluation, and for training the runs' dropout keys of this step [R].

    ``forks`` has what layers further on will add; see residual.py.
    """

    training: bool = False
    keys: Tensor | None = None
    words: Tensor | None = None  # of sequences, where there is a word and not the padding behind them: bool [R, B, T]
    dtype: torch.dtype = field(default_factory=lambda: torch.float32)  # of the numbers that sequences become
    forks: list[tuple[Tensor, list[Tensor]]] = field(default_factory=list)


class Layer(ABC):
    """One layer of every run.

    Attributes:
        shapes: its parameters, with their initial values.
        buffers: what it remembers without training it, such as running statistics.
        random: whether it draws from the dropout stream while training.
        inner: the numbers that a sample leaves behind inside the layer, beside its output.
        product: the multiplications of its largest product for one sample; infinite where the layer does not compute with the
            runs innermost in memory.
        narrowest: the fewest numbers of a sample that it computes with at a time, where these are fewer than it puts out; else 0.
        averaged: over how many values of a sample it takes a mean together with the other samples of a batch; 0 if it takes none.
    """

    shapes: Sequence[Shape] = ()
    buffers: Sequence[Shape] = ()
    random: bool = False
    inner: int = 0
    product: float = math.inf
    narrowest: int = 0
    averaged: int = 0

    @abstractmethod
    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        """The output, and what ``backward`` needs."""

    @abstractmethod
    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        """Write the gradients of the parameters; return that of the input."""


@dataclass(frozen=True)
class Sample:
    """What one sample is between two layers.

    Args:
        shape: of it.
        words: how many words there are, where it is a sequence of their numbers; 0 where it holds other numbers.
        users: how many of them are users, where it is the numbers of a user and an item; 0 for other samples.
        padded: whether its last axis is the places of a sequence, some of which hold no word.
    """

    shape: tuple[int, ...]
    words: int = 0
    padded: bool = False
    users: int = 0

    @property
    def modality(self) -> Modality:
        """What it is made of."""
        found = modality_of(self.shape, integral=self.words > 0, pairs=self.users > 0)
        assert found is not None, "layers turn samples with one to three axes into such"
        return found


@dataclass(frozen=True)
class Around:
    """What regularizers put around every activation: functions from (shape of a sample, number of the activation) to a layer."""

    before: tuple[Callable[[tuple[int, ...], int], Layer], ...] = ()
    after: tuple[Callable[[tuple[int, ...], int], Layer], ...] = ()


@dataclass(frozen=True)
class Place:
    """Where a layer is put: what it is given, and what the model knows.

    Args:
        sample: what it is given.
        outputs: how many values the task wants of a sample, or of each of its pixels.
        activation: makes a layer of the selected activation.
        around: what goes around that.
        number: how many activations stand before.
        forks: what went into each of the residual connections that it stands in.
    """

    sample: Sample
    outputs: int
    activation: Callable[[], Layer]
    around: Around
    number: int = 0
    forks: tuple[Sample, ...] = ()


Built = tuple[list[Layer], Sample]
"""The layers that a key gives at a place, and what they make of a sample."""


@dataclass(frozen=True)
class Option:
    """An option of a layer, a whole number."""

    default: int
    minimum: int = 1


@dataclass(frozen=True)
class LayerType:
    """A key of ``model.layers``.

    Args:
        key: the word.
        build: (place, size, options) -> the layers and what comes out of them; raises InputError where they cannot stand there.
        sized: whether a size is written behind the key, a whole number of at least 1.
        size: the size where none is written; None where one must be.
        options: what may be written beside the size.
        ends: whether it puts out what the task wants, so that a model ends with it.
        written: whether it is a key of its own; else another key stands for it and others.
    """

    key: str
    build: Callable[[Place, Any, Mapping[str, int]], Built]
    sized: bool = True
    size: int | None = None
    options: Mapping[str, Option] = field(default_factory=dict)
    ends: bool = False
    written: bool = True


def unfit(key: str, needs: str, sample: Sample) -> InputError:
    """The error of a layer that cannot stand behind such a sample."""
    modality = sample.modality
    what = ("have " if modality is TABLE else "are ") + modality.described(sample.shape)
    return InputError(f"model.layers: {key} needs {needs}, but the rows {what}; type model={modality.model}")
