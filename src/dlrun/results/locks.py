"""Who owns what, so that no run is trained twice at the same time.

A lock is a file that a living process holds through ``flock``. The system lets go of it when the process ends, however it ends,
so a killed process blocks nobody and no lock ever has to be judged stale. What the file says (who, since when) is for people.
"""

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from dlrun.errors import StoreError
from dlrun.results.files import make_own_folder, write_all
from dlrun.results.record import utc_now

_TRIES = 5
_PAUSE = 0.02  # seconds


@contextmanager
def held(path: Path, what: str, wait: bool = False) -> Iterator[None]:
    """Hold the lock at ``path``; ``what`` says in words what is locked.

    Raises:
        StoreError: another process holds it (unless ``wait``), or the file cannot be made.
    """
    handle = _open(path)
    try:
        if not _acquire(handle, wait):
            raise StoreError(f"{what} is being worked on by {_owner(handle)}; wait until it is through, or stop it")
        os.ftruncate(handle, 0)
        os.pwrite(handle, _signature().encode(), 0)
        yield
    finally:
        os.close(handle)


def owner(path: Path) -> str:
    """Who holds the lock at ``path`` now, in words; an empty string when nobody does."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # on a disk that is only to be read, too
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return "" if _lock(handle, wait=False) else _owner(handle)
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Claim:
    """The runs that this process may train, and those that another process is training now (run id -> who)."""

    mine: tuple[str, ...]
    others: dict[str, str]


@contextmanager
def claimed(folder: Path, ids: Iterable[str]) -> Iterator[Claim]:
    """Claim those of ``ids`` that no living process has claimed, in one step, until the context ends.

    Args:
        folder: where the claims of all processes lie; it is made when missing.
        ids: runs that are wanted.
    """
    try:
        make_own_folder(folder)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be made ({error.strerror})") from error
    own = folder / f"{uuid4().hex}.claim"
    with ExitStack() as stack:
        with held(folder / "lock", "the table of claims", wait=True):
            others = _claims_of_others(folder)
            mine = tuple(dict.fromkeys(run for run in ids if run not in others))
            handle = _open(own)
            stack.callback(os.close, handle)
            stack.callback(own.unlink, missing_ok=True)
            _lock(handle, wait=False)
            try:
                write_all(handle, json.dumps({"owner": json.loads(_signature()), "ids": mine}).encode())
            except OSError as error:
                raise StoreError(f"{own}: cannot be written ({error.strerror})") from error
        yield Claim(mine, others)


def clear_claims(folder: Path) -> None:
    """Remove the claims that killed processes left in ``folder``.

    Raises:
        StoreError: the table of claims cannot be locked.
    """
    if folder.is_dir():
        make_own_folder(folder)
        with held(folder / "lock", "the table of claims", wait=True):  # a claim that is being made is not locked yet
            _claims_of_others(folder)


def _claims_of_others(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in folder.glob("*.claim"):
        try:
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:  # let go of since the folder was listed
            continue
        with os.fdopen(handle, "r+b") as file:
            if _lock(handle, wait=False):  # its process is gone
                path.unlink(missing_ok=True)
            else:
                content = json.loads(file.read())
                found |= dict.fromkeys(content["ids"], _words(content["owner"]))
    return found


def _acquire(handle: int, wait: bool) -> bool:
    for _ in range(_TRIES):
        if _lock(handle, wait):
            return True
        time.sleep(_PAUSE)  # somebody may only be looking who the owner is
    return False


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise StoreError(f"{path}: cannot be locked ({error.strerror})") from error


def _lock(handle: int, wait: bool) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _signature() -> str:
    return json.dumps({"pid": os.getpid(), "host": os.uname().nodename, "since": utc_now()})


def _owner(handle: int) -> str:
    try:
        return _words(json.loads(os.pread(handle, 4096, 0)))
    except ValueError:  # the owner has the lock and has not signed yet
        return "another process"


def _words(signature: dict[str, object]) -> str:
    return f"process {signature.get('pid')} on {signature.get('host')} (since {signature.get('since')})"
