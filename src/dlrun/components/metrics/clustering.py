"""Metrics of clusters: do they agree with classes that are known, whatever the clusters are called.

Both are of the table n_ij, how many rows of class i are in cluster j, with sums a_i and b_j. A run whose rows could not be
assigned to clusters, since it diverged, has NaN.

Shapes: R runs, N rows, C classes, K clusters.
"""

import torch
from torch import Tensor


def ari(cluster: Tensor, target: Tensor, *, known: Tensor) -> Tensor:
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
    pairs, of_classes, of_clusters = (_pairs(part).sum(1) for part in (counts.flatten(1), counts.sum(2), counts.sum(1)))
    expected = of_classes * of_clusters / _pairs(counts.sum((1, 2))).clamp_min(1)
    best = (of_classes + of_clusters) / 2
    found = torch.where(best == expected, 1.0, (pairs - expected) / (best - expected))
    return _defined(found, cluster)


def nmi(cluster: Tensor, target: Tensor, *, known: Tensor) -> Tensor:
    """Normalized mutual information: 2 I(class; cluster) / (H(class) + H(cluster)), [R, N] -> [R], from 0 to 1.

    Arguments as for ``ari``. 1 where both have one part alone.
    """
    counts = _counts(cluster, known)
    share = counts / counts.sum((1, 2), keepdim=True).clamp_min(1)
    of_classes, of_clusters = _entropy(share.sum(2)), _entropy(share.sum(1))
    information = of_classes + of_clusters - _entropy(share.flatten(1))
    both = of_classes + of_clusters
    found = torch.where(both == 0, 1.0, (2 * information / both).clamp(0.0, 1.0))
    return _defined(found, cluster)


def _counts(cluster: Tensor, known: Tensor) -> Tensor:
    """n_ij of every run, float64 [R, C, K]."""
    runs, rows = cluster.shape
    known = known.expand(runs, rows)
    if not rows:
        return torch.zeros(runs, 1, 1, dtype=torch.float64, device=cluster.device)
    classes, clusters = int(known.max()) + 1, max(int(cluster.max()) + 1, 1)
    cell = known * clusters + cluster.clamp_min(0)
    ones = torch.ones(1, 1, dtype=torch.float64, device=cluster.device).expand(runs, rows)
    counts = torch.zeros(runs, classes * clusters, dtype=torch.float64, device=cluster.device)
    return counts.scatter_add_(1, cell, ones).view(runs, classes, clusters)


def _pairs(counts: Tensor) -> Tensor:
    """C(n, 2)."""
    return counts * (counts - 1) / 2


def _entropy(share: Tensor) -> Tensor:
    """- sum p log p over the last axis."""
    return -torch.xlogy(share, share).sum(-1)


def _defined(found: Tensor, cluster: Tensor) -> Tensor:
    """NaN for runs without rows, or with rows that are in no cluster."""
    if not cluster.shape[1]:
        return torch.full_like(found, torch.nan)
    return found.masked_fill((cluster < 0).any(1), torch.nan)
