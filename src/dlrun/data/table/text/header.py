"""Where the names of a delimited file stand, and where its rows begin, as far as its first rows tell.

    sep=;                      Excel's line for the separator       honoured
    # exported 2024-01-01      comments and titles                  left out, and reported
    t;speed;mass               the names
    s;m/s;kg                   units                                left out, and reported
    1;2.5;70;                  a separator at the end of each row   left out, and reported

A row is one of names if it has a text above a column of values, and one of values if it has a value above one of these and no
such text. Where the first rows allow several readings, nothing is left out or shifted: the message shows what to type.

Shapes: W names.
"""

import math
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from dlrun.data.table.text.records import Record
from dlrun.data.table.values.amounts import number
from dlrun.data.table.values.cells import is_missing, listed, shown
from dlrun.data.table.values.dates import is_date
from dlrun.errors import DataError

_LOOKED_AT = 20  # rows by which it is told what a column holds
_TELLING = 5  # rows below a number that show whether it is one of theirs
_SEPARATOR_LINE = re.compile(r"\"?sep=(.|\\t)\"?\1*\s*", re.IGNORECASE)
_VALUE = re.compile(r"[+-]?\s?[$€£¥]?\s?(?:\d[\d.,:/'’ \u00a0\u2009\u202f-]*|[.,]\d+)(?:[eE][+-]?\d+)?\s?[%$€£¥]?", re.ASCII)
_YEARS = range(1900, 2101)
_UNIT = re.compile(r"\[.*\]|\(.*\)")


@dataclass(frozen=True)
class Header:
    """What stands above the rows, and what is beside them.

    Attributes:
        names: of the columns; empty where the file has none. W of them.
        above: how many lines stand above the first row.
        spare: how many empty cells a row may have behind its last one, since rows end with separators.
        sparing: whether some rows have these and a row with W cells may be one that lacks a cell.
        comments: whether lines that begin with # and have another number of cells are comments.
        remarks: what was left out, for the user.
    """

    names: tuple[str, ...]
    above: int
    spare: int = 0
    sparing: bool = False
    comments: bool = True
    remarks: tuple[str, ...] = ()


def separator_line(line: str) -> str | None:
    """The separator that a line such as sep=; names, as Excel writes it above the names; None for other lines."""
    found = _SEPARATOR_LINE.fullmatch(line.rstrip("\r\n"))
    return None if found is None else "\t" if found[1] == "\\t" else found[1]


def read_header(file: str, records: Sequence[Record], separator: str, given: bool | None, targets: Collection[str]) -> Header:
    """Find the names.

    Args:
        file: its name, for messages.
        records: its first rows.
        separator: what stands between cells, for messages.
        given: whether the first of the rows has the names, as the user says; None to find out.
        targets: the names of columns that the user wants to predict.

    Raises:
        DataError: there are no rows; the file has no names; or names and rows cannot be matched.
    """
    records = [record for record in records if not record.blank]
    usual = _usual_width(records)
    top = next((place for place, record in enumerate(records) if not _is_comment(record, usual)), None)
    if top is None:
        raise DataError(f"{file}: is empty; it needs a line of column names, and rows")
    if given is None:
        top = _header_place(file, records, top, usual, targets)
    first, body = records[top], records[top + 1 :]
    comments = not any(record.comment and len(record.cells) == usual for record in body)
    remarks = _left_out(records[:top])
    if given is False:
        names = tuple(map(str, range(usual)))
        return Header(names, first.start - 1, comments=comments, remarks=remarks)
    names = tuple(cell.strip() for cell in first.cells)
    names, spare, sparing = _trailing(names, [record for record in body if not (comments and _is_comment(record, usual))])
    remarks += (_ends(spare, sparing, body, len(names)),) if spare else ()
    if not spare and given is None:
        names, message = _named_rows(file, first, names, body, usual, separator)
        remarks += message
    units = _units(body, len(names))
    if units:
        texts = [cell.strip() for cell in units.cells]
        what = "repeats the names" if texts == [*names] else f"has units ({listed([*filter(None, texts)], 4)})"
        remarks += (f"line {units.start:,} left out, which {what}",)
    return Header(names, (units or first).end, spare, sparing, comments, remarks)


def _usual_width(records: Sequence[Record]) -> int:
    """The number of cells that most rows have; where two are as frequent, that of the first row."""
    counts: dict[int, int] = {}
    for record in records:
        counts[len(record.cells)] = counts.get(len(record.cells), 0) + 1
    return max(counts, key=counts.__getitem__, default=0)


def _is_comment(record: Record, width: int) -> bool:
    """Whether a row is a comment among rows of this width."""
    return record.comment and len(record.cells) != width


