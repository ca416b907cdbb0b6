"""Ctrl-C and SIGTERM: the command stops within seconds, keeps what has ended, says how to carry on, and can carry on."""

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

Wait = Callable[..., None]

SWEEP = ("-m", "model.hidden=[3],[4],[5],[6],[7]", "seed=range(0,20)", "dataset=moons", "trainer.epochs=60", "baseline=[]")
RUNS = 100
SLOW = """
import time
from pathlib import Path
import torch

def slow(x):
    if x.shape[-2] > 3:  # not when it is tried
        Path("begun").touch()
        time.sleep(60)
    return torch.relu(x)
"""


def stopped(lab: Any, child: Any, which: signal.Signals, within: float, everybody: bool = False) -> tuple[str, str]:
    """Send a signal; the process must end in time, with the right exit code and without a traceback."""
    start = time.perf_counter()
    (os.killpg if everybody else os.kill)(child.pid, which)
    code, out, err = lab.end(child)
    assert time.perf_counter() - start < within, err
    assert code == 128 + which, err
    assert "Traceback" not in err
    return out, err


def sum_of(line: str) -> int:
    return sum(int(part.split()[0]) for part in line.partition(": ")[2].split(", "))


@pytest.mark.parametrize(
    ("which", "words"),
    [(signal.SIGTERM, ()), (signal.SIGINT, ("hydra.launcher.processes=2",))],
    ids=["one process", "processes"],
)
def test_a_sweep_stops_and_carries_on(lab: Any, wait: Wait, which: signal.Signals, words: tuple[str, ...]) -> None:
    child = lab.start(*SWEEP, *words)
    wait(lambda: len(lab.stamps()) > 0, child)
    out, _ = stopped(lab, child, which, 5, everybody=which == signal.SIGINT)  # a terminal sends it to the workers too
    before = {run: stamp for run, stamp in lab.stamps().items() if lab.records()[run]["status"] == "done"}
    assert before
    (sweep,) = lab.sweeps()
    assert f"carry on with: dlrun resume {sweep}\n" in out
    counts = next(line for line in out.splitlines() if line.startswith(f"{RUNS} runs: "))
    assert f"{len(before)} done" in counts
    assert sum_of(counts) == RUNS
    code, said, _ = lab.run("status")
    assert code == 0
    assert counts in said
    assert "no process is training it" in said
    code, out, err = lab.run("resume")
    assert (code, f"{RUNS} runs: {RUNS} done" in out) == (0, True), err
    after = lab.stamps()
    assert all(after[run] == stamp for run, stamp in before.items())
    assert {record["status"] for record in lab.records().values()} == {"done"}
    lab.check_clean()


def test_a_long_epoch_is_left_in_the_middle(lab: Any) -> None:
    words = ("dataset=moons", "dataset.rows=400000", "trainer.batch_size=4", "baseline=[]", "hydra.launcher.processes=1")
    child = lab.start("-m", "seed=0,1", *words)
    while "training" not in child.stderr.readline():
        assert child.poll() is None
    time.sleep(3)
    out, _ = stopped(lab, child, signal.SIGINT, 5)
    assert "2 runs: 2 interrupted" in out
    assert {(record["status"], record["epochs"]) for record in lab.records().values()} == {("interrupted", 0)}


def test_a_single_run_stops_and_is_kept(lab: Any) -> None:
    child = lab.start("trainer.epochs=1000000", "baseline=[]")
    assert "epoch 1/" in child.stderr.readline()
    stopped(lab, child, signal.SIGTERM, 5)
    (record,) = lab.records().values()
    assert record["status"] == "interrupted"
    assert record["epochs"] > 0
    assert record["metrics"]["test/r2"] is not None


@pytest.mark.parametrize(("which", "words"), [(signal.SIGINT, ()), (signal.SIGTERM, ("-m", "seed=0,1"))], ids=["run", "sweep"])
def test_a_second_signal_does_not_ask(lab: Any, wait: Wait, which: signal.Signals, words: tuple[str, ...]) -> None:
    (lab.folder / "own.py").write_text(SLOW)
    child = lab.start("--import", "own", *words, "activation._target_=own.slow", "dataset=moons", "baseline=[]")
    wait((lab.folder / "begun").exists, child)
    os.kill(child.pid, which)
    time.sleep(0.5)
    assert child.poll() is None
    stopped(lab, child, which, 5)


@pytest.mark.dose(1)
def test_a_signal_at_any_moment(lab: Any, number: int) -> None:
    rng = random.Random(number)
    which = rng.choice([signal.SIGINT, signal.SIGTERM])
    child = lab.start(*SWEEP)
    time.sleep(rng.uniform(0.7, 5.0))
    os.kill(child.pid, which)
    code, _, err = lab.end(child, 8)
    assert code in (0, 128 + which, -which), err
    code, out, err = lab.run(*SWEEP)
    assert (code, f"{RUNS} runs: {RUNS} done" in out) == (0, True), err
    lab.check_clean()


@pytest.mark.dose(1)
def test_status_while_it_trains(lab: Any, wait: Wait, number: int) -> None:
    child = lab.start(*SWEEP, "trainer.epochs=300")
    wait(lambda: len(lab.stamps()) > 0, child)
    code, out, _ = lab.run("status")
    assert code == 0
    counts = next(line for line in out.splitlines() if line.startswith(f"{RUNS} runs: "))
    assert sum_of(counts) == RUNS
    assert "done" in counts
    if child.poll() is None:
        assert f"training now: process {child.pid} on" in out
        code, _, err = lab.run("resume")
        if child.poll() is None:
            assert code == 2
            assert f"is being worked on by process {child.pid}" in err
    assert lab.end(child)[0] == 0
