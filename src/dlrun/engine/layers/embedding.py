"""Embedding: a vector for every word.

Shapes: R runs, B batch rows, T places of a sequence, V words, E coordinates.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from dlrun.engine.layers.base import Layer, LayerType, Pass, Place, Sample, unfit
from dlrun.engine.models.layout import Shape
from dlrun.lazy import Tensor, torch


class Embedding(Layer):
    """y_t = W[x_t], and 0 where there is no word. x int64 [R, B, T], words numbered from 1; W [V, E] in every run.

    A word's vector is a linear map of the one input that is on, hence its fan-in of 1: by default it starts in [-1, 1].
    y is [R, B, E, T], with the coordinates as channels.
    """

    def __init__(self, words: int, size: int) -> None:
        self.size = size
        self.shapes = (Shape("weight", (words, size), "weight", 1, size),)

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        places = (x - 1).clamp(min=0).flatten(1).unsqueeze(2).expand(-1, -1, self.size)  # [R, B T, E]
        vectors = parameters[0].gather(1, places).view(*x.shape, self.size)
        return _kept(vectors, pass_.words).transpose(2, 3), (places, pass_.words)

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        places, words = saved
        of_vectors = _kept(grad.transpose(2, 3), words).flatten(1, 2)
        gradients[0].copy_(torch.zeros_like(gradients[0]).scatter_add_(1, places, of_vectors))
        return None


def _kept(vectors: Tensor, words: Tensor | None) -> Tensor:
    """Vectors [R, B, T, E], 0 where there is no word."""
    assert words is not None, "a model of words knows where they are"
    return vectors * words.unsqueeze(3)


def _embedding(place: Place, size: int, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    sample = place.sample
    if not sample.words:
        raise unfit("embedding", "sequences of words", sample)
    return [Embedding(sample.words, size)], Sample((size, *sample.shape), padded=not sample.users)


TYPES = (LayerType("embedding", _embedding),)
