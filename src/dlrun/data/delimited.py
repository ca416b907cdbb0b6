"""Delimited text: what separates the cells, what the columns are called, and the rows in pieces, every one of the same width.

pandas parses the pieces, which is fast; that each line holds one cell for each column is made sure of before, because pandas
takes surplus cells for an index and fills short lines up without a word.

Shapes: n rows of a piece, K columns.
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from dlrun.data.cells import listed, number
from dlrun.data.textfile import TextFile
from dlrun.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame

SEPARATORS = (",", ";", "\t", "|")
SAMPLE_LINES = 200
SAMPLE_SIZE = 1 << 22  # characters
MOST_COLUMNS = 100_000
ROWS, FEWEST_ROWS = 1 << 13, 1 << 10  # rows of a piece, and of the one by which columns are recognized
NUMBERS, MOST_NUMBERS = 1 << 18, 1 << 24  # of a piece: where there are many columns, and where there are thousands
LONGEST_ROW = 1 << 20  # characters of one row with line breaks in quotes; longer ones are a quote that was never closed

_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?", re.ASCII)
_DECIMAL_POINT = re.compile(r"[+-]?\d*\.\d+(?:[eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Dialect:
    """How a file is written: what stands between cells, and what before the decimals of a number."""

    separator: str
    decimal: str

    @property
    def said(self) -> str:
        """What is unusual about it, for a message."""
        words = [] if self.separator == "," else [f"separator {'tab' if self.separator == chr(9) else repr(self.separator)}"]
        return ", ".join([*words, *([f"decimal mark {self.decimal!r}"] if self.decimal != "." else [])])


@dataclass(frozen=True)
class Piece:
    """Some rows as text of K cells each, and the line on which each of them begins."""

    text: str
    lines: Sequence[int]

    def parse(self, dialect: Dialect, **how: Any) -> "DataFrame":
        """The cells; ``how`` is handed to pandas.read_csv."""
        import pandas

        cells: DataFrame = pandas.read_csv(
            StringIO(self.text),
            sep=dialect.separator,
            decimal=dialect.decimal,
            header=None,
            index_col=False,
            engine="c",
            low_memory=False,
            quoting=csv.QUOTE_MINIMAL if '"' in self.text else csv.QUOTE_NONE,
            **how,
        )
        if len(cells) != len(self.lines):  # pandas must see the rows that were checked
            raise DataError(
                f"lines {self.lines[0]:,} to {self.lines[-1]:,} cannot be told apart; write each row on a line of its own"
            )
        return cells


class Delimited:
    """A delimited file: its dialect and header are read at once, its rows whenever ``pieces`` is called.

    Args:
        file: the text.
        separator, decimal: as given by the user; found out when None.

    Raises:
        DataError: there are no names, or two columns have the same.
    """

    def __init__(self, file: TextFile, separator: str | None = None, decimal: str | None = None) -> None:
        self.file = file
        with file.lines() as lines:
            sample = _sample(lines)
        self.dialect = _sniff(sample, separator, decimal)
        with file.lines() as lines:
            _, first = next(self._records(lines, 0), (0, [""]))
        if len(first) > MOST_COLUMNS:
            raise DataError(f"{file.name}: has {len(first):,} columns, and at most {MOST_COLUMNS:,} can be used")
        names = [name.strip() for name in first]
        if not any(names):
            raise DataError(f"{file.name}: is empty; it needs a line of column names, and rows")
        twice = [name for name, count in Counter(names).items() if count > 1 and name]
        if twice:
            raise DataError(f"{file.name}: {listed(twice)}: more than one column has this name; give each its own")
        self.unnamed = frozenset(place for place, name in enumerate(names) if not name)
        self.names = [name or f"column {place + 1}" for place, name in enumerate(names)]
        self.numbered = all(number(name) is not None for name in names)  # numbers instead of names: there is no header
        self.most_rows = min(file.breaks, file.bytes // len(names)) + 1  # a row has a separator or line break for each cell

    def pieces(self, most: int = ROWS) -> Iterator[Piece]:
        """The rows, at most so many at a time.

        Raises:
            DataError: a row has too many cells or too few, or a quote is not closed; with its line.
        """
        width = len(self.names)
        together = min(most, max(NUMBERS // width, min(FEWEST_ROWS, MOST_NUMBERS // width)))
        separator = self.dialect.separator
        with self.file.lines() as lines:
            above = self._skip_header(lines)
            while batch := list(islice(lines, together)):
                text = "".join(batch)
                # lines without quotes that all have the right number of separators need no closer look
                if '"' not in text and width > 1 and {line.count(separator) for line in batch} == {width - 1}:
                    yield Piece(text, range(above + 1, above + 1 + len(batch)))
                    above += len(batch)
                else:
                    piece, above = self._checked(batch, lines, above)
                    if piece.lines:
                        yield piece

    def _skip_header(self, lines: Iterator[str]) -> int:
        """Read past the header; how many lines that were."""
        counted = _Counted(lines)
        next(self._records(counted, 0))
        return counted.count

    def _checked(self, batch: list[str], lines: Iterator[str], above: int) -> tuple[Piece, int]:
        """The rows that begin in a batch of lines, each looked at, and the number of lines read until then."""
        counted = _Counted(chain(batch, lines))
        kept: list[str] = []
        starts: list[int] = []
        width = len(self.names)
        records = self._records(counted, above, width, kept)
        while counted.count < len(batch):
            start, cells = next(records, (0, []))
            if not start:
                break
            if len(cells) != width:
                raise DataError(self._ragged(start, len(cells)))
            starts.append(start)
        text = "".join(row if row.endswith(("\n", "\r")) else f"{row}\n" for row in kept)
        return Piece(text, starts), above + counted.count

    def _ragged(self, line: int, cells: int) -> str:
        width = len(self.names)
        said = f"{self.file.name} line {line:,}: has {cells} cell{'s' * (cells != 1)}, and the header has {width} names"
        if cells == width + 1:
            return f"{said}; if every row has one more, give the first column a name; if not, quote cells that hold a separator"
        return f"{said}; mend the row, and leave cells without a value empty"

    def _records(
        self, lines: Iterator[str], above: int, width: int = 0, keep: list[str] | None = None
    ) -> Iterator[tuple[int, list[str]]]:
        """Each row as the line on which it begins and its cells; ``keep`` collects the texts. Blank lines are no rows."""
        held: list[str] = []  # the lines of a row whose quote is still open
        start = quotes = size = 0
        for place, line in enumerate(lines, above + 1):
            if not held:
                start = place
                cells = self._cells(line, start)
            else:
                quotes += line.count('"')
                size += len(line)
                cells = None if quotes % 2 else self._cells("".join((*held, line)), start)
            if cells is None:
                quotes = quotes if held else line.count('"')
                held.append(line)
                if size > LONGEST_ROW:
                    break
                continue
            if any(map(str.strip, cells)) or len(cells) == width:
                if keep is not None:
                    keep.append("".join((*held, line)))
                yield start, cells
            held, size = [], 0
        if held:
            raise DataError(f"{self.file.name} line {start:,}: opens a quote that is never closed; close it, or leave it out")

    def _cells(self, row: str, start: int) -> list[str] | None:
        """The cells of a row; None when it ends inside a quote."""
        if '"' not in row:
            return row.rstrip("\r\n").split(self.dialect.separator)
        try:
            return next(csv.reader([row], delimiter=self.dialect.separator, strict=True), [""])
        except csv.Error as error:
            if "unexpected end" in str(error):
                return None
            raise DataError(
                f"{self.file.name} line {start:,}: cannot be read ({error}); write a quote inside of quotes twice"
            ) from None


class _Counted:
    """An iterator that knows how many items it has given."""

    def __init__(self, items: Iterator[str]) -> None:
        self._items, self.count = items, 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        item = next(self._items)
        self.count += 1
        return item


def _sample(lines: Iterator[str]) -> list[str]:
    """The first lines, as many as it takes to see how the file is written."""
    sample: list[str] = []
    size = 0
    for line in islice(lines, SAMPLE_LINES):
        sample.append(line)
        size += len(line)
        if size > SAMPLE_SIZE:
            break
    return sample


def _sniff(lines: Sequence[str], separator: str | None, decimal: str | None) -> Dialect:
    """The separator that gives the first lines one width, the widest if several do; a comma for decimals if they show any."""
    if separator is None:
        separator = max(SEPARATORS, key=lambda each: _widths(lines, each))
    if decimal is None:
        cells = {cell.strip() for row in _loosely(lines, separator) for cell in row}
        commas = any(map(_DECIMAL_COMMA.fullmatch, cells)) and not any(map(_DECIMAL_POINT.fullmatch, cells))
        decimal = "," if commas and separator != "," else "."
    return Dialect(separator, decimal)


def _widths(lines: Sequence[str], separator: str) -> tuple[bool, int]:
    widths = [len(row) for row in _loosely(lines, separator)]
    return bool(widths) and widths[0] > 1 and len(set(widths)) == 1, widths[0] if widths else 0


def _loosely(lines: Sequence[str], separator: str) -> list[list[str]]:
    """The rows of a sample; none if it cannot be read so."""
    try:
        return [row for row in csv.reader(lines, delimiter=separator) if any(map(str.strip, row))]
    except csv.Error:
        return []
