"""What all losses share: the mean over a run, and weights laid along the class axis.

Shapes: R runs, B batch rows, K outputs or classes. The class axis is always axis 2, whatever follows it.
"""

from typing import Annotated

import torch
from torch import Tensor

from dlrun.components.hyperparameters import Interval

Weights = list[Annotated[float, Interval(0)]]  # one number a class, the same for all runs

_TRANSPOSE_FROM = 4096  # entries; below that, the extra copies cost more than they save


def per_run(values: Tensor) -> Tensor:
    """The mean over everything but the runs: [R, ...] -> [R]."""
    return values.flatten(1).mean(1)


def entries(values: Tensor) -> int:
    """How many entries one run has: the product of all sizes but the first."""
    return values.shape[1:].numel()


def along_classes(weights: Weights, output: Tensor) -> Tensor:
    """One number a class as a tensor that broadcasts along axis 2 of ``output``: [K, 1, ...]."""
    return torch.tensor(weights, dtype=output.dtype, device=output.device).view(-1, *(1,) * (output.dim() - 3))


def softmax(output: Tensor) -> Tensor:
    """Softmax over axis 2: [R, B, K, ...] -> the same shape; the strides may differ.

    Over a short last axis torch works a row at a time, 8 times slower than along a strided axis, so that axis moves first.
    """
    if output.dim() == 3 and output.numel() >= _TRANSPOSE_FROM:
        return output.transpose(1, 2).contiguous().softmax(1).transpose(1, 2)
    return output.softmax(2)


def log_softmax(output: Tensor) -> Tensor:
    """The logarithm of softmax over axis 2, without underflow: [R, B, K, ...] -> the same shape; the strides may differ."""
    if output.dim() == 3 and output.numel() >= _TRANSPOSE_FROM:
        return output.transpose(1, 2).contiguous().log_softmax(1).transpose(1, 2)
    return output.log_softmax(2)


def holds_classes(output: Tensor, target: Tensor) -> bool:
    """True when ``target`` holds class indices [R, B, ...], False when it holds a probability for each class [R, B, K, ...]."""
    return target.dim() < output.dim()
