"""Cohorts on workers that another system starts: what Dask, Ray and submitit have in common.

    Remote     the executor: sends cohorts, and asks all of its workers to stop; each system has its own
    Sent       a cohort that was sent: whether it has begun, what it reports, what came of it; each system has its own
    Parcel     what is sent of a cohort; its datasets go apart from it, and each of them once a worker
    work       what a worker does with it, on every system

Results come back to this process, which alone writes. A worker that was lost with a cohort is a death, as of a worker process
of this machine, and a cohort that was lost before it began is sent again. A worker that has to end early (the time of a job is
over) hands over a checkpoint, from which another goes on.
"""

import pickle
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar
from uuid import uuid4

from dlrun import own_modules
from dlrun.config import own_code
from dlrun.data.dataset import Data
from dlrun.engine.progress import Progress
from dlrun.experiments.checkpoints import Keep
from dlrun.experiments.executors.base import Executor, Interrupted, Report, Task
from dlrun.experiments.planning.cohorts import Planned
from dlrun.experiments.train import train, versions
from dlrun.isolation import DiedError, StartError, now_and_then, packed, told, unpacked
from dlrun.results.checkpoints import SavedCheckpoint
from dlrun.results.formats import RunFiles
from dlrun.threads import set_thread_count

LOSSES = 3  # times that a cohort may be lost before it begins


class LostError(Exception):
    """A cohort was lost before it began, of which it knew nothing."""


@dataclass(frozen=True)
class Parcel:
    """A cohort on its way to a worker.

    Args:
        content: the cohort, its threads and digests of the user's own code, without datasets.
        sender: of the executor.
        key: of the cohort.
        modules: the user's own, which the worker imports.
        versions: which the worker must have.
        worker: what an error calls it, such as ``a Dask worker``.
    """

    content: bytes
    sender: str
    key: str
    modules: Sequence[str]
    versions: Mapping[str, str]
    worker: str


class Sent(ABC):
    """A cohort that was sent."""

    @abstractmethod
    def begun(self) -> bool:
        """Whether a worker has begun it."""

    @abstractmethod
    def progress(self) -> Progress | None:
        """What it has reported since the last look."""

    @abstractmethod
    def answer(self) -> bytes | None:
        """What ``work`` gave; None while there is nothing.

        Raises:
            DiedError: its worker was lost.
            LostError: it was lost before it began.
            StartError: the system cannot go on.
        """


class Remote(Executor):
    """Trains ``count`` cohorts at once."""

    worker: ClassVar[str]
    grace: ClassVar[float] = 3.0  # seconds that a cohort which is asked to stop has for handing over what it has

    def __init__(self, count: int) -> None:
        self.slots, self.name, self._modules = count, uuid4().hex, own_modules.trusted()
        self._asked = False

    @abstractmethod
    def send(self, parcel: Parcel, datasets: Sequence[Data]) -> Sent:
        """Send a cohort to whatever worker is free, or will be."""

    @abstractmethod
    def ask(self) -> None:
        """Ask all workers to end the cohorts of this executor early. It is called once."""

    def submit(self, cohort: Planned, threads: int) -> Task:
        """Send the cohort."""
        return _Cohort(self, cohort, threads)

    def pack(self, cohort: Planned, threads: int) -> tuple[Parcel, list[Data]]:
        """What is sent, and the datasets that it refers to."""
        content, datasets = packed((cohort, threads, own_code.known()))
        return Parcel(content, self.name, uuid4().hex, self._modules, versions(), self.worker), datasets

    def stop(self) -> None:
        """Ask all workers to end the cohorts of this executor early."""
        if not self._asked:
            self._asked = True
            self.ask()


class _Cohort(Task):
    def __init__(self, executor: Remote, cohort: Planned, threads: int) -> None:
        self._executor, self._cohort, self._threads = executor, cohort, threads
        self._losses, self._deadline = 0, 0.0
        self._send()

    def _send(self) -> None:
        self._sent = self._executor.send(*self._executor.pack(self._cohort, self._threads))

    def poll(self, report: Report | None, keep: Keep) -> list[RunFiles] | None:
        if report is not None and (progress := self._sent.progress()) is not None:
            report(progress)
        try:
            answer = self._sent.answer()
        except LostError as error:
            self._send_again(error)
            return None
        if answer is None:
            return None
        kind, content, checkpoint = pickle.loads(answer)
        if kind == "raised":
            raise content
        if checkpoint is not None:
            keep(checkpoint)
        if kind == "stopped" and not self._deadline:
            self._go_on(checkpoint)
            return None
        files: list[RunFiles] = content
        return files

    def _send_again(self, error: LostError) -> None:
        """Send it again where it was lost before it began.

        Raises:
            StartError: this cannot go on.
        """
        if self._deadline:
            return
        self._losses += 1
        if self._losses == LOSSES:
            raise StartError(f"a cohort was lost {LOSSES} times before it began; the last: {error}") from error
        self._send()

    def _go_on(self, checkpoint: SavedCheckpoint | None) -> None:
        """Send it again, from where a worker that had to end left it.

        Raises:
            DiedError: it has come no further than the worker before.
        """
        before = self._cohort.checkpoint
        if checkpoint is None or (before is not None and checkpoint.facts["epoch"] <= before.facts["epoch"]):
            raise DiedError(f"the process ended: {self._executor.worker} had to end before an epoch was over")
        self._cohort = replace(self._cohort, checkpoint=checkpoint)
        self._send()

    def stop(self) -> None:
        if not self._deadline:
            self._deadline = time.monotonic() + (self._executor.grace if self._sent.begun() else 0.0)
            self._executor.stop()

    def is_late(self) -> bool:
        return 0 < self._deadline < time.monotonic()


def work(parcel: Parcel, datasets: Sequence[Data], *, report: Report, interrupted: Interrupted) -> bytes:
    """Train a cohort, on a worker.

    Returns:
        How it ended (``done``, ``stopped`` or ``raised``), with what, and a checkpoint of what was stopped. Pickled here, since a
        system's own way can change what is raised.
    """
    kept: list[SavedCheckpoint] = []

    def keep(checkpoint: SavedCheckpoint) -> None:
        kept[:] = [checkpoint]

    try:
        _check_versions(parcel)
        for module in parcel.modules:
            own_modules.trust(module)
        cohort, threads, digests = unpacked(parcel.content, datasets)
        set_thread_count(threads)
        own_code.adopt(digests)
        files = train(cohort, report=now_and_then(report), interrupted=interrupted, keep=keep)
        stopped = any(item.record.status == "interrupted" for item in files)
        answer: tuple[str, Any, SavedCheckpoint | None] = (
            ("stopped", files, kept[0] if kept else None) if stopped else ("done", files, None)
        )
    except BaseException as error:  # the parent decides, as with worker processes of its own
        answer = "raised", told(error), None
    return pickle.dumps(answer, protocol=pickle.HIGHEST_PROTOCOL)


def _check_versions(parcel: Parcel) -> None:
    """Raise a StartError where this worker has other versions than the parent."""
    here, wanted = versions(), parcel.versions
    other = [f"{name} {here[name]} and not {wanted[name]}" for name in wanted if here.get(name) != wanted[name]]
    if other:
        raise StartError(f"{parcel.worker} has {', '.join(other)}: its figures could differ; install the same versions there")


@contextmanager
def ctrl_c_waits() -> Iterator[None]:
    """Processes that are started within do not get Ctrl-C from the terminal: this process asks them to stop."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
