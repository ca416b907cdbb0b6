"""What is to be learnt from a table: the task, as the target's values tell or as the user says, and the targets as tensors.

    truth values                                                        binary
    texts, 2 different ones                                             binary
    texts, more                                                         multiclass
    numbers, 2 different ones in at least 4 rows                        binary
    whole numbers, 3 to 10 different ones, each in 2 rows or more       multiclass
    and in 4 or more on average
    other numbers                                                       regression
    several columns, all of them 0 and 1, or truth values               multilabel
    several columns of numbers                                          regression

Shapes: N rows, K targets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.components.tasks import BINARY, MULTICLASS, MULTILABEL, REGRESSION, TASKS, Task
from dlrun.data.table.advice import naming
from dlrun.data.table.columns import Column
from dlrun.data.table.values.cells import listed, shown, text_of, truth
from dlrun.errors import DataError, nearest

SERVED = tuple(name for name, task in TASKS.items() if task.tabular)
MOST_CLASSES = 1000
FEW = 10  # different whole numbers that are taken for classes
_EXACT = 2.0**53  # beyond it a float no longer stands for one whole number
ROWS_EACH = 4  # rows for each of them, at the least


@dataclass(frozen=True, eq=False)
class Target:
    """The target as Data takes it.

    Args:
        task: what is to be learnt.
        y: the targets, as the task has them.
        outputs: how many outputs a model needs.
        classes: the names of the classes; empty for a regression.
        note: what was found, to be reported.
    """

    task: Task
    y: NDArray[Any]
    outputs: int
    classes: tuple[str, ...]
    note: str


def target_of(file: str, targets: Sequence[Column], rows: int, task: str | None, hints: Mapping[str, tuple[str, str]]) -> Target:
    """The task and the targets of a table.

    Args:
        file: what the table is called in messages.
        targets: the columns, with their numbers or codes.
        rows: how many rows there are.
        task: as the user says; None to go by the values.
        hints: of columns of texts that may be numbers, one of these and what to do.

    Raises:
        DataError: the values do not allow the task, or any.
    """
    if task is not None and task not in SERVED:
        raise DataError(f"dataset.task={task}: a table serves {', '.join(SERVED)}{nearest(task, SERVED)}")
    for target in targets:
        if target.kind == "date":
            raise DataError(
                f"{file}: target {shown(target.name)} is a date; dlrun predicts numbers and classes; for classes, "
                f"type {naming('categorical', target.name, several=True)}"
            )
    return _several(file, targets, rows, task, hints) if len(targets) > 1 else _single(file, targets[0], rows, task, hints)


def _several(file: str, targets: Sequence[Column], rows: int, task: str | None, hints: Mapping[str, tuple[str, str]]) -> Target:
    names = tuple(target.name for target in targets)
    wanted = TASKS.get(task or "")
    if wanted in (BINARY, MULTICLASS):
        raise DataError(f"dataset.task={task}: has one target, not {len(targets)}; type {naming('target', names[0])}")
    problems, columns = [], []
    for target in targets:
        values, distinct, _, words = _values(target, rows)
        columns.append(values)
        where = f"{file}: target {shown(target.name)}"
        if len(distinct) == 1:
            problems.append(f"{where} is {shown(words[0])} in every row, so there is nothing to learn")
        elif target.kind == "categorical":
            text, remedy = hints.get(target.name, (words[0], f"for classes, type {naming('target', target.name)}"))
            problems.append(f"{where} holds texts such as {shown(text)!r}, and several targets must be numbers; {remedy}")
        elif wanted is MULTILABEL and not _is_label(distinct):
            problems.append(f"{where} has values such as {shown(words[-1])}, and a label is 0 or 1; leave dataset.task out")
    if problems:
        raise DataError(*problems)
    y = np.stack(columns, axis=1).astype(np.float64)
    if wanted is MULTILABEL or (wanted is None and _is_label(y)):
        ones = [f"{shown(name, 20)}: {count:,}" for name, count in zip(names, y.sum(0, dtype=np.int64).tolist(), strict=True)]
        found = f"{len(names)} labels, {listed(ones, 6)}"
        found += "" if task else "; dataset.task=regression takes them for amounts"
        return Target(MULTILABEL, y, len(names), names, _note(MULTILABEL, found, task))
    return Target(REGRESSION, y, len(names), (), _note(REGRESSION, f"{len(names)} numbers a row", task))


def _is_label(values: NDArray[Any]) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _single(file: str, target: Column, rows: int, task: str | None, hints: Mapping[str, tuple[str, str]]) -> Target:
    where = f"{file}: target {shown(target.name)}"
    wanted = TASKS.get(task or "")
    if wanted is MULTILABEL:
        raise DataError("dataset.task=multilabel: wants several targets that are 0 or 1; type dataset.target=[NAME,NAME]")
    values, distinct, counts, names = _values(target, rows)
    if (
        target.kind == "numeric"
        and target.whole
        and np.abs(values).max() > _EXACT
        and len(distinct) <= FEW
        and wanted is not REGRESSION
    ):
        raise DataError(
            f"{where} has whole numbers beyond 2^53, of which different ones become one; for classes, type "
            f"{naming('categorical', target.name, several=True)}, and for amounts dataset.task=regression"
        )
    if len(distinct) == 1:
        raise DataError(f"{where} is {shown(names[0])} in every row, so there is nothing to learn")
    many = target.kind == "categorical" and _too_many(len(distinct), rows)
    text, remedy = hints.get(
        target.name, (names[0], "name another column with dataset.target" if many else "leave dataset.task out")
    )
    if task is None and many:
        raise DataError(
            f"{where} holds {len(distinct):,} different texts in {rows:,} rows, such as {shown(text)!r}: "
            f"neither numbers nor classes; {remedy}"
        )
    chosen = wanted or _infer(target, counts, rows)
    if chosen is REGRESSION:
        if target.kind == "categorical":
            raise DataError(f"{where} holds texts such as {shown(text)!r}, and a regression wants numbers; {remedy}")
        words = f"{len(distinct):,} different {'whole ' if target.whole else ''}numbers"
        if task is None and target.whole and len(distinct) <= FEW and counts.min() == 1:
            words += "; dataset.task=multiclass takes them for classes"
        return Target(REGRESSION, values[:, None], 1, (), _note(REGRESSION, words, task))
    if chosen is BINARY and len(distinct) != 2:
        raise DataError(f"{where} has {len(distinct):,} different values, and task binary wants 2; leave dataset.task out")
    if len(distinct) > MOST_CLASSES:
        raise DataError(f"{where} has {len(distinct):,} different values, and at most {MOST_CLASSES:,} can be classes")
    sizes = [f"{shown(name, 20)}: {count:,}" for name, count in zip(names, counts.tolist(), strict=True)]
    words = f"{len(distinct)} classes, {listed(sizes, 6)}"
    if target.kind == "numeric" and task is None:
        words += "; dataset.task=regression takes them for amounts"
    labels = np.searchsorted(distinct, values)
    if chosen is BINARY:
        return Target(BINARY, labels.astype(np.float64)[:, None], 1, names, _note(BINARY, words, task))
    return Target(MULTICLASS, labels, len(distinct), names, _note(MULTICLASS, words, task))


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


def _infer(target: Column, counts: NDArray[np.int64], rows: int) -> Task:
    """The task of a target with these counts of its different values.

    A whole number that stands in a single row is the end of a count (children, visits) rather than a class, of which nothing
    could be learnt.
    """
    distinct = len(counts)
    if target.kind in ("boolean", "categorical"):
        return BINARY if distinct == 2 else MULTICLASS
    if distinct == 2 and rows >= ROWS_EACH:
        return BINARY
    classes = target.whole and distinct <= FEW and rows >= ROWS_EACH * distinct and counts.min() > 1
    return MULTICLASS if classes else REGRESSION


def _too_many(distinct: int, rows: int) -> bool:
    return distinct == rows or distinct > MOST_CLASSES or (distinct > 20 and 2 * distinct > rows)


def _note(task: Task, words: str, given: str | None) -> str:
    return f"{task.name}{', as given' if given else ''} ({words})"
