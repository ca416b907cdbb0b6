"""The trial of a user's regularizer: every hook that it has, for all runs together and for each alone.

A penalty is held to what it says: what acts on theta, by the gradient or behind the step, has to be the derivative of its value.

Shapes: R runs, B batch rows, P parameters, E epochs.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, cast

import numpy as np

from dlrun import streams
from dlrun.components.regularizers import AfterStep, AroundActivation, BatchTransform, Kink, Penalty, Regularizer, Stop, Weights
from dlrun.components.tasks import TASKS
from dlrun.config.checks.calls import (
    ALL,
    NOT_FINITE,
    PIXELS,
    B,
    FaultError,
    K,
    R,
    columns,
    differentiable,
    each_run_alone,
    has_shape,
    has_type,
    like_what_it_got,
    numbers,
    pair,
    rates,
    strengths,
)
from dlrun.engine.layers import AROUND
from dlrun.lazy import Tensor, torch

Make = Callable[[Mapping[str, Any]], Any]

_HOOKS = "Penalty, Kink, AfterStep, BatchTransform, AroundActivation or Stop of dlrun.components.regularizers"
_OVER_PARAMETERS = "compute norms and means over dim=1"
_KEEP_AXIS = " keep the axis of the sum, (theta**2 * self.weights.mask).sum(1, keepdim=True) * self.weight, and flatten() that;"
_EACH_RUN = " each_run(number, x) of dlrun.components.regularizers shapes its column [runs, 1] for x;"
_DRAW = "draw with dlrun.streams from keys, such as streams.normal(keys, x[0].numel()).view(x.shape)"
_OF_ITSELF = "or leave add_gradient out: autograd differentiates value"


@cache
def _weights() -> Weights:
    """Some weights and biases."""
    return Weights(torch.tensor([[1.0] * 4 + [0.0] * 2]), ((0, 4, (2, 2)),))


_IMAGE = (3, PIXELS, PIXELS)
_CLOSE, _NEAR = 1e-3, 0.05  # of the largest slope: for a gradient, and for a step whose length is that share of its slope


def regularizer(function: Callable[..., Any], values: dict[str, Any], task: str, head: str) -> None:
    """Try every hook of a regularizer.

    Raises:
        FaultError: with the first thing that is wrong.
    """
    if not isinstance(function, type) or not issubclass(function, Regularizer):
        raise FaultError(f"is no regularizer; subclass {_HOOKS}")
    first: tuple[Any, ...] = ()
    if issubclass(function, Penalty | AfterStep):
        first = (_weights(),)
    elif issubclass(function, BatchTransform):
        first = (TASKS[task].exclusive_classes(K),)

    made = cast(Callable[..., Regularizer], function)(*first, **values)

    def make(given: Mapping[str, Any]) -> Regularizer:
        return cast(Callable[..., Regularizer], function)(*first, **values | dict(given)) if given else made

    if isinstance(made, Penalty):
        _penalty(function, values, make)
    if isinstance(made, AfterStep):
        _after_step(function, values, make)
    if isinstance(made, BatchTransform):
        _batches(function, values, make, task)
    if isinstance(made, Stop):
        _stop(function, values, make)
    if isinstance(made, AroundActivation) and made.kind not in AROUND:
        raise FaultError(f"its kind has to be {' or '.join(AROUND)}, the layers that the engine can put around activations")


def _penalty(function: Callable[..., Any], values: Mapping[str, Any], make: Make) -> None:
    theta = numbers(R, 6)

    def value(given: Mapping[str, Any], runs: slice) -> Any:
        return make(given).value(theta[runs].clone())

    def gradient(given: Mapping[str, Any], runs: slice) -> Tensor:
        return _added(make(given), theta[runs])

    found = value({}, ALL)
    has_shape("value(theta)", found, (R,))
    if not bool(found.isfinite().all()):
        raise FaultError(f"value(theta) {NOT_FINITE}")
    each_run_alone(value, _OVER_PARAMETERS)
    if type(make({})).add_gradient is Penalty.add_gradient:  # autograd's, of the value
        differentiable(make({}).value, theta)
        columns(function, values, value, (R, 1), remedy=_KEEP_AXIS)
    if not bool(gradient({}, ALL).isfinite().all()):
        raise FaultError(f"add_gradient {NOT_FINITE}")
    each_run_alone(gradient, _OVER_PARAMETERS)
    columns(function, values, gradient, (R, 1))
    for run, given in enumerate(strengths(function, values, gradient)):
        _acts_as_it_says(make(given), theta[run : run + 1])
    start = theta * _weights().mask
    if not bool(_added(make({}), start).isfinite().all()):
        raise FaultError("add_gradient gives nan or inf where biases are 0, as many are at the start; add to what a root takes")


def _added(made: Penalty, theta: Tensor) -> Tensor:
    """What ``add_gradient`` adds, and ``choose`` of a penalty with a kink."""
    given, grad = theta.clone(), torch.zeros_like(theta)
    made.add_gradient(given, grad)
    if isinstance(made, Kink) and (state := made.state(given)):
        made.choose(given, grad, state, 1)
    if not torch.equal(given, theta):
        raise FaultError("add_gradient changed theta; it may change grad alone")
    return grad


def _acts_as_it_says(made: Penalty, theta: Tensor) -> None:
    """Whether what acts on theta [1, P] is the derivative of the penalty's value: its gradient, or a small step behind the step.

    A proximal map of lr * value moves theta by lr times the derivative, as lr becomes small, and so does any other step down it.
    """
    slope, added, step = _derivative(made, theta), _added(made, theta), torch.zeros_like(theta)
    size = float(slope.abs().max())
    if isinstance(made, AfterStep) and size:
        lr = _NEAR / 5 / size
        step = (theta - _moved(made, theta, lr)) / lr

    def is_slope(found: Tensor, tolerance: float) -> bool:
        return bool(((found - slope).abs() <= tolerance * size).all())

    by_gradient, by_step = is_slope(added, _CLOSE), size > 0 and is_slope(step, _NEAR)
    if by_gradient and by_step:
        raise FaultError("acts twice, by add_gradient and by after_step; write def add_gradient(self, theta, grad): pass")
    if not by_gradient and not is_slope(added + step, _NEAR if bool(step.any()) else _CLOSE):
        raise FaultError(_other_than(slope, added, isinstance(made, AfterStep)))
    made.add_gradient(theta.clone(), grad := torch.zeros_like(theta))
    made.add_gradient(theta.clone(), again := torch.ones_like(theta))
    if not torch.allclose(again, grad + 1):
        raise FaultError("add_gradient replaces what is in grad, the gradient of the loss; add to it: grad += ...")


def _other_than(slope: Tensor, added: Tensor, steps: bool) -> str:
    """How a gradient [1, P] differs from the derivative of the value, and what to do."""
    if not bool(added.any()) and steps:
        return (
            "add_gradient adds nothing, and after_step(theta, lr) does not move theta by lr times the derivative of "
            f"value(theta), as a proximal map does for a small lr; correct it, {_OF_ITSELF}"
        )
    if not bool(added.any()):
        return (
            "add_gradient adds nothing, and value(theta) has a derivative; change grad in place, grad += ... "
            f"(grad = grad + ... makes another tensor), {_OF_ITSELF}"
        )
    fraction = float((added * slope).sum() / slope.square().sum())
    if torch.allclose(added, fraction * slope, rtol=_CLOSE):
        return f"add_gradient adds {fraction:.3g} times the derivative of value(theta); correct one of them, {_OF_ITSELF}"
    most = (added - slope).abs().argmax()
    mine, wanted = float(added.flatten()[most]), float(slope.flatten()[most])
    message = f"add_gradient adds {mine:.3g} where the derivative of value(theta) is {wanted:.3g}"
    return f"{message}; correct one of them, {_OF_ITSELF}"


def _derivative(made: Penalty, theta: Tensor) -> Tensor:
    """Autograd's derivative of the value [1, P]; 0 where the value does not depend on theta."""
    with torch.enable_grad():
        leaf = theta.clone().requires_grad_()
        value = made.value(leaf)
        found = torch.autograd.grad(value.sum(), leaf, allow_unused=True)[0] if value.requires_grad else None
    return torch.zeros_like(theta) if found is None else found


