"""Who is training what, so that no run is trained twice at the same time.

A claim belongs to a process, which is known by its id, the moment it began and its host. What a process of this host claimed ends
with it. Of another host nothing can be known: its claims hold until it releases them, or ``dlrun doctor store --release`` does.
"""

import json
import os
import platform
import secrets
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from dlrun.results.record import utc_now

_SAME = 2.0  # seconds by which two readings of when a process began may differ, since clocks are set
_held: set[str] = set()  # tokens of the claims of this process


@dataclass(frozen=True)
class Claim:
    """The runs that this process may train, and those that another process is training now (run id -> who)."""

    mine: tuple[str, ...]
    others: dict[str, str]


@dataclass(frozen=True)
class Owner:
    """A process that has claimed something."""

    pid: int
    started: float
    host: str
    since: str
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} (since {self.since})"

    @property
    def is_gone(self) -> bool:
        """Whether it is a process of this host that has ended, or a claim that this process could not give back."""
        if self.host != host():
            return False
        started = _started(self.pid)
        if started is None or abs(started - self.started) > _SAME:
            return True
        return self.pid == os.getpid() and self.token not in _held


@cache
def host() -> str:
    """The name of this computer."""
    return platform.node() or "localhost"


def take(connection: sqlite3.Connection, subjects: Iterable[str]) -> tuple[str, Claim]:
    """Claim those of ``subjects`` that no living process has claimed; within a transaction. Returns the claim and its token."""
    clear(connection)
    wanted = list(dict.fromkeys(subjects))
    others = owners(connection, wanted)
    mine = tuple(subject for subject in wanted if subject not in others)
    owner = Owner(os.getpid(), _started(os.getpid()) or 0.0, host(), utc_now(), secrets.token_hex(8))
    values = (owner.pid, owner.started, owner.host, owner.since, owner.token)
    added = connection.execute("INSERT INTO owners (pid, started, host, since, token) VALUES (?, ?, ?, ?, ?)", values)
    connection.executemany("INSERT INTO claims VALUES (?, ?)", [(subject, added.lastrowid) for subject in mine])
    _held.add(owner.token)
    return owner.token, Claim(mine, {subject: str(other) for subject, other in others.items()})


def give_back(connection: sqlite3.Connection, token: str) -> None:
    """End a claim; within a transaction."""
    connection.execute("DELETE FROM owners WHERE token = ?", (token,))


def let_go(token: str) -> None:
    """Note that this process does not hold a claim any more, whether it could be given back or not."""
    _held.discard(token)


def clear(connection: sqlite3.Connection) -> int:
    """Remove the claims of processes that are gone; within a transaction. Returns how many processes had any."""
    gone = [number for number, owner in _all(connection).items() if owner.is_gone]
    connection.executemany("DELETE FROM owners WHERE id = ?", [(number,) for number in gone])
    return len(gone)


def release(connection: sqlite3.Connection) -> int:
    """Remove the claims of other hosts, and of processes that are gone; within a transaction."""
    far = [number for number, owner in _all(connection).items() if owner.host != host()]
    connection.executemany("DELETE FROM owners WHERE id = ?", [(number,) for number in far])
    return len(far) + clear(connection)


def owners(connection: sqlite3.Connection, subjects: Iterable[str]) -> dict[str, Owner]:
    """Who has claimed each of ``subjects``, where somebody has who is not gone."""
    wanted = list(subjects)
    if len(wanted) == 1:
        rows = connection.execute("SELECT subject, owner FROM claims WHERE subject = ?", wanted)
    else:
        rows = connection.execute(
            "SELECT subject, owner FROM claims WHERE subject IN (SELECT value FROM json_each(?))", (json.dumps(wanted),)
        )
    living = {number: owner for number, owner in _all(connection).items() if not owner.is_gone}
    return {subject: living[number] for subject, number in rows if number in living}


def _all(connection: sqlite3.Connection) -> dict[int, Owner]:
    rows = connection.execute("SELECT id, pid, started, host, since, token FROM owners")
    return {
        int(number): Owner(int(pid), float(started), str(at), str(since), str(token))
        for number, pid, started, at, since, token in rows
    }


def _started(pid: int) -> float | None:
    """When a process of this host began; None where there is none, or one that has ended and is not collected yet."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.AccessDenied:  # another user's
        return float("nan")
    except (psutil.Error, OSError, ValueError, OverflowError):
        return None
