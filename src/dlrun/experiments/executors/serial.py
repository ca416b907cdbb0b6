"""Cohorts one after the other, in this process."""

from collections.abc import Sequence

from dlrun.experiments.checkpoints import Keep
from dlrun.experiments.executors.base import Executor, Interrupted, Report, Task
from dlrun.experiments.planning.cohorts import Planned
from dlrun.experiments.train import train
from dlrun.results.formats import RunFiles
from dlrun.threads import set_thread_count


class Serial(Executor):
    """Trains a cohort when its task is polled.

    Args:
        interrupted: whether to stop, asked before every step.
    """

    def __init__(self, interrupted: Interrupted) -> None:
        self._interrupted = interrupted

    def submit(self, cohort: Planned, threads: int) -> Task:
        """Nothing is trained yet."""
        return _Cohort(cohort, threads, self._interrupted)

    def wait(self, tasks: Sequence[Task]) -> None:
        """There is nothing to wait for."""

    def close(self) -> None:
        """There is nothing at work."""


class _Cohort(Task):
    def __init__(self, cohort: Planned, threads: int, interrupted: Interrupted) -> None:
        self._cohort, self._threads, self._interrupted = cohort, threads, interrupted

    def poll(self, report: Report | None, keep: Keep) -> list[RunFiles]:
        set_thread_count(self._threads)
        return train(self._cohort, report=report, interrupted=self._interrupted, keep=keep)

    def stop(self) -> None:
        pass  # it asks before every step
