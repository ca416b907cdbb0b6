"""The user's own table: a CSV or Parquet file, one row an example, one column the target.

    columns of        become (see data/encoding.py)                     a missing cell
    numbers           the number                                        the median of the training rows
    true/false        0 or 1                                            the median of the training rows
    dates             days, month, weekday and hour                     the median of the training rows
    texts             1 or 0 for each category                          a category of its own

A file is read once in a process, however many runs use it, and again when it has changed.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dlrun.components.hyperparameters import Natural
from dlrun.components.tasks import TableTask
from dlrun.data.dataset import Data
from dlrun.data.sources.kept import file_key, once
from dlrun.data.table.amounts import PLAIN, codes_in, number, plainly
from dlrun.data.table.arrow import cells_of_array, kind_of_type
from dlrun.data.table.cells import SPELLINGS, Cells, Texts, listed, recognized, shown
from dlrun.data.table.columns import Column, TableBuilder
from dlrun.data.table.delimited import FEWEST_ROWS, Delimited, Piece
from dlrun.data.table.foreign import foreign
from dlrun.data.table.quoted import column_texts, marked
from dlrun.data.table.tabular import chosen, to_data
from dlrun.data.table.textfile import GZIP, examine, located, open_file
from dlrun.errors import DataError

Name = str | int | float  # a name such as 2024 arrives as a number
Names = list[Name] | Name | None  # a single name is a list of one

_BATCH = 1 << 16  # rows of a Parquet file read together
_BEGINNING = 1 << 16  # bytes that tell which format a file has
_INDEX = re.compile(r"__index_level_\d+__")  # as pandas calls an index without a name
_SEARCHED = 8  # pieces that are all searched for codes such as 007; of the others every 2^k-th, as it takes a sixth of reading
_TRUTH_WORDS = ("true", "True", "TRUE", "false", "False", "FALSE")


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

    Returns:
        The dataset: float64 [N, D] up to 4 million numbers, float32 above.

    Raises:
        DataError: what is wrong with the file, with its line, or with one of the settings.
    """
    shape = (separator, decimal, thousands, header, skip, footer)
    how = (target, columns, drop, categorical, missing, shape, encoding, day_first, task, positive)

    def load() -> Data:
        file = examine(place, encoding)
        wanted = words(columns) if columns is not None else None
        marks, texts, targets = words(missing), words(categorical), words(target)
        table = Delimited(
            file,
            separator=_separator(separator),
            decimal=decimal,
            thousands=thousands,
            header=header,
            skip=skip,
            footer=footer,
            targets=targets,
        )
        used = [*chosen(file.name, table.names, targets, wanted, words(drop), texts), *targets]
        forms = {key: Column(key, wanted=wanted is not None or key in texts, day_first=day_first) for key in used}
        builder = _read_csv(table, forms, len(targets), texts, marks, thousands, decimals=decimal is not None)
        message = table.remarks
        message += [f"read as {file.encoding}"] if not file.encoding.startswith("utf-8") and encoding is None else []
        unnamed = [table.names[place] for place in table.unnamed]
        return to_data(builder, task, unnamed=unnamed, categorical=texts, marks=marks, remarks=message, positive=positive)

    if path is None:
        raise DataError("dataset.path: which file? type dataset.path=FILE.csv dataset.target=COLUMN")
    if thousands is not None and thousands == decimal:
        raise DataError(f"dataset.thousands={thousands}: is dataset.decimal too; a number cannot have one mark for both")
    place = located(path)
    return once(file_key("csv", place, how), load)


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
) -> Data:
    """A Parquet file; needs pyarrow. The settings are those of ``csv``; what its columns are, the file says itself.

    Columns of types that are neither numbers, truth values, dates nor texts are left out, unless they are asked for by name.
    An index of pandas that has a name is a column like the others; one without a name is left out unless ``columns`` has it.

    Raises:
        DataError: pyarrow is not installed, or something is wrong with the file or a setting.
    """
    how = (target, columns, drop, categorical, missing, task, positive)

    def load() -> Data:
        return _read_parquet(place, target, columns, drop, categorical, missing, task, positive)

    if path is None:
        raise DataError("dataset.path: which file? type dataset.path=FILE.parquet dataset.target=COLUMN")
    place = located(path)
    return once(file_key("parquet", place, how), load)


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


