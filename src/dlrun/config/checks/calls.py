"""What the trials of a user's components share: a few numbers, and what can be told from calling something with them.

A ``Call`` takes hyperparameters, to be set beside those of the config, and some of the R runs; it gives what those runs get, with
the runs on its first axis. What the runs get together has to be what each gets alone.

Shapes: R runs, B batch rows, K outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dlrun.components.hyperparameters import hyperparameters, mismatch, type_hints
from dlrun.components.tasks import TASKS
from dlrun.engine.components import rowwise
from dlrun.lazy import Tensor, torch

R, B, K, PIXELS = 2, 3, 3, 4
ALL = slice(0, R)
NOT_FINITE = "gives nan or inf for ordinary numbers"

Call = Callable[[Mapping[str, Any], slice], Tensor]


class FaultError(Exception):
    """What is wrong with a component, in words."""


def numbers(*shape: int, seed: int = 0) -> Tensor:
    """Numbers around 0, the same every time."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def pair(task: str, head: str, taus: int = 0, rows: int = B) -> tuple[Tensor, Tensor]:
    """Outputs as the head gives them, and targets, for a task."""
    known = TASKS[task]
    outputs = 4 if known.members else known.outputs or (K if known.classes else taus or 1)
    pixels = (PIXELS, PIXELS) if known.pixels else ()
    output = numbers(R, rows, *known.output_shape(outputs, pixels))
    if head in ("softmax", "log_probability"):
        output = output.log_softmax(2)
    output = {"probability": output.sigmoid, "softmax": output.exp}.get(head, output.clone)()
    if known.exclusive:
        return output, torch.arange(R * rows).view(R, rows, *[1] * len(pixels)).expand(R, rows, *pixels) % K
    if known.integral:
        return output, torch.zeros(R, rows, dtype=torch.int64)
    target = numbers(R, rows, outputs if known.classes else 1, seed=1)
    if known.values is None:
        return output, target
    low, high = map(float, known.values)
    return output, torch.where(target > 0, high, low)


def has_shape(what: str, found: Any, wanted: Sequence[int]) -> None:
    """Whether something is a tensor of this shape."""
    if not isinstance(found, Tensor):
        raise FaultError(f"{what} is a {type(found).__name__}")
    if tuple(found.shape) != tuple(wanted):
        raise FaultError(f"{what} has shape {list(found.shape)}; it has to be {list(wanted)}")


def has_type(what: str, found: Tensor, like: Tensor) -> None:
    """Whether something is of the type of ``like``."""
    if found.dtype != like.dtype:
        raise FaultError(f"{what} is {found.dtype} for {like.dtype}; it has to stay what it is")


def each_run_alone(call: Call, remedy: str, *, random: str = "random numbers would make runs unrepeatable") -> None:
    """Whether calls repeat themselves, and give a run the same values alone and beside another."""
    together = call({}, ALL)
    if not _close(together, call({}, ALL), 0.0):
        raise FaultError(f"gives other values each time it is called; {random}")
    if not _close(together, _alone(call, [{}] * R)):
        raise FaultError(f"one run's values depend on another run, which is on the first axis; {remedy}")


def like_what_it_got(function: Callable[[Tensor], Any], x: Tensor) -> None:
    """Whether ``function`` keeps shape and type, and gives finite numbers."""
    y = function(x.clone())
    has_shape("what it gave", y, tuple(x.shape))
    has_type("what it gave", y, x)
    if not bool(y.isfinite().all()):
        at = f" (x = {x[~y.isfinite()][0]:.3g})"
        raise FaultError(f"{NOT_FINITE}{at}; clamp what a logarithm, a root, a power or a division takes")


