"""The step: what happens to theta for one batch of every run.

A TrainStep holds everything that is known before training starts: the model, the groups of rows that share a component, the
optimizers. What training changes is in the State, which is handed in, cut and saved as a whole. Of the State a TrainStep holds
views: ``bind`` makes them, ``use`` turns those of theta to another matrix until ``bind`` is called again. So ``bind`` comes
before everything that computes, and again whenever the State's tensors are replaced.

Shapes: R runs, B batch rows, P parameters, G rows of one group.
"""

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.components.losses import GRADIENTS, Values, per_row, per_run
from dlrun.components.optimizers import Optimizer
from dlrun.components.regularizers import AfterStep, BatchTransform, Kink, Penalty
from dlrun.components.tasks import TASKS
from dlrun.data.dataset import Data
from dlrun.engine.by_torch.keys import Keys, StepKeys
from dlrun.engine.by_torch.schedule import Factor
from dlrun.engine.cohort import VECTOR, CohortRun, Settings
from dlrun.engine.components import Group, group
from dlrun.engine.layers import SPREAD, Pass
from dlrun.engine.measuring.forms import kind_of
from dlrun.engine.models.builder import Builder, blueprint_of, pointwise
from dlrun.engine.state import Parameters, State
from dlrun.errors import InputError
from dlrun.lazy import Tensor, torch

__all__ = ["TrainStep", "blueprint_of", "pointwise"]


