"""Random numbers for synthetic data: the "data" stream of a data seed, which is no run's seed.

Each use in a dataset has its own ``part``, so that the noise does not depend on how the points were drawn.
"""

import math

import numpy as np
from numpy.typing import NDArray

from dlrun import memory, streams
from dlrun.errors import DataError

Floats = NDArray[np.float64]

NUMBER_BYTES = 24  # of a drawn number: itself, and what it is computed from


def normal(seed: int, part: int, *shape: int) -> Floats:
    """Standard normal numbers, float64 of the given shape."""
    check_size(*shape)
    return streams.normal(_key(seed, part), math.prod(shape), np.float64).reshape(shape)


def uniform(seed: int, part: int, *shape: int) -> Floats:
    """Uniform numbers in [0, 1), float64 of the given shape."""
    check_size(*shape)
    return streams.uniform(_key(seed, part), math.prod(shape), np.float64).reshape(shape)


def permutation(seed: int, part: int, n: int) -> NDArray[np.int64]:
    """A random order of 0 .. n-1, int64 [n]."""
    check_size(n)
    order: NDArray[np.int64] = streams.permutations(_key(seed, part), n)[0]
    return order


def check_size(*shape: int, each: int = NUMBER_BYTES) -> None:
    """Refuse data that memory cannot hold, before it is made.

    Args:
        shape: of the numbers.
        each: bytes that a number takes.

    Raises:
        DataError: there is less memory.
    """
    numbers = " x ".join(f"{size:,}" for size in shape)
    memory.check(math.prod(shape) * each, f"dataset: {numbers} numbers", "take fewer rows or features", error=DataError)


def settled(values: Floats) -> Floats:
    """Values rounded to 10 decimals, so that the last bit of a processor's sine does not change a dataset's fingerprint."""
    return values.round(10) + 0.0  # no negative zeros


def _key(seed: int, part: int) -> NDArray[np.int64]:
    return streams.keys([seed], "data", part=part)
