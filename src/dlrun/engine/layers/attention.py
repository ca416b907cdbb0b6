"""Attention: every place of a sequence looks at all others. Vaswani et al. 2017, arXiv:1706.03762.

Shapes: R runs, B batch rows, C channels, T places of a sequence, A heads of C / A channels each.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from dlrun.engine.layers.base import Layer, LayerType, Pass, Place, Sample, unfit
from dlrun.engine.models.layout import Shape
from dlrun.errors import InputError
from dlrun.lazy import Tensor, torch


class Attention(Layer):
    """y = x + W_o [head_1 ... head_A] + b_o, head = softmax(q k^T / sqrt(C / A)) v: [R, B, C, T] -> [R, B, C, T].

    q, k and v are linear maps of each place. Without the x in front, it is torch.nn.MultiheadAttention of a sequence with itself,
    whose parameters have the same shapes: in_proj_weight [3 C, C] has the rows of q, k and v one below the other. With
    ``padded`` no place looks at one without a word, and y is 0 there.
    """

    def __init__(self, channels: int, *, heads: int = 1, padded: bool = False) -> None:
        self.heads, self.padded = heads, padded
        self.shapes = (
            Shape("in_proj_weight", (3 * channels, channels), "weight", channels, channels, units_first=True),
            Shape("in_proj_bias", (3 * channels,), "bias", channels, channels),
            Shape("out_proj_weight", (channels, channels), "weight", channels, channels, units_first=True),
            Shape("out_proj_bias", (channels,), "bias", channels, channels),
        )

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        in_weight, in_bias, out_weight, out_bias = parameters
        words = pass_.words if self.padded else None
        columns = x.transpose(1, 2).flatten(2)  # [R, C, B T]
        projected = torch.baddbmm(in_bias.unsqueeze(2), in_weight, columns)
        query, key, value = (self._heads(part, x) for part in projected.chunk(3, 1))  # [R B A, T, C / A]
        scores = torch.bmm(query, key.mT) / math.sqrt(query.shape[2])
        if words is not None:
            hidden = ~words.flatten(0, 1).repeat_interleave(self.heads, 0).unsqueeze(1)
            scores = scores.masked_fill(hidden, -math.inf)
        share = scores.softmax(2)
        mixed = self._columns(torch.bmm(share, value), x)
        y = x + torch.baddbmm(out_bias.unsqueeze(2), out_weight, mixed).view(len(x), -1, len(x[0]), x.shape[3]).transpose(1, 2)
        y = y if words is None else y * words.unsqueeze(2)
        return y, (columns, query, key, value, share, mixed, words)

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        columns, query, key, value, share, mixed, words = saved
        in_weight, _, out_weight, _ = parameters
        grad = grad if words is None else grad * words.unsqueeze(2)
        of_output = grad.transpose(1, 2).flatten(2)
        self._write(gradients[2:], of_output, mixed)
        of_heads = self._heads(torch.bmm(out_weight.mT, of_output), grad)
        of_share = torch.bmm(of_heads, value.mT)
        of_scores = share * (of_share - (of_share * share).sum(2, keepdim=True)) / math.sqrt(query.shape[2])
        parts = torch.bmm(of_scores, key), torch.bmm(of_scores.mT, query), torch.bmm(share.mT, of_heads)
        of_projected = torch.cat([self._columns(part, grad) for part in parts], 1)
        self._write(gradients[:2], of_projected, columns)
        if first:
            return None
        through = torch.bmm(in_weight.mT, of_projected).view(len(grad), -1, len(grad[0]), grad.shape[3])
        return grad + through.transpose(1, 2)

    @staticmethod
    def _write(gradients: Sequence[Tensor], of_output: Tensor, inputs: Tensor) -> None:
        """The gradients of a linear map of columns: [R, m, B T] with [R, n, B T]."""
        gradients[0].copy_(torch.bmm(of_output, inputs.mT))
        gradients[1].copy_(of_output.sum(2))

    def _heads(self, columns: Tensor, x: Tensor) -> Tensor:
        """Columns [R, C, B T] as sequences of each head [R B A, T, C / A]."""
        apart = columns.view(len(x), self.heads, -1, x.shape[1], x.shape[3])  # [R, A, C / A, B, T]
        return apart.permute(0, 3, 1, 4, 2).flatten(0, 2)

    def _columns(self, sequences: Tensor, x: Tensor) -> Tensor:
        """Sequences of each head [R B A, T, C / A] as columns [R, C, B T]."""
        apart = sequences.view(len(x), x.shape[1], self.heads, x.shape[3], -1)
        return apart.permute(0, 2, 4, 1, 3).flatten(3).flatten(1, 2)


class Positions(Layer):
    """y_t = x_t + p_t, with a vector p_t for each place that is trained; padding stays 0: [R, B, C, T] to the same."""

    def __init__(self, channels: int, length: int, *, padded: bool = False) -> None:
        self.padded = padded
        self.shapes = (Shape("weight", (channels, length), "weight", 1, channels),)

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        words = pass_.words.unsqueeze(2) if self.padded and pass_.words is not None else None
        added = parameters[0].unsqueeze(1)
        return x + (added if words is None else added * words), words

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        gradients[0].copy_((grad if saved is None else grad * saved).sum(1))
        return None if first else grad


def _attention(place: Place, size: int, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    sample = place.sample
    if len(sample.shape) != 2:
        raise unfit("attention", "signals or embedded words", sample)
    if sample.shape[0] % size:
        raise InputError(
            f"model.layers: attention: {size} heads cannot share {sample.shape[0]} channels evenly; "
            "take heads that divide the channels, such as attention: 1"
        )
    return [Attention(sample.shape[0], heads=size, padded=sample.padded)], sample


def _positions(place: Place, size: None, options: Mapping[str, int]) -> tuple[list[Layer], Sample]:
    sample = place.sample
    if len(sample.shape) != 2:
        raise unfit("positions", "signals or embedded words", sample)
    return [Positions(*sample.shape, padded=sample.padded)], sample


TYPES = (LayerType("attention", _attention, size=1), LayerType("positions", _positions, sized=False))
