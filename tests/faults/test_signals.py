"""Ctrl-C and SIGTERM: the command stops at once, keeps what has ended, says how to carry on, and can carry on."""

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.fault("Ctrl-C and SIGTERM")

Wait = Callable[..., None]

# WIDTHS: cohorts, one for each width of the network
WIDTHS, SEEDS, EPOCHS = (
    (5, 20, 60) if "DLRUN_FAULTS" in os.environ else (4, 8, 30)
)  # one cohort is held, one trains meanwhile, and one has not begun
RUNS = WIDTHS * SEEDS
SWEEP = (
    "-m",
    f"model.hidden={','.join(f'[{width}]' for width in range(3, 3 + WIDTHS))}",
    f"seed=range(0,{SEEDS})",
    f"trainer.epochs={EPOCHS}",
    "dataset=moons",
    "baseline=[]",
)

INTERRUPTS = """
import os, signal
import torch

calls = 0

def relu(x):
    global calls
    calls += x.shape[-2] > 3  # not when it is tried
    if calls == 100:
        os.kill(os.getppid(), signal.SIGINT)  # a component runs in a worker
    return torch.relu(x)
"""

HANGS = """
import time
from pathlib import Path
import torch

def hangs(x):
    if x.shape[-2] > 3:  # not when it is tried
        Path("begun").touch()
        while True:
            time.sleep(1)
    return torch.relu(x)
"""

LATE = """
import time
from pathlib import Path

from dlrun.isolation import child

begin = child._begin

def late(*given):
    number = len(list(Path().glob("worker*")))
    Path(f"worker{number}").touch()
    while number == 1:
        time.sleep(1)
    begin(*given)

child._begin = late
"""

DEADLY = """
import os
import signal
import time
import time
from pathlib import Path
import torch

def deadly(x):
    if x.shape[-2] > 3 and not Path("mended").exists():  # not when it is tried
        Path(f"attempt{len(list(Path().glob('attempt*')))}").touch()
        if Path("attempt2").exists():  # in the middle of the search for the culprit
            time.sleep(60)
        os.kill(os.getpid(), signal.SIGSEGV)
    return torch.relu(x)
"""


def sum_of(line: str) -> int:
    return sum(int(part.split()[0]) for part in line.partition(": ")[2].split(", "))


@pytest.mark.parametrize(
    ("which", "words"),
    [(signal.SIGTERM, ()), (signal.SIGINT, ("hydra.launcher.processes=2",))],
    ids=["one process", "processes"],
)
def test_a_sweep_stops_and_carries_on(lab: Any, which: signal.Signals, words: tuple[str, ...]) -> None:
    child = lab.hold(SEEDS + 1, (*SWEEP, *words))  # the first cohort is kept, of the second nothing yet
    out, _ = lab.stop(child, which, everybody=which == signal.SIGINT)  # a terminal sends it to the workers too
    before = {run: stamp for run, stamp in lab.stamps().items() if lab.records()[run]["status"] == "done"}
    assert SEEDS <= len(before) < RUNS
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


def test_an_epoch_is_left_in_the_middle(lab: Any) -> None:
    (lab.modules / "own.py").write_text(INTERRUPTS)
    words = ("dataset=moons", "dataset.rows=400000", "trainer.batch_size=4", "baseline=[]", "hydra.launcher.processes=1")
    code, out, err = lab.end(lab.start("--import", "own", "-m", "seed=0,1", *words, "activation._target_=own.relu"))
    assert (code, "Traceback" in err) == (128 + signal.SIGINT, False)
    assert "2 runs: 2 interrupted" in out
    assert {(record["status"], record["epochs"]) for record in lab.records().values()} == {("interrupted", 0)}


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_single_run_stops_and_is_kept(lab: Any, which: signal.Signals) -> None:
    child = lab.start("trainer.epochs=1000000", "baseline=[]")
    assert "epoch 1/" in child.stderr.readline()
    lab.stop(child, which)
    (record,) = lab.records().values()
    assert record["status"] == "interrupted"
    assert record["epochs"] > 0
    assert record["metrics"]["test/r2"] is not None


