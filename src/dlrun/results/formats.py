"""What is kept of a run, and how each file of its folder is written and read."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.results.record import RunRecord, plain, to_json

Column = Sequence[float] | NDArray[Any]

RESULT = "result.json"
CONFIG = "config.yaml"
OVERRIDES = "overrides.yaml"
HISTORY = "history.csv"
WEIGHTS = "model.safetensors"
LOG = "run.log"

_PLAIN_YAML = re.compile(r"[A-Za-z_][\w./@]*=[\w./][\w./+-]*", re.ASCII)
_UNREADABLE_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


@dataclass(frozen=True)
class RunFiles:
    """Everything that is kept of one run.

    Args:
        record: becomes result.json.
        config_yaml: the resolved config as text.
        overrides: the overrides as the user typed them.
        history: column name -> one number for each epoch, all of one length; a None is an empty cell.
        weights: name -> array; no file is written when there are none (a skipped run).
        log: the text of run.log, or its lines.
        extra: file name (such as ``preprocessing.json``) -> what goes into it as JSON.
    """

    record: RunRecord
    config_yaml: str = ""
    overrides: Sequence[str] = ()
    history: Mapping[str, Column] = field(default_factory=dict)
    weights: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    log: str | Sequence[str] = ""
    extra: Mapping[str, Any] = field(default_factory=dict)


def contents(run: RunFiles) -> Iterator[tuple[str, bytes]]:
    """The files of a run in the order of writing: result.json last, with the digests of those that are read back."""
    digests = {}
    yield CONFIG, run.config_yaml.encode(errors="backslashreplace")
    yield OVERRIDES, _overrides_yaml(run.overrides).encode()
    yield HISTORY, history_csv(run.history).encode()
    if run.weights:
        from safetensors.numpy import save

        weights = save({name: np.ascontiguousarray(array) for name, array in run.weights.items()})
        digests[WEIGHTS] = sha256(weights).hexdigest()
        yield WEIGHTS, weights
    for name, value in run.extra.items():
        content = (to_json(plain(value, name, [])) + "\n").encode()
        digests[file_name(name)] = sha256(content).hexdigest()
        yield name, content
    log = run.log if isinstance(run.log, str) else "".join(f"{line}\n" for line in run.log)
    yield LOG, log.encode(errors="backslashreplace")
    yield RESULT, replace(run.record, digests=digests).to_json().encode()


def history_csv(history: Mapping[str, Column]) -> str:
    """Numbers in the fewest digits that give the same number back, in the column's own precision."""
    lines = map(",".join, zip(*map(_cells, history.values()), strict=True))
    return "\n".join((",".join(map(_header_cell, history)), *lines)) + "\n"


def _cells(column: Column) -> Iterable[str]:
    return map(str, column) if isinstance(column, np.ndarray) else ("" if value is None else str(value) for value in column)


def read_history(text: str) -> dict[str, NDArray[np.float64]]:
    """The columns of what ``history_csv`` wrote; an empty cell is NaN. A ValueError when it is not a table of numbers."""
    header, *lines = text.splitlines() or [""]
    cells = [line.split(",") for line in lines]
    names = header.split(",")
    values = np.array([[float(cell or "nan") for cell in row] for row in cells], dtype=np.float64)
    columns = values.reshape(len(cells), len(names)).T
    return {name: column for name, column in zip(names, columns, strict=True) if name}


def _header_cell(name: str) -> str:
    if re.search(r'[,"\r\n]', name):
        raise ValueError(f"history column {name!r}: must not have a comma, a quote or a line break")
    return name


def _overrides_yaml(overrides: Sequence[str]) -> str:
    return "".join(f"- {_yaml(text)}\n" for text in overrides) or "[]\n"


def _yaml(text: str) -> str:
    if _PLAIN_YAML.fullmatch(text):
        return text
    # JSON is YAML, but for a few characters that only one of the two can hold as they are
    return _UNREADABLE_IN_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))


def file_name(name: str) -> str:
    """``name``, if it is a plain file name; a ValueError otherwise."""
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII):
        raise ValueError(f"file {name!r}: must be a plain name")
    return name
