"""What a sweep over many workers would take, simulated from two small ones: the table of docs/scale.md.

    python benchmarks/scale.py                      1,000,000 runs on 1 to 1,000 workers, small ones and LARGE ones
    python benchmarks/scale.py --check 100000       so many runs on two workers here, simulated and then trained; wants quiet

Two sweeps on Dask workers of this machine, of FEW and of MORE runs, tell what the command and a worker compute for a run: seconds
of processor before the first cohort, while cohorts train, and afterwards; a line through both tells what does not grow with them.
The simulation is of events: the command is a server that writes cohorts down one after the other, workers train one cohort each,
and on one machine all of them share its cores. Workers may be lost: their cohort is trained again.
"""

import argparse
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

FEW, MORE = 2_000, 20_000
ROWS = 1024  # of a cohort, where the cache does not want fewer
WIDTHS = 5
LARGE = 0.1  # seconds that a run trains
LOST = (math.inf, 1.0, 0.1)  # mean hours until a worker is lost
TOLERANCE = 0.2
TINY = 1e-9


@dataclass(frozen=True)
class Cost:
    """What a sweep takes, or a run of it, in seconds of processor and in bytes."""

    before: float  # composing and planning, in the command
    during: float  # packing, receiving and writing cohorts, in the command
    after: float  # the table and its files, in the command
    worker: float  # training
    store: float  # bytes
    memory: float  # bytes of the command at its peak

    def line(self, other: "Cost", runs: int, others: int) -> tuple["Cost", "Cost"]:
        """What is there without a run, and what a run adds: through this sweep and another one."""
        slopes = {name: (value - vars(self)[name]) / (others - runs) for name, value in vars(other).items()}
        return Cost(**{name: max(0.0, value - runs * slopes[name]) for name, value in vars(self).items()}), Cost(**slopes)


def words(runs: int) -> list[str]:
    """A sweep of so many runs: five widths, which are five cohorts or more."""
    widths = ",".join(f"[{8 * width}]" for width in range(1, WIDTHS + 1))
    return ["dataset=moons", f"model.hidden={widths}", f"seed=range(0,{runs // WIDTHS})", "trainer.epochs=100", "baseline=[]"]


def sweep(count: int, workers: int) -> None:
    """Train it on Dask workers, and print what it took as JSON; a process of its own."""
    from dlrun.config.composing.from_python import several
    from dlrun.experiments.events import Listener
    from dlrun.experiments.experiment import How, SweepExperiment

    class Clock(Listener):
        last = 0.0

        def run_ended(self, records: Sequence[object]) -> None:
            self.last = time.process_time()

    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        clock = Clock()
        launcher = {"executor": "dask", "processes": workers}
        jobs, settings = several([*words(count), "output_dir=outputs"])
        experiment = SweepExperiment(jobs, How(launcher={**settings, **launcher}), [clock])
        experiment.prepare()
        prepared, before = time.process_time(), _children()
        assert experiment.run().code == 0
        ended = time.process_time()
        store = sum(path.stat().st_size for path in Path("outputs").glob("dlrun.sqlite*"))
        memory = psutil.Process().memory_full_info().uss
        print(json.dumps(vars(Cost(prepared, clock.last - prepared, ended - clock.last, _children() - before, store, memory))))


def _children() -> float:
    times = os.times()
    return times.children_user + times.children_system


