"""Clusters to be found again: groups of rows in a few directions, seen through many features with noise and gross errors.

Shapes: N rows, D features, K groups, d directions. ``seed`` draws the data and is no run's seed.
"""

import math
from dataclasses import replace

import numpy as np

from dlrun.data.clustering import without_classes
from dlrun.data.dataset import Amount, Data, Fraction, Seed, Several, Size
from dlrun.data.sources.draws import normal, settled, uniform


def clusters(
    *,
    rows: Several = 900,
    groups: Several = 6,
    features: Several = 60,
    directions: Several = 4,
    distance: Size = 2.5,
    noise: Amount = 0.5,
    share: Fraction = 0.02,
    size: Amount = 20.0,
    seed: Seed = 0,
) -> Data:
    """Groups around centres in d directions, seen through D features that each mix the directions and add noise.

    Formula: z = distance * c_g + N(0, 1)^d, c_g from N(0, 1)^d; x = tanh(z A / sqrt(d)) + noise * N(0, 1)^D, A from N(0, 1).
    A share of all values has a gross error, size * N(0, 1) more. Groups have equal numbers of rows, or differ by one.

    Args:
        groups: K.
        directions: d, the numbers that say where a row lies in truth.
        distance: standard deviation of the centres, in those of the rows around them.
        noise: standard deviation on each feature.
        share: share of the values with a gross error, in [0, 1).
        size: standard deviation of these errors.
    """
    group = np.arange(rows) % groups
    z = distance * normal(seed, 1, groups, directions)[group] + normal(seed, 2, rows, directions)
    x = np.tanh(z @ normal(seed, 3, directions, features) / math.sqrt(directions)) + noise * normal(seed, 0, rows, features)
    wrong = uniform(seed, 4, rows, features) < share
    x = np.where(wrong, x + size * normal(seed, 5, rows, features), x)
    names = tuple(f"x{i + 1}" for i in range(features))
    labels = tuple(str(k) for k in range(groups))
    found = without_classes(Data("clusters", settled(x), group, "multiclass", groups, names, ("group",), labels))
    return replace(found, notes=())
