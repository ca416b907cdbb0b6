"""How a delimited file is written: what stands between cells, around them, and within numbers. Found out from the first lines."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest

from dlrun.data.table.advice import setting
from dlrun.data.table.text.records import Cutter, Lines
from dlrun.data.table.text.textfile import TextFile
from dlrun.data.table.values.amounts import GROUPINGS
from dlrun.data.table.values.cells import is_missing

SEPARATORS = (",", ";", "\t", "|")
SAMPLE_LINES = 200
SAMPLE_SIZE = 1 << 22  # characters
_FEWEST_SHOWING, _CELLS_SHOWING = 20, 100_000  # rows, or else cells, that show what stands before decimals

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
        quote: what stands around a cell that holds separators or line breaks.
        escaped: whether a backslash stands before a quote inside of quotes; otherwise it is written twice.
        decimal: what stands before the decimals of a number.
        groups: what may group the digits of a number.
        unsure: whether the mark for decimals may just as well be one that groups digits.
    """

    separator: str
    quote: str = '"'
    escaped: bool = False
    decimal: str = "."
    groups: tuple[str, ...] = ()
    unsure: bool = False

    @property
    def message(self) -> str:
        """What is unusual about it, for a message."""
        words = [] if self.separator == "," else [f"separator {'tab' if self.separator == chr(9) else repr(self.separator)}"]
        words += [f"quotes {self.quote}"] if self.quote != '"' else []
        words += ["quotes behind a backslash"] if self.escaped else []
        words += [f"decimal mark {self.decimal!r}"] if self.decimal != "." else []
        return ", ".join(words) + (f" (if it groups digits, type {setting('thousands', self.decimal)})" if self.unsure else "")


def sampled(lines: Iterator[str]) -> list[str]:
    """The first lines, as many as it takes to see how the file is written."""
    sample: list[str] = []
    size = 0
    for line in islice(lines, SAMPLE_LINES):
        sample.append(line)
        size += len(line)
        if size > SAMPLE_SIZE:
            break
    return sample


def found_cutter(file: TextFile, lines: Sequence[str], separator: str | None) -> Cutter:
    """How rows are cut into cells.

    Args:
        file: the whole file.
        lines: its first ones.
        separator: as given by the user, or by the file's first line; found out when None.
    """
    separators: Sequence[str] = SEPARATORS if separator is None else (separator,)
    if separator is None and _tabs_are_blanks(lines):
        separators = [mark for mark in SEPARATORS if mark != "\t"]
    ranked = [(*_regularity(lines, cutter), 1, cutter) for cutter in map(Cutter, separators)]
    if any("'" in line for line in lines):
        doubled = any('"' in line for line in lines)
        for cutter in (Cutter(mark, "'") for mark in separators):
            regularity, around = _regularity(lines, cutter), _around_all(lines, cutter)
            # an apostrophe that begins a word is no quote, unless rows have one width with it alone
            if around or (regularity[0] and not doubled):
                ranked.append((*regularity, 2 * around, cutter))
    best = max(ranked, key=lambda rank: rank[:-1])[-1]
    if file.escapes and best.quote == '"' and _is_escaped(file, best, lines):
        return Cutter(best.separator, escaped=True)
    return best


def _regularity(lines: Sequence[str], cutter: Cutter) -> tuple[bool, float, int]:
    """How well the lines are rows of one width: whether all are, the fraction that is, and the width. Wider ones win."""
    records = list(cutter.records(Lines(iter(lines)), loose=True))
    widths = Counter(len(record.cells) for record in records if record.cells)
    width, count = widths.most_common(1)[0] if widths else (0, 0)
    return (count == len(records), count / len(records), width) if width > 1 else (False, 0.0, 0)


def _tabs_are_blanks(lines: Sequence[str]) -> bool:
    """Whether most tabs stand beside another separator."""
    text = "\n".join(line.strip("\t\r\n ") for line in lines)
    beside = [re.sub(rf"[ \t]*{re.escape(mark)}[ \t]*", mark, text) for mark in SEPARATORS if mark != "\t" and mark in text]
    return any(4 * without.count("\t") < text.count("\t") for without in beside)


def _around_all(lines: Sequence[str], cutter: Cutter) -> bool:
    """Whether a cutter's quotes stand around all names, or around all cells of a column."""
    rows = [[cell.strip() for cell in line.rstrip("\r\n").split(cutter.separator)] for line in lines if line.strip(" \t\r\n#")]
    rows = [row for row in rows if not row[0].startswith("#")] or rows
    columns = [[cell for cell in column if cell] for column in zip_longest(*rows[1:], fillvalue="")]
    groups = [[cell for cell in rows[0] if cell], *(column for column in columns if len(column) > 1)] if rows else []
    return any(group and all(len(cell) > 1 and cell[0] == cell[-1] == cutter.quote for cell in group) for group in groups)


def _is_escaped(file: TextFile, cutter: Cutter, lines: Sequence[str]) -> bool:
    """Whether the lines with a backslash before a quote have the width of the others only if it is an escape."""
    _, _, width = _regularity(lines, cutter)
    escaped = Cutter(cutter.separator, escaped=True)
    with file.lines() as every:
        doubtful = list(islice((line for line in every if '\\"' in line), SAMPLE_LINES))

    def fitting(reader: Cutter) -> int:
        found = [next(reader.records(Lines(iter([line])), loose=True), None) for line in doubtful]
        return sum(record is not None and len(record.cells) == width for record in found)

    return fitting(escaped) > fitting(cutter)


def found_dialect(cutter: Cutter, rows: Sequence[Sequence[str]], decimal: str | None, thousands: str | None) -> Dialect:
    """The dialect, with a comma for decimals if columns show any.

    Cells such as 1,234 or 1.234 show nothing by themselves: they are decimals unless other cells say that they are groups.

    Args:
        cutter: what cuts the rows.
        rows: the first ones, without the names.
        decimal, thousands: as given by the user; found out when None.
    """
    separator, quote, escaped = cutter.separator, cutter.quote, cutter.escaped
    shown, either = _decimals_shown(rows)
    unsure = False
    if decimal is None and thousands in (",", "."):
        decimal = "." if thousands == "," else ","
    elif decimal is None:
        unsure = separator != "," and not shown and either == {","}
        decimal = "," if unsure or (separator != "," and shown == {","}) else "."
    if thousands is not None:
        return Dialect(separator, quote, escaped, decimal, (thousands,))
    groups = tuple(mark for mark in GROUPINGS if mark != decimal and mark not in shown)
    return Dialect(separator, quote, escaped, decimal, groups, unsure)


def _decimals_shown(rows: Sequence[Sequence[str]]) -> tuple[set[str], set[str]]:
    """Which marks for decimals the columns of numbers show, and which occur in cells that may be thousands too."""
    shown: set[str] = set()
    either: set[str] = set()
    most = max(_FEWEST_SHOWING, _CELLS_SHOWING // len(rows[0])) if rows else 0
    for column in zip_longest(*rows[:most], fillvalue=""):
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
