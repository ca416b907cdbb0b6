"""Synthetic images with masks, for segmentation.

Shapes: N rows, S pixels a side. ``seed`` draws the data and is no run's seed.
"""

from typing import Annotated

import numpy as np

from dlrun.components.hyperparameters import Interval
from dlrun.data.dataset import Amount, Data, Seed, Several
from dlrun.data.sources.draws import normal, settled, uniform

Side = Annotated[int, Interval(8)]
Foreground = Annotated[float, Interval(0, 0.3, open_low=True)]


def shapes(*, rows: Several = 400, size: Side = 16, foreground: Foreground = 0.05, noise: Amount = 0.5, seed: Seed = 0) -> Data:
    """A bright disc, square or diamond on a dark ground; the mask says which pixels it covers.

    Formula: image = mask + noise * N(0, 1). The area is uniform between 0.5 and 1.5 times ``foreground``, the place anywhere
    inside the image. x is [N, 1, S, S], y int64 [N, S, S]: 0 ground, 1 shape.

    Args:
        size: S, pixels a side, at least 8.
        foreground: mean share of the pixels that the shape covers.
    """
    kind = np.arange(rows)[:, None, None] % 3
    area = foreground * size * size * (0.5 + uniform(seed, 1, rows, 1, 1))
    # Half of the width: of a disc pi r^2, of a square 4 r^2, of a diamond 2 r^2 is the area.
    reach = np.sqrt(area / np.array([np.pi, 4.0, 2.0])[kind])
    place = uniform(seed, 2, 2, rows, 1, 1)
    centre = reach + place * (size - 2.0 * reach)
    middle = np.arange(size) + 0.5
    down, across = np.abs(middle[:, None] - centre[0]), np.abs(middle[None, :] - centre[1])
    distance = np.stack((np.hypot(down, across), np.maximum(down, across), down + across))
    inside = np.take_along_axis(distance, kind[None], 0)[0] <= reach
    # A shape smaller than a pixel still covers the pixel that it lies in.
    mask = inside | (np.maximum(down, across) <= 0.5)
    x = mask.astype(np.float64)[:, None] + noise * normal(seed, 0, rows, 1, size, size)
    return Data("shapes", settled(x), mask.astype(np.int64), "segmentation", 2, ("ink",), ("mask",), ("ground", "shape"))
