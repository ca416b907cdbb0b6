"""Estimators for scikit-learn: networks of several seeds, trained at once, which predict their mean.

    model = DlrunClassifier(hidden=(32, 32), activation="tanh", seeds=10)
    GridSearchCV(make_pipeline(StandardScaler(), model), {"dlrunclassifier__lr": [0.001, 0.01]}).fit(X, y)

Scaling is fitted on the training rows inside, and missing values (NaN) are filled in with their medians. Nothing is
kept in a store.

Shapes: n rows, D features, K classes or targets, S seeds.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from dlrun.components.tasks import BINARY, MULTICLASS, REGRESSION, Task
from dlrun.config.composing.from_python import single, words
from dlrun.config.spec import RunSpec, from_config
from dlrun.data.dataset import Data
from dlrun.data.preprocessing import Preprocessing
from dlrun.engine.components import Component
from dlrun.engine.predictor import DataForm, Predictor
from dlrun.engine.trainer import fit
from dlrun.errors import InputError, plural
from dlrun.experiments.planning.cohorts import Datasets, plan, settings_of

_MOST_SEEDS = 2**31 - 1


class _Given(Datasets):
    """The rows that ``fit`` was given, whatever a config says of its dataset."""

    def __init__(self, data: Data) -> None:
        super().__init__()
        self._given = data

    def load(self, part: Component) -> Data:
        """The rows."""
        return self._given


@dataclass
class _Trained:
    """The network of one seed: what has to be kept to predict with it, and the predictor that is made of it when needed."""

    spec: RunSpec
    form: DataForm
    preprocessing: Preprocessing
    weights: dict[str, NDArray[Any]]
    epochs: int
    _predictor: list[Predictor] = field(default_factory=list, compare=False)

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """[n, D] to [n, K]."""
        if not self._predictor:
            settings = settings_of(self.spec, self.form.outputs)
            self._predictor.append(Predictor(self.spec.row, settings, self.form, self.preprocessing, self.weights))
        found: NDArray[np.float64] = self._predictor[0](np.asarray(x, dtype=np.float64)).astype(np.float64, copy=False)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_predictor": []}


@lru_cache(maxsize=64)
def _spec(given: tuple[str, ...]) -> RunSpec:
    """The run that some words describe; searches over settings come back to the same ones."""
    job = single(given)
    return from_config(job.config, job.choices, job.overrides, job.mentioned)


def _several(given: Any) -> list[Any]:
    """A list of what is given, be it one text, one number or several of either."""
    several = [given] if isinstance(given, str) or np.ndim(given) == 0 else given
    return [int(each) if isinstance(each, np.integer) else each for each in several]


class _Networks(BaseEstimator):  # type: ignore[misc]
    """What both estimators have in common.

    Args:
        hidden: sizes of the hidden layers; a number is one layer.
        activation, optimizer, loss: options of dlrun, as ``dlrun ls activation`` lists them; the task's own loss when None.
        lr: the learning rate; the optimizer's own when None.
        epochs, batch_size: passes over the rows, and rows a step.
        regularizer: options, such as ``("l2", "dropout")``; ``"early_stopping"`` needs ``validation``.
        seeds: how many networks, which differ in their initial weights and batch order.
        validation: the share of the rows of ``fit`` that are kept from training, for early stopping.
        overrides: more settings as on the command line, such as ``("regularizer.l2.weight=0.01", "model.init=kaiming")``.
        random_state: draws the seeds.
    """

    _task: Task

    def __init__(
        self,
        *,
        hidden: Sequence[int] = (32, 32),
        activation: str = "relu",
        optimizer: str = "adam",
        loss: str | None = None,
        lr: float | None = None,
        epochs: int = 100,
        batch_size: int = 16,
        regularizer: Sequence[str] = (),
        seeds: int = 5,
        validation: float = 0.0,
        overrides: Sequence[str] = (),
        random_state: Any = None,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.optimizer = optimizer
        self.loss = loss
        self.lr = lr
        self.epochs = epochs
        self.batch_size = batch_size
        self.regularizer = regularizer
        self.seeds = seeds
        self.validation = validation
        self.overrides = overrides
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.non_deterministic = False
        return tags

    def _words(self, task: Task, rows: int) -> tuple[str, ...]:
        """The settings as one would type them; a batch has at most as many rows as there are to train on."""
        trained = max(1, int(rows * (1 - self.validation))) if 0 <= self.validation < 1 else rows
        settings = {
            "dataset.x": [[0.0]],
            "dataset.y": [0],
            "dataset.task": task.name,
            "dataset.validation": float(self.validation),
            "dataset.stratify": False,
            "dataset.standardize": True,
            "dataset.standardize_target": True,
            "model.hidden": _several(self.hidden),
            "activation": self.activation,
            "optimizer": self.optimizer,
            "trainer.epochs": self.epochs,
            "trainer.batch_size": min(self.batch_size, trained),
            "regularizer": _several(self.regularizer),
            "predictions": False,
            "trainer.checkpoint_s": 0,
            "trainer.device": "cpu",
        }
        settings |= {} if self.lr is None else {"optimizer.lr": self.lr}
        settings |= {} if self.loss is None else {"loss": self.loss}
        return (*words(["dataset=inline"], settings), *_several(self.overrides))

    def _train(self, x: NDArray[np.float64], y: NDArray[Any], task: Task, outputs: int) -> None:
        """Train the networks of all seeds at once.

        Raises:
            ValueError: a setting cannot work, or no network has finite weights.
        """
        features = tuple(map(str, range(x.shape[1])))
        try:
            if not isinstance(self.seeds, int) or self.seeds < 1:
                raise InputError(f"seeds={self.seeds}: must be a whole number of at least 1")
            targets = tuple(map(str, range(y.shape[1]))) if y.ndim > 1 else ("y",)
            data = Data("X", x, y, task.name, outputs, features, targets)
            spec = _spec(self._words(task, len(x)))
            drawn = check_random_state(self.random_state).choice(_MOST_SEEDS, self.seeds) if self.seeds else []
            specs = [replace(spec, seed=int(seed), row=replace(spec.row, seed=int(seed))) for seed in drawn]
            planned = plan(specs, _Given(data))
        except InputError as error:
            raise ValueError(str(error)) from error
        form = DataForm(data.shape, task, outputs)
        found: list[_Trained] = []
        for group in planned:
            cohort = group.cohort
            for mine, run, outcome in zip(group.specs, cohort.runs, fit(cohort), strict=True):
                if outcome.status in ("done", "stopped"):
                    weights = dict(outcome.weights)
                    found.append(_Trained(mine, form, cohort.preprocessing[run.split], weights, outcome.epochs))
        if not found:
            raise ValueError(f"all {plural(self.seeds, 'network')} diverged; a smaller lr may help")
        if len(found) < self.seeds:
            warnings.warn(f"{self.seeds - len(found)} of {self.seeds} networks diverged, and are left out", stacklevel=3)
        self.networks_ = found
        self.n_iter_ = max(each.epochs for each in found)

    def _each(self, X: Any) -> NDArray[np.float64]:
        """What each network predicts: [S, n, K]."""
        check_is_fitted(self)
        x = validate_data(self, X, reset=False, ensure_all_finite="allow-nan", dtype=np.float64)
        return np.stack([network.predict(x) for network in self.networks_])


class DlrunClassifier(ClassifierMixin, _Networks):  # type: ignore[misc]
    """A classifier: the class of the largest mean probability.

    Args:
        hidden, activation, optimizer, loss, lr, epochs, batch_size, regularizer, seeds, validation, overrides, random_state: as
            ``dlrun show`` explains them, and the page docs/sklearn.md.

    Attributes:
        classes_: the classes, [K].
        networks_: what was trained, one for each seed that did not diverge.
        n_iter_: the epochs of the longest training.

    Example:
        >>> DlrunClassifier(seeds=3, random_state=0).fit(X, y).predict_proba(X)    # doctest: +SKIP
    """

    def fit(self, X: Any, y: Any) -> DlrunClassifier:
        """Train on rows [n, D], NaN where a value is missing, and their classes [n].

        Raises:
            ValueError: the rows, the classes or a setting cannot work.
        """
        x, y = validate_data(self, X, y, ensure_all_finite="allow-nan", dtype=np.float64)
        check_classification_targets(y)
        self.classes_, numbers = np.unique(y, return_inverse=True)
        count = len(self.classes_)
        if count < 2:
            raise ValueError(f"DlrunClassifier needs at least 2 classes, and y has one class: {self.classes_.tolist()}")
        if count == 2:
            self._train(x, numbers.astype(np.float64)[:, None], BINARY, 1)
        else:
            self._train(x, numbers.astype(np.int64), MULTICLASS, count)
        return self

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """The mean of the probabilities over the networks: [n, K]."""
        mean: NDArray[np.float64] = self._each(X).mean(0)
        return np.concatenate([1 - mean, mean], 1) if len(self.classes_) == 2 else mean

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest class of each row: [n]."""
        likeliest = self.predict_proba(X).argmax(1)
        found: NDArray[Any] = self.classes_[likeliest]
        return found


