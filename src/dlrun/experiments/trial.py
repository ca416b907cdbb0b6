"""A component of the user's own is tried on a few numbers before anything trains.

What dlrun and torch bring is tested with dlrun; what a user brings is called here once, the way the engine will call it, with
R = 2 runs side by side and each of them alone. So a wrong shape, a missing argument or an operation that mixes runs is told in
one line, with the remedy, instead of spoiling an hour of training.

Shapes: R runs, B batch rows, H units, K outputs, P parameters, T steps, E epochs.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from dlrun.components import activations
from dlrun.components.optimizers import Optimizer, TorchOptimizer
from dlrun.components.regularizers import AfterStep, AroundActivation, BatchTransform, Penalty, Regularizer, Stop, Weights
from dlrun.engine.parts import Part, rowwise
from dlrun.errors import InputError

R, B, K, PIXELS = 2, 3, 3, 4
_HOOKS = "Penalty, AfterStep, BatchTransform, AroundActivation or Stop of dlrun.components.regularizers"

_NOT_FINITE = "gives nan or inf for ordinary numbers"


class _FaultError(Exception):
    """What is wrong with a component, in words."""


def problems(part: Part, where: str, task: str, facts: Mapping[str, Any]) -> list[str]:
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
    if kind not in _TRIALS or (kind == "loss" and task not in facts["tasks"]):
        return []
    said = _tried(kind, part.function, json.dumps(dict(part.values), default=str), task, str(facts["head"]))
    return [f"{where}._target_={part.target}: {said}"] if said else []


@cache
def _tried(kind: str, function: Callable[..., Any], values: str, task: str, head: str) -> str:
    """The first thing that is wrong; an empty string when nothing is."""
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            _TRIALS[kind](function, json.loads(values), task, head)
    except _FaultError as fault:
        return str(fault)
    except InputError as error:
        return "; ".join(error.problems)
    except SystemExit as error:
        return f"called sys.exit({error.code})"
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ""


def _activation(function: Callable[..., Any], values: dict[str, Any], task: str, head: str) -> None:
    def call(x: Tensor, **columns: Tensor) -> Any:
        return function(x, **values | columns)

    if isinstance(function, type):
        call = _module(function, values)
    x = _numbers(R, B, 4)
    _each_run_alone(call, x, "reduce over the last axis, dim=-1, if at all")
    _differentiable(call, x)
    if not isinstance(function, type):
        _columns(function, values, lambda columns: call(x, **columns), 3)


def _module(function: type, values: dict[str, Any]) -> Callable[..., Any]:
    module = function(**values)
    if not isinstance(module, nn.Module):
        raise _FaultError("is a class that is no torch.nn.Module; an activation is a function x -> y, or such a class")
    if any(True for _ in module.parameters()):
        raise _FaultError(
            "has parameters of its own, and those would not be trained; write a function with a hyperparameter, "
            "annotate it with Finite or Positive, and set learnable: true"
        )
    return module


def _loss(function: Callable[..., Any], values: dict[str, Any], task: str, head: str) -> None:
    given = values | ({"task": task} if "task" in rowwise(function) else {})
    output, target = _pair(task, head, len(values["tau"]) if isinstance(values.get("tau"), list) else 0)

    def loss(output: Tensor, target: Tensor = target, **columns: Tensor) -> Any:
        return function(output, target, **given | columns)

    found = loss(output)
    if not isinstance(found, Tensor):
        raise _FaultError(
            f"returned a {type(found).__name__}; a loss is a function (output, target) -> tensor with one number a run"
        )
    if tuple(found.shape) != (R,):
        mean = "average over all axes but the first, which counts the runs: values.flatten(1).mean(1)"
        much = "one number for all runs" if found.dim() == 0 else f"shape {list(found.shape)}"
        raise _FaultError(f"returned {much} for outputs of shape {list(output.shape)} ([runs, rows, ...]); {mean}")
    _type("what it returned", found, output)
    if not bool(found.isfinite().all()) and not bool(loss(output, target.abs()).isfinite().all()):
        raise _FaultError(f"{_NOT_FINITE}; clamp what a logarithm, a root or a division takes, or set the head that it wants")
    alone = torch.cat([loss(output[run : run + 1], target[run : run + 1]) for run in range(R)])
    if not torch.allclose(found, alone, rtol=1e-4, atol=1e-6, equal_nan=True):
        raise _FaultError("one run's loss depends on another run; no operation may reduce the first axis, which counts the runs")
    _differentiable(loss, output)
    _columns(function, values, lambda columns: loss(output, **columns), output.dim())


def _optimizer(function: Callable[..., Any], values: dict[str, Any], task: str, head: str) -> None:
    if "lr" not in values:
        raise _FaultError("has no lr in its config; every optimizer has one, so that sweeps and schedules can set it")
    if not isinstance(function, type) or not issubclass(function, Optimizer | torch.optim.Optimizer):
        raise _FaultError("is no subclass of dlrun.components.optimizers.Optimizer or torch.optim.Optimizer")
    make = function if issubclass(function, Optimizer) else lambda **given: TorchOptimizer(function, **given)

    def stepped(theta: Tensor, **columns: Tensor) -> Tensor:
        optimizer, theta = make(**values | columns), theta.clone()
        state = optimizer.state(theta)
        wrong = [name for name, value in state.items() if len(value) != len(theta)]
        if wrong:
            raise _FaultError(
                f"its state '{wrong[0]}' has shape {list(state[wrong[0]].shape)}; the first axis has to count the runs"
            )
        for t in (1, 2):
            optimizer.step(theta, theta.sin(), state, t, 1.0)
        return theta

    theta = _numbers(R, 5)
    if torch.equal(stepped(theta), theta):
        raise _FaultError("two steps changed nothing; a step has to change theta in place")
    _each_run_alone(stepped, theta, "compute norms and means over dim=1")
    _columns(function, values, lambda columns: stepped(theta, **columns), 2)


def _scheduler(function: Callable[..., Any], values: dict[str, Any], task: str, head: str) -> None:
    steps = torch.arange(20).unsqueeze(1)
    found = function(steps, epoch_steps=5, total_steps=20, **values)
    if not isinstance(found, Tensor) or tuple(found.shape) != (20, 1):
        got = f"shape {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise _FaultError(f"returned {got} for steps of shape [20, 1]; it has to be a tensor of factors of the same shape")
    if not bool((found.isfinite() & (found >= 0)).all()):
        raise _FaultError("gives factors below 0, or that are no numbers; the learning rate is multiplied by them")


def _regularizer(function: Callable[..., Any], values: dict[str, Any], task: str, head: str) -> None:
    if not isinstance(function, type) or not issubclass(function, Regularizer):
        raise _FaultError(f"is no regularizer; subclass {_HOOKS}")
    theta = _numbers(R, 6)
    make = cast(Callable[..., Regularizer], function)
    if issubclass(function, Penalty | AfterStep):
        made = make(Weights(torch.tensor([[1.0] * 4 + [0.0] * 2]), ((0, 4, (2, 2)),)), **values)
    elif issubclass(function, BatchTransform):
        made = make(K if task in ("multiclass", "segmentation") else 1, **values)
    else:
        made = make(**values)
    if isinstance(made, Penalty):
        _shape("value(theta)", made.value(theta), (R,))
        if not bool(made.value(theta).isfinite().all()):
            raise _FaultError(f"value(theta) {_NOT_FINITE}")
        made.add_gradient(theta, torch.zeros_like(theta))
    if isinstance(made, AfterStep):
        _each_run_alone(partial(_after_step, made), theta, "compute norms and means over dim=1")
    if isinstance(made, BatchTransform):
        x, (_, y) = _numbers(R, B, 4), _pair(task, "value", 0)
        new_x, new_y = made.batch(x, y, torch.arange(R))
        _shape("x of batch(x, y, keys)", new_x, (R, B, 4))
        soft = new_y.dim() > y.dim()  # class numbers may become probabilities
        _shape("y of batch(x, y, keys)", new_y.select(2, 0) if soft else new_y, tuple(y.shape))
    if isinstance(made, Stop):
        _shape("stop(history)", made.stop(_numbers(4, R)), (R,))
    if isinstance(made, AroundActivation) and made.kind not in ("dropout", "batch_norm"):
        raise _FaultError("its kind has to be dropout or batch_norm, the layers that the engine can put around activations")


_TRIALS: dict[str, Callable[[Callable[..., Any], dict[str, Any], str, str], None]] = {
    "activation": _activation,
    "loss": _loss,
    "optimizer": _optimizer,
    "scheduler": _scheduler,
    "regularizer": _regularizer,
}


# What the trials share


def _numbers(*shape: int) -> Tensor:
    """Numbers around 0, the same every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _pair(task: str, head: str, taus: int) -> tuple[Tensor, Tensor]:
    """Outputs as the head gives them, and targets, for a task."""
    several = K if task in ("multiclass", "multilabel", "segmentation") else taus or 1
    pixels = (PIXELS, PIXELS) if task == "segmentation" else ()
    members = {"similarity": (2,), "metric_learning": (3,)}.get(task, ())
    output = _numbers(R, B, *members, 4 if members else several, *pixels)
    if head in ("softmax", "log_probability"):
        output = output.log_softmax(2)
    output = {"probability": output.sigmoid, "softmax": output.exp}.get(head, output.clone)()
    if task in ("multiclass", "segmentation"):
        return output, torch.arange(R * B).view(R, B, *[1] * len(pixels)).expand(R, B, *pixels) % K
    if task == "metric_learning":
        return output, torch.zeros(R, B, dtype=torch.int64)
    numbers = _numbers(R, B, several if task == "multilabel" else 1)
    labels = {"binary": (numbers > 0).float(), "multilabel": (numbers > 0).float(), "similarity": numbers.sign()}
    return output, labels.get(task, numbers)


