"""SIGKILL at any moment: no finished run is lost, none is trained twice, and every file is whole."""

import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from dlrun.errors import StoreError
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep, sweep_folders
from kept import results

Wait = Callable[..., None]
Family = Callable[[int], list[int]]

# WIDTHS: cohorts, one for each width of the network
WIDTHS, SEEDS, EPOCHS = (5, 60, 300) if "DLRUN_FAULTS" in os.environ else (3, 12, 60)
RUNS = WIDTHS * SEEDS
SWEEP = (
    "-m",
    f"model.hidden={','.join(f'[{width}]' for width in range(3, 3 + WIDTHS))}",
    f"seed=range(0,{SEEDS})",
    "trainer.epochs=30",
    "dataset=moons",
    "baseline=[]",
)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, dict[str, Any]], float]:
    """What comes of the sweep when nothing happens, and the processor time that it takes."""
    from dlrun.cli.main import main

    root = tmp_path_factory.mktemp("reference")
    before = time.process_time()
    assert main([*SWEEP, f"output_dir={root}"]) == 0
    seconds = time.process_time() - before
    found = results(root)
    assert len(found) == RUNS
    return found, seconds


def check_same(found: Mapping[str, dict[str, Any]], reference: Mapping[str, dict[str, Any]]) -> None:
    """Bit for bit where a cohort had the same rows; elsewhere torch may round the ends of its tensors in another way."""
    assert found.keys() == reference.keys()
    for run, record in found.items():
        there = reference[run]
        assert record["status"] == "done"
        if record["cohort"]["runs"] == there["cohort"]["runs"]:
            assert record["metrics"] == there["metrics"]
        else:
            assert record["metrics"] == pytest.approx(there["metrics"], rel=1e-6, abs=1e-6)


@pytest.mark.fault("SIGKILL of a sweep and of its resumption at a random moment")
@pytest.mark.dose(1, of_300=150)  # two each
def test_killed_at_random_moments_and_resumed(
    lab: Any, wait: Wait, reference: tuple[dict[str, dict[str, Any]], float], number: int, injected: Callable[[int], None]
) -> None:
    rng = random.Random(number)
    before: dict[str, Any] = {}
    reader = Reader(lab.root)
    with lab.meanwhile(reader.look):
        for _ in range(2):
            begun, claims = lab.sweeps(), lab.claims()
            child = lab.start("resume", str(begun[0])) if begun else lab.start(*SWEEP)
            wait(lambda child=child, claims=claims: lab.claims() - claims or child.poll() is not None)
            lab.work(lambda child=child: living(child), rng.uniform(0.0, 0.8 * reference[1]))
            lab.kill(child)
            now = lab.stamps()
            assert all(now.get(run) == stamp for run, stamp in before.items()), "a finished run was trained again"
            before = now
        code, out, err = lab.run(*SWEEP)  # the same command again is as good as resuming
    assert (code, f"{RUNS} runs: {RUNS} done" in out) == (0, True), err
    assert not reader.problems
    assert reader.read > 0
    after = lab.stamps()
    assert len(after) == RUNS
    assert all(after[run] == stamp for run, stamp in before.items())
    check_same(lab.records(), reference[0])
    lab.check_clean()
    injected(2)
    for sweep in lab.sweeps():
        said = lab.run("status", str(sweep))[1].splitlines()
        assert said == [str(sweep), f"{RUNS} runs: {RUNS} done", "no process is training it"]


@pytest.mark.fault("SIGKILL of a sweep between two checkpoints")
def test_a_killed_cohort_goes_on_from_its_checkpoint(lab: Any, reference: tuple[dict[str, dict[str, Any]], float]) -> None:
    child = lab.hold(1, (*SWEEP, "trainer.checkpoint_s=1e-9", "hydra.launcher.processes=2"))  # trained, and not yet written
    lab.kill(child)
    lab.release()
    assert lab.checkpoints()
    assert not lab.records()
    code, out, err = lab.run("resume")
    assert (code, f"{RUNS} runs: {RUNS} done" in out, "goes on at epoch" in err) == (0, True, True), err
    check_same(lab.records(), reference[0])
    lab.check_clean()


