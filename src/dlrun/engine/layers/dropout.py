"""Dropout.

Shapes: R runs, B batch rows.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dlrun import streams
from dlrun.engine.layers.base import Layer, Pass
from dlrun.lazy import Tensor


class Dropout(Layer):
    """y = x * mask / (1 - p) with a mask of ones of probability 1 - p, while training; y = x otherwise.

    Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov 2014. ``p`` is a float, or a column [R, 1] with one for each run.
    ``part`` tells the dropout layers of a model apart in the random stream.
    """

    random = True
    product = 0

    def __init__(self, p: float | Tensor, part: int) -> None:
        self.keep = (1 - p).flatten() if isinstance(p, Tensor) else 1 - p
        self.part = part

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        if not pass_.training or pass_.keys is None:
            return x, None
        kept = streams.bernoulli(streams.derive(pass_.keys, self.part), x[0].numel(), self.keep).to(x.dtype)
        scale = kept.mul_(1 / self.keep.unsqueeze(1) if isinstance(self.keep, Tensor) else 1 / self.keep).view(x.shape)
        return x * scale, scale

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        return grad if saved is None else grad * saved


def around(values: Mapping[str, Any]) -> Callable[[tuple[int, ...], int], Layer]:
    """The layer at an activation, from the hyperparameters of the regularizer."""
    return lambda shape, number: Dropout(values["p"], number)
