"""Sweeps: which runs belong to one, and what became of them.

    outputs/dlrun.sqlite                           the list of its runs, and the settings it began with
    outputs/sweeps/<YYYY-MM-DD>_<HHMMSS>_<name>/   comparison.csv comparison.md, written when it has ended

A sweep knows its runs by id; what became of a run stands in its own row. So a sweep that was killed at any moment knows after
``refresh`` what has ended, and a run that was removed is pending again.
"""

import json
import os
import re
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from dlrun.errors import StoreError, nearest, plural
from dlrun.results.blobs import Blobs
from dlrun.results.database import FILE, reading, writing
from dlrun.results.files import make_own_folder, replace_file
from dlrun.results.record import STATUSES, RunRecord, Status, json_bytes, to_json
from dlrun.results.store import Store, writing_to

COMPARISON_CSV = "comparison.csv"
COMPARISON_MARKDOWN = "comparison.md"
OLD = "sweep.json"  # the list of runs of an older dlrun
_SINGLE = "; runs of no sweep are named by settings that they have, such as dataset=moons, or by an id (dlrun runs lists them)"

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


@dataclass
class Sweep:
    """The runs of one sweep and its folder.

    Args:
        folder: where its tables are; its name is the sweep's key in the database two levels up.
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

    @property
    def _store(self) -> Store:
        return Store(self.folder.parent.parent)

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
        """Write a new sweep down, and make its folder.

        Raises:
            StoreError: it cannot be written.
        """
        moment = (now or datetime.now(UTC)).astimezone(UTC)
        stem = f"{moment:%Y-%m-%d_%H%M%S}_{folder_name(name)}"
        with writing(store.root) as connection, writing_to(store.sweeps):
            known = {row[0] for row in connection.execute("SELECT folder FROM sweeps WHERE folder LIKE ?", (f"{stem[:18]}%",))}
            number = 1
            while True:
                folder = store.sweeps / (stem if number == 1 else f"{stem}-{number}")
                if folder.name not in known and not os.path.lexists(folder):
                    break
                number += 1
            folder.mkdir(parents=True)
            try:
                sweep = cls(folder, name, list(cells), command, dict(settings or {}), f"{moment:%Y-%m-%dT%H:%M:%SZ}")
                connection.execute(
                    "INSERT INTO sweeps (folder, name, created, command, settings) VALUES (?, '', '', '', '')", (folder.name,)
                )
                sweep._write(connection)
            except BaseException:
                with suppress(OSError):
                    folder.rmdir()
                raise
        return sweep

    def add(self) -> None:
        """Write down a sweep that came from elsewhere.

        Raises:
            StoreError: the database cannot be written.
        """
        with writing(self._store.root) as connection:
            connection.execute(
                "INSERT INTO sweeps (folder, name, created, command, settings) VALUES (?, '', '', '', '')", (self.folder.name,)
            )
            self._write(connection)

    @classmethod
    def find(cls, store: Store, which: str | os.PathLike[str] = "latest") -> "Sweep":
        """Open a sweep by its path, its folder's name, the name it was given (the latest of that name), or ``latest``.

        Raises:
            StoreError: there is no such sweep, or it is damaged.
        """
        wanted = os.fspath(which)
        folders = sweep_folders(store)
        for path in (Path(wanted).absolute(), store.sweeps / wanted):
            if path in folders or ("\0" not in wanted and path.parent.name == store.sweeps.name and _is_in(path)):
                return cls.open(path)
        if wanted == "latest" and folders:
            return cls.open(folders[-1])
        for path in reversed(folders):
            if path.name[_STAMP_LENGTH:].startswith(folder_name(wanted)):
                sweep = cls.open(path)
                if sweep.name == wanted:
                    return sweep
        run = store.finished(Path(wanted).name) if "\0" not in wanted else None
        if run is not None:
            again = shlex.join(["dlrun", *run.overrides])
            raise StoreError(f"sweep {wanted!r}: is a run; to take it over or to go on with it type its command again: {again}")
        names = [path.name for path in folders]
        hint = nearest(wanted, [*names, *(name[_STAMP_LENGTH:] for name in names)])
        if not folders:
            old = _older(store, wanted)
            hint = f"; {old} is of an older dlrun: type dlrun import {old}" if old else _SINGLE * store.path.exists()
        raise StoreError(
            f"sweep {wanted!r}: not found in {store.path} ({plural(len(folders), 'sweep is', 'sweeps are')} there){hint}"
        )

    @classmethod
    def open(cls, folder: Path) -> "Sweep":
        """Read a sweep.

        Raises:
            StoreError: there is none of that folder, or it is damaged; whether its runs are whole, ``refresh`` says.
        """
        root = folder.parent.parent
        with reading(root) as connection:
            row = (
                None
                if connection is None
                else connection.execute(
                    "SELECT id, name, command, settings, created FROM sweeps WHERE folder = ?", (folder.name,)
                ).fetchone()
            )
            if connection is None or row is None:
                raise StoreError(f"sweep {folder.name}: not found in {root / FILE}")
            cells = connection.execute(
                "SELECT run, overrides, cells.seed, cells.fold, coalesce(runs.status, cells.status), "
                "coalesce(runs.reason, cells.reason), factors FROM cells LEFT JOIN runs ON runs.id = run "
                "WHERE sweep = ? ORDER BY position",
                row[:1],
            ).fetchall()
            blobs = Blobs(connection, root)
            try:
                factors = {blob: json.loads(blobs.get(blob)) for blob in {cell[-1] for cell in cells} if blob is not None}
            except (StoreError, ValueError) as error:
                raise StoreError(f"sweep {folder.name}: is damaged in {root / FILE} ({error})") from error
        try:
            _, name, command, settings, created = row
            found = [
                Cell(run, tuple(json.loads(words)), seed, fold, status, reason, factors.get(told, {}))
                for run, words, seed, fold, status, reason, told in cells
            ]
            if not all(isinstance(cell.status, str) and cell.status in (*STATUSES, "pending") for cell in found):
                raise ValueError("a cell has no known status")
            return cls(folder, str(name), found, str(command), dict(json.loads(settings)), str(created))
        except (ValueError, TypeError) as error:
            raise StoreError(f"sweep {folder.name}: is damaged in {root / FILE} ({error})") from error

    def save(self) -> None:
        """Write down its settings and its runs; what became of those stands in their own rows.

        Raises:
            StoreError: the database cannot be written, or has no such sweep.
        """
        with writing(self._store.root) as connection:
            self._write(connection)

    def keep(self, name: str, value: Any) -> None:
        """Keep something beside the sweep's runs, in JSON's types, under a name of ``settings``.

        Raises:
            StoreError: the database cannot be written.
        """
        self.settings[name] = value
        with writing(self._store.root) as connection:
            settings = json_bytes(self.settings).decode()
            connection.execute("UPDATE sweeps SET settings = ? WHERE folder = ?", (settings, self.folder.name))

    def _write(self, connection: Any) -> None:
        row = connection.execute("SELECT id FROM sweeps WHERE folder = ?", (self.folder.name,)).fetchone()
        if row is None:
            raise StoreError(f"sweep {self.folder.name}: not found in {self._store.path}")
        connection.execute(
            "UPDATE sweeps SET name = ?, created = ?, command = ?, settings = ? WHERE id = ?",
            (*map(_text, (self.name, self.created, self.command)), json_bytes(self.settings).decode(), *row),
        )
        blobs = Blobs(connection, self._store.root)
        before = {told for (told,) in connection.execute("SELECT DISTINCT factors FROM cells WHERE sweep = ?", row)}
        connection.execute("DELETE FROM cells WHERE sweep = ?", row)
        factors = {id(cell.factors): cell.factors for cell in self.cells}  # runs that differ in their seed alone share them
        kept = {place: blobs.put(to_json(dict(told)).encode())[0] if told else None for place, told in factors.items()}
        connection.executemany(
            "INSERT INTO cells VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (*row, position, cell.id, json_bytes(cell.overrides).decode(), cell.seed, cell.fold)
                + (("pending", "") if cell.id else (cell.status, _text(cell.reason)))
                + (kept[id(cell.factors)],)
                for position, cell in enumerate(self.cells)
            ],
        )
        blobs.forget(before - {None})

    def update(self, records: Iterable[RunRecord]) -> None:
        """Take over the status and reason of runs that have ended."""
        ended = {record.id: record for record in records}
        self.cells = [
            replace(cell, status=ended[cell.id].status, reason=ended[cell.id].reason) if cell.id in ended else cell
            for cell in self.cells
        ]

    def refresh(self, store: Store, complain: Callable[[str], None] | None = None) -> list[RunRecord]:
        """Bring the cells up to date with the store, and return the records that are there, one for each run.

        Args:
            complain: is told of each run that is damaged; it counts as pending.
        """
        records = store.records(dict.fromkeys(cell.id for cell in self.cells if cell.id), complain)
        self.cells = [replace(cell, status="pending", reason="") if cell.id else cell for cell in self.cells]
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
        with self._store.claimed([self._subject]) as claim:
            if owner := claim.others.get(self._subject):
                raise StoreError(f"sweep {self.folder.name} is being worked on by {owner}; wait until it is through, or stop it")
            yield

    def owner(self) -> str:
        """Which process carries this sweep out now, in words; an empty string when none does."""
        return self._store.owners([self._subject]).get(self._subject, "")

    @property
    def _subject(self) -> str:
        return f"sweep {self.folder.name}"

    def write_comparison(self, csv: str, markdown: str) -> None:
        """Write comparison.csv and comparison.md, each in one step."""
        with writing_to(self.folder):
            make_own_folder(self.folder)
        replace_file(self.folder / COMPARISON_CSV, csv.encode(errors="backslashreplace"), durable=False)
        replace_file(self.folder / COMPARISON_MARKDOWN, markdown.encode(errors="backslashreplace"), durable=False)


def sweep_folders(store: Store) -> list[Path]:
    """The folders of all sweeps, oldest first."""
    with reading(store.root) as connection:
        names = [] if connection is None else [str(row[0]) for row in connection.execute("SELECT folder FROM sweeps ORDER BY id")]
    return [store.sweeps / name for name in sorted(names, key=lambda name: name[:_STAMP_LENGTH])]


def names(store: Store) -> list[str]:
    """What names a sweep: ``latest``, the folders' names, and the names that sweeps were given."""
    with reading(store.root) as connection:
        rows = [] if connection is None else connection.execute("SELECT folder, name FROM sweeps ORDER BY id DESC").fetchall()
    return [*dict.fromkeys([*(["latest"] if rows else []), *(row[1] for row in rows), *(row[0] for row in rows)])]


def folder_name(name: str) -> str:
    """``name`` as part of a folder's name: letters, digits, dots, dashes and underscores, 80 at most."""
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")[:_NAME_LENGTH]
    return cleaned or "sweep"


def _is_in(folder: Path) -> bool:
    """Whether the database two levels above a folder has a sweep of its name."""
    with suppress(StoreError):
        return folder in sweep_folders(Store(folder.parent.parent))
    return False


def _older(store: Store, wanted: str) -> Path | None:
    """An output root of an older dlrun: the folder that was named, or the root itself."""
    with suppress(OSError, ValueError):
        if (Path(wanted) / OLD).is_file():
            return Path(wanted).parent.parent
        if next(store.sweeps.glob(f"*/{OLD}"), None):
            return store.root
        if not store.path.exists() and next(store.root.glob("runs/*/result.json"), None):
            return store.root
    return None


def _text(value: str) -> str:
    return value.encode(errors="backslashreplace").decode()
