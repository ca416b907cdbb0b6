"""Metrics of embeddings: do vectors of the same class lie together.

Shapes: R runs, N rows, E coordinates. Pairs are [R, N, 2, E], triplets [R, N, 3, E]; every metric gives [R].
"""

import numpy as np

from dlrun.components.arrays import Array, mean, rows
from dlrun.components.metrics import ranking
from dlrun.components.metrics.confidence import nan_for_nan

_BLOCK = 1 << 24  # distances held at a time
_SHORTEST = 1e-8  # as long as this counts a vector of a pair that is shorter


@nan_for_nan
def pair_auroc(embedding: Array, target: Array) -> Array:
    """Area under the ROC curve of the cosine as a score for pairs that are alike: [R, N, 2, E], +1 or -1 [R, N, 1] -> [R]."""
    return ranking.auroc(*_pairs(embedding, target))


@nan_for_nan
def pair_average_precision(embedding: Array, target: Array) -> Array:
    """Average precision of the cosine as a score for pairs that are alike: [R, N, 2, E], +1 or -1 [R, N, 1] -> [R]."""
    return ranking.average_precision(*_pairs(embedding, target))


@nan_for_nan
def triplet_accuracy(embedding: Array, target: Array) -> Array:
    """Share of triplets whose anchor lies nearer to the positive than to the negative: [R, N, 3, E] -> [R].

    ``target`` is not used: the order within a triplet says all.
    """
    difference = (embedding[:, :, :1] - embedding[:, :, 1:]).astype(np.float64, copy=False)
    distance = np.square(difference).sum(3)
    return mean(distance[:, :, 0] < distance[:, :, 1])


@nan_for_nan
def recall_at_1(embedding: Array, target: Array) -> Array:
    """Share of rows whose nearest other row (Euclidean) has the same class. Rows that are alone in their class are left out.

    Args:
        embedding: [R, N, E], or triplets [R, N, 3, E], of which the anchors are taken.
        target: classes, int64 [R, N].

    Returns:
        [R], float64; NaN when no class has two rows.
    """
    vectors = embedding[:, :, 0] if embedding.ndim == 4 else embedding
    # in float32 the distances below would tie where clusters are small beside what lies between
    vectors = vectors.astype(np.float64, copy=False)
    vectors = vectors - vectors.sum(1, keepdims=True) / np.float64(vectors.shape[1])
    return _recall(vectors, np.square(vectors).sum(2), target)


@nan_for_nan
def pair_recall_at_1(embedding: Array, target: Array, *, members: Array) -> Array:
    """Share of members of pairs whose nearest other one, by the highest cosine, has the same class.

    All members of all pairs are candidates, a query's own partner too. Those that are alone in their class are left out. The
    cosine of a vector of zeros is 0.

    Args:
        embedding: pairs [R, N, 2, E].
        target: not used: a pair may be different for another reason than its classes.
        members: the class of each member, int64 [R, N, 2], or [1, N, 2] for all runs.

    Returns:
        [R], float64; NaN when no class has two members.
    """
    vectors = embedding.reshape(len(embedding), -1, embedding.shape[3]).astype(np.float64, copy=False)
    units = vectors / _length(vectors, np.finfo(np.float64).tiny)
    return _recall(units, np.zeros(units.shape[:2]), rows(members))


def _recall(vectors: Array, offset: Array, target: Array) -> Array:
    """Share of rows whose nearest other one has the same class, of rows that are not alone in it; see ``_nearest``."""
    runs, count = vectors.shape[:2]
    if not count:
        return np.full(runs, np.nan)
    classes = np.broadcast_to(target, (runs, count))
    together = max(1, _BLOCK // count**2)
    parts = [slice(start, start + together) for start in range(0, runs, together)]
    nearest = np.concatenate([_nearest(vectors[part], offset[part]) for part in parts])
    hit = np.take_along_axis(classes, nearest, 1) == classes
    number = np.unique(classes, return_inverse=True)[1].reshape(classes.shape)
    number += np.arange(runs)[:, None] * (number.max() + 1)
    counted = np.bincount(number.ravel())[number] > 1
    found: Array = np.count_nonzero(hit & counted, axis=1) / np.count_nonzero(counted, axis=1)
    return found


def _nearest(vectors: Array, offset: Array) -> Array:
    """The other row b for which offset_b - 2 a.b is least, for each row a: [R, N, E], [R, N] -> int64 [R, N].

    With ||b||^2 for offset that is the nearest one, since ||a - b||^2 differs from it by ||a||^2; with 0 the one of the largest
    product.
    """
    count = vectors.shape[1]
    together = max(1, _BLOCK // count)
    found = []
    for start in range(0, count, together):
        query = vectors[:, start : start + together]
        distance = query @ vectors.transpose(0, 2, 1)
        distance *= -2.0
        distance += offset[:, None, :]
        own = np.arange(start, start + query.shape[1])
        distance[:, own - start, own] = np.inf
        found.append(distance.argmin(2))
    return np.concatenate(found, axis=1)


def _pairs(embedding: Array, target: Array) -> tuple[Array, Array]:
    """The cosine of each pair, and whether they are alike: [R, N] and bool [R, N]."""
    first, second = (embedding[:, :, member].astype(np.float64, copy=False) for member in (0, 1))
    cosine = (first / _length(first, _SHORTEST) * (second / _length(second, _SHORTEST))).sum(2)
    return cosine, np.broadcast_to(rows(target) > 0, cosine.shape)


def _length(vectors: Array, least: float) -> Array:
    """The length of each vector, at least ``least``: [..., E] -> [..., 1]."""
    found: Array = np.maximum(np.sqrt(np.square(vectors).sum(-1, keepdims=True)), least)
    return found
