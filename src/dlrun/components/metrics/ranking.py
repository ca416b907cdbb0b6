"""Areas under curves by one sort of all runs at once.

Shapes: R runs, N rows.
"""

from typing import Any

import numpy as np

from dlrun.components.arrays import Array, quiet

_FORMS: dict[
    Any, tuple[Any, int]
] = {  # of a float: the integer of its size, and how many bits of it leave room for a sign and a class
    np.dtype(np.float32): (np.int32, 30),
    np.dtype(np.float64): (np.int64, 62),
}


@quiet
def auroc(score: Array, positive: Array) -> Array:
    """Share of (positive, negative) pairs in which the positive has the higher score, ties counted half. Mann & Whitney 1947.

    Args:
        score: [R, N], any numbers that rise with the probability of the positive class, infinite ones too. Best are those from
            before a sigmoid or softmax, which rounds large ones to the same probability.
        positive: [R, N], bool.

    Returns:
        [R], float64; NaN when a class is missing.
    """
    y, lower, positives_lower = _ranks(score, positive)
    positives = y.sum(1)
    negatives = y.shape[1] - positives
    # pairs with the negative lower + pairs with the negative not higher, over two: the ties come in once
    lower_negatives = ((lower - positives_lower) * y).sum(1)
    lower_positives = (positives_lower * (1 - y)).sum(1)
    found: Array = 0.5 * (1 + (lower_negatives - lower_positives) / (positives * negatives))
    return found


@quiet
def average_precision(score: Array, positive: Array) -> Array:
    """Sum over thresholds of (recall step) * precision; rows of equal score share a threshold. As in scikit-learn.

    Args:
        score: [R, N], as for ``auroc``.
        positive: [R, N], bool.

    Returns:
        [R], float64; NaN without positives.
    """
    y, lower, positives_lower = _ranks(score, positive)
    positives = y.sum(1, keepdims=True)
    precision = (positives - positives_lower) / (y.shape[1] - lower)
    found: Array = (precision * y).sum(1) / positives[:, 0]
    return found


def _ranks(score: Array, positive: Array) -> tuple[Array, Array, Array]:
    """Rows by rising score: their class (0 or 1), how many rows have a lower score, and how many of those are positive.

    The scores become integers in the same order, and the class rides along in an added lowest bit, so that a sort of plain
    integers (numpy's vectorized one, 40 times faster than an argsort) orders both.
    """
    key = (_ordered(score) << 1) | positive
    key.sort(axis=1)
    y, level = (key & 1).astype(np.int64), key >> 1
    opens = np.ones(level.shape, dtype=bool)  # a row that opens a group of equal scores
    np.not_equal(level[:, 1:], level[:, :-1], out=opens[:, 1:])
    lower = np.arange(y.shape[1])
    positives_lower = y.cumsum(1) - y
    # both counts grow along a row, so their running maximum over openings is their value at the group's opening
    return y, np.maximum.accumulate(lower * opens, axis=1), np.maximum.accumulate(positives_lower * opens, axis=1)


def _ordered(score: Array) -> Array:
    """Integers that are ordered and equal as the scores of each run are, with a bit to spare: [R, N], nothing is rounded.

    The bits of a positive float sort as it does. Counted from those of the run's smallest score that is not 0 they fit, with a
    sign, into all bits but one, unless scores differ by more than a factor of 2^127 (float32) or 2^1023 (float64), as with
    infinite ones. Then they are replaced by their ranks.
    """
    exact = np.ascontiguousarray(score if score.dtype in _FORMS else score.astype(np.float32))
    form, room = _FORMS[exact.dtype]
    size: Array = np.abs(exact).view(form)
    size[np.isnan(exact)] = 0  # such a run has no figure, and need not slow down the others
    if size.size == 0:
        return size
    least = np.where(size == 0, np.iinfo(form).max, size).min(1, keepdims=True)
    size -= least
    size += 1
    np.maximum(size, 0, out=size)  # 0 stays 0
    if int(size.max()) >= 1 << room:
        ranks = np.unique(exact + 0.0, return_inverse=True)[1]  # -0 + 0 is 0
        return ranks.reshape(exact.shape)
    return np.where(exact < 0, -size, size)
