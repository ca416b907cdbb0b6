"""What goes wrong in one run stays there, and is reported at the end."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep

Call = Callable[..., tuple[int, str, str]]
Latest = Callable[..., Sweep]
Outputs = Callable[..., dict[str, dict[str, Any]]]

MODULE = """
import sys
import torch
from torch import nn

def late(x):
    if x.shape[-2] > 3:  # more rows than the trial has
        raise ValueError("broken in the middle\\nand more of it")
    return torch.relu(x)

def leaves(x):
    if x.shape[-2] > 3:
        sys.exit(0)
    return torch.relu(x)

def greedy(x):
    if x.shape[-2] > 3:
        raise MemoryError
    return torch.relu(x)

def leaves_at_once(x):
    sys.exit(0)

class Broken(nn.Module):
    def __init__(self):
        raise RuntimeError("broken from the start")

def data(**given):
    raise RuntimeError("the server is down")

def no_data(**given):
    sys.exit(0)
"""
SHORT = ("trainer=smoke", "baseline=[]")


@pytest.fixture
def own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A module of the user's own."""
    (folder / "own.py").write_text(MODULE)
    monkeypatch.setattr("dlrun.own_modules._imported", set())
    monkeypatch.delitem(__import__("sys").modules, "own", raising=False)
    return "--import", "own"


@pytest.mark.parametrize(
    ("name", "said", "first"),
    [
        ("late", "ValueError: broken in the middle", True),
        ("leaves", "called sys.exit(0)", False),
        ("greedy", "MemoryError", True),
        ("Broken", "RuntimeError: broken from the start", False),
    ],
)
def test_the_others_finish(
    call: Call,
    own: tuple[str, str],
    outputs: Outputs,
    latest: Latest,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    said: str,
    first: bool,
) -> None:
    if name == "Broken":  # it would be found out before anything trains
        monkeypatch.setattr("dlrun.config.checks.validation.component_problems", lambda *_: [])
    targets = [f"own.{name}", "torch.nn.Tanh"]
    values = ",".join(targets if first else targets[::-1])
    code, out, err = call(*own, "-m", f"activation._target_={values}", "seed=0,1", *SHORT)
    assert code == 1
    assert "4 runs: 2 done, 2 failed" in out
    failed = {run: record for run, record in outputs().items() if record["status"] == "failed"}
    assert len(failed) == 2
    assert {record["reason"] for record in failed.values()} == {said}
    assert f"failed: activation._target_=own.{name} seed=0 and 1 more: {said}\n" in err
    log = Path(re.findall(r"the first one's traceback is in (.+)", err)[0])
    assert log.parent.name in failed
    for run in failed:
        text = Store(log.parents[2]).log(run)
        assert "\nTraceback" in text
        assert "own.py" in text
    assert "Traceback" not in out + err
    assert latest().counts() == {"done": 2, "failed": 2}


def test_a_spoiler_changes_nothing_for_its_neighbours(call: Call, own: tuple[str, str], outputs: Outputs) -> None:
    words = ("seed=0,1", *SHORT)
    assert call("-m", "activation._target_=torch.nn.Tanh,torch.nn.ReLU", *words)[0] == 0
    alone = outputs()
    assert call(*own, "-m", "activation._target_=torch.nn.Tanh,torch.nn.ReLU,own.late", *words, "reuse=false")[0] == 1
    beside = outputs()
    for run, record in alone.items():
        assert beside[run]["metrics"] == pytest.approx(record["metrics"], abs=1e-6)


def test_data_that_cannot_be_made(call: Call, own: tuple[str, str], outputs: Outputs, latest: Latest) -> None:
    source = "dlrun.data.sources.real.iris"
    code, out, err = call(*own, "-m", "dataset=iris", f"dataset._target_={source},own.data,own.no_data", *SHORT)
    assert code == 1
    assert "3 runs: 1 done, 2 failed" in out
    assert "failed: dataset._target_=own.data: dataset=iris: RuntimeError: the server is down" in err
    assert "failed: dataset._target_=own.no_data: called sys.exit(0)" in err
    logs = [record["id"] for record in outputs().values() if record["status"] == "failed"]
    assert len(logs) == 2
    assert call(*own, "-m", "dataset=iris", f"dataset._target_={source},own.data", *SHORT)[0] == 1
    assert latest().counts() == {"done": 1, "failed": 1}


def test_a_component_that_leaves_when_it_is_tried(call: Call, own: tuple[str, str], folder: Path, latest: Latest) -> None:
    words = (*own, "-m", "activation._target_=own.leaves_at_once")
    code, out, err = call(*words, *SHORT)
    assert (code, out) == (2, "")
    assert err == "error: activation._target_=own.leaves_at_once: called sys.exit(0)\n"
    assert not (folder / "outputs").exists()
    code, out, err = call(*words[:3], "activation._target_=torch.nn.Tanh,own.leaves_at_once", *SHORT)
    assert (code, "2 runs: 1 done, 1 failed" in out) == (1, True)
    assert "failed: activation._target_=own.leaves_at_once: activation._target_=own.leaves_at_once: called sys.exit(0)\n" in err
    assert latest().counts() == {"done": 1, "failed": 1}
    code, out, _ = call("status")
    assert (code, "2 runs: 1 done, 1 failed" in out, "called sys.exit(0)" in out) == (1, True, True)


def test_one_diverged_run_among_many(call: Call, outputs: Outputs, latest: Latest) -> None:
    rates = ",".join(["1e20", *(f"0.0{i:02}" for i in range(1, 64))])
    words = ("-m", "optimizer=sgd", "activation=identity", "trainer=smoke", "baseline=[]")
    code, out, err = call(*words, f"optimizer.lr={rates}")
    assert code == 1
    assert latest().counts() == {"done": 63, "diverged": 1}
    assert "diverged: optimizer.lr=1e+20: loss or weights became infinite or NaN by epoch 1; a smaller optimizer.lr" in err
    assert "best validation/r2" in err
    assert not re.search(r"best .*with optimizer.lr=1e\+20", err)
    rows = [line.split()[0] for line in out.splitlines() if re.match(r"(1e\+20|0\.0\d+) ", line)]
    assert len(rows) >= 39
    assert "1e+20" not in rows[:39]
    table = (latest().folder / "comparison.csv").read_text().splitlines()
    assert table[-1].startswith("diabetes,1e+20,0,")
    assert "no result" in table[-1]
    beside = {run: record["metrics"] for run, record in outputs().items() if record["status"] == "done"}
    assert call(*words, f"optimizer.lr=0.064,{rates.partition(',')[2]}", "reuse=false")[0] == 0  # one that fares well instead
    well = outputs()
    assert all(well[run]["metrics"] == metrics for run, metrics in beside.items())


def test_interrupted_runs_replace_no_finished_ones(call: Call, outputs: Outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("activation=tanh", "trainer=smoke", "baseline=[]")
    assert call(*words)[0] == 0
    before = outputs()
    monkeypatch.setattr("dlrun.experiments.signals.Interruption.__call__", lambda self: True)
    call(*words)
    call("-m", *words, "reuse=false")
    assert outputs() == before
