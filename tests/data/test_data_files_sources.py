"""Parquet files, whose columns have types, and openml.org, by its recorded answers."""

import datetime
import decimal
import gzip
import json
import shutil
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dlrun.data.sources.files import csv, parquet
from dlrun.data.sources.openml import openml
from dlrun.data.table.encoding import encode
from dlrun.data.table.tabular import of_frame
from dlrun.errors import DataError

# Parquet


def test_typed_columns_of_amounts_in_words_are_hinted_at() -> None:
    frame = pd.DataFrame({"a": ["$1", "$2"] * 5, "b": range(10), "y": [i / 2 for i in range(10)], "z": range(10)})
    data = of_frame("my table", frame, targets=["y", "z"])
    assert data.y.tolist() == [[i / 2, i] for i in range(10)]
    assert data.notes[1] == "dataset my table: a taken as texts, such as '$1': store them as numbers"


def table() -> pd.DataFrame:
    rows = range(60)
    frame = pd.DataFrame(
        {
            "id": [f"u{i}" for i in rows],
            "size": [i / 4 for i in rows],
            "count": pd.array([None if i == 3 else i % 7 for i in rows], dtype="Int64"),
            "on": pd.array([None if i == 5 else i % 2 == 0 for i in rows], dtype="boolean"),
            "color": pd.Categorical([None if i == 7 else "rgb"[i % 3] for i in rows]),
            "shape": [f" {'sml'[i % 3]}" for i in rows],
            "sold": [pd.NaT if i == 9 else pd.Timestamp("2024-01-01") + pd.Timedelta(days=i) for i in rows],
            "seen": pd.to_datetime([1.7e9 + 3600 * i for i in rows], unit="s", utc=True),
            "born": [datetime.date(2000, 1 + i % 12, 1) for i in rows],
            "paid": [decimal.Decimal(i) / 4 for i in rows],
            "nothing": [None] * 60,
        }
    )
    return frame.assign(y=[i * 1.5 for i in rows])


@pytest.fixture
def written(tmp_path: Path) -> str:
    pytest.importorskip("pyarrow")
    table().to_parquet(tmp_path / "my.parquet", row_group_size=25)
    return str(tmp_path / "my.parquet")


def test_parquet_columns_are_what_their_types_say(written: str) -> None:
    data = parquet(path=written, target="y")
    assert data.encoding is not None
    assert [(code.name, code.kind) for code in data.encoding.columns] == [
        ("size", "numeric"),
        ("count", "numeric"),
        ("on", "boolean"),
        ("color", "categorical"),
        ("shape", "categorical"),
        ("sold", "date"),
        ("seen", "date"),
        ("born", "date"),
        ("paid", "numeric"),
    ]
    assert data.features[3:10] == ("color=(missing)", "color=b", "color=g", "color=r", "shape=l", "shape=m", "shape=s")
    assert np.array_equal(encode(table(), data.encoding), data.x, equal_nan=True)
    assert data.notes[1] == "dataset my.parquet: left out: id (a text of its own for every row); nothing (no values)"


def test_parquet_in_pieces_is_parquet_at_once(written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = parquet(path=written, target="y")
    shutil.copy(written, tmp_path / "other.parquet")
    monkeypatch.setattr("dlrun.data.table.read_parquet._BATCH", 7)
    assert parquet(path=str(tmp_path / "other.parquet"), target="y").fingerprint == whole.fingerprint


def test_parquet_equals_csv(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    frame = table()[["size", "count", "color", "sold", "y"]]
    frame.to_parquet(tmp_path / "my.parquet")
    frame.to_csv(tmp_path / "my.csv", index=False)
    one, other = parquet(path=str(tmp_path / "my.parquet"), target="y"), csv(path=str(tmp_path / "my.csv"), target="y")
    assert one.features == other.features
    assert np.array_equal(one.x, other.x, equal_nan=True)
    assert np.array_equal(one.y, other.y)


def test_parquet_targets(written: str) -> None:
    assert parquet(path=written, target="on", columns=["size"]).classes == ("false", "true")
    assert parquet(path=written, target="shape").classes == ("l", "m", "s")
    assert len(parquet(path=written, target="count")) == 59
    assert parquet(path=written, target="y", columns=["count"], categorical=["count"]).features[0] == "count=(missing)"
    with pytest.raises(DataError, match="target sold is a date"):
        parquet(path=written, target="sold")


def test_the_index_of_a_parquet_file(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = str(tmp_path / "my.parquet")
    frame = table()[["size", "y"]].sample(frac=1, random_state=0)
    frame.to_parquet(path)
    data = parquet(path=path, target="y")
    assert data.features == ("size",)
    assert data.notes[1] == "dataset my.parquet: left out: __index_level_0__ (an index without a name)"
    assert parquet(path=path, target="y", columns=["size", "__index_level_0__"]).features == ("size", "__index_level_0__")
    assert parquet(path=path, target="y", drop=["__index_level_0__"]).features == ("size",)
    frame.assign(k=range(60), shift=[i % 3 for i in range(60)]).set_index(["k", "shift"]).to_parquet(path)
    assert parquet(path=path, target="y").features == ("size", "k", "shift")


def test_bad_parquet_files(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    path = tmp_path / "my.parquet"
    for content in (b"PAR1", b"\0\1", b"PAR1" + bytes(100) + b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"my.parquet: is no Parquet file, or a damaged one"):
            parquet(path=str(path), target="y")
    pd.DataFrame({"a": [1.0, float("inf")], "y": [1.5, 2.5]}).to_parquet(path)
    with pytest.raises(DataError, match="a is infinite"):
        parquet(path=str(path), target="y")
    pd.DataFrame({"a": [1.0], "y": [1.5]})[:0].to_parquet(path)
    with pytest.raises(DataError, match="names and no rows"):
        parquet(path=str(path), target="y")
    with pytest.raises(DataError, match="is a folder"):
        parquet(path=str(tmp_path), target="y")
    with pytest.raises(DataError, match=r"dataset.path: which file?"):
        parquet()


def test_without_pyarrow_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(DataError, match=r"needs pyarrow, which is not installed; run: pip install 'dlrun\[parquet\]'"):
        parquet(path=str(tmp_path / "my.parquet"), target="y")


# A table in memory


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[1], [2], [3]], "neither numbers nor texts"),
        (pd.to_timedelta([1, 2, 3], unit="D"), "turn them into numbers"),
        ([1j, 2j, 3j], "turn them into numbers"),
        ([b"a", b"b", b"a"], "type bytes"),
    ],
)
def test_columns_that_cannot_be_used(values: Any, said: str) -> None:
    frame = pd.DataFrame({"a": values, "b": [1, 2, 4], "y": [0.5, 1.5, 2.5]})
    with pytest.raises(DataError, match=f"column a: .*{said}.*dataset.drop=.a."):
        of_frame("my table", frame, targets=["y"])
    assert of_frame("my table", frame, targets=["y"], drop=["a"]).features == ("b",)


