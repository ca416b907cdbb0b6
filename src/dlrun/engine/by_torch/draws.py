"""Batches for torch, drawn on its device from the rows of a cohort.

Shapes: R runs, S splits, N rows (n in one subset), B batch rows.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator

from dlrun import streams
from dlrun.components.arrays import Array
from dlrun.engine.batches import Batches, Here
from dlrun.engine.tensors import tensor
from dlrun.lazy import Tensor, torch

CHUNK_BYTES = 1 << 22  # batches gathered at once: large enough to pay for the call, small enough to stay in a CPU's cache
DEVICE_CHUNK_BYTES = 1 << 26  # the same for a GPU, which reads 4 MB in less time than a call takes


class Draws:
    """The rows of a table as tensors on a device; on the CPU they are those of the table."""

    def __init__(self, table: Batches, device: torch.device) -> None:
        def on_device(values: Array | None) -> Tensor | None:
            return None if values is None else tensor(values, device)

        self._device = device
        self._x, self._raw, self._weights = map(on_device, (table.x, table.raw, table.weights))
        self._y, self._order = tensor(table.y, device), tensor(table.order, device)
        self._fit = [tensor(values, device) for values in table.fit]
        self._bind(table)

    def _bind(self, table: Batches) -> None:
        self.table = table
        self._split_of = tensor(table.split_of, self._device)

    def of(self, table: Batches) -> Draws:
        """The same rows for some of the runs, those of ``table``; nothing is copied."""
        draws = copy.copy(self)
        draws._bind(table)
        return draws

    def take(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Rows by their place in the split's order: int64 [..., R, B] -> x [..., R, B, *shape], y [..., R, B, ...]."""
        flat, shape = self._flat(places), self.table.row_shape
        targets = self._y.flatten(0, 1)
        targets = targets.flatten() if targets[0].numel() == 1 else targets  # a gather of single numbers is four times as fast
        y = targets.index_select(0, flat).view(*places.shape, *self._y.shape[2:])
        if self._x is not None:
            return self._x.flatten(0, 1).index_select(0, flat).view(*places.shape, *shape), y
        assert self._raw is not None
        raw = self._raw.index_select(0, self._order.flatten()[flat]).view(*places.shape, *shape)
        return self._scale(raw), y

    def _flat(self, places: Tensor) -> Tensor:
        """Places [..., R, B] as those among the rows of all splits."""
        return (places + (self._split_of * self.table.rows).unsqueeze(1)).flatten()

    def _scale(self, raw: Tensor) -> Tensor:
        """Impute, shift and scale rows [..., R, B, *shape] by the numbers of each run's split."""
        if not raw.is_floating_point():
            return _renumbered(raw, self._fit[0][self._split_of].unsqueeze(1))
        fill, shift, factor = (values[self._split_of].unsqueeze(1) for values in self._fit)  # [R, 1, *shape]
        if self._fit[0].dim() <= len(self.table.row_shape):  # pairs and triplets: one number a feature for all members
            fill, shift, factor = fill.unsqueeze(2), shift.unsqueeze(2), factor.unsqueeze(2)
        return torch.where(raw.isnan(), fill, raw).sub_(shift).mul_(factor)

    def order(self, keys: Tensor) -> Tensor:
        """The places of the training rows in the order of an epoch: int64 [R, n], from the keys [R] of the order stream."""
        distinct, which = torch.unique(keys, return_inverse=True)  # equal keys are drawn once
        n = self.table.sizes["train"]
        return streams.permutations(keys, n) if len(distinct) == len(keys) else streams.permutations(distinct, n)[which]

    def epoch(self, keys: Tensor, batch_size: int, steps: int, *, innermost: bool = False) -> Iterator[tuple[Tensor, Tensor]]:
        """The batches of one epoch, in each run's own order: ``steps`` times x [R, B, *shape], y [R, B, ...].

        ``keys`` are the runs' keys [R] of this epoch in the order stream. Runs with equal keys share one permutation. The last
        batch holds what is left. Many batches are gathered at once, and handed out as views. With ``innermost`` the numbers of
        one place in all runs lie side by side in memory.
        """
        n, order = self.table.sizes["train"], self.order(keys)
        whole = min(steps, n // batch_size)
        row_bytes = self._y.dtype.itemsize + self.table.floats.itemsize * max(1, math.prod(self.table.row_shape))
        at_once = CHUNK_BYTES if self._device.type == "cpu" else DEVICE_CHUNK_BYTES
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
        return None if self._weights is None else self._weights.flatten()[self._flat(places)].view(places.shape)

    def at(self, here: Here) -> tuple[Tensor, Tensor]:
        """The rows at the same places of every run's split: x [R, n, *shape], y [R, n, ...]."""
        where, y = self._where(here), self.targets(here)
        if self._x is not None:
            return self._each_run(self._x[:, where].contiguous()), y
        assert self._raw is not None
        return self._scale(self._raw[self._each_run(self._order[:, where])]), y

    def targets(self, here: Here) -> Tensor:
        """The targets at the same places of every run's split, as they are trained on: [R, n, ...]."""
        return self._each_run(self._y[:, self._where(here)])

    def weights_at(self, here: Here) -> Tensor | None:
        """How much the rows at the same places of every run's split count, [R, n]; None where all count alike."""
        return None if self._weights is None else self._each_run(self._weights[:, self._where(here)])

    def _where(self, here: Here) -> slice | Tensor:
        return here if isinstance(here, slice) else tensor(here, self._device)

    def prepare(self, x: Array) -> Tensor:
        """Other inputs [n, *shape], as they would be of the data, prepared for each run: [R, n, *shape]."""
        return tensor(self.table.prepare(x), self._device)

    def _each_run(self, values: Tensor) -> Tensor:
        """[S, n, ...] -> [R, n, ...]: a view when there is one split, or a split for each run in order."""
        if len(values) == 1:
            return values.expand(len(self._split_of), *values.shape[1:])
        return values if self.table.in_order else values[self._split_of]


def _renumbered(x: Tensor, numbers: Tensor) -> Tensor:
    """Words as in ``preprocessing.renumbered``."""
    return x if numbers.shape[-1] == 1 else numbers.to(x).expand(*x.shape[:-1], -1).gather(-1, x)


def _innermost(values: Tensor) -> Tensor:
    """The same [R, ...] with the runs innermost in memory."""
    return values.flatten(1).t().contiguous().t().view(values.shape)
