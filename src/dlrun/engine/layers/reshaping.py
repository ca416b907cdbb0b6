"""Layers without parameters that rearrange a sample: repeated pixels, axes in one, words as how often each occurs.

Shapes: R runs, B batch rows, C channels, H x W pixels, T places of a sequence, V words.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dlrun.engine.layers.base import Layer, LayerType, Pass, Place, Sample, unfit
from dlrun.errors import InputError
from dlrun.lazy import Tensor, torch


class Upsample(Layer):
    """Every pixel repeated ``scale`` x ``scale`` times (nearest neighbour)."""

    def __init__(self, scale: int = 2) -> None:
        self.scale = scale

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        return x.repeat_interleave(self.scale, 3).repeat_interleave(self.scale, 4), None

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        height, width = grad.shape[3] // self.scale, grad.shape[4] // self.scale
        blocks: Tensor = grad.reshape(*grad.shape[:3], height, self.scale, width, self.scale)
        summed: Tensor = blocks.sum((4, 6))
        return summed


class Flatten(Layer):
    """All axes behind the batch in one: [R, B, ...] -> [R, B, D]."""

    product = 0

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        return x.flatten(2), x.shape

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        return None if first else grad.reshape(tuple(saved))


class Counts(Layer):
    """How often a sequence has each word: int64 [R, B, T], words numbered from 1, to [R, B, V]. The padding does not count."""

    def __init__(self, words: int) -> None:
        self.words = words

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        counts = torch.zeros(*x.shape[:2], self.words + 1, dtype=pass_.dtype, device=x.device)
        return counts.scatter_add_(2, x, counts.new_ones(1).expand(x.shape))[..., 1:], None

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        return None


def _upsample(place: Place, size: int, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    shape = place.sample.shape
    if len(shape) != 3:
        raise unfit("upsample", "images", place.sample)
    return [Upsample(size)], Sample((shape[0], shape[1] * size, shape[2] * size))


def _flatten(place: Place, size: None, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    shape = place.sample.shape
    if place.sample.words:
        return [Counts(place.sample.words)], Sample((place.sample.words,))
    if place.sample.padded:
        raise InputError("model.layers: flatten would mix words with the padding behind them; put mean there")
    return ([Flatten()], Sample((math.prod(shape),))) if len(shape) > 1 else ([], place.sample)


TYPES = (LayerType("upsample", _upsample, size=2), LayerType("flatten", _flatten, sized=False))
