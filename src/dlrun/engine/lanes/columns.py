"""The numbers of runs as the kernel takes them: one column after the other.

Shapes: R runs.
"""

from collections.abc import Sequence

from dlrun.lazy import Tensor, torch


class UnfitError(Exception):
    """What the kernel has not, in words."""


class Columns:
    """Numbers of every run, one column after the other: [R, n] in float32."""

    def __init__(self, runs: int) -> None:
        self._runs = runs
        self._columns: list[Tensor] = []

    def add(self, *values: float | Tensor) -> int:
        """Add columns, each one number or [R] of them, and return the place of the first. Of int32 the bits are kept."""
        first = len(self._columns)
        self._columns += [_floats(torch.as_tensor(value)).flatten().expand(self._runs) for value in values]
        return first

    def rows(self, rows: Sequence[tuple[float, ...]]) -> int:
        """Add as many columns as the longest of these rows has numbers, 0 where another has fewer."""
        longest = max(map(len, rows))
        padded = [[*row, *[0.0] * (longest - len(row))] for row in rows]
        return self.add(*(torch.tensor(column) for column in zip(*padded, strict=True)))

    def matrix(self) -> Tensor:
        """All columns: [R, n]."""
        return torch.stack(self._columns, 1) if self._columns else torch.zeros(self._runs, 1)


def _floats(values: Tensor) -> Tensor:
    return values.view(torch.float32) if values.dtype == torch.int32 else values.float()
