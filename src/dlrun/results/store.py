"""Runs on disk: one folder a run, written whole or not at all.

    outputs/runs/<id>/   config.yaml overrides.yaml history.csv model.safetensors preprocessing.json run.log result.json
    outputs/runs/.new/   folders being written, and those being replaced
    outputs/runs/.claims/   which process is training which runs (see locks)

A folder is built under ``.new``, result.json last, and renamed into place in one step. So nobody sees half a file, a folder
that is there is finished, and a killed process leaves something under ``.new`` at most, which ``prepare`` clears away.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.errors import StoreError
from dlrun.results.locks import Claim, claimed, write_all
from dlrun.results.record import RunRecord, plain, to_json

Column = Sequence[float] | NDArray[Any]

RESULT = "result.json"
CONFIG = "config.yaml"
OVERRIDES = "overrides.yaml"
HISTORY = "history.csv"
WEIGHTS = "model.safetensors"
LOG = "run.log"

_ID = re.compile(r"[0-9a-f]{6,64}")
_PLAIN_YAML = re.compile(r"[A-Za-z_][\w./@]*=[\w./][\w./+-]*", re.ASCII)
_UNREADABLE_IN_YAML = re.compile("[\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff\ud800-\udfff]")
_NUMBERS = count()
_TRIES = 5


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


class Store:
    """The runs below one output root.

    Args:
        root: the output root; made by ``prepare``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = root / "runs"
        self.sweeps = root / "sweeps"
        self._new = self.runs / ".new"
        self._owner = f"{os.uname().nodename}~{os.getpid()}"

    @classmethod
    def at(cls, output_dir: str | os.PathLike[str] | None = None) -> "Store":
        """The store at ``output_dir``, else at the environment variable DLRUN_OUTPUT_DIR, else at ./outputs."""
        chosen = output_dir or os.environ.get("DLRUN_OUTPUT_DIR") or "outputs"
        return cls(Path(chosen).expanduser().absolute())

    def prepare(self) -> None:
        """Make the folders, try to write there, and clear away what killed processes left.

        Raises:
            StoreError: nothing can be written there.
        """
        probe = self._new / f"probe~{self._owner}"
        try:
            self._new.mkdir(parents=True, exist_ok=True)
            self.sweeps.mkdir(exist_ok=True)
            write_file(probe, b"x")
            probe.unlink()
            self._clear()
        except OSError as error:
            raise StoreError(
                f"output_dir={self.root}: cannot be written ({error.strerror}); "
                "choose another folder with output_dir=PATH or the environment variable DLRUN_OUTPUT_DIR"
            ) from error

    def folder(self, run: str) -> Path:
        """Where a run is kept, whether it is there or not.

        Raises:
            StoreError: ``run`` is not an id.
        """
        if not _ID.fullmatch(run):
            raise StoreError(f"run {run!r}: an id is 12 of the characters 0-9 and a-f")
        return self.runs / run

    def write_run(self, run: RunFiles, durable: bool = True) -> Path:
        """Write one run's folder in place of any earlier attempt and return it.

        Args:
            durable: flush every file to the disk, so that the run survives a power failure.

        Raises:
            StoreError: it could not be written; the earlier attempt is still there.
        """
        target = self.folder(run.record.id)
        staged = f"{self._new}/{target.name}~{self._owner}~{next(_NUMBERS)}"
        try:
            _make(staged)
            for name, content in _contents(run):
                write_file(f"{staged}/{name}", content, durable)
            if durable:
                sync_folder(staged)
            _put_in_place(staged, target)
            if durable:
                sync_folder(self.runs)
        except OSError as error:
            shutil.rmtree(staged, ignore_errors=True)
            raise StoreError(f"{target}: cannot be written ({error.strerror})") from error
        return target

    def write_cohort(self, runs: Iterable[RunFiles], durable: bool = True) -> list[Path]:
        """Write the folders of many runs and flush them to the disk together, once.

        Raises:
            StoreError: some could not be written; all others were.
        """
        folders, problems = [], []
        for run in runs:
            try:
                folders.append(self.write_run(run, durable=False))
            except StoreError as error:
                problems.append(str(error))
        if durable and folders:
            os.sync()
        if problems:
            more = (f"and {len(problems) - 3} more runs could not be written",) if len(problems) > 3 else ()
            raise StoreError(*problems[:3], *more)
        return folders

    @contextmanager
    def claim(self, ids: Iterable[str]) -> Iterator[Claim]:
        """Claim the right to train ``ids`` while the context lasts; runs that another process is training are not given.

        Ask ``finished`` after claiming: another process may have ended a run and let go of it just before.
        """
        with claimed(self.runs / ".claims", ids) as claim:
            yield claim

    def finished(self, run: str) -> RunRecord | None:
        """The record of a run that has ended, however it ended; None when it has not, or when its record is damaged."""
        try:
            return self.read_record(run)
        except StoreError:
            return None

    def read_record(self, run: str) -> RunRecord:
        """The record of one run.

        Raises:
            StoreError: there is none, or it is damaged.
        """
        path = self.folder(run) / RESULT
        try:
            with open(path, "rb") as file:
                return RunRecord.from_json(file.read())
        except FileNotFoundError:
            raise StoreError(f"run {run}: not found in {self.runs}") from None
        except (OSError, ValueError, TypeError) as error:
            raise StoreError(f"{path}: is damaged ({error}); remove {path.parent} to have the run trained again") from error

    def records(self, ids: Iterable[str] | None = None, complain: Callable[[str], None] | None = None) -> list[RunRecord]:
        """The records of ``ids`` that have ended, in that order; of all runs, sorted by id, when None.

        Args:
            complain: is told of each record that is there and cannot be read; such a record is left out.
        """
        found = []
        for run in self.ids() if ids is None else ids:
            try:
                found.append(self.read_record(run))
            except StoreError as error:
                if complain is not None and (self.folder(run) / RESULT).exists():
                    complain(str(error))
        return found

    def ids(self) -> list[str]:
        """The ids of all runs that have a folder, sorted."""
        try:
            return sorted(name for name in os.listdir(self.runs) if _ID.fullmatch(name))
        except FileNotFoundError:
            return []

    def history(self, run: str) -> dict[str, NDArray[np.float64]]:
        """The columns of history.csv, each [epochs]; an empty cell is NaN.

        Raises:
            StoreError: there is no history, or it is damaged.
        """
        path = self.folder(run) / HISTORY
        try:
            header, *lines = _read(path).decode().splitlines()
            cells = [line.split(",") for line in lines]
            names = header.split(",")
            values = np.array([[float(cell or "nan") for cell in row] for row in cells], dtype=np.float64)
            columns = values.reshape(len(cells), len(names)).T
        except ValueError as error:
            raise StoreError(f"{path}: is damaged ({error})") from error
        return {name: column for name, column in zip(names, columns, strict=True) if name}

    def weights(self, run: str) -> dict[str, NDArray[Any]]:
        """The arrays of model.safetensors.

        Raises:
            StoreError: there are none, or the file is not the one that was written.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load

        content = self._verified(run, WEIGHTS)
        try:
            return load(content)
        except SafetensorError as error:
            raise StoreError(f"{self.folder(run) / WEIGHTS}: is damaged ({error})") from error

    def extra(self, run: str, name: str) -> Any:
        """What is in a run's JSON file, such as ``preprocessing.json``.

        Raises:
            StoreError: it is not there, or it is not the file that was written.
        """
        return json.loads(self._verified(run, name))

    def text(self, run: str, name: str) -> str:
        """What is in one of a run's text files, such as ``config.yaml`` or ``run.log``.

        Raises:
            StoreError: it is not there.
        """
        return _read(self.folder(run) / name).decode(errors="replace")

    def _verified(self, run: str, name: str) -> bytes:
        path = self.folder(run) / _file_name(name)
        content = _read(path)
        if sha256(content).hexdigest() != self.read_record(run).digests.get(name):
            raise StoreError(f"{path}: is damaged (it is not the file that {RESULT} speaks of)")
        return content

    def _clear(self) -> None:
        """Carry out or remove what killed processes of this machine left half done."""
        for path in sorted(self._new.iterdir()):  # a new attempt comes before the one it was to replace
            run, _, owner = path.name.partition("~")
            host, pid = (*owner.split("~"), "", "")[:2]
            if host != os.uname().nodename or not pid.isdecimal() or _alive(int(pid)):
                continue
            if _is_whole(path) and not os.path.lexists(self.runs / run):
                os.rename(path, self.runs / run)  # killed between the two renames of _put_in_place
            else:
                with suppress(FileNotFoundError):  # another process clears up too
                    _remove(str(path))


def write_file(path: Path | str, content: bytes, durable: bool = False) -> None:
    """Write a whole file at once, flushed to the disk if ``durable``."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        write_all(handle, content)
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(path: Path, content: bytes, durable: bool = True) -> None:
    """Put a file in the place of another in one step: a reader finds the old one or the new one.

    Raises:
        StoreError: it could not be written; the old one is still there.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{next(_NUMBERS)}")
    try:
        write_file(temporary, content, durable)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written ({error.strerror})") from error


def sync_folder(folder: Path | str) -> None:
    """Flush to the disk which files a folder has."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _contents(run: RunFiles) -> Iterator[tuple[str, bytes]]:
    """The files of a run in the order of writing: result.json last, with the digests of those that are read back."""
    digests = {}
    yield CONFIG, run.config_yaml.encode(errors="backslashreplace")
    yield OVERRIDES, _overrides_yaml(run.overrides).encode()
    yield HISTORY, _history_csv(run.history).encode()
    if run.weights:
        from safetensors.numpy import save

        weights = save({name: np.ascontiguousarray(array) for name, array in run.weights.items()})
        digests[WEIGHTS] = sha256(weights).hexdigest()
        yield WEIGHTS, weights
    for name, value in run.extra.items():
        content = (to_json(plain(value, name, [])) + "\n").encode()
        digests[_file_name(name)] = sha256(content).hexdigest()
        yield name, content
    log = run.log if isinstance(run.log, str) else "".join(f"{line}\n" for line in run.log)
    yield LOG, log.encode(errors="backslashreplace")
    yield RESULT, replace(run.record, digests=digests).to_json().encode()


