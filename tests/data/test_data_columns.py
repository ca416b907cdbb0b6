"""Codes, dates, times, amounts and missing values as people write them: what a column becomes, and what is said of it."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dlrun.data.dataset import Data
from dlrun.data.sources import kept
from dlrun.data.sources.files import csv
from dlrun.data.sources.real import breast_cancer
from dlrun.data.sources.tables import imbalanced
from dlrun.data.table.encoding import Encoding, encode
from dlrun.data.table.tabular import of_frame
from dlrun.errors import DataError

Read = Callable[..., Data]


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Read:
    """``read("a,y\\n1,2\\n")``: that text as a dataset with target y."""
    folder = tmp_path_factory.mktemp("tables")

    def make(text: str, **settings: Any) -> Data:
        kept._kept.clear()
        (folder / "my.csv").write_text(text)
        return csv(**({"path": str(folder / "my.csv"), "target": "y"} | settings))

    return make


def column(*cells: object) -> str:
    """A table with one feature, and targets that are none of its business."""
    return "a,y\n" + "".join(f'"{cell}",{row + 0.5}\n' for row, cell in enumerate(cells))


def values(data: Data) -> list[Any]:
    found = [[None if value != value else round(value, 4) for value in row] for row in data.x.tolist()]
    return [row[0] if len(row) == 1 else row for row in found]


# Amounts


@pytest.mark.parametrize(
    ("cells", "numbers", "said"),
    [
        (("$65,806.58", "$5", "$1,234.00", ""), [65806.58, 5, 1234, None], "thousands separator ',' and sign '$' in a"),
        (("€1.234,56", "€2,50", "€10"), [1234.56, 2.5, 10], "thousands separator '.' and decimal mark ',' and sign '€' in a"),
        (("(1,234.50)", "2,000.00", "(3.00)", "7"), [-1234.5, 2000, -3, 7], "negative numbers in parentheses in a"),
        (("12%", "5.5%", "0"), [12, 5.5, 0], "sign '%' in a"),
        (("1234 kr", "99,50 kr", "12 kr"), [1234, 99.5, 12], "decimal mark ',' and sign 'kr' in a"),
        (("1'234.50 CHF", "5 CHF", "12.25 CHF"), [1234.5, 5, 12.25], "sign 'CHF' in a"),
        (("-$5.00", "$-6.25", "$7", "5-"), [-5, -6.25, 7, -5], "sign '$' in a"),
        (("USD 5", "USD 6.5", "n/a"), [5, 6.5, None], "sign 'USD' in a"),
        (("£1,000", "£2,500", "£300"), [1000, 2500, 300], "thousands separator ',' and sign '£' in a"),
        (("1 234,50 €", "2 000,00 €"), [1234.5, 2000], "sign '€' in a"),
    ],
)
def test_amounts_are_numbers(cells: tuple[str, ...], numbers: list[float | None], said: str, read: Read) -> None:
    data = read(column(*cells))
    assert values(data) == numbers
    assert said in data.notes[1]
    assert data.encoding is not None
    assert Encoding.from_json(data.encoding.to_json()) == data.encoding
    again = encode(pandas.DataFrame({"a": cells}), data.encoding)
    assert np.array_equal(again, data.x, equal_nan=True)
    assert encode({"a": [7.5]}, data.encoding).tolist() == [[7.5]]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (("12%", "0.3", "5%", "0.4"), "write '%' in all of them or in none"),
        (("$5", "€6", "$5", "€6"), "write all of them with one sign instead of '$', '€'"),
        (("€1.234", "€2.500", "€1.234"), "type dataset.thousands=. if that groups the digits, or dataset.decimal=. if it is the"),
    ],
)
def test_amounts_that_may_be_read_in_two_ways_are_texts(cells: tuple[str, ...], said: str, read: Read) -> None:
    data = read(column(*cells, *cells))
    assert data.encoding is not None
    assert data.encoding.columns[0].kind == "categorical"
    assert said in data.notes[1]


def test_what_is_offered_for_amounts_works(read: Read) -> None:
    text = "a,y\n€1.234,1\n€2.500,2\n€1.459,3\n"
    assert values(read(text, decimal=".")) == [1.234, 2.5, 1.459]
    assert values(read(text, thousands=".")) == [1234, 2500, 1459]


def test_a_sign_in_later_rows_alone(read: Read) -> None:
    cells = [str(i % 50) for i in range(1500)] + [f"${1000 + i:,}.50" for i in range(100)]
    assert values(read(column(*cells)))[-1] == 1099.5


# Dates and times of day


@pytest.mark.parametrize(
    ("cells", "parts", "rows"),
    [
        (("14:05", "3:04", ""), ("a",), [14.0833, 3.0667, None]),
        (("3:04 PM", "12:00 AM", "11:15 am"), ("a",), [15.0667, 0, 11.25]),
        (("1/31/16", "2/1/16", "12/31/99"), ("a.days", "a.month", "a.weekday"), [[16831, 1, 6], [16832, 2, 0], [10956, 12, 4]]),
        (("31/1/16", "1/2/16"), ("a.days", "a.month", "a.weekday"), [[16831, 1, 6], [16832, 2, 0]]),
        (("31.01.16", "01.02.16"), ("a.days", "a.month", "a.weekday"), [[16831, 1, 6], [16832, 2, 0]]),
        (("Jan 1 2000", "Feb 3 2001", "Mar 5 1960"), ("a.days", "a.month"), [[10957, 1], [11356, 2], [-3589, 3]]),
        (("1 January 2000", "Sat, 3 Feb 2001", "5-Mar-60"), ("a.days", "a.month", "a.weekday"), None),
        (("1/31/2016 3:04 PM", "2/1/2016 3:04 PM"), ("a.days", "a.month", "a.weekday"), [[16831.6278, 1, 6], [16832.6278, 2, 0]]),
        (("Sat Jan 31 14:05:00 2015", "2015-02-01 14:05Z"), ("a.days", "a.month", "a.weekday"), None),
        (("1066-10-14", "3024-10-15"), ("a.days", "a.weekday"), None),
    ],
)
def test_dates_and_times(cells: tuple[str, ...], parts: tuple[str, ...], rows: list[Any] | None, read: Read) -> None:
    data = read(column(*cells))
    assert data.features == parts
    assert rows is None or values(data) == rows
    assert data.encoding is not None
    assert np.array_equal(encode(pandas.DataFrame({"a": cells}), data.encoding), data.x, equal_nan=True)


def test_dates_whose_day_and_month_may_be_exchanged_are_told(read: Read) -> None:
    text = column(*["1/2/16", "3/4/16", "5/6/16"] * 3)
    data = read(text)
    assert data.features == ("a=1/2/16", "a=3/4/16", "a=5/6/16")
    assert "such as '1/2/16': for dates that end with the year, type dataset.day_first=true if the day" in data.notes[1]
    assert values(read(text, day_first=True))[0][:2] == [16832, 2]
    assert values(read(text, day_first=False))[0][:2] == [16802, 1]


def test_versions_and_durations_are_no_dates(read: Read) -> None:
    for cells in (["1.2.16", "1.2.17"], ["75:30", "14:05", "80:15"], ["12-2024-01", "13-2024-02"], ["Mar", "Apr"]):
        encoding = read(column(*cells * 3)).encoding
        assert encoding is not None
        assert encoding.columns[0].kind == "categorical"


def test_a_target_of_times_is_classes(read: Read) -> None:
    data = read("a,y\n" + "".join(f"{i},{8 + i % 3}:30\n" for i in range(30)))
    assert data.classes == ("10:30", "8:30", "9:30")
    with pytest.raises(DataError, match=r"target y is a date; .* for classes, type dataset\.categorical=\[y\]"):
        read("a,y\n" + "".join(f"{i},2024-01-0{1 + i % 3}\n" for i in range(30)))


def test_times_of_pandas_are_times(read: Read) -> None:
    import datetime

    encoding = read(column("14:05", "3:04")).encoding
    assert encoding is not None
    assert encode({"a": [datetime.time(6, 30), None]}, encoding).tolist()[0] == [6.5]


# Codes


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (("01234", "99999"), "codes such as 01234 are read as numbers in a (if they are names, type dataset.categorical=[a])"),
        (("1e3", "12", "1000"), "codes such as 1e3 are read as numbers in a"),
        (("+491234567", "491234568"), "codes such as +491234567 are read as numbers in a"),
        (("1.1", "1.2", "1.10"), "1.1 and 1.10 are one number in a (if they are names, type dataset.categorical=[a])"),
        (("1234567890123456781", "5"), "whole numbers beyond 2^53 are rounded in a (if they are names, type"),
    ],
)
def test_numbers_that_may_be_names_are_told(cells: tuple[str, ...], said: str, read: Read) -> None:
    data = read(column(*cells))
    assert said in data.notes[1]
    assert sorted(read(column(*cells * 2), categorical=["a"]).features) == sorted(f"a={cell}" for cell in cells)


def test_measurements_are_no_codes(read: Read) -> None:
    assert len(read(column("1.50", "2.25", "0.5", "7", "7.0", "-0.30", "1e-05", "1.5e+10", "0")).notes) == 1


def test_a_code_in_later_rows_alone_is_told(read: Read) -> None:
    rows = "".join(f"{1000 + i},{i % 7 + 0.25},{i}\n" for i in range(9000))
    assert len(read(f"zip,b,y\n{rows}").notes) == 1
    assert "codes such as 0123 are read as numbers in zip" in read(f"zip,b,y\n{rows}0123,1.5,9000\n").notes[1]


def test_class_labels_are_never_merged(read: Read) -> None:
    text = "y,a\n" + "".join(f"123456789012345678{i % 3},{i}.5\n" for i in range(30))
    with pytest.raises(
        DataError, match=r"beyond 2\^53, of which different ones become one; for classes, type dataset\.categorical"
    ):
        read(text)
    assert read(text, categorical=["y"]).classes == tuple(f"123456789012345678{i}" for i in range(3))
    table = pandas.DataFrame({"y": [1234567890123456780 + i % 3 for i in range(30)], "a": np.arange(30.0)})
    assert of_frame("t", table, targets=["y"], categorical=["y"]).outputs == 3


def test_a_mark_that_is_a_code_is_that_text(read: Read) -> None:
    assert values(read(column("7", "007", "8"), missing=["007"])) == [7, None, 8]
    assert values(read(column("7", "-999.0", "8", "-999"), missing=[-999])) == [7, None, 8, None]


def test_new_rows_with_other_codes(read: Read) -> None:
    encoding = read(column(*["01", "02", "10"] * 4), categorical=["a"]).encoding
    assert encoding is not None
    with pytest.warns(UserWarning, match="column a: 1: none of the categories of the training, .* 01 instead of 1"):
        assert encode({"a": ["1", "01"]}, encoding).tolist() == [[0, 0, 0], [1, 0, 0]]
    with pytest.warns(UserWarning, match="numbers stand for codes of the training, 1 for 01"):
        assert encode({"a": [1, 10]}, encoding).tolist() == [[1, 0, 0], [0, 0, 1]]
    long = read(column(*["1234567890123456781", "1234567890123456782"] * 4), categorical=["a"]).encoding
    assert long is not None
    assert encode({"a": [1234567890123456783, 1234567890123456782]}, long).tolist() == [[0, 0], [0, 1]]


# Missing values


def r_file(*, quoted: bool = True, label: str = "NA") -> str:
    rows = [(i, "NA" if i % 4 == 0 else i / 2, label if i % 5 == 0 else f'"{["m", "f"][i % 2]}"') for i in range(40)]
    text = '"","age","sex"\n' + "".join(f'"{i}",{age},{sex}\n' for i, age, sex in rows)
    return text if quoted else text.replace('"', "")


def test_a_bare_na_among_quoted_texts_is_missing(read: Read) -> None:
    data = read(r_file(), target="sex")
    assert (data.classes, len(data)) == (("f", "m"), 32)
    assert read(r_file(), target="age").features == ("sex=(missing)", "sex=f", "sex=m")


def test_another_na_is_a_label_and_told(read: Read) -> None:
    for text in (r_file(quoted=False), r_file(label='"NA"')):
        data = read(text, target="sex", columns=["age"])
        assert data.classes == ("NA", "f", "m")
        assert "'NA' is a category of sex (if it means a missing value, type dataset.missing=[NA])" in data.notes[1]
        assert read(text, target="sex", columns=["age"], missing=["NA"]).classes == ("f", "m")
    for label in ('"None"', "None"):
        data = read(r_file(label=label), target="sex", columns=["age"])
        assert data.classes == ("None", "f", "m")
        assert "category of sex" not in " ".join(data.notes)


def test_a_quoted_cell_with_separators_stays_whole(read: Read) -> None:
    text = 'a,b,y\n"x,NA,""q""",NA,1.5\n"u",NA,2.5\n"u","v",3.5\n"x,NA,""q""","v",4.5\n"u","w",5.5\n'
    assert read(text).features == ("a=u", 'a=x,NA,"q"', "b=(missing)", "b=v", "b=w")


