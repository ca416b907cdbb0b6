"""A thousand files that are written in other ways, and damaged: each is refused in dlrun's own words, or read as it was written.

DLRUN_FILES=1000 makes so many; DLRUN_EXPLORE=1 draws other ones than the last time.
"""

import io
import math
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dlrun.data.sources.files import csv
from dlrun.data.table.text.delimited import Delimited
from dlrun.data.table.text.textfile import examine
from dlrun.errors import DataError

pytestmark = pytest.mark.fault("table files of the corpus")

FILES = int(os.environ.get("DLRUN_FILES", "120"))
outcomes: Counter[str] = Counter()

WORDS = ["red", "Paris", "two words", "Zoë", "it's", "x-1", "A7", "9 lives", "Ann Lee"]
AWKWARD = [
    "Paris, FR",
    'say "no"',
    '5" pipe',
    "a;b",
    "a|b",
    "tab\there",
    "two\nlines",
    "#1",
    "C:\\dir\\",
    "'tis",
    "",
    "NA",
    "end\\",
]
NAMES = ["age", "size (m)", "Größe", "has, comma", 'the "best"', "a;b", "#", "x_1", "Unit Price", "it's", "k=v", "%"]
MISSING = ["", "NA", "nan", "?", "-", "null", "N/A"]


@dataclass(frozen=True)
class Written:
    """A table, and how it is written."""

    names: list[str]
    rows: list[list[str]]
    numeric: list[int]  # the places of columns of numbers
    separator: str = ","
    quote: str = '"'
    every: bool = False  # whether each cell is quoted
    before: str = ""  # blanks before each cell but the first, and behind each
    behind: str = ""
    end: str = "\n"
    encoding: str = "utf-8"
    trailing: str = ""  # who ends with a separator: rows, all, header
    above: list[str] = field(default_factory=list)
    below: list[str] = field(default_factory=list)
    header: bool = True

    def cell(self, text: str) -> str:
        """A cell as it stands in the file."""
        special = (self.separator, self.quote, "\n", "\r")
        if self.every or text != text.strip() or any(mark in text for mark in special) or text.startswith(("'", '"')):
            return self.quote + text.replace(self.quote, 2 * self.quote) + self.quote
        return text

    def line(self, cells: list[str]) -> str:
        """A row as it stands in the file."""
        first, *others = map(self.cell, cells)
        return self.separator.join(
            [first + self.behind * bool(others), *(f"{self.before}{cell}{self.behind}" for cell in others)]
        )

    @property
    def table(self) -> str:
        """The names and rows."""
        rows = [self.line(row) + self.separator * (self.trailing in ("rows", "all")) for row in self.rows]
        head = [self.line(self.names) + self.separator * (self.trailing in ("header", "all"))] if self.header else []
        return "".join(f"{line}{self.end}" for line in (*head, *rows))

    @property
    def text(self) -> str:
        """The whole file."""
        return "".join([*(f"{line}{self.end}" for line in self.above), self.table, *(f"{line}{self.end}" for line in self.below)])


def amount(value: float, form: str, decimal: str) -> str:
    """A number in one of the forms in which numbers are written."""
    text = {"plain": f"{value:g}", "signed": f"{value:+.3f}", "exponent": f"{value:.4e}", "fixed": f"{value:.2f}"}[form]
    return text.replace(".", decimal)


@st.composite
def tables(draw: st.DrawFn) -> Written:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    count = draw(st.integers(3, 12))
    separator = draw(st.sampled_from([",", ",", ";", "\t", "|"]))
    decimal = draw(st.sampled_from([".", "."] if separator == "," else [".", ","]))
    columns, numeric = [], []
    for place, _ in enumerate(names):
        if draw(st.booleans()):
            form = draw(st.sampled_from(["plain", "signed", "exponent", "fixed"]))
            numbers = draw(st.lists(st.floats(-5000, 5000, width=32), min_size=count, max_size=count))
            cells = [amount(number, form, decimal) for number in numbers]
            holes = draw(st.sets(st.integers(0, count - 1), max_size=count // 3))
            columns.append([draw(st.sampled_from(MISSING)) if row in holes else cell for row, cell in enumerate(cells)])
            numeric.append(place)
        else:
            words = WORDS + AWKWARD * draw(st.booleans())
            columns.append(draw(st.lists(st.sampled_from(words), min_size=count, max_size=count)))
    columns.append([amount(row * 1.37 + 0.5, "fixed", decimal) for row in range(count)])
    return Written([*names, "y"], [list(row) for row in zip(*columns, strict=True)], [*numeric, len(names)], separator)


@st.composite
def files(draw: st.DrawFn) -> Written:
    made = draw(tables())
    blanks = ["", "", " ", "  "] + ["\t"] * (made.separator != "\t")
    made = replace(
        made,
        quote=draw(st.sampled_from(['"', '"', '"', "'"])),
        every=draw(st.booleans()),
        before=draw(st.sampled_from(blanks)),
        behind=draw(st.sampled_from(blanks)),
        end=draw(st.sampled_from(["\n", "\r\n", "\r"])),
        encoding=draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"])),
        trailing=draw(st.sampled_from(["", "", "", "rows", "all", "header"])),
        above=draw(
            st.sampled_from(
                [
                    [],
                    [],
                    [],
                    ["# made by hand"],
                    ["# a", "", "# b, c"],
                    ["Report of 2024", ""],
                    ["", ""],
                    [f"sep={made.separator}"],
                ]
            )
        ),
        below=draw(st.sampled_from([[], [], [], [""], ["# end"], ["", "# the end, of it", ""]])),
    )
    return replace(made, every=True) if made.quote == "'" else made


@st.composite
def damages(draw: st.DrawFn) -> tuple[Written, str]:
    """A table and the text of its file with some damage."""
    made = replace(draw(files()), trailing="", above=[], below=[], encoding="utf-8")
    made = replace(made, before=made.before.replace("\t", " "))  # pandas skips no tabs
    text = made.table
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(text) - 1))
        kind = draw(st.sampled_from(["take", "put", "cut", "double", "swap"]))
        lines = text.splitlines(keepends=True)
        line = draw(st.integers(0, len(lines) - 1))
        if kind == "take":
            text = text[:place] + text[place + 1 :]
        elif kind == "put":
            text = text[:place] + draw(st.sampled_from([*"\",;|'\n\r #\\0.x", made.separator])) + text[place:]
        elif kind == "cut":
            text = text[: max(place, 5)]
        elif kind == "double":
            text = "".join([*lines[: line + 1], *lines[line:]])
        else:
            lines[0], lines[line] = lines[line], lines[0]
            text = "".join(lines)
    return made, text


