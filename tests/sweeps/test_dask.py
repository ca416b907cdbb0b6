"""Sweeps on Dask: here with a client that trains at once and loses workers when asked to, and slowly with a real cluster."""

import importlib.machinery
import os
import re
import signal
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from dlrun.experiments.executors import dask
from dlrun.results.store import Store
from kept import results

Call = Callable[..., tuple[int, str, str]]
Outputs = Callable[..., dict[str, dict[str, Any]]]

SWEEP = ("-m", "dataset=moons", "model.hidden=[3],[4]", "seed=0,1,2", "trainer=smoke", "baseline=[]")
ON_DASK = ("hydra.launcher.executor=dask", "hydra.launcher.processes=2")
ALONE = ("hydra.launcher.executor=serial", "hydra.launcher.processes=2")  # the same cohorts: torch rounds metrics by their size


class Inline:
    """A client whose workers train when a cohort is submitted; as many begin it first and are lost as ``lost`` says."""

    status = "running"

    def __init__(self, lost: Iterator[int]) -> None:
        self.lost, self.scattered, self.submitted = lost, 0, 0
        self.hear: Callable[[Any], None] = lambda event: None

    def subscribe_topic(self, name: str, hear: Callable[[Any], None]) -> None:
        self.hear = hear

    def log_event(self, name: str, message: Any) -> None:
        self.hear((0.0, message))

    def scatter(self, data: Any, **how: Any) -> Any:
        self.scattered += 1
        return types.SimpleNamespace(status="finished", data=data)

    def submit(self, train: Any, given: bytes, references: Any, about: Any, *, key: str, **how: Any) -> Any:
        self.submitted += 1
        datasets = [reference.data for reference in references]
        future = types.SimpleNamespace(key=key, status="pending", cancel=lambda **how: None, add_done_callback=lambda call: None)
        future.done = lambda: future.status == "finished"

        def result(timeout: float) -> bytes:
            answer: bytes = train(given, datasets, about)
            return answer

        future.result = result
        lost = next(self.lost, 0)
        if lost == -1:  # its data
            future.status = "lost"
        for _ in range(2 * max(lost, 0)):
            self.hear_later.append((0.0, (key, None)))
        future.status = future.status if lost else "finished"
        return future

    def cancel(self, futures: Any, force: bool) -> None:
        pass

    def run(self, function: Any, *given: Any, **how: Any) -> None:
        function(*given)

    def close(self) -> None:
        pass

    @property
    def hear_later(self) -> Any:
        """Events arrive when the task is known to its executor: at the next wait."""
        return self.__dict__.setdefault("_later", [])


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Inline]:
    """``inline(1, 0)``: the first cohort loses its worker, and is then trained."""

    def make(*lost: int) -> Inline:
        client = Inline(iter(lost))
        module = types.ModuleType("distributed")
        module.__spec__ = importlib.machinery.ModuleSpec("distributed", None)
        module.__dict__.update(get_worker=lambda: client, KilledWorker=type("KilledWorker", (Exception,), {}))
        monkeypatch.setitem(sys.modules, "distributed", module)
        monkeypatch.setattr(dask, "_local", lambda count: types.SimpleNamespace(close=lambda: None))
        monkeypatch.setattr(dask, "_client", lambda where: client)

        def wait(self: dask.Dask, tasks: Any) -> None:
            while client.hear_later:
                client.hear(client.hear_later.pop(0))

        monkeypatch.setattr(dask.Dask, "wait", wait)
        return client

    return make


@pytest.mark.parametrize(("lost", "submitted"), [((), 6), ((1,), 7), ((-1, 0, -1), 8)], ids=["none", "a worker", "data"])
def test_same_bits(call: Call, outputs: Outputs, inline: Any, lost: tuple[int, ...], submitted: int) -> None:
    assert call(*SWEEP, *ALONE)[0] == 0
    there = {run: record["metrics"] for run, record in outputs().items()}
    client = inline(*lost)
    code, out, err = call(*SWEEP, *ON_DASK, "reuse=false")
    assert (code, "6 runs: 6 done" in out) == (0, True), err
    assert {run: record["metrics"] for run, record in outputs().items()} == there
    assert (client.scattered, client.submitted) == (1, submitted)