class Reader:
    """Reads every sweep and all results over and over while the sweep runs, as a dashboard would."""

    def __init__(self, root: Path) -> None:
        self.root, self.read = root, 0
        self.problems: list[str] = []

    def look(self) -> None:
        try:
            store = Store(self.root)
            for folder in sweep_folders(store):
                Sweep.open(folder).refresh(store, self.problems.append)
                self.read += 1
        except StoreError as error:
            self.problems.append(str(error))


@pytest.mark.fault("SIGKILL of a single run")
@pytest.mark.dose(1, of_300=30)
def test_a_run_that_is_killed_leaves_the_earlier_one(lab: Any, number: int) -> None:
    words = ("dataset=moons", f"trainer.epochs={EPOCHS}", "baseline=[]")
    assert lab.run(*words)[0] == 0
    before = lab.records()
    child = lab.start(*words)
    lab.work(lambda: living(child), random.Random(number).uniform(1.0, 4.0) * lab.pace)
    lab.kill(child)
    metrics = {run: record["metrics"] for run, record in before.items()}
    assert {run: record["metrics"] for run, record in lab.records().items()} == metrics
    assert lab.run(*words)[0] == 0
    lab.check_clean()


@pytest.mark.fault("SIGKILL of the parent of workers")
@pytest.mark.dose(1, of_300=30)
def test_workers_do_not_outlive_their_parent(lab: Any, wait: Wait, processes_of: Family, number: int) -> None:
    child = lab.start(*SWEEP, "trainer.epochs=20000", "hydra.launcher.processes=2")
    wait(lambda: len(workers(processes_of(child.pid))) == 2, child)
    lab.work(lambda: workers(processes_of(child.pid)), random.Random(number).uniform(0.0, 6.0) * lab.pace)
    all_of_it = processes_of(child.pid)[1:]
    lab.kill(child)
    wait(lambda: not any(is_alive(process) for process in all_of_it))


@pytest.mark.fault("SIGKILL of a worker")
@pytest.mark.dose(1, of_300=30)
def test_a_worker_that_is_killed_costs_no_run(lab: Any, wait: Wait, processes_of: Family, number: int) -> None:
    child = lab.start(*SWEEP, "seed=range(0,8)", f"trainer.epochs={EPOCHS}", "hydra.launcher.processes=2")
    wait(lambda: len(workers(processes_of(child.pid))) == 2, child)
    lab.work(lambda: workers(processes_of(child.pid)), random.Random(number).uniform(0.0, 8.0) * lab.pace)
    for worker in workers(processes_of(child.pid))[:1]:
        os.kill(worker, signal.SIGKILL)
    code, out, err = lab.end(child)
    assert (code, f"{WIDTHS * 8} runs: {WIDTHS * 8} done" in out) == (0, True), err
    assert len(lab.records()) == WIDTHS * 8
    lab.check_clean()


STILLBORN = """
import os
from pathlib import Path

from dlrun.isolation import child

begin = child._begin

def late(*given):
    number = len(list(Path().glob("out/worker*")))
    Path(f"out/worker{number}").touch()
    if number < {ended}:
        os._exit(1)
    begin(*given)

child._begin = late
"""


@pytest.mark.fault("SIGKILL of a worker")
@pytest.mark.parametrize("ended", [1, 99])
def test_a_worker_that_ends_before_it_has_begun(lab: Any, ended: int) -> None:
    (lab.modules / "sitecustomize.py").write_text(STILLBORN.replace("{ended}", str(ended)))
    code, out, err = lab.end(lab.start(*SWEEP, "seed=0,1", "hydra.launcher.executor=processes"))
    if ended == 1:
        assert (code, f"{WIDTHS * 2} runs: {WIDTHS * 2} done" in out) == (0, True), err
    else:
        assert (code, out) == (2, "")
        assert "error: 3 worker processes ended before they had begun; the last: the process ended with exit code 1" in err
        assert not lab.records()


def living(child: Any) -> list[int]:
    """The process, while it lives."""
    return [child.pid] if child.poll() is None else []


def workers(processes: list[int]) -> list[int]:
    """Those that train: not the parent."""
    return [process for process in processes[1:] if "isolation.child" in command_of(process)]


def command_of(process: int) -> str:
    """Its words, and the name it has: one that was forked has the words of another."""
    try:
        return " ".join(Path(f"/proc/{process}/{part}").read_text().replace("\0", " ") for part in ("comm", "cmdline"))
    except OSError:
        return ""


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
