"""What a cohort costs beyond its training on another system: python benchmarks/executor.py dask|ray|submitit [COHORTS].

Each cohort is submitted when the one before is back, to one worker of this machine, and trains the four runs that train here.
"""

import statistics
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from dlrun.config.composing.from_python import several
from dlrun.config.spec import from_config
from dlrun.experiments.executors import EXECUTORS, Executor, Site
from dlrun.experiments.planning.cohorts import Datasets, Planned, plan
from dlrun.experiments.train import train


def main() -> None:
    """Print the medians."""
    name, count = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100
    torch.set_num_threads(1)
    jobs, _ = several(["dataset=moons", "seed=0,1,2,3", "trainer.epochs=20"])
    (group,) = plan([from_config(job.config, job.choices, job.overrides, job.mentioned) for job in jobs], Datasets())
    here = statistics.median(_timed(lambda: train(group)) for _ in range(count))
    with TemporaryDirectory() as folder:
        site = Site("local" if name == "submitit" else "", folder=Path(folder))
        with closing(EXECUTORS[name](1, lambda: False, site)) as executor:
            _remote(executor, group)  # the worker imports torch, and gets the data
            there = statistics.median(_timed(lambda: _remote(executor, group)) for _ in range(count))
    print(f"{1000 * here:.1f} ms here, {1000 * there:.1f} ms with {name}: {1000 * (there - here):.1f} ms a cohort")


def _timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def _remote(executor: Executor, group: Planned) -> None:
    task = executor.submit(group, 1)
    while task.poll(None, lambda checkpoint: None) is None:
        executor.wait([task])


if __name__ == "__main__":
    main()