@pytest.mark.parametrize(("which", "words"), [(signal.SIGINT, ()), (signal.SIGTERM, ("-m", "seed=0,1"))], ids=["run", "sweep"])
def test_a_second_signal_does_not_ask(
    lab: Any, wait: Wait, processes_of: Callable[[int], list[int]], which: signal.Signals, words: tuple[str, ...]
) -> None:
    (lab.modules / "own.py").write_text(HANGS)
    child = lab.start("--import", "own", *words, "activation._target_=own.hangs", "dataset=moons", "baseline=[]")
    wait((lab.folder / "begun").exists, child)
    workers = processes_of(child.pid)[1:]
    while child.poll() is None:  # the component goes on after the first
        os.kill(child.pid, which)
        time.sleep(0.05)
    code, _, err = lab.end(child)
    assert (code, "Traceback" in err) == (128 + which, False)
    wait(lambda: not any(os.path.exists(f"/proc/{process}") for process in workers))


def test_a_worker_that_starts_is_not_waited_for(lab: Any, wait: Wait) -> None:
    (lab.modules / "sitecustomize.py").write_text(LATE)
    child = lab.start(*SWEEP, "trainer.epochs=1000000", "hydra.launcher.processes=2")
    wait((lab.folder / "worker1").exists, child)
    out, _ = lab.stop(child, signal.SIGTERM)
    assert " pending" in out


@pytest.mark.dose(1, of_300=30)
def test_a_signal_while_the_culprit_is_searched(
    lab: Any, wait: Wait, processes_of: Callable[[int], list[int]], number: int
) -> None:
    (lab.modules / "own.py").write_text(DEADLY)
    which = random.Random(number).choice([signal.SIGINT, signal.SIGTERM])
    words = ("activation._target_=torch.nn.Tanh,own.deadly", "seed=range(0,4)", "dataset=moons", "baseline=[]", "trainer=smoke")
    child = lab.start("--import", "own", "-m", *words)
    wait((lab.folder / "attempt2").exists, child)
    all_of_it = processes_of(child.pid)[1:]
    assert all_of_it
    out, _ = lab.stop(child, which, everybody=True)
    wait(lambda: not any(os.path.exists(f"/proc/{process}") for process in all_of_it))
    counts = next(line for line in out.splitlines() if line.startswith("8 runs: "))
    assert sum_of(counts) == 8
    (lab.folder / "mended").touch()
    code, out, err = lab.end(lab.start("resume", "--import", "own"))
    assert (code, "8 runs: 8 done" in out) == (0, True), err


@pytest.mark.dose(1)
@pytest.mark.starts_workers  # the start is among the moments
def test_a_signal_at_any_moment(lab: Any, number: int) -> None:
    rng = random.Random(number)
    which = rng.choice([signal.SIGINT, signal.SIGTERM])
    child = lab.start(*SWEEP)
    lab.work(lambda: [child.pid] if child.poll() is None else [], rng.uniform(0.1, 3.0) * lab.pace)
    child.send_signal(which)  # none where it has ended before
    code, _, err = lab.end(child)
    assert code in (0, 128 + which, -which), err
    code, out, err = lab.run(*SWEEP)
    assert (code, f"{RUNS} runs: {RUNS} done" in out) == (0, True), err
    lab.check_clean()


def test_status_while_it_trains(lab: Any) -> None:
    child = lab.hold(SEEDS + 1, SWEEP)
    code, out, _ = lab.run("status")
    assert code == 0
    counts = next(line for line in out.splitlines() if line.startswith(f"{RUNS} runs: "))
    assert sum_of(counts) == RUNS
    assert f"{SEEDS} done" in counts
    assert f"training now: process {child.pid} on" in out
    code, _, err = lab.run("resume")
    assert code == 2
    assert f"is being worked on by process {child.pid}" in err
    lab.release()
    assert lab.end(child)[0] == 0
