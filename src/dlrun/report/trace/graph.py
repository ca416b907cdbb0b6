"""The network of a trace as a graph: a circle for each unit, an arrow for each weight; a box for a layer that is no row of units.

What a unit puts out for the row that is looked at colours its circle, and the weight its arrow: one colour above 0, one below.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dlrun.report.trace.formulas import shown
from dlrun.report.trace.steps import Layer, Numbers, Step

MOST_UNITS = 12  # of a layer that are drawn
STRIDE, GAP, RADIUS, TOP = 150, 34, 12, 40  # pixels


@dataclass(frozen=True)
class Circle:
    """A unit, or where ``more`` says so, those that are not drawn."""

    x: float
    y: float
    title: str
    sign: str
    strength: float
    more: str = ""


@dataclass(frozen=True)
class Box:
    """A layer that is no row of units."""

    x: float
    y: float
    name: str
    shape: str


@dataclass(frozen=True)
class Line:
    """A weight."""

    x1: float
    y1: float
    x2: float
    y2: float
    title: str
    sign: str
    width: float


@dataclass(frozen=True)
class Heading:
    """What stands above a column."""

    x: float
    text: str


@dataclass(frozen=True)
class Graph:
    """The parts of the drawing, in pixels, and a description in words."""

    width: float
    height: float
    headings: Sequence[Heading]
    lines: Sequence[Line]
    circles: Sequence[Circle]
    boxes: Sequence[Box]
    description: str


@dataclass(frozen=True)
class _Column:
    name: str
    values: Numbers  # of the row
    weight: Numbers | None = None  # [D, H] from the column before


def graph(step: Step, row: int) -> Graph:
    """The network of a step with the numbers of a row."""
    columns = _columns(step, min(row, len(step.rows) - 1))
    height = TOP + GAP * max(min(column.values.size, MOST_UNITS + 1) if column.values.ndim == 1 else 2 for column in columns)
    width = STRIDE * len(columns)
    headings, lines, circles, boxes = [], [], [], []
    before: list[tuple[float, float]] = []
    for place, column in enumerate(columns):
        x = STRIDE * (place + 0.5)
        headings.append(Heading(x, column.name))
        if column.values.ndim != 1:
            y = TOP + (height - TOP) / 2
            boxes.append(Box(x, y, column.name, " x ".join(map(str, column.values.shape))))
            lines += [Line(x1, y1, x - 45, y, column.name, "none", 1.0) for x1, y1 in before[:1]]
            before = [(x + 45, y)]
            continue
        units = _units(column, x, height)
        circles += units
        mine = [(unit.x, unit.y) for unit in units if not unit.more]
        lines += _lines(before, mine, column)
        before = [(unit_x + RADIUS, y) for unit_x, y in mine]
    said = ", ".join(f"{column.name} {'x'.join(map(str, column.values.shape))}" for column in columns)
    return Graph(width, height, headings, lines, circles, boxes, f"The layers of the network: {said}.")


def _columns(step: Step, row: int) -> list[_Column]:
    known = {parameter.name: parameter.before for parameter in step.parameters}
    first = step.layers[0].input
    found = [_Column("input", first[row])]
    for layer in step.layers:
        if layer.output.shape == layer.input.shape and layer.kind != "linear":
            kept = found.pop()
            found.append(_Column(_joined(kept.name, layer), layer.output[row], kept.weight))
        else:
            weight = known.get(layer.parameters[0]) if layer.kind == "linear" and layer.parameters else None
            found.append(_Column(layer.name, layer.output[row], weight))
    return found


def _joined(name: str, layer: Layer) -> str:
    return f"{name}, {layer.name}" if layer.name not in name else name


def _units(column: _Column, x: float, height: float) -> list[Circle]:
    count = column.values.size
    drawn = min(count, MOST_UNITS)
    places = drawn + (count > drawn)
    top = TOP + (height - TOP - GAP * places) / 2 + GAP / 2
    largest = float(np.abs(column.values).max()) or 1.0
    found = []
    for unit in range(drawn):
        value = float(column.values[unit])
        title = f"{column.name}, unit {unit + 1}: {shown(value)}"
        found.append(Circle(x, top + GAP * unit, title, _sign(value), abs(value) / largest))
    if count > drawn:
        found.append(Circle(x, top + GAP * drawn, f"{count - drawn} more units", "none", 0.0, f"{count - drawn} more"))
    return found


def _lines(before: Sequence[tuple[float, float]], units: Sequence[tuple[float, float]], column: _Column) -> list[Line]:
    weight = column.weight
    if weight is None or weight.ndim != 2:
        return [Line(x1, y1, x2 - RADIUS, y2, column.name, "none", 1.0) for x1, y1 in before[:1] for x2, y2 in units]
    largest = float(np.abs(weight).max()) or 1.0
    return [
        Line(
            x1,
            y1,
            x2 - RADIUS,
            y2,
            f"weight from {i + 1} to {j + 1}: {shown(float(weight[i, j]))}",
            _sign(float(weight[i, j])),
            0.3 + 2.7 * abs(float(weight[i, j])) / largest,
        )
        for i, (x1, y1) in enumerate(before)
        for j, (x2, y2) in enumerate(units)
        if i < len(weight) and j < weight.shape[1]
    ]


def _sign(value: float) -> str:
    return "positive" if value > 0 else "negative" if value < 0 else "none"
