"""The database of an output root: one SQLite file, its schema and its transactions.

    <root>/dlrun.sqlite    runs, sweeps, and who is training what
    <root>/weights/        the weights of large models, named by their SHA-256 (see blobs)

Every process opens the file for one operation and closes it again. ``writing`` is one transaction, and SQLite allows one at a
time: what it holds is there as a whole or not at all, however the process ends.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dlrun.errors import StoreError

FILE = "dlrun.sqlite"
VERSION = 2  # of the schema, in the file's user_version
APPLICATION = 0x646C726E  # "dlrn": what tells the file from other programs' databases
PATIENCE = 60.0  # seconds to wait for another process's transaction
CACHE_KB = 65536  # a transaction that fits is written to the file at its end only

SCHEMA = """
CREATE TABLE blobs (        -- content that runs may share: sections of configs, preprocessing, weights, histories
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,      -- SHA-256 of the content before it is packed
    form INTEGER NOT NULL,            -- how it is packed: 0 as it is, 1 zlib, 2 in a file of its own
    content BLOB NOT NULL
);
CREATE TABLE configs (      -- resolved configs, without the seed where it is the run's
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE
);
CREATE TABLE sections (     -- the keys of a config in their order
    config INTEGER NOT NULL REFERENCES configs ON DELETE CASCADE,
    position INTEGER NOT NULL,
    key TEXT NOT NULL,
    blob INTEGER REFERENCES blobs,    -- JSON; null: the seed of the run
    PRIMARY KEY (config, position)
) WITHOUT ROWID;
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    name TEXT NOT NULL,
    seed INTEGER NOT NULL,
    fold INTEGER,
    finished TEXT NOT NULL,
    record TEXT NOT NULL,             -- JSON: what else is known of it, and no other run has in common with it
    shared INTEGER NOT NULL REFERENCES blobs,  -- JSON: data, versions, cohort, choices, factors
    config INTEGER REFERENCES configs,
    digest BLOB NOT NULL,             -- SHA-256 of all of it but the note
    note TEXT NOT NULL DEFAULT ''
);
CREATE TABLE parts (        -- what belongs to a run: history, weights, log, and files such as preprocessing.json
    run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
    name TEXT NOT NULL,
    blob INTEGER NOT NULL REFERENCES blobs,
    PRIMARY KEY (run, name)
) WITHOUT ROWID;
CREATE TABLE sweeps (
    id INTEGER PRIMARY KEY,
    folder TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    created TEXT NOT NULL,
    command TEXT NOT NULL,
    settings TEXT NOT NULL            -- JSON
);
CREATE TABLE cells (        -- the runs of a sweep in the order of its grid
    sweep INTEGER NOT NULL REFERENCES sweeps ON DELETE CASCADE,
    position INTEGER NOT NULL,
    run TEXT NOT NULL,                -- its id, whether it has ended or not; empty where the combination has no run
    overrides TEXT NOT NULL,          -- JSON
    seed INTEGER NOT NULL,
    fold INTEGER,
    status TEXT NOT NULL,             -- of a cell without a run; what became of a run is in its row
    reason TEXT NOT NULL,
    factors INTEGER REFERENCES blobs, -- JSON: what tells it from others of the sweep
    PRIMARY KEY (sweep, position)
) WITHOUT ROWID;
CREATE TABLE owners (       -- processes that train
    id INTEGER PRIMARY KEY,
    pid INTEGER NOT NULL,
    started REAL NOT NULL,            -- when the process began: a process id is used again
    host TEXT NOT NULL,
    since TEXT NOT NULL,
    token TEXT NOT NULL
);
CREATE TABLE claims (       -- what they train: runs and sweeps
    subject TEXT PRIMARY KEY,
    owner INTEGER NOT NULL REFERENCES owners ON DELETE CASCADE
) WITHOUT ROWID;
CREATE INDEX parts_of_blob ON parts (blob);
CREATE INDEX sections_of_blob ON sections (blob);
CREATE INDEX cells_of_factors ON cells (factors);
CREATE INDEX runs_of_shared ON runs (shared);
CREATE INDEX runs_of_config ON runs (config);
CREATE INDEX claims_of_owner ON claims (owner);
"""


ADDED = {  # what each version of the schema has beside the one before
    2: """
