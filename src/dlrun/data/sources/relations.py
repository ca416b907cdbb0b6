"""Pairs and triplets of handwritten digits, for embeddings.

An image is in one pair or triplet at most, so that no split shares an image between training and test. Each image lies under a
light of its own, which says nothing of the digit and yet is most of the distance between two images: what an embedding has to
learn is to see past it.

Shapes: N rows, M members, 64 pixels an image. ``seed`` draws pairs and light and is no run's seed.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from dlrun.components.hyperparameters import Interval
from dlrun.data.dataset import Amount, Data, Seed
from dlrun.data.sources.draws import normal, permutation, settled
from dlrun.data.sources.real import digits

Numbers = NDArray[np.int64]

_PIXELS = tuple(f"pixel {row} {column}" for row in range(8) for column in range(8))


def pairs(*, rows: Annotated[int, Interval(4, 898)] = 898, light: Amount = 4.0, seed: Seed = 0) -> Data:
    """Pairs of digits [N, 2, 64]: the same digit (y = +1) in half of them, different ones (y = -1) in the others.

    Args:
        light: l of ``_lit``; 0 for the images as they are.
    """
    source = digits()
    same, rest = _same_and_rest(source.y, rows // 2, seed)
    first, pool = rest[: rows - len(same)], rest[rows - len(same) :]
    different = np.stack((first, _unlike(source.y, first, pool)), 1)
    member = np.concatenate((same, different))
    y = np.ones((rows, 1))
    y[len(same) :] = -1.0
    x, members = _lit(source.x.reshape(-1, 64)[member], light, seed), source.y[member]
    return Data("pairs", x, y, "similarity", 1, _PIXELS, ("same",), ("different", "same"), members=members)


def triplets(*, rows: Annotated[int, Interval(2, 599)] = 599, light: Amount = 4.0, seed: Seed = 0) -> Data:
    """Triplets [N, 3, 64]: an anchor, another image of the same digit, and one of a different digit; y is the anchor's digit.

    Args:
        light: l of ``_lit``; 0 for the images as they are.
    """
    source = digits()
    same, rest = _same_and_rest(source.y, rows, seed)
    member = np.concatenate((same, _unlike(source.y, same[:, 0], rest)[:, None]), 1)
    x, label = _lit(source.x.reshape(-1, 64)[member], light, seed), source.y[same[:, 0]]
    return Data("triplets", x, label, "metric_learning", 1, _PIXELS, ("digit",), source.classes)


def _lit(images: NDArray[np.float64], light: float, seed: int) -> NDArray[np.float64]:
    """Images [N, M, 64] + l (a + b u + c v): a, b, c ~ N(0, 1) of each image, u across and v down with mean 0 and variance 1."""
    side = np.arange(8) - 3.5
    side = side / side.std()
    across, down = np.tile(side, 8), side.repeat(8)
    a, b, c = np.moveaxis(normal(seed, 2, *images.shape[:2], 3), 2, 0)[..., None]
    return settled(images + light * (a + c * down + b * across))  # a product of matrices has other last bits on each processor


def _same_and_rest(labels: Numbers, count: int, seed: int) -> tuple[Numbers, Numbers]:
    """``count`` pairs of images of one digit [count, 2], and all other images, both in random order."""
    order = permutation(seed, 0, len(labels))
    by_digit = [order[labels[order] == digit] for digit in range(10)]
    candidates = np.concatenate([images[: len(images) // 2 * 2].reshape(-1, 2) for images in by_digit])
    same = candidates[permutation(seed, 1, len(candidates))[:count]]
    used = np.zeros(len(labels), dtype=np.bool_)
    used[same] = True
    return same, order[~used[order]]


def _unlike(labels: Numbers, first: Numbers, pool: Numbers) -> Numbers:
    """For each image of ``first`` another from the larger ``pool``, of a different digit: the pool with a few exchanges."""
    left = np.full_like(pool, -1)
    left[: len(first)] = labels[first]
    pool, right = pool.copy(), labels[pool]
    for i in np.flatnonzero(left == right).tolist():
        if left[i] == right[i]:  # an earlier exchange may have mended it
            other = int(np.flatnonzero((left[i] != right) & (left != right[i]))[0])
            for values in (pool, right):
                values[[i, other]] = values[[other, i]]
    return pool[: len(first)]
