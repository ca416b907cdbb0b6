"""Columns of Arrow tables, as Parquet files hold them: what their types stand for, and their cells.

    bool                                               true or false
    integers, floats, decimals                         numbers
    dates, timestamps                                  dates, in UTC where they have a time zone
    texts, UUIDs, null                                 texts
    times of day, durations, intervals, binary data    nothing that a feature can be
    lists, structs, maps                               likewise

A dictionary is what its values are, and an extension type what it is stored as.

Shapes: n rows.
"""

from typing import Any
from uuid import UUID

from dlrun.data.table.values.cells import Cells, Floats, Kind, merged

_PER_DAY = {"s": 86400, "ms": 86400e3, "us": 86400e6}


def kind_of_type(type_: Any) -> Kind | None:
    """What a column of a pyarrow type is; None for a type that cannot be used."""
    from pyarrow import types

    value = type_.value_type if types.is_dictionary(type_) else type_
    if _is_uuid(value):
        return "categorical"
    value = getattr(value, "storage_type", value)
    if types.is_boolean(value):
        return "boolean"
    if types.is_integer(value) or types.is_floating(value) or types.is_decimal(value):
        return "numeric"
    if types.is_timestamp(value) or types.is_date(value):
        return "date"
    texts = (types.is_string, types.is_large_string, types.is_null, getattr(types, "is_string_view", types.is_string))
    return "categorical" if any(test(value) for test in texts) else None


def _is_uuid(type_: Any) -> bool:
    return getattr(type_, "extension_name", "") == "arrow.uuid"


def cells_of_array(values: Any, kind: Kind) -> Cells:
    """A pyarrow array [n] as cells of the kind: a null is NaN, or an empty text."""
    import pyarrow

    if pyarrow.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    uuids = _is_uuid(values.type)
    values = getattr(values, "storage", values)
    if kind == "categorical":
        if not uuids and not pyarrow.types.is_string(values.type):
            values = values.cast(pyarrow.string())
        encoded = values.dictionary_encode()
        codes = encoded.indices.cast(pyarrow.int64()).fill_null(len(encoded.dictionary)).to_numpy(zero_copy_only=False)
        texts = encoded.dictionary.to_pylist()
        return merged(codes, [*(str(UUID(bytes=text)) if uuids else text for text in texts), ""])
    if kind == "boolean":
        values = values.cast(pyarrow.uint8())
    if kind == "date":
        return _days(values)
    found: Floats = values.cast(pyarrow.float64(), safe=False).to_numpy(zero_copy_only=False)
    return found


def _days(values: Any) -> Floats:
    """Dates or timestamps as days since 1970-01-01, UTC, exact to a microsecond: [n]."""
    import pyarrow

    if pyarrow.types.is_date32(values.type):
        whole: Floats = values.cast(pyarrow.int32()).cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
        return whole
    unit = getattr(values.type, "unit", "ms")  # dates of 64 bits are milliseconds
    if unit == "ns":
        unit, values = "us", values.cast(pyarrow.timestamp("us", values.type.tz), safe=False)
    since = values.cast(pyarrow.int64()).cast(pyarrow.float64(), safe=False)
    days: Floats = since.to_numpy(zero_copy_only=False) / _PER_DAY[unit]
    return days
