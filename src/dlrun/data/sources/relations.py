"""Pairs and triplets of handwritten digits, for embeddings.

An image is in one pair or triplet at most, so that no split shares an image between training and test.

Shapes: N rows, 64 pixels an image. ``seed`` draws the pairs and is no run's seed.
"""

from typing import Annotated

import torch
from torch import Tensor

from dlrun.components.hyperparameters import Interval
from dlrun.data.dataset import Data, Seed
from dlrun.data.sources.draws import permutation
from dlrun.data.sources.real import digits

_PIXELS = tuple(f"pixel {row} {column}" for row in range(8) for column in range(8))


def pairs(*, rows: Annotated[int, Interval(4, 898)] = 898, seed: Seed = 0) -> Data:
    """Pairs of digits [N, 2, 64]: the same digit (y = +1) in half of them, different ones (y = -1) in the others."""
    source = digits()
    same, rest = _same_and_rest(source.y, rows // 2, seed)
    first, pool = rest[: rows - len(same)], rest[rows - len(same) :]
    different = torch.stack((first, _unlike(source.y, first, pool)), dim=1)
    member = torch.cat((same, different))
    y = torch.ones(rows, 1, dtype=torch.float64)
    y[len(same) :] = -1.0
    return Data("pairs", source.x.flatten(1)[member], y, "similarity", 1, _PIXELS, ("same",), ("different", "same"))


def triplets(*, rows: Annotated[int, Interval(2, 599)] = 599, seed: Seed = 0) -> Data:
    """Triplets [N, 3, 64]: an anchor, another image of the same digit, and one of a different digit; y is the anchor's digit."""
    source = digits()
    same, rest = _same_and_rest(source.y, rows, seed)
    member = torch.cat((same, _unlike(source.y, same[:, 0], rest)[:, None]), dim=1)
    label = source.y[same[:, 0]]
    return Data("triplets", source.x.flatten(1)[member], label, "metric_learning", 1, _PIXELS, ("digit",), source.classes)


def _same_and_rest(labels: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """``count`` pairs of images of one digit [count, 2], and all other images, both in random order."""
    order = permutation(seed, 0, len(labels))
    by_digit = [order[labels[order] == digit] for digit in range(10)]
    candidates = torch.cat([images[: len(images) // 2 * 2].reshape(-1, 2) for images in by_digit])
    same = candidates[permutation(seed, 1, len(candidates))[:count]]
    used = torch.zeros(len(labels), dtype=torch.bool)
    used[same.flatten()] = True
    return same, order[~used[order]]


def _unlike(labels: Tensor, first: Tensor, pool: Tensor) -> Tensor:
    """For each image of ``first`` another from the larger ``pool``, of a different digit: the pool with a few exchanges."""
    left = torch.full_like(pool, -1)
    left[: len(first)] = labels[first]
    pool, right = pool.clone(), labels[pool]
    for i in (left == right).nonzero()[:, 0].tolist():
        if left[i] == right[i]:  # an earlier exchange may have mended it
            other = int(((left[i] != right) & (left != right[i])).nonzero()[0])
            for values in (pool, right):
                values[[i, other]] = values[[other, i]]
    return pool[: len(first)]
