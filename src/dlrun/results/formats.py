"""What is kept of a run, and how its parts are written as bytes and read again."""

import json
import math
import re
import struct
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.results.record import RunRecord, plain, to_json

Column = Sequence[float | None] | NDArray[Any]

RESULT = "result.json"
CONFIG = "config.yaml"
OVERRIDES = "overrides.yaml"
HISTORY = "history.csv"
ARRAYS = ".safetensors"
WEIGHTS = "model.safetensors"
PREDICTIONS, TARGETS = "predictions.safetensors", "targets.safetensors"
LOG = "run.log"

_heads: dict[tuple[Any, ...], tuple[bytes, tuple[str, ...]]] = {}
"""What safetensors writes before the numbers, and their order: the same for all runs whose arrays have the same shapes."""
_MOST_HEADS = 16  # of them that are kept

_PAIRS = "\0pairs"  # stands for a mapping whose keys are not all texts


@dataclass(frozen=True)
class RunFiles:
    """Everything that is kept of one run.

    Args:
        record: what is known of it.
        config: the resolved config in plain containers.
        history: column name -> one number for each epoch, all of one length; None is an empty cell.
        weights: name -> array; none for a run that has nothing to predict with.
        log: lines of run.log beside those that the record gives: warnings, notes on the data, the traceback of a failure.
        extra: file name (such as ``preprocessing.json``) -> what goes into it as JSON.
        arrays: file name -> arrays by name: ``predictions.safetensors`` what was predicted for validation and test rows,
            ``targets.safetensors`` which rows these are, and their targets.
    """

    record: RunRecord
    config: Mapping[str, Any] = field(default_factory=dict)
    history: Mapping[str, Column] = field(default_factory=dict)
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    log: Sequence[str] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, Mapping[str, NDArray[Any]]] = field(default_factory=dict)


def file_name(name: str) -> str:
    """``name``, if it is a plain file name; a ValueError otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII):
        raise ValueError(f"file {name!r}: must be a plain name")
    return name


def weights_bytes(weights: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as safetensors."""
    form = tuple((name, array.dtype, array.shape) for name, array in weights.items())
    known = _heads.get(form)
    if known is not None:
        head, order = known
        return head + b"".join([weights[name].tobytes() for name in order])
    from safetensors.numpy import save

    content: bytes = save({name: np.ascontiguousarray(array) for name, array in weights.items()})
    if sys.byteorder == "little":
        end = 8 + int.from_bytes(content[:8], "little")
        offsets = {name: entry["data_offsets"] for name, entry in json.loads(content[8:end]).items()}
        while len(_heads) >= _MOST_HEADS:
            _heads.pop(next(iter(_heads)))
        _heads[form] = content[:end], tuple(sorted(offsets, key=offsets.__getitem__))
    return content


def read_weights(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of what ``weights_bytes`` gave. A ValueError when it is something else."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays: dict[str, NDArray[Any]] = load(content)
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    return arrays


def extra_bytes(name: str, value: Any) -> bytes:
    """What goes into a JSON file of a run."""
    try:
        text = to_json(value)
    except (TypeError, ValueError):  # arrays, or numbers that are not finite
        text = to_json(plain(value, name, []))
    return f"{text}\n".encode()


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays in the database: a line of JSON with their names, types and shapes, then their numbers."""
    form = tuple((name, array.dtype, array.shape) for name, array in arrays.items())
    numbers = [array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("=")) for array in arrays.values()]
    if sys.byteorder == "big":
        numbers = [array.byteswap() for array in numbers]
    return _line(form) + b"".join([array.tobytes() for array in numbers])


@lru_cache(maxsize=64)
def _line(form: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]) -> bytes:
    """The line of JSON of ``pack``: runs of a cohort have the same."""
    return json.dumps([[name, kind.newbyteorder("<").str, shape] for name, kind, shape in form]).encode() + b"\n"


def unpack(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of what ``pack`` wrote."""
    line, _, numbers = content.partition(b"\n")
    found, place = {}, 0
    for name, kind, shape in json.loads(line):
        dtype = np.dtype(kind)
        if dtype.hasobject:
            raise ValueError(f"{name}: holds what are no numbers")
        array = np.frombuffer(numbers, dtype, math.prod(shape), place).reshape(shape)
        found[str(name)] = array.astype(dtype.newbyteorder("="))
        place += array.nbytes
    return found


def smallest(array: NDArray[Any]) -> NDArray[Any]:
    """The same numbers in 4 bytes each where these suffice."""
    kind = np.float32 if array.dtype.kind == "f" else np.int32
    with np.errstate(over="ignore"):
        less = array.astype(kind)
    return less if np.array_equal(less, array, equal_nan=array.dtype.kind == "f") else array


def history_bytes(history: Mapping[str, Column]) -> bytes:
    """The columns of a history: a line of JSON with their names, then their numbers, in 4 bytes each where these suffice."""
    rows = len(next(iter(history.values()), ()))
    if any(len(column) != rows for column in history.values()):
        raise ValueError("history: its columns differ in length")
    contents = [_column_bytes(column.tolist() if isinstance(column, np.ndarray) else column) for column in history.values()]
    sizes = tuple(4 if len(content) == 4 * rows else 8 for content in contents)
    return _history_line(rows, tuple(history), sizes) + b"".join(contents)


@lru_cache(maxsize=64)
def _history_line(rows: int, names: tuple[str, ...], sizes: tuple[int, ...]) -> bytes:
    return json.dumps({"rows": rows, "columns": [list(pair) for pair in zip(names, sizes, strict=True)]}).encode() + b"\n"


def _column_bytes(column: Sequence[float | None]) -> bytes:
    """Numbers in 4 bytes each if that loses nothing, else in 8; None becomes NaN, and every NaN the same one."""
    numbers = tuple([math.nan if value is None or value != value else value for value in column])
    try:
        short = struct.pack(f"<{len(numbers)}f", *numbers)
    except OverflowError:
        return struct.pack(f"<{len(numbers)}d", *numbers)
    again = struct.unpack(f"<{len(numbers)}f", short)
    if again == numbers or all(one == other or one != one for one, other in zip(again, numbers, strict=True)):
        return short
    return struct.pack(f"<{len(numbers)}d", *numbers)


def read_history_bytes(content: bytes) -> dict[str, NDArray[np.float64]]:
    """The columns of what ``history_bytes`` wrote."""
    line, _, numbers = content.partition(b"\n")
    head = json.loads(line)
    found, place = {}, 0
    for name, size in head["columns"]:
        found[str(name)] = np.frombuffer(numbers, f"<f{size}", head["rows"], place).astype(np.float64)
        place += size * head["rows"]
    return found


def section_bytes(value: Any) -> bytes:
    """A part of a config as JSON, which keeps what JSON lacks: keys that are no texts, numbers that are not finite."""
    return json.dumps(_with_pairs(value), separators=(",", ":")).encode()


def read_section(content: bytes) -> Any:
    """What ``section_bytes`` wrote."""
    return json.loads(content, object_hook=_without_pairs)


def _with_pairs(value: Any) -> Any:
    if isinstance(value, Mapping):
        items = {key: _with_pairs(item) for key, item in value.items()}
        return items if all(isinstance(key, str) for key in items) else {_PAIRS: [list(pair) for pair in items.items()]}
    return [_with_pairs(item) for item in value] if isinstance(value, list | tuple) else value


def _without_pairs(found: dict[str, Any]) -> dict[Any, Any]:
    return dict(map(tuple, found[_PAIRS])) if _PAIRS in found else found


def read_json(content: bytes) -> Any:
    """What ``extra_bytes`` wrote."""
    return json.loads(content)
