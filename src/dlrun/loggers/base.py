"""What loggers of runs have in common: each run is logged once, when it has ended, with all that is known of it.

What is logged is read from what is kept, so that it is what ``dlrun show`` and the history say. A logger that fails is left
out from there on, with one warning, and the experiment goes on (see ``dlrun.experiments.experiment.Guarded``).
"""

import math
import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dlrun import registry
from dlrun.errors import InputError, StoreError
from dlrun.experiments.events import Listener
from dlrun.results.record import MEASURED, RunRecord
from dlrun.results.store import Store

if TYPE_CHECKING:
    from dlrun.experiments.experiment import Result
    from dlrun.experiments.sweep import Grid

_PLAIN = re.compile(r"[^\w./ -]")
EPOCH = "epoch"


@dataclass(frozen=True)
class Logged:
    """A run that has ended.

    Args:
        record: how it ended.
        store: where it is kept.
    """

    record: RunRecord
    store: Store

    @property
    def fine(self) -> bool:
        """Whether it trained to its end, or was stopped early: others failed, diverged or were interrupted."""
        return self.record.status in MEASURED

    @property
    def name(self) -> str:
        """What it is called: the settings that it was given, and its seed."""
        words = [word for word in self.record.overrides if not word.startswith(("logger", "hydra.", "output_dir="))]
        return " ".join(words) or f"seed={self.record.seed}"

    @cached_property
    def settings(self) -> dict[str, Any]:
        """Its whole config as dotted keys."""
        with suppress(StoreError):
            return {
                key: value for key, value in registry.leaves(self.store.config(self.record.id)) if key.split(".")[0] != "logger"
            }
        return {}

    @cached_property
    def history(self) -> dict[str, list[float]]:
        """What was recorded after each epoch, by column, ``epoch`` among them; nothing for a run that has none."""
        with suppress(StoreError):
            found: Mapping[str, Any] = self.store.history(self.record.id)
            return {name: [math.nan if value is None else float(value) for value in column] for name, column in found.items()}
        return {}

    def epochs(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Each epoch with its finite numbers."""
        for place, epoch in enumerate(self.history.get(EPOCH, ())):
            values = {name: column[place] for name, column in self.history.items() if name != EPOCH}
            yield int(epoch), {name: value for name, value in values.items() if math.isfinite(value)}

    def final(self) -> dict[str, float]:
        """The metrics in the end, as far as they are finite."""
        return {name: value for name, value in self.record.metrics.items() if value is not None and math.isfinite(value)}


class RunLogger(Listener):
    """A listener that logs runs.

    Attributes:
        title: what the experiment is called.
        swept: whether it is a sweep.
    """

    title = ""
    swept = False

    @abstractmethod
    def log(self, run: Logged) -> None:
        """Log a run that has ended."""

    def opened(self, store: Store) -> None:
        """Remember where runs are kept."""
        self._store = store

    def begun(self, grid: "Grid | None", title: str) -> None:
        """Remember what the experiment is called."""
        self.title, self.swept = title, grid is not None

    def run_ended(self, records: Sequence[RunRecord]) -> None:
        """Log each."""
        for record in records:
            self.log(Logged(record, self._store))

    def finished(self, result: "Result") -> None:
        """Remember the exit code."""


def needs(logger: str, error: ImportError) -> InputError:
    """The error of a logger whose library is not installed."""
    library = (error.name or logger).partition(".")[0]
    return InputError(f"logger={logger}: needs {library}, which is not installed; run: pip install 'dlrun[{logger}]'")


def plain_name(name: str) -> str:
    """A name of letters, digits, and _ - . / and blanks, as trackers want them."""
    return _PLAIN.sub("_", name)
