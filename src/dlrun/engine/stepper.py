"""The torch way of taking steps: one operation after the other, each on all rows.

Shapes: R runs, P parameters, B batch rows, H hidden units.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from dlrun.engine.batches import Batches
from dlrun.engine.evaluation import outputs_of
from dlrun.engine.layers import Pointwise
from dlrun.engine.schedule import Factors
from dlrun.engine.state import State
from dlrun.engine.step import TrainStep
from dlrun.engine.way import UNITS, Diagnostics, Evaluation, Here
from dlrun.lazy import Tensor, torch


class TorchWay:
    """Steps by torch. See ``way.Way``."""

    name = "torch"

    def __init__(self, train_step: TrainStep, table: Batches) -> None:
        self._train_step, self._table = train_step, table
        self._keys = train_step.keys()

    def load(self, state: State) -> None:
        """See ``Way.load``."""
        self._train_step.bind(state)

    def epoch(self, state: State, number: int, steps: range, factors: Tensor | None, interrupted: Callable[[], bool]) -> None:
        """See ``Way.epoch``."""
        train_step, settings = self._train_step, self._train_step.settings
        train_step.bind(state)
        rates = None if factors is None else Factors(factors, train_step.optimizers, settings.device)
        keys, order = self._keys.epoch(number), self._keys.order(number)
        batches = self._table.epoch(order, settings.batch_size, steps.stop, innermost=train_step.innermost)
        weights = self._table.epoch_weights(order, settings.batch_size, steps.stop)
        drawn = itertools.islice(zip(batches, weights, strict=True), steps.start, None)
        for step, ((x, y), weight) in zip(steps, drawn, strict=True):
            if interrupted():
                return
            train_step.step(state, x, y, keys(step), None if rates is None else rates.at(step), weight)

    def tensors(self, state: State) -> dict[str, Tensor]:
        """See ``Way.tensors``."""
        slots = {
            f"{kind}/{number}/{name}": value
            for kind, each in (("optimizer", state.optimizers), ("kink", state.kinks))
            for number, mine in enumerate(each)
            for name, value in mine.items()
        }
        return {"theta": state.theta, "buffers": state.buffers, **slots}

    def evaluated(self, state: State) -> Tensor:
        """See ``Way.evaluated``."""
        theta = self._train_step.evaluated(state)
        self._train_step.use(theta)
        return theta

    def use(self, theta: Tensor, buffers: Tensor) -> None:
        """See ``Way.use``."""
        self._train_step.bind(State(theta, buffers, [], torch.zeros_like(theta)))

    def evaluate(self, here: Here, outputs: bool) -> Evaluation:
        """See ``Way.evaluate``."""
        return None, outputs_of(self._train_step, self._table, here)

    def codes(self, here: Here) -> Tensor:
        """See ``Way.codes``."""
        return self._train_step.codes(self._table.at(here)[0])

    def scores(self, x: Tensor) -> Tensor:
        """See ``Way.scores``."""
        return self._train_step.evaluate(x)[0]

    def inside(self, here: Here) -> Diagnostics:
        """See ``Way.inside``."""
        train_step, model = self._train_step, self._train_step.model
        x, y = self._table.at(here)
        buffers = [[buffer.clone() for buffer in mine] for mine in train_step.buffers]  # whose statistics the pass moves
        tape: list[Any] = []
        gradients = train_step.gradients(x, y, buffers, tape.extend)
        norms = [
            gradient.reshape(len(gradient), -1).norm(dim=1)
            for slot, gradient in zip(train_step.layout.slots, itertools.chain(*gradients), strict=True)
            if slot.spec.role == "weight" or not train_step.has_weights
        ]
        found = {"gradient_norm": torch.stack(norms, 1)}
        units = [
            _units(layer, saved)
            for number, (layer, saved) in enumerate(zip(model.layers, tape, strict=True))
            if isinstance(layer, Pointwise) and model.is_activation(number)
        ]
        if units:
            found |= {name: torch.stack(each, 1) for name, each in zip(UNITS, zip(*units, strict=True), strict=True)}
        return found

    def of(self, train_step: TrainStep, table: Batches) -> "TorchWay":
        """See ``Way.of``."""
        return TorchWay(train_step, table)

    def select(self, train_step: TrainStep, table: Batches, keep: Sequence[int], state: State) -> "TorchWay":
        """See ``Way.select``."""
        other = self.of(train_step, table)
        other.load(state)
        return other


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
