"""Files of dlrun's own: new ones only, under names that nobody can foresee, never through a link."""

import math
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dlrun.errors import StoreError
from dlrun.results import files
from dlrun.results.files import abandoned, replace_file, unique, write_file
from dlrun.results.formats import RunFiles, histories, history_bytes, read_history_bytes
from dlrun.results.store import Store
from dlrun.results.sweeps import Cell, Sweep

pytestmark = pytest.mark.fault("received files, with harmless canaries")


def test_a_file_is_written_through_no_link_and_over_no_other(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    link = tmp_path / "link"
    link.symlink_to(outside)
    for path in (link, outside):
        with pytest.raises(FileExistsError):
            write_file(path, b"theirs")
    dangling = tmp_path / "dangling"
    dangling.symlink_to(tmp_path / "nothing")
    with pytest.raises(FileExistsError):
        write_file(dangling, b"theirs")
    replace_file(link, b"new")  # the link itself is replaced
    assert (outside.read_text(), link.is_symlink(), link.read_text()) == ("mine", False, "new")
    assert not (tmp_path / "nothing").exists()


def test_links_at_the_names_of_temporary_files_lead_nowhere(tmp_path: Path) -> None:
    store = Store(tmp_path / "outputs")
    store.prepare()
    sweep = Sweep.create(store, "received", [Cell("abcdef123456")])
    outside = tmp_path / "outside"
    outside.write_text("mine")
    for number in range(50):  # the names that temporary files had before they were random
        for name in ("comparison.csv", "comparison.md"):
            (sweep.folder / f".{name}.{os.getpid()}.{number}").symlink_to(outside)
    sweep.write_comparison("a,b\n", "| a |\n")
    assert outside.read_text() == "mine"


@pytest.mark.parametrize("name", ["dlrun.sqlite", "dlrun.sqlite-journal"])
def test_a_link_in_the_place_of_the_database_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "elsewhere").touch()
    (tmp_path / "outputs" / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=f"{name}: is a link.*remove it"):
        Store(tmp_path / "outputs").prepare()
    assert (tmp_path / "elsewhere").read_bytes() == b""


@pytest.mark.parametrize("name", ["runs", "sweeps/2026-01-31_120005_x"])
def test_a_link_in_the_place_of_a_folder_of_dlruns_own_is_refused(
    store: Store, make_run: Callable[..., RunFiles], tmp_path: Path, name: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (store.root / name).symlink_to(elsewhere)
    write = (
        (lambda: store.write_run(make_run()))
        if name == "runs"
        else (lambda: Sweep(store.root / name, "x", []).write_comparison("", ""))
    )
    with pytest.raises(StoreError, match="is a link; remove it"):
        write()
    assert not list(elsewhere.iterdir())


def test_what_is_abandoned_is_told_by_the_process_and_its_random_number(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = unique()
    assert not abandoned(f".comparison.csv.{mine}")
    pid, _, number = mine.split(".")
    assert abandoned(f".comparison.csv.{pid}.0123456789abcdef.{number}")  # an earlier process of a container, with the same id
    assert not abandoned("comparison.csv")
    monkeypatch.setattr(files, "alive", lambda pid: False)
    assert abandoned(f".comparison.csv.{int(pid) + 1}.0123456789abcdef.0")
    monkeypatch.setattr(files, "alive", lambda pid: True)
    assert not abandoned(f".comparison.csv.{int(pid) + 1}.0123456789abcdef.0")


def test_the_leftovers_of_a_process_of_the_same_id_are_cleared(store: Store) -> None:
    store.runs.mkdir()
    left = store.runs / f".abcdef123456.dlrun-new.{os.getpid()}.0123456789abcdef.0"
    left.mkdir()
    ours = store.runs / f".abcdef123456.dlrun-new.{unique()}"
    ours.mkdir()
    store.prepare()
    assert [path.name for path in store.runs.iterdir()] == [ours.name]


@pytest.mark.parametrize("kind", ["file", "long", "loop", "nul"])
def test_a_root_that_cannot_be_read_is_one_clear_line(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    root = {"file": tmp_path / "file", "long": tmp_path / ("x" * 300), "loop": tmp_path / "loop", "nul": tmp_path / "a\0b"}[kind]
    store = Store(root)
    for read in (store.ids, lambda: Sweep.find(store)):
        with pytest.raises(StoreError, match="cannot be read"):
            read()
    with pytest.raises(StoreError, match="not found"):
        Sweep.find(Store(tmp_path / "missing"), "x" * 300)


def column_bytes(values: list[float]) -> bytes:
    """A column of a history: in 4 bytes a number where all come back, else in 8."""
    try:
        short = struct.pack(f"<{len(values)}f", *values)
    except OverflowError:
        return struct.pack(f"<{len(values)}d", *values)
    back = struct.unpack(f"<{len(values)}f", short)
    fits = all(one == other or one != one for one, other in zip(back, values, strict=True))
    return short if fits else struct.pack(f"<{len(values)}d", *values)


COLUMNS: dict[str, list[float]] = {
    "short": [1.0, 2.5, math.nan, math.nan],
    "long": [0.1, 2.0, 3.0, 4.0],
    "huge": [1e300, 1.0, 2.0, 3.0],
    "ends": [math.inf, -math.inf, 0.0, -0.0],
    "tiny": [1e-45, 1e-46, 5.0, 6.0],
    "single": np.float32([0.1, 0.2, 0.3, math.nan]).tolist(),
}


def test_histories_are_columns_of_four_or_eight_bytes():
    _, _, numbers = history_bytes({**COLUMNS, "rare": [None, 1.5, None, None]}).partition(b"\n")
    assert numbers == b"".join(map(column_bytes, [*COLUMNS.values(), [math.nan, 1.5, math.nan, math.nan]]))


def test_histories_of_many_runs_are_those_of_each():
    several = [COLUMNS, {"epoch": [1.0]}, {}, {"epoch": []}, {"epoch": [2.0]}, {"other": [0.1]}, {**COLUMNS, "long": [1.0] * 4}]
    found = histories(several)
    assert found == [history_bytes(history) for history in several]
    assert [{name: len(column) for name, column in read_history_bytes(content).items()} for content in found] == [
        {name: len(column) for name, column in history.items()} for history in several
    ]
    with pytest.raises(ValueError, match="differ in length"):
        histories([{"epoch": [1.0]}, {"epoch": [1.0], "loss": []}])
