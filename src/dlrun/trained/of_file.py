"""Runs applied to the rows of a file: what they predict, a piece at a time, and what they measure where targets are known.

Shapes: n rows, D features, K outputs.
"""

import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dlrun.data.table.encoding import ColumnCode, Encoding, encode
from dlrun.data.table.values.cells import Texts, is_missing, listed, shown, text_of
from dlrun.data.table.values.typed import typed
from dlrun.errors import DataError, plural
from dlrun.trained.ensemble import Ensemble
from dlrun.trained.new_rows import Piece, opened
from dlrun.trained.run import Run

_MOST_NAMED = 5


class FileRows:
    """The rows of a file for some runs.

    Args:
        runs: what is applied.
        path: a CSV, Parquet or .npy file, or image files.
        keep: columns of the file that stand beside the predictions.
        labelled: whether the targets are read too.

    Raises:
        DataError: the file cannot be read, or lacks columns; one line that names all of them.
    """

    def __init__(self, runs: Ensemble, path: str, keep: Sequence[str] = (), *, labelled: bool = False) -> None:
        self.runs = runs
        first = runs.first
        self._targets = first.targets if labelled else ()
        settings = first.config["dataset"]
        self.file = opened(path, settings, (*runs.features, *self._targets))
        self._keep = tuple(dict.fromkeys((*self.file.beside, *keep)))
        self._unknown: dict[str, list[Any]] = {}
        self._strange: dict[str, str] = {}
        if self.file.names:
            self._check(first)
        elif keep or labelled:
            raise DataError(f"{self.file.name}: is an array, which has no columns; give a table")
        used = {*runs.features, *first.targets, *keep}
        self._spare = [] if self.file.arrays else [name for name in self.file.names if name not in used]

    def _check(self, first: Run) -> None:
        missing = self.file.missing
        by_name = not self.file.arrays
        features = self.runs.features if by_name and (first.encoding is not None or first.vocabulary) else ()
        said = [missing(features, "the run was trained with"), missing(self._targets, "the run predicts")]
        said += [missing(self._keep, "--keep names")]
        if by_name and first.encoding is None and not first.vocabulary:
            said.append(
                f"{self.file.name}: is a table, and the run was trained on rows of shape {list(first.shape)}; give them as an "
                "array of that shape behind the number of rows, in a file of numpy.save (.npy)"
            )
        problems = [line for line in said if line]
        if problems:
            raise DataError(*problems)

    @property
    def notes(self) -> list[str]:
        """What is to know, a line each; complete once all rows were read."""
        said = [f"{self.file.name}: {note}" for note in self.file.notes]
        if self._spare:
            those = plural(len(self._spare), "column plays", "columns play")
            said.append(f"{self.file.name}: {those} no part: {listed(self._spare)}")
        for column, (count, example) in self._unknown.items():
            values = plural(count, "value is", "values are")
            said.append(
                f"{self.file.name}: column {shown(column)}: {values} none of the categories of the training and without effect, "
                f"such as {shown(example or 'a missing one')}"
            )
        return [*said, *self._strange.values()]

    def predictions(self) -> Iterator[tuple[dict[str, NDArray[Any]], NDArray[Any], NDArray[Any] | None]]:
        """Of each piece the columns to keep, the mean of what the runs predict [n, ...], and its spread."""
        for piece in self._pieces():
            kept = {name: _plain(piece.columns[name]) for name in self._keep}
            yield kept, *self.runs.mean_and_spread(piece, self._features)

    def inputs(self) -> Iterator[tuple[dict[str, NDArray[Any]], NDArray[Any]]]:
        """Of each piece the columns to keep, and its rows as the first run takes them."""
        for piece in self._pieces():
            kept = {name: _plain(piece.columns[name]) for name in self._keep}
            yield kept, self.runs.rows(piece, self._features)[0]

    def tables(self) -> Iterator[pd.DataFrame]:
        """Of each piece the predictions under their names, behind the number of the row in the file, from 0."""
        start = 0
        for kept, mean, spread in self.predictions():
            count = len(mean)
            yield pd.DataFrame({"row": np.arange(start, start + count), **kept, **self.runs.first.named(mean, spread)})
            start += count

    def measured(self) -> tuple[list[dict[str, float]], dict[str, float], int]:
        """The metrics of each run on the rows of the file, those of the mean of their predictions, and how many rows these are.

        Rows without a target are left out.

        Raises:
            DataError: a target is none that the runs can learn, or no row has one.
        """
        parts: list[list[NDArray[Any]]] = []
        labels: list[NDArray[Any]] = []
        skipped = 0
        for piece in self._pieces():
            y, known = self._labels(piece)
            labels.append(y[known])
            parts.append([x[known] for x in self.runs.rows(piece, self._features)])
            skipped += int((~known).sum())
        y = np.concatenate(labels) if labels else np.empty(0)
        if not len(y):
            raise DataError(f"{self.file.name}: no row has a value of {', '.join(map(shown, self._targets))}")
        if skipped:
            self._strange[""] = f"{self.file.name}: {plural(skipped, 'row')} without a target left out"
        rows = [np.concatenate(each) for each in zip(*parts, strict=True)]
        found = [run.predictor.measure(x, y) for run, x in zip(self.runs.runs, rows, strict=True)]
        mean = np.stack([run.predictor(x) for run, x in zip(self.runs.runs, rows, strict=True)]).mean(0)
        return found, self.runs.first.predictor.measure_predictions(mean, y), len(y)

    def _pieces(self) -> Iterator[Piece]:
        names = dict.fromkeys((*self.runs.features, *self._keep, *self._targets)) if self.file.names else {}
        yield from self.file.pieces(list(names))

    def _features(self, run: Run, piece: Piece) -> NDArray[Any]:
        """The rows of a piece as a run takes them [n, D]."""
        if self.file.arrays:
            return run.rows(piece.columns[""])
        if run.pairs:
            return run.rows(pd.DataFrame({name: _plain(piece.columns[name]) for name in run.features}))
        if run.vocabulary:
            return run.rows(_plain(piece.columns[run.features[0]]).tolist())
        assert run.encoding is not None, "checked when the file was opened"
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                x = encode(piece.columns, run.encoding, piece.where)
        except DataError as error:
            raise DataError(*(f"{self.file.name}: {message}" for message in error.problems)) from error
        for warning in caught:
            text = str(warning.message)
            self._strange.setdefault(text.partition(":")[0], f"{self.file.name}: {text}")
        self._note_unknown(piece, run.encoding, x)
        return x

    def _note_unknown(self, piece: Piece, encoding: Encoding, x: NDArray[Any]) -> None:
        """Count the values of categorical columns that are none of the categories: all features of the column are 0."""
        ends = np.cumsum([0, *(len(column.features) for column in encoding.columns)]).tolist()
        for column, (start, end) in zip(encoding.columns, pairwise(ends), strict=True):
            if column.kind != "categorical":
                continue
            strangers = np.flatnonzero(x[:, start:end].sum(1) == 0)
            if len(strangers):
                example = _plain(piece.columns[column.name])[int(strangers[0])]
                self._unknown.setdefault(column.name, [0, example])[0] += len(strangers)

    def _labels(self, piece: Piece) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """The targets of a piece as its task has them, and which rows have all of them, bool [n]."""
        run = self.runs.first
        task, columns = run.task, [piece.columns[name] for name in self._targets]
        if run.classes and (task.exclusive or task.two_classes):
            found = self._class_numbers(piece, columns[0], run.classes)
            y = found.clip(0)
            return (y if task.integral else y.astype(np.float64)[:, None]), found >= 0
        code = Encoding(tuple(ColumnCode(name=name, kind="numeric") for name in self._targets), self._decimal(run))
        try:
            y = encode(dict(zip(self._targets, columns, strict=True)), code, piece.where)
        except DataError as error:
            raise DataError(*(f"{self.file.name}: {message}" for message in error.problems)) from error
        if task.values and bool(((y != task.values[0]) & (y != task.values[1]) & ~np.isnan(y)).any()):
            raise DataError(f"{self.file.name}: {', '.join(self._targets)}: must be {task.values[0]} or {task.values[1]}")
        return y, np.isnan(y).sum(1) == 0

    @staticmethod
    def _decimal(run: Run) -> str:
        return "." if run.encoding is None else run.encoding.decimal

    def _class_numbers(self, piece: Piece, values: Any, classes: Sequence[str]) -> NDArray[np.int64]:
        """The number of each row's class, int64 [n]; -1 where it is missing."""
        places = {name: place for place, name in enumerate(classes)}
        folded = (
            {name.casefold(): place for name, place in places.items()}
            if len({*map(str.casefold, classes)}) == len(classes)
            else {}
        )
        texts = _texts(values)
        numbers = np.empty(len(texts.distinct), dtype=np.int64)
        for code, text in enumerate(texts.distinct):
            place = places.get(text, folded.get(text.casefold(), -1))
            numbers[code] = _numbered(text, places) if place < 0 else place
            if numbers[code] < 0 and not is_missing(text):
                row = int((texts.codes == code).argmax())
                where = f"{self.file.name} {piece.where(row)}"
                raise DataError(
                    f"{where}: {shown(self._targets[0])} is {shown(text)!r}, and the classes of the run are "
                    f"{listed(list(classes), _MOST_NAMED)}"
                )
        found: NDArray[np.int64] = numbers[texts.codes]
        return found


def _numbered(text: str, places: dict[str, int]) -> int:
    """The class that a number means: 1.0 is 1. -1 where it means none."""
    try:
        return places.get(text_of(float(text)), -1)
    except ValueError:
        return -1


def _texts(values: Any) -> Texts:
    if isinstance(values, Texts):
        return values
    from dlrun.data.table.values.cells import texts_of
    from dlrun.data.table.values.typed import written

    kind, cells = typed(values)
    return cells if isinstance(cells, Texts) else texts_of([written(kind, value) for value in cells.tolist()])


def _plain(values: Any) -> NDArray[Any]:
    """Cells of a file as an array [n]."""
    return np.array(values.distinct, dtype=object)[values.codes] if isinstance(values, Texts) else np.asarray(values)
