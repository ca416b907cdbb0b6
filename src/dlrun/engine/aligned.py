"""Arrays for the kernel, which reads whole vectors: they begin where a line of the cache does."""

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

LINE = 64  # bytes


def zeros(*shape: int, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """An array of zeros [*shape]."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + LINE, np.uint8)
    first = -memory.ctypes.data % LINE
    return memory[first : first + size].view(dtype).reshape(shape)


def held(values: NDArray[Any]) -> NDArray[Any]:
    """The same numbers where the kernel may read them, in the order of their axes."""
    if values.flags.c_contiguous and values.ctypes.data % LINE == 0:
        return values
    copy = zeros(*values.shape, dtype=values.dtype)
    copy[...] = values
    return copy
