"""A step by the kernel beside the same step by torch, in one process on one core, and the limits that hold it there.

    .venv/bin/python benchmarks/engine.py             a table in Markdown; exits with 1 when a limit is broken
    .venv/bin/python benchmarks/engine.py --seconds 3 longer, for quieter figures

Both ways take turns, and the fastest epoch of each counts, in processor time: batches drawn and gathered, evaluation left out.
"""

import argparse
import itertools
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dlrun import registry
from dlrun.threads import set_thread_count
from work import NETS, one_core, seeds, trainings


@dataclass(frozen=True)
class Work:
    """Runs to train: their settings, and at most which share of torch's time a step may take."""

    name: str
    runs: tuple[Mapping[str, Any], ...]
    at_most: float


def mixed() -> Iterable[Mapping[str, Any]]:
    chosen = [sorted(registry.options(group))[:10] for group in ("activation", "optimizer")]
    for activation, optimizer, seed in itertools.product(*chosen, range(10)):
        yield MOONS | {"activation": activation, "optimizer": optimizer, "seed": seed}


MOONS = {"dataset": "moons", "hidden": [32, 32], "batch_size": 16}
CNN = {"dataset": "digits", "model": "cnn", "batch_size": 16}
BAG = {"dataset": "sentences", "model": "bag_of_words", "batch_size": 16}
WORKS = [
    Work("notes 10-5-1, batch 4, 256 runs", seeds(256, **NETS["notes"].settings), 1 / 8),
    Work("notes, 1 run", seeds(1, **NETS["notes"].settings), 1 / 30),
    Work("moons 2-32-32-1, batch 16, 100 runs", seeds(100, **MOONS), 1 / 3),
    Work("the same with batch_norm", seeds(100, **MOONS, regularizer=["batch_norm"]), 1 / 8),
    Work("the same with dropout", seeds(100, **MOONS, regularizer=["dropout"]), 1 / 5),
    Work("the same with noise", seeds(100, **MOONS, regularizer=["augmentation"]), 1 / 6),
    Work("the same with mixup", seeds(100, **MOONS, regularizer=["augmentation"], augmentation="mixup"), 1 / 6),
    Work("10 activations x 10 optimizers x 10 seeds on moons", tuple(mixed()), 1 / 6),
    Work("diabetes 10-64-64-1, batch 32, 64 runs", seeds(64, **NETS["mlp"].settings), 1.0),
    Work("cnn on digits, batch 16, 32 runs", seeds(32, **CNN), 0.45),
    Work("the same, rotated", seeds(32, **CNN, regularizer=["augmentation"], augmentation="rotate"), 0.5),
    Work("bag of words on sentences, batch 16, 64 runs", seeds(64, **BAG), 1 / 8),
    Work("segmenter on shapes, batch 16, 8 runs", seeds(8, dataset="shapes", model="segmenter", batch_size=16), 0.5),
]


class Contestant:
    """One way of training, and its fastest step so far."""

    def __init__(self, work: Work, engine: str) -> None:
        self.trainings = trainings(work.runs, engine=engine)
        names = {training.way.name for training in self.trainings}
        assert names == {"torch" if engine == "torch" else "native"}, names
        self.best = [float("inf")] * len(self.trainings)
        self.number = 0

    def epoch(self) -> float:
        """Train an epoch; the seconds that it took."""
        started = time.perf_counter()
        for place, training in enumerate(self.trainings):
            before = time.process_time()
            training.epoch(self.number)
            taken = (time.process_time() - before) / training.steps_per_epoch
            self.best[place] = min(self.best[place], taken) if self.number else self.best[place]
        self.number += 1
        return time.perf_counter() - started


def measured(work: Work, seconds: float) -> tuple[float, float]:
    """Microseconds for a step of one run: by the kernel, by torch."""
    ways = [Contestant(work, "auto"), Contestant(work, "torch")]
    spent = [0.0, 0.0]
    while min(spent) < seconds or min(way.number for way in ways) < 3:
        least = spent.index(min(spent)) if min(way.number for way in ways) >= 3 else min((0, 1), key=lambda i: ways[i].number)
        spent[least] += ways[least].epoch()
    kernel, plain = (sum(way.best) / len(work.runs) * 1e6 for way in ways)
    return kernel, plain


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    one_core()
    set_thread_count(1)
    print("| microseconds for a step of one run | kernel | torch | ratio | at most | |\n|---|---:|---:|---:|---:|---|")
    broken = 0
    for work in WORKS:
        if options.only not in work.name:
            continue
        kernel, plain = measured(work, options.seconds)
        ratio = kernel / plain
        broken += ratio > work.at_most
        said = "holds" if ratio <= work.at_most else "**broken**"
        print(
            f"| {work.name} | {kernel:.3g} | {plain:.3g} | 1/{1 / ratio:.1f} | 1/{1 / work.at_most:.3g} | {said} |",
            flush=True,
        )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
