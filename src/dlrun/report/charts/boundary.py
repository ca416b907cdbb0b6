"""The decision boundary of models with two inputs, beside the rows that they were tested on."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.report.charts.base import Chart, alt, data, spec, tips
from dlrun.report.evidence import Floats

GRID = 48  # cells on each side
SIDE = 200
STEPS = 50  # colours from the least value to the largest
OVERLAP = 1.3  # of the halves of opaque cells, so that no lines are seen between them
GROUND = ("#56A0D3", "#F4F4F4", "#E8894A")  # probability 0, a half, 1
POINTS = ("#0B3C5D", "#8C2D04")  # of the first and the second class


@dataclass(frozen=True)
class Boundary:
    """What one run predicts on a grid.

    Args:
        name: what the run is called.
        features: the names of the two inputs.
        classes: their names; empty for a regression.
        xs, ys: the middles of the cells, [G] each.
        value: [G, G] by y and x: the probability of the second class, the number of the most probable of several, or the value.
        points: rows of the data, [n, 2], and their class [n]; none where the data is not there any more.
    """

    name: str
    features: tuple[str, str]
    classes: tuple[str, ...]
    xs: Floats
    ys: Floats
    value: Floats
    points: Floats
    labels: NDArray[np.int64]


def boundary_chart(several: Sequence[Boundary]) -> Chart:
    """A panel for each run, all on the same axes."""
    first = several[0]
    a = alt()
    panels = [_panel(each, SIDE if len(several) > 1 else 2 * SIDE, legend=len(several) == 1) for each in several]
    chart = a.concat(*panels, columns=3).resolve_scale(fill="shared", shape="shared") if len(panels) > 1 else panels[0]
    whose = ", ".join(each.name for each in several)
    points = " Points are test rows with their true class." if first.points.size and first.classes else ""
    ground = (
        f" The ground is the probability of {first.classes[1]}, from blue (0) to orange (1)." if len(first.classes) == 2 else ""
    )
    return Chart(
        "boundary",
        "Decision boundary" if first.classes else "Predictions over both inputs",
        f"What {whose} predict over {first.features[0]} and {first.features[1]}.",
        f"One run of each group.{ground}{points}",
        spec(chart),
    )


def _panel(each: Boundary, side: int, legend: bool) -> Any:
    """The plane of one run as tiles, with points on it."""
    a = alt()
    names = each.classes
    cells = tiles(each)
    points: list[dict[str, Any]] = [
        {"x": float(x), "y": float(y), "class": names[label] if names else "rows of the data"}
        for (x, y), label in zip(each.points, each.labels, strict=True)
    ]
    scale, axis = a.Scale(nice=False, zero=False), a.Axis(grid=False)
    x = a.X("x:Q", title=each.features[0], scale=scale, axis=axis)
    y = a.Y("y:Q", title=each.features[1], scale=scale, axis=axis)
    ground = a.Chart(data(cells)).mark_rect(opacity=0.5 if len(names) > 2 else 1)
    ground = ground.encode(x, a.X2("x2:Q"), y, a.Y2("y2:Q"), _ground(names, legend))
    if not points:
        return ground.properties(title=each.name, width=side, height=side)
    shades = {"range": [*POINTS]} if len(names) == 2 else {}
    colours = a.Scale(domain=[*names], **shades) if names else a.Undefined
    dots = (
        a.Chart(data(points))
        .mark_point(filled=True, size=28, stroke="#ffffff", strokeWidth=0.8, opacity=1)
        .encode(
            x,
            y,
            a.Shape("class:N", title=None, sort=[*names], scale=a.Scale(domain=[*names]) if names else a.Undefined),
            a.Fill("class:N", title=None, sort=[*names], scale=colours),
            tooltip=tips("class:N", ("x:Q", each.features[0]), ("y:Q", each.features[1])),
        )
    )
    return a.layer(ground, dots).resolve_scale(color="independent").properties(title=each.name, width=side, height=side)


def tiles(each: Boundary) -> list[dict[str, Any]]:
    """The plane as rectangles: neighbours in a row that have the same colour are one, which leaves a fraction of the cells."""
    names = each.classes
    lap = OVERLAP if len(names) <= 2 else 1.0
    half_x, half_y = (float(axis[1] - axis[0]) / 2 for axis in (each.xs, each.ys))
    step = 1.0 if len(names) > 2 else 1 / STEPS if names else max(float(np.ptp(each.value)), 1e-9) / STEPS
    found = []
    for y, values in zip(each.ys.tolist(), np.round(each.value / step) * step, strict=True):
        starts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
        found += [
            {
                "x": float(each.xs[first]) - half_x,
                "x2": float(each.xs[last - 1]) + half_x * lap,
                "y": y - half_y,
                "y2": y + half_y * lap,
                "value": names[int(values[first])] if len(names) > 2 else float(values[first]),
            }
            for first, last in pairwise(starts)
        ]
    return found


def _ground(names: Sequence[str], legend: bool) -> Any:
    a = alt()
    shown = a.Undefined if legend else None
    if len(names) == 2:
        scale = a.Scale(domain=[0, 1], range=[*GROUND])
        return a.Color("value:Q", title=f"probability of {names[1]}", scale=scale, legend=shown)
    if names:
        return a.Color("value:N", title="predicted", sort=[*names], legend=shown)
    return a.Color("value:Q", title="predicted", scale=a.Scale(scheme="viridis"))
