"""Early stopping: runs end when the validation metric no longer improves, and keep the weights of their best epoch.

Shapes: R runs, E epochs so far.
"""

from dlrun.components.hyperparameters import Count, NonNegative
from dlrun.components.regularizers.base import Stop, each_run
from dlrun.lazy import Tensor, torch


class EarlyStopping(Stop):
    """Stop when none of the last ``patience`` evaluations beat the best one before them by more than ``min_delta``.

    Prechelt 1998, "Early Stopping - But When?". ``metric`` is the metric to watch on the validation rows; null watches the loss.
    A run whose metric has had no value so far is not stopped: nothing is known of it.
    """

    def __init__(self, *, patience: Count = 10, min_delta: NonNegative = 0.0, metric: str | None = None) -> None:
        self.patience, self.min_delta, self.metric = patience, min_delta, metric

    def stop(self, history: Tensor) -> Tensor:
        """Which runs have trained enough: bool [R]. ``history`` [E, R], smaller is better."""
        if len(history) <= self.patience:
            return torch.zeros(history.shape[1], dtype=torch.bool, device=history.device)
        history = torch.where(history.isnan(), torch.inf, history)  # a metric that is not defined is no improvement
        before, lately = history[: -self.patience].amin(0), history[-self.patience :].amin(0)
        delta = each_run(self.min_delta, before)
        return before.isfinite() & ~(lately < before - delta)
