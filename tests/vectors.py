"""Arrays for the kernel: [..., V], a run in each lane, aligned as its vectors are."""

from typing import Any

import numpy as np

V = 8  # see vector.h


def aligned(*shape: int, dtype: type = np.float32) -> np.ndarray:
    """Zeros [*shape, V] that begin where a vector may begin."""
    size = int(np.prod(shape)) * V * np.dtype(dtype).itemsize
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(*shape, V)


def lanes(values: object, dtype: type = np.float32) -> np.ndarray:
    """A copy of ``values`` [..., V] that the kernel can read."""
    array = np.asarray(values)
    out = aligned(*array.shape[:-1], dtype=dtype)
    out[...] = array
    return out


def pointer(array: np.ndarray) -> Any:
    """The array as an argument of a function of the kernel, kept alive as long as that."""
    return array.ctypes
