"""Metrics of clusters: do they agree with classes that are known, whatever the clusters are called.

Both are of the table n_ij, how many rows of class i are in cluster j, with sums a_i and b_j. A run whose rows could not be
assigned to clusters, since it diverged, has NaN.

Shapes: R runs, N rows, C classes, K clusters.
"""

import numpy as np

from dlrun.components.arrays import Array, quiet, rows


@quiet
def ari(cluster: Array, target: Array, *, known: Array) -> Array:
    """Adjusted Rand index (Hubert & Arabie 1985): [R, N] -> [R]. 1 for equal partitions, 0 on average for random ones.

    (sum_ij C(n_ij, 2) - e) / ((sum_i C(a_i, 2) + sum_j C(b_j, 2)) / 2 - e), e = sum_i C(a_i, 2) sum_j C(b_j, 2) / C(N, 2).

    Args:
        cluster: of each row, int64 [R, N]; below 0 where it has none.
        target: not used.
        known: the class of each row, int64 [R, N], or [1, N] for all runs.

    Returns:
        [R], float64; 1 where both have one part alone, or a part for each row; NaN for no rows.
    """
    counts = _counts(cluster, known)
    pairs, of_classes, of_clusters = (_pairs(part).sum(1) for part in (rows(counts), counts.sum(2), counts.sum(1)))
    expected = of_classes * of_clusters / np.maximum(_pairs(counts.sum((1, 2))), 1)
    best = (of_classes + of_clusters) / 2
    found = np.where(best == expected, 1.0, (pairs - expected) / (best - expected))
    return _defined(found, cluster)


@quiet
def nmi(cluster: Array, target: Array, *, known: Array) -> Array:
    """Normalized mutual information: 2 I(class; cluster) / (H(class) + H(cluster)), [R, N] -> [R], from 0 to 1.

    Arguments as for ``ari``. 1 where both have one part alone.
    """
    counts = _counts(cluster, known)
    share = counts / np.maximum(counts.sum((1, 2), keepdims=True), 1)
    of_classes, of_clusters = _entropy(share.sum(2)), _entropy(share.sum(1))
    information = of_classes + of_clusters - _entropy(rows(share))
    both = of_classes + of_clusters
    found = np.where(both == 0, 1.0, np.clip(2 * information / both, 0.0, 1.0))
    return _defined(found, cluster)


def _counts(cluster: Array, known: Array) -> Array:
    """n_ij of every run, float64 [R, C, K]."""
    runs, count = cluster.shape
    if not count:
        return np.zeros((runs, 1, 1))
    classes, clusters = int(known.max()) + 1, max(int(cluster.max()) + 1, 1)
    cell = (np.arange(runs)[:, None] * classes + known) * clusters + np.maximum(cluster, 0)
    return np.bincount(cell.ravel(), minlength=runs * classes * clusters).reshape(runs, classes, clusters).astype(np.float64)


def _pairs(counts: Array) -> Array:
    """C(n, 2)."""
    found: Array = counts * (counts - 1) / 2
    return found


def _entropy(share: Array) -> Array:
    """- sum p log p over the last axis."""
    found: Array = -(share * np.log(np.where(share > 0, share, 1.0))).sum(-1)
    return found


def _defined(found: Array, cluster: Array) -> Array:
    """NaN for runs without rows, or with rows that are in no cluster."""
    return np.where((cluster < 0).any(1) | (cluster.shape[1] == 0), np.nan, found)
