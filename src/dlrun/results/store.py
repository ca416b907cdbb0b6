"""Runs on disk: one folder a run, written whole or not at all.

    outputs/runs/<id>/   config.yaml overrides.yaml history.csv model.safetensors preprocessing.json run.log result.json
    outputs/runs/.new/   folders being written, and those being replaced
    outputs/runs/.claims/   which process is training which runs (see locks)

A folder is built under ``.new``, result.json last, and renamed into place in one step. So nobody sees half a file, a folder
that is there is finished, and a killed process leaves something under ``.new`` and ``.claims`` at most, which ``prepare``
clears away.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.errors import StoreError
from dlrun.results.files import (
    abandoned,
    make_folder,
    make_own_folder,
    names_in,
    put_in_place,
    read,
    remove,
    sync_folder,
    unique,
    write_file,
)
from dlrun.results.formats import HISTORY, RESULT, WEIGHTS, RunFiles, contents, file_name, read_history
from dlrun.results.locks import Claim, claimed, clear_claims
from dlrun.results.record import RunRecord

_ID = re.compile(r"[0-9a-f]{6,64}")


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
        self._claims = self.runs / ".claims"
        self._host = os.uname().nodename
        self._elsewhere: dict[str, Path] = {}

    @classmethod
    def at(cls, output_dir: str | os.PathLike[str] | None = None) -> "Store":
        """The store at ``output_dir``, else at the environment variable DLRUN_OUTPUT_DIR, else at ./outputs."""
        chosen = output_dir or os.environ.get("DLRUN_OUTPUT_DIR") or "outputs"
        return cls(Path(chosen).expanduser().absolute())

    @classmethod
    def around(cls, folder: Path) -> tuple["Store", RunRecord]:
        """A store to read one run from, wherever its folder lies and whatever it is called; and the run's record.

        Raises:
            StoreError: there is no run in the folder, or its record is damaged.
        """
        try:
            record = RunRecord.from_json((folder / RESULT).read_bytes())
        except OSError as error:
            raise StoreError(f"{folder / RESULT}: cannot be read ({error.strerror})") from error
        except (ValueError, TypeError) as error:
            raise StoreError(f"{folder / RESULT}: is damaged ({error})") from error
        store = cls(folder.parent.parent)
        store._elsewhere[record.id] = folder
        return store, record

    def prepare(self) -> None:
        """Make the folders, try to write there, and clear away what killed processes left.

        Raises:
            StoreError: nothing can be written there.
        """
        probe = self._new / f"probe~{self._host}~{unique()}"
        try:
            make_own_folder(self._new)
            self.sweeps.mkdir(exist_ok=True)
            write_file(probe, b"x")
            probe.unlink()
            self._clear()
            clear_claims(self._claims)
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
        return self._elsewhere.get(run, self.runs / run)

    def write_run(self, run: RunFiles, durable: bool = True) -> Path:
        """Write one run's folder in place of any earlier attempt and return it.

        Args:
            durable: flush every file to the disk, so that the run survives a power failure.

        Raises:
            StoreError: it could not be written; the earlier attempt is still there.
        """
        target = self.folder(run.record.id)
        staged = f"{self._new}/{target.name}~{self._host}~{unique()}"
        try:
            files = list(contents(run))
        except (TypeError, ValueError) as error:
            raise StoreError(f"{target}: cannot be written ({error})") from error
        try:
            make_folder(staged)
            for name, content in files:
                write_file(f"{staged}/{name}", content, durable)
            if durable:
                sync_folder(staged)
            put_in_place(staged, target)
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
        with claimed(self._claims, ids) as claim:
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
        return sorted(name for name in names_in(self.runs) if _ID.fullmatch(name))

    def history(self, run: str) -> dict[str, NDArray[np.float64]]:
        """The columns of history.csv, each [epochs]; an empty cell is NaN.

        Raises:
            StoreError: there is no history, or it is damaged.
        """
        path = self.folder(run) / HISTORY
        try:
            return read_history(read(path).decode())
        except ValueError as error:
            raise StoreError(f"{path}: is damaged ({error})") from error

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
        return read(self.folder(run) / name).decode(errors="replace")

    def _verified(self, run: str, name: str) -> bytes:
        path = self.folder(run) / file_name(name)
        content = read(path)
        if sha256(content).hexdigest() != self.read_record(run).digests.get(name):
            raise StoreError(f"{path}: is damaged (it is not the file that {RESULT} speaks of)")
        return content

    def _clear(self) -> None:
        """Carry out or remove what killed processes of this machine left half done."""
        for path in sorted(self._new.iterdir()):  # a new attempt comes before the one it was to replace
            run, host, writer = (*path.name.split("~", 2), "", "")[:3]
            if host != self._host or not abandoned(writer.partition("~old")[0]):
                continue
            if _is_whole(path) and not os.path.lexists(self.runs / run):
                os.rename(path, self.runs / run)  # killed between the two renames of put_in_place
            else:
                with suppress(FileNotFoundError):  # another process clears up too
                    remove(str(path))


def _is_whole(folder: Path) -> bool:
    if folder.is_symlink():
        return False
    try:
        RunRecord.from_json((folder / RESULT).read_bytes())
    except (OSError, ValueError, TypeError):
        return False
    return True
