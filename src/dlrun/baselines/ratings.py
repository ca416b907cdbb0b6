"""Baselines of ratings: means of users and items, and a singular value decomposition of what they leave.

    user_mean, item_mean    the mean rating of the user, or of the item, in training rows
    biases                  a number for each user and one for each item, which add up; each damped towards 0
    svd                     these, and the first singular vectors (scipy's) of the matrix of what they leave, 0 without a rating

A user or an item without training rows gets what is left without it: the mean of all ratings, if both are such.

Shapes: S splits, n rows, V users and items together; x int64 [S, n, 2], y [S, n, 1].
"""

import numpy as np

from dlrun.baselines.sample import Predict, Sample, chosen
from dlrun.components.arrays import Array, quiet

DAMPING = (0.0, 1.0, 3.0, 10.0, 30.0)  # ratings that say 0, added to those of each user and item
RANKS = (1, 2, 4, 8, 16)
_SWEEPS = 20


def user_mean(sample: Sample) -> Predict:
    """The mean rating of the user."""
    return _added(sample, _effects(sample, 0.0, (0,), 1))


def item_mean(sample: Sample) -> Predict:
    """The mean rating of the item."""
    return _added(sample, _effects(sample, 0.0, (1,), 1))


def biases(sample: Sample) -> Predict:
    """Min (r - mean - b_u - b_i)^2 + damping (|b_u|^2 + |b_i|^2); the damping is chosen."""
    return chosen(sample, [_added(sample, _effects(sample, damping, (1, 0), _SWEEPS)) for damping in DAMPING])


def svd(sample: Sample) -> Predict:
    """Biases, and a product of low rank of what they leave; the rank is chosen."""
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import svds

    base = biases(sample)
    left = (sample.y - base(sample.x))[..., 0]
    shape = sample.users + 1, sample.words - sample.users + 1
    rank = min(max(RANKS), min(shape) - 1)
    user, item = _pair(sample, sample.x)
    vectors = []
    for values, row, column in zip(left, user, item, strict=True):
        start = np.ones(min(shape))
        u, s, v = svds(csr_array((values, (row, column)), shape=shape), k=rank, v0=start)
        vectors.append((u[:, ::-1] * s[::-1], v[::-1].T))
    of_users, of_items = (np.stack([pair[place] for pair in vectors]) for place in (0, 1))

    def ranked(count: int) -> Predict:
        def predict(x: Array) -> Array:
            rows, columns = _pair(sample, x)
            product = _of_each(of_users[..., :count], rows) * _of_each(of_items[..., :count], columns)
            found: Array = base(x) + product.sum(2, keepdims=True)
            return found

        return predict

    return chosen(sample, [ranked(count) for count in RANKS if count <= rank] or [base])


def _pair(sample: Sample, x: Array) -> tuple[Array, Array]:
    """The places of user and item in a matrix whose first row and column, those of unknown ones, are empty."""
    return x[..., 0], np.maximum(x[..., 1] - sample.users, 0)


def _of_each(vectors: Array, places: Array) -> Array:
    """[S, m, k] and [S, n] to [S, n, k]."""
    return np.take_along_axis(vectors, places[..., None], 1)


@quiet
def _effects(sample: Sample, damping: float, columns: tuple[int, ...], sweeps: int) -> Array:
    """What each user and item adds to the mean, [S, V + 1], found for those of one column at a time; 0 for unknown ones."""
    y = (sample.y - sample.y.mean(1, keepdims=True))[..., 0]
    effects = np.zeros((len(y), sample.words + 1))

    def totals(places: Array, values: Array | None = None) -> Array:
        flat = places + np.arange(len(y))[:, None] * effects.shape[1]
        return np.bincount(flat.ravel(), None if values is None else values.ravel(), effects.size).reshape(effects.shape)

    for _ in range(sweeps):
        for column in columns:
            mine, other = sample.x[..., column], sample.x[..., 1 - column]
            counts = totals(mine)
            found = totals(mine, y - np.take_along_axis(effects, other, 1)) / (counts + damping)
            effects = np.where(counts > 0, found, effects)
    return effects


def _added(sample: Sample, effects: Array) -> Predict:
    centre = sample.y.mean(1, keepdims=True)
    split = np.arange(len(effects))[:, None, None]
    return lambda x: centre + effects[split, x].sum(2, keepdims=True)
