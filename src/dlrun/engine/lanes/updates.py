"""The optimizer and the penalties of a run as the kernel takes them: numbers for what it calls them.

The kernel lists its names itself (native/paces.h, penalties.h); this file reads those lists, so there is no second one.
"""

import ctypes
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlrun.components.hyperparameters import hyperparameters
from dlrun.components.optimizers import ROWWISE
from dlrun.components.regularizers import L1, L2, AfterStep, MaxNorm, Penalty
from dlrun.engine.components import Component
from dlrun.engine.lanes.library import numbered


@dataclass(frozen=True)
class Update:
    """An optimizer or a set of penalties. Runs of equal ``kind`` and ``flags`` fill whole blocks."""

    kind: int
    flags: int
    numbers: tuple[float, ...]


class Updates:
    """What a kernel can do to the parameters."""

    def __init__(self, kernel: ctypes.CDLL) -> None:
        self._kinds = numbered(kernel, "dlrun_optimizers")
        self._optimizer = _Names(kernel, "dlrun_optimizer")
        self._penalty = _Names(kernel, "dlrun_penalty")

    def optimizer(self, part: Component) -> Update | None:
        """The optimizer of a run; None for one that only torch has: another class of torch.optim, or the user's own."""
        if part.target not in ROWWISE:
            return None
        values = with_defaults(part)
        name = part.target.rpartition(".")[2]
        if name == "AdamW":
            name, values["decoupled_weight_decay"] = "Adam", True
        flags = {key: value for key, value in values.items() if isinstance(value, bool)}
        numbers = {key: value for key, value in values.items() if key not in flags}
        if "momentum" in numbers:
            flags["momentum"] = numbers["momentum"] != 0
        for place, beta in enumerate(numbers.pop("betas", ()), start=1):
            numbers[f"beta{place}"] = beta
        return self._optimizer.update(self._kinds[name], flags, numbers)

    def penalties(
        self, regularizers: Sequence[Component], clip_norm: float | None = None, clip_value: float | None = None
    ) -> Update | None:
        """What a run does to its gradient and weights beside the optimizer; None where a penalty is of the user's own.

        Regularizers that are neither penalties nor act behind a step are passed over.
        """
        flags = dict.fromkeys(("proximal", "subgradient", "l2", "max_norm"), False)
        numbers = {"clip_norm": _limit(clip_norm), "clip_value": _limit(clip_value), "max_norm": math.inf}
        for part in regularizers:
            kind: Any = part.function
            if kind is L1:
                values = with_defaults(part)
                flags[values["method"]], numbers["l1"] = True, values["weight"]
            elif kind is L2:
                flags["l2"], numbers["l2"] = True, with_defaults(part)["weight"]
            elif kind is MaxNorm:
                flags["max_norm"], numbers["max_norm"] = True, with_defaults(part)["max_norm"]
            elif issubclass(kind, Penalty | AfterStep):
                return None
        return self._penalty.update(0, flags, numbers)


class _Names:
    """What a kernel calls the flags and the numbers of something."""

    def __init__(self, kernel: ctypes.CDLL, prefix: str) -> None:
        self._flags = numbered(kernel, f"{prefix}_flags")
        self._numbers = numbered(kernel, f"{prefix}_numbers")

    def update(self, kind: int, flags: Mapping[str, bool], numbers: Mapping[str, float]) -> Update:
        """The same as numbers. Raises KeyError for a name that the kernel does not know."""
        row = [0.0] * len(self._numbers)
        for name, value in numbers.items():
            row[self._numbers[name]] = float(value)
        return Update(kind, sum(1 << self._flags[name] for name, wanted in flags.items() if wanted), tuple(row))


def weight_table(places: Sequence[tuple[int, int, tuple[int, ...]]]) -> list[tuple[int, int, int, int]]:
    """Where the weights lie, as rows (start, units, inputs, outermost) of the kernel's ``Weight``.

    ``places`` are those of ``regularizers.Weights``: a linear layer's weights [in, out] have the units innermost, those of a
    convolution [out, in, ...] outermost.
    """
    return [
        (start, shape[1], shape[0], 0) if len(shape) == 2 else (start, shape[0], (stop - start) // shape[0], 1)
        for start, stop, shape in places
    ]


def keeps_average(regularizers: Sequence[Component]) -> bool:
    """Whether the kernel keeps an average of the gradient of each parameter, which l1 goes by."""
    return any(part.function is L1 and with_defaults(part)["method"] == "proximal" for part in regularizers)


def with_defaults(part: Component) -> dict[str, Any]:
    """The hyperparameters of a component: what the conf gives, and the class's own values for the rest."""
    return {name: parameter.default for name, parameter in hyperparameters(part.function).items()} | dict(part.values)


def _limit(value: float | None) -> float:
    return math.inf if value is None else value