def read(path: Path, **how: Any) -> tuple[list[str], list[list[str]], list[str]]:
    """What dlrun takes for the names and cells of a file, and what it reports."""
    table = Delimited(examine(path, how.pop("encoding", None)), targets=["y"], **how)
    rows: list[list[str]] = []
    for piece in table.pieces():
        cells = piece.parse(table.dialect, dtype=object, na_filter=False)
        rows += [[text.strip() for text in row[: len(table.names)]] for row in cells.to_numpy().tolist()]
    return table.names, rows, [*table.remarks]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mutated") / "my.csv"


@pytest.fixture(scope="module", autouse=True)
def figures() -> Any:
    """The counts of what came of the files, for ``pytest -s``."""
    yield
    assert not outcomes["unprintable"]
    print("\n" + "\n".join(f"{count:6} {what}" for what, count in sorted(outcomes.items())))


COMMON = settings(max_examples=FILES // 2, deadline=None, suppress_health_check=list(HealthCheck))


@COMMON
@given(made=files(), told=st.booleans())
def test_files_that_are_written_in_other_ways(path: Path, made: Written, told: bool) -> None:
    try:
        path.write_bytes(made.text.encode(made.encoding))
    except UnicodeEncodeError:
        path.write_bytes(made.text.encode())
    how = {"separator": made.separator} if told else {}
    try:
        names, rows, _ = read(path, **how)
        data = csv(path=str(path), target="y", columns=made.names[:-1], task="regression", **how)
    except DataError as error:
        if "DLRUN_SHOW" in os.environ:
            print(repr(made.text), told, error.problems)
        outcomes[f"written: refused: {error.problems[0].split(':', 1)[-1][:60]}"] += 1
        return
    outcomes["written: read"] += 1
    assert [name for name in names if not name.startswith("column ")] == made.names
    assert [row[: len(made.names)] for row in rows] == [[cell.strip() for cell in row] for row in made.rows]
    if made.quote == '"' and not made.trailing and "\t" not in made.before:  # pandas skips no tabs
        pandas_cells = pandas.read_csv(
            io.StringIO(made.table), sep=made.separator, skipinitialspace=True, dtype=str, keep_default_na=False
        )
        stripped = [[cell.strip() for cell in row] for row in pandas_cells.to_numpy().tolist()]
        if stripped == [[cell.strip() for cell in row] for row in made.rows]:
            outcomes["written: read alike by pandas"] += 1
    assert data.encoding is not None
    for place in made.numeric[:-1]:
        if made.names[place] in data.features:
            found = data.x[:, data.features.index(made.names[place])].tolist()
            texts = [row[place] for row in made.rows]
            expected = [math.nan if text in MISSING else float(text.replace(",", ".")) for text in texts]
            assert pandas.Series(found).equals(pandas.Series(expected)), (found, texts)
            outcomes["written: columns of numbers compared"] += 1


@COMMON
@given(damaged=damages(), told=st.booleans())
def test_files_that_are_damaged(path: Path, damaged: tuple[Written, str], told: bool) -> None:
    made, text = damaged
    path.write_bytes(text.encode())
    how = {"separator": made.separator} if told else {}
    try:
        names, rows, remarks = read(path, **how)
        csv(path=str(path), target="y", **how)
    except DataError as error:
        outcomes["damaged: refused" if str(error).isprintable() else "unprintable"] += 1
        return
    outcomes["damaged: read"] += 1
    quote = "'" if any("quotes '" in remark for remark in remarks) else '"'
    separator = next(
        (mark for mark in ";\t|" if any(f"separator {'tab' if mark == chr(9) else repr(mark)}" in r for r in remarks)), ","
    )
    try:
        other = pandas.read_csv(
            io.StringIO(text, newline=""),
            sep=separator,
            quotechar=quote,
            skipinitialspace=True,
            header=None,
            dtype=str,
            keep_default_na=False,
            index_col=False,
        )
    except (ValueError, pandas.errors.ParserError):
        outcomes["damaged: refused by pandas alone"] += 1
        return
    theirs = [[cell.strip() for cell in row] for row in other.to_numpy().tolist()]
    if any("left out" in remark or "ends with" in remark for remark in remarks):
        outcomes["damaged: lines left out"] += 1
        return
    assert len(theirs) == len(rows) + 1
    assert [name for name in names if not name.startswith("column ")] == [name for name in theirs[0] if name]
    alike = sum(
        mine == their
        for row, other_row in zip(rows, theirs[1:], strict=True)
        for mine, their in zip(row, other_row, strict=False)
    )
    outcomes["damaged: cells alike"] += alike
    outcomes["damaged: cells"] += sum(map(len, rows))
    for row, their in zip(rows, theirs[1:], strict=True):
        assert row == their[: len(row)], (row, their)