def _left_out(records: Sequence[Record]) -> tuple[str, ...]:
    if not records:
        return ()
    what = f"line {records[0].start:,}" if len(records) == 1 else f"{len(records):,} lines"
    return (f"{what} above the names left out ({'; '.join(shown(record.text.strip()) for record in records[:2])})",)


# Which row has the names


def _header_place(file: str, records: Sequence[Record], top: int, usual: int, targets: Collection[str]) -> int:
    """The place of the row with the names, from ``top`` on."""
    rows = records[top:]
    while len(rows) > 2 and _may_be_title(rows[0], usual) and _kind(rows[1], rows[2:]) == "names":
        rows = rows[1:]
    if len(rows[0].cells) != usual:
        rows = rows[_titles(rows, usual) :]
    place = len(records) - len(rows)
    first, below = rows[0], [record for record in rows[1:] if len(record.cells) == len(rows[0].cells)]
    if _kind(first, below) == "values" and not _plausible(first, below, targets):
        raise DataError(_no_names(file, first, titles=place > top))
    return place


def _may_be_title(record: Record, usual: int) -> bool:
    """Whether a row of the usual width may be a title or comment: Excel fills titles up with separators."""
    return len(record.cells) == usual and (record.comment or (usual > 2 and sum(map(bool, map(str.strip, record.cells))) == 1))


def _titles(rows: Sequence[Record], usual: int) -> int:
    """How many rows above the names are titles; 0 if the first row may have the names.

    Titles are followed by rows of one width. They are titles if the first of these has names above values, or if they have a
    single cell each and those rows at least three.
    """
    count = next((place for place, record in enumerate(rows) if len(record.cells) == usual), 0)
    table = [record for record in rows[count:] if not _is_comment(record, usual)]
    if len(table) < 2 or any(len(record.cells) != usual for record in table[:_LOOKED_AT]):
        return 0
    above, trailing = rows[count - 1].cells, not any(record.cells[-1].strip() for record in table)
    if (len(above) == usual + 1 and not above[-1].strip()) or (len(above) == usual - 1 and trailing):
        return count - 1  # names or rows with a separator at their end
    if _kind(table[0], table[1:]) == "names":
        return count
    single = all(len(record.cells) == 1 or record.comment for record in rows[:count])
    return count if single and usual > 2 else 0


def _kind(record: Record, below: Sequence[Record]) -> str:
    """What a row has above columns of values: ``names`` if it has a text anywhere, else ``values``; an empty text if neither."""
    values = False
    for cell, held in _columns(record, below):
        if is_missing(cell) or not _hold_values(held):
            continue
        if not _is_value(cell):
            return "names"
        values = True
    return "values" if values else ""


def _columns(record: Record, below: Sequence[Record]) -> Iterable[tuple[str, list[str]]]:
    """Each cell of a row, and the cells of the next rows below it."""
    rows = [row.cells for row in below[:_LOOKED_AT] if len(row.cells) == len(record.cells)]
    for place, cell in enumerate(record.cells):
        yield cell.strip(), [row[place].strip() for row in rows]


def _is_value(cell: str) -> bool:
    return _VALUE.fullmatch(cell) is not None or is_date(cell)


def _hold_values(cells: Sequence[str]) -> bool:
    present = [cell for cell in cells if not is_missing(cell)]
    return bool(present) and 2 * sum(map(_is_value, present)) > len(present)


def _plausible(record: Record, below: Sequence[Record], targets: Collection[str]) -> bool:
    """Whether a row of numbers may be one of names: 0, 1, 2, ... as pandas writes them, years, or unlike what stands below them.

    Where all names are numbers, the targets must be among them.
    """
    columns = [(cell, held) for cell, held in _columns(record, below) if _is_value(cell) and _hold_values(held)]
    cells = {cell.strip() for cell in record.cells}
    known = set(targets) <= cells or any(cell and not _is_value(cell) for cell in cells)
    if not known or len({cell for cell, _ in columns}) < len(columns):
        return False
    if all(cell.isdecimal() for cell, _ in columns):
        numbers = [int(cell) for cell, _ in columns]
        count = len(numbers)
        if (count > 2 and numbers == [*range(count)]) or (count > 3 and numbers == [*range(1, count + 1)]):
            return True
        if any(_stands_apart(cell, held) for cell, held in _columns(record, below) if not _is_value(cell)):
            return True
        years = any(cell.isdecimal() and int(cell) in _YEARS for _, held in columns for cell in held)
        if not years and numbers == sorted(numbers) and all(number in _YEARS for number in numbers):
            return True
    return len(below) >= _TELLING and 2 * sum(_stands_out(cell, held) for cell, held in columns) > len(columns) > 1


