"""Users and items as integers: int64 [N, 2], users numbered from 1, items behind the last user, and 0 for one that is not known.

One that no training row has is not known to a model either: its number becomes 0 when a split is prepared (see preprocessing.py).

Shapes: N rows, S splits, V users and items together.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.data.dataset import Data
from dlrun.data.splits import Splits
from dlrun.errors import DataError, plural


def name(column: str, value: Any) -> str:
    """What a user or an item is called in the vocabulary, such as ``user=7``; a whole number is written as one."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        value = int(value)
    return f"{column}={value}"


def read(rows: Any, vocabulary: Sequence[str], columns: Sequence[str]) -> NDArray[np.int64]:
    """New pairs: int64 [N, 2], 0 for a user or an item that the data had not.

    Args:
        rows: a table with the ``columns`` of user and item, or rows of the two.
        vocabulary: the names of users and items, in the order of their numbers.

    Raises:
        DataError: a column is missing, or a row is not a pair.
    """
    numbers = {word: number for number, word in enumerate(vocabulary, 1)}
    if hasattr(rows, "columns") or isinstance(rows, Mapping):
        missing = [column for column in columns if column not in rows]
        if missing:
            raise DataError(*(f"column {column}: is missing; the model was trained with it" for column in missing))
        values = [list(rows[column]) for column in columns]
    else:
        table = np.asarray(rows, dtype=object)
        if table.ndim != 2 or table.shape[1] != 2:
            raise DataError(f"predict: has shape {list(table.shape)}; a row is a pair of {columns[0]} and {columns[1]}")
        values = table.T.tolist()
    found = [[numbers.get(name(column, value), 0) for value in each] for column, each in zip(columns, values, strict=True)]
    return np.array(found, dtype=np.int64).T.copy()


def cold(data: Data, splits: Splits) -> list[str]:
    """How many test ratings are of users or items without training rows, on average over splits; nothing where none are."""
    counts = []
    for split in splits:
        known = np.zeros(len(data.vocabulary) + 1, dtype=np.bool_)
        known[data.x[split.train]] = True
        counts.append((~known[data.x[split.test]]).sum(0))
    users, items = np.stack(counts).mean(0).tolist()
    if not users and not items:
        return []
    of = f"of {plural(len(splits[0].test), 'test row')} of {data.name}, {users:.3g} have a user and {items:.3g} an item"
    each = " on average" if len(splits) > 1 else ""
    return [f"{of} without training rows{each}; these get a vector and a bias of 0"]
