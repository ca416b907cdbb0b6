"""The native way of taking steps: runs as the lanes of vectors (see native/kernel.c).

    lanes.products(cohort)                   what a step will cost, or None where there is no way; before it is built
    way = lanes.way(train_step, table, ...)  None where the kernel has not all that these runs need, or is not there

The kernel's memory is all that steps change: theta, the buffers, the slots of optimizers.

Shapes: R runs, G blocks of V lanes, P parameters, Q buffers.
"""

import ctypes
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from dlrun import streams
from dlrun.components.arrays import Array
from dlrun.data.dataset import Data
from dlrun.engine import aligned
from dlrun.engine.batches import Batches, Here, materialized
from dlrun.engine.cohort import Cohort, Settings
from dlrun.engine.lanes import plan
from dlrun.engine.lanes.blocks import Lanes, V
from dlrun.engine.lanes.changes import changes
from dlrun.engine.lanes.columns import Columns, UnfitError
from dlrun.engine.lanes.library import Block, Change, Layer, Plan, Update, Weight, kernel, kinds
from dlrun.engine.lanes.threads import spread
from dlrun.engine.lanes.updates import keeps_average, weight_table
from dlrun.engine.layers import Flatten
from dlrun.engine.state import Parameters
from dlrun.engine.step import TrainStep
from dlrun.engine.way import UNITS, Diagnostics, Evaluation, Outputs
from dlrun.native.build import version

__all__ = ["Native", "V", "products", "version", "way"]

PRODUCTS = 1 << 28  # multiplications of a call, some 30 ms: between calls it is asked whether to stop


def products(cohort: Cohort) -> int | None:
    """Multiplications of the layers in a step of one run; None where the kernel does not take the steps of these runs.

    What ``way`` will find, before anything is allocated for it.
    """
    if not _allowed(cohort.settings, cohort.data) or not materialized(cohort.data, cohort.splits, cohort.settings.floats):
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


def way(train_step: TrainStep, table: Batches, initial: Parameters) -> "Native | None":
    """The native way for these runs with their first parameters, or None where they go the torch way."""
    if not _allowed(train_step.settings, train_step.data) or table.x is None:
        return None
    try:
        return Native(train_step, table, initial)
    except UnfitError:
        return None


def _allowed(settings: Settings, data: Data) -> bool:
    """Whether there is a kernel, for such runs; it knows no weights of rows."""
    fits = settings.place == "cpu" and settings.floats == "float32" and settings.module is None
    fits = fits and data.weights is None
    return fits and settings.engine == "auto" and kernel() is not None


def _pointer(values: Array | None) -> int | None:
    """Where numbers lie that the kernel reads or writes; None stands for none."""
    assert values is None or values.flags.c_contiguous
    return None if values is None else values.ctypes.data


def _rows(here: Here) -> tuple[int | None, int, int]:
    """Places of rows as the kernel takes them: the list, and which part of it; without a list the places themselves."""
    return (None, here.start, here.stop) if isinstance(here, slice) else (_pointer(here), 0, len(here))


