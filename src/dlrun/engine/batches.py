"""The data of a cohort, ready to be drawn from.

Rows of theta that share a split share its tensors. Every split's rows lie in the order train, validation, test, scaled by the
numbers that were fitted on its training rows, so that an epoch is a gather by index and an evaluation is a slice. Splits that
would not fit into memory side by side are scaled when they are drawn, from the one raw copy.

Shapes: R runs, S splits, N rows (n in one subset), B batch rows.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun import streams
from dlrun.components.arrays import Array
from dlrun.components.tasks import TASKS
from dlrun.data.dataset import Data
from dlrun.data.preprocessing import Preprocessing, Scalings, total
from dlrun.data.splits import Split, Splits
from dlrun.lazy import Tensor, torch

MATERIALIZED_BYTES = 1 << 28  # scaled copies of all splits together; above it batches are scaled as they are drawn
CHUNK_ROWS = 1 << 16  # rows converted at once
CHUNK_NUMBERS = 1 << 18  # of inputs that are scaled at once: 2 MB in float64, which stay in a cache
CHUNK_BYTES = 1 << 22  # batches gathered at once: large enough to pay for the call, small enough to stay in a CPU's cache
DEVICE_CHUNK_BYTES = 1 << 26  # the same for a GPU, which reads 4 MB in less time than a call takes

SUBSETS = ("train", "validation", "test")


class Batches:
    """The splits of one dataset on one device. ``split_of`` gives the split of each run: R numbers in [0, S).

    All splits have the same number of training rows. Their validation and test rows may differ in number (see ``spans``).
    """

    def __init__(
        self,
        data: Data,
        splits: Sequence[Split],
        preprocessing: Sequence[Preprocessing],
        split_of: Sequence[int],
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        splits, scalings = Splits.of(splits), Scalings.of(preprocessing)
        sizes: dict[str, list[int]] = {name: found.tolist() for name, found in zip(SUBSETS, splits.sizes(), strict=True)}
        assert len(set(sizes["train"])) == 1, "batches are made of one row of every run"
        self.sizes = {name: max(found) for name, found in sizes.items()}
        self.rows = sum(found[0] for found in sizes.values())
        self._starts = {"train": 0, "validation": self.sizes["train"], "test": self.rows - self.sizes["test"]}
        self._lacking = {name: [self.sizes[name] - size for size in found] for name, found in sizes.items()}
        self.dtype, self.device = dtype, device
        self.row_shape = data.shape
        order = splits.order()
        fill, shift, factor = map(_tensor, (scalings.fill, scalings.shift, scalings.factor))
        self.y_shift, self.y_factor = (_tensor(each).to(device) for each in (scalings.y_shift, scalings.y_factor))
        # where the targets of each split lie among those of the data, training targets of their own behind the others
        of_train = np.arange(self.rows) < self.sizes["train"]
        source = order + len(data) * of_train if data.train_y is not None else order
        values = data.y if data.train_y is None else np.concatenate([data.y, data.train_y])
        self._source, self._values = _tensor(source).to(device), _tensor(values).to(device)
        self._scaled = TASKS[data.task].scaled
        together = max(1, CHUNK_NUMBERS // (self.rows * data.x[0].size))
        pieces = [slice(start, start + together) for start in range(0, len(splits), together)]
        stacked = [scalings[piece].together(data.x.ndim, data.y.ndim) for piece in pieces]
        self._y = torch.cat([self._targets(values[source[piece]], p) for piece, p in zip(pieces, stacked, strict=True)])
        self._facts = {name: _tensor(known[order]).to(device) for name, known in data.facts.items()}
        self._weights = None if data.weights is None else self._scaled_weights(data.weights[order])
        self._x: Tensor | None = None
        self._raw: Tensor | None = None
        self._samples: Tensor | None = None
        if materialized(data, splits, dtype):
            self._x = self._place_for(data, order)
            for piece, p in zip(pieces, stacked, strict=True):
                self._copy(data.x, order[piece], p, self._x[piece])
        elif data.modality.integral:
            self._raw, self._order = _tensor(data.x).to(device), _tensor(order).to(device)
        else:
            # measured from near its mean before it is rounded, since a mean of 1e9 would leave float32 no digits
            x = _tensor(data.x)
            axes = [axis for axis in range(x.dim()) if axis != x.dim() - len(data.sample)]  # all but that of features
            origin = x[:CHUNK_ROWS].double().nanmean(axes).nan_to_num().view(shift[0].shape)
            self._raw = torch.cat([(part.double() - origin).to(dtype) for part in torch.split(x, CHUNK_ROWS)]).to(device)
            self._order = _tensor(order).to(device)
            fill, shift = fill - origin, shift - origin
        self._fit = [values.to(device=device, dtype=dtype) for values in (fill, shift, factor)]
        self._assign(torch.tensor(list(split_of), device=device))

    def _place_for(self, data: Data, order_SN: NDArray[np.int64]) -> Tensor:
        """Where the scaled inputs of all splits will lie: what the kernel may read, with room for the targets behind each row."""
        if data.modality.integral:
            return torch.empty(*order_SN.shape, *data.shape, dtype=torch.int64, device=self.device)
        if (self.device.type, self.dtype) != ("cpu", torch.float32):
            return torch.empty(*order_SN.shape, *data.shape, dtype=self.dtype, device=self.device)
        inputs = math.prod(data.shape)
        self._samples = torch.zeros(*order_SN.shape, fours(inputs + math.prod(self._y.shape[2:])))
        return self._samples[..., :inputs].view(*order_SN.shape, *data.shape)

    def _copy(self, x: NDArray[Any], order_SN: NDArray[np.int64], preprocessing: Preprocessing, to: Tensor) -> None:
        """Scale the inputs of some splits, so many rows at a time that nothing of size is held beside them."""
        together = max(1, CHUNK_NUMBERS // (len(order_SN) * x[0].size))
        for start in range(0, order_SN.shape[1], together):
            rows = order_SN[:, start : start + together]
            to[:, start : start + together] = self._inputs(x[rows], preprocessing)

    def _inputs(self, x: NDArray[Any], preprocessing: Preprocessing) -> Tensor:
        """Scaled inputs in the cohort's type; numbers of words stay whole."""
        floats = x.dtype.kind == "f"
        found = torch.from_numpy(preprocessing.inputs(x.astype(np.float64, copy=False) if floats else x))
        return found.to(self.dtype) if floats else found

    def _targets(self, y: NDArray[Any], preprocessing: Preprocessing) -> Tensor:
        scaled = torch.from_numpy(preprocessing.targets(y.astype(np.float64, copy=False)) if self._scaled else y)
        return (scaled.to(self.dtype) if scaled.is_floating_point() else scaled).to(self.device)

    def _scaled_weights(self, weights_SN: NDArray[np.float64]) -> Tensor:
        """Weights of rows, 1 on average over the training rows of each split."""
        mean = total(weights_SN[:, : self.sizes["train"]])[:, None] / self.sizes["train"]
        with np.errstate(divide="ignore", invalid="ignore"):
            return torch.from_numpy(weights_SN / mean).to(device=self.device, dtype=self.dtype)

    def _assign(self, split_of: Tensor) -> None:
        self.split_of = split_of
        self._in_order = split_of.tolist() == list(range(len(split_of)))
        self._units = self.y_shift[split_of].unsqueeze(1), self.y_factor[split_of].unsqueeze(1)
        self._true: dict[tuple[int, int], Tensor] = {}

    def select(self, runs: Sequence[int]) -> Batches:
        """The same data for some of the runs, by their places among the present ones; nothing is copied."""
        table = copy.copy(self)
        table._assign(self.split_of[torch.tensor(list(runs), device=self.device)])
        return table

    def take(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Rows by their place in the split's order: int64 [..., R, B] -> x [..., R, B, *shape], y [..., R, B, ...]."""
        flat = (places + (self.split_of * self.rows).unsqueeze(1)).flatten()
        targets = self._y.flatten(0, 1)
        targets = targets.flatten() if targets[0].numel() == 1 else targets  # a gather of single numbers is four times as fast
        y = targets.index_select(0, flat).view(*places.shape, *self._y.shape[2:])
        if self._x is not None:
            return self._x.flatten(0, 1).index_select(0, flat).view(*places.shape, *self.row_shape), y
        assert self._raw is not None
        raw = self._raw.index_select(0, self._order.flatten()[flat]).view(*places.shape, *self.row_shape)
        return self._scale(raw), y

    def _scale(self, raw: Tensor) -> Tensor:
        """Impute, shift and scale rows [..., R, B, *shape] by the numbers of each run's split."""
        if not raw.is_floating_point():
            return _renumbered(raw, self._fit[0][self.split_of].unsqueeze(1))
        fill, shift, factor = (values[self.split_of].unsqueeze(1) for values in self._fit)  # [R, 1, *shape]
        if self._fit[0].dim() <= len(self.row_shape):  # pairs and triplets: one number a feature for all members
            fill, shift, factor = fill.unsqueeze(2), shift.unsqueeze(2), factor.unsqueeze(2)
        return torch.where(raw.isnan(), fill, raw).sub_(shift).mul_(factor)

    def prepare(self, raw: Array) -> Tensor:
        """Other inputs [n, *shape], as they would be of the data, prepared for each run: [R, n, *shape]."""
        return self._scale(torch.from_numpy(raw).to(self.device).expand(len(self.split_of), *raw.shape))

    def order(self, keys: Tensor) -> Tensor:
        """The places of the training rows in the order of an epoch: int64 [R, n], from the keys [R] of the order stream."""
        return _permutations(keys, self.sizes["train"])

    def epoch(self, keys: Tensor, batch_size: int, steps: int, *, innermost: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch, in each run's own order: ``steps`` times x [R, B, *shape], y [R, B, ...].

        ``keys`` are the runs' keys [R] of this epoch in the order stream. Runs with equal keys share one permutation. The last
        batch holds what is left. Many batches are gathered at once, and handed out as views. With ``innermost`` the numbers of
        one place in all runs lie side by side in memory.
        """
        n, order = self.sizes["train"], self.order(keys)
        whole = min(steps, n // batch_size)
        row_bytes = self._y.dtype.itemsize + self.dtype.itemsize * max(1, torch.Size(self.row_shape).numel())
        at_once = CHUNK_BYTES if self.device.type == "cpu" else DEVICE_CHUNK_BYTES
        together = max(1, at_once // (len(keys) * batch_size * row_bytes))
        for start in range(0, whole, together):
            stop = min(start + together, whole)
            yield from self._batches(order[:, start * batch_size : stop * batch_size], stop - start, innermost)
        if whole < steps:
            yield from self._batches(order[:, whole * batch_size :], 1, innermost)

    def _batches(self, places: Tensor, count: int, innermost: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Rows by their places [R, count B] as ``count`` batches."""
        if innermost:
            x, y = (_innermost(values).unflatten(1, (count, -1)) for values in self.take(places))  # type: ignore[no-untyped-call]
            return zip(x.unbind(1), y.unbind(1), strict=True)
        x, y = self.take(places.reshape(len(places), count, -1).transpose(0, 1))
        return zip(x.unbind(0), y.unbind(0), strict=True)

    def epoch_weights(self, keys: Tensor, batch_size: int, steps: int) -> Iterator[Tensor | None]:
        """How much each row of the batches of ``epoch`` counts, [R, B]: 1 on average over training rows. None where all do."""
        if self._weights is None:
            yield from itertools.repeat(None, steps)
            return
        order = self.order(keys)
        for step in range(steps):
            yield self.weights_of(order[:, step * batch_size : (step + 1) * batch_size])

    def weights_of(self, places: Tensor) -> Tensor | None:
        """How much the rows at some places [R, B] of the splits' orders count, [R, B]; None where all count alike."""
        if self._weights is None:
            return None
        return self._weights.flatten()[places + (self.split_of * self.rows).unsqueeze(1)]

    def weights_at(self, here: Tensor | slice) -> Tensor | None:
        """How much the rows at the same places of every run's split count, [R, n]; None where all count alike."""
        return None if self._weights is None else self._each_run(self._weights[:, here])

    def subset(self, name: str, start: int = 0, stop: int | None = None) -> tuple[Tensor, Tensor]:
        """Rows ``start`` to ``stop`` of a subset, in its own order: x [R, n, *shape], y [R, n, ...]. No copy for one split."""
        first = self._starts[name]
        stop = self.sizes[name] if stop is None else min(stop, self.sizes[name])
        return self.at(slice(first + start, first + stop))

    def sample(self, name: str, count: int) -> Tensor | slice:
        """Where about ``count`` rows of a subset lie: drawn with equal chances, always the same ones, or all if it has no more.

        Not the first rows: data may be sorted by class.
        """
        first, size = self._starts[name], self.sizes[name]
        if size <= count:
            return slice(first, first + size)
        fraction = streams.uniform(streams.keys([0], "data"), count, np.float64)[0]
        return torch.from_numpy(first + np.sort((fraction * size).astype(np.int64))).to(self.device)

    def at(self, here: Tensor | slice) -> tuple[Tensor, Tensor]:
        """The rows at the same places of every run's split: x [R, n, *shape], y [R, n, ...]."""
        y = self.targets(here)
        if self._x is not None:
            return self._each_run(self._x[:, here].contiguous()), y
        assert self._raw is not None
        return self._scale(self._raw[self._each_run(self._order[:, here])]), y

    def targets(self, here: Tensor | slice) -> Tensor:
        """The targets at the same places of every run's split, as they are trained on: [R, n, ...]."""
        return self._each_run(self._y[:, here])

    def prepared(self) -> tuple[Tensor, Tensor, Tensor, Tensor | None] | None:
        """All rows in the order of each split, scaled: x [S, N, *shape], y [S, N, ...], and the split of each run [R].

        Where the kernel may read x, the last is the tensor [S, N, n] of which it is a part: a row has whole ``fours`` of numbers,
        and room for its targets behind the inputs. None where rows are too many to be scaled beforehand.
        """
        return None if self._x is None else (self._x, self._y, self.split_of, self._samples)

    def true(self, here: Tensor | slice) -> Tensor:
        """The targets at the same places of every run's split as the data has them, in float64 if they are numbers: [R, n, ...].

        Metrics compare with these, since the targets that are trained on are scaled, and rounded to the cohort's type.
        """
        if not self._scaled:
            return self.targets(here)
        if not isinstance(here, slice):
            return self._each_run(self._values[self._source[:, here]].double())
        rows = here.start, here.stop  # the same in every epoch
        if rows not in self._true:
            self._true[rows] = self._each_run(self._values[self._source[:, here]].double())
        return self._true[rows]

    def facts(self, name: str, limit: int | None = None) -> dict[str, Tensor]:
        """What the data knows of a subset, or of ``limit`` rows of it, beside x and y: each [R, n, ...], by its name."""
        here = self.sample(name, limit or self.sizes[name])
        return {fact: self._each_run(values[:, here]) for fact, values in self._facts.items()}

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

    def _each_run(self, values: Tensor) -> Tensor:
        """[S, n, ...] -> [R, n, ...]: a view when there is one split, or a split for each run in order."""
        if len(values) == 1:
            return values.expand(len(self.split_of), *values.shape[1:])
        if len(values) == len(self.split_of) and self._in_order:
            return values
        return values[self.split_of]

    def original(self, values: Array) -> Array:
        """Regression outputs or targets [R, n, K] in the units of the data, in float64."""
        shift, factor = (each.cpu().numpy() for each in self._units)
        found: Array = values / factor
        found += shift
        return found


def fours(numbers: int) -> int:
    """So many numbers, filled up to fours, of which the kernel reads rows."""
    return -(-numbers // 4) * 4


def materialized(data: Data, splits: Sequence[Split], dtype: torch.dtype) -> bool:
    """Whether the inputs of all splits are scaled beforehand."""
    rows = sum(splits[0].sizes)
    return len(splits) * rows * math.prod(data.shape) * dtype.itemsize <= MATERIALIZED_BYTES


def _tensor(values: NDArray[Any]) -> Tensor:
    """The same numbers as a tensor: the same memory, where it may be written to."""
    return torch.from_numpy(np.require(values, requirements=["C", "W"]))


def _renumbered(x: Tensor, numbers: Tensor) -> Tensor:
    """Words as in ``preprocessing.renumbered``."""
    return x if numbers.shape[-1] == 1 else numbers.to(x).expand(*x.shape[:-1], -1).gather(-1, x)


def _permutations(keys: Tensor, n: int) -> Tensor:
    """The order of n rows for each run: int64 [R, n]. Equal keys are drawn once."""
    distinct, which = torch.unique(keys, return_inverse=True)
    return streams.permutations(keys, n) if len(distinct) == len(keys) else streams.permutations(distinct, n)[which]


def _innermost(values: Tensor) -> Tensor:
    """The same [R, ...] with the runs innermost in memory."""
    return values.flatten(1).t().contiguous().t().view(values.shape)
