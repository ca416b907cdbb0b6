"""What holds for trained runs: two of them compared weight by weight, or one beside the solution of a library.

Each function takes the runs of its claim and returns a figure and the bounds between which it must lie, as in ``identities``.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dlrun.comparison.factors import Factor
from dlrun.config.spec import from_config
from dlrun.engine.batches import Batches
from dlrun.engine.predictor import Predictor
from dlrun.experiments.load import revive
from dlrun.experiments.planning.cohorts import Datasets, plan
from dlrun.lazy import Tensor, torch
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

    def training_rows(self, record: RunRecord) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What a run was trained on: scaled inputs [n, D] and targets [n, K], or classes [n]."""
        spec = from_config(self.store.config(record.id), record.choices, record.overrides)
        cohort = plan([spec], Datasets())[0].cohort
        table = Batches(cohort.data, cohort.splits, cohort.preprocessing, [0], floats="float64")
        x, y = table.subset("train")
        return x[0].reshape(len(x[0]), -1), y[0]

    def linear(self, record: RunRecord) -> tuple[NDArray[np.float64], float]:
        """The weights and the bias of a linear model with one output."""
        found = self.store.weights(record.id)
        (weight,), (bias,) = ([value for name, value in found.items() if name.endswith(end)] for end in (".weight", ".bias"))
        return np.asarray(weight, dtype=np.float64).ravel(), float(np.asarray(bias).ravel()[0])

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
        worst = max(worst, float(np.abs(values[0] + values[1] - values[2] - values[3]).max() / np.abs(values[0]).max()))
    return worst, 0.0, 1e-4


def logistic_coefficients(runs: Trained) -> Found:
    """Weights and bias of a linear model with a sigmoid beside those of scikit-learn: the largest difference."""
    from sklearn.linear_model import LogisticRegression

    worst = 0.0
    for record in runs.where():
        x, y = runs.training_rows(record)
        weight, bias = runs.linear(record)
        other = LogisticRegression(C=_strength(runs, record, len(x)), tol=1e-10, max_iter=10_000).fit(x, y.ravel())
        worst = max(worst, float(np.abs(weight - other.coef_[0]).max()), abs(bias - float(other.intercept_[0])))
    return worst, 0.0, 1e-3


def svm_objective(runs: Trained) -> Found:
    """Hinge loss and l2 penalty of a linear model: how far above the minimum that scikit-learn finds, relative."""
    from sklearn.svm import SVC

    worst = 0.0
    for record in runs.where():
        x, y = runs.training_rows(record)
        sign, strength = 2 * y.ravel() - 1, _strength(runs, record, len(x))
        other = SVC(C=strength, kernel="linear", tol=1e-8).fit(x, sign)
        least = _svm(x, sign, strength, other.coef_[0], float(other.intercept_[0]))
        worst = max(worst, _svm(x, sign, strength, *runs.linear(record)) / least - 1)
    return worst, -1e-6, 0.02


def losses_of_two_rows(runs: Trained) -> Found:
    """The mean squared error of two rows is below 17.75 in a few pairs of rows, although that of all rows is not: their share."""
    shares = []
    for record in runs.where():
        spec = from_config(runs.store.config(record.id), record.choices, record.overrides)
        data = Datasets().load(spec.dataset)
        squares = np.sort(np.square(runs.predictor(record)(data.x) - data.y).ravel())
        below = np.searchsorted(squares, 2 * 17.75 - squares)  # for each row, how many others have little enough
        own = int((squares < 17.75).sum())
        shares.append((int(below.sum()) - own) / (len(squares) * (len(squares) - 1)))
    return max(shares, default=math.nan), 1e-6, 0.05


def adagrad_slows_most(runs: Trained) -> Found:
    """How far weights move in epoch 81 beside epoch 2: adagrad's fraction divided by the lesser of rmsprop's and adadelta's."""
    worst = 0.0
    for seed in sorted({record.seed for record in runs.records}):
        fractions = {
            name: _moved(runs, name, seed, 80) / _moved(runs, name, seed, 1) for name in ("adagrad", "rmsprop", "adadelta")
        }
        worst = max(worst, fractions["adagrad"] / min(fractions["rmsprop"], fractions["adadelta"]))
    return worst, 0.0, 1.0


def _moved(runs: Trained, optimizer: str, seed: int, epoch: int) -> float:
    """How far the weights of a run move in the epoch behind ``epoch``: two runs that differ in their number of epochs alone."""
    one, other = (
        next(record for record in runs.where(optimizer=optimizer) if record.seed == seed and record.epochs == count)
        for count in (epoch, epoch + 1)
    )
    return float(np.linalg.norm(runs.vector(other.id) - runs.vector(one.id)))


def _strength(runs: Trained, record: RunRecord, rows: int) -> float:
    """C, by which scikit-learn multiplies the sum of losses beside 0.5 |w|^2: 1 / (2 n weight) for a mean and weight |w|^2."""
    return 1 / (2 * rows * float(runs.store.config(record.id)["regularizer"]["l2"]["weight"]))


def _svm(x: NDArray[np.float64], sign: NDArray[np.float64], strength: float, weight: NDArray[np.float64], bias: float) -> float:
    return float(strength * np.maximum(0, 1 - sign * (x @ weight + bias)).sum() + 0.5 * (weight**2).sum())


def _predicted(model: Predictor, x: Tensor) -> NDArray[np.float64]:
    """Log odds or log probabilities of classes, values of a regression: what a linear model is linear in."""
    return model(x.numpy(), log=model.form.task.classes)


FITTED: dict[str, Callable[[Trained], Found]] = {
    function.__name__: function
    for function in (affine, logistic_coefficients, svm_objective, losses_of_two_rows, adagrad_slows_most)
}
