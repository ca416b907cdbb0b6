"""Code of the user's own runs in a worker process: when it ends that process, the results and the other runs are kept.

    with own_process():                 what is called within it with ``call`` runs in one worker, started when it is first needed
        call(read, part)                the result, or what the function raised, or DiedError

A worker is a Python process of its own with the parent's sys.path, in which the user's modules are imported. It has one task at
a time, reports progress, can be told to stop, and ends when its parent does. What it raises comes back as text, since an
exception of the user's own need not survive the way. Once a worker has died, others are forked from one that has imported
everything (on Linux without a GPU): to find the culprit among many runs takes many deaths, and a start takes seconds.

    travel    what crosses between the two processes
    worker    the process as its parent sees it
    child     the process itself
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from multiprocessing.connection import wait
from typing import Any

from dlrun.errors import DlrunError, InputError
from dlrun.isolation.travel import DiedError, RaisedError, StartError, now_and_then, packed, reason, told, unpacked
from dlrun.isolation.worker import POLL, Worker

__all__ = [
    "POLL",
    "DiedError",
    "Own",
    "RaisedError",
    "StartError",
    "Worker",
    "call",
    "here",
    "now_and_then",
    "own_process",
    "packed",
    "reason",
    "told",
    "try_import",
    "unpacked",
]


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


def _can_fork() -> bool:
    import torch

    return sys.platform == "linux" and not torch.cuda.is_available()
