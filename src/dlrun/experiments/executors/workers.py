"""Cores at work: threads within a cohort, and processes for several cohorts where the work repays their start.

A worker gets a cohort and hands its results back; only the parent writes. Cohorts with components of the user's own train in a
worker too, however small they are. A cohort whose worker dies is tried once more, and then halved until the culprit stands by
itself: it costs one run, not the sweep.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait

import torch

from dlrun import isolation, own_modules
from dlrun.config import own_code
from dlrun.engine.progress import Progress
from dlrun.errors import DlrunError
from dlrun.experiments.cohorts import Planned, halves, uses_own
from dlrun.experiments.cut import Needs, needs
from dlrun.experiments.train import failure, train
from dlrun.isolation import POLL, DiedError, Worker
from dlrun.results.formats import RunFiles

REPAYS = 20.0  # seconds of training above which starting processes (about 4 s each) is worth it
THREADED = 1 << 23  # numbers that one step of a cohort touches above which torch's threads help more than they cost
PIECES = 3  # cohorts a process, so that they end at about the same time
GRACE = 3.0  # seconds that a cohort which is asked to stop has for handing over what it has

Started = Callable[[Planned], None]
Report = Callable[[Progress], None]
Interrupted = Callable[[], bool]


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes(work: Sequence[tuple[Planned, Needs]], wanted: int | None) -> int:
    """How many processes to train with: those asked for, or as many as cores when the work repays their start."""
    if wanted is not None:
        return max(1, wanted)
    on_gpu = any(group.cohort.settings.device.type != "cpu" for group, _ in work)
    seconds = sum(need.seconds for _, need in work)
    return 1 if on_gpu or seconds < REPAYS else cores()


def threads_for(numbers: float) -> int:
    """All cores for a cohort whose step touches that many numbers, one for others; OMP_NUM_THREADS has the last word."""
    if "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads()
    return cores() if numbers >= THREADED else 1


def train_one(group: Planned, *, report: Report, interrupted: Interrupted) -> list[RunFiles]:
    """Train a cohort here or, within ``isolation.own_process`` and with components of the user's own, in a worker.

    Raises:
        RunError: a component raised in the worker, or ended it.
        Whatever a component raises here.
    """
    threads, own = threads_for(needs(group.cohort).numbers), isolation.here()
    if own is None or not uses_own(group):
        torch.set_num_threads(threads)
        return train(group, report=report, interrupted=interrupted)
    worker = own.take(own_modules.trusted())
    try:
        worker.begin(_train, group, threads, own_code.known(), hooks=True)
        while not (found := worker.look(report)):
            wait([worker.connection], timeout=POLL)
            if interrupted():
                worker.stop(GRACE)
    except DiedError as error:
        raise error.named(own_code.own(group.specs[0].config)) from None
    finally:
        worker.close()
    files: list[RunFiles] = found[0]
    return files


def in_turn(work: Sequence[Planned], attempt: Callable[[Planned], list[RunFiles]]) -> Iterator[list[RunFiles]]:
    """Train cohorts one after the other. One that raises is halved until the culprit stands alone and is marked failed."""
    waiting = list(reversed(work))
    while waiting:
        group = waiting.pop()
        try:
            yield attempt(group)
        except (Exception, SystemExit) as error:
            if len(group.specs) == 1:
                yield [failure(group.specs[0], error, group.cohort.data)]
            else:
                waiting += reversed(halves(group))


@dataclass(frozen=True)
class _Attempt:
    """A cohort to train: a whole one, or a part of one that failed."""

    group: Planned
    numbers: float  # that one step of one run touches
    died: bool = False  # it, or what it is a part of, has ended a worker
    again: bool = False

    def after(self, error: DlrunError) -> "list[_Attempt] | RunFiles":
        """What to do when it raised or died: attempts, or what is kept of the culprit."""
        dead = isinstance(error, DiedError)
        if dead and not self.died:
            return [replace(self, died=True, again=True)]
        if len(self.group.specs) == 1:
            return failure(self.group.specs[0], error, self.group.cohort.data)
        return [replace(self, group=part, died=self.died or dead, again=True) for part in halves(self.group)]


def in_workers(
    work: Sequence[tuple[Planned, Needs]], count: int, *, started: Started, report: Report, interrupted: Interrupted
) -> Iterator[list[RunFiles]]:
    """Train cohorts in ``count`` processes, in whatever order they end; those that are at work when interrupted end early."""
    own = isolation.here() or isolation.Own()
    modules = own_modules.trusted()
    waiting = deque(_Attempt(group, need.numbers / len(group.specs)) for group, need in work)
    busy: dict[Worker, _Attempt] = {}
    idle: list[Worker] = []
    try:
        while busy or (waiting and not interrupted()):
            while waiting and len(busy) < count and not interrupted():
                attempt, worker = waiting.popleft(), idle.pop() if idle else own.take(modules)
                busy[worker] = attempt
                if not attempt.again:
                    started(attempt.group)
                threads = threads_for(attempt.numbers * len(attempt.group.specs)) if count == 1 else 1
                worker.begin(_train, attempt.group, threads, own_code.known(), hooks=True)
            wait([worker.connection for worker in busy], timeout=POLL)
            for worker, attempt in list(busy.items()):
                if interrupted():
                    worker.stop(GRACE)
                try:
                    found = worker.look(report if count == 1 else None)
                except DlrunError as error:
                    del busy[worker]
                    if not isinstance(error, DiedError) or own.bury(worker):
                        idle.append(worker)
                    then = attempt.after(error)
                    if isinstance(then, list):
                        waiting.extendleft(reversed(then))
                    else:
                        yield [then]
                    continue
                if found:
                    del busy[worker]
                    idle.append(worker)
                    yield found[0]
                elif worker.late():
                    del busy[worker]
                    worker.close()
    finally:
        for worker in (*busy, *idle):
            worker.close()


def _train(
    group: Planned, threads: int, digests: Mapping[frozenset[str], str], *, report: Report, interrupted: Interrupted
) -> list[RunFiles]:
    """What a worker does."""
    torch.set_num_threads(threads)
    own_code.adopt(digests)
    return train(group, report=report, interrupted=interrupted)
