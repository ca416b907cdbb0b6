"""What an executor is: it takes cohorts, and tells what became of each."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dlrun.engine.progress import Progress
from dlrun.experiments.checkpoints import Keep
from dlrun.experiments.planning.cohorts import Planned
from dlrun.results.formats import RunFiles

Report = Callable[[Progress], None]
Interrupted = Callable[[], bool]


@dataclass(frozen=True)
class Site:
    """Where workers are, and what they get.

    Args:
        address: of a cluster; empty for this machine.
        parameters: what each worker or job asks of the system that starts it, in that system's own words.
        folder: the output root, below which jobs and the command may exchange files.
    """

    address: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    folder: Path = Path("outputs")


class Task(ABC):
    """A cohort that was submitted."""

    @abstractmethod
    def poll(self, report: Report | None, keep: Keep) -> list[RunFiles] | None:
        """What came of it, in the cohort's order; None while it goes on, of which ``report`` hears. ``keep`` gets checkpoints.

        Raises:
            DiedError: its process ended.
            RunError: a component raised.
            Whatever a component raises, where it trains in this process.
        """

    @abstractmethod
    def stop(self) -> None:
        """Ask it to end early, and to give what it has."""

    def is_late(self) -> bool:
        """Whether it was asked to stop, and does not."""
        return False


class Executor(ABC):
    """Trains cohorts, ``slots`` of them at once."""

    slots: int = 1

    @abstractmethod
    def submit(self, cohort: Planned, threads: int) -> Task:
        """Begin to train a cohort with so many threads. The data is passed to each worker once."""

    @abstractmethod
    def wait(self, tasks: Sequence[Task]) -> None:
        """Wait until one of the tasks may have something to tell, and not long."""

    @abstractmethod
    def close(self) -> None:
        """End whatever is still at work."""
