"""Parquet columns of every type, and files that are called what they are not."""

import datetime
import decimal
import gzip
import io
import json
import pickle
import shlex
import sqlite3
import tarfile
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dlrun.data.sources.files import csv, parquet
from dlrun.data.table.encoding import encode
from dlrun.errors import DataError

pa = pytest.importorskip("pyarrow")

ROWS = 20
UNUSABLE: dict[str, Any] = {  # types whose values are no features
    "interval": pa.array([b"%012d" % i for i in range(ROWS)], pa.binary(12)),
    "blob": pa.array([b"%d" % i for i in range(ROWS)]),
    "large_blob": pa.array([b"%d" % i for i in range(ROWS)], pa.large_binary()),
    "blobs": pa.array([b"%d" % (i % 3) for i in range(ROWS)]).dictionary_encode(),
    "clock": pa.array(range(ROWS), pa.time32("s")),
    "fine_clock": pa.array(range(ROWS), pa.time64("us")),
    "duration": pa.array(range(ROWS), pa.duration("us")),
    "list": pa.array([[i] for i in range(ROWS)]),
    "struct": pa.array([{"a": i} for i in range(ROWS)]),
    "map": pa.array([[("a", i)] for i in range(ROWS)], pa.map_(pa.string(), pa.int64())),
}
DAY = datetime.datetime(2024, 1, 31, 6)


def values(*first: Any) -> list[Any]:
    """A column that begins with these values."""
    return [*first, *[first[0]] * (ROWS - len(first))]


NEXT = DAY + datetime.timedelta(days=1)
USABLE: dict[str, tuple[Any, list[float | None]]] = {  # types, and the first numbers
    "bool": (pa.array(values(False, None, True)), [0, None, 1]),
    "uint64": (pa.array(values(2**64 - 1, None, 1), pa.uint64()), [2.0**64, None, 1]),
    "int8": (pa.array(values(-7, None, 5), pa.int8()), [-7, None, 5]),
    "half": (pa.array(np.array(values(1.5, np.nan, 2.5), dtype=np.float16)), [1.5, None, 2.5]),
    "small_decimal": (pa.array(values(decimal.Decimal("1.25"), None, decimal.Decimal(3)), pa.decimal128(5, 2)), [1.25, None, 3]),
    "large_decimal": (pa.array(values(decimal.Decimal("1.25"), None, decimal.Decimal(3)), pa.decimal256(50, 2)), [1.25, None, 3]),
    "numbers": (pa.array(values(7, None, 9)).dictionary_encode(), [7, None, 9]),
    "day": (pa.array(values(DAY.date(), None, NEXT.date()), pa.date32()), [19753, None, 19754]),
    "day64": (pa.array(values(DAY.date(), None, NEXT.date()), pa.date64()), [19753, None, 19754]),
    "second": (pa.array(values(DAY, None, NEXT), pa.timestamp("s")), [19753.25, None, 19754.25]),
    "milli": (pa.array(values(DAY, None, NEXT), pa.timestamp("ms")), [19753.25, None, 19754.25]),
    "nano": (pa.array(values(DAY, None, NEXT), pa.timestamp("ns")), [19753.25, None, 19754.25]),
    "zone": (pa.array(values(DAY, None, NEXT), pa.timestamp("ns", "Europe/Paris")), [19753.25, None, 19754.25]),
}
TEXTS: dict[str, Any] = {
    "text": pa.array(["u", "v"] * 10),
    "large": pa.array(["u", "v"] * 10, pa.large_string()),
    "dictionary": pa.array(["u", "v"] * 10).dictionary_encode(),
}


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., str]:
    """``written(a=array)``: the path of a Parquet file with these columns, and targets y."""

    def write(**columns: Any) -> str:
        from pyarrow.parquet import write_table

        targets = pa.array([i * 1.5 for i in range(ROWS)])
        write_table(pa.table({**columns, "y": targets}), tmp_path / "my.parquet", store_schema=True)
        return str(tmp_path / "my.parquet")

    return write


