"""Components as the engine takes them, and rows that share one.

Runs of a cohort may differ in every component. Rows whose component is the same function with the same flags form a group that
is computed at once: numbers on which they agree stay Python floats (the fast path), numbers on which they differ become a column
with one value for each run. Columns are arrays, and tensors where torch computes with them.

Shapes: R runs of the cohort, G rows of one group.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import numpy as np

from dlrun.components.hyperparameters import hyperparameters, is_tensor, type_hints
from dlrun.lazy import Tensor, torch


@dataclass(frozen=True)
class Component:
    """One component of one run: the name that a conf file gives it, what that names, and its hyperparameters."""

    name: str
    target: str
    function: Callable[..., Any]
    values: Mapping[str, Any] = field(default_factory=dict)


class Rows:
    """Some rows of a cohort: all of them, a slice of neighbours, or any others by index."""

    def __init__(self, indices: Sequence[int], of: int, device: str | torch.device = "cpu") -> None:
        self.indices, self._device = tuple(indices), device
        self.everything = self.indices == tuple(range(of))
        first, last = self.indices[0], self.indices[-1]
        self.slice = slice(first, last + 1) if self.indices == tuple(range(first, last + 1)) else None

    @cached_property
    def index(self) -> Tensor:
        """Their numbers, int64 [G], on the device."""
        return torch.tensor(self.indices, device=self._device)

    def __len__(self) -> int:
        return len(self.indices)

    def take(self, x: Tensor) -> Tensor:
        """These rows of ``x`` [R, ...]: a view where they are neighbours, else a copy."""
        if self.everything:
            return x
        return x.index_select(0, self.index) if self.slice is None else x[self.slice]

    def put(self, out: Tensor, values: Tensor) -> None:
        """Write ``values`` [G, ...] to these rows of ``out`` [R, ...]."""
        if self.slice is None:
            out.index_copy_(0, self.index, values)
        else:
            out[self.slice] = values


class Mosaic:
    """Puts the pieces of groups, which together are all rows of a cohort, back into one tensor."""

    def __init__(self, rows: Sequence[Rows]) -> None:
        self._rows = list(rows)
        self._in_order = all(mine.slice for mine in rows)

    @cached_property
    def _places(self) -> Tensor:
        """Where each row of the cohort is among the rows of the groups, one group behind the other."""
        return torch.cat([mine.index for mine in self._rows]).argsort()

    def join(self, pieces: Sequence[Tensor], like: Tensor) -> Tensor:
        """The pieces [G, ...] in the order of the groups as one tensor [R, ...] that lies in memory like ``like``."""
        if not self._in_order and like.is_contiguous():  # half the time of copying by index
            return torch.cat(list(pieces)).index_select(0, self._places)
        out = torch.empty_like(like)
        for mine, piece in zip(self._rows, pieces, strict=True):
            mine.put(out, piece)
        return out


@dataclass(frozen=True)
class Group:
    """Rows that share a component up to numbers.

    Args:
        rows: those that share it.
        part: the component of the first row.
        columns: its hyperparameters; float64 arrays [G, 1] where the runs differ in a number.
        floats: the type of numbers that torch computes with, and ``place`` its device.
    """

    rows: Rows
    part: Component
    columns: Mapping[str, Any]
    floats: str = "float32"
    place: str = "cpu"

    @cached_property
    def values(self) -> Mapping[str, Any]:
        """The hyperparameters as torch computes with them: tensors [G, 1] where the runs differ."""
        return {name: self._tensors(value) for name, value in self.columns.items()}

    def _tensors(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return torch.tensor(value, dtype=getattr(torch, self.floats), device=self.place)
        return tuple(map(self._tensors, value)) if isinstance(value, tuple) else value

    def shaped(self, dimensions: int) -> dict[str, Any]:
        """The values with each column shaped [G, 1, ..., 1] so that it broadcasts against data of that many dimensions."""
        return {name: _shaped(value, dimensions) for name, value in self.values.items()}


def _shaped(value: Any, dimensions: int) -> Any:
    if isinstance(value, Tensor):
        return value.view(-1, *[1] * (dimensions - 1))
    return tuple(_shaped(item, dimensions) for item in value) if isinstance(value, tuple) else value


def group(parts: Sequence[Component], *, floats: str = "float32", place: str = "cpu") -> list[Group]:
    """Gather equal components: one group for each function and set of flags, in the order in which they first appear."""
    distinct = {id(part): part for part in parts}  # runs that differ in their seeds alone have the same objects
    several: dict[tuple[Any, ...], list[Component]] = {}
    for part in distinct.values():
        several.setdefault(signature(part), []).append(part)
    members: dict[int, list[int]] = {}  # by the first part of a kind
    first = {id(part): id(alike[0]) for alike in several.values() for part in alike}
    if len(several) > 1:
        for row, part in enumerate(parts):
            members.setdefault(first[id(part)], []).append(row)
    groups = []
    for alike in several.values():
        rows = members[id(alike[0])] if members else range(len(parts))
        columns = {}
        for name, value in alike[0].values.items():
            same = all(part.values[name] == value for part in alike)
            columns[name] = value if same else _merge([parts[row].values[name] for row in rows])
        groups.append(Group(Rows(rows, len(parts), place), alike[0], columns, floats, place))
    return groups


def signature(part: Component) -> tuple[Any, ...]:
    """What two rows must share to be computed together: the target and every value that cannot become a column."""
    admits = rowwise(part.function)
    return (part.target, *(_frozen(_flags(value, admits.get(name, ()))) for name, value in sorted(part.values.items())))


@cache
def rowwise(function: Callable[..., Any]) -> dict[str, tuple[type, ...]]:
    """Which hyperparameters may differ from run to run, and in which form: as a number (float) or as a tuple of them."""
    hints = type_hints(function)
    return {name: _columns(hints.get(name)) for name in hyperparameters(function)}


def _columns(hint: Any) -> tuple[type, ...]:
    if is_tensor(hint):
        return (float,)
    if get_origin(hint) is Annotated:
        return _columns(get_args(hint)[0])
    if get_origin(hint) is tuple:
        return (tuple,) if any(_columns(item) for item in get_args(hint)) else ()
    if get_origin(hint) in (Union, UnionType):
        return tuple(form for option in get_args(hint) for form in _columns(option))
    return ()


def _flags(value: Any, forms: tuple[type, ...]) -> Any:
    """``value`` with its numbers blanked out where they may differ, so that only the structure is compared."""
    if float in forms and isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    if tuple in forms and isinstance(value, list | tuple):
        return tuple("number" for _ in value)
    return value


def _frozen(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(_frozen(item) for item in value)
    if isinstance(value, dict):
        return tuple(sorted((key, _frozen(item)) for key, item in value.items()))
    return value


def _merge(values: Sequence[Any]) -> Any:
    first = values[0]
    if all(value == first for value in values):
        return first
    if isinstance(first, list | tuple):
        return tuple(_merge([value[i] for value in values]) for i in range(len(first)))
    return np.array(values, dtype=np.float64)[:, None]
