"""What goes on inside the trained models, measured on some training rows of every run.

    gradient_norm      for each linear or convolutional layer, the norm of the loss gradient with respect to its weights
    mean_activation    for each activation, the mean of its outputs
    dead_units         for each activation, the fraction of units that give the same value for every row
    saturation         for each elementwise activation, the fraction of values whose derivative is below 0.01
    zero_weights       the fraction of weights that are exactly zero
    weight_norm        the norm of all weights
    loss_gap           test loss minus training loss
    mean_top_probability   the mean of the highest predicted probability on test rows (classes)
    zero_probabilities     the fraction of predicted probabilities on test rows that are exactly zero (sparsemax has some)
    quantile_crossing      the fraction of test rows where a higher quantile is predicted below a lower one (quantile regression)

Shapes: R runs, n rows, H units.
"""

from collections.abc import Callable

import numpy as np

from dlrun.components.arrays import Array, quiet
from dlrun.components.metrics.confidence import mean_top_probability, zero_probabilities
from dlrun.components.metrics.regression import crossing as quantile_crossing
from dlrun.engine.batches import Batches
from dlrun.engine.measuring.evaluation import by_levels, by_size, levels
from dlrun.engine.measuring.forms import Forms
from dlrun.engine.step import TrainStep
from dlrun.engine.way import Diagnostics, Way

ROWS = 256  # enough to call a unit dead, few enough to cost less than an epoch; at most
FEWEST = 16  # rows, whatever they leave behind
LEFT = (
    1 << 22
)  # numbers that the pass of a run leaves behind; the kernel takes some 100 bytes for each, since it takes eight runs

_OF_CLASSES: dict[str, Callable[[Forms], Array]] = {  # what a task names in its ``diagnostics``
    "mean_top_probability": lambda forms: mean_top_probability(forms["probability"]),
    "zero_probabilities": lambda forms: zero_probabilities(forms["log_probability"]),
}


SETTLED, JUMP, AT_START = 5, 100.0, 0.01


@quiet
def jumps(losses: Array) -> Array:
    """Where a loss that had settled jumps: the first such evaluation of each run, -1 where there is none.

    A loss has settled when its last five values lie within a factor of 2, and jumps when it then is a hundred times the largest
    of them, and more than a hundredth of the first.

    Args:
        losses: [R, E], the training loss after each evaluation; NaN where there is none.

    Returns:
        int64 [R], indices along E.
    """
    if losses.shape[1] <= SETTLED:
        return np.full(len(losses), -1)
    before, later = np.lib.stride_tricks.sliding_window_view(losses, SETTLED, axis=1)[:, :-1], losses[:, SETTLED:]
    low, high = before.min(2), before.max(2)
    found = (high <= 2 * low) & (later > JUMP * high) & (later > AT_START * losses[:, :1])
    return np.where(np.any(found, axis=1), found.argmax(1) + SETTLED, -1)


def diagnose(way: Way, train_step: TrainStep, table: Batches, theta: Array) -> Diagnostics:
    """What the parameters and a batch tell of ``theta`` [R, P], with which ``way`` evaluates."""
    return inside(way, train_step, table) | weights(train_step, theta)


def inside(way: Way, train_step: TrainStep, table: Batches) -> Diagnostics:
    """What a batch of training rows tells of the parameters that ``way`` evaluates."""
    return way.inside(table.sample("train", rows_of(train_step.model.left_by(train_step.task.members))))


def rows_of(left: int) -> int:
    """How many rows that batch has, at most, where each leaves so many numbers behind."""
    return max(FEWEST, min(ROWS, LEFT // left))


@quiet
def weights(train_step: TrainStep, theta: Array) -> Diagnostics:
    """The fraction of exact zeros among the weights and their norm: [R] each."""
    mine = theta.compress(train_step.layout.weight_mask(), axis=1)  # each run's side by side, or sums would depend on others
    zeros = (mine == 0).sum(1) / max(1, mine.shape[1])
    return {"zero_weights": zeros, "weight_norm": np.sqrt(np.square(mine, dtype=np.float64).sum(1))}


@quiet
def of_predictions(train_step: TrainStep, table: Batches, measured: dict[str, Array], forms: Forms | None) -> Diagnostics:
    """What test rows tell: the gap between test and training loss, and what the predictions, ``forms``, are like. [R] each."""
    if forms is None:
        return {}
    found = {"loss_gap": measured["test/loss"] - measured["train/loss"]}
    quantiles = train_step.task.scaled and any(len(levels(run)) > 1 for run in train_step.runs)
    if quantiles or train_step.task.diagnostics:
        found |= by_size(table, "test", lambda rows: _of_predicted(train_step, forms.of_rows(rows, {})))
    return found


def _of_predicted(train_step: TrainStep, forms: Forms) -> dict[str, Array]:
    if train_step.task.scaled:
        return {"quantile_crossing": by_levels(train_step, forms.output, lambda p, rows, taus: quantile_crossing(p, taus))}
    return {name: _OF_CLASSES[name](forms) for name in train_step.task.diagnostics}