def test_columns_that_are_no_features_are_left_out(written: Callable[..., str]) -> None:
    path = written(**UNUSABLE, a=pa.array(range(ROWS)))
    data = parquet(path=path, target="y")
    assert data.features == ("a",)
    (said,) = [note for note in data.notes if "left out" in note]
    assert "blob (of type binary)" in said
    assert "fine_clock (of type time64[us])" in said
    assert all(f"{name} (of type " in said for name in UNUSABLE)
    for name in ("clock", "duration", "list", "struct", "map"):
        with pytest.raises(DataError, match=f"column {name}: is of type .*, which cannot be used; store it as numbers or texts"):
            parquet(path=path, target=name)
        with pytest.raises(DataError, match=f"column {name}: is of type"):
            parquet(path=path, target="y", columns=["a", name])
        assert parquet(path=path, target="y", drop=[name]).features == ("a",)
    with pytest.raises(DataError, match="no features beside the target y; left out: "):
        parquet(path=written(clock=UNUSABLE["clock"]), target="y")


@pytest.mark.parametrize("name", USABLE)
def test_values_of_types(name: str, written: Callable[..., str]) -> None:
    array, expected = USABLE[name]
    data = parquet(path=written(a=array, b=pa.array(range(ROWS))), target="y", columns=["a", "b"])
    assert [None if value != value else value for value in data.x[:3, 0].tolist()] == expected
    if name not in ("small_decimal", "large_decimal", "day64"):
        frame = pd.read_parquet(written(a=array, b=pa.array(range(ROWS))))
        assert data.encoding is not None
        assert np.array_equal(encode(frame, data.encoding), data.x, equal_nan=True)


@pytest.mark.parametrize("name", TEXTS)
def test_texts_of_types(name: str, written: Callable[..., str]) -> None:
    data = parquet(path=written(a=TEXTS[name]), target="y")
    assert data.features == ("a=u", "a=v")
    assert data.x[:, 0].tolist() == [1, 0] * 10


def test_uuids_are_texts_as_in_a_csv_file(written: Callable[..., str], tmp_path: Path) -> None:
    if not hasattr(pa, "uuid"):
        pytest.skip("this pyarrow has no type for UUIDs")
    keys = [uuid.UUID(int=7 * i) for i in range(ROWS)]
    path = written(
        key=pa.array([key.bytes for key in keys], pa.uuid()), k=pa.array([keys[i % 2].bytes for i in range(ROWS)], pa.uuid())
    )
    data = parquet(path=path, target="y")
    assert data.features == (f"k={keys[0]}", f"k={keys[1]}")
    assert "key (a text of its own for every row)" in " ".join(data.notes)
    lines = [f"{key},{keys[i % 2]},{i * 1.5}\n" for i, key in enumerate(keys)]
    (tmp_path / "my.csv").write_text("key,k,y\n" + "".join(lines))
    assert csv(path=str(tmp_path / "my.csv"), target="y").features == data.features


def test_two_columns_of_one_name_are_refused(tmp_path: Path) -> None:
    from pyarrow.parquet import write_table

    table = pa.table([pa.array([1, 2]), pa.array([1, 2]), pa.array([1.5, 2.5])], names=["a", "a", "y"])
    write_table(table, tmp_path / "my.parquet")
    with pytest.raises(DataError, match=r"my.parquet: a: more than one column has this name"):
        parquet(path=str(tmp_path / "my.parquet"), target="y")


@pytest.mark.parametrize("name", ["'vote'", '"a,b"', "it's $x"])
def test_what_is_advised_can_be_typed(name: str, tmp_path: Path, call: Callable[..., tuple[int, str, str]]) -> None:
    pd.DataFrame({"a": range(ROWS), name: [i % 2 for i in range(ROWS)]}).to_parquet("my.parquet")
    wanted = f"{name[:-1]}z"
    wrong = shlex.split(
        f"dataset=parquet dataset.path=my.parquet {shlex.quote(f'dataset.target={json.dumps(wanted, ensure_ascii=False)}')}"
    )
    code, _, err = call(*wrong)
    assert code == 2
    advice = shlex.split(err.split("; type ")[-1].strip())
    code, _, err = call("dataset=parquet", "dataset.path=my.parquet", *advice, "trainer=smoke", "trainer.batch_size=4")
    assert (code, f"target {name}: binary" in err) == (0, True), err


# Files that are called what they are not


def saved(save: Callable[[Any], object]) -> bytes:
    stream = io.BytesIO()
    save(stream)
    return stream.getvalue()


def archive(*members: str) -> bytes:
    def write(stream: Any) -> None:
        with zipfile.ZipFile(stream, "w") as file:
            for member in members:
                file.writestr(member, "a,y\n1,2\n")

    return saved(write)


def tarred() -> bytes:
    def write(stream: Any) -> None:
        with tarfile.open(fileobj=stream, mode="w") as file:
            file.addfile(tarfile.TarInfo("my.csv"), io.BytesIO())

    return saved(write)