# CSV


def _read_csv(
    table: Delimited,
    forms: dict[str, Column],
    targets: int,
    texts: Sequence[str],
    marks: Sequence[str],
    thousands: str | None,
    *,
    decimals: bool,
) -> TableBuilder:
    """Read all pieces; again from the start when a column turns out to be another than it seemed.

    Args:
        table: the file.
        forms: the columns by name; the last ones, ``targets`` of them, are to be predicted.
        texts, marks, thousands: as given by the user.
        decimals: whether the user says what stands before decimals.
    """
    dialect, columns = table.dialect, list(forms.values())
    exact_marks = any(number(mark) is not None and not plainly(mark) for mark in marks)  # pandas would take 7 for 007
    first = next(table.pieces(FEWEST_ROWS), None)
    if first is not None:
        cells = _cells(table, first, list(forms), [], marks)
        for column in forms.values():
            seen = cells[column.name]
            assert isinstance(seen, Texts)
            column.kind = "categorical"
            if column.name not in texts:
                column.kind, column.form = recognized(
                    seen,
                    dialect.decimal,
                    frozenset(marks),
                    dialect.groups,
                    thousands=thousands is not None,
                    decimals=decimals,
                    day_first=column.day_first,
                    learnt=column in columns[-targets:],
                )
            column.spelled(seen.distinct)
    while True:
        features, learnt = columns[:-targets], columns[-targets:]
        builder = TableBuilder(
            table.file.name,
            features,
            learnt,
            table.most_rows,
            marks,
            dialect.decimal,
            dialect.groups,
            thousands or "",
            decimals=decimals,
        )
        for place, piece in enumerate(table.pieces()):
            numeric = [column.name for column in columns if column.kind == "numeric" and column.form == PLAIN]
            if exact_marks:
                numeric = []
            if place < _SEARCHED or place & (place - 1) == 0:
                _note_codes(table, piece, columns, marks)
            builder.add(_cells(table, piece, list(forms), numeric, marks), piece.lines)
        settled = builder.settle()
        if settled is None:
            return builder
        del builder  # before the next one takes its memory
        columns = settled


def _note_codes(table: Delimited, piece: Piece, columns: Sequence[Column], marks: Sequence[str]) -> None:
    """Note which columns of whole numbers hold codes such as 007, which numbers do not show any more."""
    watched = {column.name: column for column in columns if column.kind == "numeric" and column.whole and not column.code}
    if not watched:
        return
    if table.dialect.quote in piece.text:  # separators may stand in quotes
        if next(codes_in(piece.text, table.dialect.separator), None):
            for name, cells in _cells(table, piece, list(watched), [], marks).items():
                if isinstance(cells, Texts):
                    watched[name].spelled(cells.distinct)
        return
    places = {place: watched[name] for place, name in enumerate(table.names) if name in watched}
    for place, cell in codes_in(piece.text, table.dialect.separator):
        if column := places.pop(place, None):
            column.code = cell


def _cells(
    table: Delimited, piece: Piece, names: Sequence[str], numeric: Sequence[str], marks: Sequence[str]
) -> dict[str, Cells]:
    """The cells of the named columns: floats for those in ``numeric`` if all of these can be read so, texts for the others."""
    if (text := marked(piece.text, table.dialect.separator, table.dialect.quote)) is not None:
        piece = replace(piece, text=text)
    places = {name: place for place, name in enumerate(table.names)}
    order = sorted(names, key=places.__getitem__)
    how = {"usecols": [places[name] for name in order], "keep_default_na": False}
    if numeric:
        try:
            found = _numeric_cells(table, piece, order, {name: places[name] for name in numeric}, [*SPELLINGS, *marks], how)
            if not _could_be_truth(piece.text, [found[name] for name in numeric]):
                return found
        except (ValueError, TypeError):  # a text among the numbers: which one is found out cell by cell
            pass
    texts = piece.parse(table.dialect, dtype=object, na_filter=False, **how).to_numpy(dtype=object)
    return {name: column_texts(column) for name, column in zip(order, texts.T, strict=True)}


