"""What makes probabilities of scores, and their logarithms, which lose nothing where a probability is rounded to 0 or 1.

All are stable for scores of any size, infinite ones too, and give an array of the shape and the type that they are given.
"""

import numpy as np

from dlrun.components.arrays import Array, quiet


@quiet
def sigmoid(z: Array) -> Array:
    """1 / (1 + exp(-z))."""
    small = np.exp(-np.abs(z))
    found: Array = np.where(z < 0, small, 1) / (1 + small)
    return found


@quiet
def log_sigmoid(z: Array) -> Array:
    """log(1 / (1 + exp(-z))) = min(z, 0) - log(1 + exp(-|z|))."""
    small = np.abs(z)
    np.negative(small, out=small)
    np.log1p(np.exp(small, out=small), out=small)
    return np.subtract(np.minimum(z, 0), small, out=small)


@quiet
def softplus(z: Array) -> Array:
    """log(1 + exp(z))."""
    return -log_sigmoid(-z)


@quiet
def logit(p: Array) -> Array:
    """log(p / (1 - p)); infinite where p is 0 or 1."""
    found: Array = np.log(p / (1 - p))
    return found


@quiet
def log_sum_exp(z: Array, axis: int) -> Array:
    """log(sum exp(z)) over an axis, which stays with a length of 1."""
    most = z.max(axis, keepdims=True)
    most[np.isinf(most)] = 0  # -inf of all is log(0), and not NaN
    found: Array = np.log(np.exp(z - most).sum(axis, keepdims=True)) + most
    return found


@quiet
def log_softmax(z: Array, axis: int) -> Array:
    """log(exp(z) / sum exp(z))."""
    shifted: Array = z - z.max(axis, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis, keepdims=True))
    return shifted


@quiet
def softmax(z: Array, axis: int) -> Array:
    """exp(z) / sum exp(z)."""
    shifted: Array = z - z.max(axis, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(axis, keepdims=True)
    return shifted


@quiet
def sparsemax(z: Array, axis: int) -> Array:
    """The probability vector nearest to z, with exact zeros; see ``losses.sparsemax``, which is the same of tensors."""
    shifted: Array = z - z.max(axis, keepdims=True)
    ordered = -np.sort(-shifted, axis=axis)
    rank = np.arange(1, z.shape[axis] + 1, dtype=z.dtype).reshape(-1, *[1] * (z.ndim - 1 - axis % z.ndim))
    threshold = ((ordered.cumsum(axis) - 1) / rank).max(axis, keepdims=True)
    found: Array = np.maximum(shifted - threshold, 0)
    return found