class Native:
    """Runs in the kernel. See ``way.Way``."""

    name = "native"

    def __init__(
        self, train_step: TrainStep, table: Batches, initial: Parameters, samples: NDArray[np.float32] | None = None
    ) -> None:
        library = kernel()
        assert library is not None
        self._kernel, self._table, self._train_step = library, table, train_step
        runs = plan.parts(train_step)
        self._lanes = lanes = Lanes.of(train_step.runs, [run.kind for run in runs])
        columns = Columns(len(runs))
        layers, changed = plan.layers(train_step, columns), changes(train_step, columns)
        activation, loss = columns.rows([run.activation for run in runs]), columns.rows([run.loss for run in runs])
        numbers = lanes.spread(columns.matrix())
        rates = lanes.spread(np.array([run.rates for run in runs], dtype=np.float64))
        weights = [Weight(*row) for row in weight_table(train_step.weight_places)]
        layout, buffers = train_step.layout.size, train_step.model.buffers.size
        average = layout + buffers
        slots = average + layout * keeps_average(train_step.runs[0].regularizers)
        updates = [update for block in lanes.blocks for update in block.updates]
        stride = slots + layout * max(library.dlrun_slots(*update) for update in updates)
        self._memory = aligned.zeros(len(lanes.blocks), stride, V)
        self._running = self._memory[:, layout:average]  # the buffers
        self._theta = aligned.zeros(len(lanes.blocks), layout, V)  # that is evaluated
        assert table.x is not None
        x, y = (values.reshape(*values.shape[:2], math.prod(values.shape[2:])) for values in (table.x, table.y))
        self._samples = plan.samples(x, y, table.samples) if samples is None else samples
        seeds = [train_step.seeds[row] for row in lanes.rows.tolist()]
        keys = [aligned.held(streams.seeded(seeds, name)) for name in ("order", "dropout", "augment")]
        drawn = aligned.zeros(len(seeds) * table.sizes["train"], dtype=np.int32)
        splits = table.split_of[lanes.rows]
        tensors = (self._memory, numbers, rates, *keys, changed.shares, splits, self._samples, drawn)
        counted = zip(accumulate((len(each.updates) for each in lanes.blocks), initial=0), lanes.blocks, strict=False)
        arrays = (
            (Layer * len(layers))(*layers),
            (Block * len(lanes.blocks))(*(Block(*each.shared, start, len(each.updates), each.lanes) for start, each in counted)),
            (Update * len(updates))(*(Update(*update) for update in updates)),
            (Weight * len(weights))(*weights),
            (Change * len(changed.each))(*changed.each),
        )
        self._held = (*tensors, *arrays)  # what the plan points at
        self._layers = layers
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
            integral=y.dtype.kind != "f",
            activation_numbers=activation,
            loss_numbers=loss,
            soft=changed.soft,
        )
        self._begin(initial)

    # What training changes

    def _begin(self, initial: Parameters) -> None:
        self.use(*initial)
        self._memory[:, : self._plan.parameters] = self._theta
        self._kernel.dlrun_start(self._plan)

    def of(self, train_step: TrainStep, table: Batches, initial: Parameters) -> "Native":
        """See ``Way.of``."""
        return Native(train_step, table, initial, self._samples)

    def select(self, train_step: TrainStep, table: Batches, keep: Sequence[int]) -> "Native":
        """See ``Way.select``."""
        other = self.of(train_step, table, self.parameters(np.array(keep)))
        lanes = self._lanes.lane[list(keep)][other._lanes.rows]
        flat = self._memory.swapaxes(1, 2).reshape(len(self._lanes.rows), -1)[lanes, : other._memory.shape[1]]
        other._memory[:] = flat.reshape(-1, V, flat.shape[1]).swapaxes(1, 2)
        return other

    def arrays(self) -> dict[str, Array]:
        """See ``Way.arrays``."""
        return {"memory": self._memory}

    def restore(self, arrays: Mapping[str, Array], step: int) -> None:
        """See ``Way.restore``."""
        self._memory[:] = arrays["memory"]
        self.evaluated(step)

    # Steps

    def epoch(
        self, number: int, step: int, steps: range, factors: NDArray[np.float64] | None, interrupted: Callable[[int], bool]
    ) -> int:
        """See ``Way.epoch``."""
        blocks, before = len(self._lanes.blocks), step - steps.start
        each = None if factors is None else aligned.held(factors[:, self._lanes.rows])
        at_once = max(1, PRODUCTS // (self._products * blocks * V))
        for start in range(steps.start, steps.stop, at_once):
            if interrupted(step):
                break
            stop = min(start + at_once, steps.stop)
            factor = None if each is None else _pointer(each[start])
            taken = partial(self._steps, number, before, start, stop, factor, draws=start == steps.start)
            spread(taken, blocks, (stop - start) * self._products * blocks * V)
            step = before + stop
        return step

    def _steps(
        self, epoch: int, before: int, start: int, stop: int, factor: int | None, first: int, last: int, *, draws: bool
    ) -> int:
        """Steps ``start`` to ``stop`` of the blocks ``first`` to ``last``; ``draws`` the order of the epoch first."""
        failed = self._kernel.dlrun_orders(self._plan, first, last, epoch) if draws else 0
        return failed or self._kernel.dlrun_steps(self._plan, first, last, epoch, before, start, stop, factor)

    # Evaluation

    def evaluated(self, step: int) -> None:
        """See ``Way.evaluated``."""
        self._kernel.dlrun_evaluated(self._plan, step, _pointer(self._theta))

    def use(self, theta: Array, buffers: Array) -> None:
        """See ``Way.use``."""
        self._theta[:] = self._lanes.spread(theta)
        self._running[:] = self._lanes.spread(buffers)

    def finite(self) -> NDArray[np.bool_]:
        """See ``Way.finite``."""
        if math.isfinite(self._theta.sum()):  # then every one of them is
            return np.ones(len(self._lanes.lane), dtype=bool)
        return self._lanes.of_runs(np.isfinite(self._theta).all(1).ravel())

    def parameters(self, rows: NDArray[np.int64] | None = None) -> Parameters:
        """See ``Way.parameters``."""
        lanes = self._lanes.lane if rows is None else self._lanes.lane[rows]
        theta, buffers = (vectors[lanes // V, :, lanes % V] for vectors in (self._theta, self._running))
        return theta, buffers

    def evaluate(self, here: Here, outputs: bool) -> Evaluation:
        """See ``Way.evaluate``. Each run's numbers lie side by side, so that what is summed of them depends on no other run."""
        model, loss = self._train_step.model, aligned.zeros(len(self._lanes.rows))
        output = self._room(here, model.output_shape) if outputs else None
        before = self._room(here, model.output_shape) if outputs and model.headed else None
        self._look(here, output, len(self._layers) - 1, before, loss)
        mean = self._lanes.of_runs(loss)
        if output is None:
            return mean, None
        found = self._lanes.of_runs(output)
        return mean, (found, found if before is None else self._lanes.of_runs(before))

    def loss(self, here: Here, outputs: Outputs) -> Array:
        """See ``Way.loss``."""
        found, _ = self.evaluate(here, outputs=False)
        assert found is not None
        return found

    def codes(self, here: Here) -> Array:
        """See ``Way.codes``."""
        model = self._train_step.model
        if self._train_step.task.members:
            codes = self._room(here, model.output_shape)
            self._look(here, codes, 0, None, None)
        else:
            layer = sum(not isinstance(each, Flatten) for each in model.layers[: model.coded])
            codes = self._room(here, (self._layers[layer].inputs,))
            self._look(here, None, layer, codes, None)
        return self._lanes.of_runs(codes)

    def scores(self, x: Array) -> Array:
        """See ``Way.scores``. The kernel reads the rows of the table alone, and has no model that is asked for others."""
        raise NotImplementedError

    def _each_block(self, function: Callable[..., int], given: tuple[int | None, ...], products: int) -> None:
        """Call a function of the kernel for all blocks; ``products`` are the multiplications of one run."""
        blocks = len(self._lanes.blocks)
        spread(lambda first, last: function(self._plan, first, last, *given), blocks, products * blocks * V)

    def _room(self, here: Here, shape: Sequence[int]) -> Array:
        """Room for such numbers of each row, or of each of its members, of the lanes that are wanted."""
        members, (_, start, stop) = self._train_step.task.members, _rows(here)
        return aligned.zeros(self._lanes.wanted, stop - start, *([members] if members else []), *shape)

    def _look(self, here: Here, output: Array | None, layer: int, into: Array | None, loss: Array | None) -> None:
        """Let the kernel write what there is room for: outputs, what goes into a layer, and losses."""
        places, start, stop = _rows(here)
        made = (self._lanes.wanted, _pointer(output), layer, _pointer(into), _pointer(loss))
        self._each_block(
            self._kernel.dlrun_evaluate, (_pointer(self._theta), places, start, stop, *made), (stop - start) * self._forward
        )

    def inside(self, here: Here) -> Diagnostics:
        """See ``Way.inside``."""
        blocks, (places, start, stop) = len(self._lanes.blocks), _rows(here)
        norms = aligned.zeros(blocks, self._plan.weights_count, V)
        activations = sum(layer.kind == kinds("layers")["activation"] for layer in self._layers)
        units = aligned.zeros(blocks, activations, len(UNITS), V)
        rows = (_pointer(self._theta), places, start, stop, _pointer(norms), _pointer(units))
        self._each_block(self._kernel.dlrun_inside, rows, 3 * (stop - start) * self._forward)
        found = {"gradient_norm": self._lanes.gather(norms)}
        if activations:
            found |= {name: self._lanes.gather(units[:, :, number]) for number, name in enumerate(UNITS)}
        return found
