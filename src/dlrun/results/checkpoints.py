"""Checkpoints of cohorts in the database: the last two of each, until its runs have ended.

A checkpoint is a row and a blob. The digest of the row covers all of it and the digest of the blob, so one that is damaged is
found, and the one before it is used. What a checkpoint holds is data: JSON and the numbers of safetensors.
"""

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from dlrun.errors import StoreError
from dlrun.results.blobs import Blobs
from dlrun.results.record import to_json, utc_now

KEPT = 2  # checkpoints of a cohort


@dataclass(frozen=True)
class SavedCheckpoint:
    """A checkpoint as it is kept.

    Args:
        runs: the ids of the cohort's runs, in its order.
        training: those of them that had not ended.
        facts: what there is to know of it, as JSON.
        content: its tensors, as safetensors.
    """

    runs: Sequence[str]
    training: Sequence[str]
    facts: Mapping[str, Any]
    content: bytes


class Checkpoints:
    """The checkpoints of one database while it is open.

    Args:
        connection: the database.
        blobs: its blobs.
        freed: gets the blobs of checkpoints that are removed.
    """

    def __init__(self, connection: sqlite3.Connection, blobs: Blobs, freed: set[int]) -> None:
        self._connection, self._blobs, self._freed = connection, blobs, freed

    def keep(self, checkpoint: SavedCheckpoint) -> None:
        """Write one, and remove all but the last ``KEPT`` of its cohort."""
        blob, digest = self._blobs.put(checkpoint.content, packs=False)
        runs, made = to_json(list(checkpoint.runs)), utc_now()
        about = to_json({"training": list(checkpoint.training), "facts": dict(checkpoint.facts)})
        values = (runs, made, about, _digest(runs, made, about, digest), blob)
        self._connection.execute("INSERT INTO checkpoints (runs, made, about, digest, blob) VALUES (?, ?, ?, ?, ?)", values)
        mine = self._connection.execute("SELECT number FROM checkpoints WHERE runs = ? ORDER BY number DESC", (runs,))
        self._remove([number for (number,) in mine.fetchall()[KEPT:]])

    def find(
        self,
        wanted: Collection[str],
        known: Collection[str],
        fits: Callable[[SavedCheckpoint], bool],
        since: str,
        complain: Callable[[str], None],
    ) -> list[SavedCheckpoint]:
        """The latest checkpoints with which wanted runs go on, each run in one of them.

        Args:
            wanted: ids of runs that are to be trained.
            known: ids of those, and of all others that a cohort may be made of.
            fits: whether the training of a checkpoint can go on here; it has no content yet.
            since: when they were made at the earliest.
            complain: gets a line for each that is damaged.
        """
        left, others = set(wanted), set(known) - set(wanted)
        found = []
        for row in self._rows():
            try:
                checkpoint, made, blob = self._read(row)
                mine = left.intersection(checkpoint.training)
                if (
                    made < since
                    or not mine
                    or not set(checkpoint.training) <= left | others
                    or not set(checkpoint.runs) <= set(known)
                ):
                    continue
                if not fits(checkpoint):
                    continue
                content = self._blobs.get(blob)
            except (StoreError, ValueError, TypeError, KeyError) as error:
                complain(f"a checkpoint is damaged and is not used ({error})")
                continue
            found.append(SavedCheckpoint(checkpoint.runs, checkpoint.training, checkpoint.facts, content))
            left -= mine
        return found

    def latest(self, runs: Collection[str]) -> list[tuple[SavedCheckpoint, str]]:
        """The last checkpoint, without its content, of each cohort in which some of ``runs`` had not ended; when it was made."""
        found: dict[tuple[str, ...], tuple[SavedCheckpoint, str]] = {}
        wanted = set(runs)
        for row in self._rows():
            with suppress(StoreError, ValueError, TypeError, KeyError):  # ``find`` reports it
                checkpoint, made, _ = self._read(row)
                if wanted.intersection(checkpoint.training):
                    found.setdefault(tuple(checkpoint.runs), (checkpoint, made))
        return list(found.values())

    def forget(self, runs: Iterable[str]) -> None:
        """Remove the checkpoints of cohorts that end with these runs: what they were still training has ended, or is gone."""
        gone = set(runs)
        over = []
        for row in self._rows():
            try:
                training = set(self._read(row)[0].training)
            except (StoreError, ValueError, TypeError, KeyError):
                over.append(row[0])
                continue
            if training & gone:
                query = "SELECT id FROM runs WHERE status <> 'interrupted' AND id IN (SELECT value FROM json_each(?))"
                ended = {run for (run,) in self._connection.execute(query, (json.dumps(sorted(training)),))}
                over += [row[0]] if training <= gone | ended else []
        self._remove(over)

    def _rows(self) -> list[tuple[Any, ...]]:
        """All rows, the latest first; none in a file of schema 1."""
        if self._connection.execute("SELECT 1 FROM sqlite_schema WHERE name = 'checkpoints'").fetchone() is None:
            return []
        query = (
            "SELECT number, runs, made, about, checkpoints.digest, blob, blobs.digest FROM checkpoints "
            "LEFT JOIN blobs ON blobs.id = blob ORDER BY number DESC"
        )
        return self._connection.execute(query).fetchall()

    def _read(self, row: tuple[Any, ...]) -> tuple[SavedCheckpoint, str, int]:
        """A checkpoint without its content, when it was made, and its blob.

        Raises:
            StoreError: the row is not what was written.
        """
        _, runs, made, about, digest, blob, content = row
        if content is None or _digest(runs, made, about, content) != digest:
            raise StoreError("its row in the database is not what was written")
        said = json.loads(about)
        return SavedCheckpoint(json.loads(runs), said["training"], said["facts"], b""), made, blob

    def _remove(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            freed = self._connection.execute("SELECT blob FROM checkpoints WHERE number = ?", (number,))
            self._freed |= {int(blob) for (blob,) in freed}
            self._connection.execute("DELETE FROM checkpoints WHERE number = ?", (number,))


def _digest(runs: str, made: str, about: str, content: bytes) -> bytes:
    return sha256(json.dumps([runs, made, about, content.hex()]).encode()).digest()
