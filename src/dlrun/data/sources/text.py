"""Texts of the user's own, with what is to be predicted of each: a column of a delimited file, as sequences of words.

Shapes: N rows, T words of a text at most, V different words of the file.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from dlrun.components.hyperparameters import Count, Interval
from dlrun.components.tasks import BINARY, MULTICLASS, REGRESSION, TASKS
from dlrun.data.dataset import Data
from dlrun.data.sequences import UNKNOWN_WORD, numbered, words_of
from dlrun.data.sources.kept import file_key, once
from dlrun.data.table.positive import with_positive
from dlrun.data.table.text.delimited import Delimited
from dlrun.data.table.text.quoted import column_texts
from dlrun.data.table.text.textfile import examine, located
from dlrun.data.table.values.amounts import number
from dlrun.data.table.values.cells import is_missing, shown
from dlrun.errors import DataError, nearest

Name = str | int | float
Vocabulary = Annotated[int, Interval(2)]

_MOST_CLASSES = 100
_MOST_NUMBERED = 10  # different numbers that are classes


def text(
    *,
    path: str | None = None,
    text: Name | None = None,
    target: Name | None = None,
    words: Vocabulary = 2000,
    length: Count = 40,
    task: Literal["regression", "binary", "multiclass"] | None = None,
    positive: Name | None = None,
) -> Data:
    """Texts of a CSV file (gzip too) whose first row names the columns: x int64 [N, T], the words of each by number.

    A word is what letters, digits and apostrophes make up, in small letters. A model knows the ``words - 1`` that the training
    rows of its split have most often; all others, also those of new texts, are one word to it.

    Rows without a target are left out.

    Args:
        path: the file.
        text: the column of texts.
        target: the column to be predicted: classes, or numbers if there are more than ten different ones and ``task`` is none.
        words: how many words a model knows, the unknown one among them.
        length: T; what stands behind in a longer text is cut off.
        task: regression, binary or multiclass; found out from the target by default.
        positive: the one of two classes that is number 1; the second in alphabetical order by default.

    Raises:
        DataError: what is wrong with the file or with one of the settings.
    """
    missing = [f"dataset.{key}" for key, value in (("path", path), ("text", text), ("target", target)) if value is None]
    if path is None or missing:
        raise DataError(f"{' and '.join(missing)}: type dataset.path=FILE.csv dataset.text=COLUMN dataset.target=COLUMN")
    place = located(path)
    columns, how = (str(text), str(target)), (words, length, task, positive)
    return once(
        file_key("text", place, (columns, how)), lambda: _data(_cells(place, columns), columns, words, length, task, positive)
    )


def _cells(path: Path, columns: tuple[str, str]) -> tuple[str, list[str], list[str]]:
    """The name of the file, and the cells of two columns."""
    file = examine(path, None)
    table = Delimited(file, targets=columns)
    for key, name in zip(("text", "target"), columns, strict=True):
        if name not in table.names:
            raise DataError(f"dataset.{key}={shown(name)}: {file.name} has no such column{nearest(name, table.names)}")
    if columns[0] == columns[1]:
        raise DataError(f"dataset.text={shown(columns[0])}: is dataset.target too; texts cannot be their own target")
    places = [table.names.index(name) for name in columns]
    found: tuple[list[str], list[str]] = ([], [])
    for piece in table.pieces():
        cells = piece.parse(table.dialect, dtype=object, na_filter=False, usecols=sorted(places), keep_default_na=False)
        for into, place in zip(found, places, strict=True):
            column = column_texts(cells[place].to_numpy())
            into += [column.distinct[code] for code in column.codes]
    return (file.name, *found)


def _data(
    found: tuple[str, list[str], list[str]],
    columns: tuple[str, str],
    most_words: int,
    length: int,
    task: str | None,
    positive: Name | None,
) -> Data:
    name, texts, labels = found
    amounts = all(is_missing(label) or number(label) is not None for label in set(labels))
    known = [place for place, label in enumerate(labels) if not (is_missing(label) if amounts else label == "")]
    if not known:
        raise DataError(f"{name}: no row has a value of {shown(columns[1])}")
    texts, labels = [texts[place] for place in known], [labels[place] for place in known]
    split = [words_of(each) for each in texts]
    vocabulary = (UNKNOWN_WORD, *sorted({word for words in split for word in words[:length]} - {UNKNOWN_WORD}))
    y, kind, classes = _target(name, columns[1], labels, task)
    outputs = TASKS[kind].exclusive_classes(len(classes))
    if len(vocabulary) == 1:
        raise DataError(
            f"{name}: column {shown(columns[0])}: has no word in any of {len(texts):,} rows; name the column of texts"
        )
    longer = sum(len(words) > length for words in split)
    known_words = min(most_words - 1, len(vocabulary) - 1)
    notes = [f"{name}: {len(texts):,} texts with {len(vocabulary) - 1:,} different words; models know {known_words:,} of them"]
    notes += (
        [f"{name}: {longer:,} texts are longer than {length} words and cut; dataset.length=N takes N words"] if longer else []
    )
    made = Data(
        name,
        numbered(split, vocabulary, length),
        y,
        kind,
        outputs,
        columns[:1],
        columns[1:],
        classes,
        notes=tuple(notes),
        vocabulary=vocabulary,
        most_words=most_words,
    )
    return with_positive(made, positive)


def _target(name: str, column: str, labels: Sequence[str], task: str | None) -> tuple[NDArray[Any], str, tuple[str, ...]]:
    """The targets, the task and the classes."""
    distinct = sorted(set(labels))
    numbers = {label: number(label) for label in distinct}
    odd = [label for label, value in numbers.items() if value is None]
    inferred = REGRESSION if not odd and len(distinct) > _MOST_NUMBERED else BINARY if len(distinct) == 2 else MULTICLASS
    learnt = TASKS[task] if task else inferred
    where = f"{name}: column {shown(column)}"
    if not learnt.classes:
        if odd:
            raise DataError(f"{where}: {shown(odd[0])} is no number, and task {learnt.name} wants numbers")
        return np.array([[numbers[label]] for label in labels], dtype=np.float64), learnt.name, ()
    if not 2 <= len(distinct) <= _MOST_CLASSES:
        raise DataError(f"{where}: has {len(distinct):,} different values; classes are 2 to {_MOST_CLASSES}")
    if learnt.two_classes and len(distinct) != 2:
        raise DataError(f"{where}: has {len(distinct)} classes; type dataset.task={MULTICLASS.name}")
    places = {label: place for place, label in enumerate(distinct)}
    y = np.array([places[label] for label in labels])
    return (y if learnt.exclusive else y[:, None].astype(np.float64)), learnt.name, tuple(distinct)
