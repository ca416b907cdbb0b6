"""Runs to write and a store to write them to."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dlrun.results.formats import RunFiles
from dlrun.results.record import RunRecord
from dlrun.results.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store.at(tmp_path / "out")
    made.prepare()
    return made


@pytest.fixture
def make_run() -> Callable[..., RunFiles]:
    def make(run: str = "0123456789ab", **fields: Any) -> RunFiles:
        record = RunRecord(
            **{"id": run, "status": "done", "metrics": {"test/r2": 0.5}, "seed": 3, "overrides": ("seed=3",), **fields}
        )
        return RunFiles(
            record,
            {"seed": 3, "model": {"hidden": [5]}},
            {"epoch": [1, 2], "train/loss": np.array([0.1, 0.2], dtype=np.float32)},
            {"layers.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3)},
            ["warning: it is warm"],
            {"preprocessing.json": {"mean": [0.1, 0.2]}},
        )

    return make
