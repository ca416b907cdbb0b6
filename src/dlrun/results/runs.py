"""Runs as rows of the database: how one is taken apart, put together again, and checked.

What runs have in common is kept once: the sections of their configs, what they were trained with, their preprocessing. The digest
of a run covers its row, its config and the digests of its parts; each part has a digest of its own. So whatever was changed in
the file by others than dlrun is found by the run that it belongs to.
"""

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from dlrun.errors import StoreError
from dlrun.results.blobs import Blobs
from dlrun.results.checkpoints import Checkpoints
from dlrun.results.formats import (
    ARRAYS,
    PREDICTIONS,
    WEIGHTS,
    RunFiles,
    extra_bytes,
    file_name,
    histories,
    history_bytes,
    log_bytes,
    pack,
    read_history_bytes,
    read_section,
    read_weights,
    section_bytes,
    unpack,
    weights_bytes,
)
from dlrun.results.record import SHARED, Known, RunRecord, json_bytes, to_json
from dlrun.results.seeded import Seeded, base_of

HISTORY_PART, LOG_PART = "history", "log"
_COLUMNS = ("id", "status", "reason", "name", "seed", "fold", "finished")
_OWN = ("overrides", "metrics", "diagnostics", "parameters", "epochs", "seconds")
_DIGITS = (HISTORY_PART, WEIGHTS, PREDICTIONS)
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, IndexError)  # what reading a damaged part may end in


@dataclass(frozen=True, slots=True)
class _Row:
    """A run as it is written, but for its number: its columns, what is its own, and the ids or digests of what it shares."""

    columns: list[Any]
    own: str
    shared: int
    config: int | None
    digest: bytes
    parts: dict[str, bytes]


