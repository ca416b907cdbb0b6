"""Steps that are written down: what every part of a step of one run was given, and what it made of it.

A run is a cohort of one, its steps are those of the torch way, and the recorder looks at them from its layers, its loss and its
optimizer, so that what it writes down is what was computed.

Shapes: B batch rows, P parameters.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.components.optimizers import Optimizer
from dlrun.engine.batches import Batches
from dlrun.engine.by_torch.draws import Draws
from dlrun.engine.by_torch.process import at_speed
from dlrun.engine.by_torch.schedule import Factors
from dlrun.engine.cohort import Cohort
from dlrun.engine.layers import Layer, Pass
from dlrun.engine.measuring.forms import Forms
from dlrun.engine.models.layout import Slot
from dlrun.engine.state import State
from dlrun.engine.step import TrainStep
from dlrun.engine.tensors import array
from dlrun.lazy import Tensor, torch


@dataclass
class LayerRecord:
    """One layer in one step.

    Attributes:
        layer: what it is.
        input, output: [B, ...].
        gradient: of the loss with respect to the output, [B, ...]; None for layers before the first with parameters.
        of_parameters: the gradient of the loss with respect to each parameter.
    """

    layer: Layer
    input: Tensor
    output: Tensor
    gradient: Tensor | None = None
    of_parameters: Sequence[Tensor] = ()


@dataclass(frozen=True)
class ParameterRecord:
    """One parameter in one step, tensors of its shape.

    Attributes:
        slot: where it is, and what it is called.
        before, after: its values.
        gradient: of the loss.
        taken: what the optimizer was given: the gradient with those of penalties, clipped.
        slots: what the optimizer remembers of it after the step, by name.
    """

    slot: Slot
    before: Tensor
    gradient: Tensor
    taken: Tensor
    after: Tensor
    slots: dict[str, Tensor]


@dataclass(frozen=True)
class StepRecord:
    """One step of one run.

    Attributes:
        number: of the step, from 1.
        epoch: from 1.
        rows: of the data that the batch holds, [B].
        x: the batch, scaled, before regularizers change it.
        targets: as the data has them, [B, ...].
        lr: the learning rate of this step.
        layers: in their order; the head is one of them.
        parameters: in the order of the layers.
        y: the targets that the loss is given, [B, ...].
        output: of the model, [B, ...]; ``before`` is what stands before its head.
        probability: what the model says of the classes, where the task has any, [B, ...].
        values: the loss of each entry, [B, ...]; None where it has none.
        row_losses: of each row, [B]; NaN where the loss has none.
        loss: of the batch, and ``after`` the same with the new parameters.
        unclipped, norm: of the gradient with those of penalties, before clipping and as the optimizer was given it.
    """

    number: int
    epoch: int
    rows: NDArray[np.int64]
    x: Tensor
    targets: NDArray[Any]
    lr: float
    layers: Sequence[LayerRecord]
    parameters: Sequence[ParameterRecord]
    y: Tensor
    output: Tensor
    before: Tensor
    probability: Tensor | None
    values: Tensor | None
    row_losses: Tensor
    loss: float
    after: float
    unclipped: float
    norm: float


class _Watched(Layer):
    """A layer that writes down what passes."""

    def __init__(self, layer: Layer, records: list[LayerRecord]) -> None:
        self.layer, self.records = layer, records
        self.place = -1

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        """As the layer."""
        y, saved = self.layer.forward(parameters, buffers, x, pass_)
        self.place = len(self.records)
        self.records.append(LayerRecord(self.layer, x[0].clone(), y[0].clone()))
        return y, saved

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        """As the layer."""
        mine = self.records[self.place]
        mine.gradient = grad[0].clone()
        below = self.layer.backward(parameters, gradients, grad, saved, first)
        mine.of_parameters = [each[0].clone() for each in gradients]
        return below


class _WatchedOptimizer(Optimizer):
    """An optimizer that writes down the gradient that it is given."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self.taken = torch.empty(0)

    def state(self, theta: Tensor) -> dict[str, Tensor]:
        """As the optimizer."""
        return self.optimizer.state(theta)

    def step(self, theta: Tensor, grad: Tensor, state: dict[str, Tensor], t: int, factor: float | Tensor) -> None:
        """As the optimizer."""
        self.taken = grad.clone()
        self.optimizer.step(theta, grad, state, t, factor)

    def evaluation(self, theta: Tensor, state: dict[str, Tensor]) -> Tensor:
        """As the optimizer."""
        return self.optimizer.evaluation(theta, state)


