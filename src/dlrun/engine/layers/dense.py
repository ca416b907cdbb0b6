"""Dense layers: linear maps of flat samples, and the output of a model.

Shapes: R runs, B batch rows, D inputs, H outputs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dlrun.engine.layers.base import Layer, LayerType, Pass, Place, Sample, unfit
from dlrun.engine.layers.convolution import Conv2d
from dlrun.engine.models.layout import Shape
from dlrun.errors import InputError
from dlrun.lazy import Tensor, torch

SPREAD = 2000  # multiplications a run up to which an elementwise product and a sum beat a batched matrix product
NARROW = 16  # outputs below which a CPU library's matrix product is faster with its factors swapped
LIBRARY = 400  # multiplications from which torch leaves a product to a library


class Linear(Layer):
    """y = x W + b with W [D, H] in every run.

    Three ways to multiply, by size. In general, a batched matrix product. It costs some hundred nanoseconds a run, which is more
    than a small layer's arithmetic: where the runs lie innermost in memory (see TrainStep), a small product is an elementwise one
    and a sum, vectorized across the runs. With few outputs, y^T = W^T x^T, so that the long axis is the vectorized one.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        self.shapes = (
            Shape("weight", (inputs, outputs), "weight", inputs, outputs),
            Shape("bias", (1, outputs), "bias", inputs, outputs),
        )
        self.outputs, self.product = outputs, inputs * outputs
        self._few, self._single = outputs < min(inputs, NARROW), outputs == 1

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        weight, bias = parameters
        if self._spread(weight, x):
            product = (_inner(x).unsqueeze(2) * _inner(weight)).sum(1)  # [B, D, H, R] summed over D
            return _outer(product.add_(_inner(bias))), x
        if self._narrow(x):
            return torch.baddbmm(bias.transpose(1, 2), weight.transpose(1, 2), x.transpose(1, 2)).transpose(1, 2), x
        return torch.baddbmm(bias, x, weight), x

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        weight = parameters[0]
        torch.sum(grad, 1, keepdim=True, out=gradients[1])
        spread = self._spread(weight, saved)
        if spread:
            torch.sum(_inner(saved).unsqueeze(2) * _inner(grad).unsqueeze(1), 0, out=_inner(gradients[0]))
        elif self._narrow(saved):
            gradients[0].copy_(torch.bmm(grad.transpose(1, 2), saved).transpose(1, 2))
        else:
            gradients[0].copy_(torch.bmm(saved.transpose(1, 2), grad))
        if first:
            return None
        if self._single:
            return grad * weight.transpose(1, 2)
        if spread:
            return _outer((_inner(grad).unsqueeze(1) * _inner(weight)).sum(2))
        return torch.bmm(grad, weight.transpose(1, 2))

    def _spread(self, weight: Tensor, x: Tensor) -> bool:
        """Whether the runs lie innermost, and the product is small."""
        return weight.stride(0) == 1 and x.shape[1] * self.product <= SPREAD

    def _narrow(self, x: Tensor) -> bool:
        """Whether a CPU library multiplies, and there are few outputs."""
        return self._few and x.shape[1] * self.product >= LIBRARY and x.is_cpu


def _inner(x: Tensor) -> Tensor:
    """[R, B, D] as [B, D, R]."""
    return x.permute(1, 2, 0)


def _outer(x: Tensor) -> Tensor:
    """[B, D, R] as [R, B, D]."""
    return x.permute(2, 0, 1)


def _linear(place: Place, size: int, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    shape = place.sample.shape
    if place.sample.words:
        raise unfit("linear", "numbers", place.sample)
    if len(shape) != 1:
        raise InputError(f"model.layers: linear needs flat rows, but they have shape {list(shape)}; put flatten before it")
    return [Linear(shape[0], size)], Sample((size,))


def _output(place: Place, size: None, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    """A linear map to as many values as the task wants; on images, of each pixel."""
    shape = place.sample.shape
    if len(shape) == 1:
        return _linear(place, place.outputs, options)
    if len(shape) == 2:
        raise InputError(f"model.layers: output needs flat rows or images, but they have shape {list(shape)}; put mean before it")
    return [Conv2d(shape[0], place.outputs, kernel=1)], Sample((place.outputs, *shape[1:]))


TYPES = (LayerType("linear", _linear), LayerType("output", _output, sized=False, ends=True))
