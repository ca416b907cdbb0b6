"""Stacked layers: each computes one layer of every run at once, and knows its own gradient.

    forward(parameters, x, pass_) -> (y, saved)                     x [R, B, ...] -> y [R, B, ...]
    backward(parameters, gradients, grad, saved, first) -> dx       grad: the gradient of the loss with respect to y

``backward`` writes the gradients of the layer's parameters into ``gradients`` (views into the gradient matrix) and returns that
of its input, or None for the first layer, whose input needs none. Explicit gradients make a step about three times as fast as
autograd's at the sizes dlrun is made for; what has no explicit gradient is differentiated by autograd on its own (Pointwise).

Shapes: R runs, B batch rows, D inputs, H outputs, C channels.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dlrun import streams
from dlrun.components.activations import Activation
from dlrun.engine.components import Group, Mosaic
from dlrun.engine.layout import Shape

aten = torch.ops.aten


@dataclass(frozen=True)
class Pass:
    """One forward pass: training or evaluation, and for training the runs' dropout keys of this step [R]."""

    training: bool = False
    keys: Tensor | None = None


class Layer(ABC):
    """One layer of every run."""

    shapes: Sequence[Shape] = ()  # parameters
    buffers: Sequence[Shape] = ()  # what it remembers without training it, such as running statistics
    random: bool = False  # whether it draws from the dropout stream while training
    inner: int = 0  # the numbers that a row leaves behind inside the layer, beside its output

    @abstractmethod
    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        """The output, and what ``backward`` needs."""

    @abstractmethod
    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        """Write the gradients of the parameters; return that of the input."""


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
        self.size = inputs * outputs
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
        return weight.stride(0) == 1 and x.shape[1] * self.size <= SPREAD

    def _narrow(self, x: Tensor) -> bool:
        """Whether a CPU library multiplies, and there are few outputs."""
        return self._few and x.shape[1] * self.size >= LIBRARY and x.is_cpu


def _inner(x: Tensor) -> Tensor:
    """[R, B, D] as [B, D, R]."""
    return x.permute(1, 2, 0)


def _outer(x: Tensor) -> Tensor:
    """[B, D, R] as [R, B, D]."""
    return x.permute(2, 0, 1)


def _images(x: Tensor) -> Tensor:
    """[R, B, C, H, W] as [B, R C, H, W], the form in which a grouped convolution keeps the runs apart."""
    return x.transpose(0, 1).flatten(1, 2)


