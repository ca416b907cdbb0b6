"""Pairs and triplets of handwritten digits, for embeddings.

An image is in one pair or triplet at most, so that no split shares an image between training and test. Each image lies under a
light of its own, which says nothing of the digit and yet is most of the distance between two images: what an embedding has to
learn is to see past it.

Shapes: N rows, M members, 64 pixels an image. ``seed`` draws pairs and light and is no run's seed.
"""

from typing import Annotated

import torch
from torch import Tensor

from dlrun.components.hyperparameters import Interval
from dlrun.data.dataset import Amount, Data, Seed
from dlrun.data.sources.draws import normal, permutation, settled
from dlrun.data.sources.real import digits

_PIXELS = tuple(f"pixel {row} {column}" for row in range(8) for column in range(8))


def pairs(*, rows: Annotated[int, Interval(4, 898)] = 898, light: Amount = 4.0, seed: Seed = 0) -> Data:
    """Pairs of digits [N, 2, 64]: the same digit (y = +1) in half of them, different ones (y = -1) in the others.

    Args:
        light: l of ``_lit``; 0 for the images as they are.
    """
    source = digits()
    same, rest = _same_and_rest(source.y, rows // 2, seed)
    first, pool = rest[: rows - len(same)], rest[rows - len(same) :]
    different = torch.stack((first, _unlike(source.y, first, pool)), dim=1)
    member = torch.cat((same, different))
    y = torch.ones(rows, 1, dtype=torch.float64)
    y[len(same) :] = -1.0
    x, members = _lit(source.x.flatten(1)[member], light, seed), source.y[member]
    return Data("pairs", x, y, "similarity", 1, _PIXELS, ("same",), ("different", "same"), members=members)


def triplets(*, rows: Annotated[int, Interval(2, 599)] = 599, light: Amount = 4.0, seed: Seed = 0) -> Data:
    """Triplets [N, 3, 64]: an anchor, another image of the same digit, and one of a different digit; y is the anchor's digit.

    Args:
        light: l of ``_lit``; 0 for the images as they are.
    """
    source = digits()
    same, rest = _same_and_rest(source.y, rows, seed)
    member = torch.cat((same, _unlike(source.y, same[:, 0], rest)[:, None]), dim=1)
    x, label = _lit(source.x.flatten(1)[member], light, seed), source.y[same[:, 0]]
    return Data("triplets", x, label, "metric_learning", 1, _PIXELS, ("digit",), source.classes)


def _lit(images: Tensor, light: float, seed: int) -> Tensor:
    """Images [N, M, 64] + l (a + b u + c v): a, b, c ~ N(0, 1) of each image, u across and v down with mean 0 and variance 1."""
    side = torch.arange(8, dtype=torch.float64) - 3.5
    side = side / side.std(correction=0)
    directions = torch.stack((torch.ones(64, dtype=torch.float64), side.repeat(8), side.repeat_interleave(8)))
    return settled(images + light * normal(seed, 2, *images.shape[:2], 3) @ directions)


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
