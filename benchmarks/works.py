"""What engine.py and earlier.py measure: runs that train together, and how."""

import itertools
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dlrun import registry
from work import NETS, seeds


@dataclass(frozen=True)
class Work:
    """Runs to train: their settings, and at most which fraction of the other's time a step may take."""

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
    """Trainings of these runs, and their fastest steps so far."""

    def __init__(self, work: Work, trainings: list[Any]) -> None:
        self._trainings, self._runs = trainings, len(work.runs)
        self._best = [float("inf")] * len(trainings)
        self.number = 0

    def epoch(self) -> float:
        """Train an epoch; the seconds that it took. The first one counts for nothing."""
        started = time.perf_counter()
        for place, training in enumerate(self._trainings):
            before = time.process_time()
            training.epoch(self.number)
            taken = (time.process_time() - before) / training.steps_per_epoch
            self._best[place] = min(self._best[place], taken) if self.number else self._best[place]
        self.number += 1
        return time.perf_counter() - started

    def train(self, seconds: float) -> None:
        """Train for so long, and for three epochs at least."""
        spent = 0.0
        while spent < seconds or self.number < 3:
            spent += self.epoch()

    @property
    def microseconds(self) -> float:
        """For a step of one run, of processors."""
        return sum(self._best) / self._runs * 1e6
