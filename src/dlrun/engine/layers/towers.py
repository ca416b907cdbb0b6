"""Layers for users and items: their vectors, a network for each of the two, and the inner product that says how well they match.

A sample is a pair of numbers, of a user and of an item. Behind the vectors it is [E, 2]: those of the user first.

Shapes: R runs, B batch rows, V users and items together, E coordinates, C channels, H outputs.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dlrun.engine.layers.base import Layer, LayerType, Pass, Place, Sample, unfit
from dlrun.engine.models.layout import Shape
from dlrun.lazy import Tensor, torch

_PAIR = 2


class Factors(Layer):
    """Vectors and biases of users and items, such that an inner product of the two is a matrix factorization.

    A user is (p_u, b_u, 1) and an item (q_i, 1, b_i), whose product is p_u q_i + b_u + b_i (Koren, Bell & Volinsky 2009). One
    that training does not know has a vector and a bias of 0. x int64 [R, B, 2], numbered from 1; vectors W [V, E] in every run,
    which start as those of a layer with E inputs, and biases [V], which start at 0 and are not penalized. y is [R, B, E + 2, 2].
    """

    def __init__(self, words: int, size: int) -> None:
        self.size = size
        self.shapes = (Shape("weight", (words, size), "weight", size, size), Shape("bias", (words,), "norm", value=0.0))

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        weight, bias = parameters
        known = (x > 0).unsqueeze(3).to(weight.dtype)  # [R, B, 2, 1]
        places = (x - 1).clamp(min=0).flatten(1)
        vectors = weight.gather(1, places.unsqueeze(2).expand(-1, -1, self.size)).view(*x.shape, self.size) * known
        biases = bias.gather(1, places).view(*x.shape, 1) * known
        ones = torch.ones_like(biases[:, :, :1])
        user = torch.cat([biases[:, :, :1], ones], 3)
        item = torch.cat([ones, biases[:, :, 1:]], 3)
        return torch.cat([vectors, torch.cat([user, item], 2)], 3).transpose(2, 3), (places, known)

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        places, known = saved
        of_vectors = (grad[:, :, : self.size].transpose(2, 3) * known).flatten(1, 2)
        of_biases = torch.stack([grad[:, :, self.size, 0], grad[:, :, self.size + 1, 1]], 2) * known.squeeze(3)
        index = places.unsqueeze(2).expand(-1, -1, self.size)
        gradients[0].copy_(torch.zeros_like(gradients[0]).scatter_add_(1, index, of_vectors))
        gradients[1].copy_(torch.zeros_like(gradients[1]).scatter_add_(1, places, of_biases.flatten(1)))
        return None


class Tower(Layer):
    """A linear map of the user's vector and another one of the item's: y_u = x_u W_u + b_u, y_i = x_i W_i + b_i.

    [R, B, C, 2] to [R, B, H, 2].
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        self.shapes = tuple(
            shape
            for whose in ("user", "item")
            for shape in (
                Shape(f"{whose}_weight", (inputs, outputs), "weight", inputs, outputs),
                Shape(f"{whose}_bias", (1, outputs), "bias", inputs, outputs),
            )
        )

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        each = [torch.baddbmm(parameters[2 * place + 1], x[..., place], parameters[2 * place]) for place in range(_PAIR)]
        return torch.stack(each, 3), x

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        for place in range(_PAIR):
            gradients[2 * place].copy_(torch.bmm(saved[..., place].transpose(1, 2), grad[..., place]))
            gradients[2 * place + 1].copy_(grad[..., place].sum(1, keepdim=True))
        if first:
            return None
        return torch.stack([torch.bmm(grad[..., place], parameters[2 * place].transpose(1, 2)) for place in range(_PAIR)], 3)


class Dot(Layer):
    """The inner product of the user's vector and the item's, and an offset: y = x_u x_i + c, [R, B, C, 2] to [R, B, 1]."""

    shapes = (Shape("bias", (1,), "norm", value=0.0),)

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        return x.prod(3).sum(2, keepdim=True) + parameters[0].unsqueeze(1), x

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        gradients[0].copy_(grad.sum(1))
        return None if first else grad.unsqueeze(3) * saved.flip(3)


def _factors(place: Place, size: int, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    if not place.sample.users:
        raise unfit("factors", "users and items", place.sample)
    return [Factors(place.sample.words, size)], Sample((size + 2, _PAIR))


def _tower(place: Place, size: int, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    return [Tower(_paired("tower", place.sample), size)], Sample((size, _PAIR))


def _dot(place: Place, size: None, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    _paired("dot", place.sample)
    return [Dot()], Sample((1,))


def _paired(key: str, sample: Sample) -> int:
    """How long the vectors of a user and an item are."""
    if len(sample.shape) != 2 or sample.shape[1] != _PAIR or sample.padded:
        raise unfit(key, "vectors of a user and an item, which embedding and factors make,", sample)
    return sample.shape[0]


TYPES = (LayerType("factors", _factors), LayerType("tower", _tower), LayerType("dot", _dot, sized=False, ends=True))
