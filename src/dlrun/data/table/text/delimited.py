"""Delimited text: what the columns are called, and the rows in pieces, every one of the same width.

pandas parses the pieces, which is fast; that each line holds one cell for each column is made sure of before, because pandas
takes surplus cells for an index and fills short lines up without a word.

Shapes: n rows of a piece, W columns.
"""

import csv
import re
from collections import Counter, deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from typing import TYPE_CHECKING, Any

from dlrun.data.table.text.dialect import Dialect, found_cutter, found_dialect, sampled
from dlrun.data.table.text.header import read_header, separator_line
from dlrun.data.table.text.records import Lines, Record
from dlrun.data.table.text.textfile import TextFile
from dlrun.data.table.values.cells import listed, shown
from dlrun.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame

MOST_COLUMNS = 100_000
ROWS, FEWEST_ROWS = 1 << 13, 1 << 10  # rows of a piece, and of the one by which columns are recognized
NUMBERS, MOST_NUMBERS = 1 << 18, 1 << 24  # of a piece: where there are many columns, and where there are thousands
_LONGEST_FOOTER = 20  # lines
_TOTAL = re.compile(r"(?:(?:grand|sub)[ -]?)?totals?|sums?|summe|gesamt|insgesamt|somme|totale", re.IGNORECASE)


