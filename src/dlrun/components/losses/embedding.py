"""Losses on embeddings: vectors of things that belong together should lie close.

cosine_embedding judges pairs by their angle, triplet_margin judges triplets by their distances. Both leave their gradient to
autograd.

Shapes: R runs, B pairs or triplets, E coordinates of an embedding.
"""

from typing import Annotated

from dlrun.components.hyperparameters import Interval, NonNegative, Row
from dlrun.lazy import Tensor, torch

Cosine = Annotated[Row, Interval(-1, 1)]
NormOrder = Annotated[Row, Interval(1)]

_LEAST_SQUARE = 1e-12  # torch adds it to squared lengths, so that a zero vector has cosine 0
_OFFSET = 1e-6  # torch adds it to differences, so that the distance of equal vectors has a gradient


def cosine_embedding(output: Tensor, target: Tensor, *, margin: Cosine = 0.0) -> Tensor:
    """Mean of 1 - cos(a, b) for t = +1 and max(0, cos(a, b) - margin) for t = -1. As torch.nn.CosineEmbeddingLoss.

    Args:
        output: [R, B, 2, E], the two embeddings of each pair.
        target: t, [R, B, 1], +1 (alike) or -1 (different).
        margin: the cosine up to which a different pair costs nothing; a column is [R, 1, 1, 1].

    Returns:
        [R, B].
    """
    first, second = output[:, :, 0], output[:, :, 1]
    squares = (first.square().sum(2) + _LEAST_SQUARE) * (second.square().sum(2) + _LEAST_SQUARE)
    cosine = (first * second).sum(2) * squares.rsqrt()
    excess = torch.relu(cosine - (margin.flatten(1) if isinstance(margin, Tensor) else margin))
    return torch.where(target.squeeze(2) > 0, 1 - cosine, excess)


def triplet_margin(output: Tensor, target: Tensor, *, margin: NonNegative = 1.0, p: NormOrder = 2.0) -> Tensor:
    """Mean of max(0, ||a - b||_p - ||a - c||_p + margin), anchor a, positive b, negative c. As torch.nn.TripletMarginLoss.

    Args:
        output: [R, B, 3, E], the embeddings of anchor, positive and negative.
        target: not used: the order within a triplet says all.
        margin: how much farther the negative must be than the positive; a column is [R, 1, 1, 1].
        p: the norm; a column is [R, 1, 1, 1].

    Returns:
        [R, B], in units of distance.
    """
    difference = output[:, :, :1] - output[:, :, 1:] + _OFFSET
    distance = difference.abs().pow(p).sum(3, keepdim=True).pow(1 / p)
    return torch.relu(distance[:, :, :1] - distance[:, :, 1:] + margin)
