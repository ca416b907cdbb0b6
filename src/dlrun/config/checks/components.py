"""A component of the user's own is tried on a few numbers before anything trains.

What dlrun and torch bring is tested with dlrun; what a user brings is called here once, the way the engine will call it, with
R = 2 runs side by side and each of them alone. So a wrong shape, a missing argument or an operation that mixes runs is told in
one line, with the remedy, instead of spoiling an hour of training.

Shapes: R runs, B batch rows, H units, K outputs, P parameters, T steps, E epochs.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

from dlrun import isolation
from dlrun.components import activations
from dlrun.components.hyperparameters import Row
from dlrun.components.losses import Mixed, Weighted, per_run
from dlrun.components.optimizers import Optimizer, TorchOptimizer
from dlrun.components.tasks import TASKS
from dlrun.config.checks.calls import (
    NOT_FINITE,
    B,
    FaultError,
    R,
    columns,
    differentiable,
    each_run_alone,
    has_type,
    like_what_it_got,
    numbers,
    pair,
    rates,
)
from dlrun.config.checks.regularizers import regularizer
from dlrun.engine.components import Component, rowwise
from dlrun.errors import InputError
from dlrun.isolation import DiedError, RaisedError
from dlrun.lazy import Tensor, torch


def problems(part: Component, where: str, task: str, facts: Mapping[str, Any]) -> list[str]:
    """Every problem that calling a user's component shows; none for components of dlrun.

    Args:
        part: the component.
        where: its key in the config, such as ``activation`` or ``regularizer.mine``.
        task: what is to be learnt, for losses.
        facts: what a loss's YAML says beside its hyperparameters.
    """
    if not part.target or part.target.startswith("dlrun."):
        return []
    kind = where.split(".")[0]
    if kind == "activation" and part.target in activations.ROWWISE:
        return []
    if kind == "optimizer" and part.target.startswith("torch.optim."):
        return []  # TorchOptimizer tries it
    if kind not in _TRIALS or (kind == "loss" and not TASKS[task].served_by(facts["tasks"])):
        return []
    message = _tried(kind, part.function, json.dumps(dict(part.values), default=str), task, str(facts["head"]))
    return [f"{where}._target_={part.target}: {message}"] if message else []


@cache
def _tried(kind: str, function: Callable[..., Any], values: str, task: str, head: str) -> str:
    """The first thing that is wrong; an empty string when nothing is."""
    try:
        return str(isolation.call(_fault, kind, function, values, task, head))
    except DiedError as death:
        return death.named((), "tried it").reason
    except RaisedError as error:
        return error.reason


def _fault(kind: str, function: Callable[..., Any], values: str, task: str, head: str) -> str:
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            _TRIALS[kind](function, json.loads(values), task, head)
    except FaultError as fault:
        return str(fault)
    except InputError as error:
        return "; ".join(error.problems)
    except SystemExit as error:
        return f"called sys.exit({error.code})"
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ""


def _activation(function: Callable[..., Any], values: dict[str, Any], task: str, head: str) -> None:
    apply = _module(function, values) if isinstance(function, type) else partial(function, **values)
    x = numbers(R, B, 4)

    def call(given: Mapping[str, Any], runs: slice) -> Any:
        return apply(x[runs].clone(), **given)

    like_what_it_got(apply, x)
    each_run_alone(call, "reduce over the last axis, dim=-1, if at all")
    differentiable(apply, x)
    if not isinstance(function, type):
        columns(function, values, call, (R, 1, 1))


def _module(function: type, values: dict[str, Any]) -> Callable[..., Any]:
    module = function(**values)
    if not isinstance(module, torch.nn.Module):
        raise FaultError("is a class that is no torch.nn.Module; an activation is a function x -> y, or such a class")
    if any(True for _ in module.parameters()):
        raise FaultError(
            "has parameters of its own, and those would not be trained; write a function with a hyperparameter, "
            "annotate it with Finite or Positive, and set learnable: true"
        )
    return module


def _loss(function: Callable[..., Any], values: dict[str, Any], task: str, head: str) -> None:
    hypers = values | ({"task": task} if "task" in rowwise(function) else {})

    def loss(output: Tensor, target: Tensor, **given: Any) -> Any:
        found = function(output, target, **hypers | given)
        return per_run(found) if isinstance(found, Weighted | Mixed) else found

    output, target = pair(task, head, len(values["tau"]) if isinstance(values.get("tau"), list) else 0)
    found = loss(output, target)
    if not isinstance(found, Tensor):
        raise FaultError(
            f"returned a {type(found).__name__}; a loss is a function (output, target) -> tensor of numbers for rows or runs"
        )
    if tuple(found.shape) != (R,) and tuple(found.shape[:2]) != tuple(output.shape[:2]):
        mean = "leave the first two axes, which count runs and rows, or average over all but the first: values.flatten(1).mean(1)"
        much = "one number for all runs" if found.dim() == 0 else f"shape {list(found.shape)}"
        raise FaultError(f"returned {much} for outputs of shape {list(output.shape)} ([runs, rows, ...]); {mean}")
    has_type("what it returned", found, output)
    if not bool(found.isfinite().all()) and not bool(loss(output, target.abs()).isfinite().all()):
        raise FaultError(f"{NOT_FINITE}; clamp what a logarithm, a root or a division takes, or set the head that it wants")

    def call(given: Mapping[str, Any], runs: slice) -> Any:
        return loss(output[runs], target[runs], **given)

    each_run_alone(call, "reduce all axes but the first: values.flatten(1).mean(1)")
    differentiable(lambda leaf: loss(leaf, target), output)
    columns(function, values, call, (R, *[1] * (output.dim() - 1)))


def _optimizer(function: Callable[..., Any], values: dict[str, Any], task: str, head: str) -> None:
    if "lr" not in values:
        raise FaultError("has no lr in its config; every optimizer has one, so that sweeps and schedules can set it")
    if not isinstance(function, type) or not issubclass(function, Optimizer | torch.optim.Optimizer):
        raise FaultError("is no subclass of dlrun.components.optimizers.Optimizer or torch.optim.Optimizer")
    make = function if issubclass(function, Optimizer) else partial(TorchOptimizer, function)

    def stepped(theta: Tensor, factor: Row = 1.0, **given: Any) -> Tensor:
        optimizer, theta = make(**values | given), theta.clone()
        state = optimizer.state(theta)
        wrong = [name for name, value in state.items() if len(value) != len(theta)]
        if wrong:
            raise FaultError(
                f"its state '{wrong[0]}' has shape {list(state[wrong[0]].shape)}; the first axis has to count the runs"
            )
        for t in (1, 2):
            optimizer.step(theta, theta.sin(), state, t, factor)
        return theta

    theta = numbers(R, 5)

    def call(given: Mapping[str, Any], runs: slice) -> Tensor:
        return stepped(theta[runs], **given)

    if torch.equal(stepped(theta), theta):
        raise FaultError("two steps changed nothing; a step has to change theta in place")
    like_what_it_got(stepped, theta)
    each_run_alone(call, "compute norms and means over dim=1")
    columns(function, values, call, (R, 1), dtype=torch.float64)
    rates("factor", call, dtype=torch.float64)


def _scheduler(function: Callable[..., Any], values: dict[str, Any], task: str, head: str) -> None:
    schedule = partial(function, torch.arange(20).unsqueeze(1), epoch_steps=5, total_steps=20, **values)
    found = schedule()
    if not isinstance(found, Tensor) or tuple(found.shape) != (20, 1):
        got = f"shape {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise FaultError(f"returned {got} for steps of shape [20, 1]; it has to be a tensor of factors of the same shape")
    if not bool((found.isfinite() & (found >= 0)).all()):
        raise FaultError("gives factors below 0, or that are no numbers; the learning rate is multiplied by them")

    def call(given: Mapping[str, Any], runs: slice) -> Tensor:
        factors: Tensor = schedule(**given)
        return factors.expand(20, runs.stop - runs.start).t()

    each_run_alone(call, "")
    columns(function, values, call, (1, R), dtype=torch.float64)


_TRIALS: dict[str, Callable[[Callable[..., Any], dict[str, Any], str, str], None]] = {
    "activation": _activation,
    "loss": _loss,
    "optimizer": _optimizer,
    "scheduler": _scheduler,
    "regularizer": regularizer,
}
