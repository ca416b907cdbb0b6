"""Content of runs, kept once however many runs share it, and checked whenever it is read.

Large content lies beside the database, in ``<root>/weights/<SHA-256>.safetensors``. It is written within the transaction that
refers to it, so a file that nothing refers to while nobody writes is what a killed process left.
"""

import os
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from dlrun.errors import StoreError
from dlrun.results.files import make_own_folder, read, replace_file

PLAIN, ZLIB, BESIDE = 0, 1, 2
LARGE = 1 << 20  # bytes above which content gets a file of its own
MOST = 1 << 30  # bytes that packed content may have: a foreign file must not fill the memory
QUICK = 1  # the level of zlib; the highest takes twice as long, and gains little of a few hundred bytes
SMALL = 2048  # bytes below which packing costs more time than the bytes are worth
PAYS = 0.9  # of its size at most, or content is not packed

FOLDER, SUFFIX = "weights", ".safetensors"
_OURS = re.compile(r"\.?[0-9a-f]{64}\.safetensors")  # and temporary files, whose names go on


class Blobs:
    """The blobs of one database while it is open.

    Args:
        connection: the database.
        root: the output root.
    """

    def __init__(self, connection: sqlite3.Connection, root: Path) -> None:
        self._connection, self._folder = connection, root / FOLDER
        self._ids: dict[bytes, int] = {}
        self._waiting: dict[bytes, tuple[int, bytes]] = {}  # digest -> how it is packed, and what it is then

    def put(self, content: bytes, *, packs: bool = True) -> tuple[int, bytes]:
        """Keep content. Returns its id and its digest.

        Args:
            packs: whether to try to pack it; what is nearly random, such as the digits of weights, would not get smaller.
        """
        digest = self.put_later(content, packs=packs)
        return self.ids([digest])[0], digest

    def put_later(self, content: bytes, *, packs: bool = True) -> bytes:
        """Keep content by the time that its id is asked for, with all that waits then. Returns its digest."""
        digest = sha256(content).digest()
        if digest in self._ids or digest in self._waiting:
            return digest
        form, packed = PLAIN, content
        if len(content) > LARGE:
            form, packed = BESIDE, b""
            make_own_folder(self._folder)
            replace_file(self._path(digest), content)
        elif packs and len(content) >= SMALL and len(smaller := zlib.compress(content, QUICK)) < PAYS * len(content):
            form, packed = ZLIB, smaller
        self._waiting[digest] = form, packed
        return digest

    def ids(self, digests: Iterable[bytes]) -> list[int]:
        """The ids of content that was put."""
        if self._waiting:
            ((last,),) = self._connection.execute("SELECT coalesce(max(id), 0) FROM blobs")
            rows = [
                (number, digest, form, packed) for number, (digest, (form, packed)) in enumerate(self._waiting.items(), last + 1)
            ]
            added = self._connection.executemany("INSERT OR IGNORE INTO blobs VALUES (?, ?, ?, ?)", rows)
            all_new = added.rowcount == len(rows)
            self._ids |= {
                digest: number if all_new else self._known(digest, form, packed) for number, digest, form, packed in rows
            }
            self._waiting = {}
        return [self._ids[digest] for digest in digests]

    def _known(self, digest: bytes, form: int, packed: bytes) -> int:
        """The id of content that is there; what is not as it should be is replaced."""
        row = self._connection.execute("SELECT id, form, content FROM blobs WHERE digest = ?", (digest,)).fetchone()
        if row[1:] != (form, packed):  # damaged, or packed by another version of zlib
            self._connection.execute("UPDATE blobs SET form = ?, content = ? WHERE id = ?", (form, packed, row[0]))
        return int(row[0])

    def get(self, blob: int) -> bytes:
        """The content of a blob.

        Raises:
            StoreError: it is not what was written.
        """
        row = self._connection.execute("SELECT digest, form, content FROM blobs WHERE id = ?", (blob,)).fetchone()
        if row is None:
            raise StoreError("is damaged (a part of it is missing in the database)")
        return self.unpacked(*row)

    def unpacked(self, digest: bytes, form: int, packed: bytes) -> bytes:
        """The content of a row of the table.

        Raises:
            StoreError: it is not what was written.
        """
        try:
            content = packed
            if form == ZLIB:
                content = zlib.decompressobj().decompress(packed, MOST)
            elif form == BESIDE:
                content = read(self._path(digest))
            if sha256(content).digest() == digest:
                return content
        except (TypeError, AttributeError, zlib.error):
            pass
        where = self._path(digest) if form == BESIDE and isinstance(digest, bytes) else "the database"
        raise StoreError(f"is damaged (what {where} holds is not what was written)")

    def check(self) -> Iterator[tuple[int, str]]:
        """The ids of blobs that are not what was written, and why."""
        for blob, *row in self._connection.execute("SELECT id, digest, form, content FROM blobs").fetchall():
            try:
                self.unpacked(*row)
            except StoreError as error:
                yield int(blob), str(error)

    def forget(self, blobs: set[int]) -> None:
        """Remove those of the blobs that nothing refers to any more; ``sweep_files`` removes their files afterwards."""
        self._connection.executemany(
            "DELETE FROM blobs WHERE id = ?1 AND NOT EXISTS (SELECT 1 FROM parts WHERE blob = ?1) "
            "AND NOT EXISTS (SELECT 1 FROM sections WHERE blob = ?1) AND NOT EXISTS (SELECT 1 FROM runs WHERE shared = ?1) "
            "AND NOT EXISTS (SELECT 1 FROM cells WHERE factors = ?1) AND NOT EXISTS (SELECT 1 FROM checkpoints WHERE blob = ?1)",
            [(blob,) for blob in blobs],
        )

    def stray_files(self) -> list[Path]:
        """Files beside the database that nothing refers to; while nobody else writes they are left over."""
        if not self._folder.is_dir() or self._folder.is_symlink():
            return []
        rows = self._connection.execute("SELECT digest FROM blobs WHERE form = ?", (BESIDE,))
        known = {f"{digest.hex()}{SUFFIX}" for (digest,) in rows}
        return sorted(path for path in self._folder.iterdir() if path.name not in known and _OURS.match(path.name))

    def sweep_files(self) -> None:
        """Remove files that nothing refers to."""
        for path in self.stray_files():
            with suppress(OSError):
                path.unlink()
        with suppress(OSError):
            os.rmdir(self._folder)  # where it is empty

    def _path(self, digest: bytes) -> Path:
        return self._folder / f"{digest.hex()}{SUFFIX}"