def _after_step(function: Callable[..., Any], values: Mapping[str, Any], make: Make) -> None:
    theta = numbers(R, 6)

    def call(given: Mapping[str, Any], runs: slice) -> Tensor:
        return _moved(make(given), theta[runs], 0.1)

    def at_rate(given: Mapping[str, Any], runs: slice) -> Tensor:
        return _moved(make({}), theta[runs], given["lr"])

    like_what_it_got(lambda theta: _moved(make({}), theta, 0.1), theta)
    each_run_alone(call, _OVER_PARAMETERS)
    columns(function, values, call, (R, 1))
    rates("lr", at_rate)


def _moved(made: AfterStep, theta: Tensor, lr: float | Tensor) -> Tensor:
    theta = theta.clone()
    made.after_step(theta, lr)
    return theta


def _stop(function: Callable[..., Any], values: Mapping[str, Any], make: Make) -> None:
    history = numbers(4, R)

    def call(given: Mapping[str, Any], runs: slice) -> Any:
        found = make(given).stop(history[:, runs])
        return torch.from_numpy(found) if isinstance(found, np.ndarray) else found  # one that leaves it to early_stopping

    has_shape("stop(history)", call({}, ALL), (R,))
    each_run_alone(call, "history is [epochs, runs]; look along dim=0")
    columns(function, values, call, (R, 1))


def _batches(function: Callable[..., Any], values: Mapping[str, Any], make: Make, task: str) -> None:
    """Batches of tables, or of images where the hook cannot take tables; as many rows as runs too, where axes can be confused."""
    known = TASKS[task]
    row = (known.members, 4) if known.members else _IMAGE if known.pixels else (4,)
    for rows in (B, R):
        trial = partial(_batch, function, values, make, task, rows)
        try:
            trial(row)
        except FaultError:
            raise
        except Exception as error:
            if row != (4,):
                raise
            try:
                trial(_IMAGE)
            except FaultError:
                raise
            except Exception:
                raise error from None


def _batch(
    function: Callable[..., Any], values: Mapping[str, Any], make: Make, task: str, rows: int, row: tuple[int, ...]
) -> None:
    x, (_, y) = numbers(R, rows, *row), pair(task, "value", rows=rows)
    keys = torch.from_numpy(streams.keys(range(R), "augment"))
    for number, (name, of) in enumerate({"x": x, "y": y}.items()):

        def call(given: Mapping[str, Any], runs: slice, number: int = number) -> Any:
            return make(given).batch(x[runs].clone(), y[runs].clone(), keys[runs])[number]

        what, found = f"{name} of batch(x, y, keys)", call({}, ALL)
        if not isinstance(found, Tensor):
            raise FaultError(f"{what} is a {type(found).__name__}")
        soft = number == 1 and found.dim() > of.dim()  # class numbers may become probabilities
        has_shape(what, found.select(2, 0) if soft else found, tuple(of.shape))
        if number == 0:
            has_type(what, found, of)
        if not bool(found.isfinite().all()):
            raise FaultError(f"{what} {NOT_FINITE}")
        each_run_alone(call, "reduce and draw for each run by itself; keys has one number for each", random=_DRAW)
        columns(function, values, call, (R, 1), remedy=_EACH_RUN)
