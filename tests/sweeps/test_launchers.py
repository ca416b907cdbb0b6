"""Sweeps that an experiment describes, and Hydra's own ways of launching."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlrun.results.sweeps import Sweep

Call = Callable[..., tuple[int, str, str]]
Latest = Callable[..., Sweep]
Outputs = Callable[..., dict[str, dict[str, Any]]]

SHORT = ("trainer=smoke", "baseline=[]")
STUDY = """\
# @package _global_
# A study that knows its own sweep.
defaults:
  - override /dataset: moons

hydra:
  mode: MULTIRUN
  sweeper:
    params:
      activation: relu,tanh
      seed: range(0,3)
      optimizer.lr: 0.1,0.01
"""


@pytest.fixture
def study(folder: Path) -> tuple[str, str]:
    """An experiment of the user's own with a sweep in it."""
    (folder / "options" / "experiment").mkdir(parents=True)
    (folder / "options" / "experiment" / "study.yaml").write_text(STUDY)
    return "--config-dir", "options"


def cells(sweep: Sweep) -> set[tuple[str, ...]]:
    return {
        tuple(sorted(word for word in cell.overrides if not word.startswith(("trainer", "baseline")))) for cell in sweep.cells
    }


def test_an_experiment_with_a_sweep(call: Call, study: tuple[str, str], outputs: Outputs, latest: Latest) -> None:
    code, out, _ = call(*study, "experiment=study", *SHORT)
    assert (code, "12 runs: 12 done" in out) == (0, True)
    assert len(outputs()) == 12
    assert {record["data"]["name"] for record in outputs().values()} == {"moons"}
    assert all("experiment=study" in words for words in cells(latest()))
    code, plan, _ = call("plan", *study, "experiment=study", *SHORT)
    assert "12 runs: 0 to train, 12 finished already" in plan


def test_the_command_line_has_the_last_word(call: Call, study: tuple[str, str], latest: Latest) -> None:
    code, out, _ = call(*study, "experiment=study", "seed=7", "optimizer.lr=1,0.5,0.1", *SHORT)
    assert (code, "6 runs: 6 done" in out) == (0, True)
    assert {word for words in cells(latest()) for word in words} == {
        "experiment=study",
        "activation=relu",
        "activation=tanh",
        "seed=7",
        "optimizer.lr=1",
        "optimizer.lr=0.5",
        "optimizer.lr=0.1",
    }


def test_it_resumes(call: Call, study: tuple[str, str], latest: Latest) -> None:
    assert call(*study, "experiment=study", "seed=0", *SHORT)[0] == 0
    before = latest().folder
    code, out, _ = call("resume")
    assert (code, "4 runs: 4 done" in out) == (0, True)
    assert latest().folder == before


@pytest.mark.parametrize(
    "words",
    [
        ("hydra/launcher=basic", "hydra/sweeper=basic"),
        pytest.param(("hydra/launcher=basic",), marks=pytest.mark.slow),
        ("hydra/sweeper=basic",),
    ],
)
def test_hydras_own_launcher_and_sweeper(call: Call, outputs: Outputs, words: tuple[str, ...]) -> None:
    assert call("-m", "activation=relu,tanh", *SHORT)[0] == 0
    together = {run: record["metrics"] for run, record in outputs().items()}
    code, _, err = call("-m", "activation=relu,tanh", *SHORT, *words, "reuse=false")
    assert code == 0, err
    found = {run: record["metrics"] for run, record in outputs().items()}
    assert found.keys() == together.keys()
    for run, metrics in found.items():
        assert metrics == pytest.approx(together[run], rel=1e-6)


def test_hydras_basic_launcher_tells_every_failure(call: Call) -> None:
    code, _, err = call("-m", "optimizer.lr=-1,0.1", "seed=0,-1", *SHORT, "hydra/launcher=basic", "hydra/sweeper=basic")
    assert code == 2
    assert err.count("optimizer.lr=-1: must be") == 2
    assert err.count("seed=-1: must be") == 2


def test_joblib_launcher(call: Call, outputs: Outputs) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="pip install hydra-joblib-launcher==1.2.0 --no-deps")
    words = ("-m", "hydra/launcher=joblib", "hydra/sweeper=basic", "hydra.launcher.n_jobs=2", "logger=none", *SHORT)
    assert call(*words, "seed=0,1")[0] == 0
    assert len(outputs()) == 2
    assert call(*words, "seed=2,-1")[0] == 2
