"""Residual connections: what goes into some layers is added to what comes out of them. He et al. 2016, arXiv:1512.03385.

    fork    y = x, and remembers x           add    y = x + what the fork remembered

``{residual: [...]}`` in ``model.layers`` puts its layers between the two. In a pass the remembered values lie in a stack, since
residual connections may stand within others; the gradient goes back by way of what the two save.

Shapes: R runs, B batch rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dlrun.engine.layers.base import Layer, LayerType, Pass, Place, Sample, unfit
from dlrun.errors import InputError
from dlrun.lazy import Tensor


class Fork(Layer):
    """y = x, and x for the ``Add`` behind the layers between: [R, B, ...] to the same."""

    product = 0

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        around: list[Tensor] = []  # the gradient that comes back around the layers between
        pass_.forks.append((x, around))
        return x, around

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        around: Tensor = saved.pop()
        return grad + around


class Add(Layer):
    """y = x + x_0, where x_0 is what went into the layers since the fork: [R, B, ...] to the same."""

    product = 0

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        given, around = pass_.forks.pop()
        return x + given, around

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        saved.append(grad)
        return grad


def _fork(place: Place, size: None, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    if place.sample.words or place.sample.users:
        raise unfit("residual", "numbers", place.sample)
    return [Fork()], place.sample


def _add(place: Place, size: None, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    given, found = place.forks[-1], place.sample
    if given != found:
        raise InputError(
            f"model.layers: residual adds what goes in, of shape {list(given.shape)}, to what comes out, of shape "
            f"{list(found.shape)}; let its last layer put out shape {list(given.shape)}"
        )
    return [Add()], found


TYPES = (LayerType("fork", _fork, sized=False, written=False), LayerType("add", _add, sized=False, written=False))
