"""Every system that starts workers; slowly, 5,000 runs with its real library: a worker is killed, or Ctrl-C ends the command."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from dlrun.results.store import Store
from kept import results

SWEEP = ("-m", "dataset=moons", "model.hidden=[3],[4],[5],[6],[7]", "seed=range(0,1000)", "trainer.epochs=20", "baseline=[]")
TWO = "hydra.launcher.processes=2"
SYSTEMS = {  # executor -> its library, its settings, words of a worker's command line
    "dask": ("distributed", (), "spawn_main"),
    "ray": ("ray", (), "ray::_Worker"),
    "submitit": ("submitit", ("hydra.launcher.address=local",), "submitit.core._submit"),
}

Start = Callable[..., "subprocess.Popen[str]"]
Call = Callable[..., tuple[int, str, str]]
SMALL = ("-m", "dataset=moons", "seed=0,1", "trainer=smoke", "baseline=[]")


@pytest.mark.parametrize("system", SYSTEMS)
def test_without_the_extra(call: Call, monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    monkeypatch.setattr("dlrun.experiments.executors.find_spec", lambda name: None)
    code, _, err = call(*SMALL, f"hydra.launcher.executor={system}")
    assert (code, f"run: pip install 'dlrun[{system}]'" in err) == (2, True)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("hydra.launcher.address=tcp://127.0.0.1:1", "is of a cluster; type hydra.launcher.executor=dask or hydra.launcher.ex"),
        ("hydra.launcher.parameters=2", "hydra.launcher.parameters=2: must be a mapping, such as '{num_cpus: 2}'"),
        ("hydra.launcher.parameters={num_cpus: 2}", "jobs ask for; type hydra.launcher.executor=ray or hydra.launcher.executor="),
    ],
)
def test_settings_of_a_cluster_alone(call: Call, word: str, said: str) -> None:
    code, _, err = call(*SMALL, word)
    assert (code, said in err) == (2, True)


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    children: list[subprocess.Popen[str]] = []

    def begin(*words: str) -> "subprocess.Popen[str]":
        words = (sys.executable, "-m", "dlrun", *SWEEP, TWO, *words)
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        child = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )
        children.append(child)
        return child

    yield begin
    for child in children:
        child.kill()
        with child:  # closes its pipe
            pass


def kill_a_worker(child: "subprocess.Popen[str]", words: str) -> None:
    """Kill a process that the command has started, and whose command line has these words."""
    while child.poll() is None:
        for process in psutil.Process(child.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if words in " ".join(process.cmdline()):
                    process.kill()
                    return
    raise AssertionError("the command ended before it had a worker")


@pytest.fixture
def alone(start: Start, folder: Path) -> Store:
    """The same sweep in the same cohorts, here: torch rounds metrics by their size."""
    assert "5000 done" in start("hydra.launcher.executor=serial", "output_dir=alone").communicate()[0]
    return Store(folder / "alone")


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["worker", "interrupt"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_a_real_cluster(start: Start, alone: Store, folder: Path, system: str, ends: str) -> None:
    """A worker is killed and all are done, or Ctrl-C and the same command again."""
    library, settings, words = SYSTEMS[system]
    pytest.importorskip(library, reason=f"pip install 'dlrun[{system}]'")
    there = (f"hydra.launcher.executor={system}", *settings, "output_dir=there")
    child = start(*there)
    said = ""
    assert child.stdout is not None
    if system == "submitit":  # a job takes seconds to begin
        while not [*folder.glob("there/submitit/*/*.begun")]:
            assert child.poll() is None
    while not re.search(r"training, cohort [2-5]", said):
        line = child.stdout.readline()
        assert line, said
        said += line
    if ends == "worker":
        kill_a_worker(child, words)
        said += child.communicate()[0]
    else:
        os.kill(child.pid, signal.SIGINT)
        said += child.communicate()[0]
        assert child.returncode == 130, said
        child = start(*there)
        said = child.communicate()[0]
    assert (child.returncode, "5,000 runs: 5000 done" in said) == (0, True), said
    assert not [file for file in (folder / "there").iterdir() if file.name == "submitit"]
    wanted, found = results(alone.root), results(folder / "there")
    assert found.keys() == wanted.keys()
    for run, record in found.items():  # what was interrupted is cut anew into cohorts
        same = wanted[run]["metrics"] if ends == "worker" else pytest.approx(wanted[run]["metrics"], rel=1e-6, abs=1e-6)
        assert record["metrics"] == same
    mine = Store(folder / "there")
    for run in [*found][::50]:  # trained by the kernel: the same bits in any cohort
        weights = alone.weights(run)
        assert all((value == weights[name]).all() for name, value in mine.weights(run).items())