def _each_run_alone(function: Callable[[Tensor], Any], x: Tensor, remedy: str) -> None:
    """Whether ``function`` keeps shapes, repeats itself, and gives a run the same values alone and beside another."""
    y = function(x.clone())
    _shape("what it gave", y, tuple(x.shape))
    _type("what it gave", y, x)
    if not torch.equal(y.nan_to_num(), function(x.clone()).nan_to_num()):
        raise _FaultError("gives other values each time it is called; random numbers would make runs unrepeatable")
    if not bool(y.isfinite().all()):
        at = f" (x = {x[~y.isfinite()][0]:.3g})" if y.shape == x.shape else ""
        raise _FaultError(f"{_NOT_FINITE}{at}; clamp what a logarithm, a root, a power or a division takes")
    alone = torch.cat([function(x[run : run + 1].clone()) for run in range(R)])
    if not torch.allclose(y, alone, rtol=1e-4, atol=1e-5, equal_nan=True):
        raise _FaultError(f"one run's values depend on another run, which is on the first axis; {remedy}")


def _differentiable(function: Callable[[Tensor], Any], x: Tensor) -> None:
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        y = function(leaf)
        if not y.requires_grad:
            raise _FaultError(
                "cannot be differentiated: nothing leads back from what it gives to what it got; is something detached?"
            )
        (slope,) = torch.autograd.grad(y.sum(), leaf)
        if bool(y.isfinite().all()) and not bool(slope.isfinite().all()):
            raise _FaultError(
                "has a derivative of nan or inf at ordinary numbers; torch.where differentiates both of its branches"
            )