@dataclass(frozen=True)
class Piece:
    """Some rows as text of W cells each, the line on which each of them begins, and the most cells that a row has."""

    text: str
    lines: Sequence[int]
    width: int

    def parse(self, dialect: Dialect, **how: Any) -> "DataFrame":
        """The cells; ``how`` is handed to pandas.read_csv."""
        import pandas

        cells: DataFrame = pandas.read_csv(
            StringIO(self.text),
            sep=dialect.separator,
            decimal=dialect.decimal,
            header=None,
            names=range(self.width),
            index_col=False,
            engine="c",
            low_memory=False,
            quotechar=dialect.quote,
            quoting=csv.QUOTE_MINIMAL if dialect.quote in self.text else csv.QUOTE_NONE,
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
        header: whether the first row has the names; found out when None.
        skip, footer: how many lines to leave out above the names, and below the last row.
        targets: the names of columns that the user wants to predict.

    Raises:
        DataError: there are no names, or two columns have the same.
    """

    def __init__(
        self,
        file: TextFile,
        *,
        separator: str | None = None,
        decimal: str | None = None,
        thousands: str | None = None,
        header: bool | None = None,
        skip: int = 0,
        footer: int = 0,
        targets: Collection[str] = (),
    ) -> None:
        self.file, self._footer = file, footer
        above, remarks = skip, []
        with self._lines(skip) as lines:
            sample = sampled(lines)
        if sample and (mark := separator_line(sample[0])):
            separator = separator or mark
            remarks.append(f"line {above + 1:,} names the separator")
            above, sample = above + 1, sample[1:]
        self._cutter = found_cutter(file, sample, separator)
        records = list(self._cutter.records(Lines(iter(sample), above), loose=True))
        begins = next((place for place, line in enumerate(sample, above + 1) if line.strip()), 0)
        if (
            not records or not records[0].cells or records[0].start != begins
        ):  # the first row cannot be read, or is longer than the sample
            with self._lines(above) as lines:
                records = list(islice(self._cutter.records(Lines(lines, above), file.name), 1))
        records = [record for record in records if record.cells]
        self._header = read_header(file.name, records, self._cutter.separator, header, targets)
        self._remarks = (*remarks, *self._header.remarks)
        names = self._header.names
        if len(names) > MOST_COLUMNS:
            raise DataError(f"{file.name}: has {len(names):,} columns, and at most {MOST_COLUMNS:,} can be used")
        twice = [name for name, count in Counter(names).items() if count > 1 and name]
        if twice:
            raise DataError(f"{file.name}: {listed(twice)}: more than one column has this name; give each its own")
        rows = [record.cells for record in records if record.start > self._header.above]
        self.dialect = found_dialect(self._cutter, rows, decimal, thousands)
        self.unnamed = frozenset(place for place, name in enumerate(names) if not name)
        self.names = [name or f"column {place + 1}" for place, name in enumerate(names)]
        self.most_rows = min(file.breaks, file.bytes // len(names)) + 1  # a row has a separator or line break for each cell
        self._comments: dict[int, str] = {}  # by their lines
        self._total = ""

    @property
    def remarks(self) -> list[str]:
        """What was found or left out, for the user; complete once all pieces were read."""
        count = len(self._comments)
        texts = "; ".join(map(shown, islice(self._comments.values(), 2)))
        below = [f"{count:,} comment line{'s' * (count > 1)} among the rows left out ({texts})"] if count else []
        return [*filter(None, [self.dialect.message]), *self._remarks, *below, *filter(None, [self._total])]

    @contextmanager
    def _lines(self, above: int) -> Iterator[Iterator[str]]:
        """The lines behind so many, without the footer."""
        with self.file.lines() as lines:
            deque(islice(lines, above), maxlen=0)
            yield _without_last(lines, self._footer) if self._footer else lines

    def pieces(self, most: int = ROWS) -> Iterator[Piece]:
        """The rows, at most so many at a time.

        Raises:
            DataError: a row has too many cells or too few, or a quote is not closed; with its line.
        """
        width = len(self.names)
        together = min(most, max(NUMBERS // width, min(FEWEST_ROWS, MOST_NUMBERS // width)))
        with self._lines(self._header.above) as lines:
            source = Lines(lines, self._header.above)
            while source.take(together):
                if source.exhausted():
                    source.drop(self._total_at_end(source))
                batch, text = source.taken, "".join(source.taken)
                if cells := self._regular(batch, text):
                    yield Piece(text, range(source.end - len(batch) + 1, source.end + 1), cells)
                else:
                    end = source.end
                    source.give_back()
                    piece = self._checked(source, end)
                    if piece.lines:
                        yield piece

    def _regular(self, batch: Sequence[str], text: str) -> int:
        """How many cells each line has if all are rows for the csv module and pandas that need no closer look; 0 otherwise."""
        width, spare, separator = len(self.names), self._header.spare, self._cutter.separator
        if width == 1 or self._cutter.escaped:
            return 0
        if self._cutter.quote not in text:
            counts = {line.count(separator) for line in batch}
            if not spare:
                return width if counts == {width - 1} else 0
            end = separator * spare
            full = counts == {width - 1 + spare} and all(line.rstrip("\r\n").endswith(end) for line in batch)
            return width + spare if full else 0
        return width if not spare and self._cutter.plain(text) and self._cutter.width(batch) == width else 0

    def _checked(self, source: Lines, end: int) -> Piece:
        """The rows that begin before a line, each looked at."""
        width, header = len(self.names), self._header
        texts: list[str] = []
        starts: list[int] = []
        widest = width
        records = self._cutter.records(source, self.file.name)
        for record in records:
            cells = len(record.cells)
            if cells == width and (not header.sparing or record.cells[-1].strip()):
                pass
            elif record.blank and cells != width + header.spare:
                continue
            elif header.comments and record.comment:
                self._comments[record.start] = record.text.strip()
                continue
            elif not width < cells <= width + header.spare or "".join(record.cells[width:]).strip():
                raise DataError(self._ragged(record, records))
            widest = max(widest, cells)
            texts.append(record.text)
            starts.append(record.start)
            if record.end >= end:
                break
        return Piece("".join(texts), starts, widest)

    def _total_at_end(self, source: Lines) -> int:
        """How many of the lines at the end of the file are a row of totals, and blank ones below it."""
        batch = source.taken
        count = next((count for count, line in enumerate(reversed(batch), 1) if line.strip()), len(batch))
        if count == len(batch):
            return 0
        last = Lines(iter(batch[-count:]), source.end - count)
        record = next(self._cutter.records(last, loose=True), None)
        label = "" if record is None else next((cell.strip() for cell in record.cells if cell.strip()), "")
        if record is None or len(record.cells) != len(self.names) or not _TOTAL.fullmatch(label.rstrip(": ")):
            return 0
        self._total = f"line {record.start:,} left out, which has totals ({shown(label)})"
        return count

    def _ragged(self, record: Record, below: Iterator[Record]) -> str:
        """What is wrong with a row that has too many cells or too few.

        Args:
            record: the row.
            below: those that follow.
        """
        width, cells = len(self.names), len(record.cells)
        names = f"{width} name{'s' * (width != 1)}"
        message = f"{self.file.name} line {record.start:,}: has {cells} cell{'s' * (cells != 1)}, and the header has {names}"
        try:
            footer = [record, *(each for each in islice(below, _LONGEST_FOOTER) if not each.blank)]
        except DataError:  # one of them cannot be read
            footer = []
        if 0 < len(footer) < _LONGEST_FOOTER and all(len(each.cells) != width for each in footer):
            lines = sum(each.end - each.start + 1 for each in footer)
            return f"{message}; mend the row, or type dataset.footer={lines} if the table ends above it"
        if cells == width + 1 and not record.cells[-1].strip():
            return f"{message}; take out the separator at its end, or quote a cell that holds a separator"
        if cells > width:
            return f"{message}; quote cells that hold a separator"
        if cells == width:
            return f"{message}, but it ends with a separator as the other rows do, so that a cell is missing; mend the row"
        return f"{message}; mend the row, and leave cells without a value empty"


def _without_last(lines: Iterator[str], count: int) -> Iterator[str]:
    """The lines but for the last ones, blank ones not counted."""
    held: deque[str] = deque()
    filled = 0
    for line in lines:
        held.append(line)
        filled += bool(line.strip())
        while filled > count:
            filled -= bool(held[0].strip())
            yield held.popleft()
