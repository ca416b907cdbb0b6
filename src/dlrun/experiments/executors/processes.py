"""Cohorts in worker processes of this machine; only the parent writes.

A worker that is through waits for the next cohort, and keeps the datasets that it was sent.
"""

from collections.abc import Mapping, Sequence
from multiprocessing.connection import wait

from dlrun import isolation, own_modules
from dlrun.config import own_code
from dlrun.errors import DlrunError, InputError
from dlrun.experiments.checkpoints import Keep
from dlrun.experiments.executors.base import Executor, Interrupted, Report, Task
from dlrun.experiments.planning.cohorts import Planned
from dlrun.experiments.train import train
from dlrun.isolation import POLL, DiedError, StartError, Worker
from dlrun.results.formats import RunFiles
from dlrun.threads import set_thread_count

GRACE = 3.0  # seconds that a cohort which is asked to stop has for handing over what it has
STARTS = 3  # workers that may end before they have begun, for each cohort


class Processes(Executor):
    """Trains in ``count`` processes."""

    def __init__(self, count: int) -> None:
        self.slots = count
        self._own = isolation.here() or isolation.Own()
        self._modules = own_modules.trusted()
        self._idle: list[Worker] = []
        self._busy: list[Worker] = []

    def submit(self, cohort: Planned, threads: int) -> Task:
        """Hand the cohort to a worker that is idle, or to a new one, without waiting for its start."""
        return _Remote(self, cohort, threads)

    def begin(self, cohort: Planned, threads: int) -> Worker:
        """A worker that has the cohort."""
        worker = self._idle.pop() if self._idle else self._own.take(self._modules)
        self._busy.append(worker)
        worker.begin(_train, cohort, threads, own_code.known(), hooks=True)
        return worker

    def wait(self, tasks: Sequence[Task]) -> None:
        """Wait until a worker has sent something."""
        wait([task.worker.connection for task in tasks if isinstance(task, _Remote)], timeout=POLL)

    def close(self) -> None:
        """End all workers."""
        for worker in (*self._busy, *self._idle):
            worker.close()
        self._busy, self._idle = [], []

    def ended(self, worker: Worker, error: DlrunError | None = None) -> None:
        """A worker's cohort has ended; a worker that has died, or could not begin, is buried."""
        self._busy.remove(worker)
        if not worker.is_ready:
            worker.close()
        elif not isinstance(error, DiedError) or self._own.bury(worker):
            self._idle.append(worker)


class _Remote(Task):
    def __init__(self, executor: Processes, cohort: Planned, threads: int) -> None:
        self._executor, self._cohort, self._threads, self._starts = executor, cohort, threads, 1
        self.worker = executor.begin(cohort, threads)

    def poll(self, report: Report | None, keep: Keep) -> list[RunFiles] | None:
        try:
            found = self.worker.look(report, keep)
        except DlrunError as error:
            self._executor.ended(self.worker, error)
            if self.worker.is_ready:
                raise
            self._start_again(error)
            return None
        if not found:
            return None
        self._executor.ended(self.worker)
        files: list[RunFiles] = found[0]
        return files

    def _start_again(self, error: DlrunError) -> None:
        """Take another worker where one has ended before it began, of which the cohort knew nothing.

        Raises:
            StartError: this cannot go on.
        """
        if isinstance(error, InputError):  # the user's modules raised
            raise StartError(*error.problems) from error
        if self._starts == STARTS:
            raise StartError(f"{STARTS} worker processes ended before they had begun; the last: {error}") from error
        self._starts += 1
        self.worker = self._executor.begin(self._cohort, self._threads)

    def stop(self) -> None:
        self.worker.stop(GRACE)

    def is_late(self) -> bool:
        return self.worker.late()


def _train(
    cohort: Planned,
    threads: int,
    digests: Mapping[frozenset[str], str],
    *,
    report: Report,
    interrupted: Interrupted,
    keep: Keep,
) -> list[RunFiles]:
    """What a worker does."""
    set_thread_count(threads)
    own_code.adopt(digests)
    return train(cohort, report=report, interrupted=interrupted, keep=keep)
