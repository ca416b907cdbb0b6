"""Cohorts on an executor until each has a result: what fails is retried or halved until the culprit stands alone.

A cohort whose process dies is tried once more, and then halved; one that raises is halved at once. So a run that cannot be
trained costs itself, and not the sweep.
"""

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TypeVar

from dlrun.config import own_code
from dlrun.experiments.checkpoints import Keep
from dlrun.experiments.executors import AUTO, choose
from dlrun.experiments.executors.base import Executor, Interrupted, Report, Task
from dlrun.experiments.planning.cohorts import Planned, halves, in_pieces
from dlrun.experiments.planning.cut import Needs, needs
from dlrun.experiments.train import failure, unreached
from dlrun.isolation import DiedError, StartError
from dlrun.results.formats import RunFiles
from dlrun.threads import cores, thread_count

REPAYS = 20.0  # seconds of training above which starting processes (about 4 s each) is worth it
THREADED = 1 << 23  # numbers that one step of a cohort touches above which torch's threads help more than they cost
PIECES = 3  # cohorts a process, so that they end at about the same time

Work = Sequence[tuple[Planned, Needs]]
Started = Callable[[Planned], None]
T = TypeVar("T")


def shares(work: Work, wanted: int | None, executor: str) -> list[tuple[Work, int]]:
    """Cohorts that one executor is to train, and in how many processes.

    What the kernel trains takes the threads of this process, unless processes were asked for. Of the rest there are as many
    processes as cores where the work repays their start.
    """
    if wanted is not None or executor != AUTO:
        return [_cut(work, max(1, wanted) if wanted is not None else processes(work))]
    here = [(group, need) for group, need in work if need.native]
    others = [(group, need) for group, need in work if not need.native]
    return [(here, 1), _cut(others, processes(others))]


def _cut(work: Work, count: int) -> tuple[Work, int]:
    """Pieces that keep ``count`` processes busy to the end."""
    if count == 1:
        return work, count
    share = count * PIECES / (math.fsum(need.seconds for _, need in work) or 1.0)
    return [(piece, need) for group, need in work for piece in in_pieces(group, round(need.seconds * share))], count


def processes(work: Work) -> int:
    """As many processes as cores when the work repays their start, else one."""
    on_gpu = any(group.cohort.settings.place != "cpu" for group, _ in work)
    seconds = sum(need.seconds for _, need in work)
    return 1 if on_gpu or seconds < REPAYS else cores()


def threads_for(numbers: float, *, native: bool) -> int:
    """All cores for the kernel, and for a cohort whose step touches that many numbers; one for others.

    OMP_NUM_THREADS has the last word.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return thread_count()
    return cores() if native or numbers >= THREADED else 1


def train_one(group: Planned, *, report: Report, interrupted: Interrupted, keep: Keep) -> list[RunFiles]:
    """Train a cohort here or, within ``isolation.own_process`` and with components of the user's own, in a worker.

    Raises:
        RunError: a component raised in the worker, or ended it.
        Whatever a component raises here.
    """
    with closing(choose([group], 1, interrupted, isolates=False)) as executor:
        need = needs(group.cohort)
        task = executor.submit(group, threads_for(need.numbers, native=need.native))
        try:
            while (files := task.poll(report, keep)) is None:
                executor.wait([task])
                if interrupted():
                    task.stop()
                if task.is_late():
                    return [unreached(group.specs[0], group.cohort.data)]
        except DiedError as error:
            raise error.named(own_code.own(group.specs[0].config)) from None
    return files


def train_all(
    work: Work, executor: Executor, *, started: Started, report: Report, interrupted: Interrupted, keep: Keep
) -> Iterator[list[RunFiles]]:
    """Train cohorts, in whatever order they end; those that are at work when interrupted end early. ``keep`` gets checkpoints.

    Raises:
        StartError: no worker could begin.
        Whatever ``report`` and ``keep`` raise.
    """
    try:
        yield from _train_all(work, executor, started, _heard(report), interrupted, _heard(keep))
    except _HeardError as error:
        raise error.what from None


class _HeardError(BaseException):
    """What a listener raised while a cohort trained: no run is to blame."""

    def __init__(self, what: Exception) -> None:
        super().__init__(what)
        self.what = what


def _heard(listener: Callable[[T], None]) -> Callable[[T], None]:
    def hear(content: T) -> None:
        try:
            listener(content)
        except Exception as error:
            raise _HeardError(error) from error

    return hear


def _train_all(
    work: Work, executor: Executor, started: Started, report: Report, interrupted: Interrupted, keep: Keep
) -> Iterator[list[RunFiles]]:
    waiting = deque(_Attempt(group, need.numbers / len(group.specs), need.native) for group, need in work)
    busy: dict[Task, _Attempt] = {}
    with closing(executor):
        while busy or (waiting and not interrupted()):
            while waiting and len(busy) < executor.slots and not interrupted():
                attempt = waiting.popleft()
                if not attempt.again:
                    started(attempt.group)
                busy[executor.submit(attempt.group, attempt.threads if executor.slots == 1 else 1)] = attempt
            executor.wait(list(busy))
            for task, attempt in list(busy.items()):
                if interrupted():
                    task.stop()
                try:
                    files = task.poll(report if executor.slots == 1 else None, keep)
                except StartError:
                    raise
                except (Exception, SystemExit) as error:
                    del busy[task]
                    then = attempt.after(error)
                    if isinstance(then, list):
                        waiting.extendleft(reversed(then))
                    else:
                        yield [then]
                    continue
                if files is not None or task.is_late():
                    del busy[task]
                if files is not None:
                    yield files


@dataclass(frozen=True)
class _Attempt:
    """A cohort to train: a whole one, or a part of one that failed."""

    group: Planned
    numbers: float  # that one step of one run touches
    native: bool
    died: bool = False  # it, or what it is a part of, has ended a worker
    again: bool = False

    @property
    def threads(self) -> int:
        """How many threads it is worth when it has the machine for itself."""
        return threads_for(self.numbers * len(self.group.specs), native=self.native)

    def after(self, error: BaseException) -> "list[_Attempt] | RunFiles":
        """What to do when it raised or died: attempts, or what is kept of the culprit."""
        dead, group = isinstance(error, DiedError), replace(self.group, checkpoint=None)
        if dead and not self.died:
            return [replace(self, group=group, died=True, again=True)]
        if len(group.specs) == 1:
            return failure(group.specs[0], error, group.cohort.data)
        return [replace(self, group=part, died=self.died or dead, again=True) for part in halves(group)]
