"""The data of a cohort, ready to be drawn from.

Rows of theta that share a split share its arrays. Every split's rows lie in the order train, validation, test, scaled by the
numbers that were fitted on its training rows, so that an epoch is a gather by index and an evaluation is a slice. Splits that
would not fit into memory side by side are scaled when they are read, from the one raw copy. What draws batches of it for torch,
on its device, is in by_torch/draws.py.

Shapes: R runs, S splits, N rows (n in one subset).
"""

import copy
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dlrun import streams
from dlrun.components.arrays import Array
from dlrun.components.tasks import TASKS
from dlrun.data.dataset import Data
from dlrun.data.preprocessing import Preprocessing, Scalings, renumbered, total
from dlrun.data.splits import Split, Splits
from dlrun.engine import aligned

MATERIALIZED_BYTES = 1 << 28  # scaled copies of all splits together; above it batches are scaled as they are drawn
CHUNK_ROWS = 1 << 16  # rows converted at once
CHUNK_NUMBERS = 1 << 18  # of inputs that are scaled at once: 2 MB in float64, which stay in a cache

SUBSETS = ("train", "validation", "test")

Here = NDArray[np.int64] | slice
"""Places of rows in every run's split."""


class Batches:
    """The splits of one dataset. ``split_of`` gives the split of each run: R numbers in [0, S).

    All splits have the same number of training rows. Their validation and test rows may differ in number (see ``spans``).

    Attributes:
        floats: the type of scaled numbers.
        order: of each split, its rows of the data: int64 [S, N].
        x: scaled inputs [S, N, *shape]; None where they are scaled when they are read: from ``raw``, by ``fit``.
        samples: float32 [S, N, n], of which x is a part where the kernel may read it: a row has whole ``fours`` of numbers, and
            room for its targets behind the inputs. None for other inputs.
        y: targets as they are trained on [S, N, ...].
        raw: the inputs of the data, near 0.
        fit: what stands for a missing value, what is subtracted, and what is multiplied with, [S, ...] each.
        weights: how much rows count [S, N], 1 on average over training rows; None where all count alike.
        split_of: int64 [R]; ``in_order`` where it is each split once, in their order.
    """

    def __init__(
        self,
        data: Data,
        splits: Sequence[Split],
        preprocessing: Sequence[Preprocessing],
        split_of: Sequence[int],
        *,
        floats: str = "float32",
    ) -> None:
        splits, scalings = Splits.of(splits), Scalings.of(preprocessing)
        sizes: dict[str, list[int]] = {name: found.tolist() for name, found in zip(SUBSETS, splits.sizes(), strict=True)}
        assert len(set(sizes["train"])) == 1, "batches are made of one row of every run"
        self.sizes = {name: max(found) for name, found in sizes.items()}
        self.rows = sum(found[0] for found in sizes.values())
        self._starts = {"train": 0, "validation": self.sizes["train"], "test": self.rows - self.sizes["test"]}
        self._lacking = {name: [self.sizes[name] - size for size in found] for name, found in sizes.items()}
        self.floats = np.dtype(floats)
        self.row_shape = data.shape
        self.order = order = splits.order()
        fill, shift, factor = scalings.fill, scalings.shift, scalings.factor
        self.y_shift, self.y_factor = scalings.y_shift, scalings.y_factor
        # where the targets of each split lie among those of the data, training targets of their own behind the others
        of_train = np.arange(self.rows) < self.sizes["train"]
        self._source = order + len(data) * of_train if data.train_y is not None else order
        self._values = data.y if data.train_y is None else np.concatenate([data.y, data.train_y])
        self._scaled = TASKS[data.task].scaled
        together = max(1, CHUNK_NUMBERS // (self.rows * data.x[0].size))
        pieces = [slice(start, start + together) for start in range(0, len(splits), together)]
        stacked = [scalings[piece].together(data.x.ndim, data.y.ndim) for piece in pieces]
        self.y = np.concatenate([self._targets(self._source[piece], p) for piece, p in zip(pieces, stacked, strict=True)])
        self._facts = {name: known[order] for name, known in data.facts.items()}
        self.weights = None if data.weights is None else self._scaled_weights(data.weights[order])
        self.x: Array | None = None
        self.raw: Array | None = None
        self.samples: NDArray[np.float32] | None = None
        if materialized(data, splits, floats):
            self.x = self._place_for(data)
            for piece, p in zip(pieces, stacked, strict=True):
                self._copy(data.x, order[piece], p, self.x[piece])
        elif data.modality.integral:
            self.raw = data.x
        else:
            # measured from near its mean before it is rounded, since a mean of 1e9 would leave float32 no digits
            features = data.x.ndim - len(data.sample)
            axes = tuple(axis for axis in range(data.x.ndim) if axis != features)
            origin = _mean(data.x[:CHUNK_ROWS].astype(np.float64), axes).reshape(shift[0].shape)
            self.raw = np.empty(data.x.shape, self.floats)
            for start in range(0, len(data), CHUNK_ROWS):
                self.raw[start : start + CHUNK_ROWS] = data.x[start : start + CHUNK_ROWS].astype(np.float64) - origin
            fill, shift = fill - origin, shift - origin
        self.fit = tuple(values.astype(self.floats) for values in (fill, shift, factor))
        self._assign(np.array(split_of, dtype=np.int64))

    def _place_for(self, data: Data) -> Array:
        """Where the scaled inputs of all splits will lie: what the kernel may read, with room for the targets behind each row."""
        if data.modality.integral:
            return np.empty((*self.order.shape, *data.shape), np.int64)
        if self.floats != np.float32:
            return np.empty((*self.order.shape, *data.shape), self.floats)
        inputs = math.prod(data.shape)
        self.samples = aligned.zeros(*self.order.shape, fours(inputs + math.prod(self.y.shape[2:])))
        return self.samples[..., :inputs].reshape(*self.order.shape, *data.shape)  # a view

    def _copy(self, x: Array, order_SN: NDArray[np.int64], preprocessing: Preprocessing, to: Array) -> None:
        """Scale the inputs of some splits, so many rows at a time that nothing of size is held beside them."""
        together = max(1, CHUNK_NUMBERS // (len(order_SN) * x[0].size))
        for start in range(0, order_SN.shape[1], together):
            rows = x[order_SN[:, start : start + together]]
            rows = rows.astype(np.float64, copy=False) if rows.dtype.kind == "f" else rows
            to[:, start : start + together] = preprocessing.inputs(rows)

    def _targets(self, source_SN: NDArray[np.int64], preprocessing: Preprocessing) -> Array:
        y = self._values[source_SN]
        scaled = preprocessing.targets(y.astype(np.float64, copy=False)) if self._scaled else y
        return scaled.astype(self.floats, copy=False) if scaled.dtype.kind == "f" else scaled

    def _scaled_weights(self, weights_SN: NDArray[np.float64]) -> Array:
        """Weights of rows, 1 on average over the training rows of each split."""
        mean = total(weights_SN[:, : self.sizes["train"]])[:, None] / self.sizes["train"]
        with np.errstate(divide="ignore", invalid="ignore"):
            return (weights_SN / mean).astype(self.floats)

    def _assign(self, split_of: NDArray[np.int64]) -> None:
        self.split_of = split_of
        self.in_order = split_of.tolist() == list(range(len(self.order)))
        self._units = self.y_shift[split_of][:, None], self.y_factor[split_of][:, None]
        self._true: dict[tuple[int, int], Array] = {}

    def select(self, runs: Sequence[int]) -> "Batches":
        """The same data for some of the runs, by their places among the present ones; nothing is copied."""
        table = copy.copy(self)
        table._assign(self.split_of[list(runs)])
        return table

    def prepare(self, raw: Array) -> Array:
        """Other inputs [n, *shape], as they would be of the data, prepared for each run: [R, n, *shape]."""
        return self._scale(np.broadcast_to(raw, (len(self.split_of), *raw.shape)))

    def _scale(self, raw: Array) -> Array:
        """Impute, shift and scale rows [R, n, *shape] by the numbers of each run's split."""
        if raw.dtype.kind != "f":
            return renumbered(raw, self.fit[0][self.split_of][:, None])
        fill, shift, factor = (values[self.split_of][:, None] for values in self.fit)  # [R, 1, *shape]
        if self.fit[0].ndim <= len(self.row_shape):  # pairs and triplets: one number a feature for all members
            fill, shift, factor = fill[:, :, None], shift[:, :, None], factor[:, :, None]
        found: Array = (np.where(np.isnan(raw), fill, raw) - shift) * factor
        return found

    def subset(self, name: str, start: int = 0, stop: int | None = None) -> tuple[Array, Array]:
        """Rows ``start`` to ``stop`` of a subset, in its own order: x [R, n, *shape], y [R, n, ...]. No copy for one split."""
        first = self._starts[name]
        stop = self.sizes[name] if stop is None else min(stop, self.sizes[name])
        return self.at(slice(first + start, first + stop))

    def sample(self, name: str, count: int) -> Here:
        """Where about ``count`` rows of a subset lie: drawn with equal chances, always the same ones, or all if it has no more.

        Not the first rows: data may be sorted by class.
        """
        first, size = self._starts[name], self.sizes[name]
        if size <= count:
            return slice(first, first + size)
        fraction = streams.uniform(streams.keys([0], "data"), count, np.float64)[0]
        return first + np.sort((fraction * size).astype(np.int64))

    def at(self, here: Here) -> tuple[Array, Array]:
        """The rows at the same places of every run's split: x [R, n, *shape], y [R, n, ...]."""
        return self.inputs(here), self.targets(here)

    def inputs(self, here: Here) -> Array:
        """The inputs at the same places of every run's split, as they are trained on: [R, n, *shape]."""
        if self.x is not None:
            return self.each_run(self.x[:, here])
        assert self.raw is not None
        return self._scale(self.raw[self.each_run(self.order[:, here])])

    def targets(self, here: Here) -> Array:
        """The targets at the same places of every run's split, as they are trained on: [R, n, ...]."""
        return self.each_run(self.y[:, here])

    def true(self, here: Here) -> Array:
        """The targets at the same places of every run's split as the data has them, in float64 if they are numbers: [R, n, ...].

        Metrics compare with these, since the targets that are trained on are scaled, and rounded to the cohort's type.
        """
        if not self._scaled:
            return self.targets(here)
        if not isinstance(here, slice):
            return self.each_run(self._values[self._source[:, here]].astype(np.float64))
        rows = here.start, here.stop  # the same in every epoch
        if rows not in self._true:
            self._true[rows] = self.each_run(self._values[self._source[:, here]].astype(np.float64))
        return self._true[rows]

    def facts(self, name: str, limit: int | None = None) -> dict[str, Array]:
        """What the data knows of a subset, or of ``limit`` rows of it, beside x and y: each [R, n, ...], by its name."""
        here = self.sample(name, limit or self.sizes[name])
        return {fact: self.each_run(values[:, here]) for fact, values in self._facts.items()}

    def spans(self, name: str) -> list[tuple[slice, list[int]]]:
        """Which rows of ``subset(name)`` belong to it, and the runs for which it is these.

        Folds of one dataset differ by a row: a row that one tests on is a validation row of another. The shorter subset has the
        first of the validation rows, and the last of the test rows, that ``subset`` gives.
        """
        if not any(self._lacking[name]):
            return [(slice(None), [])]
        lacking = [self._lacking[name][split] for split in self.split_of.tolist()]
        found = []
        for lack in sorted(set(lacking)):
            rows = slice(lack, None) if name == "test" else slice(0, self.sizes[name] - lack)
            found.append((rows, [run for run, other in enumerate(lacking) if other == lack]))
        return found

    def each_run(self, values: Array) -> Array:
        """[S, n, ...] -> [R, n, ...]: a view when there is one split, or a split for each run in order."""
        if len(values) == 1:
            return np.broadcast_to(values, (len(self.split_of), *values.shape[1:]))
        return values if self.in_order else values[self.split_of]

    def original(self, values: Array) -> NDArray[np.float64]:
        """Regression outputs or targets [R, n, K] in the units of the data, in float64."""
        shift, factor = self._units
        found: NDArray[np.float64] = values / factor
        found += shift
        return found


def _mean(x: NDArray[np.float64], axes: tuple[int, ...]) -> NDArray[np.float64]:
    """The mean of what is not missing; 0 where all is."""
    known = ~np.isnan(x)
    found: NDArray[np.float64] = np.where(known, x, 0.0).sum(axes) / np.maximum(known.sum(axes), 1)
    return found


def fours(numbers: int) -> int:
    """So many numbers, filled up to fours, of which the kernel reads rows."""
    return -(-numbers // 4) * 4


def materialized(data: Data, splits: Sequence[Split], floats: str) -> bool:
    """Whether the inputs of all splits are scaled beforehand."""
    rows = sum(splits[0].sizes)
    return len(splits) * rows * math.prod(data.shape) * np.dtype(floats).itemsize <= MATERIALIZED_BYTES