def _numeric_cells(
    table: Delimited, piece: Piece, order: Sequence[str], numeric: Mapping[str, int], words: Sequence[str], how: Mapping[str, Any]
) -> dict[str, Cells]:
    """The cells of columns of which some are ``numeric``, each with its place; a ValueError when one of these has a text."""
    if len(numeric) == len(order):
        numbers = piece.parse(table.dialect, dtype=np.float64, na_values=words, **how).to_numpy()
        return dict(zip(order, numbers.T, strict=True))
    types = {place: np.float64 if name in numeric else object for name, place in zip(order, how["usecols"], strict=True)}
    parsed = piece.parse(table.dialect, dtype=types, na_values=dict.fromkeys(numeric.values(), words), **how)
    columns = {name: parsed[place].to_numpy() for name, place in zip(order, types, strict=True)}
    return {name: column if name in numeric else column_texts(column) for name, column in columns.items()}


def _could_be_truth(text: str, columns: Sequence[Cells]) -> bool:
    """Whether a column of this piece may be true/false throughout, which pandas takes for 1 and 0."""
    bits = any(bool(((v == 0) | (v == 1) | np.isnan(v)).all()) for v in columns if not isinstance(v, Texts))
    return bits and any(word in text for word in _TRUTH_WORDS)


# Parquet


def _read_parquet(
    place: Path,
    target: Names,
    columns: Names,
    drop: Names,
    categorical: Names,
    missing: Names,
    task: TableTask | None,
    positive: Name | None,
) -> Data:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise DataError("dataset=parquet: needs pyarrow, which is not installed; run: pip install 'dlrun[parquet]'") from error
    name = shown(place.name)
    texts, marks, targets = words(categorical), words(missing), words(target)
    wanted = None if columns is None else words(columns)
    with open_file(place) as stream:
        _refuse_other_formats(stream.read(_BEGINNING), name)
        stream.seek(0)
        try:
            file = ParquetFile(stream)
            schema = file.schema_arrow
            twice = [key for key, count in Counter(schema.names).items() if count > 1]
            if twice:
                raise DataError(f"{name}: {listed(twice)}: more than one column has this name; give each its own")
            asked = [*targets, *(wanted or ()), *texts]
            unread = {key: "an index without a name" for key in schema.names if _INDEX.fullmatch(key) and key not in asked}
            used = [*chosen(name, schema.names, targets, wanted, [*words(drop), *unread], texts), *targets]
            kinds = {key: "categorical" if key in texts else kind_of_type(schema.field(key).type) for key in used}
            unread |= _unusable(
                {key: schema.field(key).type for key in used if kind_of_type(schema.field(key).type) is None}, asked
            )
            used = [key for key in used if key not in unread]
            forms = [Column(key, kinds[key], wanted is not None or key in texts, day_first=True) for key in used]
            features, learnt = forms[: -len(targets)], forms[-len(targets) :]
            builder, start = TableBuilder(name, features, learnt, file.metadata.num_rows, marks), 1
            for batch in file.iter_batches(_BATCH, columns=used):
                cells = {key: cells_of_array(batch.column(key), kinds[key] or "numeric") for key in used}
                builder.add(cells, range(start, start + len(batch)))
                start += len(batch)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(f"{name}: is no Parquet file, or a damaged one ({shown(error, 100)})") from error
    builder.settle()
    return to_data(builder, task, categorical=texts, marks=marks, unread=unread, positive=positive)


def _unusable(types: Mapping[str, Any], asked: Collection[str]) -> dict[str, str]:
    """Why columns of types that cannot be used are left out. Those that are asked for by name raise a DataError."""
    wanted = [
        f"column {shown(name)}: is of type {shown(kind)}, which cannot be used; store it as numbers or texts"
        for name, kind in types.items()
        if name in asked
    ]
    if wanted:
        raise DataError(*wanted)
    return {name: f"of type {shown(kind)}" for name, kind in types.items()}


def _refuse_other_formats(block: bytes, name: str) -> None:
    """Raise DataError for the beginning of a file in another format than Parquet; a damaged Parquet file passes."""
    if block.startswith(b"PAR1"):
        return
    message = foreign(block)
    if not block:
        message = "is empty"
    elif block.startswith(GZIP):
        message = "is compressed by gzip; unpack it first"
    elif not message and b"\0" not in block:
        message = "is no Parquet file but one of text; type dataset=csv"
    if message:
        raise DataError(f"{name}: {message}")
