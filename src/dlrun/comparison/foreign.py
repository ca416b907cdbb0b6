"""A long table from a DataFrame, which may have been put together, read from a file or made elsewhere.

A column is what a run was told by (a factor) or what was measured. dlrun's own names say which, a slash marks a metric
(``test/r2``) and a dot a setting (``optimizer.lr``); texts and truth values are factors. A column of numbers of another name is a
factor where its values recur, as those of a setting do over seeds.
"""

import math
import numbers
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from dlrun import registry
from dlrun.comparison.factors import Factor
from dlrun.comparison.measures import is_measured
from dlrun.comparison.table import BASELINE, Row
from dlrun.errors import raise_all
from dlrun.results.record import STATUSES

if TYPE_CHECKING:
    import pandas

_HEAD = ("id", "status", "seed", "fold", "reason")
_STATUSES = (*STATUSES, "pending")
_INDEX = ("Unnamed: ", "level_")  # how pandas calls an index that became a column
_WHOLE = 1e15  # up to here a whole float is an integer


def rows_of_frame(table: "pandas.DataFrame", metric: str | None = None) -> list[Row]:
    """Rows from a long table.

    Args:
        metric: the column that is going to be compared, if it is known: it was measured, whatever its name.

    Raises:
        InputError: a column twice; a seed or fold that is no whole number; a status that is none; a metric that is no number.
    """
    names = [str(name) for name in table.columns]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    raise_all([f"{name}: {names.count(name)} columns have this name; rename or drop all but one" for name in twice])
    table = table.set_axis(names, axis=1)
    kinds = {name: _is_factor(name, table[name]) for name in names if name not in _HEAD and name != metric}
    texts = {name: _reader(table[name].tolist()) for name, factor in kinds.items() if factor}
    measured = [name for name in names if name not in _HEAD and name not in texts]
    problems: list[str] = []
    rows = [_row(number, values, texts, measured, problems) for number, values in enumerate(table.to_dict("records"))]
    raise_all(problems[:10])
    return rows


def _row(
    number: int, values: Mapping[Any, Any], texts: Mapping[str, Callable[[Any], Factor]], measured: list[str], problems: list[str]
) -> Row:
    def whole(name: str, default: int | None) -> int | None:
        value = values.get(name, default)
        if _missing(value) and (name == "fold" or name not in values):
            return default
        if isinstance(value, numbers.Integral):
            return int(value)
        if isinstance(value, numbers.Real) and float(value).is_integer():
            return int(float(value))
        said = "nothing" if _missing(value) else repr(value)
        problems.append(f"{name}: row {number} of the table has {said}; every run needs a whole number there, such as 0")
        return default

    status = values.get("status")
    if _missing(status):
        status = "done"
    elif status not in _STATUSES:
        problems.append(f"status: row {number} of the table has {status!r}; it must be one of {', '.join(_STATUSES)}")
    metrics = {}
    for name in measured:
        value = values[name]
        if not _missing(value):
            try:
                metrics[name] = float(value)
            except (TypeError, ValueError):
                problems.append(f"{name}: row {number} of the table has {value!r}, which is no number; leave it empty")
    run = values.get("id")
    return Row(
        f"row {number}" if _missing(run) or run == "" else str(run),
        str(status),
        whole("seed", 0) or 0,
        whole("fold", None),
        {name: text(values[name]) for name, text in texts.items()},
        metrics,
    )


def _is_factor(name: str, column: "pandas.Series[Any]") -> bool:
    """Whether a column says what was chosen."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if name in registry.groups() or name == BASELINE:  # a column named loss holds names of losses, or what was minimized
        return not (is_measured(name) and is_numeric_dtype(column))
    if is_measured(name):
        return False
    if is_bool_dtype(column) or not is_numeric_dtype(column):
        return True
    if "/" in name or "." in name:
        return "/" not in name
    known = column.dropna()
    return not name.startswith(_INDEX) and name != "index" and 2 * known.nunique() <= len(known)


def _reader(values: list[Any]) -> Callable[[Any], Factor]:
    """How the values of a factor are read: a number like the text of the same number, if the column has one."""
    written: dict[float, str] = {}
    for value in values:
        if isinstance(value, str):
            try:
                written.setdefault(float(value), value)
            except ValueError:
                continue

    def read(value: Any) -> Factor:
        if _missing(value):
            return ""
        if isinstance(value, bool | np.bool_):
            return bool(value)
        if not isinstance(value, numbers.Real):
            return str(value.tolist() if hasattr(value, "tolist") else value)
        number = float(value)
        return written.get(number, int(number) if number.is_integer() and abs(number) < _WHOLE else number)

    return read


def _missing(value: Any) -> bool:
    """Whether a cell holds nothing: None, NaN, NA or NaT."""
    import pandas

    return value is None or value is pandas.NA or value is pandas.NaT or (isinstance(value, float) and math.isnan(value))
