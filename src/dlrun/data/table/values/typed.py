"""Values that have types, as those of a DataFrame, and what reads a text as such a value."""

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.data.table.values.amounts import PLAIN, Form, number, plainly
from dlrun.data.table.values.cells import Cells, Floats, Kind, text_of, texts_of, truth
from dlrun.data.table.values.dates import day, hour
from dlrun.errors import DataError

WANTS: dict[Kind, str] = {
    "numeric": "numbers",
    "boolean": "true or false",
    "date": "dates such as 2024-01-31",
    "time": "times of day such as 14:05",
    "categorical": "texts",
}


def parser(kind: Kind, decimal: str, *, day_first: bool, form: Form = PLAIN) -> Any:
    """What reads one text of a column of this kind as a number; None is its answer where it cannot."""
    if kind == "date":
        return partial(day, day_first=day_first)
    if kind == "time":
        return hour
    return truth if kind == "boolean" else partial(form.number, decimal=decimal)


def mark_numbers(marks: Sequence[str]) -> Floats:
    """Those marks of missing values that are numbers, such as -999. A code such as 007 is a text, and no mark for 7."""
    values = [number(mark) for mark in marks if plainly(mark)]
    return np.array([value for value in values if value is not None], dtype=np.float64)


def written(kind: Kind, value: float) -> str:
    """A value as one would write it; an empty text where it is missing."""
    if kind == "date" and value == value:
        return str(np.datetime64(int(value // 1), "D"))
    if kind == "time" and value == value:
        return f"{int(value):02}:{int(value * 60) % 60:02}"
    return ("True" if value else "False") if kind == "boolean" and value == value else text_of(value)


def counted(values: Any) -> tuple[NDArray[np.int64], list[Any]]:
    """Values that may be numbers as the place of each among those that differ, and these: whole ones with all of their digits."""
    import pandas

    series = pandas.Series(values)
    codes, distinct = pandas.factorize(series, use_na_sentinel=True)
    items = [value.item() if hasattr(value, "item") else value for value in distinct]
    items = [float(value) if isinstance(value, Decimal) and value != int(value) else value for value in items]
    return np.where(codes < 0, len(items), codes).astype(np.int64), [
        *(int(v) if isinstance(v, Decimal) else v for v in items),
        None,
    ]


def typed(values: Any) -> tuple[Kind, Cells]:
    """Values that have types, as a column of a DataFrame has: numbers, truth values and dates as floats, all else as texts.

    Raises:
        DataError: they are of a type that stands for none of these, such as a list, or more than one column.
    """
    import pandas
    from pandas.api import types

    if isinstance(values, pandas.DataFrame):
        raise DataError(f"stands in the table {values.shape[1]} times; give each column a name of its own")
    series = pandas.Series(values)
    kind = series.dtype
    if types.is_bool_dtype(kind) and not isinstance(kind, pandas.CategoricalDtype):
        return "boolean", series.to_numpy(dtype=np.float64, na_value=np.nan)
    if types.is_complex_dtype(kind) or types.is_timedelta64_dtype(kind):
        raise DataError(f"holds values of type {kind}, which cannot be used; turn them into numbers")
    if types.is_numeric_dtype(kind):
        return "numeric", series.to_numpy(dtype=np.float64, na_value=np.nan)
    if types.is_datetime64_any_dtype(kind):
        moments = series.dt.tz_convert("UTC").dt.tz_localize(None) if series.dt.tz is not None else series
        since = (moments - pandas.Timestamp(0)) / pandas.Timedelta(days=1)
        return "date", np.asarray(since, dtype=np.float64)
    present = series[series.notna()]
    plain = series.astype(object).where(series.notna(), None).tolist()
    inferred = types.infer_dtype(present)
    if inferred in ("boolean", "integer", "floating", "mixed-integer-float", "decimal") and len(present):
        numbers = np.array([np.nan if value is None else float(value) for value in plain])
        return ("boolean" if inferred == "boolean" else "numeric"), numbers
    if inferred == "time" and len(present):
        return "time", np.array([np.nan if value is None else hour(str(value)) for value in plain], dtype=np.float64)
    if inferred in ("date", "datetime", "datetime64") and len(present):
        return typed(pandas.to_datetime(series, utc=True))
    if inferred not in ("string", "empty", "categorical", "mixed-integer", "mixed"):
        raise DataError(f"holds values of type {inferred}, which cannot be used")
    if any(not isinstance(value, str | int | float | bool | None) for value in plain):
        raise DataError("holds lists or other things that are neither numbers nor texts")
    return "categorical", texts_of(plain)
