"""A sweep that is carried on from another folder: relative paths stay those it began with, and other data is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dlrun.results.sweeps import Sweep

Call = Callable[..., tuple[int, str, str]]
WORDS = ("-m", "dataset=csv", "dataset.path=d.csv", "dataset.target=y", "trainer=smoke", "seed=0,1")


def table(folder: Path, slope: float) -> None:
    rows = [f"{i % 7},{i % 11},{slope * (i % 7) - i % 11}" for i in range(60)]
    (folder / "d.csv").write_text("\n".join(["a,b,y", *rows]))


def test_relative_paths_are_those_of_where_it_was_started_and_changed_data_replaces_no_run(
    call: Call, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table(folder, 2.0)
    assert call(*WORDS)[0] == 0
    (sweep,) = (folder / "outputs" / "sweeps").iterdir()
    began = Sweep.open(sweep)
    assert began.settings["folder"] == str(folder)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    table(elsewhere, 5.0)  # another file of that name
    monkeypatch.chdir(elsewhere)
    code, out, err = call("resume", str(sweep))
    assert (code, err.count("warning")) == (0, 0)
    assert "2 of them taken over, none trained" in out or "none trained" in out
    assert Path.cwd() == elsewhere

    table(folder, 5.0)
    code, out, err = call("resume", str(sweep))
    assert (code, out) == (2, "")
    assert err.startswith(f"error: dataset.path=d.csv: is not the data that sweep {sweep.name} began with (read in {folder}); ")
    assert Sweep.open(sweep) == began
    advised = err.rstrip().partition("or start a new sweep: dlrun ")[2]
    monkeypatch.chdir(folder)
    assert call(*advised.split())[0] == 0
    assert len(list((folder / "outputs" / "sweeps").iterdir())) == 2

    table(folder, 2.0)  # put back, in a project that was moved
    moved = folder.rename(tmp_path / "moved")
    monkeypatch.chdir(moved)
    code, out, _ = call("resume", sweep.name)
    assert code == 0
    assert "none trained" in out
