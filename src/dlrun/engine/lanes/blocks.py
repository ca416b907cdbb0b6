"""Which runs are the lanes of which block.

Shapes: R runs, G blocks of V lanes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlrun.components.arrays import Array
from dlrun.engine import aligned
from dlrun.engine.cohort import CohortRun

V = 8  # runs in a vector, as in native/vector.h


class LaneKind(NamedTuple):
    """The numbers of a run's components that decide with which others it can be in a block."""

    shared: tuple[int, int, int]  # activation, head and loss, which all runs of a block have
    update: tuple[int, int]  # the optimizer and its flags, of which a block may have several


class BlockKind(NamedTuple):
    """The runs of a block.

    Args:
        shared: see ``LaneKind``.
        updates: each optimizer with its flags.
        lanes: how many lanes each has, one behind the other. Those behind the last are of none.
    """

    shared: tuple[int, int, int]
    updates: Sequence[tuple[int, int]]
    lanes: int


@dataclass(frozen=True)
class Lanes:
    """Which run is which lane. Runs that are one object, as copies that fill up a cohort are, share a lane.

    Args:
        rows: of each lane, a row of theta that it is: [G V].
        lane: of each row of theta, its lane: [R].
        blocks: what runs each block has.
    """

    rows: NDArray[np.int64]
    lane: NDArray[np.int64]
    blocks: Sequence[BlockKind]

    @staticmethod
    def of(runs: Sequence[CohortRun], kinds: Sequence[LaneKind]) -> "Lanes":
        """Runs of a kind side by side in whole blocks; those that are left over share blocks with other optimizers.

        What is not full is filled up with copies of its last run.
        """
        first = {id(run): row for row, run in reversed(list(enumerate(runs)))}
        members: dict[LaneKind, list[int]] = {}
        for row in sorted(first.values()):
            members.setdefault(kinds[row], []).append(row)
        blocks = [[mine[start : start + V]] for mine in members.values() for start in range(0, len(mine) - V + 1, V)]
        blocks += _fitted({kind: mine[len(mine) // V * V :] for kind, mine in members.items()})
        laid = [_laid(block, kinds) for block in blocks]
        rows = [row for mine, _ in laid for row in mine]
        place = {row: lane for lane, row in reversed(list(enumerate(rows)))}
        return Lanes(np.array(rows), np.array([place[first[id(run)]] for run in runs]), [kind for _, kind in laid])

    def spread(self, values: Array) -> Array:
        """Numbers of runs [R, n] as vectors of the kernel [G, n, V]."""
        return aligned.held(values[self.rows].reshape(len(self.blocks), V, values.shape[1]).swapaxes(1, 2))

    def gather(self, vectors: Array) -> Array:
        """Vectors of the kernel [G, n, V] as numbers of runs [R, n]."""
        return self.of_runs(vectors.swapaxes(1, 2).reshape(len(self.rows), vectors.shape[1]))

    def of_runs(self, lanes: Array) -> Array:
        """What lanes have, [G V, ...] or of those that are ``wanted``, as what runs have, [R, ...].

        A view where the runs are the first lanes.
        """
        return lanes[self.lane] if self._first is None else lanes[: self._first]

    @property
    def wanted(self) -> int:
        """How many of the lanes, from the first on, ``of_runs`` looks at."""
        return len(self.rows) if self._first is None else self._first

    @cached_property
    def _first(self) -> int | None:
        """How many runs there are, where they are the first lanes in their order."""
        runs = len(self.lane)
        return runs if bool((self.lane == np.arange(runs)).all()) else None


Groups = list[list[int]]
"""The rows of a block, by optimizer."""


def _fitted(left: Mapping[LaneKind, list[int]]) -> list[Groups]:
    """Groups of a kind each, smaller than a block, as blocks: those that share one take equally many lanes."""
    blocks: dict[tuple[tuple[int, int, int], int], list[Groups]] = {}
    for kind, rows in left.items():
        if rows:
            lanes = _lanes(rows)
            mine = blocks.setdefault((kind.shared, lanes), [])
            if not mine or len(mine[-1]) == V // lanes:
                mine.append([])
            mine[-1].append(rows)
    return [block for mine in blocks.values() for block in mine]


def _lanes(rows: Sequence[int]) -> int:
    """How many lanes a group takes: a power of two."""
    return 1 << (len(rows) - 1).bit_length()


def _laid(block: Groups, kinds: Sequence[LaneKind]) -> tuple[list[int], BlockKind]:
    """The rows of a block, a lane each, and its kind. A group that is alone has all lanes."""
    lanes = V if len(block) == 1 else _lanes(block[0])
    rows = [row for group in block for row in group + group[-1:] * (lanes - len(group))]
    kind = BlockKind(kinds[rows[0]].shared, [kinds[group[0]].update for group in block], lanes)
    return rows + rows[-1:] * (V - len(rows)), kind