FRAME = pd.DataFrame({"a": [1, 2, 4], "y": [0.5, 1.5, 2.5]})


def database(tmp_path: Path) -> bytes:
    with sqlite3.connect(tmp_path / "my.db") as connection:
        connection.execute("create table t (a, y)")
    connection.close()
    return (tmp_path / "my.db").read_bytes()


FORMATS: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "feather": (
        lambda _: saved(FRAME.to_feather),
        "is a Feather file; read it with pandas.read_feather and save it with to_parquet",
    ),
    "orc": (lambda _: saved(lambda stream: FRAME.to_orc(stream)), "is an ORC file; read it with pandas.read_orc"),
    "excel": (lambda _: archive("[Content_Types].xml", "xl/workbook.xml"), "is an Excel file; save the table as CSV"),
    "zip": (lambda _: archive("my.csv"), "is a zip archive; unpack it first"),
    "arrays": (lambda _: saved(lambda stream: np.savez(stream, a=np.eye(2))), "is an archive of NumPy arrays"),
    "array": (lambda _: saved(lambda stream: np.save(stream, np.eye(2))), "is a NumPy array"),
    "tar": (lambda _: tarred(), "is a tar archive; unpack it first"),
    "tar.gz": (lambda _: gzip.compress(tarred()), "is a tar archive|is compressed by gzip; unpack it first"),
    "json": (lambda _: FRAME.to_json().encode(), "is a JSON file; read it with pandas.read_json"),
    "json records": (lambda _: FRAME.to_json(orient="records").encode(), "is a JSON file"),
    "json lines": (lambda _: FRAME.to_json(orient="records", lines=True).encode(), "is a JSON file"),
    "pickle": (lambda _: pickle.dumps([0.0] * 20), "is a pickle, which may run code and is not opened"),
    "stata": (
        lambda _: saved(lambda stream: FRAME.to_stata(stream, version=118)),
        "is a Stata file; read it with pandas.read_stata",
    ),
    "sqlite": (database, "is an SQLite database"),
    "arff": (lambda _: b"% made\n\n@RELATION r\n@ATTRIBUTE a NUMERIC\n@DATA\n1\n", "is an ARFF file"),
    "web page": (lambda _: b"\n<!doctype HTML><html></html>", "is a web page; download the file itself"),
    "xml": (lambda _: b'<?xml version="1.0"?><a/>', "is an XML file"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_other_formats_are_named(name: str, tmp_path: Path) -> None:
    make, said = FORMATS[name]
    content = make(tmp_path)
    for source, ending in ((csv, "csv"), (parquet, "parquet")):
        (tmp_path / f"my.{ending}").write_bytes(content)
        with pytest.raises(DataError, match=said):
            source(path=str(tmp_path / f"my.{ending}"), target="y")


def test_csv_and_parquet_are_told_apart(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "my.parquet", index=False)
    with pytest.raises(DataError, match="is no Parquet file but one of text; type dataset=csv"):
        parquet(path=str(tmp_path / "my.parquet"), target="y")
    assert csv(path=str(tmp_path / "my.parquet"), target="y").features == ("a",)
    FRAME.to_parquet(tmp_path / "my.csv")
    with pytest.raises(DataError, match="is a Parquet file; type dataset=parquet"):
        csv(path=str(tmp_path / "my.csv"), target="y")
    assert parquet(path=str(tmp_path / "my.csv"), target="y").features == ("a",)
    (tmp_path / "my.gz").write_bytes(gzip.compress((tmp_path / "my.csv").read_bytes()))
    with pytest.raises(DataError, match="is compressed by gzip; unpack it first"):
        parquet(path=str(tmp_path / "my.gz"), target="y")
    (tmp_path / "empty.parquet").write_bytes(b"")
    with pytest.raises(DataError, match=r"empty.parquet: is empty"):
        parquet(path=str(tmp_path / "empty.parquet"), target="y")


@pytest.mark.parametrize("names", ["PAR1,y", "ORC,y", "FEA1,y", "BZh,y", "RDX,y", "@relation,y"])
def test_names_of_columns_may_look_like_formats(names: str, tmp_path: Path) -> None:
    (tmp_path / "my.csv").write_text(f"{names}\n1,0.5\n2,1.5\n4,2.5\n")
    assert csv(path=str(tmp_path / "my.csv"), target="y").features == (names.split(",")[0],)
