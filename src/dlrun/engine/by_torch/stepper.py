"""The torch way of taking steps: one operation after the other, each on all rows.

Shapes: R runs, P parameters, B batch rows, H hidden units.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from dlrun.components.arrays import Array
from dlrun.engine.batches import Batches, Here
from dlrun.engine.by_torch.draws import Draws
from dlrun.engine.by_torch.process import at_speed, exact
from dlrun.engine.by_torch.schedule import Factors
from dlrun.engine.layers import Pointwise
from dlrun.engine.measuring.derived import chunks
from dlrun.engine.state import Parameters, State
from dlrun.engine.step import TrainStep
from dlrun.engine.tensors import array, tensor
from dlrun.engine.way import UNITS, Diagnostics, Evaluation, Outputs
from dlrun.lazy import Tensor, torch
from dlrun.threads import thread_count

CHUNK_NUMBERS = 1 << 24  # inputs and hidden values held at once during an evaluation, and
CHUNK_ROWS = 1 << 13  # rows: of a large table far less than it takes itself


Method = TypeVar("Method", bound=Callable[..., Any])


def _computes(method: Method) -> Method:
    """A method that computes with torch, as fast and as exactly as it can, without autograd."""

    @wraps(method)
    def call(self: TorchWay, *given: Any) -> Any:
        with torch.no_grad(), at_speed(), exact(self.device):
            return method(self, *given)

    return cast(Method, call)


class TorchWay:
    """Steps by torch. See ``way.Way``. Arrays become tensors on the device here, and what is asked for arrays again."""

    name = "torch"

    def __init__(self, train_step: TrainStep, table: Batches, initial: Parameters) -> None:
        self.device = train_step.settings.device
        torch.set_num_threads(thread_count())  # torch may have been imported after they were asked for
        self._bind(train_step, Draws(table, self.device))
        self._start(initial)

    def _bind(self, train_step: TrainStep, draws: Draws) -> None:
        self._train_step, self._draws, self._keys = train_step, draws, train_step.keys()

    @_computes
    def _start(self, initial: Parameters) -> None:
        self._begin(self._train_step.fresh(initial))

    def _begin(self, state: State) -> None:
        self._state = self._train_step.bind(state)
        self._theta = state.theta  # that is evaluated

    @_computes
    def epoch(
        self, number: int, step: int, steps: range, factors: NDArray[np.float64] | None, interrupted: Callable[[int], bool]
    ) -> int:
        """See ``Way.epoch``."""
        train_step, settings = self._train_step, self._train_step.settings
        state = train_step.bind(self._state)
        rates = None if factors is None else Factors(torch.from_numpy(factors), train_step.optimizers, self.device)
        keys, order = self._keys.epoch(number), self._keys.order(number)
        batches = self._draws.epoch(order, settings.batch_size, steps.stop, innermost=train_step.innermost)
        weights = self._draws.epoch_weights(order, settings.batch_size, steps.stop)
        drawn = itertools.islice(zip(batches, weights, strict=True), steps.start, None)
        state.step = step
        for place, ((x, y), weight) in zip(steps, drawn, strict=True):
            if interrupted(state.step):
                break
            train_step.step(state, x, y, keys(place), None if rates is None else rates.at(place), weight)
        return state.step

    def arrays(self) -> dict[str, Array]:
        """See ``Way.arrays``."""
        return {name: array(value) for name, value in self._tensors().items()}

    @_computes
    def restore(self, arrays: Mapping[str, Array], step: int) -> None:
        """See ``Way.restore``."""
        for name, value in self._tensors().items():
            value.copy_(tensor(arrays[name]))
        self._state.step = step
        self.evaluated(step)

    def _tensors(self) -> dict[str, Tensor]:
        state = self._state
        slots = {
            f"{kind}/{number}/{name}": value
            for kind, each in (("optimizer", state.optimizers), ("kink", state.kinks))
            for number, mine in enumerate(each)
            for name, value in mine.items()
        }
        return {"theta": state.theta, "buffers": state.buffers, **slots}

    @_computes
    def evaluated(self, step: int) -> None:
        """See ``Way.evaluated``."""
        self._theta = self._train_step.evaluated(self._state)
        self._train_step.use(self._theta)

    def use(self, theta: Array, buffers: Array) -> None:
        """See ``Way.use``."""
        mine, kept = (tensor(values, self.device) for values in (theta, buffers))
        self._begin(State(mine, kept, [], torch.zeros_like(mine)))

    @_computes
    def finite(self) -> NDArray[np.bool_]:
        """See ``Way.finite``."""
        if math.isfinite(float(self._theta.sum())):  # then every one of them is
            return np.ones(len(self._theta), dtype=bool)
        return array(self._theta.isfinite().all(1))

    def parameters(self, rows: NDArray[np.int64] | None = None) -> Parameters:
        """See ``Way.parameters``."""
        each = self._theta, self._state.buffers
        if rows is not None:
            where = tensor(rows, self._theta.device)
            each = each[0][where], each[1][where]
        theta, buffers = (np.array(array(values)) for values in each)
        return theta, buffers

    @_computes
    def evaluate(self, here: Here, outputs: bool) -> Evaluation:
        """See ``Way.evaluate``."""
        output, before = outputs_of(self._train_step, self._draws, here)
        if not outputs:
            return self._loss(here, output), None
        found = array(output)
        return None, (found, found if before is output else array(before))

    @_computes
    def loss(self, here: Here, outputs: Outputs) -> Array:
        """See ``Way.loss``."""
        return self._loss(here, tensor(outputs[0], self.device))

    def _loss(self, here: Here, output: Tensor) -> Array:
        return array(self._train_step.loss(output, self._draws.targets(here), self._draws.weights_at(here)))

    @_computes
    def codes(self, here: Here) -> Array:
        """See ``Way.codes``."""
        return array(self._train_step.codes(self._draws.at(here)[0]))

    @_computes
    def scores(self, x: Array) -> Array:
        """See ``Way.scores``."""
        return array(self._train_step.evaluate(self._draws.prepare(x))[0])

    @_computes
    def inside(self, here: Here) -> Diagnostics:
        """See ``Way.inside``."""
        train_step, model = self._train_step, self._train_step.model
        x, y = self._draws.at(here)
        buffers = [[buffer.clone() for buffer in mine] for mine in train_step.buffers]  # whose statistics the pass moves
        tape: list[Any] = []
        gradients = train_step.gradients(x, y, buffers, tape.extend)
        norms = [
            gradient.reshape(len(gradient), -1).norm(dim=1)
            for slot, gradient in zip(train_step.layout.slots, itertools.chain(*gradients), strict=True)
            if slot.spec.role == "weight" or not train_step.has_weights
        ]
        found = {"gradient_norm": array(torch.stack(norms, 1))}
        units = [
            _units(layer, saved)
            for number, (layer, saved) in enumerate(zip(model.layers, tape, strict=True))
            if isinstance(layer, Pointwise) and model.is_activation(number)
        ]
        if units:
            found |= {name: array(torch.stack(each, 1)) for name, each in zip(UNITS, zip(*units, strict=True), strict=True)}
        return found

    def of(self, train_step: TrainStep, table: Batches, initial: Parameters) -> TorchWay:
        """See ``Way.of``."""
        other = copy.copy(self)
        other._bind(train_step, self._draws.of(table))
        other.use(*initial)
        return other

    def select(self, train_step: TrainStep, table: Batches, keep: Sequence[int]) -> TorchWay:
        """See ``Way.select``."""
        other = copy.copy(self)
        other._bind(train_step, self._draws.of(table))
        other._begin(self._state.select(keep, [g.rows for g, _ in self._train_step.optimizers]))
        other.evaluated(self._state.step)
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


def outputs_of(train_step: TrainStep, draws: Draws, here: Here) -> tuple[Tensor, Tensor]:
    """Of the rows ``here``: outputs of the model and what stands before its head, [R, n, K, ...]."""
    width = max(train_step.model.widest, math.prod(draws.table.row_shape))
    together = min(CHUNK_ROWS, max(1, CHUNK_NUMBERS // (len(train_step.runs) * width)))
    parts = [train_step.evaluate(draws.at(chunk)[0]) for chunk in chunks(here, together)]
    if len(parts) == 1:
        return parts[0]
    output, before = zip(*parts, strict=True)
    joined = torch.cat(output, 1)
    return joined, joined if before[0] is output[0] else torch.cat(before, 1)
