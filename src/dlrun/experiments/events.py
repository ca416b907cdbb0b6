"""What an experiment reports while it goes on, and who listens: displays, loggers, reports.

note, warning          of the settings and the data, before anything trains
opened                 where runs are going to be kept
begun                  everything is checked; training begins
cohort, progress       a cohort begins; how the training goes, after every epoch
run_ended              runs have ended and are kept
waiting                all that is left is being trained by another process
comparing, finished    what takes a while after training; the result
logger_failed          one of the loggers raised; the others and the experiment go on
close                  the end, however it came
"""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from dlrun.engine.progress import Progress
from dlrun.results.record import RunRecord
from dlrun.results.store import Store

if TYPE_CHECKING:
    from dlrun.experiments.experiment import Result
    from dlrun.experiments.sweep import Grid


class Listener:
    """Hears of an experiment. Every method may be overridden, and does nothing otherwise.

    What a display raises ends the experiment; what a logger raises ends the logger (see Guarded).
    """

    def note(self, text: str) -> None:
        """Something to know of the data, such as the task that was inferred."""

    def warning(self, text: str, runs: int) -> None:
        """Something that may not be meant, in so many runs."""

    def opened(self, store: Store) -> None:
        """Where runs are going to be kept; before ``begun``."""

    def begun(self, grid: "Grid | None", title: str) -> None:
        """Training begins; there is no ``grid`` for a single run."""

    def cohort(self, number: int, cohorts: int, runs: int) -> None:
        """A cohort begins: its number from 0, how many there are, and its runs."""

    def progress(self, progress: Progress) -> None:
        """The cohort at work reports."""

    def run_ended(self, records: Sequence[RunRecord]) -> None:
        """Runs have ended and are kept; first of all those that had ended before."""

    def waiting(self, runs: Collection[str], owner: str) -> None:
        """All that is left is being trained by another process."""

    def comparing(self, text: str) -> None:
        """Something after training takes a while, such as fitting baselines."""

    def finished(self, result: "Result") -> None:
        """All is over and kept."""

    def logger_failed(self, text: str) -> None:
        """A logger raised an error and hears of nothing any more."""

    def close(self) -> None:
        """The experiment is over, be it by an error; release what is held."""


class Listeners(Listener):
    """Several as one, called in their order."""

    def __init__(self, several: Sequence[Listener]) -> None:
        self.several = tuple(several)

    def note(self, text: str) -> None:
        """Pass it on."""
        for each in self.several:
            each.note(text)

    def warning(self, text: str, runs: int) -> None:
        """Pass it on."""
        for each in self.several:
            each.warning(text, runs)

    def opened(self, store: Store) -> None:
        """Pass it on."""
        for each in self.several:
            each.opened(store)

    def begun(self, grid: "Grid | None", title: str) -> None:
        """Pass it on."""
        for each in self.several:
            each.begun(grid, title)

    def cohort(self, number: int, cohorts: int, runs: int) -> None:
        """Pass it on."""
        for each in self.several:
            each.cohort(number, cohorts, runs)

    def progress(self, progress: Progress) -> None:
        """Pass it on."""
        for each in self.several:
            each.progress(progress)

    def run_ended(self, records: Sequence[RunRecord]) -> None:
        """Pass it on."""
        for each in self.several:
            each.run_ended(records)

    def waiting(self, runs: Collection[str], owner: str) -> None:
        """Pass it on."""
        for each in self.several:
            each.waiting(runs, owner)

    def comparing(self, text: str) -> None:
        """Pass it on."""
        for each in self.several:
            each.comparing(text)

    def finished(self, result: "Result") -> None:
        """Pass it on."""
        for each in self.several:
            each.finished(result)

    def logger_failed(self, text: str) -> None:
        """Pass it on."""
        for each in self.several:
            each.logger_failed(text)

    def close(self) -> None:
        """Close all, the last one first."""
        for each in reversed(self.several):
            each.close()


class Guarded(Listener):
    """A logger that may fail: what it raises is reported once, and it hears of nothing more but ``close``.

    Args:
        name: of the logger, for the report.
        logger: what may fail.
        tell: hears of that.
    """

    def __init__(self, name: str, logger: Listener, tell: Listener) -> None:
        self._name, self._logger, self._tell, self._failed = name, logger, tell, False

    def note(self, text: str) -> None:
        """Pass it on."""
        self._try(self._logger.note, text)

    def warning(self, text: str, runs: int) -> None:
        """Pass it on."""
        self._try(self._logger.warning, text, runs)

    def opened(self, store: Store) -> None:
        """Pass it on."""
        self._try(self._logger.opened, store)

    def begun(self, grid: "Grid | None", title: str) -> None:
        """Pass it on."""
        self._try(self._logger.begun, grid, title)

    def cohort(self, number: int, cohorts: int, runs: int) -> None:
        """Pass it on."""
        self._try(self._logger.cohort, number, cohorts, runs)

    def progress(self, progress: Progress) -> None:
        """Pass it on."""
        self._try(self._logger.progress, progress)

    def run_ended(self, records: Sequence[RunRecord]) -> None:
        """Pass it on."""
        self._try(self._logger.run_ended, records)

    def waiting(self, runs: Collection[str], owner: str) -> None:
        """Pass it on."""
        self._try(self._logger.waiting, runs, owner)

    def comparing(self, text: str) -> None:
        """Pass it on."""
        self._try(self._logger.comparing, text)

    def finished(self, result: "Result") -> None:
        """Pass it on."""
        self._try(self._logger.finished, result)

    def close(self) -> None:
        """Pass it on in any case."""
        failed, self._failed = self._failed, False
        self._try(self._logger.close, silent=failed)

    def _try(self, event: Callable[..., None], *given: Any, silent: bool = False) -> None:
        if self._failed:
            return
        try:
            event(*given)
        except Exception as error:
            self._failed = True
            if not silent:
                what = f"{type(error).__name__}: {error}".splitlines()[0]
                self._tell.logger_failed(f"logger {self._name}: failed, and logs no more of this experiment ({what})")
