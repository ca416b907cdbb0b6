"""The torch way of taking steps: the step as it is, or the compiled one where that pays.

Shapes: R runs, P parameters, B batch rows.
"""

import logging
import time
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from dlrun.engine.batches import Batches
from dlrun.engine.cohort import Cohort, Wish
from dlrun.engine.compiled import CannotCompileError, CompiledStep, Rates
from dlrun.engine.evaluation import outputs_of
from dlrun.engine.keys import StepKeys
from dlrun.engine.schedule import Factors
from dlrun.engine.state import State
from dlrun.engine.step import TrainStep

REPAYS = 30.0  # seconds of training left from which compiling (5 to 10 s) repays itself even where it helps least
WARMING, TIMED = 5, 20  # steps before the clock starts, steps on the clock


class TorchWay:
    """One operation after the other, each on all rows. See ``way.Way``."""

    name = "torch"

    def __init__(self, train_step: TrainStep, table: Batches, cohort: Cohort, wish: Wish, total_steps: int) -> None:
        self._train_step, self._table, self._cohort, self._total = train_step, table, cohort, total_steps
        self._keys = train_step.keys()
        self.stepper = Stepper(train_step, cohort, wish, total_steps)

    def load(self, state: State) -> None:
        """See ``Way.load``."""
        self._train_step.bind(state)

    def epoch(self, state: State, number: int, count: int, factors: Tensor | None, interrupted: Callable[[], bool]) -> None:
        """See ``Way.epoch``."""
        self._train_step.bind(state)
        self.stepper.begin(state.step, count, factors)
        keys, order = self._keys.epoch(number), self._keys.order(number)
        batches = self._table.epoch(order, self._cohort.settings.batch_size, count, innermost=self._train_step.innermost)
        for step, (x, y) in enumerate(batches):
            if interrupted():
                return
            self.stepper.step(state, x, y, keys(step), step)

    def evaluated(self, state: State) -> Tensor:
        """See ``Way.evaluated``."""
        theta = self._train_step.evaluated(state)
        self._train_step.use(theta)
        return theta

    def outputs(self, here: Tensor | slice) -> tuple[Tensor, Tensor, Tensor]:
        """See ``Way.outputs``."""
        return outputs_of(self._train_step, self._table, here)

    def losses(self, here: Tensor | slice) -> None:
        """See ``Way.losses``."""

    def select(self, train_step: TrainStep, table: Batches, keep: Sequence[int], state: State) -> "TorchWay":
        """See ``Way.select``. For fewer rows, compiling again has to repay itself."""
        other = TorchWay(train_step, table, self._cohort, self.stepper.wish and "auto", self._total)
        other.load(state)
        return other


class Stepper:
    """Takes the steps of some runs of a cohort: one operation after the other, or compiled.

    ``wish`` is True (compile before the first step), False (never) or "auto": compile when the steps that are left would take so
    long that it repays itself, and only keep to it if it turns out to be faster.
    """

    def __init__(self, train_step: TrainStep, cohort: Cohort, wish: Wish, total_steps: int) -> None:
        self.train_step, self._cohort, self._total = train_step, cohort, total_steps
        self.wish = wish
        self.compiled: CompiledStep | None = None
        self._clock = _Clock(cohort.settings.device if wish == "auto" else None)
        self._before = 0.0  # seconds of a step that is not compiled
        self._epoch: tuple[int, int, Tensor | None] = (0, 0, None)
        self._factors: Factors | None = None
        self._rates: list[Rates] = []

    def begin(self, first: int, count: int, factors: Tensor | None) -> None:
        """An epoch of ``count`` steps begins after the first ``first``; ``factors`` [count, R] are the schedule's, on the CPU."""
        self._factors = None if factors is None else Factors(factors, self.train_step.optimizers, self._cohort.settings.device)
        self._epoch, self._rates = (first, count, None if self._factors is None else self._factors.on_device), []

    def step(self, state: State, x: Tensor, y: Tensor, keys: StepKeys, number: int) -> None:
        """Step ``number`` of the epoch, in place on ``state``. x, y [R, B, ...]."""
        factor = None if self._factors is None else self._factors.at(number)
        if self.wish is False and self.compiled is None:
            self.train_step.step(state, x, y, keys, factor)
            return
        if self.wish is True or (self.wish == "auto" and self._decide(state)):
            row = None if self._factors is None else self._factors.on_device[number]
            self._compile(state, *self.train_step.transformed(x, y, keys), keys, row)
        with self._clock:
            if self.compiled is not None:
                ready = self.train_step.transformed(x, y, keys)
                if self.compiled.takes(*ready):
                    self._rates = self._rates or self.compiled.rates(*self._epoch)
                    self.compiled.step(state, *ready, keys, self._rates[number])
                    return
            self.train_step.step(state, x, y, keys, factor)

    def _decide(self, state: State) -> bool:
        """Whether to compile now. A compiled step that has turned out to be no faster is given up."""
        pace = self._clock.pace()
        if pace is None:
            return False
        if self.compiled is not None:
            if pace > self._before:
                self.compiled = None
            self._stop()
            return False
        self._before = pace
        if (self._total - state.step) * pace < REPAYS:
            self._stop()
            return False
        self._clock = _Clock(self._cohort.settings.device)
        return True

    def _stop(self) -> None:
        self.wish, self._clock = False, _Clock(None)

    def _compile(self, state: State, x: Tensor, y: Tensor, keys: StepKeys, factor: Tensor | None) -> None:
        if self.wish is True:
            self._stop()
        try:
            self.compiled = CompiledStep(self.train_step.runs, self._cohort, state, x, y, keys, factor)
        except CannotCompileError as error:
            _tell(str(error))
            self._stop()


class _Clock:
    """Seconds of some steps, after a few that warm up. Without a device it measures nothing and costs nothing."""

    def __init__(self, device: torch.device | None) -> None:
        self._device, self._steps, self._seconds, self._started = device, 0, 0.0, 0.0

    def __enter__(self) -> None:
        if self._device is not None:
            self._started = self._now()

    def __exit__(self, *_: object) -> None:
        if self._device is not None:
            self._steps += 1
            self._seconds += self._now() - self._started if self._steps > WARMING else 0.0

    def _now(self) -> float:
        if self._device is not None and self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def pace(self) -> float | None:
        """Seconds a step; None while it is too early to say."""
        return self._seconds / TIMED if self._device is not None and self._steps >= WARMING + TIMED else None


@cache
def _tell(reason: str) -> None:
    """Say once why training goes on without a compiled step."""
    logging.getLogger("dlrun").warning("trainer.compile: the step is not compiled: %s", reason)
