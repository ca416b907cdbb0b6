"""Cores at work: threads within a cohort, and processes for several cohorts where the work repays their start.

A worker gets a cohort and hands its results back; only the parent writes. A worker that dies, of memory say, breaks the pool:
what it held is tried again alone, and halved until the culprit stands by itself: it costs one run, not the sweep.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

import torch

from dlrun.experiments import source, targets
from dlrun.experiments.estimate import Needs, needs
from dlrun.experiments.execute import failure, train
from dlrun.experiments.plan import Planned, in_pieces
from dlrun.results.formats import RunFiles

REPAYS = 20.0  # seconds of training above which starting processes (about 4 s each) is worth it
THREADED = 1 << 23  # numbers that one step of a cohort touches above which torch's threads help more than they cost
PIECES = 3  # cohorts a process, so that they end at about the same time
POLL = 0.2  # seconds between two looks at the signals

Started = Callable[[Planned], None]


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


def use_threads(group: Planned) -> None:
    """All cores for a cohort whose step touches many numbers, one for others; OMP_NUM_THREADS has the last word."""
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(cores() if needs(group.cohort).numbers >= THREADED else 1)


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
                waiting += reversed(in_pieces(group, 2))


def in_parallel(
    work: Sequence[Planned], count: int, *, started: Started, interrupted: Callable[[], bool]
) -> Iterator[list[RunFiles]]:
    """Train cohorts in ``count`` processes, in whatever order they end."""
    from joblib.externals.loky import get_reusable_executor
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    given = (os.getpid(), targets.trusted(), list(sys.path), source.known())

    def pool(size: int) -> Any:
        return get_reusable_executor(max_workers=size, timeout=60, initializer=_begin, initargs=given)

    executor = pool(count)
    suspects: list[Planned] = []
    running: dict[Future[list[RunFiles]], Planned] = {}
    waiting = list(work)
    try:
        while (waiting or running) and not interrupted():
            while waiting and len(running) < count:
                group = waiting.pop(0)
                started(group)
                running[executor.submit(_train, group)] = group
            ended, _ = wait(running, timeout=POLL, return_when=FIRST_COMPLETED)
            for future in ended:
                group = running.pop(future)
                error = future.exception()
                if error is None:
                    yield future.result()
                elif isinstance(error, TerminatedWorkerError):
                    suspects.append(group)
                elif len(group.specs) == 1:
                    yield [failure(group.specs[0], error, group.cohort.data)]
                else:
                    waiting = [*in_pieces(group, 2), *waiting]
            if suspects:  # the pool is broken: whatever ran is a suspect, and is tried alone
                suspects += running.values()
                running.clear()
                while suspects and not interrupted():
                    executor = pool(1)
                    yield from in_turn([suspects.pop(0)], lambda alone: _alone(pool, alone, interrupted))
                suspects = []
                executor = pool(count)
    finally:
        executor.shutdown(wait=False, kill_workers=True)


def _alone(pool: Callable[[int], Any], group: Planned, interrupted: Callable[[], bool]) -> list[RunFiles]:
    future: Future[list[RunFiles]] = pool(1).submit(_train, group)
    while not interrupted():
        if wait([future], timeout=POLL).done:
            return future.result()
    return []


def _train(group: Planned) -> list[RunFiles]:
    """What a worker does."""
    try:
        return train(group)
    except SystemExit as error:  # it would end the worker, not the run
        raise RuntimeError(f"called sys.exit({error.code})") from error


def _begin(parent: int, modules: Sequence[str], path: Sequence[str], digests: Mapping[frozenset[str], str]) -> None:
    """A worker starts: one thread, signals left to the parent, gone when the parent is."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.path[:] = path
    for module in modules:
        targets.trust(module)
    source.adopt(digests)