def _history_csv(history: Mapping[str, Column]) -> str:
    """Numbers in the fewest digits that give the same number back, in the column's own precision."""
    lines = map(",".join, zip(*map(_cells, history.values()), strict=True))
    return "\n".join((",".join(map(_header_cell, history)), *lines)) + "\n"


def _cells(column: Column) -> Iterable[str]:
    return map(str, column) if isinstance(column, np.ndarray) else ("" if value is None else str(value) for value in column)


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


def _file_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", name, re.ASCII):
        raise ValueError(f"file {name!r}: must be a plain name")
    return name


def _make(folder: str) -> None:
    try:
        os.mkdir(folder)
    except FileNotFoundError:  # prepare was not called, or somebody removed the folder
        os.makedirs(folder)


def _put_in_place(staged: str, target: Path) -> None:
    earlier: list[str] = []
    for attempt in range(_TRIES):  # more than two only while another process replaces the same run
        try:
            os.rename(staged, target)
            break
        except OSError:
            if attempt + 1 < _TRIES and os.path.lexists(target):
                old = f"{staged}~old{attempt}"
                with suppress(FileNotFoundError):
                    os.rename(target, old)
                    earlier.append(old)
                continue
            if earlier and not os.path.lexists(target):
                os.rename(earlier.pop(), target)
            raise
    for old in earlier:
        _remove(old)


def _remove(folder: str) -> None:
    if os.path.islink(folder) or not os.path.isdir(folder):
        os.unlink(folder)
        return
    with suppress(OSError):  # there are only files in it, unless somebody put a folder there
        for name in os.listdir(folder):
            os.unlink(f"{folder}/{name}")
        os.rmdir(folder)
        return
    shutil.rmtree(folder, ignore_errors=True)


def _read(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from error


def _is_whole(folder: Path) -> bool:
    if folder.is_symlink():
        return False
    try:
        RunRecord.from_json((folder / RESULT).read_bytes())
    except (OSError, ValueError, TypeError):
        return False
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