class DlrunRegressor(RegressorMixin, _Networks):  # type: ignore[misc]
    """A regressor: the mean of what the networks predict.

    Args:
        hidden, activation, optimizer, loss, lr, epochs, batch_size, regularizer, seeds, validation, overrides, random_state: as
            ``dlrun show`` explains them, and the page docs/sklearn.md.

    Attributes:
        networks_: what was trained, one for each seed that did not diverge.
        n_iter_: the epochs of the longest training.

    Example:
        >>> mean, sd = DlrunRegressor(seeds=10).fit(X, y).predict(X, return_std=True)    # doctest: +SKIP
    """

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.single_output = False
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> DlrunRegressor:
        """Train on rows [n, D], NaN where a value is missing, and their targets [n] or [n, K].

        Raises:
            ValueError: the rows, the targets or a setting cannot work.
        """
        x, y = validate_data(self, X, y, ensure_all_finite="allow-nan", dtype=np.float64, multi_output=True, y_numeric=True)
        targets = np.asarray(y, dtype=np.float64)
        self._flat = targets.ndim == 1
        targets = targets.reshape(len(targets), -1)
        self._train(x, targets, REGRESSION, targets.shape[1])
        return self

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The mean over the networks, [n] or [n, K]; with ``return_std`` also their standard deviation (divided by S - 1)."""
        each = self._each(X)
        each = each[:, :, 0] if self._flat else each
        if not return_std:
            return each.mean(0)
        return each.mean(0), each.std(0, ddof=1) if len(each) > 1 else np.full(each.shape[1:], np.nan)
