"""Pooling: fewer places, each of which stands for several.

Shapes: R runs, B batch rows, C channels, H x W pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlrun.engine.layers.base import Layer, LayerType, Pass, Place, Sample, unfit
from dlrun.engine.layers.convolution import apart, stacked

aten = torch.ops.aten


class MaxPool2d(Layer):
    """The largest value of every window of ``kernel`` x ``kernel`` pixels."""

    def __init__(self, kernel: int = 2) -> None:
        self.kernel = [kernel, kernel]

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        images = stacked(x)
        y, places = F.max_pool2d(images, self.kernel, return_indices=True)
        return apart(y, len(x)), (images, places)

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        images, places = saved
        if first:
            return None
        dx = aten.max_pool2d_with_indices_backward(
            stacked(grad).contiguous(), images, self.kernel, self.kernel, [0, 0], [1, 1], False, places
        )
        return apart(dx, len(grad))


def _max_pool2d(place: Place, size: int, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    shape = place.sample.shape
    if len(shape) != 3:
        raise unfit("max_pool2d", "images", place.sample)
    return [MaxPool2d(size)], Sample((shape[0], shape[1] // size, shape[2] // size))


TYPES = (LayerType("max_pool2d", _max_pool2d, size=2),)
