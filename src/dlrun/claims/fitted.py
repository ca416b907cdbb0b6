"""What holds for trained runs: two of them compared weight by weight, or one beside the solution of a library.

Each function takes the runs of its claim and returns a figure and the bounds between which it must lie, as in ``identities``.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlrun.comparison.factors import Factor
from dlrun.engine.predictor import Predictor
from dlrun.experiments.load import revive
from dlrun.results.record import MEASURED, RunRecord
from dlrun.results.store import Store

Found = tuple[float, float, float]


@dataclass(frozen=True)
class Trained:
    """The runs of a claim.

    Args:
        factors: run id -> what tells it from the others.
    """

    store: Store
    records: Sequence[RunRecord]
    factors: Mapping[str, Mapping[str, Factor]]

    def vector(self, run: str) -> NDArray[np.float64]:
        """All weights of a run, in the order of their names."""
        found = self.store.weights(run)
        return np.concatenate([np.asarray(found[name], dtype=np.float64).ravel() for name in sorted(found)])

    def where(self, **factors: Factor) -> Iterator[RunRecord]:
        """The measured runs with these options or settings."""
        for record in self.records:
            mine = self.factors[record.id]
            if record.status in MEASURED and all(mine.get(key) == value for key, value in factors.items()):
                yield record

    def predictor(self, record: RunRecord) -> Predictor:
        """The model of a run."""
        kept = self.store.extra(record.id, "preprocessing.json")
        return revive(self.store.config(record.id), record, kept, self.store.weights(record.id), "cpu")


def affine(runs: Trained) -> Found:
    """A trained network without activations is affine: the largest of |f(a + b) + f(0) - f(a) - f(b)|, relative to f."""
    worst = 0.0
    for record in runs.where(activation="identity"):
        model = runs.predictor(record)
        generator = torch.Generator().manual_seed(record.seed)
        a, b = torch.randn(2, 64, *model.form.shape, generator=generator, dtype=torch.float64)
        values = [_predicted(model, x) for x in (a + b, torch.zeros_like(a), a, b)]
        worst = max(worst, float((values[0] + values[1] - values[2] - values[3]).abs().max() / values[0].abs().max()))
    return worst, 0.0, 1e-4


def _predicted(model: Predictor, x: Tensor) -> Tensor:
    """Log odds or log probabilities of classes, values of a regression: what a linear model is linear in."""
    return model(x, log=model.form.task.classes)


FITTED: dict[str, Callable[[Trained], Found]] = {function.__name__: function for function in (affine,)}
