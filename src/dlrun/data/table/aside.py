"""Columns of a table that are neither features nor targets: they say how rows are split, and how much each counts.

    dataset.split_column   the subset of each row: train, validation (val, valid, dev) or test
    dataset.group          texts, letter by letter: rows of a group stay on one side of a split
    dataset.time           numbers, dates or times of day: rows are split in this order
    dataset.weight         numbers, 0 or more: how much a row counts in the loss

Each row needs a value in each of them. Of the names of groups nothing is kept but a number of 64 bits, so that as many groups as
rows take no more memory than a column of numbers.

Shapes: n rows of a piece, N rows in all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.data.dataset import TEST, TRAIN, VALIDATION
from dlrun.data.table.advice import meant
from dlrun.data.table.values.cells import Kind, Texts, listed, shown
from dlrun.errors import DataError

SPLIT, GROUP, TIME, WEIGHT = "split_column", "group", "time", "weight"
LABELS = (SPLIT, GROUP)  # whose cells are texts; those of the others are numbers

WORDS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("validation", "val", "valid", "dev"), VALIDATION),
    **dict.fromkeys(("test", "testing"), TEST),
}
_MEASURED: tuple[Kind, ...] = ("numeric", "date", "time")


@dataclass(frozen=True)
class Aside:
    """The names of such columns, as the user gives them; None where there is none."""

    split_column: str | None = None
    group: str | None = None
    time: str | None = None
    weight: str | None = None

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Key and name of each column that is named."""
        named = ((key, getattr(self, key)) for key in (SPLIT, GROUP, TIME, WEIGHT))
        return ((key, name) for key, name in named if name is not None)

    def problems(self, has: str, names: Sequence[str], targets: Sequence[str], columns: Sequence[str] | None) -> list[str]:
        """What is wrong with the names, one line each.

        Args:
            has: says which columns the table has.
            names: of the table's columns.
            targets, columns: those that the user wants to predict, and for features.
        """
        found = []
        for key, name in self:
            twice = next((other for other, mine in self if mine == name and other != key), None)
            if name not in names:
                found.append(f"dataset.{key}={shown(name)}: no such column; {has}{meant(key, name, names)}")
            elif name in targets:
                found.append(f"dataset.{key}={shown(name)}: is the target; name another column")
            elif columns is not None and name in columns:
                found.append(f"dataset.{key}={shown(name)}: is no feature; leave it out of dataset.columns")
            elif twice is not None and key < twice:
                found.append(f"dataset.{key}={shown(name)}: is dataset.{twice} too; name another column for one of them")
        return found


NOTHING = Aside()  # of a table without such columns


def coded(texts: Texts) -> NDArray[np.int64]:
    """A number of 64 bits for each text, the same in every process, and another for every other text: [n].

    Of a million texts two have the same number with a probability of 3e-8, and would then be one group.
    """
    numbers = [int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big", signed=True) for text in texts.distinct]
    return np.array(numbers, dtype=np.int64)[texts.codes]


def groups_of(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Groups by number, in the order in which they first occur: int64 [N]."""
    _, first, place = np.unique(codes, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[place]


def subsets(name: str, texts: Texts) -> tuple[NDArray[np.int8], NDArray[np.bool_], str]:
    """The subset of each row, which rows have none, and what to say of the first of these."""
    known = np.array([WORDS.get(text.casefold(), -1) for text in texts.distinct], dtype=np.int8)[texts.codes]
    odd = known < 0
    text = texts.distinct[texts.codes[int(odd.argmax())]] if odd.any() else ""
    held = f"holds {shown(text)!r}" if text else "is empty"
    return known, odd, f"{shown(name)} {held}, and a row is for train, validation (or val, valid, dev) or test"


def refuse_kind(file: str, key: str, name: str, kind: Kind | None) -> None:
    """Raise a DataError where a column that is to be numbers holds something else."""
    wanted = _MEASURED if key == TIME else ("numeric",)
    if kind is not None and kind not in wanted:
        what = "numbers, dates or times of day" if key == TIME else "numbers"
        raise DataError(f"{file}: dataset.{key}={shown(name)}: holds {_HOLDS[kind]}, and has to hold {what}; name another column")


_HOLDS: dict[Kind, str] = {"categorical": "texts", "boolean": "true or false", "date": "dates", "time": "times of day"}


def described(data: Any, aside: Aside, test_file: str) -> list[str]:
    """How the rows of a dataset are split and counted, for the user."""
    found = []
    if data.subset is not None:
        sizes = np.bincount(data.subset, minlength=3).tolist()
        if test_file:
            found.append(f"{sizes[TEST]:,} of the rows from {test_file}, for testing")
        else:
            words = zip(("train", "validation", "test"), sizes, strict=True)
            found.append(f"split by {shown(aside.split_column)} ({', '.join(f'{word}: {size:,}' for word, size in words)})")
        unseen = _unseen(data)
        if unseen:
            found.append(f"only test rows are of class {listed(unseen, 4)}, which no run can learn")
    if data.groups is not None:
        found.append(f"split by the {int(data.groups.max()) + 1:,} groups of {shown(aside.group)}")
    if data.time is not None:
        found.append(f"split in the order of {shown(aside.time)}")
    if data.weights is not None:
        found.append(f"weighted by {shown(aside.weight)}, in losses and not in metrics")
    return found


def _unseen(data: Any) -> list[str]:
    labels = data.labels
    if labels is None or not data.classes:
        return []
    seen = set(labels[data.subset != TEST].tolist())
    return [data.classes[number] for number in sorted(set(labels.tolist()) - seen)]
