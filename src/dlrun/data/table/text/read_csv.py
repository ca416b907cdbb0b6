"""A delimited file as a TableBuilder: read piece by piece, and again when a column turns out to be another than it seemed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from dlrun.data.table.advice import naming
from dlrun.data.table.aside import LABELS
from dlrun.data.table.builder import TableBuilder
from dlrun.data.table.columns import Column
from dlrun.data.table.text.delimited import FEWEST_ROWS, Delimited, Piece
from dlrun.data.table.text.quoted import column_texts, marked
from dlrun.data.table.values.amounts import PLAIN, codes_in, number, plainly
from dlrun.data.table.values.cells import SPELLINGS, Cells, Texts, listed, recognized
from dlrun.errors import DataError

_SEARCHED = 8  # pieces that are all searched for codes such as 007; of the others every 2^k-th, as it takes a sixth of reading
_TRUTH_WORDS = ("true", "True", "TRUE", "false", "False", "FALSE")


def read_csv(
    table: Delimited,
    tested: Delimited | None,
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
        tested: another one, whose rows are for testing; what a column is, the first one says.
        forms: the columns by name: features, then ``targets`` of them that are to be predicted, then those that have a role.
        texts, marks, thousands: as given by the user.
        decimals: whether the user says what stands before decimals.
    """
    dialect, columns = table.dialect, list(forms.values())
    exact_marks = any(number(mark) is not None and not plainly(mark) for mark in marks)  # pandas would take 7 for 007
    first = next(table.pieces(FEWEST_ROWS), None)
    if first is not None:
        cells = _cells(table, first, list(forms), [], marks)
        learnt_names = {column.name for column in _parts(columns, targets)[1]}
        for column in columns:
            seen = cells[column.name]
            assert isinstance(seen, Texts)
            column.kind = "categorical"
            if column.name not in texts and column.role not in LABELS:
                column.kind, column.form = recognized(
                    seen,
                    dialect.decimal,
                    frozenset(marks),
                    dialect.groups,
                    thousands=thousands is not None,
                    decimals=decimals,
                    day_first=column.day_first,
                    learnt=column.name in learnt_names,
                )
            column.spelled(seen.distinct)
    while True:
        features, learnt, beside = _parts(columns, targets)
        builder = TableBuilder(
            table.file.name,
            features,
            learnt,
            table.most_rows + (0 if tested is None else tested.most_rows),
            marks,
            dialect.decimal,
            dialect.groups,
            thousands or "",
            decimals=decimals,
            beside=beside,
        )
        for place, piece in enumerate(table.pieces()):
            numeric = [] if exact_marks else _plain(columns)
            if place < _SEARCHED or place & (place - 1) == 0:
                _note_codes(table, piece, columns, marks)
            builder.add(_cells(table, piece, list(forms), numeric, marks), piece.lines)
        settled = builder.settle()
        if settled is None:
            if tested is not None:
                _add_tested(builder, tested, list(forms), [] if exact_marks else _plain(columns), marks)
            return builder
        del builder  # before the next one takes its memory
        columns = settled


def _parts(columns: Sequence[Column], targets: int) -> tuple[Sequence[Column], Sequence[Column], Sequence[Column]]:
    """Features, targets and columns that have a role, of columns in this order."""
    plain = [column for column in columns if not column.role]
    return plain[:-targets], plain[-targets:], columns[len(plain) :]


def _plain(columns: Sequence[Column]) -> list[str]:
    """The names of columns of numbers that pandas reads."""
    return [column.name for column in columns if column.kind == "numeric" and column.form == PLAIN]


def _add_tested(
    builder: TableBuilder, tested: Delimited, names: Sequence[str], numeric: Sequence[str], marks: Sequence[str]
) -> None:
    """Add the rows of another file, which are for testing.

    Raises:
        DataError: it has no rows, or lacks a column, or a column holds something else than in the file before.
    """
    missing = [name for name in names if name not in tested.names]
    if missing:
        has = f"{tested.file.name} has {listed(tested.names, 20)}"
        needed = {column.name for column in (*builder.targets, *builder.beside)}.intersection(missing)
        drop = "" if needed else f", or type {naming('drop', *missing, several=True)}"
        raise DataError(
            f"dataset.test_path: {tested.file.name} lacks {listed(missing)}, which {builder.file} has; {has}; give a file with "
            f"the same columns{drop}"
        )
    first, before = builder.file, builder.rows
    builder.test_from(tested.file.name)
    for piece in tested.pieces():
        builder.add(_cells(tested, piece, names, numeric, marks), piece.lines)
    if builder.settle() is not None:
        raise DataError(f"{tested.file.name}: dates or numbers are written otherwise than in {first}; write both files alike")
    if builder.rows == before:
        raise DataError(f"dataset.test_path: {tested.file.name} has no row with a value of the target, and so nothing to test on")
    builder.file = first


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
