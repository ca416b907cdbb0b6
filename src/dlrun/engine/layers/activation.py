"""Activations, with what regularizers put around them.

Shapes: R runs, B batch rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.components.activations import Activation
from dlrun.engine.components import Group, Mosaic
from dlrun.engine.layers.base import Layer, LayerType, Pass, Place, Sample, unfit
from dlrun.engine.models.layout import Shape
from dlrun.errors import InputError
from dlrun.lazy import Tensor, torch


class Pointwise(Layer):
    """An activation, which may be another one for every run. Each group of rows is computed by its own function.

    ``activations`` pairs each group with its function. Where the function has no explicit derivative, or the runs learn its
    hyperparameters (``learned`` names them), autograd differentiates it alone.
    """

    product = 0

    def __init__(
        self,
        activations: Sequence[tuple[Group, Activation]],
        learned: Sequence[str] = (),
        start: NDArray[np.float64] | None = None,
    ) -> None:
        self.activations = activations
        self._mosaic = Mosaic([group.rows for group, _ in activations])
        self.learned = tuple(learned)
        if learned:
            self.shapes = (Shape("parameters", (len(learned),), "activation", value=0.0 if start is None else start),)

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        if len(self.activations) == 1:
            y, saved = self._forward(*self.activations[0], parameters, x, pass_)
            return y, [saved]
        found = [
            self._forward(group, activation, [group.rows.take(p) for p in parameters], group.rows.take(x), pass_)
            for group, activation in self.activations
        ]
        return self._mosaic.join([y for y, _ in found], x), [saved for _, saved in found]

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        if len(self.activations) == 1:
            dx, learned = self._backward(*self.activations[0], grad, saved[0])
            if learned is not None:
                gradients[0].copy_(learned)
            return dx
        pieces = []
        for (group, activation), save in zip(self.activations, saved, strict=True):
            dx, learned = self._backward(group, activation, group.rows.take(grad), save)
            pieces.append(dx)
            if learned is not None:
                group.rows.put(gradients[0], learned)
        return self._mosaic.join(pieces, grad)

    def slope(self, group: Group, activation: Activation, saved: Any) -> Tensor:
        """The derivative of an elementwise activation at every value of a saved pass."""
        return self._backward(group, activation, torch.ones_like(saved[1]), saved)[0]

    def _forward(
        self, group: Group, activation: Activation, parameters: Sequence[Tensor], x: Tensor, pass_: Pass
    ) -> tuple[Tensor, Any]:
        values = group.shaped(x.dim())
        if activation.backward is not None and not self.learned:
            y = activation.forward(x, **values)
            return y, (x, y, values)
        if not pass_.training:
            return activation.forward(x, **values | self._columns(parameters, x.dim())), None
        with torch.enable_grad():
            leaves = [leaf.detach().requires_grad_() for leaf in (x, *parameters)]
            y = activation.forward(leaves[0], **values | self._columns(leaves[1:], x.dim()))
        return y.detach(), (leaves, y)

    def _backward(self, group: Group, activation: Activation, grad: Tensor, saved: Any) -> tuple[Tensor, Tensor | None]:
        if activation.backward is not None and not self.learned:
            x, y, values = saved
            return activation.backward(grad, x, y, **values), None
        leaves, y = saved
        with torch.enable_grad():  # with grad as an argument of its own, autograd would import sympy
            total = (y * grad).sum()
        dx, *learned = torch.autograd.grad(total, leaves, retain_graph=True)  # diagnostics ask twice
        return dx, learned[0] if learned else None

    def _columns(self, parameters: Sequence[Tensor], dimensions: int) -> dict[str, Tensor]:
        if not self.learned:
            return {}
        shape = (-1, *[1] * (dimensions - 1))
        return {name: parameters[0][:, i].view(shape) for i, name in enumerate(self.learned)}


def _activation(place: Place, size: None, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    shape, number = place.sample.shape, place.number
    if place.sample.words:
        raise unfit("activation", "numbers", place.sample)
    if place.sample.padded and place.around.before:
        raise InputError(
            "regularizer.batch_norm: would count the padding behind short sequences; put mean before the activation, or leave "
            "batch_norm out"
        )
    before = [make(shape, number) for make in place.around.before]
    return [*before, place.activation(), *(make(shape, number) for make in place.around.after)], place.sample


TYPES = (LayerType("activation", _activation, sized=False),)
