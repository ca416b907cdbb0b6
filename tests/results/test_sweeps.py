import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from dlrun.errors import StoreError
from dlrun.results.formats import RunFiles
from dlrun.results.store import Store
from dlrun.results.sweeps import Cell, Sweep, folder_name, sweep_folders

NOW = datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)
IDS = [f"{index:012x}" for index in range(4)]
Make = Callable[..., RunFiles]


def cells() -> list[Cell]:
    return [Cell(run, (f"optimizer.lr={index}",), index, factors={"optimizer.lr": index}) for index, run in enumerate(IDS)]


def test_a_sweep_is_read_back_as_it_was_written(store: Store):
    sweep = Sweep.create(
        store, "lr test", cells(), command="dlrun -m ...", settings={"metric": "test/r2", "limit": None}, now=NOW
    )
    assert sweep.folder.name == "2026-01-31_120005_lr-test"
    assert Sweep.open(sweep.folder) == sweep
    assert sweep.created == "2026-01-31T12:00:05Z"


def test_a_sweep_of_the_same_second_gets_its_own_folder(store: Store):
    folders = [Sweep.create(store, "x", [], now=NOW).folder for _ in range(11)]
    assert folders[1].name == "2026-01-31_120005_x-2"
    assert sweep_folders(store) == folders
    assert Sweep.find(store).folder == folders[-1]


def test_sweeps_are_found(store: Store):
    first = Sweep.create(store, "first", cells(), now=NOW)
    second = Sweep.create(store, "second", cells(), now=NOW.replace(day=30))
    Sweep.create(store, "second-more", cells(), now=NOW.replace(day=30, hour=13))
    assert Sweep.find(store).folder == first.folder
    for which in ("second", second.folder.name, second.folder, str(second.folder)):
        assert Sweep.find(store, which).folder == second.folder
    with pytest.raises(
        StoreError, match=r"sweep 'frist': not found in .*dlrun\.sqlite \(3 sweeps are there\); did you mean 'first'"
    ):
        Sweep.find(store, "frist")
    with pytest.raises(StoreError, match="0 sweeps"):
        Sweep.find(Store(store.root / "none"))


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("../x", "x"),
        ("/some/folder", "some-folder"),
        ("a\x00b", "a-b"),
        ("", "sweep"),
        ("...", "sweep"),
        ("n" * 300, "n" * 80),
        ("a b/ç", "a-b"),
    ],
)
def test_names_become_folder_names(name: str, folder: str):
    assert folder_name(name) == folder


def test_refresh_tells_what_has_ended(store: Store, make_run: Make):
    sweep = Sweep.create(store, "x", [*cells(), Cell("", ("loss=mse",), status="skipped", reason="mse does not serve classes")])
    store.write_run(make_run(IDS[0]))
    store.write_run(make_run(IDS[2], status="diverged", reason="loss is nan at step 3"))
    records = sweep.refresh(store)
    assert [record.id for record in records] == [IDS[0], IDS[2]]
    assert sweep.counts() == {"done": 1, "diverged": 1, "skipped": 1, "pending": 2}
    assert sweep.cells[2].reason == "loss is nan at step 3"
    assert Sweep.open(sweep.folder) == sweep
    store.delete([IDS[0]])  # R1: a run that was removed is pending again
    sweep.refresh(store)
    assert sweep.counts() == {"diverged": 1, "skipped": 1, "pending": 3}
    assert sweep.overrides()[IDS[1]] == ("optimizer.lr=1",)


def test_one_process_at_a_time_carries_a_sweep_out(store: Store):
    sweep = Sweep.create(store, "x", cells())
    assert sweep.owner() == ""
    with sweep.claim():
        assert "process" in sweep.owner()
        with pytest.raises(StoreError, match=r"sweep .*_x is being worked on by process"), Sweep.find(store).claim():
            pass
    assert sweep.owner() == ""


@pytest.mark.parametrize(
    "change",
    [
        "sweeps SET settings = '['",
        "sweeps SET settings = '3'",
        "cells SET overrides = 'a'",
        "cells SET status = 'good'",
        "cells SET status = x'00'",
    ],
)
def test_a_damaged_sweep_is_named(store: Store, change: str):
    sweep = Sweep.create(store, "x", cells())
    with sqlite3.connect(store.path) as connection:
        connection.execute(f"UPDATE {change}")
    with pytest.raises(StoreError, match=rf"sweep {sweep.folder.name}: is damaged in .*dlrun\.sqlite"):
        Sweep.find(store)


def test_the_comparison_is_written(store: Store):
    sweep = Sweep.create(store, "x", cells())
    sweep.write_comparison("a\n1\n", "| a |\n")
    sweep.write_comparison("a\n2\n", "| a |\n")
    assert (sweep.folder / "comparison.csv").read_text() == "a\n2\n"
    assert sorted(path.name for path in sweep.folder.iterdir()) == ["comparison.csv", "comparison.md"]
