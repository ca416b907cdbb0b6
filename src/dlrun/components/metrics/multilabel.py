"""Multilabel metrics; a label is predicted where its margin is above 0, that is its probability above the threshold.

Shapes: R runs, N rows, K labels. Margin (log odds minus those of the threshold) and target (0 or 1) are [R, N, K]; every metric
gives [R].
"""

import numpy as np

from dlrun.components.arrays import Array, mean, nanmean
from dlrun.components.metrics.confidence import nan_for_nan


@nan_for_nan
def micro_f1(margin: Array, target: Array) -> Array:
    """2 TP / (2 TP + FP + FN) with the counts of all labels together. NaN without positives, true or predicted."""
    hits, both = (counts.sum(1) for counts in _counts(margin, target))
    found: Array = 2 * hits / both
    return found


@nan_for_nan
def macro_f1(margin: Array, target: Array) -> Array:
    """Mean over labels of 2 TP / (2 TP + FP + FN); labels that are neither there nor predicted are left out."""
    hits, both = _counts(margin, target)
    return nanmean(2 * hits / both)


@nan_for_nan
def hamming(margin: Array, target: Array) -> Array:
    """Hamming loss: share of labels that are wrong."""
    return mean((margin > 0) != (target > 0.5))


def _counts(margin: Array, target: Array) -> tuple[Array, Array]:
    """Rows of each label that are predicted rightly, and those that are predicted plus those that are there: two of [R, K]."""
    chosen, actual = margin > 0, np.broadcast_to(target > 0.5, margin.shape)
    return np.count_nonzero(chosen & actual, axis=1), np.count_nonzero(chosen, axis=1) + np.count_nonzero(actual, axis=1)
