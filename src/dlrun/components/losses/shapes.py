"""What all losses share: the mean over a run, and weights laid along the class axis.

Shapes: R runs, B batch rows, K outputs or classes. The class axis is always axis 2, whatever follows it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from dlrun.components.hyperparameters import Interval, Row
from dlrun.lazy import Tensor, torch

Weights = list[Annotated[float, Interval(0)]]  # one number a class, the same for all runs
Balanced = Literal[
    "balanced"
]  # in a config: weights that are fitted on training rows before a loss is called (see data/balance.py)

_TRANSPOSE_FROM = 4096  # entries; below that, the extra copies cost more than they save


def entries(values: Tensor) -> int:
    """How many entries one run has: the product of all sizes but the first."""
    return values.shape[1:].numel()


def along_classes(weights: Sequence[Row] | Tensor | Balanced, output: Tensor) -> Tensor:
    """One number a class as a tensor that broadcasts along axis 2 of ``output``: [K, 1, ...]. A tensor is taken as it is.

    Whoever calls a loss in every step lays its lists out once, since a list waits for a GPU each time it is sent there.
    """
    assert not isinstance(weights, str), "balanced weights are fitted before a loss is called"
    return weights if isinstance(weights, Tensor) else laid_out(weights, output.dim(), output.dtype, output.device)


def laid_out(numbers: Sequence[Row], dimensions: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A list along axis 2 of an output with that many dimensions: [K, 1, ...]."""
    return torch.tensor(numbers, dtype=dtype, device=device).view(-1, *(1,) * (dimensions - 3))


def softmax(output: Tensor) -> Tensor:
    """Softmax over axis 2: [R, B, K, ...] -> the same shape; the strides may differ.

    Over a short last axis a CPU works a row at a time, 8 times slower than along a strided axis, so that axis moves first.
    """
    if _turned(output):
        return output.transpose(1, 2).contiguous().softmax(1).transpose(1, 2)
    return output.softmax(2)


def log_softmax(output: Tensor) -> Tensor:
    """The logarithm of softmax over axis 2, without underflow: [R, B, K, ...] -> the same shape; the strides may differ."""
    if _turned(output):
        return output.transpose(1, 2).contiguous().log_softmax(1).transpose(1, 2)
    return output.log_softmax(2)


def _turned(output: Tensor) -> bool:
    return output.dim() == 3 and output.numel() >= _TRANSPOSE_FROM and output.is_cpu


def holds_classes(output: Tensor, target: Tensor) -> bool:
    """True when ``target`` holds class indices [R, B, ...], False when it holds a probability for each class [R, B, K, ...]."""
    return target.dim() < output.dim()
