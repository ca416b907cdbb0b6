"""The torch way of taking steps: one operation after the other, each on all rows.

Shapes: R runs, P parameters, B batch rows.
"""

from collections.abc import Callable, Sequence
from itertools import islice

from dlrun.engine.batches import Batches
from dlrun.engine.evaluation import outputs_of
from dlrun.engine.schedule import Factors
from dlrun.engine.state import State
from dlrun.engine.step import TrainStep
from dlrun.engine.way import Evaluation
from dlrun.lazy import Tensor


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
        drawn = islice(zip(batches, weights, strict=True), steps.start, None)
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

    def evaluate(self, here: Tensor | slice, outputs: bool) -> Evaluation:
        """See ``Way.evaluate``."""
        return None, outputs_of(self._train_step, self._table, here)

    def select(self, train_step: TrainStep, table: Batches, keep: Sequence[int], state: State) -> "TorchWay":
        """See ``Way.select``."""
        other = TorchWay(train_step, table)
        other.load(state)
        return other
