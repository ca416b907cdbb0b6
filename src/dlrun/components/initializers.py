"""Initializers: where training starts. All runs are drawn at once from their own init streams.

    initializer(draw) -> the values of one parameter for every run, [R, *shape]

``draw`` hands out the run's random numbers; fans are those of the layer. Biases start at zero, except with torch's default,
which draws them from the same range as the weights.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlrun import streams

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Draw:
    """Random numbers for one parameter of every run: ``keys`` [R] of the init stream, ``shape`` of the parameter in one run."""

    keys: NDArray[np.int64]
    shape: tuple[int, ...]
    fan_in: int
    fan_out: int
    bias: bool = False

    def uniform(self, bound: float) -> Floats:
        """Uniform in [-bound, bound): float64 [R, *shape]."""
        drawn = streams.uniform(self.keys, math.prod(self.shape), np.float64)
        return ((drawn * 2 - 1) * bound).reshape(-1, *self.shape)

    def normal(self, std: float) -> Floats:
        """Normal with mean 0: float64 [R, *shape]."""
        return (streams.normal(self.keys, math.prod(self.shape), np.float64) * std).reshape(-1, *self.shape)

    def zeros(self) -> Floats:
        """Zeros: float64 [R, *shape]."""
        return np.zeros((len(self.keys), *self.shape))


def default(draw: Draw) -> Floats:
    """What torch.nn.Linear and Conv2d do: U(-1/sqrt(fan_in), 1/sqrt(fan_in)), biases too."""
    return draw.uniform(1 / math.sqrt(draw.fan_in))


def kaiming(draw: Draw) -> Floats:
    """N(0, 2 / fan_in), made for relu (He, Zhang, Ren & Sun 2015, arXiv:1502.01852)."""
    return draw.zeros() if draw.bias else draw.normal(math.sqrt(2 / draw.fan_in))


def xavier(draw: Draw) -> Floats:
    """U(-a, a) with a = sqrt(6 / (fan_in + fan_out)), made for tanh (Glorot & Bengio 2010)."""
    return draw.zeros() if draw.bias else draw.uniform(math.sqrt(6 / (draw.fan_in + draw.fan_out)))


def lecun(draw: Draw) -> Floats:
    """N(0, 1 / fan_in), which selu needs (LeCun, Bottou, Orr & Mueller 1998)."""
    return draw.zeros() if draw.bias else draw.normal(math.sqrt(1 / draw.fan_in))


def orthogonal(draw: Draw) -> Floats:
    """Orthonormal rows or columns of the weight seen as a matrix (inputs x outputs) (Saxe, McClelland & Ganguli 2014)."""
    if draw.bias:
        return draw.zeros()
    if len(draw.shape) == 2:
        rows, columns = draw.shape
    else:  # a convolution's [out, in, height, width] is a matrix with one row for each output channel
        rows, columns = draw.shape[0], math.prod(draw.shape[1:])
    tall = draw.normal(1.0).reshape(-1, max(rows, columns), min(rows, columns))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diagonal(r, axis1=1, axis2=2))[:, None]  # without this the distribution is not uniform
    square: Floats = q if rows >= columns else q.transpose(0, 2, 1)
    return square.reshape(-1, *draw.shape)


def zeros(draw: Draw) -> Floats:
    """All zero: every hidden unit of a layer stays equal to its neighbours, which is the lesson."""
    return draw.zeros()


def eye(draw: Draw) -> Floats:
    """As torch.nn.init.eye_: a weight is the identity matrix [inputs, outputs], so that a layer passes on what it is given.

    A convolution passes on its channels (torch.nn.init.dirac_).
    """
    found = draw.zeros()
    if not draw.bias:
        places = np.arange(min(draw.shape[:2]))
        matrix = found
        for size in draw.shape[2:]:  # of a convolution the middle of its kernel
            matrix = matrix[:, :, :, size // 2]
        matrix[:, places, places] = 1.0
    return found


Initializer = Callable[[Draw], Floats]

INITIALIZERS: dict[str, Initializer] = {
    function.__name__: function for function in (default, kaiming, xavier, lecun, orthogonal, zeros, eye)
}
