"""The store of an output root: its runs, and who is training which of them.

outputs/dlrun.sqlite    all of it (see database and runs)
outputs/weights/        weights of large models
outputs/runs/<id>/      runs as folders (see folders): views of single runs, and of those that were exported
outputs/sweeps/         tables of sweeps (see sweeps)
"""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from dlrun.errors import StoreError
from dlrun.results import claims, folders
from dlrun.results.blobs import FOLDER
from dlrun.results.checkpoints import SavedCheckpoint
from dlrun.results.claims import Claim
from dlrun.results.database import FILE, reading, touch, writing
from dlrun.results.files import clear_files
from dlrun.results.formats import ARRAYS, WEIGHTS, RunFiles, read_history_bytes, read_json, read_weights, unpack
from dlrun.results.record import RunRecord
from dlrun.results.runs import HISTORY_PART, UNREADABLE, Runs

T = TypeVar("T")
_ID = re.compile(r"[0-9a-f]{6,64}")
BATCH = 1000  # runs that are taken apart before they are written


class Store:
    """The runs below one output root.

    Args:
        root: the output root; made by ``prepare``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root = root.absolute()
        self.runs = root / "runs"
        self.sweeps = root / "sweeps"

    @classmethod
    def at(cls, output_dir: str | os.PathLike[str] | None = None) -> "Store":
        """The store at ``output_dir``, else at the environment variable DLRUN_OUTPUT_DIR, else at ./outputs."""
        chosen = output_dir or os.environ.get("DLRUN_OUTPUT_DIR") or "outputs"
        return cls(Path(chosen).expanduser().absolute())

    @property
    def path(self) -> Path:
        """The database."""
        return self.root / FILE

    def prepare(self) -> None:
        """Make the database, try to write there, and clear away what killed processes left.

        Raises:
            StoreError: nothing can be written there.
        """
        try:
            with self.writing() as runs, writing_to(self.root):
                touch(runs.connection)
                claims.clear(runs.connection)
                runs.blobs.sweep_files()
                self.sweeps.mkdir(exist_ok=True)
                folders.clear(self.runs)
                clear_files(self.sweeps.glob("*/.*"))
        except StoreError as error:
            if "cannot be written" not in str(error):
                raise
            said = str(error).removeprefix(f"{self.path}: ").removeprefix(f"{self.root}: ")
            raise StoreError(
                f"output_dir={self.root}: {said}; "
                "choose another folder with output_dir=PATH or the environment variable DLRUN_OUTPUT_DIR"
            ) from error

    @contextmanager
    def writing(self) -> Iterator[Runs]:
        """One transaction on the database."""
        with writing(self.root) as connection:
            runs = Runs(connection, self.root)
            yield runs
            freed = runs.end()
        if freed and (self.root / FOLDER).is_dir():  # when they are gone for certain
            with writing(self.root) as connection:
                Runs(connection, self.root).blobs.sweep_files()

    @contextmanager
    def reading(self) -> Iterator[Runs | None]:
        """The database as it is at one moment; None where there is none."""
        with reading(self.root) as connection:
            yield None if connection is None else Runs(connection, self.root)

    def folder(self, run: str) -> Path:
        """Where a run's folder is, or would be: not every run has one.

        Raises:
            StoreError: ``run`` is not an id.
        """
        _check_id(run)
        return self.runs / run

    # Writing

    def write_cohort(self, runs: Iterable[RunFiles], *, as_folders: bool = False) -> None:
        """Keep runs, in place of any earlier attempts, in one transaction; and as folders if asked to.

        Raises:
            StoreError: some cannot be written down, all others were; or the database cannot be written, and none was.
        """
        problems: dict[str, str] = {}
        sound = []
        for run in runs:
            try:
                _check_id(run.record.id)
                sound.append(run)
            except StoreError as error:
                problems[run.record.id] = str(error)
        with self.writing() as rows:
            for start in range(0, len(sound), BATCH):
                problems |= rows.write(sound[start : start + BATCH])
        if as_folders:
            for run in sound:
                if run.record.id not in problems:
                    folders.write(run, self.folder(run.record.id))
        if problems:
            more = (f"and {len(problems) - 3} more runs could not be written",) if len(problems) > 3 else ()
            raise StoreError(*[*problems.values()][:3], *more)

    def keep_checkpoint(self, checkpoint: SavedCheckpoint) -> None:
        """Keep a checkpoint of a cohort that trains.

        Raises:
            StoreError: it could not be written; the one before is still there.
        """
        with self.writing() as rows:
            rows.checkpoints.keep(checkpoint)

    def checkpoints(
        self,
        wanted: Collection[str],
        known: Collection[str],
        fits: Callable[[SavedCheckpoint], bool],
        *,
        since: str = "",
        complain: Callable[[str], None],
    ) -> list[SavedCheckpoint]:
        """The checkpoints with which runs go on: see ``Checkpoints.find``."""
        with self.reading() as rows:
            return [] if rows is None else rows.checkpoints.find(wanted, known, fits, since, complain)

    def latest_checkpoints(self, runs: Collection[str]) -> list[tuple[SavedCheckpoint, str]]:
        """How far cohorts with some of ``runs`` are kept: see ``Checkpoints.latest``."""
        with self.reading() as rows:
            return [] if rows is None else rows.checkpoints.latest(runs)

    def write_run(self, run: RunFiles) -> Path:
        """Keep one run, as a folder too, which is returned.

        Raises:
            StoreError: it could not be written; the earlier attempt is still there.
        """
        self.write_cohort([run], as_folders=True)
        return self.folder(run.record.id)

    def export(self, run: str, target: Path | None = None) -> Path:
        """Write a run as a folder: at ``target``, or where the folders of runs are. Returns the folder.

        Raises:
            StoreError: there is no such run, it is damaged, or the folder cannot be written.
        """
        folder = target or self.folder(run)
        folders.write(self.files(run), folder)
        return folder

    def delete(self, ids: Iterable[str]) -> int:
        """Remove runs, and their folders. Returns how many there were."""
        gone = list(ids)
        with self.writing() as rows:
            count = rows.delete(gone)
        for run in gone:
            folders.remove_run(self.folder(run))
        return count

    def annotate(self, run: str, text: str) -> None:
        """Set the note of a run; an empty text removes it.

        Raises:
            StoreError: there is no such run.
        """
        with self.writing() as rows:
            if not rows.annotate(run, text):
                raise self._missing(run)

    @contextmanager
    def claim(self, ids: Iterable[str]) -> Iterator[Claim]:
        """Claim the right to train ``ids`` while the context lasts; runs that another process is training are not given.

        Ask ``records`` after claiming: another process may have ended a run and let go of it just before.
        """
        with self.claimed(ids) as claim:
            yield claim

    @contextmanager
    def claimed(self, subjects: Iterable[str]) -> Iterator[Claim]:
        """Claim whatever has a name, such as a run or a sweep."""
        with writing(self.root) as connection:
            token, claim = claims.take(connection, subjects)
        try:
            yield claim
        finally:
            claims.let_go(token)
            with suppress(StoreError), writing(self.root) as connection:  # this process holds it no more, written down or not
                claims.give_back(connection, token)

    def owners(self, subjects: Iterable[str]) -> dict[str, str]:
        """Who has claimed each of ``subjects``, in words, where a living process has."""
        with reading(self.root) as connection:
            if connection is None:
                return {}
            return {subject: str(owner) for subject, owner in claims.owners(connection, subjects).items()}

    # Reading

    def finished(self, run: str) -> RunRecord | None:
        """The record of a run that has ended, however it ended; None when it has not, or is damaged."""
        return next(iter(self.records([run])), None)

    def read_record(self, run: str) -> RunRecord:
        """The record of one run.

        Raises:
            StoreError: there is none, or it is damaged.
        """
        said: list[str] = []
        found = self.records([self.folder(run).name], said.append)
        if not found:
            raise StoreError(said[0]) if said else self._missing(run)
        return found[0]

    def records(
        self, ids: Iterable[str] | None = None, complain: Callable[[str], None] | None = None, *, whole: bool = False
    ) -> list[RunRecord]:
        """The records of ``ids`` that have ended, in that order; of all runs, oldest first, when None.

        Args:
            complain: is told of each run that is there and damaged; such a run is left out.
            whole: look for damage in all that belongs to each run (histories, weights, ...), too.
        """
        wanted = None if ids is None else list(ids)
        with self.reading() as rows:
            if rows is None:
                return []
            found = rows.records(wanted, complain or (lambda line: None), whole)
        return list(found.values()) if wanted is None else [found[run] for run in wanted if run in found]

    def ids(self) -> list[str]:
        """The ids of all runs, sorted."""
        with self.reading() as rows:
            return [] if rows is None else rows.ids()

    def notes(self) -> dict[str, str]:
        """The notes of the runs that have one."""
        with self.reading() as rows:
            return {} if rows is None else rows.notes()

    def configs(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Run id -> resolved config, of the runs that are there and undamaged.

        Runs share the objects of the sections that they have in common: copy what you change.
        """
        with self.reading() as rows:
            return {} if rows is None else rows.configs(ids)

    def config(self, run: str) -> dict[str, Any]:
        """The resolved config of a run.

        Raises:
            StoreError: there is none, or it is damaged.
        """
        found = self.configs([run])
        if run not in found:
            self.read_record(run)
            raise StoreError(f"run {run}: its config in {self.path} is damaged or missing; train it again")
        return found[run]

    def history(self, run: str) -> dict[str, NDArray[np.float64]]:
        """The history of a run: columns, each [epochs]; an empty cell is NaN.

        Raises:
            StoreError: there is no such run, or it is damaged.
        """
        content = self._part(run, HISTORY_PART)
        return self._read(run, lambda: {} if content is None else read_history_bytes(content))

    def weights(self, run: str) -> dict[str, NDArray[Any]]:
        """The weights of a run.

        Raises:
            StoreError: there are none, or they are damaged.
        """
        return self.arrays(run, WEIGHTS)

    def arrays(self, run: str, name: str) -> dict[str, NDArray[Any]]:
        """The arrays in a file of a run, such as ``predictions.safetensors``.

        Raises:
            StoreError: there are none, or they are damaged.
        """
        content = self._part(run, name)
        if content is None:
            raise StoreError(f"run {run}: has no {name.removesuffix(ARRAYS).replace('model', 'weights')}")
        return self._read(run, lambda: read_weights(content) if name == WEIGHTS else unpack(content))

    def extra(self, run: str, name: str) -> Any:
        """What is in a run's JSON file, such as ``preprocessing.json``.

        Raises:
            StoreError: it is not there, or is damaged.
        """
        content = self._part(run, name)
        if content is None:
            raise StoreError(f"run {run}: has no {name}")
        return self._read(run, lambda: read_json(content))

    def files(self, run: str) -> RunFiles:
        """Everything that is kept of a run.

        Raises:
            StoreError: there is no such run, or it is damaged.
        """
        record = self.read_record(run)
        with self.reading() as rows:
            if rows is None:
                raise self._missing(run)
            return self._read(run, lambda: rows.files(run, record))

    def log(self, run: str) -> str:
        """The text of a run's log.

        Raises:
            StoreError: there is no such run, or it is damaged.
        """
        files = self.files(run)
        return "\n".join(folders.log_lines(files.record, files.log))

    def _part(self, run: str, name: str) -> bytes | None:
        self.read_record(run)
        with self.reading() as rows:
            return None if rows is None else self._read(run, lambda: rows.part(run, name))

    def _read(self, run: str, read: Callable[[], T]) -> T:
        try:
            return read()
        except (StoreError, *UNREADABLE) as error:
            why = str(error) if isinstance(error, StoreError) else f"is damaged ({error})"
            raise StoreError(f"run {run}: {why}; train it again") from error

    def _missing(self, run: str) -> StoreError:
        return StoreError(f"run {run}: not found in {self.path}")


def _check_id(run: str) -> None:
    if not _ID.fullmatch(run):
        raise StoreError(f"run {run!r}: an id is 12 of the characters 0-9 and a-f")


@contextmanager
def writing_to(root: Path) -> Iterator[None]:
    """What the system refuses below ``root`` as a StoreError."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{root}: cannot be written ({error.strerror})") from error