def differentiable(function: Callable[[Tensor], Any], x: Tensor) -> None:
    """Whether autograd finds finite derivatives."""
    with torch.enable_grad():
        leaf = x.clone().requires_grad_()
        y = function(leaf)
        if not y.requires_grad:
            raise FaultError(
                "cannot be differentiated: nothing leads back from what it gives to what it got; is something detached?"
            )
        (slope,) = torch.autograd.grad(y.sum(), leaf)
        if bool(y.isfinite().all()) and not bool(slope.isfinite().all()):
            raise FaultError(
                "has a derivative of nan or inf at ordinary numbers; torch.where differentiates both of its branches"
            )


def columns(
    function: Callable[..., Any],
    values: Mapping[str, Any],
    call: Call,
    shape: Sequence[int],
    *,
    dtype: torch.dtype | None = None,
    remedy: str = "",
) -> None:
    """Whether hyperparameters may come as columns where their annotation says so (Positive, Finite, ...).

    Args:
        function: the component.
        values: its hyperparameters in the config.
        call: what to compare.
        shape: how the engine shapes a column for it, such as [R, 1, 1].
        dtype: of the column; float32 where there is none.
        remedy: what to do about it, ending in a semicolon.
    """
    each = strengths(function, values, call)
    message = _with_columns(call, each, shape, dtype)
    if message:
        names = ", ".join(each[0])
        raise FaultError(
            f"annotates {names} as a number that may differ from run to run, but {message};{remedy} or annotate it as float"
        )


def rates(name: str, call: Call, *, dtype: torch.dtype | None = None) -> None:
    """Whether what depends on the learning rate of a step may come as a column [R, 1]."""
    message = _with_columns(call, [{name: 0.1}, {name: 0.05}], (R, 1), dtype)
    if message:
        raise FaultError(f"{name} is a number, or a column [runs, 1] where it differs from run to run, but {message}")


def strengths(function: Callable[..., Any], values: Mapping[str, Any], call: Call) -> list[dict[str, float]]:
    """Other numbers for every run, where hyperparameters may differ from run to run; the first run has those of the config."""
    defaults = {name: parameter.default for name, parameter in hyperparameters(function).items()}
    given = {name: (defaults | dict(values))[name] for name, forms in rowwise(function).items() if float in forms}
    plain = {
        name: float(value) for name, value in given.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }
    hints = type_hints(function)
    other = {name: _other(hints[name], value) for name, value in plain.items()}
    try:
        call(other, slice(1, 2))
    except Exception:  # the annotation allows a number that the component does not
        return [plain] * R
    return [plain, other]


def _other(hint: Any, value: float) -> float:
    """Another number that an annotation allows."""
    allowed = (number for number in (value / 2, value + 0.01, value - 0.01) if number != value and not mismatch(hint, number))
    return next(allowed, value)


def _with_columns(call: Call, each: Sequence[Mapping[str, float]], shape: Sequence[int], dtype: torch.dtype | None) -> str:
    """What is wrong when the runs' numbers come as columns; an empty string when nothing is."""
    if not each[0]:
        return ""
    alone = _alone(call, each)
    together = {name: torch.tensor([of[name] for of in each], dtype=dtype or torch.float32).view(*shape) for name in each[0]}
    try:
        found = call(together, ALL)
    except Exception as error:
        return f"it fails with a column: {type(error).__name__}: {' '.join(str(error).split())}"
    if found.shape != alone.shape:
        return f"it gives shape {list(found.shape)} with a column, and {list(alone.shape)} with a number"
    return "" if _close(found, alone) else "it gives other values with a column than with a number"


def _alone(call: Call, each: Sequence[Mapping[str, Any]]) -> Tensor:
    return torch.cat([call(given, slice(run, run + 1)) for run, given in enumerate(each)])


def _close(found: Tensor, wanted: Tensor, rtol: float = 1e-4) -> bool:
    found, wanted = found.double(), wanted.double()
    size = float(wanted.nan_to_num(posinf=0.0, neginf=0.0).abs().max())
    return found.shape == wanted.shape and torch.allclose(found, wanted, rtol=rtol, atol=rtol * size / 10, equal_nan=True)
