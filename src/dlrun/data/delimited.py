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
from itertools import chain, islice, zip_longest
from typing import TYPE_CHECKING, Any

from dlrun.data.advice import setting
from dlrun.data.amounts import GROUPINGS, number
from dlrun.data.cells import is_missing, listed
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
_FEWEST_SHOWING, _CELLS_SHOWING = 20, 100_000  # rows, or else cells, that show what stands before decimals
LONGEST_ROW = 1 << 20  # characters of one row with line breaks in quotes; longer ones are a quote that was never closed

_GAPS = "'\u2019 \u00a0\u2009\u202f"
_DECIMALS = {  # numbers with decimals behind the mark
    ",": re.compile(rf"[+-]?(?:\d*|\d{{1,3}}(?:[.{_GAPS}]\d{{3}})+),\d+(?:[eE][+-]?\d+)?", re.ASCII),
    ".": re.compile(rf"[+-]?(?:\d*|\d{{1,3}}(?:[,{_GAPS}]\d{{3}})+)\.\d+(?:[eE][+-]?\d+)?", re.ASCII),
}
_WHOLE = re.compile(rf"[+-]?(?:\d+|\d{{1,3}}(?:[{_GAPS}]\d{{3}})+)", re.ASCII)
_EITHER = re.compile(r"[+-]?[1-9]\d{0,2}[,.]\d{3}", re.ASCII)  # three decimals, or a number above a thousand
_GROUPS = {  # numbers in which the mark stands more than once, and is none for decimals
    ",": re.compile(r"[+-]?[1-9]\d{0,2}(?:,\d{3}){2,}", re.ASCII),
    ".": re.compile(r"[+-]?[1-9]\d{0,2}(?:\.\d{3}){2,}", re.ASCII),
}


@dataclass(frozen=True)
class Dialect:
    """How a file is written.

    Attributes:
        separator: what stands between cells.
        decimal: what stands before the decimals of a number.
        groups: what may group the digits of a number.
        unsure: whether the mark for decimals may just as well be one that groups digits.
    """

    separator: str
    decimal: str
    groups: tuple[str, ...] = ()
    unsure: bool = False

    @property
    def said(self) -> str:
        """What is unusual about it, for a message."""
        words = [] if self.separator == "," else [f"separator {'tab' if self.separator == chr(9) else repr(self.separator)}"]
        words += [f"decimal mark {self.decimal!r}"] if self.decimal != "." else []
        return ", ".join(words) + (f" (if it groups digits, type {setting('thousands', self.decimal)})" if self.unsure else "")


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
        separator, decimal, thousands: as given by the user; found out when None.

    Raises:
        DataError: there are no names, or two columns have the same.
    """

    def __init__(
        self, file: TextFile, separator: str | None = None, decimal: str | None = None, thousands: str | None = None
    ) -> None:
        self.file = file
        with file.lines() as lines:
            sample = _sample(lines)
        self.dialect = _sniff(sample, separator, decimal, thousands)
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


def _sniff(lines: Sequence[str], separator: str | None, decimal: str | None, thousands: str | None) -> Dialect:
    """The separator that gives the first lines one width, the widest if several do; a comma for decimals if columns show any.

    Cells such as 1,234 or 1.234 show nothing by themselves: they are decimals unless other cells say that they are groups.
    """
    if separator is None:
        separator = max(SEPARATORS, key=lambda each: _widths(lines, each))
    shown, either = _decimals_shown(_loosely(lines, separator))
    unsure = False
    if decimal is None and thousands in (",", "."):
        decimal = "." if thousands == "," else ","
    elif decimal is None:
        unsure = separator != "," and not shown and either == {","}
        decimal = "," if unsure or (separator != "," and shown == {","}) else "."
    if thousands is not None:
        return Dialect(separator, decimal, (thousands,))
    return Dialect(separator, decimal, tuple(mark for mark in GROUPINGS if mark != decimal and mark not in shown), unsure)


def _decimals_shown(rows: Sequence[Sequence[str]]) -> tuple[set[str], set[str]]:
    """Which marks for decimals the columns of numbers show, and which occur in cells that may be thousands too."""
    shown: set[str] = set()
    either: set[str] = set()
    most = max(_FEWEST_SHOWING, _CELLS_SHOWING // len(rows[0])) if rows else 0
    for column in zip_longest(*rows[1 : most + 1], fillvalue=""):
        if not any("," in cell or "." in cell for cell in column):
            continue
        cells = [cell for each in column if not is_missing(cell := each.strip())]
        doubtful = [cell for cell in cells if _EITHER.fullmatch(cell)]
        sure = {mark: sum(map(bool, map(form.fullmatch, cells))) for mark, form in _DECIMALS.items()}
        for cell in doubtful:
            sure["," if "," in cell else "."] -= 1
        for mark, other in ((",", "."), (".", ",")):
            sure[mark] += sum(map(bool, map(_GROUPS[other].fullmatch, cells)))
        numbers = sum(sure.values()) + len(doubtful) + sum(map(bool, map(_WHOLE.fullmatch, cells)))
        if 2 * numbers >= len(cells):
            shown |= {mark for mark, count in sure.items() if count}
            either |= {"," if "," in cell else "." for cell in doubtful}
    return shown, either


def _widths(lines: Sequence[str], separator: str) -> tuple[bool, int]:
    widths = [len(row) for row in _loosely(lines, separator)]
    return bool(widths) and widths[0] > 1 and len(set(widths)) == 1, widths[0] if widths else 0


def _loosely(lines: Sequence[str], separator: str) -> list[list[str]]:
    """The rows of a sample; none if it cannot be read so."""
    try:
        return [row for row in csv.reader(lines, delimiter=separator) if any(map(str.strip, row))]
    except csv.Error:
        return []
