"""Initializers: where training starts. All runs are drawn at once from their own init streams.

    initializer(draw) -> the values of one parameter for every run, [R, *shape]

``draw`` hands out the run's random numbers; fans are those of the layer. Biases start at zero, except with torch's default,
which draws them from the same range as the weights.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from dlrun import streams


@dataclass(frozen=True)
class Draw:
    """Random numbers for one parameter of every run: ``keys`` [R] of the init stream, ``shape`` of the parameter in one run."""

    keys: Tensor
    shape: tuple[int, ...]
    fan_in: int
    fan_out: int
    bias: bool = False

    def uniform(self, bound: float) -> Tensor:
        """Uniform in [-bound, bound): float64 [R, *shape]."""
        return (
            (streams.uniform(self.keys, math.prod(self.shape), torch.float64) * 2 - 1)
            .mul_(bound)
            .view(len(self.keys), *self.shape)
        )

    def normal(self, std: float) -> Tensor:
        """Normal with mean 0: float64 [R, *shape]."""
        return streams.normal(self.keys, math.prod(self.shape), torch.float64).mul_(std).view(-1, *self.shape)

    def zeros(self) -> Tensor:
        """Zeros: float64 [R, *shape]."""
        return torch.zeros(len(self.keys), *self.shape, dtype=torch.float64, device=self.keys.device)


def default(draw: Draw) -> Tensor:
    """What torch.nn.Linear and Conv2d do: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), biases too."""
    return draw.uniform(1 / math.sqrt(draw.fan_in))


def kaiming(draw: Draw) -> Tensor:
    """N(0, 2 / fan_in), made for relu (He, Zhang, Ren & Sun 2015, arXiv:1502.01852)."""
    return draw.zeros() if draw.bias else draw.normal(math.sqrt(2 / draw.fan_in))


def xavier(draw: Draw) -> Tensor:
    """U(-a, a) with a = sqrt(6 / (fan_in + fan_out)), made for tanh (Glorot & Bengio 2010)."""
    return draw.zeros() if draw.bias else draw.uniform(math.sqrt(6 / (draw.fan_in + draw.fan_out)))


def lecun(draw: Draw) -> Tensor:
    """N(0, 1 / fan_in), which selu needs (LeCun, Bottou, Orr & Mueller 1998)."""
    return draw.zeros() if draw.bias else draw.normal(math.sqrt(1 / draw.fan_in))


def orthogonal(draw: Draw) -> Tensor:
    """Orthonormal rows or columns of the weight seen as a matrix (inputs x outputs) (Saxe, McClelland & Ganguli 2014)."""
    if draw.bias:
        return draw.zeros()
    if len(draw.shape) == 2:
        rows, columns = draw.shape
    else:  # a convolution's [out, in, height, width] is a matrix with one row for each output channel
        rows, columns = draw.shape[0], math.prod(draw.shape[1:])
    tall = draw.normal(1.0).reshape(-1, max(rows, columns), min(rows, columns))
    q, r = torch.linalg.qr(tall)
    q = q * r.diagonal(dim1=1, dim2=2).sgn().unsqueeze(1)  # without this the distribution is not uniform
    square: Tensor = q if rows >= columns else q.transpose(1, 2)
    return square.reshape(-1, *draw.shape)


def zeros(draw: Draw) -> Tensor:
    """All zero: every hidden unit of a layer stays equal to its neighbours, which is the lesson."""
    return draw.zeros()


def eye(draw: Draw) -> Tensor:
    """As torch.nn.init.eye_: a weight is the identity matrix [inputs, outputs], so that a layer passes on what it is given.

    A convolution passes on its channels (torch.nn.init.dirac_).
    """
    found = draw.zeros()
    if not draw.bias:
        places = torch.arange(min(draw.shape[:2]))
        matrix = found
        for size in draw.shape[2:]:  # of a convolution the middle of its kernel
            matrix = matrix[:, :, :, size // 2]
        matrix[:, places, places] = 1.0
    return found


INITIALIZERS: dict[str, Callable[[Draw], Tensor]] = {
    function.__name__: function for function in (default, kaiming, xavier, lecun, orthogonal, zeros, eye)
}
