"""Pooling: fewer places, each of which stands for several.

Shapes: R runs, B batch rows, C channels, T places of a sequence, H x W pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dlrun.engine.layers.base import Layer, LayerType, Pass, Place, Sample, unfit
from dlrun.engine.layers.convolution import apart, stacked
from dlrun.errors import InputError
from dlrun.lazy import Tensor, torch


class MaxPool2d(Layer):
    """The largest value of every window of ``kernel`` x ``kernel`` pixels, or of ``height`` x ``kernel``."""

    def __init__(self, kernel: int = 2, height: int | None = None) -> None:
        self.kernel = [kernel if height is None else height, kernel]

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        images = stacked(x)
        y, places = torch.nn.functional.max_pool2d(images, self.kernel, return_indices=True)
        return apart(y, len(x)), (images, places)

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        images, places = saved
        if first:
            return None
        dx = torch.ops.aten.max_pool2d_with_indices_backward(
            stacked(grad).contiguous(), images, self.kernel, self.kernel, [0, 0], [1, 1], False, places
        )
        return apart(dx, len(grad))


class MaxPool1d(Layer):
    """The largest value of every window of ``kernel`` places: signals are images of one row."""

    def __init__(self, kernel: int = 2) -> None:
        self.pool = MaxPool2d(kernel, height=1)

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        y, saved = self.pool.forward(parameters, buffers, x.unsqueeze(3), pass_)
        return y.squeeze(3), saved

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        dx = self.pool.backward(parameters, gradients, grad.unsqueeze(3), saved, first)
        return None if dx is None else dx.squeeze(3)


class Mean(Layer):
    """The mean over all places of a channel, of a sequence over its words: [R, B, C, ...] -> [R, B, C]."""

    def __init__(self, *, padded: bool = False) -> None:
        self.padded = padded

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        if not self.padded or pass_.words is None:
            return x.flatten(3).mean(3), (x.shape, None)
        words = pass_.words.unsqueeze(2).to(x.dtype)  # [R, B, 1, T]
        fraction = words / words.sum(3, keepdim=True)
        return (x * fraction).sum(3), (x.shape, fraction)

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        shape, fraction = saved
        if first:
            return None
        if fraction is not None:
            of_words: Tensor = grad.unsqueeze(3) * fraction
            return of_words
        each: Tensor = grad / shape[3:].numel()
        return each.view(*grad.shape, *[1] * (len(shape) - 3)).expand(shape)


class Last(Layer):
    """What a channel has at the last place, of a sequence at its last word: [R, B, C, T] -> [R, B, C]."""

    def __init__(self, *, padded: bool = False) -> None:
        self.padded = padded

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        if not self.padded or pass_.words is None:
            places = torch.full((*x.shape[:3], 1), x.shape[3] - 1, device=x.device)
        else:
            places = (pass_.words.sum(2) - 1).view(*x.shape[:2], 1, 1).expand(*x.shape[:3], 1)
        return x.gather(3, places).squeeze(3), (x.shape, places)

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        shape, places = saved
        return None if first else grad.new_zeros(shape).scatter_(3, places, grad.unsqueeze(3))


def _max_pool1d(place: Place, size: int, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    sample = place.sample
    if len(sample.shape) != 2:
        raise unfit("max_pool1d", "signals", sample)
    if sample.padded:
        raise InputError("model.layers: max_pool1d would mix words with the padding behind them; put mean there")
    return [MaxPool1d(size)], Sample((sample.shape[0], sample.shape[1] // size))


def _mean(place: Place, size: None, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    sample = place.sample
    if len(sample.shape) == 1:
        raise unfit("mean", "signals, images or embedded words", sample)
    return [Mean(padded=sample.padded)], Sample(sample.shape[:1])


def _last(place: Place, size: None, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    sample = place.sample
    if len(sample.shape) != 2:
        raise unfit("last", "signals or embedded words", sample)
    return [Last(padded=sample.padded)], Sample(sample.shape[:1])


def _max_pool2d(place: Place, size: int, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    shape = place.sample.shape
    if len(shape) != 3:
        raise unfit("max_pool2d", "images", place.sample)
    return [MaxPool2d(size)], Sample((shape[0], shape[1] // size, shape[2] // size))


TYPES = (
    LayerType("max_pool1d", _max_pool1d, size=2),
    LayerType("max_pool2d", _max_pool2d, size=2),
    LayerType("mean", _mean, sized=False),
    LayerType("last", _last, sized=False),
)