def _stands_apart(cell: str, held: Sequence[str]) -> bool:
    """Whether a text is none of the few that occur again and again below it."""
    return bool(cell) and len(held) >= _TELLING and 2 * len(set(held)) <= len(held) and cell not in held


def _stands_out(cell: str, held: Sequence[str]) -> bool:
    """Whether a number is no value of its column: out of its range, or whole among decimals, or the other way round."""
    values = [value for text in held if (value := number(text)) is not None]
    mine = number(cell)
    if mine is None or len(values) < _TELLING:
        return False
    whole = {value == int(value) for value in values if math.isfinite(value)}
    return not min(values) <= mine <= max(values) or (len(whole) == 1 and (mine == int(mine)) not in whole)


def _no_names(file: str, record: Record, *, titles: bool) -> str:
    last = max(place for place, cell in enumerate(record.cells) if cell.strip())
    skip = f" dataset.skip={record.start - 1}" if titles else ""
    values = listed([cell.strip() for cell in record.cells], 4)
    return (
        f"{file}: has no line of names: line {record.start:,} has {values}, which are values like those "
        f"below; type dataset.header=false{skip}, which calls the columns 0 to {last}, and dataset.target={last} "
        "to predict the last one; or dataset.header=true if these are names"
    )


# Which names belong to which cells


def _trailing(names: tuple[str, ...], body: Sequence[Record]) -> tuple[tuple[str, ...], int, bool]:
    """The names without empty ones that only their trailing separator makes; ``spare`` and ``sparing`` of the header."""
    width = len(names)
    lengths = [len(record.cells) for record in body]
    if width > 1 and not names[-1]:
        short = lengths.count(width - 1)
        full = [record for record in body if len(record.cells) == width]
        if short and not any(record.cells[-1].strip() for record in full):
            return names[:-1], 1, bool(full)
        return names, 0, False
    longer = [length for record in body if (length := len(record.cells)) > width and not _filled(record.cells[width:])]
    if longer and 2 * len(longer) >= len(body):
        return names, max(longer) - width, True
    return names, 0, False


def _ends(spare: int, sparing: bool, body: Sequence[Record], width: int) -> str:
    if not sparing:
        return "the line of names ends with a separator"
    every = all(len(record.cells) > width for record in body if not record.comment)
    return f"{'each row ends' if every else 'some rows end'} with {'a separator' if spare == 1 else f'{spare} separators'}"


def _filled(cells: Iterable[str]) -> bool:
    return any(map(str.strip, cells))


def _named_rows(
    file: str, first: Record, names: tuple[str, ...], body: Sequence[Record], usual: int, separator: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names where every row has one cell more or less than there are names, and what to report.

    R writes no name above the names of rows, and quotes around both. Everything else may lack any of the names.
    """
    rows = [record for record in body if not _is_comment(record, usual)]
    if len(rows) < 2 or abs(usual - len(names)) != 1 or any(len(record.cells) != usual for record in rows):
        return names, ()
    here, count = f"line {first.start:,}", f"{len(names)} name{'s' * (len(names) > 1)}"
    message, mark = (
        f"{file}: {here} has {count}, and each row has {usual} cells",
        "a tab" if separator == "\t" else f"'{separator}'",
    )
    if usual < len(names):
        raise DataError(f"{message}; take out {'the name that has no cells' if names[0] else f'{mark} at the start of {here}'}")
    keys = [record.cells[0].strip() for record in rows]
    if not any(keys):
        raise DataError(f"{message}, the first of them empty; write {mark} before the first name too")
    if all(record.text.lstrip().startswith(('"', "'")) for record in (first, *rows)) and len(set(keys)) == len(keys):
        return ("", *names), ("the first column has no name: it has the names of rows, as R writes them",)
    title = f", dataset.skip={first.start} if {here} is a title" if len(names) == 1 else ""
    raise DataError(
        f"{message}, so that one column has no name; if it is the first one, begin {here} with a name and {mark}; "
        f"otherwise write the name where it belongs; or type dataset.header=false dataset.skip={first.start} to call them "
        f"0 to {usual - 1}{title}"
    )


def _units(body: Sequence[Record], width: int) -> Record | None:
    """The row below the names if it has units: texts above columns that hold nothing but values."""
    if len(body) < 3 or len(body[0].cells) != width:
        return None
    units = 0
    for cell, held in _columns(body[0], body[1:]):
        if not _hold_values(held):
            continue
        if _is_value(cell) or (cell and is_missing(cell)) or not all(_is_value(c) or is_missing(c) for c in held):
            return None
        units += bool(cell) + bool(_UNIT.fullmatch(cell))  # one in brackets needs no other one beside it
    return body[0] if units > 1 else None