class TrainStep:
    """How R runs take a step together. Rows are expected in an order that keeps equal optimizers adjacent."""

    def __init__(self, runs: Sequence[CohortRun], data: Data, settings: Settings) -> None:
        self.runs, self.data, self.settings, self.task = list(runs), data, settings, TASKS[data.task]
        self.seeds = [run.seed for run in self.runs]
        self.kinds = [kind_of(run) for run in self.runs]  # of their predictions
        parts = Builder(self.runs, data, settings)
        self.model = parts.model
        self.layout, self.first = self.model.layout, self.model.first_trained
        self.inputs = math.prod(data.sample)  # numbers that the model is given of a sample
        self.weight_places, self.stops = parts.weight_places, parts.stops
        self.has_weights = bool(self.weight_places)  # a user's module may have parameters of one dimension alone
        self.uses_dropout = any(layer.random for layer in self.model.layers)
        self.scheduled = any(run.scheduler.name != "constant" for run in self.runs)
        self._parts = parts
        rows = settings.batch_size
        self.row_numbers = (self.layout.size, rows * self.model.narrowest, rows * settings.outputs)  # see cohort.filled
        # Where products are small, a CPU's vectors lie across the runs, which lie innermost in memory (see Linear)
        self.small = settings.place == "cpu" and self.model.largest(rows) <= SPREAD

    @cached_property
    def innermost(self) -> bool:
        """Whether runs lie innermost in memory: where the model is small and the rows of every component fill whole vectors."""
        activations_of = [g for layer in self.model.pointwise() for g, _ in layer.activations]
        groups = [*self._parts.optimizer_groups, *self._parts.loss_groups, *activations_of]
        return self.small and all(len(g.rows) % VECTOR == 0 for g in groups)

    # What torch computes with

    @cached_property
    def penalties(self) -> list[Penalty]:
        """Terms of the loss."""
        return [r for r in self._parts.regularizers if isinstance(r, Penalty)]

    @cached_property
    def kinks(self) -> list[Kink]:
        """Those of them with a kink at 0."""
        return [r for r in self._parts.regularizers if isinstance(r, Kink)]

    @cached_property
    def after_steps(self) -> list[AfterStep]:
        """What changes theta behind a step."""
        return [r for r in self._parts.regularizers if isinstance(r, AfterStep)]

    @cached_property
    def transforms(self) -> list[BatchTransform]:
        """What changes batches."""
        return [r for r in self._parts.regularizers if isinstance(r, BatchTransform)]

    @cached_property
    def losses(self) -> list[tuple[Group, dict[str, Any]]]:
        """The losses, each with the rows that have it and its hyperparameters."""
        return self._parts.losses()

    @cached_property
    def optimizers(self) -> list[tuple[Group, Optimizer]]:
        """The optimizers, each with its rows."""
        return self._parts.optimizers()

    @cached_property
    def _steady(self) -> Factor:
        return Factor([1.0] * len(self.optimizers))

    @cached_property
    def _lr(self) -> float | Tensor:
        return self._parts.column([run.optimizer.values["lr"] for run in self.runs])

    @cached_property
    def _clip_norm(self) -> float | Tensor | None:
        return self._parts.limit([run.clip_norm for run in self.runs])

    @cached_property
    def _clip_value(self) -> float | Tensor | None:
        return self._parts.limit([run.clip_value for run in self.runs])

    # What training changes

    def initial(self) -> Parameters:
        """Theta [R, P] and the buffers [R, Q] before the first step."""
        by_initializer: dict[Any, list[int]] = {}
        for row, run in enumerate(self.runs):
            by_initializer.setdefault(run.initializer, []).append(row)
        each, floats = list(by_initializer.items()), self.settings.floats
        return self.layout.initialize(self.seeds, each, floats), self.model.buffers.initialize(self.seeds, each, floats)

    def fresh(self, initial: Parameters | None = None) -> State:
        """The state before the first step, which begins with theta and buffers of other runs where these are given."""
        theta, buffers = (torch.from_numpy(values).to(self.settings.device) for values in initial or self.initial())
        theta = self.arranged(theta)
        optimizers = [optimizer.state(g.rows.take(theta)) for g, optimizer in self.optimizers]
        kinks = [kink.state(theta) for kink in self.kinks]
        return State(theta, buffers, optimizers, torch.zeros_like(theta), kinks=kinks)

    def arranged(self, matrix: Tensor) -> Tensor:
        """The same [R, P] with the runs outermost or innermost in memory, as this step works on it."""
        return matrix.t().contiguous().t() if self.innermost else matrix.contiguous()

    def bind(self, state: State) -> State:
        """Make the views into ``state`` that a step works on, and return it. To be called whenever its tensors are replaced."""
        state.theta, state.grad = self.arranged(state.theta), self.arranged(state.grad)
        state.optimizers = [{name: self.arranged(value) for name, value in slots.items()} for slots in state.optimizers]
        state.kinks = [{name: self.arranged(value) for name, value in slots.items()} for slots in state.kinks]
        self.parameters = self.layout.views(state.theta)
        self.gradient_views = self.layout.views(state.grad)
        self.buffers = self.model.buffers.views(state.buffers)
        assert all(g.rows.slice for g, _ in self.optimizers), "rows with equal optimizers must be neighbours"
        self._slices = [(g.rows.take(state.theta), g.rows.take(state.grad)) for g, _ in self.optimizers]
        return state

    def factors(self, first: int, count: int, epoch_steps: int, total_steps: int) -> NDArray[np.float64] | None:
        """What the schedules multiply lr with in steps ``first`` .. ``first + count``: [count, R]; None for 1."""
        if not self.scheduled:
            return None
        out = np.empty((count, len(self.runs)))
        for g in group([run.scheduler for run in self.runs], floats="float64"):
            own = not g.part.target.startswith("dlrun.")  # a function that takes tensors
            steps = np.arange(first, first + count)[:, None]
            values = {name: _row(value) for name, value in (g.values if own else g.columns).items()}
            given = torch.from_numpy(steps) if own else steps
            found = g.part.function(given, epoch_steps=epoch_steps, total_steps=total_steps, **values)
            out[:, list(g.rows.indices)] = np.broadcast_to(found, (count, len(g.rows)))
        return out

    def keys(self) -> Keys:
        """The random streams of these runs."""
        device = self.settings.device
        return Keys(self.seeds, dropout=self.uses_dropout, transforms=len(self.transforms), device=device)

    # The step

    def step(
        self, state: State, x: Tensor, y: Tensor, keys: StepKeys, factor: Factor | None = None, weight: Tensor | None = None
    ) -> None:
        """One optimizer step of every run, in place on ``state``. x, y [R, B, ...], ``factor`` of the schedule.

        With a ``weight`` [R, B] of rows, which is 1 on average over all training rows, the loss of a batch is the mean of what
        its rows cost, each times its weight: on average over the batches of an epoch that is the weighted mean over all rows.

        Transforms, forward, backward, penalties, clip, optimizers, kinks, after-step hooks.
        """
        state.step += 1
        factor = factor or self._steady
        for transform, key in zip(self.transforms, keys.augment, strict=True):
            x, y = transform.batch(x, y, key)
        output, tape = self.forward(x, Pass(True, keys.dropout))
        of_output = self.loss_gradient(output, y)
        if weight is not None:
            of_output = of_output * weight.view(*weight.shape, *[1] * (of_output.dim() - 2))
        self.model.backward(self.parameters, self.gradient_views, self._member_grad(of_output), tape, self.first)
        grad = state.grad
        for penalty in self.penalties:
            penalty.add_gradient(state.theta, grad)
        sides = [
            (kink, kink.choose(state.theta, grad, slots, state.step))
            for kink, slots in zip(self.kinks, state.kinks, strict=True)
            if slots
        ]
        self._clip(grad)
        parts = zip(self.optimizers, self._slices, state.optimizers, factor.each, strict=True)
        for (_, optimizer), (theta, mine), slots, share in parts:
            optimizer.step(theta, mine, slots, state.step, share)
        for kink, signs in sides:
            kink.project(state.theta, signs)
        if self.after_steps:
            lr = self._lr if factor.column is None else self._lr * factor.column
            for regularizer in self.after_steps:
                regularizer.after_step(state.theta, lr.to(state.theta.dtype) if isinstance(lr, Tensor) else lr)

    def forward(self, x: Tensor, pass_: Pass, buffers: list[list[Tensor]] | None = None) -> tuple[Tensor, list[Any]]:
        """The output of every run [R, B, K], and the tape. Members of pairs and triplets go through the model one by one."""
        members = x.shape[2] if self.task.members else 0
        if members:
            x = x.flatten(1, 2)
        output, tape = self.model.forward(self.parameters, buffers or self.buffers, x, pass_)
        return (output.view(len(output), -1, members, output.shape[2]) if members else output), tape

    def evaluate(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The output of every run at evaluation [R, B, K], and what stands before its head; without a head the output twice."""
        if self.task.members:
            output, _ = self.forward(x, Pass())
            return output, output
        return self.model.evaluate(self.parameters, self.buffers, x)

    def codes(self, x: Tensor) -> Tensor:
        """The code of every sample at evaluation [R, B, E]; of members of pairs and triplets the embedding, [R, B, M, E].

        Raises:
            InputError: the model is a module of the user's own, whose layers are not known.
        """
        if self.task.members:
            return self.forward(x, Pass())[0]
        if self.settings.module is not None:
            name = self.settings.module.name
            raise InputError(f"model={name}: is a module of your own, whose code is not known; take a model of layers")
        return self.model.codes(self.parameters, self.buffers, x)

    def _member_grad(self, grad: Tensor) -> Tensor:
        return grad.flatten(1, 2) if self.task.members else grad

    def gradients(
        self, x: Tensor, y: Tensor, buffers: list[list[Tensor]], tape_of: Callable[[list[Any]], None]
    ) -> list[list[Tensor]]:
        """The gradient of the loss alone for a batch, as views for each layer; ``tape_of`` sees the tape. For diagnostics."""
        output, tape = self.forward(x, Pass(True), buffers)
        tape_of(tape)
        self.model.backward(
            self.parameters, self.gradient_views, self._member_grad(self.loss_gradient(output, y)), tape, self.first
        )
        return self.gradient_views

    def loss(self, output: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
        """The loss of every run, the mean over rows: [R]; weighted where rows have a ``weight`` [R, B]."""
        if len(self.losses) == 1:
            return per_run(self._values(*self.losses[0], output, y), weight)
        out = torch.empty(len(self.runs), dtype=output.dtype, device=output.device)
        for g, values in self.losses:
            mine = None if weight is None else g.rows.take(weight)
            g.rows.put(out, per_run(self._values(g, values, g.rows.take(output), g.rows.take(y)), mine))
        return out

    def row_losses(self, output: Tensor, y: Tensor) -> Tensor:
        """The loss of every row of a batch: [R, B]; NaN for runs whose loss gives one number a run."""
        out = output.new_full(output.shape[:2], torch.nan)
        for g, values in self.losses:
            found = per_row(self._values(g, values, g.rows.take(output), g.rows.take(y)))
            if found is not None:
                g.rows.put(out, found)
        return out

    def loss_gradient(self, output: Tensor, y: Tensor) -> Tensor:
        """The gradient of every run's loss with respect to its output: like ``output``."""
        if len(self.losses) == 1:
            return self._loss_gradient(*self.losses[0], output, y)
        out = torch.empty_like(output)
        for g, values in self.losses:
            g.rows.put(out, self._loss_gradient(g, values, g.rows.take(output), g.rows.take(y)))
        return out

    @staticmethod
    def _values(g: Group, values: dict[str, Any], output: Tensor, y: Tensor) -> Values:
        found: Values = g.part.function(output, y, **values)
        return found

    def _loss_gradient(self, g: Group, values: dict[str, Any], output: Tensor, y: Tensor) -> Tensor:
        gradient = GRADIENTS.get(g.part.function)
        if gradient is not None:
            return gradient(output, y, **values)
        with torch.enable_grad():
            leaf = output.detach().requires_grad_()
            (grad,) = torch.autograd.grad(per_run(self._values(g, values, leaf, y)).sum(), leaf)
        return grad

    def _clip(self, grad: Tensor) -> None:
        if self._clip_norm is not None:
            norm = torch.linalg.vector_norm(grad, dim=1, keepdim=True)
            grad.mul_((self._clip_norm / (norm + 1e-6)).clamp_(max=1.0))
        if self._clip_value is not None:
            limit = self._clip_value
            if isinstance(limit, Tensor):
                torch.clamp(grad, -limit, limit, out=grad)
            else:
                grad.clamp_(-limit, limit)

    def evaluated(self, state: State) -> Tensor:
        """The parameters to evaluate and to keep [R, P]: theta, unless an optimizer averages its weights."""
        parts = [
            optimizer.evaluation(theta, slots)
            for (_, optimizer), (theta, _), slots in zip(self.optimizers, self._slices, state.optimizers, strict=True)
        ]
        if all(part is theta for part, (theta, _) in zip(parts, self._slices, strict=True)):
            return state.theta
        return torch.cat(parts)

    def use(self, theta: Tensor) -> None:
        """Let ``forward`` read its parameters from ``theta``; ``bind`` restores the state's own."""
        self.parameters = self.layout.views(theta)


def _row(value: Any) -> Any:
    """A column [G, 1] as a row [1, G]."""
    return value.reshape(1, -1) if isinstance(value, np.ndarray | Tensor) else value
