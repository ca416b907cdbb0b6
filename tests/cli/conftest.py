"""Two ways to call the command: in this process, which is quick, and as a user does, in a process of its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from dlrun import registry
from dlrun.cli.main import main

Call = Callable[..., tuple[int, str, str]]
Process = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, without settings from outside."""
    for name in ("DLRUN_OUTPUT_DIR", "HYDRA_FULL_ERROR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(registry, "_added", [])
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """``call("optimizer=adm")`` -> exit code, stdout, stderr."""

    def command(*words: str) -> tuple[int, str, str]:
        code = main(words)
        return code, *capsys.readouterr()

    return command


@pytest.fixture
def process(folder: Path) -> Process:
    """The same in a process of its own, as a user calls it."""

    def command(*words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dlrun", *words], capture_output=True, text=True, timeout=timeout, check=False
        )

    return command


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands in for the training: set its ``main`` to what the test needs."""
    stand_in = SimpleNamespace(main=lambda config: 0)
    monkeypatch.setattr("dlrun.cli.train.train_one", lambda config: stand_in.main(config))
    return stand_in
