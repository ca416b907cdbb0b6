"""A training step as one compiled program.

The step is traced once into a graph of tensor operations, from which torch's Inductor writes C++ (or Triton on a GPU): passes
over memory are fused, and nothing is dispatched any more. Explicit gradients need no autograd, so the graph is all there is.
Two parts are cut out of it. What depends on the number of the step and on the schedule alone, such as bias corrections, is
computed for a whole epoch at once. Dropout masks are drawn as always (Inductor's integers are not to be trusted: torch 2.13 gets
the product of torch.arange and a large number wrong at the end of a vector). Results agree with the step within rounding.

Compiling costs seconds and imports torch._dynamo, so nothing here is imported before it is wanted.

Shapes: R runs, B batch rows, P parameters, T steps of an epoch, G rows of one group.
"""

import os
import shutil
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dlrun.components.optimizers import TorchOptimizer
from dlrun.engine.cohort import Cohort, CohortRun
from dlrun.engine.keys import StepKeys
from dlrun.engine.state import State
from dlrun.engine.step import TrainStep

MOST_WRONG = 0.02  # the fraction of numbers that may differ by more than 1% of a run's largest change

Rates = tuple[Tensor, ...]


class CannotCompileError(Exception):
    """Why this step is not compiled, in words."""


class CompiledStep:
    """The compiled step of some of a cohort's runs, for batches like ``x`` and ``y`` (after the runs' batch transforms)."""

    def __init__(
        self, runs: Sequence[CohortRun], cohort: Cohort, state: State, x: Tensor, y: Tensor, keys: StepKeys, factor: Tensor | None
    ) -> None:
        if cohort.settings.module is not None:
            raise CannotCompileError("the model is a module of the user's own")
        if cohort.settings.device.type == "cpu" and not shutil.which(os.environ.get("CXX", "g++")):
            raise CannotCompileError("there is no C++ compiler; install g++, or name one in the environment variable CXX")
        # a step of its own, whose scratch memory is made inside the graph
        train_step = TrainStep(runs, cohort.data, cohort.settings)
        if any(isinstance(optimizer, TorchOptimizer) for _, optimizer in train_step.optimizers):
            raise CannotCompileError("an optimizer is torch's own, which walks over the rows one by one")
        self._train_step = train_step
        self._like = [(tensor.shape, tensor.stride(), tensor.dtype) for tensor in (x, y)]
        number = torch.full((), state.step + 1.0, dtype=torch.float64, device=cohort.settings.device)
        timed = [number] if factor is None else [number, factor]
        drawn = [] if keys.dropout is None else [keys.dropout]
        try:
            self._build(timed, drawn, state, x, y)
            wrong = self._wrong(state, x, y, keys, factor)
        except Exception as error:  # a compiler can fail in any way, and there is always the step as it was
            message = str(error).strip().splitlines()
            raise CannotCompileError(f"{type(error).__name__}: {message[0] if message else ''}") from error
        if wrong > MOST_WRONG:
            raise CannotCompileError(f"the compiled step changes {wrong:.0%} of the numbers otherwise than it should")

    def _build(self, timed: list[Tensor], drawn: list[Tensor], state: State, x: Tensor, y: Tensor) -> None:
        """Trace the step, cut it in three and compile the last part."""
        import torch._inductor
        from torch.fx.experimental.proxy_tensor import make_fx

        given = [*timed, *drawn, *self._inputs(state, x, y)]
        traced = make_fx(self._step(state, len(timed), len(drawn)), tracing_mode="fake", _allow_non_fake_inputs=True)(*given)
        self._rates, rest = _cut(traced, 0, len(timed))
        rates = [value.contiguous() for value in self._rates(*timed)]
        self._masks, rest = _cut(rest, len(rates), len(drawn))
        self._program = torch._inductor.compile(rest, [*self._masks(*drawn), *rates, *self._inputs(state, x, y)])

    def _step(self, state: State, timed: int, drawn: int) -> Callable[..., None]:
        """The step as a function of tensors alone."""
        train_step, names = self._train_step, [[list(slots) for slots in held] for held in (state.optimizers, state.kinks)]

        def step(*tensors: Tensor) -> None:
            given = iter(tensors)
            number = next(given)
            column = next(given).unsqueeze(1) if timed > 1 else None
            dropout = next(given) if drawn else None
            theta, buffers = next(given), next(given)
            slots, kinks = ([{name: next(given) for name in mine} for mine in held] for held in names)
            bound = train_step.bind(State(theta, buffers, slots, torch.empty_like(theta), kinks=kinks), apart=True)
            factors = [1.0 if column is None else g.rows.take(column) for g, _ in train_step.optimizers]
            train_step.advance(bound, number, next(given), next(given), dropout, factors, column)

        return step

    @staticmethod
    def _inputs(state: State, x: Tensor, y: Tensor) -> list[Tensor]:
        held = (value for slots in (*state.optimizers, *state.kinks) for value in slots.values())
        return [state.theta, state.buffers, *held, x, y]

    def _wrong(self, state: State, x: Tensor, y: Tensor, keys: StepKeys, factor: Tensor | None) -> float:
        """The fraction of numbers that one compiled step changes otherwise than the step itself: compilers have errors too."""
        own, other = (
            State(
                state.theta.clone(),
                state.buffers.clone(),
                [{name: value.clone() for name, value in slots.items()} for slots in state.optimizers],
                torch.zeros_like(state.theta),
                state.step,
                kinks=[{name: value.clone() for name, value in slots.items()} for slots in state.kinks],
            )
            for _ in range(2)
        )
        train_step = TrainStep(self._train_step.runs, self._train_step.data, self._train_step.settings)
        column = None if factor is None else factor.unsqueeze(1)
        factors = [1.0 if column is None else g.rows.take(column) for g, _ in train_step.optimizers]
        train_step.advance(train_step.bind(own), own.step + 1, x, y, keys.dropout, factors, column)
        self.step(other, x, y, keys, self.rates(state.step, 1, None if factor is None else factor.unsqueeze(0))[0])
        return max(_differing(*triple) for triple in zip(*map(_moved, (state, own, other)), strict=True))

    def takes(self, x: Tensor, y: Tensor) -> bool:
        """Whether the program is made for such a batch: the last of an epoch may be smaller."""
        return self._like == [(tensor.shape, tensor.stride(), tensor.dtype) for tensor in (x, y)]

    def rates(self, first: int, count: int, factors: Tensor | None) -> list[Rates]:
        """What each of ``count`` steps after the first ``first`` needs beside its batch, computed for all of them at once."""
        numbers = torch.arange(first + 1, first + count + 1, dtype=torch.float64, device=self._train_step.settings.device)
        found = _over_steps(self._rates, [numbers] if factors is None else [numbers, factors])
        return list(zip(*(values.unbind(0) for values in found), strict=True)) if found else [()] * count

    def step(self, state: State, x: Tensor, y: Tensor, keys: StepKeys, rates: Rates) -> None:
        """One optimizer step of every run, in place on ``state``."""
        state.step += 1
        masks = () if keys.dropout is None else self._masks(keys.dropout)
        self._program(*masks, *rates, *self._inputs(state, x, y))


