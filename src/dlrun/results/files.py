"""Files and folders that appear whole or not at all."""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterable
from contextlib import suppress
from glob import escape
from itertools import count
from pathlib import Path

from dlrun.errors import StoreError

_NUMBERS = count()
_OURS = secrets.token_hex(8)  # in a container every process has the same id
_UNIQUE = re.compile(r"(\d+)\.([0-9a-f]{16})\.\d+(?:\.old)?$")
# not every system has all of these
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))


def unique() -> str:
    """A name that no other writer has, and that nobody can foresee: process.random.number."""
    return f"{os.getpid()}.{_OURS}.{next(_NUMBERS)}"


def abandoned(name: str) -> bool:
    """Whether ``name`` ends in what ``unique`` gave to a process of this computer that is gone."""
    found = _UNIQUE.search(name)
    if not found:
        return False
    pid, token = int(found[1]), found[2]
    return token != _OURS if pid == os.getpid() else not alive(pid)


def alive(pid: int) -> bool:
    """Whether a process of this computer has the id ``pid``."""
    import psutil

    try:
        return bool(psutil.pid_exists(pid))
    except OverflowError:
        return False


def write_file(path: Path | str, content: bytes, durable: bool = False) -> None:
    """Write a whole new file at once, flushed to the disk if ``durable``; an error where there is one, or a link."""
    handle = os.open(path, _NEW, 0o644)
    try:
        view = memoryview(content)
        while view:  # one call of the system may write less
            view = view[os.write(handle, view) :]
        if durable:
            os.fsync(handle)
    finally:
        os.close(handle)


def replace_file(path: Path, content: bytes, durable: bool = True) -> None:
    """Put a file in the place of another in one step: a reader finds the old one or the new one.

    Raises:
        StoreError: it could not be written; the old one is still there.
    """
    temporary = path.with_name(f".{path.name}.{unique()}")
    try:
        write_file(temporary, content, durable)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise StoreError(f"{path}: cannot be written ({error.strerror})") from error


def write_named(path: Path, content: bytes) -> Path:
    """Write a file that the user named, its folder too, in one step; into what is there where that is a link or a device.

    Raises:
        StoreError: it cannot be written; a file that was there still is.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() or (path.exists() and not path.is_file()):
            path.write_bytes(content)
            return path
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror})") from error
    clear_files(path.parent.glob(f".{escape(path.name)}.*"))
    replace_file(path, content, durable=False)
    return path


def clear_files(paths: Iterable[Path]) -> None:
    """Remove those of the files that processes which are gone were writing."""
    for path in paths:
        if abandoned(path.name) and not path.parent.is_symlink():
            with suppress(OSError):
                path.unlink()


def sync_folder(folder: Path | str) -> None:
    """Flush to the disk which files a folder has, where the system knows how."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_own_folder(folder: Path) -> None:
    """Make a folder that is dlrun's own, if it is not there.

    Raises:
        OSError: it cannot be made, or a link stands in its place: what is written would go elsewhere.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if folder.is_symlink():
        raise OSError(errno.ELOOP, f"{folder.name} is a link; remove it", str(folder))


def put_in_place(staged: str, target: Path) -> None:
    """Give the folder ``staged`` the name ``target``, in place of any there was; after an error that one is still there."""
    old = f"{staged}.old"
    if os.path.lexists(target):
        os.rename(target, old)
    try:
        os.rename(staged, target)
    except OSError:
        if os.path.lexists(old):
            os.rename(old, target)
        raise
    if os.path.lexists(old):
        remove(old)


def remove(folder: str) -> None:
    """Remove a folder with its files, or a file, or a link (not what it leads to)."""
    if os.path.islink(folder) or not os.path.isdir(folder):
        os.unlink(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)


def read(path: Path) -> bytes:
    """The content of a file.

    Raises:
        StoreError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
