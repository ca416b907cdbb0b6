"""A component of the user's own that ends the process it runs in costs its own runs, and no others.

The components here end their own process, which is a worker: with os._exit, or with a signal that they send to themselves.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dlrun
from dlrun.results.sweeps import Sweep

Call = Callable[..., tuple[int, str, str]]
Latest = Callable[..., Sweep]
Outputs = Callable[..., dict[str, dict[str, Any]]]

MODULE = """
import os
import signal
import torch
from dlrun.data.sources.real import iris

def dies(x):
    if x.shape[-2] > 3:  # more rows than the component check has
        os.kill(os.getpid(), signal.SIGSEGV)
    return torch.relu(x)

def leaves(x):
    if x.shape[-2] > 3:
        os._exit(0)
    return torch.relu(x)

def leaves_at_once(x):
    os._exit(3)

def steady(x):
    return torch.tanh(x)

def data(**given):
    os._exit(0)
"""
SHORT = ("trainer=smoke", "baseline=[]", "dataset=moons")
WAYS = [pytest.param((), id="run"), pytest.param(("-m",), id="sweep", marks=pytest.mark.starts_workers)]


@pytest.fixture
def own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A module of the user's own."""
    (folder / "own.py").write_text(MODULE)
    monkeypatch.setattr("dlrun.own_modules._imported", set())
    monkeypatch.delitem(__import__("sys").modules, "own", raising=False)
    return "--import", "own"


def test_the_culprit_alone_is_lost(call: Call, own: tuple[str, str], outputs: Outputs, latest: Latest) -> None:
    code, out, err = call(*own, "-m", "activation._target_=torch.nn.Tanh,own.dies", "seed=0,1", *SHORT)
    assert code == 1
    assert "4 runs: 2 done, 2 failed" in out
    why = "the process that trained it ended with signal SIGSEGV; it uses the component own.dies"
    assert f"failed: activation._target_=own.dies seed=0 and 1 more: {why}\n" in err
    assert "own.py" in Path(re.findall(r"the first one's traceback is in (.+)", err)[0]).read_text()
    before = outputs()
    assert sorted(record["status"] for record in before.values()) == ["done"] * 2 + ["failed"] * 2
    code, out, _ = call("resume", *own)
    assert (code, "4 runs: 2 done, 2 failed, 4 of them taken over, none trained" in out) == (1, True)
    assert outputs() == before
    assert latest().counts() == {"done": 2, "failed": 2}


def test_a_component_that_ends_its_process_when_it_is_tried(call: Call, own: tuple[str, str], latest: Latest) -> None:
    code, out, err = call(*own, "-m", "activation._target_=own.leaves_at_once,torch.nn.Tanh", *SHORT)
    assert (code, "2 runs: 1 done, 1 failed" in out) == (1, True)
    assert "activation._target_=own.leaves_at_once: the process that tried it ended with exit code 3\n" in err
    assert latest().counts() == {"done": 1, "failed": 1}


def test_data_that_ends_its_process(call: Call, own: tuple[str, str], latest: Latest) -> None:
    source = "dlrun.data.sources.real.iris"
    words = ("dataset=iris", "trainer=smoke", "baseline=[]")
    code, out, err = call(*own, "-m", *words, f"dataset._target_={source},own.data")
    assert (code, "2 runs: 1 done, 1 failed" in out) == (1, True)
    assert "dataset=iris: the process that read it ended with exit code 0; it uses the component own.data\n" in err


@pytest.mark.parametrize("words", WAYS)
def test_an_import_that_ends_its_process(call: Call, own: tuple[str, str], folder: Path, words: tuple[str, ...]) -> None:
    (folder / "final.py").write_text("import os\nos._exit(0)\n")
    code, out, err = call("--import", "final", *words, *SHORT)
    assert (code, out) == (2, "")
    assert err == "error: --import final: the process that imported it ended with exit code 0\n"


def test_a_single_run_that_ends_its_process(call: Call, own: tuple[str, str]) -> None:
    code, out, err = call(*own, "activation._target_=own.leaves", *SHORT)
    assert (code, out) == (1, "")
    assert "error: the process that trained it ended with exit code 0; it uses the component own.leaves\n" in err


@pytest.mark.parametrize("way", WAYS)
def test_a_worker_computes_the_same(call: Call, own: tuple[str, str], outputs: Outputs, way: tuple[str, ...]) -> None:
    words = ("activation._target_=own.steady", *SHORT)
    here = dlrun.run(*words, imports=["own"], progress=False)  # Python's run trains in its own process
    weights = here.weights
    assert call(*own, *way, *words, "reuse=false")[0] == 0
    assert outputs()[here.id]["metrics"] == here.metrics
    again = dlrun.load(here.id).weights
    assert all((again[name] == value).all() for name, value in weights.items())


def test_python_keeps_its_process(own: tuple[str, str], folder: Path) -> None:
    table = dlrun.sweep("activation._target_=torch.nn.Tanh,own.leaves", *SHORT, imports=["own"], progress=False)
    assert table["status"].tolist() == ["done", "failed"]
    assert table["reason"][1] == "the process that trained it ended with exit code 0; it uses the component own.leaves"