def _moved(state: State) -> list[Tensor]:
    """What shows the gradient of a step: the optimizers' matrices, or theta where they have none.

    A step that is divided by the gradient's size shows little: where the gradient is 0, such as that of a bias before batch_norm,
    it is rounding blown up, and otherwise hardly more than a sign.
    """
    matrices = [value for slots in state.optimizers for value in slots.values()]
    return [state.buffers, *matrices] if matrices else [state.buffers, state.theta]


def _differing(before: Tensor, own: Tensor, other: Tensor) -> float:
    """The fraction of numbers [R, P] that two steps leave more than 1% of the row's largest change apart."""
    if not before.numel():
        return 0.0
    change = (own - before).abs().amax(1, keepdim=True)
    return float(((own - other).abs() > 1e-2 * change).float().mean())


def _over_steps(rates: torch.fx.GraphModule, inputs: list[Tensor]) -> Rates:
    """``rates`` for many steps at once; the first axis of the inputs is that of the steps."""
    found: Rates = torch.func.vmap(rates)(*inputs) if rates(*(values[0] for values in inputs)) else ()
    return found


def _cut(graph: torch.fx.GraphModule, start: int, count: int) -> tuple[torch.fx.GraphModule, torch.fx.GraphModule]:
    """Cut a graph in two: what depends on its inputs ``start`` .. ``start + count`` alone, and what remains.

    The first part takes those inputs and returns all that the second needs of it; the second takes that before its other inputs.
    """
    nodes = list(graph.graph.nodes)
    soon, constant = _ahead(nodes, [node for node in nodes if node.op == "placeholder"][start : start + count])
    handed = [node for node in nodes if node in soon and any(user not in soon for user in node.users)]
    first, rest = torch.fx.Graph(), torch.fx.Graph()
    there: dict[torch.fx.Node, torch.fx.Node] = {}
    for node in nodes:
        if node in soon or node in constant:
            there[node] = first.node_copy(node, there.__getitem__)
    first.output(tuple(there[node] for node in handed))
    here = {node: rest.placeholder(node.name) for node in handed}
    for node in handed:
        here[node].meta = node.meta
    for node in nodes:
        if node not in soon:
            here[node] = rest.node_copy(node, here.__getitem__)
    for part in (first, rest):
        part.eliminate_dead_code()
    return torch.fx.GraphModule(graph, first), torch.fx.GraphModule(graph, rest)


def _ahead(nodes: Sequence[torch.fx.Node], inputs: Sequence[torch.fx.Node]) -> tuple[set[torch.fx.Node], set[torch.fx.Node]]:
    """What can be computed from these inputs alone, and what depends on no input at all, which either part can have."""
    soon, constant = set(inputs), set[torch.fx.Node]()
    for node in nodes:
        if node.op == "get_attr":
            constant.add(node)
        elif node.op == "call_function":
            sources = set(node.all_input_nodes)
            if sources <= constant:
                constant.add(node)
            elif sources <= soon | constant and not _changes_what_is_given(node):
                soon.add(node)
    return soon, constant


def _changes_what_is_given(node: torch.fx.Node) -> bool:
    """Whether an operation changes, in place, what comes from outside of the graph."""
    changes = isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable
    return changes and node.all_input_nodes[0].op != "call_function"
