"""Synthetic classification in the plane and in D dimensions. Classes have equal numbers of rows, or differ by one.

Shapes: N rows, D features, K classes. ``noise`` is the standard deviation of Gaussian noise on every feature; ``seed`` draws
the data and is no run's seed.
"""

import math

import numpy as np
from numpy.typing import NDArray

from dlrun.data.dataset import Amount, Data, InnerFraction, Seed, Several, Size
from dlrun.data.sources.draws import normal, settled, uniform

_PLANE = ("x1", "x2")


def xor(*, rows: Several = 400, noise: Amount = 0.2, seed: Seed = 0) -> Data:
    """Four clusters at (+-1, +-1); class 1 where the signs differ, so that no line separates the classes.

    Formula: x = corner + noise * N(0, 1), y = 1 if corner_1 * corner_2 < 0 else 0.
    """
    corners = np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    row = np.arange(rows)
    x = corners[row % 4] + noise * normal(seed, 0, rows, 2)
    return _binary("xor", x, row % 2, ("same signs", "different signs"))


def multiclass(*, rows: Several = 600, classes: Several = 5, features: Several = 10, noise: Amount = 0.7, seed: Seed = 0) -> Data:
    """One Gaussian cloud for each class, around centres drawn from N(0, 1).

    Formula: x = centre_y + noise * N(0, 1); by default 9 in 10 rows lie nearest to the centre of their own class.
    """
    y = np.arange(rows) % classes
    x = normal(seed, 1, classes, features)[y] + noise * normal(seed, 0, rows, features)
    return _multiclass("multiclass", x, y, tuple(f"x{i + 1}" for i in range(features)), classes)


def moons(*, rows: Several = 500, noise: Amount = 0.2, seed: Seed = 0) -> Data:
    """Two half circles that reach into each other.

    Formula: class 0 at (cos t, sin t), class 1 at (1 - cos t, 0.5 - sin t), t uniform in [0, pi].
    """
    y = np.arange(rows) % 2
    angle = math.pi * uniform(seed, 1, rows)
    upper = np.stack((np.cos(angle), np.sin(angle)), 1)
    lower = np.stack((1.0 - np.cos(angle), 0.5 - np.sin(angle)), 1)
    x = np.where(y[:, None] == 0, upper, lower) + noise * normal(seed, 0, rows, 2)
    return _binary("moons", x, y, ("upper", "lower"))


def circles(*, rows: Several = 500, noise: Amount = 0.1, factor: InnerFraction = 0.5, seed: Seed = 0) -> Data:
    """Two circles around the origin: radius 1 (class 0) and radius ``factor`` (class 1).

    Formula: r * (cos t, sin t), t uniform in [0, 2 pi].
    """
    y = np.arange(rows) % 2
    angle = 2.0 * math.pi * uniform(seed, 1, rows)
    radius = np.array([1.0, factor])[y]
    x = radius[:, None] * np.stack((np.cos(angle), np.sin(angle)), 1) + noise * normal(seed, 0, rows, 2)
    return _binary("circles", x, y, ("outer", "inner"))


def spirals(*, rows: Several = 600, arms: Several = 3, turns: Size = 1.0, noise: Amount = 0.03, seed: Seed = 0) -> Data:
    """Spiral arms wound into each other, one class each.

    Formula: t * (cos a, sin a) with a = 2 pi (turns * t + y / arms), t uniform in [0.1, 1].
    """
    y = np.arange(rows) % arms
    radius = 0.1 + 0.9 * uniform(seed, 1, rows)
    start = (y / np.float32(arms)).astype(np.float32)  # a single's rounding is part of the data
    angle = 2.0 * math.pi * (turns * radius + start)
    x = radius[:, None] * np.stack((np.cos(angle), np.sin(angle)), 1) + noise * normal(seed, 0, rows, 2)
    return _multiclass("spirals", x, y, _PLANE, arms)


def _binary(name: str, x: NDArray[np.float64], y: NDArray[np.int64], classes: tuple[str, str]) -> Data:
    return Data(name, settled(x), y[:, None].astype(np.float64), "binary", 1, _PLANE, ("class",), classes)


def _multiclass(name: str, x: NDArray[np.float64], y: NDArray[np.int64], features: tuple[str, ...], classes: int) -> Data:
    return Data(name, settled(x), y, "multiclass", classes, features, ("class",), tuple(str(k) for k in range(classes)))
