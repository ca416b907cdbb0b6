"""Convolutions: the runs are groups of channels, so that one call computes all of them.

Shapes: R runs, B batch rows, C channels, O channels that come out, H x W pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from dlrun.engine.layers.base import Layer, LayerType, Option, Pass, Place, Sample, unfit
from dlrun.engine.models.layout import Shape
from dlrun.errors import InputError
from dlrun.lazy import Tensor, torch

OPTIONS = {"kernel": Option(3), "stride": Option(1), "padding": Option(1, minimum=0)}


def stacked(x: Tensor) -> Tensor:
    """[R, B, C, ...] as [B, R C, ...], the form in which a grouped convolution keeps the runs apart."""
    return x.transpose(0, 1).flatten(1, 2)


def apart(x: Tensor, runs: int) -> Tensor:
    """[B, R C, ...] back as [R, B, C, ...], a view."""
    return x.view(len(x), runs, -1, *x.shape[2:]).transpose(0, 1)


class Convolution(Layer):
    """A convolution over the last ``axes`` axes, one group of channels for each run: of images two, of signals one.

    x [R, B, C, *places], weight [O, C, k, ...] in every run. With ``padded`` the places are those of a sequence, and what stands
    where there is no word is taken for 0: the output at a word does not depend on how much padding is behind the sequence.
    """

    def __init__(
        self, axes: int, inputs: int, outputs: int, *, kernel: int = 3, stride: int = 1, padding: int = 0, padded: bool = False
    ) -> None:
        area = kernel**axes
        self.filters, self.kernel = outputs, kernel
        self.axes, self.stride, self.padding, self.padded = axes, [stride] * axes, [padding] * axes, padded
        self.shapes = (
            Shape("weight", (outputs, inputs, *[kernel] * axes), "weight", inputs * area, outputs * area),
            Shape("bias", (outputs,), "bias", inputs * area, outputs * area),
        )

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        weight, bias = parameters
        words = pass_.words.unsqueeze(2) if self.padded and pass_.words is not None else None
        runs, images = len(x), stacked(x if words is None else x * words)
        convolve = torch.nn.functional.conv1d if self.axes == 1 else torch.nn.functional.conv2d
        y = convolve(images, weight.flatten(0, 1), bias.flatten(), self.stride, self.padding, groups=runs)
        return apart(y, runs), (images, words)

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        weight = parameters[0]
        images, words = saved
        runs = len(weight)
        dx, dw, db = torch.ops.aten.convolution_backward(
            stacked(grad).contiguous(),
            images,
            weight.flatten(0, 1),
            [weight.shape[0] * weight.shape[1]],
            self.stride,
            self.padding,
            [1] * self.axes,
            False,
            [0] * self.axes,
            runs,
            [not first, True, True],
        )
        gradients[0].copy_(dw.view_as(gradients[0]))
        gradients[1].copy_(db.view_as(gradients[1]))
        if first:
            return None
        of_input = apart(dx, runs)
        return of_input if words is None else of_input * words


Conv1d, Conv2d = partial(Convolution, 1), partial(Convolution, 2)


def convolved(side: int, *, kernel: int, stride: int, padding: int) -> int:
    """How long a side of that length is behind a convolution."""
    return (side + 2 * padding - kernel) // stride + 1


def _conv1d(place: Place, size: int, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    sample = place.sample
    if len(sample.shape) != 2:
        raise unfit("conv1d", "signals or embedded words", sample)
    length = convolved(sample.shape[1], **options)
    if sample.padded and length != sample.shape[1]:
        raise InputError(
            "model.layers: conv1d of padded sequences must keep their length; "
            "take stride 1, an odd kernel, and half of it, rounded down, as padding"
        )
    return [_convolution(1, place, size, options)], replace(sample, shape=(size, length))


def _conv2d(place: Place, size: int, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    sample = place.sample
    if len(sample.shape) != 3:
        raise unfit("conv2d", "images", sample)
    return [_convolution(2, place, size, options)], Sample((size, *(convolved(side, **options) for side in sample.shape[1:])))


def _convolution(axes: int, place: Place, size: int, options: Mapping[str, int]) -> Convolution:
    kernel, stride, padding = options["kernel"], options["stride"], options["padding"]
    sample = place.sample
    return Convolution(axes, sample.shape[0], size, kernel=kernel, stride=stride, padding=padding, padded=sample.padded)


TYPES = (LayerType("conv1d", _conv1d, options=OPTIONS), LayerType("conv2d", _conv2d, options=OPTIONS))
