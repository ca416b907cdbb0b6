"""Convolutions: the runs are groups of channels, so that one call computes all of them.

Shapes: R runs, B batch rows, C channels, O channels that come out, H x W pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlrun.engine.layers.base import Layer, LayerType, Option, Pass, Place, Sample, unfit
from dlrun.engine.layout import Shape

aten = torch.ops.aten

CONVOLUTION = {"kernel": Option(3), "stride": Option(1), "padding": Option(1, minimum=0)}


def stacked(x: Tensor) -> Tensor:
    """[R, B, C, H, W] as [B, R C, H, W], the form in which a grouped convolution keeps the runs apart."""
    return x.transpose(0, 1).flatten(1, 2)


def apart(x: Tensor, runs: int) -> Tensor:
    """[B, R C, H, W] back as [R, B, C, H, W], a view."""
    return x.view(len(x), runs, -1, *x.shape[2:]).transpose(0, 1)


class Conv2d(Layer):
    """A two-dimensional convolution, one group of channels for each run. x [R, B, C, H, W], weight [O, C, k, k] in every run."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, padding: int = 0) -> None:
        area = kernel * kernel
        self.stride, self.padding = [stride, stride], [padding, padding]
        self.shapes = (
            Shape("weight", (outputs, inputs, kernel, kernel), "weight", inputs * area, outputs * area),
            Shape("bias", (outputs,), "bias", inputs * area, outputs * area),
        )

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        weight, bias = parameters
        runs, images = len(x), stacked(x)
        y = F.conv2d(images, weight.flatten(0, 1), bias.flatten(), self.stride, self.padding, groups=runs)
        return apart(y, runs), images

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        weight = parameters[0]
        runs = len(weight)
        dx, dw, db = aten.convolution_backward(
            stacked(grad).contiguous(),
            saved,
            weight.flatten(0, 1),
            [weight.shape[0] * weight.shape[1]],
            self.stride,
            self.padding,
            [1, 1],
            False,
            [0, 0],
            runs,
            [not first, True, True],
        )
        gradients[0].copy_(dw.view_as(gradients[0]))
        gradients[1].copy_(db.view_as(gradients[1]))
        return None if first else apart(dx, runs)


def convolved(side: int, *, kernel: int, stride: int, padding: int) -> int:
    """How long a side of that length is behind a convolution."""
    return (side + 2 * padding - kernel) // stride + 1


def _conv2d(place: Place, size: int, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    shape = place.sample.shape
    if len(shape) != 3:
        raise unfit("conv2d", "images", place.sample)
    return [Conv2d(shape[0], size, **options)], Sample((size, *(convolved(side, **options) for side in shape[1:])))


TYPES = (LayerType("conv2d", _conv2d, options=CONVOLUTION),)