class Runs:
    """The runs of one database while it is open.

    Args:
        connection: the database.
        root: the output root.
    """

    def __init__(self, connection: sqlite3.Connection, root: Path) -> None:
        self.connection = connection
        self.blobs = Blobs(connection, root)
        self._sections: dict[tuple[str, int | str], tuple[Any, tuple[int, bytes]]] = {}  # written in this transaction
        self._configs: dict[tuple[Any, ...], tuple[int, bytes]] = {}
        self._places: dict[int, tuple[Mapping[str, Any], tuple[int, bytes]]] = {}  # by what runs share of a config
        self._known: Known = {}
        self._shared: dict[tuple[int, ...], tuple[int, bytes]] = {}  # by the addresses of what is in _known
        self._freed: set[int] = set()  # blobs and
        self._loose: set[int] = set()  # configs of runs that were removed
        self._read: dict[int, Any] = {}  # blob -> what it says as JSON
        self.checkpoints = Checkpoints(connection, self.blobs, self._freed)

    # Writing

    def write(self, several: Iterable[RunFiles]) -> dict[str, str]:
        """Write runs in place of any earlier attempts.

        Returns:
            Run id -> why it cannot be written down; nothing of such a run was written.
        """
        problems: dict[str, str] = {}
        rows: dict[str, _Row] = {}
        for files, history in _with_histories([*several]):
            try:
                rows[files.record.id] = self._row(files, history)
            except (TypeError, ValueError) as error:
                problems[files.record.id] = f"run {files.record.id}: cannot be written ({error})"
            except StoreError as error:
                problems[files.record.id] = str(error)
        before = {
            run: (number, note)
            for run, number, note in self.connection.execute(
                "SELECT id, number, note FROM runs WHERE id IN (SELECT value FROM json_each(?))", (_list(rows),)
            )
        }
        ((last,),) = self.connection.execute("SELECT coalesce(max(number), 0) FROM runs")
        if before:
            self._remove([number for number, _ in before.values()])
        numbered = [(*before.get(run, (number, "")), row) for number, (run, row) in enumerate(rows.items(), last + 1)]
        self.connection.executemany(
            f"INSERT INTO runs (number, {', '.join(_COLUMNS)}, record, shared, config, digest, note) VALUES ({'?, ' * 12}?)",
            [(number, *row.columns, row.own, row.shared, row.config, row.digest, note) for number, note, row in numbered],
        )
        parts = [(number, name, digest) for number, _, row in numbered for name, digest in row.parts.items()]
        blobs = self.blobs.ids([digest for *_, digest in parts])
        self.connection.executemany(
            "INSERT INTO parts VALUES (?, ?, ?)", [(*part[:2], blob) for part, blob in zip(parts, blobs, strict=True)]
        )
        self.checkpoints.forget(run for run, row in rows.items() if row.columns[1] != "interrupted")
        return problems

    def _row(self, files: RunFiles, history: bytes) -> "_Row":
        """A run taken apart; what it shares with others is written down.

        Raises:
            TypeError, ValueError: it holds what cannot be written down.
        """
        record, finite = files.record, files.record.finite(self._known)
        own = json_bytes({name: finite.get(name, getattr(record, name)) for name in _OWN}).decode()
        shared, shared_digest = self._put_shared(finite)
        contents = dict(_parts(files, history))
        config, config_digest = self._put_config(files.config, record.seed)
        parts = {name: self.blobs.put_later(content, packs=name not in _DIGITS) for name, content in contents.items()}
        values = [finite.get(name, getattr(record, name)) for name in _COLUMNS]
        columns = [_text(value) if isinstance(value, str) and not value.isascii() else value for value in values]
        return _Row(columns, own, shared, config, _digest(columns, own, shared_digest, config_digest, parts), parts)

    def end(self) -> bool:
        """Remove what belonged to earlier attempts alone, after all that is to be written or removed; whether there was any."""
        for config in self._loose:
            if self.connection.execute("SELECT 1 FROM runs WHERE config = ?", (config,)).fetchone() is None:
                sections = self.connection.execute("SELECT blob FROM sections WHERE config = ? AND blob IS NOT NULL", (config,))
                self._freed |= {int(row[0]) for row in sections}
                self.connection.execute("DELETE FROM configs WHERE id = ?", (config,))
        self.blobs.forget(self._freed)
        return bool(self._freed)

    def _put_shared(self, finite: Mapping[str, Any]) -> tuple[int, bytes]:
        """Keep what other runs may have in common with a record."""
        place = tuple([id(finite[name]) for name in SHARED])
        if place not in self._shared:
            self._shared[place] = self.blobs.put(to_json({name: finite[name] for name in SHARED}).encode())
        return self._shared[place]

    def _put_config(self, config: Mapping[str, Any], seed: int) -> tuple[int | None, bytes]:
        """Keep a config. Returns its id and its digest."""
        if not config:
            return None, b""
        place = id(base_of(config))
        repeats = isinstance(config, Seeded) and type(config.seed) is int and config.seed == seed
        if repeats and place in self._places:
            return self._places[place][1]
        keys = tuple((key, self._put_section(key, value, seed)) for key, value in config.items())
        if keys not in self._configs:
            digest = _config_digest((key, of) for key, (_, of) in keys)
            row = self.connection.execute("SELECT id FROM configs WHERE digest = ?", (digest,)).fetchone()
            if row is None:
                row = (self.connection.execute("INSERT INTO configs (digest) VALUES (?)", (digest,)).lastrowid,)
            number = int(row[0])
            self.connection.execute("DELETE FROM sections WHERE config = ?", (number,))
            self.connection.executemany(
                "INSERT INTO sections VALUES (?, ?, ?, ?)",
                [(number, position, key, blob) for position, (key, (blob, _)) in enumerate(keys)],
            )
            self._configs[keys] = number, digest
        if repeats:  # it is kept, so that the address stays its own
            self._places[place] = config, self._configs[keys]
        return self._configs[keys]

    def _put_section(self, key: str, value: Any, seed: int) -> tuple[int | None, bytes]:
        if key == "seed" and type(value) is int and value == seed:
            return None, b""
        place = (key, id(value) if isinstance(value, dict | list) else repr(value))
        if place not in self._sections:  # the value is kept too, so that its address stays its own
            self._sections[place] = value, self.blobs.put(section_bytes(value))
        return self._sections[place][1]

    def delete(self, ids: Iterable[str]) -> int:
        """Remove runs. Returns how many there were."""
        ids = list(ids)
        rows = self.connection.execute("SELECT number FROM runs WHERE id IN (SELECT value FROM json_each(?))", (_list(ids),))
        numbers = [int(row[0]) for row in rows]
        self._remove(numbers)
        self.checkpoints.forget(ids)
        return len(numbers)

    def _remove(self, numbers: list[int]) -> None:
        """Remove rows of runs, and note what nobody else may refer to."""
        mine = json.dumps(numbers)
        freed = self.connection.execute(
            "SELECT blob FROM parts WHERE run IN (SELECT value FROM json_each(?1)) "
            "UNION SELECT shared FROM runs WHERE number IN (SELECT value FROM json_each(?1))",
            (mine,),
        ).fetchall()
        self._freed |= {int(row[0]) for row in freed}
        configs = self.connection.execute(
            "SELECT DISTINCT config FROM runs WHERE config IS NOT NULL AND number IN (SELECT value FROM json_each(?))", (mine,)
        )
        self._loose |= {int(row[0]) for row in configs}
        self.connection.executemany("DELETE FROM runs WHERE number = ?", [(number,) for number in numbers])

    def annotate(self, run: str, text: str) -> bool:
        """Set the note of a run. Returns whether there is such a run."""
        return self.connection.execute("UPDATE runs SET note = ? WHERE id = ?", (text, run)).rowcount > 0

    # Reading

    def ids(self) -> list[str]:
        """The ids of all runs, sorted."""
        return [str(row[0]) for row in self.connection.execute("SELECT id FROM runs ORDER BY id")]

    def notes(self) -> dict[str, str]:
        """The notes of the runs that have one."""
        return dict(self.connection.execute("SELECT id, note FROM runs WHERE note <> ''"))

    def records(self, ids: Iterable[str] | None, complain: Callable[[str], None], whole: bool = False) -> dict[str, RunRecord]:
        """Run id -> record, of ``ids`` or of all runs, the latest written last.

        Args:
            complain: gets a line for each run whose row is not the one that was written; it is left out.
            whole: read and check all that belongs to each run, too.
        """
        where, values = ("", ()) if ids is None else (" WHERE runs.id IN (SELECT value FROM json_each(?))", (_list(ids),))
        parts: dict[int, dict[str, bytes]] = {}
        blobs: dict[int, list[int]] = {}
        query = "SELECT run, parts.name, blobs.digest, blob FROM parts JOIN blobs ON blobs.id = blob JOIN runs ON number = run"
        for number, name, digest, blob in self.connection.execute(query + where, values):
            parts.setdefault(number, {})[name] = digest
            blobs.setdefault(number, []).append(blob)
        damaged = dict(self.blobs.check()) if whole and ids is None else None
        query = (
            f"SELECT number, {', '.join(f'runs.{name}' for name in _COLUMNS)}, record, shared, blobs.digest, config, "
            "configs.digest, runs.digest FROM runs LEFT JOIN blobs ON blobs.id = shared LEFT JOIN configs ON configs.id = config"
            f"{where} ORDER BY number"
        )
        found = {}
        for row in self.connection.execute(query, values).fetchall():
            try:
                record = self._record(row, parts.get(row[0], {}))
                if whole:
                    self._check_parts(blobs.get(row[0], []), row[-3], damaged)
                found[record.id] = record
            except (StoreError, *UNREADABLE) as error:
                why = str(error) if isinstance(error, StoreError) else f"is damaged ({error})"
                complain(f"run {row[1]}: {why}; it counts as not trained")
        return found

    def _record(self, row: tuple[Any, ...], parts: Mapping[str, bytes]) -> RunRecord:
        *columns, own, shared, shared_digest, config, config_digest, digest = row[1:]
        if config is None:
            config_digest = b""
        if shared_digest is None or config_digest is None or _digest(columns, own, shared_digest, config_digest, parts) != digest:
            raise StoreError("is damaged (its row in the database is not what was written)")
        digests = {name: of.hex() for name, of in parts.items() if name not in (HISTORY_PART, LOG_PART)}
        content = dict(zip(_COLUMNS, columns, strict=True)) | json.loads(own) | self._json(shared)
        return RunRecord.from_content({**content, "digests": digests})

    def _check_parts(self, blobs: Iterable[int], config: int | None, damaged: Mapping[int, str] | None) -> None:
        for blob in blobs:
            if damaged is None:
                self.blobs.get(blob)
            elif blob in damaged:
                raise StoreError(damaged[blob])
        if config is not None:
            self._config(config)

    def _json(self, blob: int) -> Any:
        if blob not in self._read:
            self._read[blob] = read_section(self.blobs.get(blob))
        return self._read[blob]

    def _config(self, config: int) -> list[tuple[str, int | None]]:
        """The keys of a config, each with its blob."""
        place = -config  # blobs have positive ids
        if place not in self._read:
            rows = self.connection.execute(
                "SELECT key, blob, blobs.digest FROM sections LEFT JOIN blobs ON blobs.id = blob WHERE config = ? "
                "ORDER BY position",
                (config,),
            ).fetchall()
            ((digest,),) = self.connection.execute("SELECT digest FROM configs WHERE id = ?", (config,)).fetchall()
            if _config_digest((key, of or b"") for key, _, of in rows) != digest:
                raise StoreError("is damaged (its config in the database is not what was written)")
            for _, blob, _ in rows:
                if blob is not None:
                    self._json(blob)
            self._read[place] = [(key, blob) for key, blob, _ in rows]
        found: list[tuple[str, int | None]] = self._read[place]
        return found

    def configs(self, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Run id -> resolved config, of those that can be read. The sections that runs share are the same objects."""
        rows = self.connection.execute(
            "SELECT id, config, seed FROM runs WHERE config IS NOT NULL AND id IN (SELECT value FROM json_each(?))", (_list(ids),)
        )
        found = {}
        for run, config, seed in rows.fetchall():
            try:
                found[run] = {key: seed if blob is None else self._json(blob) for key, blob in self._config(config)}
            except (StoreError, *UNREADABLE):
                continue
        return found

    def part(self, run: str, name: str) -> bytes | None:
        """A part of a run as it was written; None where it has none of that name.

        Raises:
            StoreError: it is damaged.
        """
        row = self.connection.execute(
            "SELECT blob FROM parts JOIN runs ON number = run WHERE id = ? AND parts.name = ?", (run, name)
        ).fetchone()
        return None if row is None else self.blobs.get(row[0])

    def files(self, run: str, record: RunRecord) -> RunFiles:
        """Everything that is kept of a run.

        Raises:
            StoreError: a part of it is damaged.
        """
        names = [
            str(row[0])
            for row in self.connection.execute("SELECT parts.name FROM parts JOIN runs ON number = run WHERE id = ?", (run,))
        ]
        content = {name: self.part(run, name) or b"" for name in names}
        arrays = [name for name in names if name.endswith(ARRAYS)]
        extra = [name for name in names if name not in (HISTORY_PART, LOG_PART, *arrays)]
        try:
            return RunFiles(
                replace(record, digests={}),
                config=self.configs([run]).get(run, {}),
                history=read_history_bytes(content[HISTORY_PART]) if HISTORY_PART in content else {},
                weights=read_weights(content[WEIGHTS]) if WEIGHTS in content else {},
                log=json.loads(content[LOG_PART]) if LOG_PART in content else (),
                extra={name: json.loads(content[name]) for name in extra},
                arrays={name: unpack(content[name]) for name in arrays if name != WEIGHTS},
            )
        except UNREADABLE as error:
            raise StoreError(f"is damaged ({error})") from error


def _with_histories(several: Sequence[RunFiles]) -> Iterable[tuple[RunFiles, bytes]]:
    """Runs, each with its history as bytes; empty for all where that of one cannot be written."""
    try:
        return zip(several, histories([files.history for files in several]), strict=True)
    except (TypeError, ValueError):
        return [(files, b"") for files in several]


def _parts(files: RunFiles, history: bytes) -> Iterator[tuple[str, bytes]]:
    """What belongs to a run beside its row, as bytes."""
    if files.history:
        yield HISTORY_PART, history or history_bytes(files.history)
    if files.weights:
        yield WEIGHTS, weights_bytes(files.weights)
    if files.log:
        yield LOG_PART, log_bytes(tuple(files.log))
    for name, value in files.extra.items():
        yield file_name(name), extra_bytes(name, value)
    for name, arrays in files.arrays.items():
        yield file_name(name), pack(arrays)


def _digest(columns: Iterable[Any], own: str, shared: bytes, config: bytes, parts: Mapping[str, bytes]) -> bytes:
    """The digest of a run."""
    text = json.dumps([*columns, own, shared.hex(), config.hex(), sorted((name, of.hex()) for name, of in parts.items())])
    return sha256(text.encode()).digest()


def _config_digest(keys: Iterable[tuple[str, bytes]]) -> bytes:
    return sha256(json.dumps([(key, digest.hex()) for key, digest in keys]).encode()).digest()


def _list(ids: Iterable[str]) -> str:
    return json.dumps(list(ids))


def _text(value: str) -> str:
    """A text that every encoding of the database can hold: halves of surrogate pairs are spelled out."""
    return value.encode(errors="backslashreplace").decode()