# Targets


def test_a_count_with_a_lonely_value_is_a_regression(read: Read) -> None:
    text = "a,kids\n" + "".join(f"{i % 23},{7 if i == 5 else i % 4}\n" for i in range(60))
    data = read(text, target="kids")
    assert data.task == "regression"
    assert "dataset.task=multiclass takes them for classes" in data.notes[0]
    assert read(text, target="kids", task="multiclass").outputs == 5
    assert read(text.replace("7\n", "3\n"), target="kids").task == "multiclass"


def test_the_positive_class(read: Read) -> None:
    text = "a,y\n" + "".join(f"{i},{['churned', 'stayed'][i % 3 > 0]}\n" for i in range(30))
    usual, turned = read(text), read(text, positive="churned")
    assert (usual.classes, turned.classes) == (("churned", "stayed"), ("stayed", "churned"))
    assert (usual.y + turned.y == 1).all()
    assert "positive class churned" in turned.notes[1]
    with pytest.raises(DataError, match="no such class; the classes are churned, stayed; type dataset") as refused:
        read(text, positive="churn")
    assert shlex.split(str(refused.value).rpartition("type ")[2]) == ["dataset.positive=churned"]
    with pytest.raises(DataError, match=r"has the task regression, and a positive class is one of two; leave"):
        read(text, target="a", positive="1")
    codes = "a,y\n" + "".join(f"{i},{['007', '7'][i % 2]}\n" for i in range(30))
    assert read(codes, categorical=["y"], positive="007").classes == ("7", "007")
    assert read(codes.replace("007", "0"), positive=0).classes == ("7", "0")
    assert read(codes.replace("007", "True").replace(",7", ",False"), positive="False").classes == ("True", "False")


