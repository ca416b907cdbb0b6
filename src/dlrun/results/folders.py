"""A run as a folder: a view of it that can be looked at, copied and sent, and that dlrun reads wherever it lies.

    <folder>/   config.yaml overrides.yaml history.csv model.safetensors preprocessing.json [encoding.json] run.log result.json

A folder is written beside its place and renamed in one step, so it is there as a whole or not at all. result.json has the
digests of the other files, and of itself.
"""

import csv
import io
import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun import registry
from dlrun.errors import InputError, StoreError
from dlrun.results.files import abandoned, make_own_folder, put_in_place, read, remove, sync_folder, unique, write_file
from dlrun.results.formats import (
    ARRAYS,
    CONFIG,
    HISTORY,
    LOG,
    OVERRIDES,
    RESULT,
    WEIGHTS,
    Column,
    RunFiles,
    extra_bytes,
    file_name,
    read_weights,
    weights_bytes,
)
from dlrun.results.record import RunRecord

_PLAIN_YAML = re.compile(r"[A-Za-z_][\w./@]*=[\w./][\w./+-]*", re.ASCII)
_UNREADABLE_IN_YAML = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
STAGED = ".dlrun-new"  # in the names of folders that are being written


def write(files: RunFiles, target: Path) -> None:
    """Write a run's folder, in place of any that is there.

    Raises:
        StoreError: it could not be written.
    """
    staged = target.with_name(f".{target.name}{STAGED}.{unique()}")
    try:
        written = list(_contents(files))
    except (TypeError, ValueError) as error:
        raise StoreError(f"{target}: cannot be written ({error})") from error
    try:
        make_own_folder(target.parent)
        clear(target.parent, target.name)
        staged.mkdir()
        for name, content in written:
            write_file(staged / name, content, durable=True)
        sync_folder(staged)
        put_in_place(str(staged), target)
        sync_folder(target.parent)
    except OSError as error:
        shutil.rmtree(staged, ignore_errors=True)
        raise StoreError(f"{target}: cannot be written ({error.strerror})") from error


def clear(parent: Path, name: str = "") -> None:
    """Remove what was left of folders that were being written when their process was killed: of ``name``, or all."""
    for path in parent.glob(f".{name or '*'}{STAGED}.*"):
        if abandoned(path.name):
            remove(str(path))


def remove_run(folder: Path) -> None:
    """Remove the folder of a run, if it is one."""
    if folder.is_symlink() or is_run(folder):
        remove(str(folder))


def is_run(folder: Path) -> bool:
    """Whether a folder looks like a run's."""
    return (folder / RESULT).is_file()


