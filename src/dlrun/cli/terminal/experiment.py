"""What the terminal shows of an experiment: notes and warnings, its progress, and the tables at its end."""

import sys
import warnings
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from rich.text import Text

from dlrun.cli.terminal.progress import CURVES, RunProgress
from dlrun.cli.terminal.run_table import run_table
from dlrun.cli.terminal.screen import console, write_line
from dlrun.cli.terminal.sweep import SweepProgress, show_failures
from dlrun.cli.terminal.sweep_table import notice, show_over_datasets, show_section
from dlrun.errors import DlrunError, plural, printable
from dlrun.experiments.events import Listener

if TYPE_CHECKING:
    from dlrun.engine.progress import Progress
    from dlrun.experiments.experiment import Result
    from dlrun.experiments.sweep import Grid
    from dlrun.results.record import RunRecord
    from dlrun.results.store import Store


class _Display(Listener):
    """What both have in common.

    Args:
        logger: the config of the group logger: ``progress`` and ``table``.
        warns: whether to print warnings; a caller in Python gets them as Python's.
    """

    def __init__(self, logger: Mapping[str, Any], *, warns: bool = True) -> None:
        self._progress, self._table = logger.get("progress", True), bool(logger.get("table", True))
        self._warns, self._open = warns, ExitStack()

    def note(self, text: str) -> None:
        """Print it on stderr; a caller in Python who wants no progress wants no notes."""
        if self._warns or self._progress:
            notice(text, console(sys.stderr))

    def warning(self, text: str, runs: int) -> None:
        """Print it on stderr."""
        if self._warns:
            notice(f"warning: {text}" + (f" ({runs} runs)" if runs > 1 else ""), console(sys.stderr))

    def logger_failed(self, text: str) -> None:
        """Print it on stderr, or warn a caller in Python."""
        if self._warns:
            notice(f"warning: {text}", console(sys.stderr))
        else:
            warnings.warn(text, stacklevel=2)

    def close(self) -> None:
        """Leave the terminal as it was."""
        stopped = sys.exc_info()
        self._open.__exit__(*stopped)


class RunDisplay(_Display):
    """One run: a bar, then its metrics."""

    def begun(self, grid: "Grid | None", title: str) -> None:
        """Show the bar."""
        self._shown = self._open.enter_context(RunProgress(title, enabled=self._progress))

    def progress(self, progress: "Progress") -> None:
        """Move the bar."""
        self._shown.update(progress)

    def finished(self, result: "Result") -> None:
        """Print the table of the run, and the baselines that were asked for."""
        self._open.close()
        if self._table and result.record is not None:
            if self._progress == CURVES:
                self._boundary(result.store, result.record)
            run_table(result.record, result.folder)
            for section in result.sections:
                show_section(section, console())

    @staticmethod
    def _boundary(store: "Store", record: "RunRecord") -> None:
        """What the run predicts over its two inputs, where it has two."""
        from dlrun.cli.terminal.charts import show
        from dlrun.report.evidence import Evidence
        from dlrun.report.stored import compare, of_words

        with suppress(DlrunError):  # it is of other data, or was not measured
            stored = of_words(store, [record.id])
            show("boundary", compare(stored), Evidence(stored.store, stored.records))


class SweepDisplay(_Display):
    """A sweep: a line that counts, then its tables, failures and counts."""

    def begun(self, grid: "Grid | None", title: str) -> None:
        """Show the line."""
        assert grid is not None
        self._open.close()  # a sweep that tunes begins again with new seeds
        self._shown = self._open.enter_context(SweepProgress(title, grid, enabled=bool(self._progress)))

    def cohort(self, number: int, cohorts: int, runs: int) -> None:
        """Count it."""
        self._shown.cohort(number, cohorts, runs)

    def progress(self, progress: "Progress") -> None:
        """Show the epoch."""
        self._shown.progress(progress)

    def run_ended(self, records: "Sequence[RunRecord]") -> None:
        """Count them."""
        self._shown.ended(records)

    def waiting(self, runs: Collection[str], owner: str) -> None:
        """Show who is waited for."""
        self._shown.waiting(runs, owner)

    def comparing(self, text: str) -> None:
        """Print it: the line of the training is over."""
        self._open.close()
        if self._progress:
            write_line(text)

    def finished(self, result: "Result") -> None:
        """Print the tables, what failed, and what became of the runs."""
        self._open.close()
        if not self._warns:  # a caller in Python gets the table as a value
            return
        out, sweep, grid = console(), result.sweep, result.grid
        assert sweep is not None
        assert grid is not None
        if self._table:
            for section in result.sections:
                show_section(section, out)
            show_over_datasets(result.sections, out)
        show_failures(sweep, console(sys.stderr))
        counts = sweep.counts()
        parts = [f"{count} {status}" for status, count in counts.items()]
        runs = sum(bool(cell.id) for cell in sweep.cells)
        parts += [f"{runs - len(grid.specs)} of them the same as another"] if runs > len(grid.specs) else []
        if result.taken:
            parts.append(f"{result.taken} of them taken over" + ("" if result.taken < runs else ", none trained"))
        out.print(Text(f"{plural(len(sweep.cells), 'run')}: {', '.join(parts)}"))
        if {"pending", "interrupted"} & counts.keys():
            out.print(Text(printable(f"carry on with: dlrun resume {sweep.folder}")), soft_wrap=True)
        out.print(Text(printable(str(sweep.folder)), style="bold"), soft_wrap=True)


class SettleDisplay(SweepDisplay):
    """The batches of a sweep that grows: a line that counts for each, and what is settled after it; no table."""

    def finished(self, result: "Result") -> None:
        """Print what failed."""
        self._open.close()
        if result.sweep is not None:
            show_failures(result.sweep, console(sys.stderr))


class TuneDisplay(SweepDisplay):
    """Batches of trials: a line that counts for each, and what is best after it; the table of the runs that report."""

    def finished(self, result: "Result") -> None:
        """Print the comparison, where there is one; trials that fail are counted."""
        self._open.close()
        for section in result.sections if self._table else ():
            show_section(section, console())


class SmokeDisplay(SweepDisplay):
    """A sweep of which something else prints the results: the line that counts."""

    def finished(self, result: "Result") -> None:
        """Take the line away."""
        self._open.close()
