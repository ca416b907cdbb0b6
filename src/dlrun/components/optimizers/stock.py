"""Any other torch.optim class, one torch optimizer for a group of rows.

Each row is a parameter of its own, so no rule that looks at a whole parameter (Adafactor's norms) can mix runs. Torch's state
is kept in matrices whose rows are what torch works on: they can be cut and written to disk like every other state.

Slower than the row-wise classes: torch walks over the rows one by one. Importing this file costs nothing; the first
``TorchOptimizer`` imports torch._dynamo, about two seconds.

Shapes: R rows (runs) of the group, P parameters of a run.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from dlrun.components.hyperparameters import Row
from dlrun.components.optimizers.base import Optimizer, State
from dlrun.errors import InputError, nearest
from dlrun.lazy import Tensor, torch
from dlrun.suggestions.values import show

_REFUSED = {
    "SparseAdam": "takes sparse gradients, and these are dense; use torch.optim.Adam",
    "Muon": "updates matrices, and a run's parameters are one vector; use torch.optim.AdamW or torch.optim.SGD",
}


class TorchOptimizer(Optimizer):
    """A torch.optim class, or a subclass of torch.optim.Optimizer, behind the interface of the row-wise optimizers.

    ``kind`` is the class; the keyword arguments are its hyperparameters: floats, columns [R, 1], flags, or lists of them.

    Raises:
        InputError: the class needs a closure (LBFGS), sparse gradients or matrices, or refuses a hyperparameter.
    """

    def __init__(self, kind: type[torch.optim.Optimizer], **numbers: Any) -> None:
        self._kind, self._numbers = kind, {name: _tuple(value) for name, value in numbers.items()}
        self._optimizer: torch.optim.Optimizer | None = None
        self._bound: tuple[Any, ...] = ()
        known = [name for name in inspect.signature(kind).parameters if name != "params"]
        unknown = [name for name in numbers if name not in known]
        if unknown:
            raise InputError(
                *(
                    f"optimizer.{name}: no such key; {kind.__name__} takes {', '.join(known)}{nearest(name, known)}"
                    for name in unknown
                )
            )
        reason = _REFUSED.get(kind.__name__, "")
        closure = inspect.signature(kind.step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            reason = "evaluates the loss several times a step; use torch.optim.Adam, or torch.optim.Rprop for full batches"
        if reason:
            raise InputError(f"optimizer {kind.__name__}: {reason}")
        for given in map(self._at, range(_rows(self._numbers.values()))):
            try:
                self._make([torch.zeros(2)], given)
            except (TypeError, ValueError, RuntimeError) as error:
                message = ", ".join(f"{name}={show(value)}" for name, value in given.items())
                raise InputError(f"optimizer {kind.__name__} refuses {message}: {error}") from error

    def state(self, theta: Tensor) -> State:
        """Torch's own names; [R, P] for what has a parameter's shape and [R, 1] for one number a run.

        Torch creates its state in the first step, so a step on zeros tells names and shapes. Until then the values mean nothing.
        """
        template = self._template(theta[0])
        return {name: value.new_zeros(theta.shape[0], *(value.shape or (1,))) for name, value in template.items()}

    def _template(self, row: Tensor) -> dict[str, Tensor]:
        """What torch keeps for a parameter like ``row``."""
        row = torch.zeros_like(row)
        optimizer = self._make([row], self._at(0))
        row.grad = torch.zeros_like(row)
        optimizer.step()
        return {name: value for name, value in optimizer.state[row].items() if isinstance(value, Tensor)}

    def step(self, theta: Tensor, grad: Tensor, state: State, t: int, factor: Row) -> None:
        """One update in place; see ``Optimizer.step``. A column as factor is read on the CPU: it had better be there."""
        apart = isinstance(factor, Tensor) or _rows(self._numbers.values()) > 1
        bound = (apart, theta.shape, theta.data_ptr(), *(value.data_ptr() for value in state.values()))
        if self._optimizer is None or int(t) == 1 or bound != self._bound:
            self._optimizer, self._bound = self._bind(theta, state, apart, fresh=int(t) == 1), bound
        optimizer = self._optimizer
        rows = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        rates = factor.flatten().tolist() if isinstance(factor, Tensor) else itertools.repeat(factor)
        for group, rate in zip(optimizer.param_groups, rates, strict=False):
            group["lr"] = group["initial_lr"] * rate
        for row, part in zip(rows, grad.unbind(), strict=True):
            row.grad = part
        optimizer.step()
        # The rows of ``state`` are to be what torch works on, also where torch made or replaced a tensor.
        for number, row in enumerate(rows):
            held = optimizer.state[row]
            for name, value in state.items():
                part = value[number].view(held[name].shape)
                if held[name].data_ptr() != part.data_ptr():
                    held[name] = part.copy_(held[name])

    def _bind(self, theta: Tensor, state: State, apart: bool, fresh: bool) -> torch.optim.Optimizer:
        """A torch optimizer whose parameters are the rows of theta; unless it is fresh, its state is the rows of ``state``."""
        rows = list(theta.detach().unbind())
        groups = [{"params": [row]} | self._at(number) for number, row in enumerate(rows)] if apart else [{"params": rows}]
        optimizer = self._make(groups, self._at(0))
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        if not fresh:
            template = self._template(rows[0])
            for number, row in enumerate(rows):
                optimizer.state[row] = {name: state[name][number].view(like.shape) for name, like in template.items()}
        return optimizer

    def _at(self, number: int) -> dict[str, Any]:
        """The hyperparameters of one row."""
        return {name: _item(value, number) for name, value in self._numbers.items()}

    def _make(self, parameters: list[Any], numbers: dict[str, Any]) -> torch.optim.Optimizer:
        make: Callable[..., torch.optim.Optimizer] = self._kind
        return make(parameters, **numbers)


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _rows(values: Iterable[Any]) -> int:
    """The length of the columns among the values, 1 when there are none."""
    return max((len(value) if isinstance(value, Tensor) else _rows(value) for value in values if _nested(value)), default=1)


def _nested(value: Any) -> bool:
    return isinstance(value, Tensor | tuple)


def _item(value: Any, number: int) -> Any:
    if isinstance(value, tuple):
        return tuple(_item(item, number) for item in value)
    return value[number].item() if isinstance(value, Tensor) else value
