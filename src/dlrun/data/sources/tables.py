"""Synthetic tables, each with one difficulty of real ones: gross errors, rare features, a rare class, several labels a row.

Shapes: N rows, D features, K labels. ``seed`` draws the data and is no run's seed.
"""

import math

import numpy as np

from dlrun.data.dataset import Amount, Data, Fraction, InnerFraction, Seed, Several, Size
from dlrun.data.sources.draws import normal, permutation, settled, uniform
from dlrun.data.table.positive import with_positive


def outliers(
    *,
    rows: Several = 500,
    features: Several = 5,
    noise: Amount = 0.2,
    share: Fraction = 0.1,
    size: Amount = 10.0,
    one_sided: bool = False,
    seed: Seed = 0,
) -> Data:
    """Linear regression in which some targets have gross errors, in training alone: test rows show what was learnt.

    Formula: y = x w + noise * N(0, 1), x from N(0, 1), |w| = 1; train_y = y + size * (0.5 + U[0, 1)) * sign on round(share * N)
    rows.

    Args:
        share: share of the rows with a gross error, in [0, 1).
        size: mean size of a gross error, in standard deviations of x w.
        one_sided: all gross errors positive; otherwise either sign with probability 1/2.
    """
    weight = normal(seed, 1, features)
    x = settled(normal(seed, 2, rows, features))
    y = settled(x @ (weight / np.linalg.norm(weight)) + noise * normal(seed, 0, rows))
    wrong = permutation(seed, 3, rows)[: round(share * rows)]
    error = size * (0.5 + uniform(seed, 4, rows))
    if not one_sided:
        error *= np.where(uniform(seed, 5, rows) < 0.5, -1.0, 1.0)
    train_y = y.copy()
    train_y[wrong] += settled(error[wrong])
    return Data("outliers", x, y[:, None], "regression", 1, _names(features), ("y",), train_y=train_y[:, None])


def sparse_features(
    *,
    rows: Several = 1000,
    features: Several = 100,
    common: InnerFraction = 0.5,
    rare: InnerFraction = 0.01,
    noise: Amount = 1.0,
    seed: Seed = 0,
) -> Data:
    """Binary features from common to rare, each as informative as the next: a rare one has a large weight.

    Formula: P(x_j = 1) = p_j, falling geometrically from ``common`` to ``rare``; z = 4 sum_j w_j (x_j - p_j) /
    sqrt(D p_j (1 - p_j)) with w_j from N(0, 1); y = 1 if z + noise * L > 0 with L from the standard logistic distribution.
    """
    probability = common * (rare / common) ** (np.arange(features) / (features - 1))
    x = (uniform(seed, 2, rows, features) < probability).astype(np.float64)
    scale = np.sqrt(features * probability * (1.0 - probability))
    score = 4.0 * (x - probability) @ (normal(seed, 1, features) / scale)
    level = uniform(seed, 0, rows).clip(1e-12, 1 - 1e-12)
    y = (score + noise * np.log(level / (1.0 - level)) > 0.0).astype(np.float64)
    return Data("sparse_features", x, y[:, None], "binary", 1, _names(features), ("class",), ("0", "1"))


def imbalanced(
    *,
    rows: Several = 2000,
    features: Several = 10,
    share: InnerFraction = 0.05,
    distance: Size = 2.0,
    seed: Seed = 0,
    positive: str | None = None,
) -> Data:
    """Two Gaussian clouds, one of them with few rows.

    Formula: x from N(0, 1) in D dimensions, moved by ``distance`` along a random direction for the round(share * N) rows of
    class 1 (at least 2). The best possible auroc is Phi(distance / sqrt 2), 0.92 by default.

    Args:
        positive: the class that is number 1 instead of minority, as in ``with_positive``.
    """
    minority = max(2, round(share * rows))
    y = (permutation(seed, 2, rows) < minority).astype(np.float64)
    direction = normal(seed, 1, features)
    x = normal(seed, 0, rows, features) + y[:, None] * (distance * direction / np.linalg.norm(direction))
    found = Data("imbalanced", settled(x), y[:, None], "binary", 1, _names(features), ("class",), ("majority", "minority"))
    return with_positive(found, positive)


def multilabel(*, rows: Several = 600, features: Several = 10, labels: Several = 5, noise: Amount = 0.3, seed: Seed = 0) -> Data:
    """Several labels a row, from common to rare, which tend to occur together.

    Formula: z_k = x (u + v_k) / sqrt(2 D) + noise * N(0, 1), x, u and v_k from N(0, 1), u shared by all labels; y_k = 1 for
    the rows of largest z_k: half of all rows for the first label, falling evenly to a tenth for the last.
    """
    x = normal(seed, 3, rows, features)
    weight = normal(seed, 1, features, 1) + normal(seed, 2, features, labels)
    score = settled(x @ weight / math.sqrt(2.0 * features) + noise * normal(seed, 0, rows, labels))
    positive = np.maximum((np.linspace(0.5, 0.1, labels) * rows).round(), 1.0)
    rank = np.argsort(np.argsort(-score, axis=0, kind="stable"), axis=0)
    y = (rank < positive).astype(np.float64)
    names = tuple(f"label {k + 1}" for k in range(labels))
    return Data("multilabel", settled(x), y, "multilabel", labels, _names(features), names, names)


def _names(features: int) -> tuple[str, ...]:
    return tuple(f"x{i + 1}" for i in range(features))
