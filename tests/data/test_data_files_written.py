"""How files are written: quotes, separators at the ends of rows, and what stands above and below the table."""

import csv as standard
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

from dlrun.data.dataset import Data
from dlrun.data.sources.files import csv
from dlrun.data.table.text import delimited
from dlrun.data.table.text.records import Cutter, Lines
from dlrun.errors import DataError

Read = Callable[..., Data]
NUMBERS = [[i / 8, i % 5, i * 1.5] for i in range(12)]
ROWS = "".join(f"{a},{b},{y}\n" for a, b, y in NUMBERS)
TABLE = f"a,b,y\n{ROWS}"


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """``read("a,y\\n1,2\\n")``: that text as a dataset with target y."""

    def make(text: str | bytes, **given: Any) -> Data:
        (tmp_path / "my.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return csv(**({"path": str(tmp_path / "my.csv"), "target": "y"} | given))

    return make


def same(data: Data, names: tuple[str, ...] = ("a", "b")) -> bool:
    """Whether the data is that of TABLE."""
    return (
        data.features == names
        and data.x.tolist() == [r[:2] for r in NUMBERS]
        and data.y[:, 0].tolist() == [r[2] for r in NUMBERS]
    )


def notes(data: Data) -> str:
    return " ".join(data.notes)


def refusal(read: Read, text: str, **given: Any) -> str:
    with pytest.raises(DataError) as caught:
        read(text, **given)
    (said,) = caught.value.problems
    return said


# Quotes


def quoted(before: str, after: str, separator: str = ",", quote: str = '"') -> list[str]:
    """The lines of TABLE with quotes around each cell, and blanks beside these."""
    lines = [line.split(",") for line in TABLE.splitlines()]
    return [separator.join(f"{before * bool(k)}{quote}{cell}{quote}{after}" for k, cell in enumerate(line)) for line in lines]


@pytest.mark.parametrize("quote", ['"', "'"])
@pytest.mark.parametrize("separator", [",", ";", "|", "\t"])
@pytest.mark.parametrize(("before", "after"), [(" ", ""), ("", " "), ("  ", " "), ("\t", "\t")])
def test_blanks_beside_quotes(before: str, after: str, separator: str, quote: str, read: Read) -> None:
    if separator in before:
        before, after = "  ", "  "
    lines = quoted(before, after, separator, quote)
    assert same(read("\n".join(lines)))
    assert same(read("\r\n".join([*lines, ""])))
    assert same(read("\r".join([TABLE.split("\n")[0].replace(",", separator), *lines[1:]])))
    assert same(read(b"\xef\xbb\xbf" + "\n".join(lines).encode()))
    assert same(read(b"\xef\xbb\xbf" + "\n".join(lines).encode(), encoding="utf-8"))


def test_quoted_cells_among_others(read: Read) -> None:
    data = read('a, c, y\n0.12, "Paris, FR", 3.4\n1, "Rome" ,2\n2, 5" pipe, 1\n3,"5"" pipe",4\n4, "two\nlines" , 7\n')
    assert data.features == ("a", 'c=5" pipe', "c=Paris, FR", "c=Rome", "c=two\nlines")
    assert data.x.argmax(1).tolist()[:1] == [2]
    assert data.y[:, 0].tolist() == [3.4, 2, 1, 4, 7]


@pytest.mark.parametrize("rows", [30, 3000])
def test_blanks_before_quotes_far_down(rows: int, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "ROWS", 100)
    text = (
        "a,c,y\n"
        + "".join(f'{i},"c {i % 3}",{i}\n' for i in range(rows))
        + "".join(f'{i}, "x, {i % 3}" ,{i}\n' for i in range(rows))
    )
    data = read(text, task="regression")
    assert len(data) == 2 * rows
    assert data.features == ("a", "c=c 0", "c=c 1", "c=c 2", "c=x, 0", "c=x, 1", "c=x, 2")


def test_backslashes_before_quotes(read: Read) -> None:
    data = read('a,y\n"5\\" pipe",1\n"3\\" pipe, long",2\n"3\\" pipe, long",3\n"ends \\"",4\n')
    assert data.features == ('a=3" pipe, long', 'a=5" pipe', 'a=ends "')
    assert "quotes behind a backslash" in notes(data)
    folders = read('a,y\n"C:\\",1\n"D:\\",2\n"D:\\",4\n')
    assert folders.features == ("a=C:\\", "a=D:\\"), "a backslash is no escape where cells end without it"


def test_apostrophes_around_cells(read: Read) -> None:
    data = read("a,b,y\n'x, y',1,2\n'x, y',2,3\n'it''s',2,4\n")
    assert data.features == ("a=it's", "a=x, y", "b")
    assert "quotes '" in notes(data)
    plain = read("a,b,y\n'tis,1,2\n'tis,2,3\ndon't,2,4\n")
    assert plain.features == ("a='tis", "a=don't", "b")


def test_rows_are_cut_as_the_csv_module_cuts_them() -> None:
    text = 'a,"b",5" c\n"x ""y"" z",,\n"one\r\ntwo",""," "\n'
    found = [record.cells for record in Cutter(",").records(Lines(iter(io.StringIO(text, newline=""))))]
    assert found == list(standard.reader(io.StringIO(text, newline="")))


def test_rows_that_need_a_closer_look_are_written_for_pandas() -> None:
    text = 'a , "b, ""c""" ,\t"d" , e "f"\n "x\ny", , "" ,z\n'
    records = list(Cutter(",").records(Lines(iter(io.StringIO(text, newline="")))))
    assert [[cell.strip() for cell in record.cells] for record in records] == [
        ["a", 'b, "c"', "d", 'e "f"'],
        ["x\ny", "", "", "z"],
    ]
    assert [(record.start, record.end) for record in records] == [(1, 1), (2, 3)]
    again = pandas.read_csv(io.StringIO("".join(record.text for record in records)), header=None, keep_default_na=False)
    assert again.to_numpy().tolist() == [["a", 'b, "c"', "d", 'e "f"'], ["x\ny", "", "", "z"]]


def test_a_comment_with_a_quote_takes_no_rows(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delimited, "NUMBERS", 3)  # a few rows a piece
    monkeypatch.setattr(delimited, "FEWEST_ROWS", 3)
    monkeypatch.setattr(delimited, "MOST_NUMBERS", 9)
    lines = TABLE.splitlines()
    for place in (1, 3, 4, 5, 12):
        for comment in ('# he said,"no', '# "no, "', "# x, y"):
            data = read("\n".join([*lines[:place], comment, *lines[place:], ""]))
            assert same(data), (place, comment)
            assert "1 comment line" in notes(data)


# Separators at the ends of rows


def ending(names: str, row: Callable[[int], str]) -> str:
    return f"a,b,y{names}\n" + "".join(f"{line}{row(i)}\n" for i, line in enumerate(ROWS.splitlines()))


@pytest.mark.parametrize(
    ("names", "row", "said"),
    [
        ("", lambda i: ",", "each row ends with a separator"),
        ("", lambda i: ",,", "each row ends with 2 separators"),
        ("", lambda i: ", ", "each row ends with a separator"),
        ("", lambda i: "," * (i % 4 > 0), "some rows end with a separator"),
        (",", lambda i: "", "the line of names ends with a separator"),
        (",", lambda i: "," * (i % 2), "some rows end with a separator"),
        (",", lambda i: ",", "left out: column 4 (no values)"),
    ],
)
def test_separators_at_the_ends(names: str, row: Callable[[int], str], said: str, read: Read) -> None:
    for make in (
        str,
        lambda text: text.replace(",", "\t"),
        lambda text: text.replace("0.0", '"0.0"'),
        lambda text: text.replace("\n", "\r\n"),
    ):
        data = read(make(ending(names, row)))
        assert same(data)
        assert said in notes(data)


def test_no_column_is_shifted(read: Read) -> None:
    data = read(ending("", lambda i: ","), target="b")
    assert data.features == ("a", "y")
    assert data.y.ravel().tolist() == [row[1] for row in NUMBERS]


def test_separators_at_the_end_may_hide_a_cell_that_lacks(read: Read) -> None:
    text = ending("", lambda i: ",")
    assert len(read(text.replace("1.5,\n", ",\n", 1))) == len(NUMBERS) - 1
    assert "line 3: has 3 cells" in (said := refusal(read, text.replace("0.125,1,1.5,", "0.125,1,")))
    assert "ends with a separator as the other rows do, so that a cell is missing" in said
    assert "line 3: has 4 cells" in refusal(read, text.replace("1.5,\n", "1.5,7\n", 1))
    assert "take out the separator at its end" in refusal(read, TABLE.replace("1.5\n", "1.5,\n", 1))


def test_a_separator_at_the_start(read: Read) -> None:
    index = "".join(f"{i},{line}\n" for i, line in enumerate(ROWS.splitlines()))
    assert same(read(f",a,b,y\n{index}"))
    said = refusal(read, f",a,b,y\n{ROWS}")
    assert said == "my.csv: line 1 has 4 names, and each row has 3 cells; take out ',' at the start of line 1"
    said = refusal(read, "a,b,y\n" + ROWS.replace("\n", "\n,").rstrip(",").replace("0.0,0", ",0.0,0", 1))
    assert "write ',' before the first name too" in said
    assert same(read(",a,b,y\n," + ROWS.replace("\n", "\n,").rstrip(",")))


def test_a_name_is_missing(read: Read) -> None:
    index = "".join(f"{i},{line}\n" for i, line in enumerate(ROWS.splitlines(), 1))
    said = refusal(read, f"a,b,y\n{index}")
    assert "line 1 has 3 names, and each row has 4 cells, so that one column has no name" in said
    assert "type dataset.header=false dataset.skip=1 to call them 0 to 3" in said
    assert same(read(f"a,b,y\n{index}", header=False, skip=1, target=3, drop=[0]), ("1", "2"))
    assert same(read(f"row,a,b,y\n{index}"), ("a", "b")) or "row" in read(f"row,a,b,y\n{index}").features
    data = read('"a","b","y"\n' + "".join(f'"{i}",{line}\n' for i, line in enumerate(ROWS.splitlines(), 1)))
    assert same(data), "as R writes it, and reads it again"
    assert "the first column has no name: it has the names of rows" in notes(data)


@pytest.mark.parametrize(("line", "said"), [("0.5,1\n", "has 2 cells"), ("0.5,1,2,3\n", "has 4 cells")])
def test_a_single_row_of_another_width(line: str, said: str, read: Read) -> None:
    for place in (2, 7):
        lines = TABLE.splitlines(keepends=True)
        assert f"line {place + 1}: {said}, and the header has 3 names" in refusal(
            read, "".join([*lines[:place], line, *lines[place:]])
        )


# Above the table


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"', "SEP=;", "sep=;;;"])
def test_a_line_that_names_the_separator(line: str, read: Read) -> None:
    data = read(f"{line}\n{TABLE}".replace(",", ";"))
    assert same(data)
    assert "line 1 names the separator" in notes(data)
    assert same(read(b"\xff\xfe" + f"{line}\r\n{TABLE}".replace(",", ";").encode("utf-16-le")))


def test_a_line_that_names_an_unusual_separator(read: Read) -> None:
    assert same(read("sep=^\n" + TABLE.replace(",", "^")))
    assert same(read("sep=\t\n" + TABLE.replace(",", "\t")))
    assert same(read("sep=,\n" + TABLE.replace(",", ";"), separator=";"))
    assert read("sep=1;y\n1;2\n2;3\n2;4\n").features == ("sep=1",)


@pytest.mark.parametrize(
    "above",
    [
        "# exported 2024-01-01\n",
        "# exported 2024-01-01, by me\n# more, and more, and more, and more\n",
        "# three, cells, here\n",
        '# it is "so\n',
        "Report of 2024\n\n",
        "Report, 2024\nby me\n\n\n",
        "Report,,\n,,\n",
        "\n\n  \n",
    ],
)
def test_titles_and_comments_above_the_names(above: str, read: Read) -> None:
    data = read(above + TABLE)
    assert same(data)
    assert ("above the names left out" in notes(data)) == bool(above.strip())
    assert same(read((above + TABLE).replace(",", ";")))
    assert same(read(above + TABLE, skip=above.count("\n")))


def test_a_title_that_may_be_names_is_told(read: Read) -> None:
    said = refusal(read, "Report\na,y\nu,v\nu,z\nq,v\n")
    assert "line 1 has 1 name, and each row has 2 cells" in said
    assert "dataset.skip=1 if line 1 is a title" in said
    assert read("Report\na,y\nu,v\nu,z\nq,v\n", skip=1).classes == ("v", "z")


@pytest.mark.parametrize("name", ["#", "# a", "#a"])
def test_names_may_begin_as_comments_do(name: str, read: Read) -> None:
    assert same(read(TABLE.replace("a", name, 1)), (name, "b"))
    assert read("tag,y\n#1,2\n#2,3\n#1,4\n").features == ("tag=#1", "tag=#2")
    assert "line 5: has 1 cell" in refusal(read, "tag,y\n#1,2\n#2,3\n#1,4\n#2\n")


HEADLESS = {
    "0,0,1.5,1\n0,1,2.5,0\n1,0,3,1\n1,1,3,1\n0,1,2,0\n1,0,2,0\n": ("1", "1.5", "y"),
    ROWS: ("1.5", "0.0", "y"),
    "5.1,3.5,setosa\n4.9,3.0,setosa\n5,2,virginica\n6,1,virginica\n6,1.5,virginica\n": ("setosa", "5.1", "y"),
    "Report\n\n" + ROWS: ("y",),
    "# made today\n" + ROWS: ("y",),
    "2024-01-31,red,5\n2024-02-28,blue,7\n2024-02-29,blue,8\n": ("5", "red"),
}


@pytest.mark.parametrize("text", HEADLESS)
def test_a_file_without_names_is_told_and_read_as_told(text: str, read: Read) -> None:
    for target in HEADLESS[text]:
        said = refusal(read, text, target=target)
        assert "my.csv: has no line of names" in said
        typed = said.split("type ")[1].split(", which")[0].split()
        given = {word.split("=")[0].removeprefix("dataset."): word.split("=")[1] for word in typed}
        last = said.split("dataset.target=")[1].split()[0]
        assert given.pop("header") == "false"
        rows = [line for line in text.splitlines() if "," in line]
        data = read(text, header=False, target=int(last), skip=int(given.get("skip", 0)))
        assert len(data) == len(rows)
        assert data.targets == (str(rows[0].count(",")),)


@pytest.mark.parametrize(
    ("names", "target"),
    [
        ("2019,2020,2021", 2021),
        ("0,1,2", 2),
        ("1.1,1.2,1.10", "1.10"),
        ("region,2019,2020", 2020),
        ("100,200,300", 300),
        ("a,1,2", 2),
    ],
)
def test_names_that_are_numbers(names: str, target: object, read: Read) -> None:
    rows = "".join(f"{i % 2 if names[0].isdigit() else 'xyz'[i % 3]},{i * 7 % 11},{i * 13 % 17}\n" for i in range(20))
    data = read(f"{names}\n{rows}", target=target, task="regression")
    assert (len(data), data.targets) == (20, (str(target),))


def test_the_user_says_whether_there_are_names(read: Read) -> None:
    assert read("1,2,3\n4,5,6\n7,8,10\n", header=True, target=3).features == ("1", "2")
    assert len(read("u,v\nw,x\nw,v\nw,x\n", header=False, target=1)) == 4
    assert "my.csv has 0, 1, 2" in refusal(read, ROWS, header=False)


@pytest.mark.parametrize("units", ["s,m/s,kg", "[s],,", ",(m/s),", "sec,min,"])
def test_units_below_the_names(units: str, read: Read) -> None:
    data = read(f"a,b,y\n{units}\n{ROWS}")
    assert same(data)
    assert "line 2 left out, which has units" in notes(data)


def test_a_word_in_the_first_row_is_no_unit(read: Read) -> None:
    for first in ("unknown,7,2", "NA,NA,2"):
        text = f"a,b,y\n{first}\n{ROWS}"
        assert len(read(text, missing=["unknown"])) == len(NUMBERS) + 1


# Below the table


def test_what_stands_below_the_table(read: Read) -> None:
    for below, said in (
        ("# end\n", "1 comment line among the rows left out (# end)"),
        ("# end, of it\n\n", "1 comment line"),
        ("\n,,,,\n;\n"[:-2], ""),
        (",,\n,,\n", "2 rows without a value of y are left out"),
        ("Total,24,99\n", "line 14 left out, which has totals (Total)"),
        ("Total:,,99\n\n\n", "line 14 left out, which has totals (Total:)"),
    ):
        data = read(TABLE + below)
        assert same(data), below
        assert said in notes(data)


@pytest.mark.parametrize("below", ["Total\n", "\nSource: me, 2024\nMore\n\n", "9\n"])
def test_a_footer_is_told_and_left_out_as_told(below: str, read: Read) -> None:
    said = refusal(read, TABLE + below)
    assert "mend the row, or type dataset.footer=" in said
    assert same(read(TABLE + below, footer=int(said.split("dataset.footer=")[1].split()[0])))


def test_skip_and_footer_of_more_than_there_is(read: Read) -> None:
    assert "is empty" in refusal(read, TABLE, skip=50)
    assert "is empty" in refusal(read, TABLE, footer=50)
    assert "names and no rows" in refusal(read, TABLE, footer=len(NUMBERS))
