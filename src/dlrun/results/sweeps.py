"""Sweeps on disk: which runs belong to one, and what became of them.

    outputs/sweeps/<YYYY-MM-DD>_<HHMMSS>_<name>/   sweep.json comparison.csv comparison.md

sweep.json lists the runs by id; what a run found out stands in its own folder. So a sweep that was killed at any moment knows
after ``refresh`` what has ended, and the table is rebuilt from the runs.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from dlrun.errors import StoreError, nearest, plural
from dlrun.results import locks
from dlrun.results.files import abandoned, names_in, replace_file
from dlrun.results.record import STATUSES, RunRecord, Status, plain
from dlrun.results.store import Store

SWEEP = "sweep.json"
COMPARISON_CSV = "comparison.csv"
COMPARISON_MARKDOWN = "comparison.md"

_NAME_LENGTH = 80
_STAMP_LENGTH = len("2026-01-31_120000_")


@dataclass(frozen=True)
class Cell:
    """One run of a sweep: its id (empty when the combination was skipped before it had one), and how far it is."""

    id: str
    overrides: tuple[str, ...] = ()
    seed: int = 0
    fold: int | None = None
    status: Status | Literal["pending"] = "pending"
    reason: str = ""
    factors: Mapping[str, str | int | float | bool] = field(default_factory=dict)


_FIELDS = tuple(item.name for item in fields(Cell))


@dataclass
class Sweep:
    """The runs of one sweep and its folder.

    Args:
        folder: where it is kept.
        name: as the user gave it.
        cells: its runs, in the order of the grid.
        command: the command line that started it.
        settings: what ``resume`` needs beside the cells, in JSON's types.
        created: ISO 8601 in UTC.
    """

    folder: Path
    name: str
    cells: list[Cell]
    command: str = ""
    settings: dict[str, Any] = field(default_factory=dict)
    created: str = ""

    @classmethod
    def create(
        cls,
        store: Store,
        name: str,
        cells: Iterable[Cell],
        *,
        command: str = "",
        settings: Mapping[str, Any] | None = None,
        now: datetime | None = None,
    ) -> "Sweep":
        """Make the folder of a new sweep, for this process alone, and write sweep.json.

        Raises:
            StoreError: the folder cannot be made.
        """
        moment = (now or datetime.now(UTC)).astimezone(UTC)
        stem = f"{moment:%Y-%m-%d_%H%M%S}_{folder_name(name)}"
        number = 1
        while True:
            folder = store.sweeps / (stem if number == 1 else f"{stem}-{number}")
            try:
                store.sweeps.mkdir(parents=True, exist_ok=True)
                folder.mkdir()
                break
            except FileExistsError:
                number += 1
            except OSError as error:
                raise StoreError(f"{folder}: cannot be made ({error.strerror})") from error
        sweep = cls(folder, name, list(cells), command, dict(settings or {}), f"{moment:%Y-%m-%dT%H:%M:%SZ}")
        try:
            sweep.save()
        except StoreError:
            with suppress(OSError):
                folder.rmdir()
            raise
        return sweep

    @classmethod
    def find(cls, store: Store, which: str | os.PathLike[str] = "latest") -> "Sweep":
        """Open a sweep by its path, its folder's name, the name it was given (the latest of that name), or ``latest``.

        Raises:
            StoreError: there is no such sweep, or its sweep.json is damaged.
        """
        wanted = os.fspath(which)
        folders = sweep_folders(store)
        for path in (Path(wanted), store.sweeps / wanted):
            if os.path.isfile(path / SWEEP):
                return cls.open(path)
            if path.name == SWEEP and os.path.isfile(path):
                return cls.open(path.parent)
        if wanted == "latest" and folders:
            return cls.open(folders[-1])
        for path in reversed(folders):
            if path.name[_STAMP_LENGTH:].startswith(folder_name(wanted)):
                sweep = cls.open(path)
                if sweep.name == wanted:
                    return sweep
        names = [path.name for path in folders]
        hint = nearest(wanted, [*names, *(name[_STAMP_LENGTH:] for name in names)])
        raise StoreError(
            f"sweep {wanted!r}: not found in {store.sweeps} ({plural(len(folders), 'sweep is', 'sweeps are')} there){hint}"
        )

    @classmethod
    def open(cls, folder: Path) -> "Sweep":
        """Read the sweep in ``folder``.

        Raises:
            StoreError: sweep.json is missing or damaged.
        """
        path = folder / SWEEP
        try:
            content = json.loads(path.read_bytes())
            cells = [
                Cell(**{key: value for key, value in cell.items() if key in _FIELDS} | {"overrides": tuple(cell["overrides"])})
                for cell in content["runs"]
            ]
            return cls(folder, content["name"], cells, content["command"], content["settings"], content["created"])
        except OSError as error:
            raise StoreError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise StoreError(f"{path}: is damaged ({error})") from error

    def save(self) -> None:
        """Write sweep.json in one step."""
        head = {"name": self.name, "created": self.created, "command": self.command, "settings": plain(self.settings, "", [])}
        lines = [f'"{key}": {json.dumps(value, allow_nan=False)}' for key, value in head.items()]
        cells = ",\n".join(json.dumps({item: getattr(cell, item) for item in _FIELDS}, allow_nan=False) for cell in self.cells)
        text = "{\n" + ",\n".join(lines) + ',\n"runs": [\n' + cells + "\n]\n}\n"
        replace_file(self.folder / SWEEP, text.encode())

    def update(self, records: Iterable[RunRecord]) -> None:
        """Take over the status and reason of runs that have ended; ``save`` keeps it."""
        ended = {record.id: record for record in records}
        self.cells = [
            replace(cell, status=ended[cell.id].status, reason=ended[cell.id].reason) if cell.id in ended else cell
            for cell in self.cells
        ]

    def refresh(self, store: Store) -> list[RunRecord]:
        """Bring the cells up to date with the run folders, and return the records that are there, one for each run."""
        records = store.records(dict.fromkeys(cell.id for cell in self.cells if cell.id))
        self.update(records)
        return records

    def overrides(self) -> dict[str, tuple[str, ...]]:
        """Run id -> the overrides that this sweep calls it by, the first ones where it has several names.

        A reused run may have been trained under others.
        """
        return {cell.id: cell.overrides for cell in reversed(self.cells) if cell.id}

    def counts(self) -> dict[str, int]:
        """How many cells have each status; the sum is the number of cells."""
        counted = Counter(cell.status for cell in self.cells)
        return {status: counted[cast(Status, status)] for status in (*STATUSES, "pending") if counted[cast(Status, status)]}

    @contextmanager
    def claim(self) -> Iterator[None]:
        """Be the one process that carries this sweep out.

        Raises:
            StoreError: another process is at it, named in the message.
        """
        with locks.held(self.folder / ".lock", f"sweep {self.folder.name}"):
            self._clear()
            yield

    def _clear(self) -> None:
        for path in self.folder.glob(".*.*.*"):  # what replace_file left when it was killed
            if abandoned(path.name):
                path.unlink(missing_ok=True)

    def owner(self) -> str:
        """Which process carries this sweep out now, in words; an empty string when none does."""
        return locks.owner(self.folder / ".lock")

    def write_comparison(self, csv: str, markdown: str) -> None:
        """Write comparison.csv and comparison.md, each in one step."""
        replace_file(self.folder / COMPARISON_CSV, csv.encode(errors="backslashreplace"), durable=False)
        replace_file(self.folder / COMPARISON_MARKDOWN, markdown.encode(errors="backslashreplace"), durable=False)


def sweep_folders(store: Store) -> list[Path]:
    """The folders of all sweeps, oldest first."""
    found = [store.sweeps / name for name in names_in(store.sweeps) if os.path.isfile(store.sweeps / name / SWEEP)]
    return sorted(found, key=lambda path: _age(path.name))


def folder_name(name: str) -> str:
    """``name`` as part of a folder's name: letters, digits, dots, dashes and underscores, 80 at most."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:_NAME_LENGTH]
    return cleaned or "sweep"


def _age(name: str) -> tuple[str, int, str]:
    # A second sweep of the same second and name ends in -2, and -10 comes after -9.
    number = re.search(r"-(\d{1,4})$", name[_STAMP_LENGTH:])
    return name[:_STAMP_LENGTH], int(number[1]) if number else 1, name
