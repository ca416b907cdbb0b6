"""The user's own table: what its columns are taken for, what is to be learnt, and that training rows alone fit anything."""

import csv as standard
import gzip
import io
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from dlrun.data.dataset import Data
from dlrun.data.preprocessing import fit
from dlrun.data.sources import files, kept
from dlrun.data.sources.files import csv
from dlrun.data.splits import split
from dlrun.data.table import builder as draft
from dlrun.data.table import tabular
from dlrun.data.table.encoding import Encoding, encode
from dlrun.data.table.text import delimited
from dlrun.errors import DataError

Read = Callable[..., Data]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """``read("a,y\\n1,2\\n")``: that text as a dataset with target y."""

    def make(text: str | bytes, **given: Any) -> Data:
        (tmp_path / "my.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return csv(**({"path": str(tmp_path / "my.csv"), "target": "y"} | given))

    return make


def column(*cells: object, name: str = "a") -> str:
    """A table with one feature, and targets that are none of the feature's business."""
    return f"{name},y\n" + "".join(f"{cell},{row + 0.5}\n" for row, cell in enumerate(cells))


def plain(x: NDArray[Any]) -> list[list[float | None]]:
    return [[None if math.isnan(value) else round(value, 4) for value in row] for row in x.tolist()]


# What a column is


@pytest.mark.parametrize(
    ("cells", "features", "x"),
    [
        ((1, 2.5, "-3e2", "+.5", "7."), ("a",), [[1], [2.5], [-300], [0.5], [7]]),
        ((1, "", "NA", "null", "-", "?", 3), ("a",), [[1], [None], [None], [None], [None], [None], [3]]),
        (("true", "False", "TRUE"), ("a",), [[1], [0], [1]]),
        (("y", "n", "Y"), ("a",), [[1], [0], [1]]),
        (("True", "1", "True"), ("a=1", "a=True"), [[0, 1], [1, 0], [0, 1]]),
        (("red", "blue", "red"), ("a=blue", "a=red"), [[0, 1], [1, 0], [0, 1]]),
        (("red", "", "red"), ("a=(missing)", "a=red"), [[0, 1], [1, 0], [0, 1]]),
        (("1_000", "0x10", "0x10"), ("a=0x10", "a=1_000"), [[0, 1], [1, 0], [1, 0]]),
        (
            ("2024-01-31", "2023-12-01", ""),
            ("a.days", "a.month", "a.weekday"),
            [[19753, 1, 2], [19692, 12, 4], [None, None, None]],
        ),
        (
            ("2024-01-31 06:00", "2024-01-31T18:30:00Z", "2024-02-01T00:30:00+02:00"),
            ("a.days", "a.hour"),
            [[19753.25, 6], [19753.7708, 18.5], [19753.9375, 22.5]],
        ),
        (("31.1.2024", "1.2.2024"), ("a.days", "a.month", "a.weekday"), [[19753, 1, 2], [19754, 2, 3]]),
        (("31/1/2024", "1/2/2024"), ("a.days", "a.month", "a.weekday"), [[19753, 1, 2], [19754, 2, 3]]),
        (("1/31/2024", "2/1/2024"), ("a.days", "a.month", "a.weekday"), [[19753, 1, 2], [19754, 2, 3]]),
    ],
)
def test_kinds_of_columns(cells: tuple[object, ...], features: tuple[str, ...], x: list[list[float]], read: Read) -> None:
    data = read(column(*cells))
    assert data.features == features
    assert plain(data.x) == x
    assert data.x.dtype == np.float64


@pytest.mark.parametrize("clock", ["09:20", "9:20:30.123", "00:10", "23:59:59.9999"])
def test_a_time_of_day_that_does_not_vary_is_no_feature(clock: str, read: Read) -> None:
    cells = [f"2014-{month:02}-11 {clock}" for month in range(1, 13)]
    assert read(column(*cells)).features == ("a.days", "a.month", "a.weekday")
    assert read(column(*cells, "2014-06-29 09:21")).features == ("a.days", "a.month", "a.weekday", "a.hour")


def test_the_day_may_be_said_to_come_first(read: Read) -> None:
    text = column("3/4/2024", "5/6/2024")
    assert plain(read(text, day_first=True).x)[0][1] == 4
    assert plain(read(text, day_first=False).x)[0][1] == 3


def test_what_cannot_help_is_left_out_and_said(read: Read) -> None:
    rows = "".join(f"{i},u{i},{i % 7},same,,{i % 3},{i}.5\n" for i in range(60))
    data = read(f"id,user,size,constant,empty,shop_id,y\n{rows}")
    assert data.features == ("size", "shop_id")
    (_, left) = data.notes
    assert "id (a number of its own for every row)" in left
    assert "user (a text of its own for every row)" in left
    assert "constant (a single value)" in left
    assert "empty (no values)" in left


@pytest.mark.parametrize(
    "name",
    [
        *("id", "ID", "customer_id", "customer id", "CustomerID", "PassengerId", "userId", "user.id", "orderUUID", "guid"),
        *("index", "row", "rownames", "row names", "Unnamed: 0", "Unnamed: 0.1", "level_0"),
        *("no", "No.", "nr", "Nr.", "#", "S.No", "Sr. No.", "serial number", "record_num", "row #"),
    ],
)
def test_names_of_row_numbers(name: str, read: Read) -> None:
    rows = "".join(f"{i},{i % 7},{i}.5\n" for i in range(40))
    data = read(f"{name},b,y\n{rows}")
    assert data.features == ("b",)
    assert f"left out: {name} (a number of its own for every row)" in data.notes[1]
    assert read(f"{name},b,y\n5,1,0.5\n{rows}").features == (name, "b"), "a number that occurs twice may mean something"


@pytest.mark.parametrize("name", ["paid", "PAID", "grid", "humid", "Acid", "valid", "nose", "snow", "number", "rows", "indexed"])
def test_names_of_no_row_numbers(name: str, read: Read) -> None:
    assert read(column(*range(40), name=name)).features == (name,)


def test_what_is_asked_for_is_kept(read: Read) -> None:
    text = "id,user,b,y\n" + "".join(f"{i},u{i},{i % 3},{i}.5\n" for i in range(5))
    assert read(text, columns=["id", "user"]).features == ("id", "user=u0", "user=u1", "user=u2", "user=u3", "user=u4")
    assert read(text, drop=["user", "id"]).features == ("b",)
    assert read(text, columns=["b", "user"], drop=["user"]).features == ("b",)
    assert read(text, columns=["b"], categorical=["b"]).features == ("b=0", "b=1", "b=2")


def test_texts_with_too_many_categories(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "MOST_CATEGORIES", 30)
    text = "a,b,y\n" + "".join(f"c{i % 40},{i % 5},{i}.5\n" for i in range(200))
    assert read(text).features == ("b",)
    with pytest.raises(DataError, match=r"column a: .* too many for a feature each; .* dataset.drop=\[a\]"):
        read(text, columns=["a", "b"])
    hardly = "a,b,y\n" + "".join(f"c{i % 28},{i % 5},{i}.5\n" for i in range(50))
    assert "28 different texts, hardly one twice" in read(hardly).notes[1]


def test_codes_keep_their_zeros(read: Read) -> None:
    assert read(column("01234", "1234", "01234"), categorical=["a"]).features == ("a=01234", "a=1234")


def test_own_marks_of_missing_values(read: Read) -> None:
    text = "a,b,y\n-999,red,0.5\n2,none,1.5\n-999.0,red,2.5\n4,unknown,3.5\n5,blue,4.5\n"
    data = read(text, missing=[-999, "unknown", "none"])
    assert data.features == ("a", "b=(missing)", "b=blue", "b=red")
    assert plain(data.x) == [[None, 0, 0, 1], [2, 1, 0, 0], [None, 0, 0, 1], [4, 1, 0, 0], [5, 0, 1, 0]]
    assert plain(encode({"a": [-999, "7"], "b": ["unknown", "green"]}, data.encoding)) == [[None, 1, 0, 0], [7, 0, 0, 0]]


def test_a_column_may_turn_out_otherwise_far_down(read: Read) -> None:
    late = delimited.FEWEST_ROWS + 500
    rows = [
        ["7" if i < late else "abc"[i % 3], "" if i < late else "red", "" if i < late else f"2024-03-0{i % 9 + 1}", "", "1"]
        for i in range(2 * late)
    ]
    rows[-1][3] = "2.5"
    rows[-2][3] = "3.5"
    rows[-3][4] = "true"
    text = "a,b,c,d,e,y\n" + "".join(f"{','.join(row)},{i}.5\n" for i, row in enumerate(rows))
    with pytest.raises(DataError, match="e holds 'true', and the others are numbers"):
        read(text)
    data = read(text, drop=["e"])
    assert data.features == ("a=7", "a=a", "a=b", "a=c", "b=(missing)", "b=red", "c.days", "c.weekday", "d")
    assert data.x[:late, 0].all()
    assert data.x[late:, 1:4].sum() == late
    assert data.x[:late, 4].all()
    assert data.x[late:, 5].all()
    assert np.isnan(data.x[:late, 6]).all()
    assert np.isfinite(data.x[late:, 6]).all()
    assert data.x[-1, 8] == 2.5


WORDS = ["unknown", "refused"]


@pytest.mark.parametrize("share", [0.05, 0.15, 0.6])
@pytest.mark.parametrize(
    ("value", "others"), [(lambda i: f"{i * 1.37:.2f}", "numbers"), (lambda i: f"2024-{i % 12 + 1:02}-{i % 28 + 1:02}", "dates")]
)
def test_words_among_numbers_or_dates_are_told_with_the_remedy(
    share: float, value: Callable[[int], str], others: str, read: Read
) -> None:
    words = [WORDS[i % 2] if i % 100 < 100 * share else value(i) for i in range(400)]
    text = "a,b,y\n" + "".join(f"{word},{i % 7},{i}.5\n" for i, word in enumerate(words))
    with pytest.raises(DataError) as caught:
        read(text)
    (said,) = caught.value.problems
    more = f"{400 * share - 1:.0f} more such cells{f', {share:.0%} of all' if share > 0.1 else ''}"
    assert f"line 2: a holds 'unknown' (and {more}), and the others are {others}" in said
    assert "type dataset.missing=[unknown,refused] if that means a missing value, or type dataset.categorical=[a]" in said
    assert read(text, missing=WORDS).features[-1] == "b"
    assert np.isnan(read(text, missing=WORDS).x[:, 0]).sum() == 400 * share
    assert "a=unknown" in read(text, categorical=["a"]).features
    with pytest.raises(DataError, match=r"type dataset.missing=\[refused,unknown\]"):
        read(text, missing=["refused"])


def test_a_word_that_a_shell_would_take_otherwise_is_quoted(read: Read) -> None:
    for word, typed in (("not known", "'dataset.missing=[\"not known\"]'"), ("n.d.", "'dataset.missing=[\"n.d.\"]'")):
        with pytest.raises(DataError) as caught:
            read(column(*range(40), word, word))
        assert f"type {typed} if" in str(caught.value)
    for word in ("a\\b", "$x{y}", "x" * 50, "4l"):
        with pytest.raises(DataError, match="a holds") as caught:
            read(column(*range(40), word))
        assert "dataset.missing" not in str(caught.value)


def test_codes_of_which_some_are_numbers_are_categories(read: Read) -> None:
    codes = [f"{letter}{number}" for letter in ("", "", "A", "B") for number in range(10, 20)]
    data = read("a,b,y\n" + "".join(f"{codes[i * 7 % 40]},{i % 3},{i}.5\n" for i in range(400)))
    assert len(data.features) == 31
    mixed = read("a,b,y\n" + "".join(f"{i % 8 if i % 7 else 'none of them'},{i % 3},{i}.5\n" for i in range(400)))
    assert "a=none of them" in mixed.features
    tickets = "".join(f"{f'PC {i}' if i % 4 == 0 else 7 * i},{i % 3},{i}.5\n" for i in range(400))
    assert "left out: a (a text of its own for every row, most of them numbers)" in read(f"a,b,y\n{tickets}").notes[1]
    days = "".join(f"{f'about {i}' if i % 4 == 0 else f'2024-01-{i % 28 + 1:02}'},{i % 3},{i}.5\n" for i in range(400))
    assert "a=2024-01-02" in read(f"a,b,y\n{days}").features


def test_words_are_told_whichever_column_changes_beside_them(read: Read) -> None:
    late = delimited.FEWEST_ROWS + 500
    text = "a,b,y\n" + "".join(
        f"{'unknown' if i % 5 == 0 else i / 8},{'' if i < late else 'red'},{i}.5\n" for i in range(2 * late)
    )
    with pytest.raises(DataError, match=r"a holds 'unknown' .*20% of all"):
        read(text)
    assert read(text, missing=["unknown"]).features == ("a", "b=(missing)", "b=red")


def test_later_dates_say_how_earlier_ones_are_read(read: Read) -> None:
    cells = ["3/4/2024"] * (delimited.ROWS + 10) + ["5/31/2024"]
    assert read(column(*cells)).x[0, 1] == 3


def test_true_and_false_are_no_numbers_even_in_a_piece_of_their_own(read: Read) -> None:
    cells = ["1", "0"] * (delimited.ROWS // 2) + ["True"] * delimited.ROWS
    assert read(column(*cells)).features == ("a=0", "a=1", "a=True")


# Digits in groups


def test_what_groups_digits_is_found_and_said(read: Read) -> None:
    data = read('a,b,y\n"31,727",1 204,"1,500"\n"1,204,000",999,"2,500.5"\n812,2 000,12\n', missing=["999"])
    assert plain(data.x) == [[31727, 1204], [1204000, None], [812, 2000]]
    assert data.y[:, 0].tolist() == [1500, 2500.5, 12]
    assert data.notes[1] == "dataset my.csv: thousands separator ',' in a, y, thousands separator ' ' in b"


def test_what_groups_digits_is_kept_for_new_rows(read: Read) -> None:
    data = read('a,b,y\n"31,727",1,0.5\n"1,204,000",2,1.5\n812,3,2.5\n')
    assert data.encoding is not None
    again = Encoding.from_json(data.encoding.to_json())
    assert [code.thousands for code in again.columns] == [",", ""]
    assert plain(encode({"a": ["2,000", "2000", 5], "b": [1, 2, 3]}, again)) == [[2000, 1], [2000, 2], [5, 3]]
    for wrong in ({"a": ["2,00"], "b": [1]}, {"a": [1], "b": ["2,000"]}):
        with pytest.raises(DataError, match="wants numbers"):
            encode(wrong, again)
    given = read('a,b,y\n"31,727",1,0.5\n"1,204,000",2,1.5\n812,3,2.5\n', thousands=",").encoding
    assert given is not None
    assert [code.thousands for code in given.columns] == [",", ","]


def test_what_groups_digits_may_be_said(read: Read) -> None:
    commas, points = "a;y\n1,234;1\n31,727;0\n", "a,y\n1.234,1\n31.727,0\n"
    for text, mark in ((commas, ","), (points, ".")):
        assert read(text).x[:, 0].tolist() == [1.234, 31.727]
        assert read(text, thousands=mark).x[:, 0].tolist() == [1234, 31727]


def test_digits_may_be_grouped_far_down_alone(read: Read) -> None:
    late = 2 * delimited.ROWS
    rows = "".join(f'{i % 1000},"{i:,}",{i}.5\n' if i >= 10_000 else f"{i % 1000},{i % 1000},{i}.5\n" for i in range(late))
    data = read(f"a,b,y\n{rows}")
    assert data.x[10_000:, 1].tolist() == list(range(10_000, late))
    assert data.x[:10_000, 1].tolist() == [i % 1000 for i in range(10_000)]
    with pytest.raises(
        DataError, match="line 16,386: b holds '1,23', and the others are numbers; correct it, leave the cell empty, or"
    ):
        read(f'a,b,y\n{rows}1,"1,23",0.5\n')


@pytest.mark.parametrize(("mark", "other"), [(",", "."), (".", ","), (" ", "."), ("'", ",")])
@given(numbers=st.lists(st.tuples(st.integers(-(10**12), 10**12), st.integers(0, 99)), min_size=4, max_size=20))
@settings(max_examples=15, deadline=None)
def test_grouped_numbers_are_those_of_python(
    tmp_path_factory: pytest.TempPathFactory, mark: str, other: str, numbers: list[tuple[int, int]]
) -> None:
    numbers = [(1, 25), (123456, 5), *numbers]
    path = tmp_path_factory.mktemp("grouped") / "my.csv"
    cells = [f"{whole:,}".replace(",", mark) + f"{other}{part:02}" for whole, part in numbers]
    path.write_text("a;y\n" + "".join(f"{cell};{row}\n" for row, cell in enumerate(cells)))
    data = csv(path=str(path), target="y", columns=["a"])
    assert data.x[:, 0].tolist() == [float(f"{whole}.{part:02}") for whole, part in numbers]


def test_hints_are_not_given_for_what_the_user_calls_texts(read: Read) -> None:
    text = "a,b,y\n" + "".join(f"{'€$'[i % 2]}{i % 3},{i},{i}.5\n" for i in range(9))
    assert "such as '€0'" in read(text).notes[1]
    assert len(read(text, categorical="a").notes) == 1


# Several targets


def test_several_targets_of_numbers_are_a_regression(read: Read) -> None:
    rows = "".join(f"{i % 7},{i % 20 or ''},{i if i % 7 else 'NA'},{i}.5\n" for i in range(50))
    data = read(f"a,b,c,d\n{rows}", target=["c", "b"])
    kept = [i for i in range(50) if i % 20 and i % 7]
    assert (data.task, data.outputs, data.targets, data.classes) == ("regression", 2, ("c", "b"), ())
    assert data.y.tolist() == [[i, i % 20] for i in kept]
    assert data.features == ("a", "d")
    assert data.x.tolist() == [[i % 7, i + 0.5] for i in kept]
    assert f"{len(kept)} rows, targets c, b: regression (2 numbers a row)" in data.notes[0]
    assert f"{50 - len(kept)} rows without a value of c or b are left out" in data.notes[1]


def test_several_targets_of_0_and_1_are_labels(read: Read) -> None:
    text = "a,b,c\n" + "".join(f"{i % 7},{i % 2},{['no', 'yes', ''][i % 3]}\n" for i in range(60))
    data = read(text, target=["b", "c"])
    assert (data.task, data.outputs, data.targets, data.classes) == ("multilabel", 2, ("b", "c"), ("b", "c"))
    assert data.y.tolist() == [[i % 2, i % 3] for i in range(60) if i % 3 < 2]
    assert "multilabel (2 labels, b: 20, c: 20" in data.notes[0]
    assert read(text, target=["b", "c"], task="regression").task == "regression"


def test_several_targets_that_are_no_numbers_are_refused(read: Read) -> None:
    rows = "".join(f"{i % 7},{i},{'uvw'[i % 3]},{'€$'[i % 2]}{i % 3},2024-01-0{i % 9 + 1},5\n" for i in range(40))
    text = f"a,b,c,d,e,f\n{rows}"
    for target, said in (
        ("c", "target c holds texts such as 'u', and several targets must be numbers; for classes, type dataset.target=c"),
        ("d", "target d holds texts such as '€0', and several targets must be numbers; write all of them with one sign"),
        ("e", "target e is a date"),
        ("f", "target f is 5 in every row"),
    ):
        with pytest.raises(DataError) as caught:
            read(text, target=["b", target])
        assert said in str(caught.value)


def test_a_single_name_is_a_list_of_one(read: Read) -> None:
    text = "a,b,2024,y\n1,2,3,0.5\n2,4,4,1.5\n3,7,9,2.5\n"
    assert read(text, columns="a").features == ("a",)
    assert read(text, drop=2024).features == ("a", "b")
    assert read(text, columns=["a"], categorical="a").features == ("a=1", "a=2", "a=3")
    assert read(text, target=["y"]).fingerprint == read(text).fingerprint


# What is to be learnt

MANY = [f"{i / 3:.3f}" for i in range(40)]


@pytest.mark.parametrize(
    ("targets", "task", "classes"),
    [
        (MANY, "regression", ()),
        ([i * 3 for i in range(40)], "regression", ()),
        ([i % 11 for i in range(200)], "regression", ()),
        ([i % 10 for i in range(39)], "regression", ()),
        ([i % 10 for i in range(40)], "multiclass", tuple("0123456789")),
        ([i % 3 - 1 for i in range(40)], "multiclass", ("-1", "0", "1")),
        (["1.0", "2.0", "3.0"] * 10, "multiclass", ("1", "2", "3")),
        ([0.5, 1.5, 2.5] * 10, "regression", ()),
        ([0, 1] * 10, "binary", ("0", "1")),
        ([0.25, 0.75] * 10, "binary", ("0.25", "0.75")),
        (["yes", "no", "no"] * 5, "binary", ("no", "yes")),
        (["TRUE", "False"] * 5, "binary", ("False", "TRUE")),
        (["cat", "dog"] * 5, "binary", ("cat", "dog")),
        (["cat", "dog", "ant"] * 5, "multiclass", ("ant", "cat", "dog")),
        (["10", "9", "b"] * 5, None, None),
        (["1a", "9", "b"] * 5, "multiclass", ("1a", "9", "b")),
    ],
)
def test_the_task_is_inferred(targets: list[object], task: str | None, classes: tuple[str, ...] | None, read: Read) -> None:
    text = "a,y\n" + "".join(f"{i % 7},{target}\n" for i, target in enumerate(targets))
    if task is None:
        with pytest.raises(DataError, match=r"y holds 'b'.*and the others are numbers"):
            read(text)
        return
    data = read(text)
    assert (data.task, data.classes) == (task, classes)
    assert f"target y: {task} (" in data.notes[0]


def test_the_task_may_be_given(read: Read) -> None:
    text = "a,y\n" + "".join(f"{i % 7},{i % 3}\n" for i in range(30))
    assert read(text).task == "multiclass"
    data = read(text, task="regression")
    assert (data.task, data.outputs, data.y.dtype) == ("regression", 1, np.float64)
    assert "regression, as given (3 different whole numbers)" in data.notes[0]
    two = "a,y\n" + "".join(f"{i % 7},{'ab'[i % 2]}\n" for i in range(30))
    assert read(two, task="multiclass").outputs == 2
    with pytest.raises(DataError, match="holds texts such as 'a', and a regression wants numbers"):
        read(two, task="regression")


def test_it_says_what_it_found(read: Read) -> None:
    rows = "".join(f"{i}.5,{'rgb'[i % 3]},{i % 2 == 0},2024-01-{i % 28 + 1:02},{i * 1.1:.2f}\n" for i in range(1000))
    data = read(f"size,color,on,sold,y\n{rows},r,,,0.00\n")
    assert data.notes == (
        "dataset my.csv: 1,001 rows, target y: regression (1,000 different numbers); "
        "1 numeric, 1 true or false, 1 categorical (color: 3), 1 date, 3 missing",
    )
    assert "categorical (a: 2 and missing)" in read(column("red", "", "blue", "red")).notes[0]
    assert "taken for" not in data.notes[0]
    assert "dataset.task=regression takes them for amounts" in read("a,y\n" + "1,1\n2,2\n3,3\n" * 5).notes[0]
    assert "separator ';', decimal mark ','" in read("a;y\n1,5;2,5\n2;3,5\n").notes[1]


# How the file is written

CELLS = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")) | st.sampled_from("\r\n\t\"'")
ROWS = st.lists(st.tuples(st.floats(-1e6, 1e6), st.text(CELLS, max_size=6), st.integers(-50, 50)), min_size=6, max_size=30)


@settings(max_examples=25, deadline=None)
@given(
    rows=ROWS,
    separator=st.sampled_from([",", ";", "\t", "|"]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    quoting=st.sampled_from([standard.QUOTE_MINIMAL, standard.QUOTE_ALL, standard.QUOTE_NONNUMERIC]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    together=st.integers(1, 5),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[float, str, int]],
    separator: str,
    end: str,
    quoting: Any,
    encoding: str,
    together: int,
) -> None:
    if quoting == standard.QUOTE_MINIMAL:  # the csv module may leave a lone line end unquoted
        rows = [(size, words.replace("\r", "").replace("\n", ""), count) for size, words, count in rows]
    rows = [(0.5, "", 1), (1.5, "", 2), *rows]
    text = io.StringIO()
    writer = standard.writer(text, delimiter=separator, lineterminator=end, quoting=quoting)
    writer.writerow(["size", 'words, and "quotes"', "count", "y"])
    for number, (size, words, count) in enumerate(rows):
        writer.writerow([size, f"x{words}", count, number + 0.25])
    path = tmp_path_factory.mktemp("written") / "my.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited, "FEWEST_ROWS", together)
        patch.setattr(delimited, "NUMBERS", together)
        patch.setattr(delimited, "MOST_NUMBERS", 4 * together)
        data = csv(path=str(path), target="y", columns=["size", 'words, and "quotes"', "count"], separator=separator)
    kept_rows = data.encoding
    assert kept_rows is not None
    expected = encode(
        {
            "size": [row[0] for row in rows],
            'words, and "quotes"': [f"x{row[1]}" for row in rows],
            "count": [row[2] for row in rows],
        },
        kept_rows,
    )
    assert np.array_equal(data.x, expected, equal_nan=True)
    assert data.y[:, 0].tolist() == [number + 0.25 for number in range(len(rows))]
    words = {f"x{row[1]}".strip() for row in rows}
    assert len(words) == 1 or sum("=" in name for name in data.features if name.startswith("words")) == len(words)


def test_numbers_are_those_of_python(read: Read) -> None:
    numbers = [*np.random.default_rng(0).normal(size=2000).tolist(), 1e-300, 5e-324, 1.7976931348623157e308, 0.1]
    assert read(column(*numbers)).x[:, 0].tolist() == numbers


# Large tables


def test_large_tables_are_float32_without_losing_small_differences(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draft, "DOUBLE", 0)
    monkeypatch.setattr(tabular, "DOUBLE", 0)
    degrees = [48.1371540 + i * 1e-6 for i in range(50)]
    seconds = [1.7e9 + i for i in range(50)]
    rows = "".join(f"{a:.7f},{b:.0f},{i % 5},{i}.5\n" for i, (a, b) in enumerate(zip(degrees, seconds, strict=True)))
    data = read(f"degrees,seconds,c,y\n{rows}")
    assert data.x.dtype == np.float32
    assert data.encoding is not None
    assert [code.offset for code in data.encoding.columns] == [degrees[0], seconds[0], 0.0]
    standard = (data.x - data.x.mean(0, dtype=np.float64)) / data.x.std(0, dtype=np.float64)
    exact = np.array(degrees, dtype=np.float64)
    assert np.allclose(standard[:, 0], (exact - exact.mean()) / exact.std(), atol=1e-3)
    again = encode({"degrees": degrees, "seconds": seconds, "c": [i % 5 for i in range(50)]}, data.encoding)
    assert np.allclose(again, data.x, atol=1e-6)
    with pytest.raises(DataError, match="a is infinite or too large"):
        read(column("1e39", "2"))


def test_columns_are_left_out_within_the_table_s_own_memory(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tabular, "_PIECE", 7)
    rows = "".join(f"{i},5,{i * 2},,{i * 3},{i}.5\n" for i in range(100))
    data = read(f"a,b,c,d,e,y\n{rows}")
    assert data.x.tolist() == [[i, i * 2, i * 3] for i in range(100)]
    assert data.x.flags.c_contiguous


# Once


def test_a_file_is_read_once_until_it_changes(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Path] = []
    examine = files.examine
    monkeypatch.setattr(files, "examine", lambda path, encoding: looked.append(path) or examine(path, encoding))
    data = read("a,y\n1,2.5\n2,3.5\n")
    assert csv(path=str(tmp_path / "my.csv"), target="y") is data
    assert len(looked) == 1
    assert csv(path=str(tmp_path / "my.csv"), target="a") is not data
    (tmp_path / "my.csv").write_text("a,y\n1,2.5\n2,3.5\n3,4.5\n")
    assert len(csv(path=str(tmp_path / "my.csv"), target="y")) == 3
    assert len(looked) == 3
    (tmp_path / "my.csv").write_text("a,y\n1\n")
    for _ in range(3):
        with pytest.raises(DataError, match="line 2"):
            csv(path=str(tmp_path / "my.csv"), target="y")
    assert len(looked) == 4


def test_not_all_tables_are_kept(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}.csv").write_text("a,y\n1,2.5\n2,3.5\n")
        csv(path=str(tmp_path / f"{number}.csv"), target="y")
    assert len(kept._kept) <= 4


def test_a_failure_is_tried_again_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def load() -> Data:
        tries.append(1)
        raise DataError("not now")

    now = [0.0]
    monkeypatch.setattr(kept.time, "monotonic", lambda: now[0])
    for moment in (0.0, 30.0, 61.0, 90.0):
        now[0] = moment
        with pytest.raises(DataError, match="not now"):
            kept.once(("test", "a failure"), load, patience=60.0)
    assert len(tries) == 2


def test_a_gzip_file_is_the_file_in_it(read: Read, tmp_path: Path) -> None:
    text = column(*range(50)).encode()
    assert read(gzip.compress(text)).fingerprint == read(text).fingerprint


# Fitted on training rows


def test_preprocessing_equals_scikit_learn_fitted_on_training_rows(read: Read) -> None:
    rng = np.random.default_rng(3)
    rows = [
        [
            "" if rng.random() < 0.2 else f"{rng.normal(5, 3):.3f}",
            ""
            if rng.random() < 0.2
            else str(rng.choice(["red", "green", "blue", f"rare{rng.integers(4)}"], p=[0.4, 0.3, 0.25, 0.05])),
            f"{rng.normal():.3f}",
        ]
        for _ in range(120)
    ]
    data = read("size,color,y\n" + "".join(f"{','.join(row)}\n" for row in rows))
    train = split(data, seed=1, test=0.3, validation=0.2).train
    mine = fit(data, train).inputs(data.x)

    sizes = np.array([[float(row[0] or "nan")] for row in rows])
    colors = np.array([[row[1]] for row in rows], dtype=object)
    numeric = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    reference = ColumnTransformer([("n", numeric, [0]), ("c", OneHotEncoder(handle_unknown="ignore"), [1])], sparse_threshold=0)
    table = np.concatenate((sizes.astype(object), colors), axis=1)
    theirs = reference.fit(table[train]).transform(table)
    known = list(reference.named_transformers_["c"].categories_[0])
    names = [name.removeprefix("color=").replace("(missing)", "") for name in data.features[1:]]
    assert set(known) < set(names), "a category that training never met is what the test is about"
    assert np.allclose(mine[:, :1], theirs[:, :1].astype(float))
    for place, name in enumerate(names, 1):
        expected = theirs[:, 1 + known.index(name)].astype(float) if name in known else np.zeros(len(rows))
        assert np.array_equal(mine[:, place], expected), name


@pytest.mark.parametrize("standardize", [True, False])
def test_a_category_that_training_never_met_has_no_effect(standardize: bool, read: Read) -> None:
    data = read(column(*("ab"[i % 2] if i else "c" for i in range(20))))
    train = np.arange(1, 20)
    inputs = fit(data, train, standardize=standardize).inputs(data.x)
    assert inputs[0].tolist() == [0.0, 0.0, 0.0]
    assert inputs[1:].tolist() == data.x[1:].tolist()


def test_rows_outside_training_change_nothing(read: Read) -> None:
    train = np.arange(20)
    first = column(*range(20), 100, "", 3)
    second = column(*range(20), -7, 5, "")
    fitted = [fit(read(text), train).to_json() for text in (first, second)]
    assert fitted[0] == fitted[1]


# What is kept


def test_the_encoding_is_plain_json_and_encodes_the_same(read: Read, tmp_path: Path) -> None:
    import json

    rows = "".join(
        f"{'' if i % 9 == 4 else i / 4},{['red', 'blue', '', '=SUM(1)'][i % 4]},{['yes', 'no', ''][i % 3]},"
        f"{'' if i % 11 == 5 else f'2024-{i % 12 + 1:02}-{i % 28 + 1:02} {i % 24:02}:30'},{i}.5\n"
        for i in range(48)
    )
    data = read(f"size,color,on,sold,y\n{rows}")
    assert data.encoding is not None
    encoding = Encoding.from_json(json.loads(json.dumps(data.encoding.to_json(), allow_nan=False)))
    assert encoding == data.encoding
    assert encoding.features == data.features
    as_texts = pandas.read_csv(tmp_path / "my.csv", dtype=str, keep_default_na=False)
    as_values = pandas.read_csv(tmp_path / "my.csv", parse_dates=["sold"])
    as_values["on"] = as_values["on"].map({"yes": True, "no": False}).astype("boolean")
    as_values["color"] = as_values["color"].astype("category")
    by_hand = {name: as_values[name].astype(object).where(as_values[name].notna(), None).tolist() for name in as_values}
    for frame in (as_texts, as_values, by_hand):
        assert np.array_equal(encode(frame, encoding), data.x, equal_nan=True)


def test_new_rows_that_cannot_be_encoded_are_told(read: Read) -> None:
    data = read("size,color,sold,y\n1,red,2024-01-01,0.5\n2,blue,2024-02-01,1.5\n3,red,2024-03-03,2.5\n")
    assert data.encoding is not None
    with pytest.raises(DataError) as caught:
        encode({"size": ["1", "x"], "sold": ["2024-01-01", "soon"]}, data.encoding)
    assert caught.value.problems == (
        "column size: row 2 holds 'x', and it wants numbers",
        "column color: is missing; the model was trained with it",
        "column sold: row 2 holds 'soon', and it wants dates such as 2024-01-31",
    )
    rows = {"size": [1, 2], "color": ["red", "green"], "sold": ["2024-01-01"] * 2}
    assert encode(rows, data.encoding)[1, 1:3].tolist() == [0, 0]
    with pytest.raises(DataError, match="one length"):
        encode(rows | {"size": [1]}, data.encoding)
    with pytest.raises(DataError, match="infinite"):
        encode(rows | {"size": [1, math.inf]}, data.encoding)
    with pytest.raises(DataError, match="lists or other things"):
        encode(rows | {"color": [["red"], "blue"]}, data.encoding)
    with pytest.raises(DataError, match="column size: stands in the table 2 times"):
        encode(pandas.DataFrame([[1, 2, "red", "2024-01-01"]], columns=["size", "size", "color", "sold"]), data.encoding)


KINDS = "size,color,on,sold,y\n" + "".join(
    f"{i % 5},{'rgb'[i % 3]},{i % 2 == 0},2024-0{i % 4 + 1}-1{i % 9},{i}.5\n" for i in range(40)
)
STAMP = pandas.Timestamp("2024-02-03 06:00")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"size": [pandas.NaT, STAMP]}, "column size: row 2 holds 2024-02-03, and it wants numbers"),
        ({"sold": [1, 2]}, "column sold: row 1 holds 1, and it wants dates such as 2024-01-31"),
        ({"sold": [math.nan, 7.5]}, "column sold: row 2 holds 7.5, and it wants dates"),
        ({"sold": [True, False]}, "column sold: row 1 holds True, and it wants dates"),
        ({"on": [1, 7]}, "column on: row 2 holds 7, and it wants true or false"),
        ({"on": [STAMP, STAMP]}, "column on: row 1 holds 2024-02-03, and it wants true or false"),
        ({"on": ["1", "true"]}, "column on: row 1 holds '1', and it wants true or false"),
    ],
)
def test_values_of_another_kind_are_refused(given: dict[str, list[Any]], said: str, read: Read) -> None:
    encoding = read(KINDS).encoding
    assert encoding is not None
    rows = {"size": [1, 2], "color": ["r", "g"], "on": [True, False], "sold": ["2024-01-10", "2024-01-11"]}
    with pytest.raises(DataError) as caught:
        encode(pandas.DataFrame(rows | given), encoding)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"size": ["3", "4.0"]}, {"size": [3, 4]}),
        ({"size": [True, False]}, {"size": [1, 0]}),
        ({"size": pandas.array([3, None], dtype="Int64")}, {"size": [3, None]}),
        ({"size": [None, None]}, {"size": [None, None]}),
        ({"size": [pandas.NaT, pandas.NaT]}, {"size": [None, None]}),
        ({"on": [1, math.nan]}, {"on": [1, None]}),
        ({"on": pandas.array([True, None], dtype="boolean")}, {"on": [1, None]}),
        ({"on": ["TRUE", ""]}, {"on": [1, None]}),
        ({"on": [math.nan, math.nan]}, {"on": [None, None]}),
        ({"sold": [math.nan, math.nan]}, {"sold.days": [None, None], "sold.month": [None, None]}),
        ({"sold": [pandas.Timestamp("2024-02-10"), pandas.NaT]}, {"sold.days": [19763, None], "sold.month": [2, None]}),
        ({"color": [None, math.nan]}, {"color=r": [0, 0], "color=g": [0, 0]}),
        ({"color": pandas.Categorical(["g", "r"])}, {"color=r": [0, 1], "color=g": [1, 0]}),
    ],
)
def test_values_of_other_types_are_taken(given: dict[str, Any], expected: dict[str, list[float | None]], read: Read) -> None:
    encoding = read(KINDS).encoding
    assert encoding is not None
    rows = {"size": [1, 2], "color": ["r", "g"], "on": [True, False], "sold": ["2024-01-10", "2024-01-11"]}
    found = dict(zip(encoding.features, plain(encode(pandas.DataFrame(rows | given), encoding).T), strict=True))
    assert {name: found[name] for name in expected} == expected


