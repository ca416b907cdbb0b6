"""Synthetic images with masks, for segmentation.

Shapes: N rows, S pixels a side. ``seed`` draws the data and is no run's seed.
"""

from typing import Annotated

import torch

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
    kind = torch.arange(rows)[:, None, None] % 3
    area = foreground * size * size * (0.5 + uniform(seed, 1, rows, 1, 1))
    # Half of the width: of a disc pi r^2, of a square 4 r^2, of a diamond 2 r^2 is the area.
    reach = (area / torch.tensor([torch.pi, 4.0, 2.0], dtype=torch.float64)[kind]).sqrt()
    place = uniform(seed, 2, 2, rows, 1, 1)
    centre = reach + place * (size - 2.0 * reach)
    middle = torch.arange(size, dtype=torch.float64) + 0.5
    down, across = (middle[:, None] - centre[0]).abs(), (middle[None, :] - centre[1]).abs()
    distance = torch.stack((torch.hypot(down, across), torch.maximum(down, across), down + across))
    inside = distance.gather(0, kind.expand(rows, size, size)[None])[0] <= reach
    # A shape smaller than a pixel still covers the pixel that it lies in.
    mask = inside | (torch.maximum(down, across) <= 0.5)
    x = mask.to(torch.float64)[:, None] + noise * normal(seed, 0, rows, 1, size, size)
    return Data("shapes", settled(x), mask.to(torch.int64), "segmentation", 2, ("ink",), ("mask",), ("ground", "shape"))
