"""Code of the user's own runs in a worker process: when it ends that process, the results and the other runs are kept.

    with own_process():                 what is called within it with ``call`` runs in one worker, started when it is first needed
        call(read, part)                the result, or what the function raised, or DiedError

A worker is a Python process of its own with the parent's sys.path, in which the user's modules are imported. It has one task at
a time, reports progress, can be told to stop, and ends when its parent does. What it raises comes back as text, since an
exception of the user's own need not survive the way. Once a worker has died, others are forked from one that has imported
everything (on Linux without a GPU): to find the culprit among many runs takes many deaths, and a start takes seconds.
"""

import io
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import IO, Any, Protocol

from dlrun.errors import DlrunError, InputError, RunError

REPORT = 0.1  # seconds between two reports of progress
POLL = 0.2  # seconds between two looks at the signals
START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from dlrun.isolation_worker import main; main()"
STOP, DATA, TASK = b"stop", b"d", b"t"  # messages: end the task early; a dataset; a task

Report = Callable[[Any], None]


class RaisedError(RunError):
    """What code in a worker raised, in a line.

    Args:
        reason: the line.
        log: the traceback.
        foreign: whether it was no exception of dlrun's, so that where it was raised is worth knowing.
    """

    def __init__(self, reason: str, log: str = "", *, foreign: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.log, self.foreign = reason, log, foreign
        if log:
            self.add_note(log)  # a full error shows it

    def __reduce__(self) -> Any:
        return partial(type(self), foreign=self.foreign), (self.reason, self.log)


class DiedError(RaisedError):
    """The worker ended before its task did. ``reason`` says how: ``the process ended with exit code 3`` (``signal SIGSEGV``)."""

    def named(self, components: Sequence[str], did: str = "trained it") -> "DiedError":
        """The same, saying what the process did and what components of the user's own it used."""
        whose = f"; it uses the component{'s' * (len(components) > 1)} {', '.join(components)}" if components else ""
        return DiedError(self.reason.replace("the process", f"the process that {did}", 1) + whose, self.log)


def reason(error: BaseException) -> str:
    """What an exception says, in a line."""
    if isinstance(error, SystemExit):
        return f"called sys.exit({error.code})"
    said = str(error) if isinstance(error, DlrunError) else f"{type(error).__name__}: {error}"
    return said.splitlines()[0].removesuffix(": ")


def now_and_then(send: Callable[[Any], None]) -> Callable[[Any], None]:
    """``send``, but for reports that come within REPORT seconds of one that was sent."""
    last = 0.0

    def report(progress: Any) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= REPORT:
            last = now
            send(progress)

    return report


def told(error: BaseException) -> DlrunError:
    """An exception that can travel."""
    if isinstance(error, InputError | RaisedError):
        return error
    log = "".join(traceback.format_exception(error))
    return RaisedError(reason(error), log, foreign=not isinstance(error, DlrunError))


class StartError(InputError):
    """No worker could be started, or the user's modules could not be imported in one: no run is to blame."""


def packed(task: Any, known: Sequence[Any] = ()) -> tuple[bytes, list[Any]]:
    """A task as bytes without its datasets, and those of them that are not among ``known``: each is sent once."""
    import cloudpickle

    from dlrun.data.dataset import Data

    places = {id(data): number for number, data in enumerate(known)}
    new: list[Any] = []

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def persistent_id(self, item: Any) -> int | None:
            if not isinstance(item, Data):
                return None
            if id(item) not in places:
                places[id(item)] = len(places)
                new.append(item)
            return places[id(item)]

    out = io.BytesIO()
    Pickler(out, protocol=pickle.HIGHEST_PROTOCOL).dump(task)
    return out.getvalue(), new


def unpacked(task: bytes, datasets: Sequence[Any]) -> Any:
    """What ``packed`` packed, with the datasets in the order in which they were found."""

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, place: Any) -> Any:
            return datasets[place]

    return Unpickler(io.BytesIO(task)).load()


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


class Own:
    """The worker of a context, and how many have died in it."""

    def __init__(self) -> None:
        self.worker: Worker | None = None
        self.died = False

    def take(self, modules: Sequence[str]) -> Worker:
        """Hand over the worker, or a new one."""
        worker, self.worker = self.worker, None
        return worker or Worker(modules, forks=self.died and _can_fork())

    def give(self, worker: Worker) -> None:
        """Take a worker back that is idle; one that could not begin is of no use."""
        if self.worker is None and worker.is_ready:
            self.worker = worker
        else:
            worker.close()

    def bury(self, worker: Worker) -> bool:
        """A task of this worker died. Whether the worker can go on, as one that forks can."""
        self.died = True
        if worker.forks and worker.alive():
            return True
        worker.close()
        return False


_here: ContextVar[Own | None] = ContextVar("own", default=None)


@contextmanager
def own_process() -> Iterator[None]:
    """A context in which the user's own code runs in a worker; one within another is the same."""
    if _here.get() is not None:
        yield
        return
    own = Own()
    token = _here.set(own)
    try:
        yield
    finally:
        _here.reset(token)
        if own.worker is not None:
            own.worker.close()


def here() -> Own | None:
    """The context that this is within."""
    return _here.get()


def try_import(modules: Sequence[str]) -> None:
    """Let the worker of the context import modules of the user's own, before this process does.

    Raises:
        InputError: the import ended the worker, or it raised.
    """
    own = _here.get()
    if own is None or not modules:
        return
    worker = own.take(modules)
    try:
        worker.ready()
    except DiedError as death:
        worker.close()
        raise InputError(f"--import {worker.importing}: {death.named((), 'imported it').reason}") from death
    except BaseException:
        worker.close()
        raise
    own.give(worker)


def call(function: Callable[..., Any], *given: Any) -> Any:
    """``function(*given)``, in the worker of the context where there is one and the user has modules of their own.

    Raises:
        DiedError: it ended the worker.
        RaisedError, DlrunError: what it raised.
    """
    from dlrun import own_modules

    own = _here.get()
    if own is None or not own_modules.trusted():
        return function(*given)
    worker = own.take(own_modules.trusted())
    try:
        worker.begin(function, *given)
        while not (found := worker.look()):
            wait([worker.connection], timeout=POLL)
    except DiedError:
        if own.bury(worker):
            own.give(worker)
        raise
    except DlrunError:
        own.give(worker)
        raise
    except BaseException:
        worker.close()
        raise
    own.give(worker)
    return found[0]


def _folder() -> str | None:
    """The working folder, where there is one: a resumed sweep reads its data in the one that it began in."""
    try:
        return os.getcwd()
    except OSError:
        return None


def _can_fork() -> bool:
    import torch

    return sys.platform == "linux" and not torch.cuda.is_available()
