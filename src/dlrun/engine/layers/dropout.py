"""Dropout.

Shapes: R runs, B batch rows.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dlrun import streams
from dlrun.engine.layers.base import Column, Layer, Pass, column
from dlrun.lazy import Tensor


class Dropout(Layer):
    """y = x * mask / (1 - p) with a mask of ones of probability 1 - p, while training; y = x otherwise.

    Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov 2014. ``p`` is a float, or a column [R, 1] with one for each run.
    ``part`` tells the dropout layers of a model apart in the random stream.
    """

    random = True
    product = 0

    def __init__(self, p: float | Column, part: int) -> None:
        self.keep = 1 - p
        self._keep = column(self.keep)  # float64, so that a mask's threshold is that of the number itself in any cohort
        self.part = part

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        if not pass_.training or pass_.keys is None:
            return x, None
        keep = self._keep(x.device)
        probability = keep.flatten() if isinstance(keep, Tensor) else keep
        kept = streams.bernoulli(streams.derive(pass_.keys, self.part), x[0].numel(), probability).to(x.dtype)
        scale = kept.mul_(1 / keep).view(x.shape)
        return x * scale, scale

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        return grad if saved is None else grad * saved


def around(values: Mapping[str, Any]) -> Callable[[tuple[int, ...], int], Layer]:
    """The layer at an activation, from the hyperparameters of the regularizer."""
    return lambda shape, number: Dropout(values["p"], number)
