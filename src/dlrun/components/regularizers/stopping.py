"""Early stopping: runs end when the validation metric no longer improves, and keep the weights of their best epoch.

Shapes: R runs, E epochs so far.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.components.hyperparameters import Count, NonNegative
from dlrun.components.regularizers.base import Stop


class EarlyStopping(Stop):
    """Stop when none of the last ``patience`` evaluations beat the best one before them by more than ``min_delta``.

    Prechelt 1998, "Early Stopping - But When?". ``metric`` is the metric to watch on the validation rows; null watches the loss.
    A run whose metric has had no value so far is not stopped: nothing is known of it.
    """

    def __init__(self, *, patience: Count = 10, min_delta: NonNegative = 0.0, metric: str | None = None) -> None:
        self.patience, self.min_delta, self.metric = patience, min_delta, metric

    def stop(self, history: NDArray[Any]) -> NDArray[np.bool_]:
        """Which runs have trained enough: bool [R]. ``history`` [E, R], smaller is better."""
        if len(history) <= self.patience:
            return np.zeros(history.shape[1], dtype=bool)
        history = np.asarray(history)
        history = np.where(np.isnan(history), np.inf, history)  # a metric that is not defined is no improvement
        before, lately = history[: -self.patience].min(0), history[-self.patience :].min(0)
        found: NDArray[np.bool_] = np.isfinite(before) & ~(lately < before - np.ravel(self.min_delta))
        return found
