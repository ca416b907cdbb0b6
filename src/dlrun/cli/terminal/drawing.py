"""Curves as characters: each braille character is a raster of 2 x 4 dots, so 40 x 12 characters show 80 x 48 points."""

import math
from collections.abc import Sequence

_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # Unicode's bit of each dot, row by row
_BLANK = 0x2800


def draw(xs: Sequence[float], ys: Sequence[float], *, width: int, height: int, unicode: bool = True) -> list[str]:
    """A curve with its axes and the smallest and largest value on each.

    Args:
        xs: abscissas, ascending.
        ys: ordinates, one for each abscissa; what is not finite leaves a gap.
        width: characters a line, labels included.
        height: lines, the line of labels included.
        unicode: braille and box characters; False for ASCII.

    Returns:
        ``height`` lines of ``width`` characters.
    """
    finite = [y for y in ys if math.isfinite(y)] or [0.0]
    low, high = min(finite), max(finite)
    if high - low < 1e-9:
        low, high = low - 1, high + 1
    top, bottom = _label(high), _label(low)
    margin = max(len(top), len(bottom)) + 1
    columns, lines = max(width - margin, 8), max(height - 1, 3)
    canvas = _Canvas(columns, lines)
    at_x = [round((x - xs[0]) / (xs[-1] - xs[0]) * (2 * columns - 1)) for x in xs]
    at_y = [round((high - y) / (high - low) * (4 * lines - 1)) if math.isfinite(y) else None for y in ys]
    canvas.curve(at_x, at_y)
    zero_column = round(-xs[0] / (xs[-1] - xs[0]) * (2 * columns - 1)) // 2 if xs[0] <= 0 <= xs[-1] else None
    zero_line = round(high / (high - low) * (4 * lines - 1)) // 4 if low <= 0 <= high else None
    rows = canvas.rows(zero_column, zero_line, unicode)
    labels = [top, *[""] * (lines - 2), bottom]
    drawn = [f"{label:>{margin - 1}} {row}" for label, row in zip(labels, rows, strict=True)]
    left, right = _label(xs[0]), _label(xs[-1])
    return [*drawn, f"{'':{margin}}{left}{right:>{columns - len(left)}}"]


def scatter(
    xs: Sequence[float],
    ys: Sequence[float],
    *,
    width: int,
    height: int,
    unicode: bool = True,
    within: tuple[float, float] | None = None,
) -> list[str]:
    """Points with the smallest and largest value on each axis: ``height`` lines of ``width`` characters.

    Args:
        xs, ys: of the points; those that are not finite are left out.
        within: the ends of both axes; those of the points when None.
    """
    points = [(x, y) for x, y in zip(xs, ys, strict=True) if math.isfinite(x) and math.isfinite(y)] or [(0.0, 0.0)]
    (left, right), (low, high) = (within or _ends(axis) for axis in zip(*points, strict=True))
    top, bottom = _label(high), _label(low)
    margin = max(len(top), len(bottom)) + 1
    columns, lines = max(width - margin, 8), max(height - 1, 3)
    canvas = _Canvas(columns, lines)
    for x, y in points:
        canvas.curve([_place(x, left, right, 2 * columns)], [_place(high + low - y, low, high, 4 * lines)])
    labels = [top, *[""] * (lines - 2), bottom]
    drawn = [f"{label:>{margin - 1}} {row}" for label, row in zip(labels, canvas.rows(None, None, unicode), strict=True)]
    return [*drawn, f"{'':{margin}}{_label(left)}{_label(right):>{columns - len(_label(left))}}"]


def _ends(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high - low > 1e-9 else (low - 1, high + 1)


def _place(value: float, low: float, high: float, dots: int) -> int:
    return min(max(round((value - low) / (high - low) * (dots - 1)), 0), dots - 1)


def is_curve(character: str) -> bool:
    """Whether a character of a drawing belongs to the curve, and not to axes or labels."""
    return character == "*" or _BLANK < ord(character) <= _BLANK + 0xFF


class _Canvas:
    def __init__(self, columns: int, lines: int) -> None:
        self.cells = [[0] * columns for _ in range(lines)]

    def curve(self, at_x: Sequence[int], at_y: Sequence[int | None]) -> None:
        """Set the dots of a curve; neighbours are joined, so that a steep curve has no holes."""
        before: tuple[int, int] | None = None
        for x, y in zip(at_x, at_y, strict=True):
            if y is None:
                before = None
                continue
            x0, y0 = before or (x, y)
            steps = max(x - x0, abs(y - y0), 1)
            for step in range(steps + 1):
                column, dot = x0 + (x - x0) * step // steps, y0 + round((y - y0) * step / steps)
                self.cells[dot // 4][column // 2] |= _DOTS[dot % 4][column % 2]
            before = x, y

    def rows(self, zero_column: int | None, zero_line: int | None, unicode: bool) -> list[str]:
        across, down, crossing = "─│┼" if unicode else "-|+"
        rows = []
        for line, cells in enumerate(self.cells):
            row = ""
            for column, cell in enumerate(cells):
                if cell:
                    row += chr(_BLANK + cell) if unicode else "*"
                elif line == zero_line:
                    row += crossing if column == zero_column else across
                else:
                    row += down if column == zero_column else " "
            rows.append(row)
        return rows


def _label(value: float) -> str:
    return f"{value + 0.0:.3g}"  # + 0.0 turns -0 into 0