def _runs(x: Tensor, runs: int) -> Tensor:
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
        runs, images = len(x), _images(x)
        y = F.conv2d(images, weight.flatten(0, 1), bias.flatten(), self.stride, self.padding, groups=runs)
        return _runs(y, runs), images

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        weight = parameters[0]
        runs = len(weight)
        dx, dw, db = aten.convolution_backward(
            _images(grad).contiguous(),
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
        return None if first else _runs(dx, runs)


class MaxPool2d(Layer):
    """The largest value of every window of ``kernel`` x ``kernel`` pixels."""

    def __init__(self, kernel: int = 2) -> None:
        self.kernel = [kernel, kernel]

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        images = _images(x)
        y, places = F.max_pool2d(images, self.kernel, return_indices=True)
        return _runs(y, len(x)), (images, places)

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        images, places = saved
        if first:
            return None
        dx = aten.max_pool2d_with_indices_backward(
            _images(grad).contiguous(), images, self.kernel, self.kernel, [0, 0], [1, 1], False, places
        )
        return _runs(dx, len(grad))


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

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        return x.flatten(2), x.shape

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        return None if first else grad.reshape(tuple(saved))


class Dropout(Layer):
    """y = x * mask / (1 - p) with a mask of ones of probability 1 - p, while training; y = x otherwise.

    Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov 2014. ``p`` is a float, or a column [R, 1] with one for each run.
    ``part`` tells the dropout layers of a model apart in the random stream.
    """

    random = True

    def __init__(self, p: float | Tensor, part: int) -> None:
        self.keep = (1 - p).flatten() if isinstance(p, Tensor) else 1 - p
        self.part = part

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        if not pass_.training or pass_.keys is None:
            return x, None
        kept = streams.bernoulli(streams.derive(pass_.keys, self.part), x[0].numel(), self.keep).to(x.dtype)
        scale = kept.mul_(1 / self.keep.unsqueeze(1) if isinstance(self.keep, Tensor) else 1 / self.keep).view(x.shape)
        return x * scale, scale

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        return grad if saved is None else grad * saved


class BatchNorm(Layer):
    """y = gamma (x - mean) / sqrt(var + eps) + beta, mean and variance over the batch of each run (and over an image's pixels).

    Ioffe & Szegedy 2015, arXiv:1502.03167. At evaluation the running statistics stand in: r <- (1 - momentum) r + momentum s,
    with the unbiased variance, as in torch.nn.BatchNorm. A batch of one value a channel, which torch refuses, normalizes to beta
    and leaves the running statistics alone: the last batch of an epoch may be such. ``places`` counts the values of a channel in
    a row, 1 or the pixels.
    """

    def __init__(self, channels: int, *, momentum: float | Tensor, eps: float | Tensor, places: int = 1) -> None:
        self.momentum, self.eps, self.places = momentum, eps, places
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
            return (x - mean) * (weight * torch.rsqrt(var + self._column(self.eps, x))) + bias, None
        count = x[0].numel() // x.shape[2]
        var, mean = torch.var_mean(x, axes, correction=0, keepdim=True)
        if count > 1:
            momentum = self._column(self.momentum, buffers[0])
            for running, batch in zip(buffers, (mean, var * (count / (count - 1))), strict=True):
                running += momentum * (batch.view(running.shape) - running)
        rstd = torch.rsqrt(var + self._column(self.eps, x))
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
    def _column(value: float | Tensor, like: Tensor) -> float | Tensor:
        return value.to(like.dtype).view(-1, *[1] * (like.dim() - 1)) if isinstance(value, Tensor) else value


class Pointwise(Layer):
    """An activation, which may be another one for every run. Each group of rows is computed by its own function.

    ``activations`` pairs each group with its function. Where the function has no explicit derivative, or the runs learn its
    hyperparameters (``learned`` names them), autograd differentiates it alone.
    """

    def __init__(
        self, activations: Sequence[tuple[Group, Activation]], learned: Sequence[str] = (), start: Tensor | None = None
    ) -> None:
        self.activations = activations
        self._mosaic = Mosaic([group.rows for group, _ in activations])
        self.learned = tuple(learned)
        if learned:
            self.shapes = (Shape("parameters", (len(learned),), "activation", value=0.0 if start is None else start),)

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        if len(self.activations) == 1:
            y, saved = self._forward(*self.activations[0], parameters, x, pass_)
            return y, [saved]
        found = [
            self._forward(group, activation, [group.rows.take(p) for p in parameters], group.rows.take(x), pass_)
            for group, activation in self.activations
        ]
        return self._mosaic.join([y for y, _ in found], x), [saved for _, saved in found]

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        if len(self.activations) == 1:
            dx, learned = self._backward(*self.activations[0], grad, saved[0])
            if learned is not None:
                gradients[0].copy_(learned)
            return dx
        pieces = []
        for (group, activation), save in zip(self.activations, saved, strict=True):
            dx, learned = self._backward(group, activation, group.rows.take(grad), save)
            pieces.append(dx)
            if learned is not None:
                group.rows.put(gradients[0], learned)
        return self._mosaic.join(pieces, grad)

    def slope(self, group: Group, activation: Activation, saved: Any) -> Tensor:
        """The derivative of an elementwise activation at every value of a saved pass."""
        return self._backward(group, activation, torch.ones_like(saved[1]), saved)[0]

    def _forward(
        self, group: Group, activation: Activation, parameters: Sequence[Tensor], x: Tensor, pass_: Pass
    ) -> tuple[Tensor, Any]:
        values = group.shaped(x.dim())
        if activation.backward is not None and not self.learned:
            y = activation.forward(x, **values)
            return y, (x, y, values)
        if not pass_.training:
            return activation.forward(x, **values | self._columns(parameters, x.dim())), None
        with torch.enable_grad():
            leaves = [leaf.detach().requires_grad_() for leaf in (x, *parameters)]
            y = activation.forward(leaves[0], **values | self._columns(leaves[1:], x.dim()))
        return y.detach(), (leaves, y)

    def _backward(self, group: Group, activation: Activation, grad: Tensor, saved: Any) -> tuple[Tensor, Tensor | None]:
        if activation.backward is not None and not self.learned:
            x, y, values = saved
            return activation.backward(grad, x, y, **values), None
        leaves, y = saved
        dx, *learned = torch.autograd.grad(y, leaves, grad, retain_graph=True)  # diagnostics ask twice
        return dx, learned[0] if learned else None

    def _columns(self, parameters: Sequence[Tensor], dimensions: int) -> dict[str, Tensor]:
        if not self.learned:
            return {}
        shape = (-1, *[1] * (dimensions - 1))
        return {name: parameters[0][:, i].view(shape) for i, name in enumerate(self.learned)}
