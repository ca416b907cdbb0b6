"""The activation, the head and the loss of a run as the kernel takes them: a number for the kind, and the numbers of the run.

The kernel lists its names itself (native/activations.h, losses.h); this file reads those lists, so there is no second one.
"""

import ctypes
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from dlrun.components.arrays import Array
from dlrun.components.tasks import TASKS
from dlrun.engine.components import Component
from dlrun.engine.lanes.library import numbered


class Kind(NamedTuple):
    """A component as the kernel takes it. Runs of equal ``number`` can be lanes of one block, whatever their ``numbers``."""

    number: int
    numbers: tuple[float, ...] = ()


# The kernel's name of a target, its hyperparameter and the value that it has where a conf does not give it
_ACTIVATIONS: dict[str, tuple[str, str, float]] = {
    "torch.nn.Identity": ("identity", "", 0.0),
    "torch.nn.Sigmoid": ("sigmoid", "", 0.0),
    "torch.nn.Tanh": ("tanh", "", 0.0),
    "torch.nn.ReLU": ("relu", "", 0.0),
    "torch.nn.LeakyReLU": ("leaky_relu", "negative_slope", 0.01),
    "torch.nn.ELU": ("elu", "alpha", 1.0),
    "torch.nn.SELU": ("selu", "", 0.0),
    "torch.nn.GELU": ("gelu", "", 0.0),
    "torch.nn.SiLU": ("silu", "", 0.0),
    "torch.nn.Softmax": ("softmax", "", 0.0),
    "torch.nn.LogSoftmax": ("log_softmax", "", 0.0),
    "torch.nn.Softplus": ("softplus", "beta", 1.0),
    "torch.nn.Mish": ("mish", "", 0.0),
    "torch.nn.Hardswish": ("hardswish", "", 0.0),
    "dlrun.components.activations.swish": ("swish", "beta", 1.0),
    "dlrun.components.activations.leaky_relu": ("leaky_relu", "negative_slope", 0.01),
}
_HEADS = {"probability": "sigmoid", "softmax": "softmax", "log_probability": "log_softmax"}
_LOSSES = "dlrun.components.losses."


class Functions:
    """The activations and losses that a kernel has."""

    def __init__(self, kernel: ctypes.CDLL) -> None:
        self._activations = numbered(kernel, "dlrun_activations")
        self._losses = numbered(kernel, "dlrun_losses")
        self._reads = kernel.dlrun_loss_reads

    def activation(self, part: Component) -> Kind | None:
        """The activation of a run; None for another class of torch.nn, or the user's own."""
        if part.target not in _ACTIVATIONS:
            return None
        name, key, default = _ACTIVATIONS[part.target]
        if name == "gelu" and part.values.get("approximate") == "tanh":
            name = "gelu_tanh"
        return Kind(self._activations[name], (float(part.values.get(key, default)),) if key else ())

    def head(self, name: str) -> Kind:
        """What makes the output that a loss takes of the last layer's, by the name that a loss's conf gives it."""
        return Kind(self._activations[_HEADS.get(name, "identity")])

    def loss(self, part: Component, task: str, outputs: int, *, soft: bool = False, smoothing: float = 0.0) -> Kind | None:
        """The loss of a run with that many outputs; None for one of the user's own.

        Args:
            soft: whether targets of classes are shares of each class while training.
            smoothing: by how much they are smoothed.
        """
        name = part.target.removeprefix(_LOSSES)
        if name == part.target:
            return None
        exclusive = TASKS[task].exclusive
        name, numbers = _loss(name, part.values, exclusive, outputs)
        if exclusive and name.startswith("weighted_"):
            numbers = [smoothing, *numbers]
        if exclusive and soft:
            name = f"soft_{name}"
        return Kind(self._losses[name], tuple(map(float, numbers))) if name in self._losses else None

    def fits(self, loss: Kind, targets: Array, output_shape: Sequence[int], *, soft: bool) -> bool:
        """Whether these targets [N, ...] are what a loss of such outputs reads: a user may insist on one that they are not."""
        reads = self._reads(loss.number)
        classes = targets.dtype.kind != "f" and not soft
        return bool(reads & 4) or (bool(reads & 1) == classes and (not reads & 2 or targets[0].size == math.prod(output_shape)))


def _loss(name: str, values: Mapping[str, Any], exclusive: bool, outputs: int) -> tuple[str, list[float]]:
    """The kernel's name of a loss with these hyperparameters, and its numbers as native/losses.h lists them."""
    match name:
        case "huber":
            return name, [values.get("delta", 1.0)]
        case "quantile":
            tau = values.get("tau", 0.5)
            return ("quantiles", [*tau]) if isinstance(tau, list | tuple) else (name, [tau])
        case "bce_with_logits" | "cross_entropy" | "nll":
            weight = values.get("pos_weight" if name == "bce_with_logits" else "class_weight")
            return (name, []) if weight is None else (f"weighted_{name}", _each(weight, outputs))
        case "hinge":
            return f"{'class_' * exclusive}hinge{'_squared' * bool(values.get('squared', False))}", []
        case "focal":
            gamma, alpha = values.get("gamma", 2.0), values.get("alpha")
            weight = _each(1.0 if alpha is None else alpha, outputs)
            if exclusive:
                return "class_focal", [gamma, *weight]
            return name, [gamma, *weight, *([1.0] * outputs if alpha is None else [1 - each for each in weight])]
        case "dice" | "dice_cross_entropy":
            fraction = [values.get("weight", 0.5)] if name == "dice_cross_entropy" else []
            return f"{'whole_' * bool(values.get('background', False))}{name}", [values.get("smooth", 1.0), *fraction]
        case "cosine_embedding":
            return name, [values.get("margin", 0.0)]
        case "triplet_margin":
            return name, [values.get("margin", 1.0), values.get("p", 2.0)]
        case _:
            return name, []


def _each(weight: float | Sequence[float], outputs: int) -> list[float]:
    """One number for each output."""
    return [*weight] if isinstance(weight, list | tuple) else [cast(float, weight)] * outputs