def _after_step(made: AfterStep, theta: Tensor) -> Tensor:
    made.after_step(theta, 0.1)
    return theta


def _shape(what: str, found: Any, wanted: Sequence[int]) -> None:
    if not isinstance(found, Tensor) or tuple(found.shape) != tuple(wanted):
        got = f"shape {list(found.shape)}" if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise _FaultError(f"{what} has {got}; it has to be {list(wanted)}" if isinstance(found, Tensor) else f"{what} is {got}")


def _type(what: str, found: Tensor, like: Tensor) -> None:
    if found.dtype != like.dtype:
        raise _FaultError(f"{what} is {found.dtype} for {like.dtype}; it has to stay what it is")


def _columns(
    function: Callable[..., Any], values: Mapping[str, Any], call: Callable[[dict[str, Tensor]], Any], dims: int
) -> None:
    """Whether hyperparameters may come as columns [R, 1, ...] where their annotation says so (Positive, Finite, ...)."""
    numbers = [name for name, forms in rowwise(function).items() if float in forms and isinstance(values.get(name), int | float)]
    columns = {name: torch.full((R, *[1] * (dims - 1)), float(values[name]), dtype=torch.float64) for name in numbers}
    if not columns:
        return
    try:
        fine = torch.allclose(call(columns).double(), call({}).double(), rtol=1e-4, atol=1e-5, equal_nan=True)
        said = "" if fine else "it gives other values with a column than with a number"
    except Exception as error:
        said = f"it fails with a column: {type(error).__name__}: {' '.join(str(error).split())}"
    if said:
        names = ", ".join(numbers)
        raise _FaultError(f"annotates {names} as a number that may differ from run to run, but {said}; or annotate it as float")
