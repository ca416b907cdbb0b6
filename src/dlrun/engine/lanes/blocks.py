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
        updates: each optimizer with its flags and the lanes that have it, as bits.
    """

    shared: tuple[int, int, int]
    updates: Sequence[tuple[int, int, int]]


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

        A block that is not full is filled up with copies of its last run.
        """
        first = {id(run): row for row, run in reversed(list(enumerate(runs)))}
        members: dict[LaneKind, list[int]] = {}
        for row in sorted(first.values()):
            members.setdefault(kinds[row], []).append(row)
        blocks = [mine[start : start + V] for mine in members.values() for start in range(0, len(mine) - V + 1, V)]
        blocks += _fitted({kind: mine[len(mine) // V * V :] for kind, mine in members.items()})
        place = {row: number * V + lane for number, block in enumerate(blocks) for lane, row in enumerate(block)}
        filled = [block + block[-1:] * (V - len(block)) for block in blocks]
        lane = np.array([place[first[id(run)]] for run in runs])
        return Lanes(np.array(filled).ravel(), lane, [_group([kinds[row] for row in block]) for block in filled])

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


def _fitted(left: Mapping[LaneKind, list[int]]) -> list[list[int]]:
    """Rows of each kind, fewer than a block has, in as few blocks as going from the most to the fewest finds; none is divided."""
    blocks: dict[tuple[int, int, int], list[list[int]]] = {}
    for kind, rows in sorted(left.items(), key=lambda item: -len(item[1])):
        if rows:
            mine = blocks.setdefault(kind.shared, [])
            room = next((block for block in mine if len(block) + len(rows) <= V), None)
            if room is None:
                mine.append(room := [])
            room += rows
    return [block for mine in blocks.values() for block in mine]


def _group(kinds: Sequence[LaneKind]) -> BlockKind:
    """What the lanes of a block have, from their kinds."""
    lanes: dict[tuple[int, int], int] = {}
    for lane, kind in enumerate(kinds):
        lanes[kind.update] = lanes.get(kind.update, 0) | 1 << lane
    return BlockKind(kinds[0].shared, [(*update, bits) for update, bits in lanes.items()])
