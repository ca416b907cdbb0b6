"""A text file that somebody hands us: opened without waiting on it, looked through once, then decoded line by line.

A file is data. Pipes, devices and addresses are refused before they are read, and a compressed file that unpacks to far more than
itself is refused on the way.
"""

import codecs
import gzip
import math
import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import chain, islice
from pathlib import Path
from typing import IO, cast

from dlrun.data.table.text.foreign import foreign
from dlrun.data.table.values.cells import shown
from dlrun.errors import DataError, nearest

RATIO = 100  # a gzip file of numbers unpacks to 3 to 20 times its size
LONGEST_LINE = 1 << 24  # 10,000 columns of 20 characters are 200 kB
BLOCK = 1 << 20
NEIGHBOURS = 1000  # names of a folder that are looked through for the one that was meant

_MARKS = (  # the longer ones first: the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
GZIP = b"\x1f\x8b"
_KINDS = ((stat.S_ISDIR, "folder"), (stat.S_ISFIFO, "pipe"), (stat.S_ISSOCK, "socket"))
_UNDEFINED = tuple(bytes([code]) for code in (0x81, 0x8D, 0x8F, 0x90, 0x9D))  # in cp1252


@dataclass(frozen=True)
class TextFile:
    """A file that can be read as text.

    Attributes:
        path: where it is.
        encoding: how it is decoded.
        bytes: its size, unpacked.
        breaks: at least as many as it has line breaks.
        escapes: whether a backslash may stand before a quotation mark.
    """

    path: Path
    encoding: str
    bytes: int
    breaks: int
    escapes: bool

    @property
    def name(self) -> str:
        """The file's name, fit for a message."""
        return shown(self.path.name)

    @contextmanager
    def lines(self) -> Iterator[Iterator[str]]:
        """Its lines as they are, ends included.

        Raises:
            DataError: when something in it cannot be decoded or unpacked.
        """
        with _unpacked(self.path) as (stream, _), TextIOWrapper(stream, encoding=self.encoding, newline="") as text:
            try:
                yield _without_mark(text)
            except UnicodeError as error:
                raise DataError(
                    f"{self.name}: cannot be read as {self.encoding} ({shown(getattr(error, 'reason', error), 60)}); "
                    "name its encoding, such as dataset.encoding=latin-1"
                ) from error
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(f"{self.name}: cannot be read ({shown(error, 100)})") from error


def _without_mark(lines: Iterator[str]) -> Iterator[str]:
    """The lines without a byte order mark, which stays there when a user names the encoding."""
    first = next(lines, None)
    return iter(()) if first is None else chain([first.lstrip("\ufeff")], lines)


def located(path: str, key: str = "path") -> Path:
    """The path that a user typed for a key of the dataset, with ``~`` for the home folder.

    Raises:
        DataError: it is an address, or there is nothing.
    """
    place = Path(os.path.expanduser(path))
    try:
        if place.exists():
            return place
    except (OSError, ValueError):  # a loop of links, a NUL byte
        pass
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", path):
        raise DataError(f"dataset.{key}={shown(path, 100)}: is an address; download the file first, and give its path")
    if os.path.islink(place):
        raise DataError(f"dataset.{key}={shown(path, 100)}: is a link that leads nowhere; give the file that it should lead to")
    message = ""
    try:
        message = nearest(place.name, [shown(entry.name) for entry in islice(os.scandir(place.parent), NEIGHBOURS)])
    except (OSError, ValueError):
        message = f"; there is no folder {shown(place.parent, 100)} either"
    raise DataError(f"dataset.{key}={shown(path, 100)}: there is no such file{message}")


def open_file(path: Path) -> IO[bytes]:
    """Open a regular file. A pipe is refused instead of waited on.

    Raises:
        DataError: it is something else, or cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        handle = os.open(path, flags)
    except OSError as error:
        kind = next((kind for test, kind in _KINDS if test(_mode(path))), None)
        what = f"is a {kind}; give a file" if kind else f"cannot be opened ({error.strerror})"
        raise DataError(f"dataset.path={shown(path, 100)}: {what}") from error
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        kind = next((kind for test, kind in _KINDS if test(mode)), "device")
        raise DataError(f"dataset.path={shown(path, 100)}: is a {kind}; give a file")
    return os.fdopen(handle, "rb")


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError:
        return 0


@contextmanager
def _unpacked(path: Path) -> Iterator[tuple[IO[bytes], bool]]:
    """The bytes of a file, unpacked if it is compressed by gzip, and whether it is."""
    with open_file(path) as raw:
        start = raw.read(len(GZIP))
        raw.seek(0)
        if start == GZIP:
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield cast(IO[bytes], unpacked), True
        else:
            yield raw, False


def examine(path: Path, encoding: str | None = None) -> TextFile:
    """Look through a whole file: which encoding it is in, whether it is text, how many rows it can have.

    Without a byte order mark it is UTF-8 if all of it is, and Windows-1252 (Latin-1 with its few holes filled) otherwise.

    Raises:
        DataError: it is no text, is empty, unpacks to too much, or ``encoding`` is none.
    """
    name = shown(path.name)
    total = breaks = line = 0
    escapes = holes = wide = False
    valid, mark = True, None
    utf8 = codecs.getincrementaldecoder("utf-8")()
    try:
        with _unpacked(path) as (stream, packed):
            size = path.stat().st_size if packed else math.inf
            while block := stream.read(BLOCK):
                if not total:
                    if message := foreign(block):
                        raise DataError(f"{name}: {message}")
                    mark = next((kind for start, kind in _MARKS if block.startswith(start)), None)
                    wide = (encoding or mark or "").lower().replace("_", "-").startswith(("utf-16", "utf-32"))
                total += len(block)
                if total > RATIO * size + BLOCK:
                    raise DataError(f"{name}: unpacks to more than {RATIO} times its size; if you trust it, unpack it first")
                if not wide and (place := block.find(0)) >= 0:
                    raise DataError(
                        f"{name}: has NUL bytes (the first is byte {total - len(block) + place + 1:,}), so it is no text; "
                        "save it as UTF-8, or name its encoding, such as dataset.encoding=utf-16-le"
                    )
                breaks += block.count(b"\n")
                if b"\r" in block:
                    breaks += block.count(b"\r") - block.count(b"\r\n")
                escapes = escapes or (b"\\" if wide else b'\\"') in block
                last = max(block.rfind(b"\n"), block.rfind(b"\r"))
                line = line + len(block) if last < 0 else len(block) - last
                if line > LONGEST_LINE:
                    raise DataError(f"{name}: has a line of more than {LONGEST_LINE >> 20} MB, so it is no table")
                valid = valid and _decodes(utf8, block)
                holes = holes or (not valid and any(code in block for code in _UNDEFINED))
            valid = valid and _decodes(utf8, b"", final=True)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name}: cannot be read ({shown(error, 100)})") from error
    if not total:
        raise DataError(f"{name}: is empty; it needs a line of column names, and rows")
    found = encoding or mark or ("utf-8" if valid else "latin-1" if holes else "cp1252")
    _check(found)
    return TextFile(path, found, total, breaks, escapes)


def _decodes(decoder: codecs.IncrementalDecoder, block: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(block, final)
    except UnicodeDecodeError:
        return False
    return True


def _check(encoding: str) -> None:
    known = ("utf-8", "utf-16", "latin-1", "cp1252")
    try:
        "".encode(encoding)  # refuses what is no text encoding, such as zip
    except (LookupError, UnicodeError, ValueError):
        message = nearest(encoding, known)
        raise DataError(
            f"dataset.encoding={shown(encoding)}: no such encoding; usual ones are {', '.join(known)}{message}"
        ) from None