@pytest.mark.filterwarnings("ignore:column a")
@pytest.mark.parametrize(
    ("categories", "given", "places"),
    [
        (("1.0", "2.0", ""), [1, 2.0, math.nan], [1, 2, 0]),
        (("1.0", "2.0", ""), ["1", "2.00", ""], [None, None, 0]),
        (("01234", "99"), [1234, 99.0], [0, 1]),
        (("01234", "1234"), [1234, "01234"], [1, 0]),
        (("01.0", "1.0"), [1, 1.0], [None, None]),
        (("1", "2", "unknown"), [1.0, 2], [0, 1]),
        (("1.0", "2.0", "unknown"), ["1.0", "2"], [0, None]),
        (("A1", "17"), [17, 17.0], [0, 0]),
        (("-9", "1.0"), [-999, 1], [None, 1]),
        (("False", "True", "unknown"), [True, False], [1, 0]),
        (("no", "unknown", "yes"), [True, False], [2, 0]),
        (("0", "1"), [True, False], [1, 0]),
        (("EU", "NA"), [None, "EU", math.nan, "NA"], [1, 0, 1, 1]),
        (("", "EU", "NA"), [None, "EU", "NA"], [0, 1, 2]),
        (("EU", "NA", "none"), [None, "EU"], [None, 0]),
        (("2024-01-10", "never"), [pandas.Timestamp("2024-01-10")] * 2, [0, 0]),
    ],
)
def test_categories_are_known_by_what_they_mean(
    categories: tuple[str, ...], given: list[Any], places: list[int | None], read: Read
) -> None:
    text = "a,y\n" + "".join(f"{category},{i}.5\n" for i, category in enumerate(categories * 10))
    encoding = read(text, categorical=["a"], missing=["-999"]).encoding
    assert encoding is not None
    known = encoding.columns[0].categories
    expected = [[float(place is not None and k == place) for k in range(len(known))] for place in places]
    assert encode({"a": given}, encoding).tolist() == expected


