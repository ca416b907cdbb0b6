"""The native way of taking steps: runs as the lanes of vectors (see native/kernel.c).

    lanes.products(cohort)                   what a step will cost, or None where there is no way; before it is built
    way = lanes.way(train_step, table)      None where the kernel has not all that these runs need, or is not there
    way.load(state)                          theta, buffers -> the kernel's memory, before the first step
    way.epoch(state, number, ...)            steps; the buffers of ``state`` are then those behind them
    way.tensors(state)                       what steps change, for a checkpoint
    way.evaluated(state)                     the parameters that are evaluated
    way.evaluate(here, outputs)              what the models make of rows with these
    way.select(train_step, table, keep)      the same for some of the runs

The kernel's memory is the state, theta and slots and all. Of ``State`` it keeps the buffers and the step up to date.

Shapes: R runs, G blocks of V lanes, P parameters, Q buffers.
"""

import ctypes
import math
from collections.abc import Callable, Sequence
from functools import partial

from dlrun import streams
from dlrun.data.dataset import Data
from dlrun.engine.batches import Batches, materialized
from dlrun.engine.cohort import Cohort, Settings
from dlrun.engine.lanes import plan
from dlrun.engine.lanes.changes import changes
from dlrun.engine.lanes.columns import Columns, UnfitError
from dlrun.engine.lanes.library import Block, Change, Layer, Plan, Weight, kernel, version
from dlrun.engine.lanes.plan import Lanes, V
from dlrun.engine.lanes.threads import spread
from dlrun.engine.lanes.updates import weight_table
from dlrun.engine.state import State
from dlrun.engine.step import TrainStep
from dlrun.engine.way import Evaluation
from dlrun.lazy import Tensor, torch

__all__ = ["Native", "V", "products", "version", "way"]

PRODUCTS = 1 << 28  # multiplications of a call, some 30 ms: between calls it is asked whether to stop


def products(cohort: Cohort) -> int | None:
    """Multiplications of the layers in a step of one run; None where the kernel does not take the steps of these runs.

    What ``way`` will find, before anything is allocated for it.
    """
    if not _allowed(cohort.settings, cohort.data) or not materialized(cohort.data, cohort.splits, cohort.settings.dtype):
        return None
    distinct = {plan.components(run): run for run in cohort.runs}
    train_step, columns = TrainStep(list(distinct.values()), cohort.data, cohort.settings), Columns(len(distinct))
    try:
        plan.parts(train_step)
        layers = plan.layers(train_step, columns)
        changes(train_step, columns)
    except UnfitError:
        return None
    return 3 * cohort.settings.batch_size * (train_step.task.members or 1) * sum(map(plan.products, layers))


def way(train_step: TrainStep, table: Batches) -> "Native | None":
    """The native way for these runs, or None where they go the torch way."""
    if not _allowed(train_step.settings, train_step.data) or table.prepared() is None:
        return None
    try:
        return Native(train_step, table)
    except UnfitError:
        return None


def _allowed(settings: Settings, data: Data) -> bool:
    """Whether there is a kernel, for such runs; it knows no weights of rows."""
    fits = settings.place == "cpu" and settings.floats == "float32" and settings.module is None
    fits = fits and data.weights is None
    return fits and settings.engine == "auto" and kernel() is not None


def _pointer(values: Tensor) -> int:
    assert values.is_contiguous()
    return values.data_ptr()


