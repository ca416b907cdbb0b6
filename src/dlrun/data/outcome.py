"""What is to be learnt from a table: the task, as the target's values tell or as the user says, and the targets as tensors.

    truth values                                                        binary
    texts, 2 different ones                                             binary
    texts, more                                                         multiclass
    numbers, 2 different ones in at least 4 rows                        binary
    whole numbers, at most 10 different ones, 4 rows or more for each   multiclass
    other numbers                                                       regression

Shapes: N rows, C classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlrun.data.cells import listed, shown, text_of, truth
from dlrun.data.dataset import Task
from dlrun.data.draft import Column
from dlrun.errors import DataError, nearest

SERVED: tuple[Task, ...] = ("regression", "binary", "multiclass")
MOST_CLASSES = 1000
FEW = 10  # different whole numbers that are taken for classes
ROWS_EACH = 4  # rows for each of them, at the least


@dataclass(frozen=True, eq=False)
class Outcome:
    """The target as Data wants it, and what to say of it."""

    task: Task
    y: Tensor
    outputs: int
    classes: tuple[str, ...]
    said: str


def outcome(file: str, target: Column, rows: int, task: str | None) -> Outcome:
    """The task and the targets of a table.

    Args:
        file: what the table is called in messages.
        target: the column, with its numbers or codes.
        rows: how many rows there are.
        task: as the user says; None to go by the values.

    Raises:
        DataError: the values do not allow the task, or any.
    """
    where = f"{file}: target {shown(target.name)}"
    if task is not None and task not in SERVED:
        raise DataError(f"dataset.task={task}: a table serves {', '.join(SERVED)}{nearest(task, SERVED)}")
    if target.kind == "date":
        raise DataError(f"{where} is a date; dlrun predicts numbers and classes")
    values, distinct, counts, names = _values(target, rows)
    if len(distinct) == 1:
        raise DataError(f"{where} is {shown(names[0])} in every row, so there is nothing to learn")
    if task is None and target.kind == "categorical" and _too_many(len(distinct), rows):
        raise DataError(
            f"{where} holds {len(distinct):,} different texts in {rows:,} rows, such as {shown(names[0])!r}: "
            "neither numbers nor classes; name another column with dataset.target"
        )
    chosen = task or _infer(target, distinct, rows)
    if chosen == "regression":
        if target.kind == "categorical":
            raise DataError(
                f"{where} holds texts such as {shown(names[0])!r}, and a regression wants numbers; leave dataset.task out"
            )
        words = f"{len(distinct):,} different {'whole ' if target.whole else ''}numbers"
        return Outcome("regression", torch.from_numpy(values)[:, None], 1, (), _said("regression", words, task))
    if chosen == "binary" and len(distinct) != 2:
        raise DataError(f"{where} has {len(distinct):,} different values, and task binary wants 2; leave dataset.task out")
    if len(distinct) > MOST_CLASSES:
        raise DataError(f"{where} has {len(distinct):,} different values, and at most {MOST_CLASSES:,} can be classes")
    sizes = [f"{shown(name, 20)}: {count:,}" for name, count in zip(names, counts.tolist(), strict=True)]
    words = f"{len(distinct)} classes, {listed(sizes, 6)}"
    if target.kind == "numeric" and task is None:
        words += "; dataset.task=regression takes them for amounts"
    labels = torch.from_numpy(np.searchsorted(distinct, values))
    if chosen == "binary":
        return Outcome("binary", labels.to(torch.float64)[:, None], 1, names, _said("binary", words, task))
    return Outcome("multiclass", labels, len(distinct), names, _said("multiclass", words, task))


def _values(target: Column, rows: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64], tuple[str, ...]]:
    """The target's values [N], those that differ in ascending order, how often each occurs, and their names, up to a limit.

    Texts are values by their place in alphabetical order, so that classes are numbered alphabetically.
    """
    if target.kind == "categorical":
        assert target.codes is not None
        texts = sorted(target.texts)
        place = {text: number for number, text in enumerate(texts)}
        values: NDArray[Any] = np.array([place[text] for text in target.texts], dtype=np.int64)[target.codes[:rows]]
    else:
        assert target.numbers is not None
        values, texts = target.numbers[:rows], []
        if target.kind == "boolean":
            words = {truth(text): text for text in sorted(target.texts)}
            texts = [words.get(0.0, "false"), words.get(1.0, "true")]
    distinct, counts = np.unique(values, return_counts=True)
    named = distinct[: MOST_CLASSES + 1].tolist()
    return values, distinct, counts, tuple(texts[int(value)] if texts else text_of(value) for value in named)


def _infer(target: Column, distinct: NDArray[Any], rows: int) -> Task:
    if target.kind in ("boolean", "categorical"):
        return "binary" if len(distinct) == 2 else "multiclass"
    if len(distinct) == 2 and rows >= ROWS_EACH:
        return "binary"
    return "multiclass" if target.whole and len(distinct) <= FEW and rows >= ROWS_EACH * len(distinct) else "regression"


def _too_many(distinct: int, rows: int) -> bool:
    return distinct == rows or distinct > MOST_CLASSES or (distinct > 20 and 2 * distinct > rows)


def _said(task: str, words: str, given: str | None) -> str:
    return f"{task}{', as given' if given else ''} ({words})"