class _Recorder(TrainStep):
    """A step whose parts write down what they do."""

    def __init__(self, cohort: Cohort) -> None:
        super().__init__(cohort.runs, cohort.data, cohort.settings)
        self.layers: list[LayerRecord] = []
        self.model.layers = [_Watched(layer, self.layers) for layer in self.model.layers]
        ((rows, optimizer),) = self.optimizers
        self.optimizer = _WatchedOptimizer(optimizer)
        self.optimizers = [(rows, self.optimizer)]
        self.x = self.output = self.y = self.added = torch.empty(0)

    def forward(self, x: Tensor, pass_: Pass, buffers: list[list[Tensor]] | None = None) -> tuple[Tensor, list[Any]]:
        """As the step; writes down what the model was given."""
        self.x = x
        return super().forward(x, pass_, buffers)

    def loss_gradient(self, output: Tensor, y: Tensor) -> Tensor:
        """As the step; writes down what the loss was given."""
        self.output, self.y = output.clone(), y
        return super().loss_gradient(output, y)

    def entries(self) -> Tensor | None:
        """The loss of each entry of the output [B, ...]; None where the loss has other values."""
        ((group, values),) = self.losses
        found = self._values(group, values, self.output, self.y)
        return found[0] if isinstance(found, Tensor) and found.dim() > 1 else None

    def _clip(self, grad: Tensor) -> None:
        self.added = grad.clone()
        super()._clip(grad)


def record(cohort: Cohort, steps: int) -> Iterator[StepRecord]:
    """The first ``steps`` steps of a run, a cohort of one, in its own order of rows and with its own random numbers.

    A record is that of its own step: tensors of it do not change afterwards.
    """
    with torch.no_grad(), at_speed():
        yield from _steps(cohort, steps)


def _steps(cohort: Cohort, steps: int) -> Iterator[StepRecord]:
    settings, (split,) = cohort.settings, cohort.splits
    table = Batches(cohort.data, cohort.splits, cohort.preprocessing, [0], floats=settings.floats)
    draws = Draws(table, settings.device)
    step = _Recorder(cohort)
    state = step.bind(step.fresh())
    size, per_epoch = settings.batch_size, math.ceil(table.sizes["train"] / settings.batch_size)
    total = min(settings.epochs * per_epoch, settings.max_steps or settings.epochs * per_epoch)
    keys = step.keys()
    for number in range(min(steps, total)):
        epoch, place = divmod(number, per_epoch)
        factors = step.factors(number, 1, per_epoch, total)
        factor = None if factors is None else Factors(torch.from_numpy(factors), step.optimizers, settings.device).at(0)
        places = draws.order(keys.order(epoch))[:, place * size : (place + 1) * size]
        rows = split.train[places[0].cpu().numpy()]
        x, y = draws.take(places)
        drawn, theta, buffers = keys.epoch(epoch)(place), state.theta.clone(), state.buffers.clone()
        step.layers.clear()
        weight = draws.weights_of(places)
        step.step(state, x, y, drawn, factor, weight)
        layers, output, given = list(step.layers), step.output, step.y
        head = layers[-1].input.unsqueeze(0) if step.model.headed else output
        found = step.forward(step.x, Pass(True, drawn.dropout), step.model.buffers.views(buffers))[0]
        yield StepRecord(
            number=number + 1,
            epoch=epoch + 1,
            rows=rows,
            x=x[0],
            targets=(cohort.data.y if cohort.data.train_y is None else cohort.data.train_y)[rows],
            lr=float(cohort.runs[0].optimizer.values["lr"]) * (1.0 if factors is None else float(factors[0, 0])),
            layers=layers,
            parameters=_parameters(step, layers, theta, state),
            y=given[0],
            output=output[0],
            before=head[0],
            probability=_probability(step, output, head),
            values=step.entries(),
            row_losses=step.row_losses(output, given)[0],
            loss=float(step.loss(output, given, weight)),
            after=float(step.loss(found, given, weight)),
            unclipped=float(torch.linalg.vector_norm(step.added)),
            norm=float(torch.linalg.vector_norm(step.optimizer.taken)),
        )


def _parameters(step: _Recorder, layers: Sequence[LayerRecord], before: Tensor, state: State) -> list[ParameterRecord]:
    gradients = [gradient for layer in layers for gradient in layer.of_parameters]
    (remembered,) = state.optimizers
    whole = {name: value for name, value in remembered.items() if value.shape == state.theta.shape}
    found = []
    for slot, gradient in zip(step.layout.slots, gradients, strict=True):
        was, taken, now = (slot.view(matrix)[0].clone() for matrix in (before, step.optimizer.taken, state.theta))
        slots = {name: slot.view(value.contiguous())[0].clone() for name, value in whole.items()}
        found.append(ParameterRecord(slot, was, gradient, taken, now, slots))
    return found


def _probability(step: _Recorder, output: Tensor, before: Tensor) -> Tensor | None:
    """What the output says of classes; None where the task has none."""
    if step.task.log_form == "output":
        return None
    return torch.from_numpy(Forms(step.kinds, array(output), array(before))["probability"][0])
