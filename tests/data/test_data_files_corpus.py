"""The corpus of bad files: each gives one clear line, or the right numbers. Never garbage."""

import bz2
import gzip
import io
import math
import os
import socket
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlrun.data.sources.files import csv
from dlrun.data.splits import split
from dlrun.data.table.text import textfile
from dlrun.errors import DataError

pytestmark = pytest.mark.fault("table files of the corpus")

NAN = math.nan
TABLE = b"a,b,y\n1,2,0.5\n3,5,1.5\n4,4,2.5\n"
VALUES = [[1, 2], [3, 5], [4, 4]]


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("my.csv", TABLE)
    return content.getvalue()


REFUSED: dict[str, tuple[bytes, str]] = {  # name -> content, what is said
    "empty": (b"", "is empty"),
    "blank_lines": (b"\n\n  \n\r\n", "is empty"),
    "only_a_mark": (b"\xef\xbb\xbf", "is empty"),
    "header_only": (b"a,b,y\n", "names and no rows"),
    "header_without_end": (b"a,b,y", "names and no rows"),
    "one_row": (b"a,b,y\n1,2,3\n", "target y is 3 in every row, so there is nothing to learn"),
    "no_features": (b"y\n1\n2\n3\n", "no features beside the target y"),
    "ragged_long": (b"a,b,y\n1,2,3\n1,2,3,4\n1,2,3\n", "line 3: has 4 cells, and the header has 3 names"),
    "ragged_short": (b"a,b,y\n1,2,3\n1,2\n", "line 3: has 2 cells, and the header has 3 names"),
    "ragged_far_down": (b"a,b,y\n" + b"1,2,3\n" * 20_000 + b"1,2\n", "line 20,002: has 2 cells"),
    "every_row_one_too_long": (b"a,b,y\n0,1,2,3\n1,3,5,6\n", "line 1 has 3 names, and each row has 4 cells"),
    "unclosed_quote": (b'a,b,y\n1,2,3\n1,"2,3\n1,2,3\n', "line 3: opens a quote that is never closed"),
    "unclosed_quote_in_the_header": (b'a,"b,y\n1,2,3\n', "line 1: opens a quote that is never closed"),
    "unclosed_quote_and_much_behind_it": (b'a,b,y\n1,"2,3\n' + b"1,2,3\n" * 300_000, "line 2: "),
    "text_behind_a_quote": (b'a,b,y\n1,"2"x,3\n', "line 2: cannot be read"),
    "numbers_for_names": (b"1,2,3\n4,5,6\n", "line 1 has 1, 2, 3, which are values like those below"),
    "two_columns_of_one_name": (b"a,a,y\n1,2,3\n", "a: more than one column has this name"),
    "two_targets": (b"a,y,y\n1,2,3\n", "y: more than one column has this name"),
    "no_target": (b"a,b,z\n1,2,3\n4,5,6\n", "dataset.target=y: no such column; .* has a, b, z"),
    "target_of_another_case": (b"a,b,Y\n1,2,3\n4,5,6\n", "dataset.target=y: no such column"),
    "target_without_values": (b"a,y\n1,\n2,\n", "no row has a value of the target y"),
    "one_class": (b"a,y\n1,cat\n2,cat\n3,cat\n", "target y is cat in every row"),
    "one_number": (b"a,y\n1,7\n2,7\n", "target y is 7 in every row"),
    "text_target": (b"a,y\n" + b"".join(b"%d,name %d\n" % (i, i) for i in range(40)), "40 different texts in 40 rows"),
    "date_target": (b"a,y\n1,2024-01-31\n2,2024-02-28\n", "target y is a date"),
    "typo_in_the_target": (b"a,y\n1,1.5\n2,2.5\n3,three\n4,4.5\n", "line 4: y holds 'three', and the others are numbers"),
    "typo_in_a_feature": (b"a,y\n" + b"1,2\n2,3\n" * 9 + b"l,4\n", "line 20: a holds 'l', and the others are numbers"),
    "wrong_date": (b"a,y\n" + b"2024-02-01,1\n2024-02-28,2\n" * 9 + b"2024-02-30,2\n", "line 20: a holds '2024-02-30'"),
    "ambiguous_dates": (b"a,y\n3/4/2024,1\n5/6/2024,2\n", "day or the month first; type dataset.day_first=true or false"),
    "inf_in_a_feature": (b"a,y\n1,2\ninf,3\n", "line 3: a is infinite or too large"),
    "inf_in_the_target": (b"a,y\n1,2\n2,-Infinity\n", "line 3: y is infinite or too large"),
    "overflow": (b"a,y\n1,2\n1e400,3\n", "line 3: a is infinite or too large"),
    "constant_features": (b"a,b,y\n1,x,2\n1,x,3\n", "no features beside the target y; left out: a, b .a single value"),
    "only_an_id": (b"a,y\nu1,1\nu2,2\nu3,5\n", "left out: a .a text of its own for every row"),
    "unquoted_thousands": (b"a,y\n12,0.5\n31,727,1.5\n", "line 3: has 3 cells, and the header has 2 names"),
    "currencies_as_target": (
        b"a,y\n" + b"".join(b"%d,%s%d\n" % (i, [b"$", b"EUR "][i % 2], 7 * i) for i in range(40)),
        r"such as '\$0': neither numbers nor classes; write all of them with one sign instead of '\$', 'EUR', to have numbers",
    ),
    "percent_among_numbers": (
        b"a,y\n" + b"1,2\n2,3\n" * 9 + b"12%,4\n",
        "line 20: a holds '12%', .* or write '%' in all of them or in none, to have",
    ),
    "quoted_decimal_comma_as_target": (
        b"a,y\n" + b"".join(b'%d,"%d,5"\n' % (i, i) for i in range(40)),
        "neither numbers nor classes; type 'dataset.decimal=\",\"' if that is the decimal mark",
    ),
    "a_comma_among_decimals": (
        b"a,y\n" + b"0.5,1\n0.75,2\n" * 20 + b'"1,234",3\n',
        "line 42: a holds '1,234', .* or type 'dataset.thousands=\",\"' if that groups the digits",
    ),
    "points_that_group_between_commas": (
        b"a,b,y\n" + b"".join(b"%d,1,1.2%02d.000\n" % (i, i) for i in range(40)),
        "neither numbers nor classes; type dataset.thousands=. if that groups the digits",
    ),
    "nul_bytes": (b"a,b,y\n1,2,3\n4,\x00,6\n", "NUL bytes .the first is byte 15"),
    "utf16_without_mark": ("a,y\n1,2\n".encode("utf-16-le"), "NUL bytes .* dataset.encoding=utf-16-le"),
    "zip": (zipped(), "is a zip archive; unpack it first"),
    "old_excel": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Excel file"),
    "parquet": (b"PAR1\x00\x00", "is a Parquet file; type dataset=parquet"),
    "bzip2": (bz2.compress(TABLE), "compressed by bzip2; unpack it first"),
    "cut_gzip": (gzip.compress(TABLE * 100)[:-20], "cannot be read"),
    "damaged_gzip": (gzip.compress(TABLE)[:12] + b"\xff" * 20, "cannot be read"),
    "picture": (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "is a picture"),
    "web_page": (b"<!DOCTYPE html>\n<html><body>404</body></html>\n", "is a web page; download the file itself"),
}