def test_a_run_that_loses_every_worker_fails_alone(call: Call, outputs: Outputs, inline: Any) -> None:
    inline(*[1] * 100)
    code, out, _ = call(*SWEEP, "model.hidden=[3]", "seed=0,1", *ON_DASK)
    assert (code, "2 runs: 2 failed" in out) == (1, True)
    assert {record["reason"] for record in outputs().values()} == {"the process that trained it ended: Dask lost its worker"}


def test_without_the_extra(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlrun.experiments.executors.find_spec", lambda name: None)
    code, _, err = call(*SWEEP, *ON_DASK)
    assert (code, "run: pip install 'dlrun[dask]'" in err) == (2, True)


def test_an_address_is_of_dask(call: Call) -> None:
    code, _, err = call(*SWEEP, "hydra.launcher.address=tcp://127.0.0.1:1")
    assert (code, "type hydra.launcher.executor=dask too" in err) == (2, True)


@pytest.mark.filterwarnings("default")
def test_nothing_answers(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="pip install 'dlrun[dask]'")
    monkeypatch.setattr(dask, "ANSWER", 0.1)
    code, _, err = call(*SWEEP, ON_DASK[0], "hydra.launcher.address=tcp://127.0.0.1:1")
    assert (code, "hydra.launcher.address=tcp://127.0.0.1:1: no Dask scheduler answers" in err) == (2, True)


@pytest.mark.slow
@pytest.mark.parametrize("ends", ["worker", "interrupt"])
def test_a_real_cluster(folder: Path, ends: str) -> None:
    """5,000 runs: a worker is killed and all are done, or Ctrl-C and the same command again."""
    pytest.importorskip("distributed", reason="pip install 'dlrun[dask]'")
    sweep = ("-m", "dataset=moons", "model.hidden=[3],[4],[5],[6],[7]", "seed=range(0,1000)", "trainer.epochs=20", "baseline=[]")

    def start(*words: str) -> "subprocess.Popen[str]":
        words = (sys.executable, "-m", "dlrun", *sweep, *words)
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1
        )

    child = start(*ON_DASK, "output_dir=dask")
    said = ""
    assert child.stdout is not None
    while not re.search(r"[2-4],000 training", said):
        line = child.stdout.readline()
        assert line, said
        said += line
    if ends == "worker":
        workers = [one for one in psutil.Process(child.pid).children() if "spawn_main" in " ".join(one.cmdline())]
        assert len(workers) == 2
        workers[0].kill()
        said += child.communicate()[0]
    else:
        os.kill(child.pid, signal.SIGINT)
        said += child.communicate()[0]
        assert child.returncode == 130, said
        child = start(*ON_DASK, "output_dir=dask")
        said = child.communicate()[0]
    assert (child.returncode, "5,000 runs: 5000 done" in said) == (0, True), said
    alone = start(*ALONE, "output_dir=alone")
    assert "5000 done" in alone.communicate()[0]
    there, found = results(folder / "alone"), results(folder / "dask")
    assert found.keys() == there.keys()
    for run, record in found.items():  # what was interrupted is cut anew into cohorts
        same = there[run]["metrics"] if ends == "worker" else pytest.approx(there[run]["metrics"], rel=1e-6, abs=1e-6)
        assert record["metrics"] == same
    mine, theirs = Store(folder / "dask"), Store(folder / "alone")
    for run in [*found][::50]:  # trained by the kernel: the same bits in any cohort
        weights = theirs.weights(run)
        assert all((value == weights[name]).all() for name, value in mine.weights(run).items())