class Native:
    """Runs in the kernel. See ``way.Way``."""

    name = "native"

    def __init__(self, train_step: TrainStep, table: Batches, samples: Tensor | None = None) -> None:
        library = kernel()
        assert library is not None
        self._kernel, self._table, self._train_step = library, table, train_step
        runs = plan.parts(train_step)
        self._lanes = lanes = Lanes.of(train_step.runs, [run.block for run in runs])
        columns = Columns(len(runs))
        layers, changed = plan.layers(train_step, columns), changes(train_step, columns)
        activation, loss = columns.rows([run.activation for run in runs]), columns.rows([run.loss for run in runs])
        numbers = lanes.spread(columns.matrix())
        rates = lanes.spread(torch.tensor([run.rates for run in runs], dtype=torch.float64))
        weights = [Weight(*row) for row in weight_table(train_step.weights.places)]
        layout, buffers = train_step.layout.size, train_step.model.buffers.size
        average = layout + buffers
        slots = average + (layout if any(kink.state(torch.empty(0)) for kink in train_step.kinks) else 0)
        stride = slots + layout * max(library.dlrun_slots(kind[3], kind[4]) for kind in lanes.blocks)
        self._memory = torch.zeros(len(lanes.blocks), stride, V)
        self._theta = torch.zeros(len(lanes.blocks), layout, V)  # that is evaluated
        prepared = table.prepared()
        assert prepared is not None
        x, y = (values.flatten(2) if values.dim() > 2 else values.unsqueeze(2) for values in prepared[:2])
        self._samples = plan.samples(x, y, prepared[3]) if samples is None else samples
        seeds = [train_step.seeds[row] for row in lanes.rows.tolist()]
        keys = [streams.seeded(seeds, name) for name in ("order", "dropout", "augment")]
        drawn = torch.empty(len(seeds) * table.sizes["train"], dtype=torch.int32)
        splits = prepared[2][lanes.rows]
        tensors = (self._memory, numbers, rates, *keys, changed.shares, splits, self._samples, drawn)
        arrays = (
            (Layer * len(layers))(*layers),
            (Block * len(lanes.blocks))(*(Block(*kind) for kind in lanes.blocks)),
            (Weight * len(weights))(*weights),
            (Change * len(changed.each))(*changed.each),
        )
        self._held = (*tensors, *arrays)  # what the plan points at
        members = train_step.task.members or 1
        self._forward = members * sum(map(plan.products, layers))  # multiplications for a row of one run
        self._products = 3 * train_step.settings.batch_size * self._forward + layout  # and for a step
        pixels = math.prod(train_step.task.pixels_of(train_step.data.shape))
        self._plan = Plan(
            *(ctypes.addressof(array) for array in arrays),
            *map(_pointer, tensors),
            depth=len(layers),
            blocks_count=len(lanes.blocks),
            weights_count=len(weights),
            changes_count=len(changed.each),
            penalties=runs[0].penalties,
            parameters=layout,
            buffers=buffers,
            average=average,
            slots=slots,
            stride=stride,
            numbers_each=numbers.shape[1],
            rates_each=rates.shape[1],
            rows=table.rows,
            train=table.sizes["train"],
            batch=train_step.settings.batch_size,
            sample=self._samples.shape[2],
            inputs=train_step.inputs,
            outputs=layers[-1].outputs,
            targets=y.shape[2],
            members=members,
            width=layers[-1].outputs // pixels,
            pixels=pixels,
            integral=not y.is_floating_point(),
            activation_numbers=activation,
            loss_numbers=loss,
            soft=changed.soft,
        )

    # What training changes

    def load(self, state: State) -> None:
        """Begin with theta and the buffers of ``state``."""
        columns = torch.cat([state.theta, state.buffers], 1)
        self._memory[:, : columns.shape[1]] = self._lanes.spread(columns)
        self._kernel.dlrun_start(self._plan)

    def select(self, train_step: TrainStep, table: Batches, keep: Sequence[int], state: State) -> "Native":
        """The same for some of the runs, by their places among the present ones; ``train_step`` and ``table`` are theirs."""
        other = Native(train_step, table, self._samples)
        lanes = self._lanes.lane[torch.tensor(list(keep))][other._lanes.rows]
        flat = self._memory.transpose(1, 2).flatten(0, 1)[lanes, : other._memory.shape[1]]
        other._memory.copy_(flat.view(-1, V, flat.shape[1]).transpose(1, 2))
        return other

    # Steps

    def epoch(self, state: State, number: int, steps: range, factors: Tensor | None, interrupted: Callable[[], bool]) -> None:
        """See ``Way.epoch``."""
        plan, blocks = self._plan, len(self._lanes.blocks)
        before = state.step - steps.start
        each = None if factors is None else factors[:, self._lanes.rows].contiguous()
        at_once = max(1, PRODUCTS // (self._products * blocks * V))
        for start in range(steps.start, steps.stop, at_once):
            if interrupted():
                break
            stop = min(start + at_once, steps.stop)
            factor = None if each is None else each[start].data_ptr()
            taken = partial(self._steps, number, before, start, stop, factor, draws=start == steps.start)
            spread(taken, blocks, (stop - start) * self._products * blocks * V)
            state.step = before + stop
        if plan.buffers:
            state.buffers.copy_(self._lanes.gather(self._memory[:, plan.parameters : plan.parameters + plan.buffers]))

    def _steps(
        self, epoch: int, before: int, start: int, stop: int, factor: int | None, first: int, last: int, *, draws: bool
    ) -> int:
        """Steps ``start`` to ``stop`` of the blocks ``first`` to ``last``; ``draws`` the order of the epoch first."""
        failed = self._kernel.dlrun_orders(self._plan, first, last, epoch) if draws else 0
        return failed or self._kernel.dlrun_steps(self._plan, first, last, epoch, before, start, stop, factor)

    def tensors(self, state: State) -> dict[str, Tensor]:
        """See ``Way.tensors``."""
        return {"memory": self._memory, "buffers": state.buffers}

    # Evaluation

    def evaluated(self, state: State) -> Tensor:
        """The parameters to evaluate [R, P], which ``evaluate`` uses from now on."""
        self._kernel.dlrun_evaluated(self._plan, state.step, self._theta.data_ptr())
        return self._lanes.gather(self._theta)

    def evaluate(self, here: Tensor | slice, outputs: bool) -> Evaluation:
        """See ``Way.evaluate``. Each run's numbers lie side by side, so that what torch sums of them depends on no other run."""
        model, members = self._train_step.model, self._train_step.task.members
        places, start, stop = (None, here.start, here.stop) if isinstance(here, slice) else (here.data_ptr(), 0, len(here))
        soft, lanes = bool(self._plan.soft), len(self._lanes.blocks) * V
        shape = (lanes, stop - start, *([members] if members else []), *model.output_shape)
        outputs = outputs or soft
        output = torch.empty(shape) if outputs else None
        before = torch.empty(shape) if outputs and model.headed else None
        loss = None if soft else torch.empty(lanes)
        to = (None if made is None else made.data_ptr() for made in (output, before, loss))
        rows = (self._theta.data_ptr(), places, start, stop, *to)
        function = self._kernel.dlrun_evaluate
        spread(lambda first, last: function(self._plan, first, last, *rows), lanes // V, (stop - start) * self._forward * lanes)
        mean = None if loss is None else self._lanes.of_runs(loss)
        if output is None:
            return mean, None
        found = self._lanes.of_runs(output)
        return mean, (found, found if before is None else self._lanes.of_runs(before))
