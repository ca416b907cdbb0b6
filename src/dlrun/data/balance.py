"""Weights of classes that are fitted on training rows: what ``balanced`` means in a loss.

Shapes: n training rows, K classes or labels.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.data.dataset import Data

BALANCED = "balanced"


def class_weights(data: Data, train: NDArray[np.int64]) -> list[float]:
    """Weights n / (K n_k), one for each class, as scikit-learn's ``compute_class_weight``: K numbers.

    A class that no training row has weighs 0.

    n_k of n targets (rows, or their pixels) are of class k, and K classes occur.

    Args:
        train: training rows, int64 [n].
    """
    counts = np.bincount(_targets(data)[train].ravel(), minlength=data.outputs).astype(np.float64)
    share = counts.sum() / (counts > 0).sum()
    weights: list[float] = np.where(counts > 0, share / np.maximum(counts, 1), 0.0).tolist()
    return weights


def pos_weights(data: Data, train: NDArray[np.int64]) -> list[float]:
    """Negatives / positives of each label, so that both weigh the same; 1 where a label has none of either: K numbers."""
    y = _targets(data)[train].astype(np.float64)
    ones = y.sum(0)
    weights: list[float] = np.where((ones > 0) & (ones < len(y)), (len(y) - ones) / np.maximum(ones, 1), 1.0).tolist()
    return weights


_FITTED = {"class_weight": class_weights, "pos_weight": pos_weights}


def asks(values: Mapping[str, Any]) -> bool:
    """Whether hyperparameters of a loss have weights to be fitted."""
    return any(values.get(name) == BALANCED for name in _FITTED)


def fitted(values: Mapping[str, Any], data: Data, train: NDArray[np.int64]) -> dict[str, Any]:
    """The hyperparameters of a loss with their weights fitted on training rows."""
    return {
        name: _FITTED[name](data, train) if name in _FITTED and value == BALANCED else value for name, value in values.items()
    }


def _targets(data: Data) -> NDArray[Any]:
    return data.y if data.train_y is None else data.train_y
