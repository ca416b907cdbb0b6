"""Rows of delimited text: where a row ends, and which cells it holds.

    0.12, "Paris, FR" ,3.4       a quote opens a quoted cell at the start of the cell, or behind blanks; so do blanks follow it
    5" pipe,3" rod,2             elsewhere it is a character like the others
    "5"" pipe","5\\" pipe"       inside of quotes it is written twice, or behind a backslash where a file does so throughout

The csv module reads rows in which no blank stands beside a quote. The others are read here and written anew, since pandas and
the csv module take such a quote for a character of the cell.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from dlrun.data.table.values.cells import shown
from dlrun.errors import DataError

LONGEST_ROW = 1 << 20  # characters of one row with line breaks in quotes; longer ones are a quote that was never closed
_BLANKS = " \t"
_COMMENT = "#"


class Record(NamedTuple):
    """A row: its first and last line, its cells, and its text as the csv module and pandas read it alike."""

    start: int
    end: int
    cells: list[str]
    text: str

    @property
    def blank(self) -> bool:
        """Whether all of its cells are empty."""
        return not any(map(str.strip, self.cells))

    @property
    def comment(self) -> bool:
        """Whether it begins as comments do."""
        return self.text.lstrip().startswith(_COMMENT)


class _TextBehindQuoteError(ValueError):
    """A quoted cell goes on behind its closing quote."""


class _NotPlainError(ValueError):
    """The csv module would read a line otherwise than it is meant."""


class Lines:
    """Lines that are taken for a row or several, and may be given back.

    Attributes:
        end: how many lines were taken altogether.
        taken: those of the row that is being read.
    """

    def __init__(self, lines: Iterator[str], above: int = 0) -> None:
        self._lines, self.end = lines, above
        self._back: deque[str] = deque()
        self.taken: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._back.popleft() if self._back else next(self._lines)
        self.taken.append(line)
        self.end += 1
        return line

    def take(self, most: int) -> list[str]:
        """The next lines, as they are."""
        back = [self._back.popleft() for _ in range(min(most, len(self._back)))]
        self.taken = [*back, *islice(self._lines, most - len(back))]
        self.end += len(self.taken)
        return self.taken

    def give_back(self) -> None:
        """Make what was taken the lines that come next."""
        self._back.extendleft(reversed(self.taken))
        self.end -= len(self.taken)
        self.taken = []

    def drop(self, count: int) -> None:
        """Forget the last lines that were taken."""
        self.end -= count
        self.taken = self.taken[: len(self.taken) - count]

    def exhausted(self) -> bool:
        """Whether no line is left."""
        if not self._back:
            self._back.extend(islice(self._lines, 1))
        return not self._back


class Cutter:
    """Cuts lines into rows, and rows into cells.

    Args:
        separator: what stands between cells.
        quote: what stands around a cell that holds separators or line breaks.
        escaped: whether a backslash stands before a quote inside of quotes; otherwise the quote is written twice.
    """

    def __init__(self, separator: str, quote: str = '"', escaped: bool = False) -> None:
        self.separator, self.quote, self.escaped = separator, quote, escaped
        blanks = [blank for blank in _BLANKS if blank != separator]
        self._odd = [*(blank + quote for blank in blanks), *(quote + blank for blank in blanks), *(["\\" + quote] * escaped)]
        self._blank_beside = re.compile(
            rf"(?:^|[{re.escape(separator)}\r\n])[{''.join(blanks)}]+{quote}|{quote}[{''.join(blanks)}]+(?:$|[{re.escape(separator)}\r\n])"
            + rf"|\\{quote}" * escaped
        )
        mark, end = re.escape(separator), rf"({re.escape(separator)}|\r?\n|\r|\Z)"
        blank = rf"[^\S\r\n{mark}]*"
        self._opening = re.compile(f"{blank}{quote}")
        self._inside = re.compile(
            rf"(?:[^{quote}\\]|\\.|{quote}{quote})*" if escaped else f"(?:[^{quote}]|{quote}{quote})*", re.DOTALL
        )
        self._behind = re.compile(blank + end)
        self._bare = re.compile(rf"([^{mark}\r\n]*){end}")
        self._written = re.compile(rf"\\(.)|{quote}{quote}", re.DOTALL) if escaped else re.compile(quote + quote)

    def plain(self, text: str) -> bool:
        """Whether the csv module and pandas read a text as it is meant: no blank or backslash stands beside a quote."""
        return not any(odd in text for odd in self._odd) or not self._blank_beside.search(text)

    def width(self, lines: Sequence[str]) -> int:
        """How many cells all of these lines have as a row each; 0 if they differ, or are no rows of their own."""
        try:
            widths = list(map(len, self._reader(iter(lines))))
        except csv.Error:
            return 0
        return widths[0] if len(widths) == len(lines) and len(set(widths)) == 1 else 0

    def _reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        return csv.reader(lines, delimiter=self.separator, quotechar=self.quote, strict=True)

    def records(self, source: Lines, file: str = "", *, loose: bool = False) -> Iterator[Record]:
        """The rows of the lines. Lines with nothing but blanks are no rows.

        Args:
            source: with their ends.
            file: the name for messages.
            loose: whether a row that cannot be read is one without cells, and no error.

        Raises:
            DataError: a quote is not closed, or text stands behind one; with its line.
        """
        more = True
        while more:
            try:
                for cells in self._reader(self._plain_lines(source)):
                    taken = source.taken
                    source.taken = []
                    if len(cells) > 1 or (cells and cells[0].strip()):
                        text = taken[0] if len(taken) == 1 else "".join(taken)
                        text = text if text.endswith(("\n", "\r")) else f"{text}\n"
                        yield Record(source.end - len(taken) + 1, source.end, cells, text)
                more = False
            except (csv.Error, _NotPlainError):
                source.give_back()
                record = self._closely(source, file, loose=loose)
                source.taken = []
                if record is not None:
                    yield record

    def _plain_lines(self, source: Lines) -> Iterator[str]:
        """The lines for the csv module, up to one that it would read otherwise than it is meant."""
        for line in source:
            if self.quote in line and not self.plain(line):
                raise _NotPlainError
            yield line

    def _closely(self, source: Lines, file: str, *, loose: bool) -> Record | None:
        """The next row, read cell by cell; None where it has nothing but blanks."""
        cells: list[str] = []
        quoted: set[int] = set()
        inside: list[str] | None = None
        start, size = source.end + 1, 0
        for line in source:
            try:
                inside = self._cut(line, cells, quoted, inside)
            except _TextBehindQuoteError as error:
                if loose:
                    return Record(start, source.end, [], line)
                raise DataError(
                    f"{file} line {start:,}: cannot be read (has {shown(error, 20)!r} behind a closing quote); "
                    "write a quote inside of quotes twice"
                ) from None
            if inside is None:
                return Record(start, source.end, cells, self._text(cells, quoted)) if len(cells) > 1 or cells[0].strip() else None
            if start == source.end and line.lstrip().startswith(_COMMENT):  # a quote within a comment opens nothing
                return Record(start, start, line.rstrip("\r\n").split(self.separator), line)
            size += len(line)
            if size > LONGEST_ROW:
                break
        if not loose:
            raise DataError(f"{file} line {start:,}: opens a quote that is never closed; close it, or leave it out")
        source.give_back()
        return Record(start, start, [], next(source))  # the lines below may be rows

    def _cut(self, line: str, cells: list[str], quoted: set[int], inside: list[str] | None) -> list[str] | None:
        """Add the cells of a line to ``cells``; ``inside`` holds the text of a quoted cell that is open, before and after."""
        at = 0
        while True:
            if inside is None and (opened := self._opening.match(line, at)):
                inside, at = [], opened.end()
            if inside is None:
                found = self._bare.match(line, at)
                assert found is not None  # the pattern fits every text
                cells.append(found[1])
                ended = found[2]
            else:
                content = self._inside.match(line, at)
                assert content is not None
                inside.append(content[0])
                at = content.end()
                if at == len(line):
                    return inside
                found = self._behind.match(line, at + 1)
                if found is None:
                    raise _TextBehindQuoteError(line[at + 1 :].split(self.separator)[0].strip())
                quoted.add(len(cells))
                cells.append(self._written.sub(lambda pair: pair[1] if pair.lastindex else self.quote, "".join(inside)))
                inside, ended = None, found[1]
            if ended != self.separator:
                return None
            at = found.end()

    def _text(self, cells: Sequence[str], quoted: set[int]) -> str:
        """A row written so that the csv module and pandas read it; what was quoted is."""
        quote = self.quote
        written = [
            f"{quote}{cell.replace(quote, quote + quote)}{quote}" if place in quoted else cell.strip(_BLANKS)
            for place, cell in enumerate(cells)
        ]
        return f"{self.separator.join(written)}\n"