class RunFolder:
    """The folder of one run, read wherever it lies and whatever it is called.

    Args:
        folder: where it is.

    Raises:
        StoreError: there is no run in it, or its record is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        path = folder / RESULT
        content = read(path)
        try:
            record = RunRecord.from_json(content)
        except (ValueError, TypeError) as error:
            raise StoreError(f"{path}: is damaged ({error})") from error
        if record.digests.get(RESULT, _own_digest(record)) != _own_digest(record):
            raise StoreError(f"{path}: is damaged (it is not what was written)")
        self._record = record

    def read_record(self, run: str = "") -> RunRecord:
        """The record of the run."""
        return self._record

    def config(self, run: str = "") -> dict[str, Any]:
        """The resolved config. A StoreError when it is damaged or missing."""
        path = self.folder / CONFIG
        if CONFIG in self._record.digests:
            self._verified(CONFIG)
        try:
            return registry.read(path)
        except InputError as error:
            raise StoreError(*error.problems) from error

    def history(self, run: str = "") -> dict[str, NDArray[np.float64]]:
        """The columns of history.csv, each [epochs]; an empty cell is NaN. A StoreError when it is damaged or missing."""
        path = self.folder / HISTORY
        content = self._verified(HISTORY) if HISTORY in self._record.digests else read(path)
        try:
            return _read_history(content.decode())
        except ValueError as error:
            raise StoreError(f"{path}: is damaged ({error})") from error

    def weights(self, run: str = "") -> dict[str, NDArray[Any]]:
        """The arrays of model.safetensors. A StoreError when there are none, or they are not those that were written."""
        return self.arrays(run, WEIGHTS)

    def arrays(self, run: str, name: str) -> dict[str, NDArray[Any]]:
        """The arrays of a file. A StoreError when there are none, or they are not those that were written."""
        try:
            return read_weights(self._verified(name))
        except ValueError as error:
            raise StoreError(f"{self.folder / name}: is damaged ({error})") from error

    def extra(self, run: str, name: str) -> Any:
        """What is in a JSON file. A StoreError when it is not there, or is not what was written."""
        try:
            return json.loads(self._verified(name))
        except ValueError as error:
            raise StoreError(f"{self.folder / name}: is damaged ({error})") from error

    def files(self) -> RunFiles:
        """Everything in the folder.

        Raises:
            StoreError: a part of it is damaged or missing.
        """
        names = [name for name in self._record.digests if name not in (CONFIG, HISTORY, WEIGHTS, RESULT, OVERRIDES, LOG)]
        arrays = [name for name in names if name.endswith(ARRAYS)]
        weights = self.weights() if WEIGHTS in self._record.digests else {}
        return RunFiles(
            replace(self._record, digests={}),
            self.config(),
            self.history(),
            weights,
            _extra_lines(self._record, self._text(LOG)),
            {name: self.extra("", name) for name in names if name not in arrays},
            {name: self.arrays("", name) for name in arrays},
        )

    def _text(self, name: str) -> str:
        path = self.folder / name
        return read(path).decode(errors="replace") if path.is_file() else ""

    def _verified(self, name: str) -> bytes:
        path = self.folder / file_name(name)
        content = read(path)
        if sha256(content).hexdigest() != self._record.digests.get(name):
            raise StoreError(f"{path}: is damaged (it is not the file that {RESULT} speaks of)")
        return content


def _contents(files: RunFiles) -> Iterator[tuple[str, bytes]]:
    """The files of a run in the order of writing: result.json last, with the digests of all that is read back."""
    digests = {}

    def kept(name: str, content: bytes) -> tuple[str, bytes]:
        digests[name] = sha256(content).hexdigest()
        return name, content

    yield kept(CONFIG, config_yaml(files.config).encode(errors="backslashreplace"))
    yield OVERRIDES, _overrides_yaml(files.record.overrides).encode()
    yield kept(HISTORY, history_csv(files.history).encode())
    if files.weights:
        yield kept(WEIGHTS, weights_bytes(files.weights))
    for name, value in files.extra.items():
        yield kept(name, extra_bytes(name, value))
    for name, arrays in files.arrays.items():
        yield kept(name, weights_bytes(arrays))
    yield LOG, "".join(f"{line}\n" for line in log_lines(files.record, files.log)).encode(errors="backslashreplace")
    record = replace(files.record.strict(), digests=digests)
    yield RESULT, replace(record, digests=digests | {RESULT: _own_digest(record)}).to_json().encode()


def _own_digest(record: RunRecord) -> str:
    """The digest of a record, but for itself."""
    others = {name: digest for name, digest in record.digests.items() if name != RESULT}
    return sha256(replace(record, digests=others).to_json().encode()).hexdigest()


def log_lines(record: RunRecord, lines: Iterable[str]) -> list[str]:
    """The lines of run.log: what the record says about how the run was trained, around what else was noted."""
    head = f"{record.name or record.id}: {' '.join(record.overrides) or 'defaults'}"
    if "steps" not in record.cohort:  # it did not end, and the lines say why
        return [head, *lines]
    runs, seconds, device = (record.cohort.get(name) for name in ("runs", "seconds", "device"))
    took = f"{seconds:.3f} s for all" if isinstance(seconds, int | float) else ""
    ended = f"{record.status} after {record.epochs} epochs, {record.cohort['steps']} steps"
    return [
        head,
        *lines,
        f"one of {runs} runs trained together on {device}, {took}",
        ended + (f": {record.reason}" if record.reason else ""),
    ]


def _extra_lines(record: RunRecord, log: str) -> list[str]:
    """The lines of a run.log that its record does not give."""
    known = set(log_lines(record, ()))
    return [line for line in log.splitlines() if line not in known]


def history_csv(history: Mapping[str, Column]) -> str:
    """Numbers in the fewest digits that give the same number back, in the column's own precision; None is an empty cell."""
    columns = [map(str, column) if isinstance(column, np.ndarray) else map(_cell, column) for column in history.values()]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(history)
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue()


def _cell(value: float | None) -> str:
    return "" if value is None else str(value)


def _read_history(text: str) -> dict[str, NDArray[np.float64]]:
    """The columns of what ``history_csv`` wrote. A ValueError when it is not a table of numbers."""
    names, *rows = list(csv.reader(io.StringIO(text), strict=True)) or [[]]
    values = np.array([[float(cell or "nan") for cell in row] for row in rows if row], dtype=np.float64)
    columns = values.reshape(-1, len(names)).T if names else values
    return dict(zip(names, columns, strict=True))


def config_yaml(config: Mapping[str, Any]) -> str:
    """A resolved config as YAML, keys in their order."""
    import yaml

    text: str = yaml.dump(dict(config), Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=1000) if config else ""
    return text


@cache
def _dumper() -> Any:
    """YAML's dumper that puts quotation marks around the texts which dlrun and Hydra would read as numbers, such as 1e3."""
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):  # type: ignore[misc]
        """With the floats that dlrun's loader knows, and without references: sections may share an object."""

        def ignore_aliases(self, data: Any) -> bool:
            return True

    Dumper.add_implicit_resolver("tag:yaml.org,2002:float", registry.NUMBER, list("-+0123456789."))
    return Dumper


def _overrides_yaml(overrides: Sequence[str]) -> str:
    return "".join(f"- {_yaml(text)}\n" for text in overrides) or "[]\n"


def _yaml(text: str) -> str:
    if _PLAIN_YAML.fullmatch(text):
        return text
    # JSON is YAML, but for a few characters that only one of the two can hold as they are
    return _UNREADABLE_IN_YAML.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))
