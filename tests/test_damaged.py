"""Runs whose files are damaged or missing: one clear message that names the file, from Python too."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import dlrun
from dlrun.errors import StoreError
from dlrun.results.formats import RunFiles
from dlrun.results.record import RunRecord
from dlrun.results.store import Store

pytestmark = pytest.mark.fault("a run folder that is damaged")

SECTIONS = ("dataset", "model", "activation", "loss", "optimizer", "scheduler", "trainer", "regularizer")
CONFIG = {"seed": 0, **{section: {} for section in SECTIONS}}

HISTORY = {"epoch": np.arange(1.0, 9.0), "train/loss": np.linspace(1.0, 0.1, 8)}


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:30])


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def control(path: Path) -> None:
    path.write_bytes(b"\0\0")


@pytest.fixture
def run(folder: Path) -> Path:
    """A run with a config, weights and nothing to predict with."""
    store = Store.at()
    store.prepare()
    files = RunFiles(RunRecord("abcdef123456", "done"), CONFIG, history=HISTORY, weights={"0.weight": np.ones(1, np.float32)})
    return store.write_run(files)


@pytest.mark.parametrize("damage", [cut, Path.unlink, folder_instead, loop, control, emptied])
@pytest.mark.parametrize("name", ["config.yaml", "result.json", "history.csv"])
def test_a_damaged_file_is_named(run: Path, damage: Callable[[Path], None], name: str) -> None:
    loaded = dlrun.load(run)
    assert loaded.config["seed"] == 0
    damage(run / name)

    def look(run: dlrun.Run) -> object:
        return run.config if name == "config.yaml" else run.history

    with pytest.raises(StoreError, match=name.replace(".", r"\.")):
        look(dlrun.load(run))


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "no.py/x"])
def test_a_run_or_sweep_that_no_folder_can_be_is_not_found(folder: Path, name: str) -> None:
    for ask in (dlrun.load, dlrun.compare):
        with pytest.raises(StoreError):
            ask(name)