RIGHT: dict[str, tuple[bytes, Any]] = {  # name -> content, the features or what holds of the data
    "plain": (TABLE, VALUES),
    "no_line_end_at_the_end": (TABLE[:-1], VALUES),
    "windows_line_ends": (TABLE.replace(b"\n", b"\r\n"), VALUES),
    "old_mac_line_ends": (TABLE.replace(b"\n", b"\r"), VALUES),
    "blank_lines_between": (b"\n" + TABLE.replace(b"\n", b"\n\n  \n"), VALUES),
    "blanks_around": (b" a , b , y \n 1 , 2 , 0.5\n3 ,5,1.5 \n 4,4,2.5\n", VALUES),
    "semicolons": (TABLE.replace(b",", b";"), VALUES),
    "tabs": (TABLE.replace(b",", b"\t"), VALUES),
    "bars": (TABLE.replace(b",", b"|"), VALUES),
    "decimal_commas": (b"a;b;y\n1,25;2;0,5\n3;5;1,5\n4;4;2,5\n", [[1.25, 2], [3, 5], [4, 4]]),
    "thousands": (b'a,b,y\n"1,204,000",2,0.5\n"31,727",5,1.5\n12,4,2.5\n', [[1204000, 2], [31727, 5], [12, 4]]),
    "thousands_and_decimals": (b'a,b,y\n"1,204.50",2,0.5\n"-3,000",5,1.5\n.5,4,2.5\n', [[1204.5, 2], [-3000, 5], [0.5, 4]]),
    "thousands_between_semicolons": (b"a;b;y\n1,204,000;2;0.5\n31,727;5;1.5\n12;4;2.5\n", [[1204000, 2], [31727, 5], [12, 4]]),
    "thousands_in_euros": (b"a;b;y\n5.432;2,25;0,5\n31.727;5;1,5\n12;4;2,5\n", [[5432, 2.25], [31727, 5], [12, 4]]),
    "thousands_in_euros_and_cents": (b"a;b;y\n1.204.000,5;2;0,5\n31;5;1,5\n12;4;2,5\n", [[1204000.5, 2], [31, 5], [12, 4]]),
    "thousands_with_blanks": (
        "a,b,y\n1 204 000,2,0.5\n31\u00a0727,5,1.5\n12,4,2.5\n".encode(),
        [[1204000, 2], [31727, 5], [12, 4]],
    ),
    "thousands_in_francs": ("a,b,y\n1'204'000,2,0.5\n31’727.5,5,1.5\n12,4,2.5\n".encode(), [[1204000, 2], [31727.5, 5], [12, 4]]),
    "three_decimals": (b"a,b,y\n1.234,2,0.5\n31.727,5,1.5\n12,4,2.5\n", [[1.234, 2], [31.727, 5], [12, 4]]),
    "three_decimals_behind_commas": (
        b"a;b;y\n1,234;2;1\n31,727;5;0\n12;4;1\n",
        lambda data: data.x[:, 0].tolist() == [1.234, 31.727, 12] and "type 'dataset.thousands=\",\"'" in data.notes[1],
    ),
    "commas_that_do_not_group": (
        b'a,y\n"1,234",0.5\n"12,34",1.5\n"1,234",2.5\n',
        lambda data: data.features == ("a=1,234", "a=12,34"),
    ),
    "feet_and_inches": (b"a,y\n5'11,0.5\n6'2,1.5\n6'2,2.5\n", lambda data: data.features == ("a=5'11", "a=6'2")),
    "percent": (
        b"a,y\n12%,0.5\n15%,1.5\n12%,2.5\n",
        lambda data: data.x[:, 0].tolist() == [12, 15, 12] and "sign '%' in a" in data.notes[1],
    ),
    "currency": (
        b"a,b,y\n1,$5,0.5\n2,$7,1.5\n3,$9,2.5\n",
        lambda data: data.x[:, 1].tolist() == [5, 7, 9] and "sign '$' in b" in data.notes[1],
    ),
    "currency_as_target": (
        b"a,y\n" + b"".join(b"%d,$%d\n" % (i, 7 * i) for i in range(40)),
        lambda data: data.task == "regression" and data.y[:, 0].tolist() == [7 * i for i in range(40)],
    ),
    "currency_behind_as_target": ("a,y\n1,5 €\n2,7 €\n3,9 €\n".encode(), lambda data: data.y[:, 0].tolist() == [5, 7, 9]),
    "quoted": (b'"a","b","y"\n"1","2","0.5"\n"3","5","1.5"\n"4","4","2.5"\n', VALUES),
    "byte_order_mark": (b"\xef\xbb\xbf" + TABLE, VALUES),
    "utf16": (TABLE.decode().encode("utf-16"), VALUES),
    "utf16_big_endian": (b"\xfe\xff" + TABLE.decode().encode("utf-16-be"), VALUES),
    "utf32": (TABLE.decode().encode("utf-32"), VALUES),
    "gzip": (gzip.compress(TABLE), VALUES),
    "ends_in_separators": (b"a,b,y,\n1,2,0.5,\n3,5,1.5,\n4,4,2.5,\n", VALUES),
    "each_row_ends_in_a_separator": (b"a,b,y\n1,2,0.5,\n3,5,1.5,\n4,4,2.5,\n", VALUES),
    "rows_of_nothing": (TABLE + b",,\n,,\n", VALUES),
    "nan_in_a_feature": (b"a,b,y\n1,NaN,0.5\n3,5,1.5\nNA,4,2.5\n?,,3.5\n", [[1, NAN], [3, 5], [NAN, 4], [NAN, NAN]]),
    "nan_in_the_target": (b"a,b,y\n1,2,0.5\n9,9,nan\n3,5,1.5\n9,9,\n4,4,2.5\n", VALUES),
    "huge_whole_numbers": (
        b"a,y\n123456789012345678901234567890,0.5\n-3,1.5\n5,2.5\n",
        lambda data: data.x[:, 0].tolist() == [123456789012345678901234567890.0, -3, 5] and "2^53" in " ".join(data.notes),
    ),
    "na_is_a_label": (
        b"a,y\n1,NA\n2,EU\n3,NA\n4,AS\n5,EU\n",
        lambda data: data.classes == ("AS", "EU", "NA") and data.y.tolist() == [2, 1, 2, 0, 1],
    ),
    "na_is_a_category": (
        b"a,y\nNA,1.5\nEU,2.5\nNA,3\n,4\n",
        lambda data: data.features == ("a=(missing)", "a=EU", "a=NA") and data.x.argmax(1).tolist() == [2, 1, 2, 0],
    ),
    "latin1": (
        "größe,y\nklein,1.5\ngroß,2.5\ngroß,3\n".encode("latin-1"),
        lambda data: data.features == ("größe=groß", "größe=klein"),
    ),
    "windows1252": (b"a,y\n10\x80,1.5\n20\x80,2.5\n20\x80,3\n", lambda data: "sign '€' in a" in data.notes[1]),
    "quoted_separators_and_line_ends": (
        b'a,b,y\n"x, ""1""",1,0.5\n"x\r\ny",2,1.5\n"x, ""1""",3,2.5\n',
        lambda data: data.features[:2] == ("a=x\r\ny", 'a=x, "1"') and data.x[:, 2].tolist() == [1, 2, 3],
    ),
    "a_quote_that_is_an_inch": (
        b'a,b,y\n5" disc,1,0.5\n3" disc,2,1.5\n3" disc,3,2.5\n',
        lambda data: data.features == ('a=3" disc', 'a=5" disc', "b"),
    ),
    "constant_feature": (b"a,b,c,y\n1,2,7,0.5\n3,5,7,1.5\n4,4,7,2.5\n", VALUES),
    "empty_feature": (b"a,b,c,y\n1,2,,0.5\n3,5,NA,1.5\n4,4,,2.5\n", VALUES),
    "index_without_a_name": (b",a,b,y\n0,1,2,0.5\n1,3,5,1.5\n2,4,4,2.5\n", VALUES),
    "id": (b"id,a,b,y\n17,1,2,0.5\n4,3,5,1.5\n28,4,4,2.5\n", VALUES),
    "target_first": (b"y,a,b\n0.5,1,2\n1.5,3,5\n2.5,4,4\n", VALUES),
    "true_and_false": (b"a,b,y\ntrue,No,0.5\nFALSE,yes,1.5\n,no,2.5\n", [[1, 0], [0, 1], [NAN, 0]]),
    "numbers_as_names_of_columns": (b"2023,2024,y\n1,2,0.5\n3,5,1.5\n4,4,2.5\n", VALUES),
    "ten_thousand_columns": (
        b",".join(b"x%d" % i for i in range(10_000)) + b",y\n" + (b"0," * 10_000 + b"1\n") + (b"1," * 10_000 + b"2\n"),
        lambda data: data.x.shape == (2, 10_000) and data.x.sum(1).tolist() == [0, 10_000],
    ),
    "formula_and_escape_names": (
        b'"=CONCAT(""x"")",\x1b[31mred,y\n1,2,0.5\n3,5,1.5\n4,4,2.5\n',
        lambda data: data.x.tolist() == VALUES and "\x1b" not in "".join(data.notes),
    ),
    "escape_labels": (
        b"a,y\n1,\x1b[2J\n2,no\n3,\x1b[2J\n4,no\n",
        lambda data: data.classes == ("\x1b[2J", "no") and "\x1b" not in "".join(data.notes),
    ),
    "python_in_cells": (
        b"a,b,y\nPath('canary').touch(),1,0.5\n!!python/name:os.getcwd,2,1\n!!python/name:os.getcwd,3,2\n",
        lambda data: data.x.shape == (3, 3) and not Path("canary").exists(),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, tmp_path: Path) -> None:
    content, said = REFUSED[name]
    (tmp_path / "my.csv").write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        csv(path=str(tmp_path / "my.csv"), target="y")
    assert all(problem.isprintable() and len(problem) < 400 for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("limits", "content", "said"),
    [
        ({"RATIO": 5, "BLOCK": 1 << 10}, gzip.compress(b"a,b,y\n" + b"0,0,0\n" * 1000), "unpacks to more than 5 times its size"),
        ({"LONGEST_LINE": 1 << 20}, b"a,b,y" + b"," * (1 << 20), "a line of more than 1 MB"),
    ],
    ids=["unpacks to much", "long line"],
)
def test_a_file_above_a_limit(
    limits: dict[str, int], content: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limits are lowered, so that the files need not be large."""
    for name, value in limits.items():
        monkeypatch.setattr(textfile, name, value)
    (tmp_path / "my.csv").write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        csv(path=str(tmp_path / "my.csv"), target="y")
    assert all(problem.isprintable() and len(problem) < 400 for problem in caught.value.problems)


@pytest.mark.parametrize("name", RIGHT)
def test_right(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, expected = RIGHT[name]
    monkeypatch.chdir(tmp_path)
    Path("my.csv").write_bytes(content)
    data = csv(path="my.csv", target="y")
    if callable(expected):
        assert expected(data), (data, data.notes)
    else:
        assert np.nan_to_num(data.x, nan=-99.5).tolist() == [[-99.5 if math.isnan(v) else v for v in row] for row in expected]
        assert data.y[:, 0].tolist() == [0.5, 1.5, 2.5, 3.5][: len(expected)]


def places(folder: Path) -> dict[str, tuple[str, str]]:
    """Things that are no files, and what is said of them."""
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    (folder / "dead").symlink_to(folder / "nothing.csv")
    (folder / "loop").symlink_to(folder / "loop")
    (folder / "to_pipe").symlink_to(folder / "pipe")
    return {
        "folder": (str(folder / "folder"), "is a folder; give a file"),
        "pipe": (str(folder / "pipe"), "is a pipe; give a file"),
        "link to a pipe": (str(folder / "to_pipe"), "is a pipe; give a file"),
        "device": ("/dev/null", "is a device; give a file"),
        "dead link": (str(folder / "dead"), "is a link that leads nowhere"),
        "link to itself": (str(folder / "loop"), "is a link that leads nowhere"),
        "address": ("https://example.org/my.csv", "is an address; download the file first"),
        "address of a file": ("file:///my.csv", "is an address"),
        "bucket": ("s3://bucket/my.csv", "is an address"),
        "no file": (str(folder / "folde"), "no such file; did you mean 'folder'?"),
        "no folder": (str(folder / "none" / "my.csv"), "no such file; there is no folder"),
        "no name": ("", "is a folder"),
        "NUL": ("my\0.csv", "no such file"),
        "very long name": ("x" * 5000, "no such file"),
        "nobody's home": ("~nobody-at-all/my.csv", "no such file"),
    }


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are made by POSIX systems")
def test_what_is_no_file_is_refused_and_not_waited_on(tmp_path: Path) -> None:
    for what, (path, said) in places(tmp_path).items():
        with pytest.raises(DataError) as caught:
            csv(path=path, target="y")
        assert said in str(caught.value), what
        assert all(problem.isprintable() for problem in caught.value.problems)


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        with pytest.raises(DataError, match="is a socket; give a file"):
            csv(path="socket", target="y")


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "real.csv").write_bytes(TABLE)
    (tmp_path / "my.csv").symlink_to(tmp_path / "real.csv")
    assert csv(path=str(tmp_path / "my.csv"), target="y").x.tolist() == VALUES


def test_a_class_with_one_member_cannot_be_split_by_class(tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text("a,y\n" + "".join(f"{i},{'rare' if i == 7 else 'ab'[i % 2]}\n" for i in range(30)))
    data = csv(path=str(tmp_path / "my.csv"), target="y")
    with pytest.raises(
        DataError,
        match=r"1 of the classes has a single row .'rare'.*leave it out with dataset.missing=.rare., or set",
    ):
        split(data, seed=0)
    assert len(split(data, seed=0, stratify=False).test) == 6


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"path": None}, "dataset.path: which file?"),
        ({"target": None}, "which column is to be predicted?.*my.csv has a, b, y"),
        ({"target": "yy"}, "no such column.*; type dataset.target=y$"),
        ({"columns": ["c"]}, "dataset.columns: c: no such column; my.csv has a, b, y"),
        ({"columns": []}, "no features"),
        ({"columns": ["a", "y"]}, "dataset.columns: y is the target"),
        ({"drop": ["y"]}, "dataset.drop: y is the target"),
        ({"drop": ["a", "b"]}, "no features"),
        ({"categorical": ["c"]}, "dataset.categorical: c: no such column"),
        ({"separator": "::"}, "dataset.separator=::: must be one character"),
        ({"separator": '"'}, "must be one character"),
        ({"separator": ";"}, "dataset.target=y: no such column; my.csv has a,b,y"),
        ({"encoding": "utf-9"}, "dataset.encoding=utf-9: no such encoding.*did you mean 'utf-8'"),
        ({"encoding": "zip"}, "no such encoding"),
        ({"encoding": "utf-16"}, "cannot be read as utf-16"),
        ({"task": "segmentation"}, "a table serves regression, binary, multiclass, multilabel"),
        ({"task": "multilabel"}, "wants several targets that are 0 or 1"),
        ({"thousands": ",", "decimal": ","}, "dataset.thousands=,: is dataset.decimal too"),
        ({"target": ["y", "z"]}, "dataset.target=z: no such column"),
        ({"target": ["y", "y"]}, "names a column twice"),
        ({"target": []}, "which column is to be predicted?"),
        ({"target": ["a", "b", "y"]}, "no features beside the targets a, b, y"),
        ({"target": ["y", "a"], "columns": "a"}, "dataset.columns: a is the target"),
        ({"target": ["y", "a"], "task": "binary"}, "dataset.task=binary: has one target, not 2; type dataset.target=y"),
        ({"target": ["y", "a"], "task": "multilabel"}, "target y has values such as 2.5, and a label is 0 or 1"),
        ({"task": "binary"}, "has 3 different values, and task binary wants 2"),
    ],
)
def test_settings_that_do_not_fit(settings: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_bytes(TABLE)
    with pytest.raises(DataError, match=said):
        csv(**({"path": str(tmp_path / "my.csv"), "target": "y"} | settings))


def test_a_given_encoding_that_is_wrong_is_told(tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_bytes("a,y\nä,1.5\nö,2.5\nö,3\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"cannot be read as utf-8 .*dataset.encoding=latin-1"):
        csv(path=str(tmp_path / "my.csv"), target="y", encoding="utf-8")


def test_a_table_larger_than_memory_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my.csv").write_bytes(TABLE)
    real = os.sysconf
    monkeypatch.setattr(os, "sysconf", lambda name: 1 if name == "SC_PHYS_PAGES" else min(real(name), 16))
    with pytest.raises(DataError, match="more than half of this machine's memory; take fewer columns"):
        csv(path=str(tmp_path / "my.csv"), target="y")


COMMANDS = ["ragged_long", "unclosed_quote", "one_class", "nul_bytes", "cut_gzip", "typo_in_the_target", "ambiguous_dates"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_command_says_it_in_a_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from dlrun.cli.main import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.csv").write_bytes(REFUSED[name][0])
    assert main(["dataset=csv", "dataset.path=my.csv", "dataset.target=y"]) == 2
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert err.startswith("error: my.csv")
    assert [entry.name for entry in tmp_path.iterdir()] == ["my.csv"]


def test_the_corpus_is_large() -> None:
    assert len(REFUSED) + len(RIGHT) >= 80