CREATE TABLE checkpoints (  -- of cohorts in training
    number INTEGER PRIMARY KEY,
    runs TEXT NOT NULL,               -- JSON: the ids of the cohort's runs in its order
    made TEXT NOT NULL,
    about TEXT NOT NULL,              -- JSON: the runs that have not ended, the step, who trained it
    digest BLOB NOT NULL,             -- SHA-256 of all of it
    blob INTEGER NOT NULL REFERENCES blobs  -- its tensors
);
"""
}


@contextmanager
def reading(root: Path) -> Iterator[sqlite3.Connection | None]:
    """The database of an output root to read from, all of it as it is at one moment; None where there is none yet.

    Raises:
        StoreError: it cannot be read, is damaged, or is not dlrun's.
    """
    path = root / FILE
    if not _is_there(path):
        yield None
        return
    # a journal that a killed process left is rolled back first, which takes the right to write
    mode = "rw" if os.access(path, os.W_OK) and os.access(root, os.W_OK) else "ro"
    with _connected(path, mode) as connection:
        connection.execute("BEGIN")  # first: another process may make the schema between two looks at the file
        yield connection if _version(connection, path) else None


@contextmanager
def writing(root: Path) -> Iterator[sqlite3.Connection]:
    """The database of an output root, made where it is missing, and one transaction: all of it or, after an error, nothing.

    Raises:
        StoreError: it cannot be written, is damaged, or is not dlrun's.
    """
    path = root / FILE
    try:
        root.mkdir(parents=True, exist_ok=True)
        for file in (path, path.with_name(f"{FILE}-journal")):
            if file.is_symlink():
                raise StoreError(f"{file}: is a link, and what is written would go elsewhere; remove it")
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o644))  # says why, where SQLite says that it cannot
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error})") from error
    with _connected(path, "rw") as connection:
        connection.execute("BEGIN IMMEDIATE")
        if (version := _version(connection, path)) < VERSION:
            _create(connection, version)
        yield connection
        connection.execute("COMMIT")


def touch(connection: sqlite3.Connection) -> None:
    """Write what is there already, in a transaction: it shows that the file can be written, and ends a journal that was left."""
    connection.execute(f"PRAGMA user_version = {VERSION}")


def problems(root: Path) -> list[str]:
    """What SQLite's own check of the file finds; nothing where all is well or there is no file."""
    path = root / FILE
    try:
        with reading(root) as connection:
            if connection is None:
                return []
            found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(20)")]
            foreign = [
                f"table {row[0]} refers to a row of {row[2]} that is missing"
                for row in connection.execute("PRAGMA foreign_key_check")
            ]
            return [f"{path}: {line}" for line in (*found, *dict.fromkeys(foreign)) if line != "ok"]
    except StoreError as error:
        return list(error.problems)


def _is_there(path: Path) -> bool:
    try:
        os.stat(path)
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:  # a file in place of the folder, a loop of links, a NUL character
        raise StoreError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    return True


@contextmanager
def _connected(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    connection = None
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode={mode}", uri=True, timeout=PATIENCE, isolation_level=None)
        connection.execute("PRAGMA trusted_schema = OFF")  # the file may come from anybody
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KB}")
        yield connection
    except sqlite3.Error as error:
        raise StoreError(_words(path, error)) from error
    finally:
        if connection is not None:
            connection.close()  # rolls back what was not committed


def _version(connection: sqlite3.Connection, path: Path) -> int:
    """The version of the schema; 0 where nothing has been written yet."""
    (version,), (application,) = (connection.execute(f"PRAGMA {name}").fetchone() for name in ("user_version", "application_id"))
    if application != APPLICATION:
        if version == 0 and connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
            return 0
        raise StoreError(f"{path}: is another program's database; choose another folder with output_dir=PATH")
    if version > VERSION:
        raise StoreError(
            f"{path}: was written by a newer dlrun (its schema is {version}, and this dlrun knows {VERSION}); "
            "update dlrun, or choose another folder with output_dir=PATH"
        )
    return int(version)


def _create(connection: sqlite3.Connection, version: int) -> None:
    """Make what a file of that version lacks; 0 for one that is empty."""
    schema = "" if version else SCHEMA
    for statement in (schema + "".join(added for number, added in ADDED.items() if number > version)).split(";\n"):
        if statement.strip():
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    touch(connection)


def _words(path: Path, error: sqlite3.Error) -> str:
    """What SQLite refused, in dlrun's words."""
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"{path}: another process has been writing for more than {PATIENCE:.0f} s; wait until it is through, or stop it"
    if code == sqlite3.SQLITE_FULL:
        return f"{path}: cannot be written (No space left on device)"
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return f"{path}: cannot be opened ({error})"
    if code == sqlite3.SQLITE_IOERR:
        return f"{path}: cannot be read or written ({error})"
    return f"{path}: is damaged ({error}); dlrun doctor store says what can be saved"