def test_the_positive_class_of_other_datasets() -> None:
    assert breast_cancer(positive="malignant").classes == ("benign", "malignant")
    assert int(breast_cancer(positive="malignant").y.sum()) == 212
    assert int(imbalanced(positive="majority").y.sum()) == 1900
    frame = pandas.DataFrame({"a": np.arange(40.0), "y": ["u", "v"] * 20})
    assert of_frame("t", frame, targets=["y"], positive="u").classes == ("v", "u")
    with pytest.raises(DataError, match="has 3 classes"):
        of_frame("t", frame.assign(y=["u", "v", "w", "u"] * 10), targets=["y"], positive="u")


def test_the_positive_class_of_a_run(folder: Path, call: Callable[..., tuple[int, str, str]]) -> None:
    import dlrun

    Path("my.csv").write_text("a,y\n" + "".join(f"{i % 20},{['no', 'yes'][i % 20 > 12]}\n" for i in range(200)))
    common = ["dataset=csv", "dataset.path=my.csv", "dataset.target=y", "model=linear", "optimizer.lr=0.1", "trainer.epochs=40"]
    code, _, err = call(*common, "dataset.positive=no")
    assert code == 0
    assert "positive class no" in err
    (record,) = Path("outputs/runs").glob("*/result.json")
    run = dlrun.load(record.parent)
    assert run.record.data["positive"] == "no"
    assert run.classes == ("yes", "no")
    low, high = run.predict([[0], [19]])
    assert low > 0.9 > 0.1 > high


