"""The numbers of runs as the kernel takes them: one column after the other.

Shapes: R runs.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dlrun.components.arrays import Array


class UnfitError(Exception):
    """What the kernel has not, in words."""


class Columns:
    """Numbers of every run, one column after the other: [R, n] in float32."""

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._columns: list[NDArray[np.float32]] = []

    def add(self, *values: ArrayLike) -> int:
        """Add columns, each one number or [R] of them, and return the place of the first. Of int32 the bits are kept."""
        first = len(self._columns)
        self._columns += [np.broadcast_to(_floats(np.asarray(value)).ravel(), self._runs) for value in values]
        return first

    def rows(self, rows: Sequence[tuple[float, ...]]) -> int:
        """Add as many columns as the longest of these rows has numbers, 0 where another has fewer."""
        longest = max(map(len, rows))
        padded = [[*row, *[0.0] * (longest - len(row))] for row in rows]
        return self.add(*zip(*padded, strict=True))

    def matrix(self) -> NDArray[np.float32]:
        """All columns: [R, n]."""
        return np.stack(self._columns, 1) if self._columns else np.zeros((self._runs, 1), np.float32)


def _floats(values: Array) -> NDArray[np.float32]:
    return values.view(np.float32) if values.dtype == np.int32 else values.astype(np.float32)
