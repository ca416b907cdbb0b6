"""Sums and means of arrays in which what is not defined is NaN, without a warning.

Shapes: R runs, K outputs.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

quiet = np.errstate(all="ignore")
"""For functions that compute 0 / 0, log(0) or numbers beyond those of a type where a run has no figure, or an infinite one."""


@quiet
def mean(values: Array) -> Array:
    """The mean of each run's numbers, float64: [R, ...] -> [R]. NaN where there are none."""
    axes = tuple(range(1, values.ndim))
    count = values[0].size if len(values) else 0
    total = np.count_nonzero(values, axis=axes) if values.dtype == bool else values.sum(axes, dtype=np.float64)
    found: Array = np.asarray(total) / np.float64(count)
    return found


@quiet
def nanmean(values: Array) -> Array:
    """The mean of each run's numbers that are not NaN: [R, K] -> [R]. NaN where there are none."""
    known = ~np.isnan(values)
    found: Array = np.where(known, values, 0.0).sum(1) / known.sum(1)
    return found


def rows(values: Array) -> Array:
    """The numbers of each run in a row: [R, ...] -> [R, n]."""
    return values.reshape(len(values), -1)
