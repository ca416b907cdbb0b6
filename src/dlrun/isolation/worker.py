"""A worker process as its parent sees it."""

import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import IO, Any, Protocol

from dlrun.isolation.travel import DATA, STOP, TASK, DiedError, packed

POLL = 0.2  # seconds between two looks at the signals
START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from dlrun.isolation.child import main; main()"

Report = Callable[[Any], None]


class Process(Protocol):
    """What a worker needs of a process: that of subprocess.Popen."""

    pid: int

    def poll(self) -> int | None:
        """Its exit code; None while it runs."""

    def wait(self) -> int:
        """Its exit code, when it has ended."""

    def kill(self) -> None:
        """End it."""


def start_python(kept: tuple[int, int]) -> Process:
    """A Python process that serves the connection and writes to the traceback file of these descriptors."""
    words = [sys.executable, "-c", START, json.dumps(sys.path), json.dumps([*kept, os.getpid()])]
    # the signals of a terminal reach the whole group; the worker ignores them as soon as it runs, and until then they wait
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        return subprocess.Popen(words, pass_fds=kept)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Worker:
    """A process that runs one task at a time.

    Args:
        modules: the user's modules, which it imports.
        forks: fork for every task, so that a task that dies leaves the worker alive.
    """

    def __init__(self, modules: Sequence[str], *, forks: bool = False) -> None:
        self.connection, theirs = Pipe()
        self._trace: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close); a fatal signal leaves its traceback there
        self._read = 0
        self._known: list[Any] = []  # the datasets that the worker has
        self.is_ready, self.importing, self.deadline = False, "", 0.0  # ready: it has imported the user's modules
        self._next: tuple[list[Any], bytes] | None = None  # datasets and a task that it gets when it is ready
        self._answer: tuple[str, Any] | None = None
        kept = theirs.fileno(), self._trace.fileno()
        self._process = start_python(kept)
        theirs.close()
        self.forks = forks
        self._send(pickle.dumps((list(modules), forks)))

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def ready(self) -> None:
        """Wait until it has imported the user's modules.

        Raises:
            DiedError, InputError: as the import ended.
        """
        while not self.is_ready:
            wait([self.connection], timeout=POLL)
            self.look()

    def begin(self, function: Callable[..., Any], *given: Any, hooks: bool = False) -> None:
        """Give it a task: ``function(*given)``; with ``hooks`` it gets ``report``, ``interrupted`` and ``keep`` too.

        One that is not ready gets it when it is (see ``look``): to wait would hold up others, and whoever wants to stop.
        """
        self._answer, self.deadline = None, 0.0
        task, datasets = packed((_folder(), function, given, hooks), self._known)
        self._known += datasets
        self._next = datasets, task
        if self.is_ready:
            self._hand_over()

    def look(self, report: Report | None = None, keep: Report | None = None) -> list[Any]:
        """Take up what it has sent: nothing while the task goes on, its result (a list of one) when it has ended.

        Args:
            report: hears of progress.
            keep: gets what is to be kept.

        Raises:
            DiedError: it ended instead.
            RaisedError, DlrunError: what the task raised.
        """
        while True:
            over = self._process.poll() is not None
            try:
                if not self.connection.poll():
                    if over:
                        raise EOFError
                    return []
                kind, content = pickle.loads(self.connection.recv_bytes())
            except (EOFError, OSError):
                raise self._death(self._process.wait()) from None
            if kind == "progress" and report is not None:
                report(content)
            elif kind == "kept" and keep is not None:
                keep(content)
            elif kind == "importing":
                self.importing = content
            elif kind == "ready":
                self.is_ready = True
                self._hand_over()
            elif kind in ("done", "raised"):
                self._answer = (kind, content)
            elif kind == "ended" and self._answer is None:
                raise self._death(content)
            if self._answer is not None and (kind == "ended" or not self.forks or not self.is_ready):
                kind, content = self._answer
                if kind == "raised":
                    raise content
                return [content]

    def stop(self, seconds: float) -> None:
        """Ask the task to end early; ``deadline`` is when it may be given up: at once where it has not begun."""
        if not self.deadline:
            self.deadline = time.monotonic() + (seconds if self.is_ready else 0.0)
            self._send(STOP)

    def late(self) -> bool:
        """Whether it was asked to stop, and its time is over."""
        return 0 < self.deadline < time.monotonic()

    def alive(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        self.connection.close()
        self._trace.close()

    def _hand_over(self) -> None:
        """Send what it gets next."""
        if self._next is not None:
            (datasets, task), self._next = self._next, None
            for data in datasets:
                self._send(DATA + pickle.dumps(data, protocol=pickle.HIGHEST_PROTOCOL))
            self._send(TASK + task)

    def _send(self, message: bytes) -> None:
        with suppress(OSError):  # it has ended, as the next look will tell
            self.connection.send_bytes(message)

    def _death(self, code: int) -> DiedError:
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if code == -signal.SIGKILL:
            how += ", as when memory runs out"
        self._trace.seek(self._read)
        said = self._trace.read().decode(errors="replace")
        self._read = self._trace.tell()
        return DiedError(f"the process ended with {how}", said)


def _folder() -> str | None:
    """The working folder, where there is one: a resumed sweep reads its data in the one that it began in."""
    try:
        return os.getcwd()
    except OSError:
        return None