# All of it against pandas

CODES = st.from_regex(r"[A-F][0-9]{2}|0[0-9]{3}", fullmatch=True)
AMOUNTS = st.integers(-(10**7), 10**7)
MOMENTS = st.datetimes(pandas.Timestamp("1900-01-01"), pandas.Timestamp("2100-01-01"))
FORMATS = ("%Y-%m-%d %H:%M:%S", "%d %b %Y %H:%M", "%B %d, %Y", "%m/%d/%Y %I:%M %p", "%a %b %d %H:%M:%S %Y")


@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(st.tuples(CODES, AMOUNTS, MOMENTS), min_size=25, max_size=40),
    form=st.sampled_from(FORMATS),
    sign=st.sampled_from(["${}", "{} €", "USD {}", "{} kr"]),
    accounting=st.booleans(),
)
def test_features_agree_with_pandas(rows: list[Any], form: str, sign: str, accounting: bool, read: Read) -> None:
    cents = np.array([amount for _, amount, _ in rows], dtype=np.float64) / 100
    shown = [f"({abs(c):,.2f})" if accounting and c < 0 else sign.format(f"{c:,.2f}") for c in cents]
    moments = pandas.Series([moment for *_, moment in rows]).astype("datetime64[us]")
    table = pandas.DataFrame(
        {
            "code": [f"x{code}" for code, _, _ in rows],
            "amount": shown,
            "when": moments.dt.strftime(form),
            "n": np.arange(len(rows)) % 2,
            "y": np.arange(len(rows)) + 0.5,
        }
    )
    first = form.startswith("%d")
    data = read(table.to_csv(index=False), columns=["code", "amount", "when", "n"], day_first=first)
    assert data.encoding is not None
    kinds = {code.name: code for code in data.encoding.columns}
    found = pandas.DataFrame(data.x, columns=list(data.features))
    if "amount" in kinds:
        assert kinds["amount"].kind == "numeric"
        assert np.array_equal(found["amount"], cents)
    known = pandas.to_datetime(table["when"], format=form)
    days = known.to_numpy().astype("datetime64[us]").astype(np.int64) / 86400e6
    for name, wanted in (
        ("days", days),
        ("month", known.dt.month),
        ("weekday", known.dt.day_of_week),
        ("hour", known.dt.hour + known.dt.minute / 60 + known.dt.second / 3600),
    ):
        if f"when.{name}" in found:
            assert np.allclose(found[f"when.{name}"], wanted, rtol=0, atol=2e-6)
        else:
            assert wanted.nunique() == 1 if hasattr(wanted, "nunique") else len(set(wanted)) == 1
    dummies = pandas.get_dummies(table["code"], prefix="code", prefix_sep="=").astype(float)
    if "code" in kinds:
        assert found[list(dummies.columns)].equals(dummies)
    assert np.array_equal(encode(table, data.encoding), data.x)
