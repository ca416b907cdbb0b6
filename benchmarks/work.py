"""The work that every contestant does: one training step of a small network on the diabetes data, and how dlrun does it.

notes   10-5-1, relu, mse, adam, batch 4: the notes' diabetes network
mlp     10-64-64-1, relu, mse, adam, batch 32

Contestants have one core and one thread, and what is measured is processor time: others on the machine cost nobody anything.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ROWS = 266  # training rows of diabetes


@dataclass(frozen=True)
class Net:
    hidden: tuple[int, ...]
    batch: int

    @property
    def settings(self) -> dict[str, Any]:
        """Those of a run."""
        return {"dataset": "diabetes", "hidden": self.hidden, "batch_size": self.batch}

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return -(-ROWS // self.batch)


OPTIONS = {"model": "mlp", "activation": "relu", "optimizer": "adam", "scheduler": "constant", "regularizer": ()}
LOSSES = {
    "diabetes": "mse",
    "moons": "bce_with_logits",
    "digits": "cross_entropy",
    "shapes": "cross_entropy",
    "sentences": "bce_with_logits",
}
NETS = {"notes": Net((5,), 4), "mlp": Net((64, 64), 32)}


def one_core() -> None:
    """Bind this process to one core, so that nobody wins by having two."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def seeds(count: int, **given: Any) -> tuple[Mapping[str, Any], ...]:
    """The settings of runs that differ in their seeds."""
    return tuple(given | {"seed": seed} for seed in range(count))


def trainings(runs: Iterable[Mapping[str, Any]], **trainer: Any) -> list[Any]:
    """dlrun's own trainings of these runs, ready to take steps: planned, and cut to the cache, as a sweep is.

    A run has options of groups, ``hidden``, ``batch_size``, ``seed``, a list ``regularizer`` and the kind of ``augmentation``;
    ``trainer`` is for all of them.
    """
    from dlrun.engine.by_torch.process import keep_memory
    from dlrun.engine.trainer import Training
    from dlrun.experiments.planning.cohorts import Datasets, plan
    from dlrun.experiments.planning.cut import cut

    keep_memory()
    return [Training(piece.cohort) for planned in plan(specs(runs, **trainer), Datasets()) for piece in cut(planned, 1 << 40)]


def specs(runs: Iterable[Mapping[str, Any]], **trainer: Any) -> list[Any]:
    """What is to be trained: see ``trainings``."""
    from omegaconf import OmegaConf

    from dlrun import registry
    from dlrun.config.spec import from_config

    found = []
    for run in runs:
        given = OPTIONS | {"loss": LOSSES[run["dataset"]]} | run
        groups = {group: given[group] for group in ("dataset", "model", "activation", "loss", "optimizer", "scheduler")}
        config: dict[str, Any] = {group: registry.load_option(group, name) for group, name in groups.items()}
        config["regularizer"] = {name: registry.load_option("regularizer", name) for name in given["regularizer"]}
        if "augmentation" in given:
            config["regularizer"]["augmentation"] |= {"kind": given["augmentation"]}
        config["model"] |= {"hidden": [*given["hidden"]]} if "hidden" in given else {}
        model: Any = OmegaConf.to_container(OmegaConf.create({"model": config["model"]}), resolve=True)
        usual = registry.load_option("trainer", "default") | {"device": "cpu", "epochs": 100_000}
        config |= model | {"trainer": usual | {"batch_size": given["batch_size"]} | trainer, "seed": given["seed"]}
        found.append(from_config(config, groups))
    return found


def dlrun_step(
    net: Net,
    runs: int,
    seconds: float = 1.0,
    clock: Callable[[], float] = time.process_time,
    regularizer: Sequence[str] = (),
    **trainer: Any,
) -> float:
    """Seconds for a step of one run, batches included, evaluation not: the fastest of several epochs."""
    total = 0.0
    works = trainings(seeds(runs, **net.settings, regularizer=regularizer), **trainer)
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