def measured(count: int, workers: int) -> tuple[Cost, float]:
    """What a sweep takes, and its seconds by the clock."""
    started = time.perf_counter()
    command = [sys.executable, __file__, "--sweep", str(count), "--workers", str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    return Cost(**json.loads(done.stdout.splitlines()[-1])), time.perf_counter() - started


def simulated(
    runs: int,
    workers: int,
    base: Cost,
    run: Cost,
    idle: float,
    *,
    cores: int | None,
    lost_after: float = math.inf,
    back: float = 30.0,
) -> float:
    """Seconds by the clock.

    Args:
        base, run: what is there without a run, and what a run adds.
        idle: seconds by the clock of the smallest sweep that nothing computes.
        cores: that the command and its workers share; None when each has its own.
        lost_after: mean seconds until a worker at work is lost (exponential). Its cohort begins anew on another one.
        back: seconds until another one takes its place.
    """
    draw = random.Random(0)
    waiting = [min(ROWS, runs - first) for first in range(0, runs, ROWS)]
    busy: list[_Training] = []
    arrived: list[int] = []  # cohorts that the command has not yet written
    writing = 0.0  # seconds that are left of the one that it writes
    away: list[float] = []  # when workers come back
    free = workers
    now = idle + base.before + run.before * runs + base.during
    while waiting or busy or arrived or writing:
        while waiting and free:
            size, free = waiting.pop(), free - 1
            seconds, until = run.worker * size, draw.expovariate(1 / lost_after) if lost_after < math.inf else math.inf
            busy.append(_Training(size, min(seconds, until), lost=until < seconds))
        if arrived and not writing:
            writing = run.during * arrived.pop()
        rate = 1.0 if cores is None else min(1.0, cores / max(1, len(busy) + bool(writing)))
        step = min(
            [each.left / rate for each in busy] + ([writing / rate] if writing else []) + [back_at - now for back_at in away]
        )
        now += step
        writing = _less(writing, step * rate)
        for each in busy:
            each.left = _less(each.left, step * rate)
        for each in [each for each in busy if not each.left]:
            busy.remove(each)
            (waiting if each.lost else arrived).append(each.size)
            if each.lost:
                away.append(now + back)
            else:
                free += 1
        free += sum(back_at <= now + TINY for back_at in away)
        away = [back_at for back_at in away if back_at > now + TINY]
    return now + base.after + run.after * runs


@dataclass
class _Training:
    size: int
    left: float  # seconds
    lost: bool  # its worker goes then


def _less(seconds: float, step: float) -> float:
    return seconds - step if seconds - step > TINY else 0.0


def main() -> None:
    """Print what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", type=int, metavar="RUNS")
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--sweep", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.sweep:
        sweep(given.sweep, given.workers)
        return
    cores = len(os.sched_getaffinity(0))
    (few, clock), (more, _) = measured(FEW, 2), measured(MORE, 2)
    base, run = few.line(more, FEW, MORE)
    idle = max(0.0, clock - simulated(FEW, 2, base, run, 0.0, cores=cores))
    for name in ("before", "during", "after", "worker"):
        print(f"{name}: {1000 * vars(run)[name]:.3f} ms a run, {vars(base)[name]:.2f} s without one")
    print(
        f"store: {run.store:,.0f} bytes a run; memory of the command: {run.memory:,.0f}; {idle:.1f} s in which nothing computes"
    )
    if given.check:
        told = simulated(given.check, 2, base, run, idle, cores=cores)
        cost, took = measured(given.check, 2)
        for name in ("before", "during", "after", "worker"):
            print(f"{name}: {vars(base)[name] + given.check * vars(run)[name]:.0f} s expected, {vars(cost)[name]:.0f} s taken")
        print(f"{given.check:,} runs on two workers: simulated {told:.0f} s, took {took:.0f} s: {told / took - 1:+.0%}")
        sys.exit(abs(told / took - 1) > TOLERANCE)
    size, memory = (given.runs * each / 1e9 for each in (run.store, run.memory))
    print(f"{given.runs:,} runs: {given.runs / ROWS:,.0f} cohorts, a store of {size:.1f} GB, memory {memory:.1f} GB")
    for seconds in (run.worker, LARGE):
        print(f"a run trains for {1000 * seconds:.1f} ms")
        for workers in (1, 10, 100, 1000):
            told = [
                simulated(given.runs, workers, base, replace(run, worker=seconds), idle, cores=None, lost_after=hours * 3600)
                for hours in LOST
            ]
            print(f"| {workers:,} | " + " | ".join(f"{each / 60:.0f}" for each in told) + " |")


if __name__ == "__main__":
    main()
