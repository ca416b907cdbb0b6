"""The work that every contestant does: one training step of a small network on the diabetes data, and how dlrun does it.

notes   10-5-1, relu, mse, adam, batch 4: the notes' diabetes network
mlp     10-64-64-1, relu, mse, adam, batch 32

Contestants have one core and one thread, and what is measured is processor time: others on the machine cost nobody anything.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

ROWS = 266  # training rows of diabetes


@dataclass(frozen=True)
class Net:
    hidden: tuple[int, ...]
    batch: int

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return -(-ROWS // self.batch)


NETS = {"notes": Net((5,), 4), "mlp": Net((64, 64), 32)}


def one_core() -> None:
    """Bind this process to one core, so that nobody wins by having two."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def trainings(net: Net, runs: int, regularizer: Sequence[str] = (), **trainer: Any) -> list[Any]:
    """dlrun's own training of ``runs`` seeds, ready to take steps: planned, and cut to the cache, as a sweep is."""
    from dlrun import registry
    from dlrun.config.spec import from_config
    from dlrun.engine.trainer import Training
    from dlrun.experiments.cohorts import Datasets, plan
    from dlrun.experiments.cut import cut

    groups = {"dataset": "diabetes", "activation": "relu", "loss": "mse", "optimizer": "adam", "scheduler": "constant"}
    config: dict[str, Any] = {group: registry.load_option(group, name) for group, name in groups.items()}
    config["regularizer"] = {name: registry.load_option("regularizer", name) for name in regularizer}
    layers = ["flatten", {"hidden": list(net.hidden)}, "output"]
    config["model"] = {"hidden": list(net.hidden), "init": "default", "head": "auto", "layers": layers}
    config["trainer"] = registry.load_option("trainer", "default") | {"batch_size": net.batch, "device": "cpu"} | trainer
    specs = [from_config(config | {"seed": seed}, groups) for seed in range(runs)]
    (planned,) = plan(specs, Datasets())
    return [Training(piece.cohort) for piece in cut(planned, 1 << 40)]


def dlrun_step(
    net: Net,
    runs: int,
    seconds: float = 1.0,
    clock: Callable[[], float] = time.process_time,
    regularizer: Sequence[str] = (),
    **trainer: Any,
) -> float:
    """Seconds for a step of one run, batches included, evaluation not: the fastest of several epochs."""
    import torch

    from dlrun.engine.process import at_speed

    total = 0.0
    with torch.no_grad(), at_speed():
        works = trainings(net, runs, regularizer, epochs=100_000, **trainer)
        for work in works:
            work.epoch(0)
            best, number, end = float("inf"), 1, time.perf_counter() + seconds / len(works)
            while time.perf_counter() < end or number < 4:
                started = clock()
                work.epoch(number)
                best = min(best, clock() - started)
                number += 1
            total += best
    return total / net.steps / runs
