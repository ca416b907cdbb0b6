"""Layers without parameters that rearrange a sample: repeated pixels, axes in one.

Shapes: R runs, B batch rows, C channels, H x W pixels.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from dlrun.engine.layers.base import Layer, LayerType, Pass, Place, Sample, unfit
from dlrun.errors import InputError


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


def _upsample(place: Place, size: int, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    shape = place.sample.shape
    if len(shape) != 3:
        raise unfit("upsample", "images", place.sample)
    return [Upsample(size)], Sample((shape[0], shape[1] * size, shape[2] * size))


def _flatten(place: Place, size: None, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    shape = place.sample.shape
    if place.sample.padded:
        raise InputError("model.layers: flatten would mix words with the padding behind them; put mean there")
    return ([Flatten()], Sample((math.prod(shape),))) if len(shape) > 1 else ([], place.sample)


TYPES = (LayerType("upsample", _upsample, size=2), LayerType("flatten", _flatten, sized=False))