def test_truth_in_words() -> None:
    frame = pd.DataFrame(
        {"a": pd.Categorical(["t", "f", "t", None]), "b": [True, None, False, True], 7: [1, 2, 3, 5], "y": [1.5, 2, 3, 4]}
    )
    data = of_frame("my table", frame, targets=["y"])
    assert data.features == ("a", "b", "7")
    assert np.nan_to_num(data.x, nan=-1).tolist() == [[1, 1, 1], [0, -1, 2], [1, 0, 3], [-1, 1, 5]]


# openml.org

RECORDED = Path(next(iter(find_spec("sklearn").submodule_search_locations or [""]))) / "datasets/tests/data/openml"  # type: ignore[union-attr]


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A folder of downloads as fetch_openml leaves it, filled with the answers that scikit-learn recorded; no network."""
    pytest.importorskip("sklearn.datasets.tests.data.openml", reason="scikit-learn came without its recordings")
    for number in (61, 561, 42585):
        places = {
            f"api-v1-jd-{number}": f"api/v1/json/data/{number}",
            f"api-v1-jdf-{number}": f"api/v1/json/data/features/{number}",
            f"api-v1-jdq-{number}": f"api/v1/json/data/qualities/{number}",
        }
        source = RECORDED / f"id_{number}"
        with gzip.open(source / f"api-v1-jd-{number}.json.gz") as description:
            url = json.load(description)["data_set_description"]["url"]
        found = {place: source / f"{name}.json.gz" for name, place in places.items()}
        found[url.removeprefix("https://www.openml.org/")] = next(source.glob("data-v1-dl-*.gz"))
        for place, file in found.items():
            target = tmp_path / "cache" / "openml" / "openml.org" / f"{place}.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)

    def offline(*_: object, **__: object) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", offline)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    return str(tmp_path / "cache")


def test_openml_classes(recorded: str) -> None:
    data = openml(id=61, cache=recorded)
    assert (data.name, data.task, len(data)) == ("iris", "multiclass", 150)
    assert data.features == ("sepallength", "sepalwidth", "petallength", "petalwidth")
    assert data.classes == ("Iris-setosa", "Iris-versicolor", "Iris-virginica")
    assert data.x[0].tolist() == [5.1, 3.5, 1.4, 0.2]
    assert openml(id=61, cache=recorded) is data


def test_openml_numbers_texts_and_missing_values(recorded: str) -> None:
    cpu = openml(id=561, cache=recorded)
    assert (cpu.task, cpu.targets, len(cpu)) == ("regression", ("class",), 209)
    penguins = openml(id=42585, cache=recorded)
    assert (penguins.task, penguins.targets, len(penguins)) == ("multiclass", ("species",), 344)
    assert "sex=(missing)" in penguins.features
    assert np.isnan(penguins.x).any()
    mass = openml(id=42585, cache=recorded, target="body_mass_g", drop=["sex"])
    assert (mass.task, len(mass)) == ("regression", 342)
    assert "species=Adelie" in mass.features
    assert "2 rows without a value of body_mass_g are left out" in mass.notes[-1]


def test_openml_without_the_network(recorded: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DataError) as caught:
            openml(id=31, cache=recorded)
    (said,) = caught.value.problems
    assert "dataset.id=31: cannot be loaded from openml.org (Network is unreachable)" in said
    assert f"the first time needs the network, afterwards {recorded} has it" in said


def test_openml_settings(recorded: str) -> None:
    with pytest.raises(DataError, match=r"dataset.id: which dataset?"):
        openml()
    with pytest.raises(DataError, match=r"dataset.target=kind: no such column; iris has sepallength"):
        openml(id=61, cache=recorded, target="kind")


def test_a_frame_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlrun.data.table.builder.DOUBLE", 0)
    frame = pd.DataFrame({"a": [1.7e9 + i for i in range(20)], "b": [-9.0, *range(19)], "y": [i * 1.5 for i in range(20)]})
    before = frame.copy(deep=True)
    data = of_frame("my table", frame, targets=["y"], missing=["-9"])
    assert data.x[:, 0].tolist() == list(range(20))
    assert np.isnan(data.x[0, 1])
    pd.testing.assert_frame_equal(frame, before)
