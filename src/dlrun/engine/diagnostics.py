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

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from dlrun.components.metrics.confidence import mean_top_probability, zero_probabilities
from dlrun.components.metrics.regression import crossing as quantile_crossing
from dlrun.engine.batches import Batches
from dlrun.engine.evaluation import by_levels, by_size, levels, outputs_of, predictions
from dlrun.engine.forms import Forms
from dlrun.engine.layers import Pointwise
from dlrun.engine.state import State
from dlrun.engine.step import TrainStep

ROWS = 256  # enough to call a unit dead, few enough to cost less than an epoch

Diagnostics = dict[str, Tensor]

_OF_CLASSES: dict[str, Callable[[Forms], Tensor]] = {  # what a task names in its ``diagnostics``
    "mean_top_probability": lambda forms: mean_top_probability(forms["probability"]),
    "zero_probabilities": lambda forms: zero_probabilities(forms["log_probability"]),
}


SETTLED, JUMP, AT_START = 5, 100.0, 0.01


def jumps(losses: Tensor) -> Tensor:
    """Where a loss that had settled jumps: the first such evaluation of each run, -1 where there is none.

    A loss has settled when its last five values lie within a factor of 2, and jumps when it then is a hundred times the largest
    of them, and more than a hundredth of the first.

    Args:
        losses: [R, E], the training loss after each evaluation; NaN where there is none.

    Returns:
        int64 [R], indices along E.
    """
    if losses.shape[1] <= SETTLED:
        return torch.full((len(losses),), -1)
    before, later = losses.unfold(1, SETTLED, 1)[:, :-1], losses[:, SETTLED:]
    low, high = before.aminmax(dim=2)
    found = (high <= 2 * low) & (later > JUMP * high) & (later > AT_START * losses[:, :1])
    return torch.where(found.any(1), found.int().argmax(1) + SETTLED, -1)


def diagnose(train_step: TrainStep, table: Batches, state: State) -> Diagnostics:
    """All of the above for the state's own theta: tensors [R], or [R, layers] where there is one number a layer."""
    tapes: list[list[Any]] = []
    found: Diagnostics = {"gradient_norm": gradient_norms(train_step, table, state, tapes.append)}
    units = [
        _units(layer, saved)
        for number, (layer, saved) in enumerate(zip(train_step.model.layers, tapes[0], strict=True))
        if isinstance(layer, Pointwise) and train_step.model.is_activation(number)
    ]
    if units:
        for number, key in enumerate(("mean_activation", "dead_units", "saturation")):
            found[key] = torch.stack([values[number] for values in units], 1)
    return found | weights(train_step, state.theta)


def gradient_norms(
    train_step: TrainStep, table: Batches, state: State, tape_of: Callable[[list[Any]], None] = lambda tape: None
) -> Tensor:
    """The norm of the gradient of each layer's weights [R, layers]; ``tape_of`` sees the tape of the pass."""
    x, y = table.at(table.sample("train", ROWS))
    buffers = train_step.model.buffers.views(state.buffers.clone())  # a training pass would move running statistics
    gradients = train_step.gradients(x, y, buffers, tape_of)
    norms = [
        gradient.reshape(len(gradient), -1).norm(dim=1)
        for slot, gradient in zip(train_step.layout.slots, itertools.chain(*gradients), strict=True)
        if slot.spec.role == "weight" or not train_step.has_weights
    ]
    return torch.stack(norms, 1)


def weights(train_step: TrainStep, theta: Tensor) -> Diagnostics:
    """The fraction of exact zeros among the weights and their norm: [R] each."""
    mask = train_step.layout.weight_mask(theta.dtype, theta.device)
    zeros = ((theta == 0).to(theta.dtype) * mask).sum(1) / mask.sum().clamp(min=1)
    return {"zero_weights": zeros, "weight_norm": (theta * mask).norm(dim=1)}


def of_predictions(train_step: TrainStep, table: Batches, measured: dict[str, Tensor]) -> Diagnostics:
    """What test rows tell: the gap between test and training loss, and what the predictions are like. [R] each."""
    if "test/loss" not in measured:
        return {}
    found = {"loss_gap": measured["test/loss"] - measured["train/loss"]}
    quantiles = train_step.task.scaled and any(len(levels(run)) > 1 for run in train_step.runs)
    if quantiles or train_step.task.diagnostics:
        output, before = outputs_of(train_step, table, table.sample("test", table.sizes["test"]))
        found |= by_size(
            table,
            "test",
            lambda rows: _of_predicted(train_step, predictions(train_step, table, output[:, rows], before[:, rows])),
        )
    return found


def _of_predicted(train_step: TrainStep, forms: Forms) -> Diagnostics:
    if train_step.task.scaled:
        return {"quantile_crossing": by_levels(train_step, forms.output, lambda p, rows, taus: quantile_crossing(p, taus))}
    return {name: _OF_CLASSES[name](forms) for name in train_step.task.diagnostics}


def _units(layer: Pointwise, saved: Sequence[Any]) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, fraction of dead units and saturation of one activation layer: [R] each."""
    runs = sum(len(group.rows) for group, _ in layer.activations)
    first = saved[0][1].detach()
    mean, dead, saturated = (torch.full((runs,), torch.nan, dtype=first.dtype, device=first.device) for _ in range(3))
    for (group, activation), save in zip(layer.activations, saved, strict=True):
        y = save[1].detach()
        group.rows.put(mean, y.flatten(1).mean(1))
        # a unit is a column, or a channel of an image: all else is flattened away
        values = y.transpose(1, 2).flatten(2)
        group.rows.put(dead, (values.amax(2) == values.amin(2)).to(y.dtype).mean(1))
        if activation.elementwise:
            slope = layer.slope(group, activation, save)
            group.rows.put(saturated, (slope.abs() < 0.01).to(y.dtype).flatten(1).mean(1))
    return mean, dead, saturated
