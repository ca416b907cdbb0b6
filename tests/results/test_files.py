"""Files of dlrun's own: new ones only, under names that nobody can foresee, never through a link."""

import json
import os
from pathlib import Path

import pytest

from dlrun.errors import StoreError
from dlrun.results import files
from dlrun.results.files import abandoned, names_in, replace_file, unique, write_file
from dlrun.results.store import Store
from dlrun.results.sweeps import Cell, Sweep


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
        for name in ("sweep.json", "comparison.csv", "comparison.md"):
            (sweep.folder / f".{name}.{os.getpid()}.{number}").symlink_to(outside)
    with sweep.claim():
        sweep.save()
        sweep.write_comparison("a,b\n", "| a |\n")
    assert outside.read_text() == "mine"
    assert json.loads((sweep.folder / "sweep.json").read_text())["name"] == "received"


@pytest.mark.parametrize("name", [".new", ".claims"])
def test_a_link_in_the_place_of_a_folder_of_dlruns_own_is_refused(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / "outputs")
    store.runs.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (store.runs / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=f"{name} is a link; remove it"):
        store.prepare()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_what_is_abandoned_is_told_by_the_process_and_its_random_number(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = unique()
    assert not abandoned(f".sweep.json.{mine}")
    pid, _, number = mine.split(".")
    assert abandoned(f".sweep.json.{pid}.0123456789abcdef.{number}")  # an earlier process of a container, with the same id
    assert abandoned(f".sweep.json.{pid}.{number}")
    assert not abandoned("sweep.json")
    monkeypatch.setattr(files, "alive", lambda pid: False)
    assert abandoned(f".sweep.json.{int(pid) + 1}.0123456789abcdef.0")
    monkeypatch.setattr(files, "alive", lambda pid: True)
    assert not abandoned(f".sweep.json.{int(pid) + 1}.0123456789abcdef.0")


def test_the_leftovers_of_a_process_of_the_same_id_are_cleared(tmp_path: Path) -> None:
    store = Store(tmp_path / "outputs")
    store.prepare()
    new = store.runs / ".new"
    left = new / f"abcdef123456~{os.uname().nodename}~{os.getpid()}.0123456789abcdef.0"
    left.mkdir()
    ours = new / f"abcdef123456~{os.uname().nodename}~{unique()}"
    ours.mkdir()
    store.prepare()
    assert [path.name for path in new.iterdir()] == [ours.name]


@pytest.mark.parametrize("kind", ["file", "long", "loop", "nul"])
def test_a_root_that_cannot_be_read_is_one_clear_line(tmp_path: Path, kind: str) -> None:
    (tmp_path / "file").write_text("")
    for name in ("runs", "sweeps"):
        (tmp_path / name).symlink_to(name)
    root = {"file": tmp_path / "file", "long": tmp_path / ("x" * 300), "loop": tmp_path, "nul": tmp_path / "a\0b"}[kind]
    store = Store(root)
    for read in (store.ids, lambda: Sweep.find(store)):
        with pytest.raises(StoreError, match="cannot be read"):
            read()
    assert names_in(tmp_path / "missing") == []
    with pytest.raises(StoreError, match="not found"):
        Sweep.find(Store(tmp_path / "missing"), "x" * 300)
