"""The command as a user calls it, in a process of its own, and without its training."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from nursery import Nursery

Process = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def process(folder: Path, nursery: Callable[[], Nursery], request: pytest.FixtureRequest) -> Process:
    """``call`` in a process of its own, which is forked but for the tests that are marked ``starts_workers``."""
    started = sys.platform != "linux" or request.node.get_closest_marker("starts_workers") is not None

    def command(*words: str) -> subprocess.CompletedProcess[str]:
        if not started:
            child = nursery().command(words, folder, os.environ)
            out, err = child.communicate()
            return subprocess.CompletedProcess(words, child.wait(), out, err)
        return subprocess.run([sys.executable, "-m", "dlrun", *words], capture_output=True, text=True, check=False)

    return command


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands in for the training: set its ``main`` to what the test needs."""
    stand_in = SimpleNamespace(main=lambda config: 0)
    monkeypatch.setattr("dlrun.cli.train.train_one", lambda config, as_json: stand_in.main(config))
    return stand_in
