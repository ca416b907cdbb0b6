"""What is kept of a run, and how its parts are written as bytes and read again."""

import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.results.record import RunRecord, json_bytes

Column = Sequence[float | None] | NDArray[Any]
Form = tuple[tuple[str, str, tuple[int, ...]], ...]  # of arrays: names, types and shapes

RESULT = "result.json"
CONFIG = "config.yaml"
OVERRIDES = "overrides.yaml"
HISTORY = "history.csv"
ARRAYS = ".safetensors"
WEIGHTS = "model.safetensors"
PREDICTIONS, TARGETS = "predictions.safetensors", "targets.safetensors"
LOG = "run.log"

_heads: dict[Form, tuple[bytes, tuple[str, ...]]] = {}
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


@lru_cache(maxsize=64)
def file_name(name: str) -> str:
    """``name``, if it is a plain file name; a ValueError otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII):
        raise ValueError(f"file {name!r}: must be a plain name")
    return name


def weights_bytes(weights: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as safetensors."""
    form = _form(weights)
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
    return json_bytes(value, name) + b"\n"


@lru_cache(maxsize=64)
def log_bytes(lines: tuple[str, ...]) -> bytes:
    """The lines of a log in the database: many runs have the same."""
    return json_bytes(lines)


def _form(arrays: Mapping[str, NDArray[Any]]) -> Form:
    """The names, types and shapes of arrays."""
    return tuple([(name, array.dtype.str, array.shape) for name, array in arrays.items()])


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays in the database: a line of JSON with their names, types and shapes, then their numbers."""
    line, kinds = _line(_form(arrays))
    parts = [
        array.tobytes() if kind is None else array.astype(kind).tobytes()
        for array, kind in zip(arrays.values(), kinds, strict=True)
    ]
    return line + b"".join(parts)


@lru_cache(maxsize=64)
def _line(form: Form) -> tuple[bytes, list[str | None]]:
    """The line of JSON of ``pack``, and the types that its arrays have to be brought to: runs of a cohort have the same."""
    kinds = [np.dtype(kind).newbyteorder("<").str for _, kind, _ in form]
    line = json.dumps([[name, kind, shape] for (name, _, shape), kind in zip(form, kinds, strict=True)]).encode() + b"\n"
    return line, [None if kind == given else kind for (_, given, _), kind in zip(form, kinds, strict=True)]


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
    """The columns of a history: a line of JSON with their names, then their numbers, in 4 bytes each where these suffice.

    None becomes NaN, and every NaN the same one.

    Raises:
        ValueError: columns differ in length.
    """
    return histories([history])[0]


def histories(several: Sequence[Mapping[str, Column]]) -> list[bytes]:
    """What ``history_bytes`` gives for each of several, in a fifth of the time where they have the same columns and lengths.

    Raises:
        ValueError: columns of one differ in length.
    """
    alike: dict[tuple[tuple[str, ...], int], list[int]] = {}
    for number, history in enumerate(several):
        lengths = {*map(len, history.values())}
        if len(lengths) > 1:
            raise ValueError("history: its columns differ in length")
        alike.setdefault((tuple(history), max(lengths, default=0)), []).append(number)
    found: dict[int, bytes] = {}
    for (names, rows), members in alike.items():
        numbers = np.array([[*several[number].values()] for number in members], dtype="<f8")
        found |= zip(members, _of_columns(names, numbers.reshape(len(members), len(names), rows)), strict=True)
    return [found[number] for number in range(len(several))]


def _of_columns(names: tuple[str, ...], numbers: NDArray[np.float64]) -> Iterator[bytes]:
    """The histories of runs whose columns are ``numbers``, [runs, columns, rows]."""
    missing = np.isnan(numbers)
    numbers[missing] = math.nan
    with np.errstate(over="ignore"):
        short = numbers.astype("<f4")
    exact = ((short == numbers) | missing).all(2)
    for more, less, fits in zip(numbers, short, exact.tolist(), strict=True):
        columns = [less[place] if fit else more[place] for place, fit in enumerate(fits)]
        yield _history_line(numbers.shape[2], names, tuple([4 if fit else 8 for fit in fits])) + b"".join(columns)


@lru_cache(maxsize=64)
def _history_line(rows: int, names: tuple[str, ...], sizes: tuple[int, ...]) -> bytes:
    return json.dumps({"rows": rows, "columns": [list(pair) for pair in zip(names, sizes, strict=True)]}).encode() + b"\n"


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
