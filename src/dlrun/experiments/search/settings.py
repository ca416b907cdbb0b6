"""How a search is carried out: what ``budget=``, ``sampler=``, ``pruner=`` and their like say."""

import math
from dataclasses import dataclass

from dlrun.errors import InputError, nearest, raise_all
from dlrun.experiments.search import pruning, samplers

LEARNING = 8  # trials at once, where a batch learns from those before it
OTHERS = 16  # where it does not, or where the trials of a batch are compared


@dataclass(frozen=True)
class Search:
    """How to search.

    Args:
        budget: trials of each configuration; with a pruner, as many as train no more epochs than so many do to their end.
        batch: how many of them are proposed, and trained, at once; see ``at_once`` for None.
        sampler: see samplers.SAMPLERS.
        sampler_seed: of what is drawn.
        fresh: seeds with which the best settings and the defaults are reported.
        storage: an Optuna storage for the trials; one in the output folder when empty.
        pruner: see pruning.PRUNERS.
        eta: of n trials n // eta go on from a rung, and the next rung has eta times the epochs.
        min_epochs: of the lowest rung; 0 for as many rungs as it takes to choose one trial of a batch.

    Raises:
        InputError: a number is out of range, or there is no such sampler or pruner.
    """

    budget: int = 32
    batch: int | None = None
    sampler: str = "tpe"
    sampler_seed: int = 0
    fresh: int = 10
    storage: str = ""
    pruner: str = "none"
    eta: int = 3
    min_epochs: int = 0

    def __post_init__(self) -> None:
        known = {"sampler": samplers.SAMPLERS, "pruner": pruning.PRUNERS}
        problems = [
            f"{key}={name}: takes {', '.join(names)}{nearest(name, names)}"
            for key, names in known.items()
            if (name := getattr(self, key)) not in names
        ]
        least = {"budget": 1, "batch": 1, "sampler_seed": 0, "fresh": 2, "eta": 2, "min_epochs": 0}
        raise_all(
            problems
            + [
                f"{key}={value}: must be at least {low}"
                for key, low in least.items()
                if (value := getattr(self, key)) is not None and value < low
            ]
        )

    @property
    def at_once(self) -> int:
        """How many trials of a configuration are proposed, and trained, at once.

        Of 64 trials, batches of 8 lose nothing that is measured against one trial at a time, and batches of 16 a little
        (benchmarks/tune.py). A sampler that does not learn loses nothing either way, and a pruner compares the trials of a batch.
        """
        return self.batch or (LEARNING if self.sampler == "tpe" and not self.prunes else OTHERS)

    @property
    def prunes(self) -> bool:
        """Whether trials may end at a rung."""
        return self.pruner != "none"

    def trials(self, epochs: int, every: int) -> int:
        """How many trials a configuration has, whose trials train ``epochs`` epochs: with a pruner, those of whole batches.

        Raises:
            InputError: not one batch is within the budget.
        """
        if not self.prunes:
            return self.budget
        each = pruning.cost(self.paths(self.at_once, epochs, every), eta=self.eta)
        if each > self.budget * epochs:
            raise InputError(
                f"budget={self.budget}: a batch of {self.at_once} trials with pruner={self.pruner} trains {each:,} epochs, more "
                f"than {self.budget} times trainer.epochs={epochs}; type budget={math.ceil(each / epochs)}, or a smaller batch"
            )
        return self.budget * epochs // each * self.at_once

    def paths(self, count: int, epochs: int, every: int) -> list[tuple[int, ...]]:
        """The rungs of each of ``count`` trials of a batch."""
        found = pruning.rungs(epochs, batch=self.at_once, eta=self.eta, least=self.min_epochs or None, every=every)
        return pruning.paths(self.pruner, count, found, eta=self.eta)
