"""scikit-learn's estimators as baselines, fitted split by split; their import takes seconds.

Shapes: S splits of the same sizes, n rows, D features, K outputs.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.baselines.sample import Predict, Sample, chosen
from dlrun.components.links import log_softmax

LASSO = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
DEPTHS = (1, 2, 3, 4, 5, 7, 10, 20, None)


def lasso(sample: Sample) -> Predict:
    """Min |y - x w - b|^2 / (2 n) + alpha |w|_1, on standardized targets."""
    from sklearn.linear_model import Lasso

    return _fitted(sample, [partial(Lasso, alpha=alpha, max_iter=10_000) for alpha in LASSO])


def tree(sample: Sample) -> Predict:
    """A decision tree whose depth is chosen."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    kind = DecisionTreeRegressor if sample.regression else DecisionTreeClassifier
    return _fitted(sample, [partial(kind, max_depth=depth) for depth in DEPTHS])


def boosting(sample: Sample) -> Predict:
    """Gradient boosting with scikit-learn's own settings: 100 trees of 31 leaves."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if sample.regression else HistGradientBoostingClassifier
    return _fitted(sample, [kind], _decided)


Array = NDArray[np.float64]
Logarithms = Callable[[Any, Array], Array]
"""A fitted classifier, rows [n, D] -> log p of the classes that it knows [n, K]."""


def _counted(model: Any, rows: Array) -> Array:
    """Of a tree, whose probabilities are shares of training rows, zeros among them."""
    with np.errstate(divide="ignore"):
        out: Array = np.log(model.predict_proba(rows))
    return out


def _decided(model: Any, rows: Array) -> Array:
    """Of a sum of log odds, or of one sum a class."""
    z = model.decision_function(rows)
    return log_softmax(np.stack([np.zeros_like(z), z], 1) if z.ndim == 1 else z, 1)


def _fitted(sample: Sample, alternatives: Sequence[Callable[..., Any]], logarithms: Logarithms = _counted) -> Predict:
    """Fit scikit-learn's estimators split by split, one for each output or label; exclusive classes share one."""

    def together(make: Callable[..., Any]) -> Predict:
        models = [
            _each_output(sample, partial(make, random_state=seed & 0xFFFFFFFF), logarithms, x, y)
            for seed, x, y in zip(sample.seeds, sample.x, sample.y, strict=True)
        ]
        return lambda x: np.stack([model(rows) for model, rows in zip(models, x, strict=True)])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn's: a lasso that has not converged is judged by its predictions
        return chosen(sample, [together(make) for make in alternatives])


def _each_output(sample: Sample, make: Callable[[], Any], logarithms: Logarithms, x: Array, y: Array) -> Callable[[Array], Array]:
    if sample.exclusive:
        model = make().fit(x, y)

        def of_classes(rows: Array) -> Array:
            out = np.full((len(rows), sample.outputs), -np.inf)
            out[:, model.classes_] = logarithms(model, rows)  # a class may have no training row
            return out

        return of_classes
    columns = [_one_output(sample, make, logarithms, x, target) for target in y.T]
    return lambda rows: np.stack([column(rows) for column in columns], 1)


def _one_output(sample: Sample, make: Callable[[], Any], logarithms: Logarithms, x: Array, y: Array) -> Callable[[Array], Array]:
    if (y == y[0]).all():  # there is nothing to tell apart
        same = float(y[0]) if sample.regression else (np.inf if y[0] else -np.inf)
        return lambda rows: np.full(len(rows), same)
    model = make().fit(x, y)

    def values(rows: Array) -> Array:
        if sample.regression:
            out: Array = model.predict(rows)
            return out
        known = logarithms(model, rows)
        difference: Array = known[:, 1] - known[:, 0]
        return difference

    return values
