"""Arrays for the kernel: [..., V], a run in each lane, aligned as its vectors are."""

from typing import Any

import numpy as np

from dlrun.engine.aligned import zeros

V = 8  # see vector.h


def aligned(*shape: int, dtype: type = np.float32) -> np.ndarray:
    """Zeros [*shape, V] that begin where a vector may begin."""
    return zeros(*shape, V, dtype=dtype)


def lanes(values: object, dtype: type = np.float32) -> np.ndarray:
    """A copy of ``values`` [..., V] that the kernel can read."""
    array = np.asarray(values)
    out = aligned(*array.shape[:-1], dtype=dtype)
    out[...] = array
    return out


def pointer(array: np.ndarray) -> Any:
    """The array as an argument of a function of the kernel, kept alive as long as that."""
    return array.ctypes
