"""The columns of a table inside an ONNX graph: an input [n, 1] for each, and what makes features of them.

    numbers               float64, NaN where one is missing
    truth values, texts   texts, an empty one where one is missing; true/false, yes/no, t/f, y/n; no, No or NO
    dates                 float64: days since 1970-01-01 (numpy's datetime64[D]), the time of day behind the point
    times of day          float64: hours since midnight

Shapes: n rows, D features.
"""

from collections.abc import Sequence

import numpy as np

from dlrun.data.table.encoding import ColumnCode, Encoding
from dlrun.data.table.matching import missing_category
from dlrun.data.table.values.typed import mark_numbers
from dlrun.trained.export.onnx_nodes import Nodes

TEXTS = ("categorical", "boolean")  # the kinds of columns whose inputs are texts
_TRUE, _FALSE = ("true", "yes", "t", "y"), ("false", "no", "f", "n")


def encoded(nodes: Nodes, encoding: Encoding) -> str:
    """Declare the inputs, and make the features of them: float64 [n, D] with NaN for what is missing."""
    parts: list[str] = []
    for column in encoding.columns:
        given = nodes.input(column.name, [1], texts=column.kind in TEXTS)
        if column.kind == "categorical":
            parts.append(_indicators(nodes, given, column, encoding.missing))
        elif column.kind == "boolean":
            parts.append(_truth(nodes, given))
        else:
            parts += _measured(nodes, _without_marks(nodes, given, encoding.missing), column)
    return nodes.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0]


def _indicators(nodes: Nodes, given: str, column: ColumnCode, missing: Sequence[str]) -> str:
    """1 for the row's category, 0 for the others: [n, categories]."""
    category = missing_category(column)
    for mark in (*([""] if category else []), *missing):
        hit = nodes.add("Equal", given, nodes.constant([[mark]], object))
        given = nodes.add("Where", hit, nodes.constant([[category]], object), given)
    return nodes.cast(nodes.add("Equal", given, nodes.constant([column.categories], object)), np.float64)


def _truth(nodes: Nodes, given: str) -> str:
    """1, 0 or NaN: [n, 1]."""

    def any_of(words: Sequence[str]) -> str:
        spelled = dict.fromkeys(form for word in words for form in (word, word.capitalize(), word.upper()))
        hits = nodes.cast(nodes.add("Equal", given, nodes.constant([[*spelled]], object)), np.float64)
        return nodes.cast(nodes.add("ReduceSum", hits, nodes.constant([1], np.int64), keepdims=1), np.bool_)

    nothing = nodes.add("Where", any_of(_FALSE), nodes.constant(0.0), nodes.constant(np.nan))
    return nodes.add("Where", any_of(_TRUE), nodes.constant(1.0), nothing)


def _without_marks(nodes: Nodes, given: str, missing: Sequence[str]) -> str:
    for mark in mark_numbers(missing).tolist():
        given = nodes.add("Where", nodes.add("Equal", given, nodes.constant(mark)), nodes.constant(np.nan), given)
    return given


def _measured(nodes: Nodes, given: str, column: ColumnCode) -> list[str]:
    """The features of a column of numbers, dates or times: [n, 1] each."""
    if column.kind != "date":
        return [nodes.add("Sub", given, nodes.constant(column.offset))]
    whole = nodes.add("Floor", given)
    made = {"days": lambda: nodes.add("Sub", given, nodes.constant(column.offset)), "month": lambda: _month(nodes, whole)}
    made["weekday"] = lambda: _rest(nodes, nodes.add("Add", whole, nodes.constant(3.0)), 7)
    made["hour"] = lambda: _hour(nodes, nodes.add("Sub", given, whole))
    return [made[part]() for part in column.parts]


def _hour(nodes: Nodes, part: str) -> str:
    """The hour of whole milliseconds of a part of a day."""
    milliseconds = nodes.add("Round", nodes.add("Mul", part, nodes.constant(86400e3)))
    return nodes.add("Div", nodes.add("Mul", milliseconds, nodes.constant(24.0)), nodes.constant(86400e3))


def _month(nodes: Nodes, whole: str) -> str:
    """The month, 1 to 12, of days since 1970-01-01: the civil calendar in years that begin in March (Hinnant 2013)."""

    def over(name: str, number: float) -> str:
        return nodes.add("Floor", nodes.add("Div", name, nodes.constant(number)))

    day = _rest(nodes, nodes.add("Add", whole, nodes.constant(719468.0)), 146097)  # within 400 years
    leaps = nodes.add("Sub", nodes.add("Sub", over(day, 36524), over(day, 1460)), over(day, 146096))
    year = over(nodes.add("Add", day, leaps), 365)
    begun = nodes.add("Mul", year, nodes.constant(365.0))
    begun = nodes.add("Sub", nodes.add("Add", begun, over(year, 4)), over(year, 100))
    of_year = nodes.add("Sub", day, begun)
    march = over(nodes.add("Add", nodes.add("Mul", of_year, nodes.constant(5.0)), nodes.constant(2.0)), 153)  # from March, 0
    return nodes.add("Add", _rest(nodes, nodes.add("Add", march, nodes.constant(2.0)), 12), nodes.constant(1.0))


def _rest(nodes: Nodes, name: str, number: float) -> str:
    """What a division leaves: x - number * floor(x / number)."""
    whole = nodes.add("Floor", nodes.add("Div", name, nodes.constant(float(number))))
    return nodes.add("Sub", name, nodes.add("Mul", whole, nodes.constant(float(number))))
