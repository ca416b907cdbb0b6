"""The user's own table: a CSV or Parquet file, one row an example, one column the target.

    columns of        become (see data/encoding.py)                     a missing cell
    numbers           the number                                        the median of the training rows
    true/false        0 or 1                                            the median of the training rows
    dates             days, month, weekday and hour                     the median of the training rows
    texts             1 or 0 for each category                          a category of its own

A file is read once in a process, however many runs use it, and again when it has changed.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from dlrun.components.hyperparameters import Natural
from dlrun.components.tasks import TableTask
from dlrun.data.dataset import Data
from dlrun.data.sources.kept import file_key, once
from dlrun.data.table.aside import Aside
from dlrun.data.table.columns import Column
from dlrun.data.table.read_parquet import read_parquet
from dlrun.data.table.tabular import chosen, to_data
from dlrun.data.table.text.delimited import Delimited
from dlrun.data.table.text.read_csv import read_csv
from dlrun.data.table.text.textfile import examine, located
from dlrun.data.table.values.cells import shown
from dlrun.errors import DataError

Name = str | int | float  # a name such as 2024 arrives as a number
Names = list[Name] | Name | None  # a single name is a list of one


def csv(
    *,
    path: str | None = None,
    target: Names = None,
    columns: Names = None,
    drop: Names = None,
    categorical: Names = None,
    missing: Names = None,
    separator: str | None = None,
    decimal: Literal[".", ","] | None = None,
    thousands: Literal[",", ".", " ", "'"] | None = None,
    header: bool | None = None,
    skip: Natural = 0,
    footer: Natural = 0,
    encoding: str | None = None,
    day_first: bool | None = None,
    task: TableTask | None = None,
    positive: Name | None = None,
    split_column: Name | None = None,
    test_path: str | None = None,
    group: Name | None = None,
    time: Name | None = None,
    weight: Name | None = None,
) -> Data:
    """A CSV file (gzip too) whose first row names the columns.

    Args:
        path: the file.
        target: the column to be predicted, or several of numbers, or of 0 and 1. Rows in which one is missing are left out.
        columns: the columns that are features; all but the target by default.
        drop: columns that are none.
        categorical: columns whose numbers are names, such as postcodes.
        missing: texts that mean a missing value, beside NA, null, nan and the like.
        separator: what stands between cells; found out by default, as are the following.
        decimal: what stands before the decimals of a number.
        thousands: what groups its digits.
        header: whether the first row has the names of columns; without them they are called 0, 1, 2 and so on.
        skip: how many lines stand above the names; titles and comments that can be nothing else are left out anyway.
        footer: how many lines stand below the last row, blank ones not counted.
        encoding: of the text, such as latin-1.
        day_first: whether 3/4/2024 is in April.
        task: regression, binary, multiclass or multilabel; found out from the target by default.
        positive: the one of two classes that is number 1; the second in alphabetical order by default.
        split_column: the column that says whether a row is for train, validation or test; no feature, as the next three.
        test_path: another file with the same columns, whose rows are for testing.
        group: the column that names the group of each row; no split has rows of a group on two sides.
        time: the column of numbers or dates in the order of which rows are split.
        weight: the column that says how much each row counts in the loss.

    Returns:
        The dataset: float64 [N, D] up to 4 million numbers, float32 above.

    Raises:
        DataError: what is wrong with the file, with its line, or with one of the settings.
    """
    shape = (separator, decimal, thousands, header, skip, footer)
    aside = named_aside(split_column, group, time, weight)
    how = (target, columns, drop, categorical, missing, shape, encoding, day_first, task, positive, aside)

    def delimited(place: Path, targets: Sequence[str]) -> Delimited:
        marks: Any = {"decimal": decimal, "thousands": thousands, "header": header, "skip": skip, "footer": footer}
        return Delimited(examine(place, encoding), separator=_separator(separator), targets=targets, **marks)

    def load() -> Data:
        wanted = words(columns) if columns is not None else None
        marks, texts, targets = words(missing), words(categorical), words(target)
        table = delimited(place, targets)
        tested = None if other is None else delimited(other, targets)
        roles = {column: key for key, column in aside}
        used = [*chosen(table.file.name, table.names, targets, wanted, words(drop), texts, aside), *targets, *roles]
        forms = {
            key: Column(key, wanted=wanted is not None or key in texts, day_first=day_first, role=roles.get(key, ""))
            for key in used
        }
        builder = read_csv(table, tested, forms, len(targets), texts, marks, thousands, decimals=decimal is not None)
        message, file = table.remarks, table.file
        message += [f"read as {file.encoding}"] if not file.encoding.startswith("utf-8") and encoding is None else []
        return to_data(
            builder,
            task,
            unnamed=[table.names[place] for place in table.unnamed],
            categorical=texts,
            marks=marks,
            remarks=message,
            positive=positive,
            aside=aside,
            tested="" if tested is None else tested.file.name,
        )

    if path is None:
        raise DataError("dataset.path: which file? type dataset.path=FILE.csv dataset.target=COLUMN")
    if thousands is not None and thousands == decimal:
        raise DataError(f"dataset.thousands={thousands}: is dataset.decimal too; a number cannot have one mark for both")
    place, other = located(path), _tested(test_path)
    return once(_keys("csv", place, other, how), load)


def parquet(
    *,
    path: str | None = None,
    target: Names = None,
    columns: Names = None,
    drop: Names = None,
    categorical: Names = None,
    missing: Names = None,
    task: TableTask | None = None,
    positive: Name | None = None,
    split_column: Name | None = None,
    test_path: str | None = None,
    group: Name | None = None,
    time: Name | None = None,
    weight: Name | None = None,
) -> Data:
    """A Parquet file; needs pyarrow. The settings are those of ``csv``; what its columns are, the file says itself.

    Columns of types that are neither numbers, truth values, dates nor texts are left out, unless they are asked for by name.
    An index of pandas that has a name is a column like the others; one without a name is left out unless ``columns`` has it.

    Raises:
        DataError: pyarrow is not installed, or something is wrong with the file or a setting.
    """
    aside = named_aside(split_column, group, time, weight)
    how = (target, columns, drop, categorical, missing, task, positive, aside)

    def load() -> Data:
        texts, marks, wanted = words(categorical), words(missing), None if columns is None else words(columns)
        builder, unread = read_parquet(place, other, words(target), wanted, words(drop), texts, marks, aside)
        return to_data(
            builder,
            task,
            categorical=texts,
            marks=marks,
            unread=unread,
            positive=positive,
            aside=aside,
            tested="" if other is None else shown(other.name),
        )

    if path is None:
        raise DataError("dataset.path: which file? type dataset.path=FILE.parquet dataset.target=COLUMN")
    place, other = located(path), _tested(test_path)
    return once(_keys("parquet", place, other, how), load)


def _tested(path: str | None) -> Path | None:
    return None if path is None else located(path, "test_path")


def _keys(kind: str, place: Path, tested: Path | None, how: object) -> tuple[object, ...]:
    return file_key(kind, place, how), None if tested is None else file_key(kind, tested, "")


def named_aside(split_column: Name | None, group: Name | None, time: Name | None, weight: Name | None) -> Aside:
    """The columns that are neither features nor targets, as a config names them."""
    return Aside(*(None if name is None else str(name) for name in (split_column, group, time, weight)))


def words(values: Names) -> list[str]:
    """Names and other words of a config, as texts."""
    several = [] if values is None else [values] if isinstance(values, str | int | float) else values
    return [str(value) for value in several]


def _separator(given: str | None) -> str | None:
    if given is None:
        return None
    character = {"\\t": "\t", "tab": "\t", "space": " "}.get(given, given)
    if len(character) != 1 or character.isalnum() or character in "\"\r\n.+-'":
        raise DataError(f"dataset.separator={shown(given)}: must be one character, such as , or ; or the word tab or space")
    return character
