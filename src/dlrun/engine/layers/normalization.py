"""Normalization over the batch.

Shapes: R runs, B batch rows, C channels or units, H x W pixels.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dlrun.engine.layers.base import Column, Layer, Pass, column
from dlrun.engine.models.layout import Shape
from dlrun.lazy import Tensor, torch


class BatchNorm(Layer):
    """y = gamma (x - mean) / sqrt(var + eps) + beta, mean and variance over the batch of each run (and over an image's pixels).

    Ioffe & Szegedy 2015, arXiv:1502.03167. At evaluation the running statistics stand in: r <- (1 - momentum) r + momentum s,
    with the unbiased variance, as in torch.nn.BatchNorm. A batch of one value a channel, which torch refuses, normalizes to beta
    and leaves the running statistics alone: the last batch of an epoch may be such. ``places`` counts the values of a channel in
    a row, 1 or the pixels.
    """

    product = 0

    def __init__(self, channels: int, *, momentum: float | Column, eps: float | Column, places: int = 1) -> None:
        self.channels, self.momentum, self.eps, self.averaged = channels, momentum, eps, places
        self._momentum, self._eps = column(momentum), column(eps)
        self.shapes = (Shape("weight", (channels,), "norm", value=1.0), Shape("bias", (channels,), "norm", value=0.0))
        self.buffers = (
            Shape("running_mean", (channels,), "norm", value=0.0),
            Shape("running_var", (channels,), "norm", value=1.0),
        )

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        shape = (len(x), 1, x.shape[2], *[1] * (x.dim() - 3))  # [R, 1, C, 1, 1] against [R, B, C, H, W]
        axes = [1, *range(3, x.dim())]
        weight, bias = (parameter.view(shape) for parameter in parameters)
        if not pass_.training:
            mean, var = (buffer.view(shape) for buffer in buffers)
            return (x - mean) * (weight * torch.rsqrt(var + self._shaped(self._eps(x.device), x))) + bias, None
        count = x[0].numel() // x.shape[2]
        var, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        if count > 1:
            momentum = self._shaped(self._momentum(x.device), buffers[0])
            for running, batch in zip(buffers, (mean, var * (count / (count - 1))), strict=True):
                running += momentum * (batch.view(running.shape) - running)
        rstd = torch.rsqrt(var + self._shaped(self._eps(x.device), x))
        normal = (x - mean) * rstd
        return normal * weight + bias, (normal, rstd, axes)

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        normal, rstd, axes = saved
        torch.sum(grad * normal, axes, out=gradients[0])
        torch.sum(grad, axes, out=gradients[1])
        if first:
            return None
        dn = grad * parameters[0].view(rstd.shape)
        dx: Tensor = dn - dn.mean(axes, keepdim=True) - normal * (dn * normal).mean(axes, keepdim=True)
        return dx.mul_(rstd)

    @staticmethod
    def _shaped(value: float | Tensor, like: Tensor) -> float | Tensor:
        return value.to(like.dtype).view(-1, *[1] * (like.dim() - 1)) if isinstance(value, Tensor) else value


def around(values: Mapping[str, Any]) -> Callable[[tuple[int, ...], int], Layer]:
    """The layer at an activation, from the hyperparameters of the regularizer."""
    return lambda shape, number: BatchNorm(shape[0], places=math.prod(shape[1:]), **values)
