"""A run of a sweep is the run that the same words train alone."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep

Call = Callable[..., tuple[int, str, str]]
Latest = Callable[..., Sweep]
Outputs = Callable[..., dict[str, dict[str, Any]]]

MIXED = (
    "activation=relu,tanh",
    "optimizer=adam,sgd",
    "optimizer.lr=0.01,0.003",
    "loss=mse,huber",
    "regularizer=[],[l2,dropout]",
    "seed=0,1",
    "trainer.max_steps=200",
    "baseline=[]",
)
TOLERANCE = 1e-4  # float32 after 200 steps


def test_some_of_many(call: Call, folder: Path, outputs: Outputs, latest: Latest) -> None:
    code, out, err = call("-m", *MIXED)
    assert (code, "64 runs: 64 done" in out) == (0, True), err
    together = outputs()
    assert len(together) == 64
    for cell in random.Random(0).sample(latest().cells, 4):
        code, _, err = call(*cell.overrides, "output_dir=alone")
        assert code == 0, err
        alone = outputs(folder / "alone")[cell.id]  # the id is the same too
        mine = together[cell.id]
        assert (alone["cohort"]["runs"], alone["cohort"]["steps"]) == (1, 200)
        assert mine["cohort"]["runs"] > 1
        assert alone["metrics"].keys() == mine["metrics"].keys()
        for name, value in alone["metrics"].items():
            assert mine["metrics"][name] == pytest.approx(value, rel=TOLERANCE, abs=TOLERANCE), (name, cell.overrides)
        assert alone["data"] == mine["data"]
        configs = [Store(folder / root).config(cell.id) for root in ("outputs", "alone")]
        assert configs[0] | {"output_dir": "alone"} == configs[1]
