"""Sweeps called in this process, with what came of them."""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dlrun import registry
from dlrun.cli.main import main
from dlrun.results.record import RunRecord
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep, sweep_folders


@dataclass(frozen=True)
class Called:
    """A finished command: what it printed, and the sweep that it left (None where it left none)."""

    code: int
    out: str
    err: str
    store: Store
    sweep: Sweep | None

    @property
    def table(self) -> list[dict[str, str]]:
        """The rows of comparison.csv."""
        assert self.sweep is not None
        with (self.sweep.folder / "comparison.csv").open(encoding="utf-8") as file:
            return list(csv.DictReader(file))

    @property
    def records(self) -> list[RunRecord]:
        """The records of the sweep's runs."""
        assert self.sweep is not None
        return self.sweep.refresh(self.store)


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Called]:
    """``call("-m", "seed=0,1")`` in an empty working folder, with small runs and a wide terminal."""
    for name in ("DLRUN_OUTPUT_DIR", "HYDRA_FULL_ERROR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(registry, "_added", [])
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> Called:
        code = main(["trainer=smoke", "model.hidden=[5]", *words])
        store = Store(tmp_path / "outputs")
        folders = sweep_folders(store)
        return Called(code, *capsys.readouterr(), store, Sweep.open(folders[-1]) if folders else None)

    return command