def test_a_column_that_hardly_has_a_known_category_is_told(read: Read) -> None:
    encoding = read(column("red", "green", "blue", "red", "green", "")).encoding
    assert encoding is not None
    for silent in (["pink"], ["pink", "pink"], ["pink", "red"], ["pink", "", "rose", "blue"], ["", None], []):
        assert len(encode({"a": silent}, encoding)) == len(silent)
    with pytest.warns(UserWarning, match="column a: 3 of 3 values are none of the categories of the training, blue, green, red"):
        encode({"a": ["Red", "Green", "Blue", ""]}, encoding)
    with pytest.warns(UserWarning, match="column a: 19 of 20 .*: 0, 1, 2 and 16 more; spell them as there"):
        encode({"a": [*range(19), "red"]}, encoding)


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"columns": [], "decimal": "."},
        {"columns": [{"name": "a"}], "decimal": ".", "missing": []},
        {"columns": [{"name": "a", "kind": "magic"}], "decimal": ".", "missing": []},
        {"columns": [{"name": "a", "kind": "numeric", "run": "os.getcwd"}], "decimal": ".", "missing": []},
        {"columns": [{"name": "a", "kind": "numeric", "offset": "1"}], "decimal": ".", "missing": []},
        {"columns": [{"name": "a", "kind": "categorical", "categories": [1]}], "decimal": ".", "missing": []},
        {"columns": [{"name": "a", "kind": "date", "parts": ["year"]}], "decimal": ".", "missing": []},
        {"columns": [], "decimal": "x", "missing": []},
        {"columns": 3, "decimal": ".", "missing": []},
    ],
)
def test_a_damaged_encoding_is_refused(content: Any) -> None:
    with pytest.raises(DataError, match=r"encoding: .*damaged"):
        Encoding.from_json(content)


def test_the_encoding_is_part_of_the_fingerprint(read: Read) -> None:
    day_first = read(column("13/4/2024", "13/4/2024", "14/4/2024"))
    month_first = read(column("4/13/2024", "4/13/2024", "4/14/2024"))
    assert np.array_equal(day_first.x, month_first.x)
    assert day_first.fingerprint != month_first.fingerprint


def test_names_of_features_differ(read: Read) -> None:
    data = read('a,a=x,y\n"x",1,0.5\nz,2,1.5\n"x",3,2.5\n')
    assert data.features == ("a=x", "a=z", "a=x (2)")


@pytest.mark.skipif(os.name != "posix", reason="the home folder is found by HOME")
def test_a_path_may_begin_in_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my.csv").write_text("a,y\n1,2.5\n2,3.5\n")
    assert len(csv(path="~/my.csv", target="y")) == 2
