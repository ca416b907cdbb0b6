"""What a sweep shows: its plan, its progress, its failures, its comparison tables."""

import math
import sys
import time
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dlrun.cli.terminal.labels import Labels, reasons
from dlrun.cli.terminal.progress import duration
from dlrun.cli.terminal.run_table import number
from dlrun.cli.terminal.screen import console, is_notebook, is_terminal, rewrite_line, write_line
from dlrun.cli.terminal.sweep_table import notice
from dlrun.components.metrics import METRICS
from dlrun.engine.progress import Progress
from dlrun.errors import plural, printable
from dlrun.results.formats import LOG
from dlrun.results.record import RunRecord
from dlrun.results.store import Store

if TYPE_CHECKING:
    from rich.live import Live

    from dlrun.experiments.planning.cohorts import Planned
    from dlrun.experiments.planning.cut import Needs
    from dlrun.experiments.sweep import Grid
    from dlrun.results.sweeps import Sweep

REDRAW = 0.1  # seconds between two pictures
_WELL = ("done", "stopped")
PAUSE = 2.0  # seconds between two plain lines, doubling up to LONGEST
LONGEST = 60.0
COHORTS = 40  # rows of a plan


class SweepProgress:
    """Shows a sweep at work: a line that redraws itself on a terminal, plain lines ever further apart elsewhere. On stderr."""

    def __init__(self, title: str, grid: "Grid", *, enabled: bool = True) -> None:
        self.title, self.enabled, self.drawn = title, enabled, enabled and is_terminal(sys.stderr)
        self.runs = len(grid.cells)
        self.counts: Counter[str] = Counter(cell.status for cell in grid.cells if cell.status != "pending")
        self.without = sum(self.counts.values())  # runs that there is nothing to train for
        self.copies = Counter(cell.id for cell in grid.cells if cell.id)
        self.labels = Labels(cell.overrides for cell in grid.cells)
        self.names = {cell.id: self.labels.of(cell.overrides) for cell in grid.cells if cell.id}
        self.broken = frozenset(grid.broken)
        self.goal = _Goal.of(grid)
        self.best: tuple[float, str] | None = None
        self.cohorts = (0, 0)
        self.running = 0
        self.taken = 0  # runs that had ended before this process trained any
        self.others = ""  # another process that this one waits for
        self.last: Progress | None = None
        self.began, self.trained = 0.0, 0
        self.cohort_began, self.earlier = 0.0, 0.0  # seconds that earlier processes trained, of cohorts that go on
        self.told, self.pause, self.line = 0.0, PAUSE, ""
        self.live: Live | None = None

    def __enter__(self) -> Self:
        """Begin to show."""
        if self.drawn:
            from rich.live import Live

            self.live = Live(console=console(sys.stderr), auto_refresh=False, transient=True)
            self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Leave the terminal as it was."""
        if self.live is not None:
            self.live.stop()
        elif self.enabled and kind is None:
            self.running, self.others = 0, ""
            self._write()
            if is_notebook(sys.stderr):
                write_line("")

    def cohort(self, number: int, cohorts: int, runs: int) -> None:
        """A cohort begins."""
        self.cohort_began = time.perf_counter()
        self.began = self.began or self.cohort_began
        self.cohorts, self.others, self.last = (number + 1, max(cohorts, number + 1)), "", None
        self.running += runs
        self._show(force=number == 0)

    def progress(self, progress: Progress) -> None:
        """The cohort at work reports."""
        if self.last is None:
            self.earlier += max(0.0, progress.seconds - (time.perf_counter() - self.cohort_began))
        self.last = progress
        self._show()

    def ended(self, records: Sequence[RunRecord]) -> None:
        """Runs have ended."""
        self.others = ""
        self.taken += 0 if self.began else sum(self.copies[record.id] for record in records if record.id not in self.broken)
        for record in records:
            self.counts[record.status] += self.copies[record.id]
            value = self.goal.value(record) if self.goal else None
            if self.goal and value is not None and (self.best is None or self.goal.better(value, self.best[0])):
                self.best = (value, f"{self.goal.metric} {number(value)} with {self.names[record.id]}")
        if self.began:
            self.trained += len(records)
            self.running = max(0, self.running - len(records))
            self.last = None
            self._show()

    def waiting(self, runs: Collection[str], owner: str) -> None:
        """All that is left is being trained by another process."""
        self.others = f"waiting for {sum(self.copies[run] for run in runs):,} that {owner} trains"
        self._show()

    def _show(self, *, force: bool = False) -> None:
        now = time.perf_counter()
        if not self.enabled:
            return
        if self.live is not None:
            if force or now - self.told >= REDRAW:
                self.told = now
                self.live.update(Text(self._text(self.live.console.width), overflow="ellipsis", no_wrap=True), refresh=True)
        elif force or now - self.told >= self.pause:
            if not force:
                self.pause = min(2 * self.pause, LONGEST)
            self.told = now
            self._write()

    def _write(self) -> None:
        line = self._text()
        if line != self.line:
            if is_notebook(sys.stderr):
                rewrite_line(line, self.line)
            else:
                write_line(line)
            self.line = line

    def _text(self, width: int = 1000) -> str:
        """The line; where it would be too long, the speed goes first, then the cohort, then the best run so far."""
        facts = [(0, f"{self.title}: {sum(self.counts.values()):,}/{self.runs:,} runs")]
        facts += [(0, f"{count:,} {status}") for status, count in self.counts.items() if count and status not in _WELL]
        if self.others:
            facts.append((0, self.others))
        if self.running:
            facts.append((0, f"{self.running:,} training"))
            facts.append((2, f"cohort {self.cohorts[0]}/{self.cohorts[1]}"))
        if self.last is not None and self.last.seconds > 0:
            facts.append((2, f"epoch {self.last.epoch}/{self.last.epochs}"))
            facts.append((3, f"{_short(self.last.step * self.last.runs / self.last.seconds)} steps/s"))
        if left := self._left():
            facts.append((0, f"ETA {duration(left)}"))
        if self.best is not None:
            facts.append((1, f"best {self.best[1]}"))
        while len(", ".join(text for _, text in facts)) > width and any(rank for rank, _ in facts):
            facts.remove(max(facts, key=lambda fact: fact[0]))
        return printable(", ".join(text for _, text in facts))

    def _left(self) -> float:
        """Seconds that the rest will take, if runs go on as fast as so far; 0 when that is not known."""
        inside = self.last.runs * self.last.step / self.last.steps if self.last is not None else 0.0
        through, all_in_all = self.trained + inside, sum(self.copies.values())
        to_train = self.trained + len(self.copies) - sum(self.counts.values()) + self.without
        if not self.running or not through or not all_in_all:
            return 0.0
        return (time.perf_counter() - self.began + self.earlier) * max(0.0, to_train - through) / through


@dataclass(frozen=True)
class _Goal:
    """What the best run so far is judged by: one metric for all runs, in one direction."""

    metric: str
    higher: bool

    @staticmethod
    def of(grid: "Grid") -> "_Goal | None":
        """None where runs on several datasets or by several metrics have no common scale."""
        wanted = {(spec.metric, spec.preparation.task, str(spec.choices.get("dataset"))) for spec in grid.specs.values()}
        if len(wanted) != 1:
            return None
        metric, task, _ = wanted.pop()
        direction = False if metric == "loss" else METRICS[task][metric].higher_is_better
        return None if direction is None else _Goal(f"validation/{metric}", direction)

    def value(self, record: RunRecord) -> float | None:
        """What a run reached; None when it does not count, as where the metric is not defined: nothing would beat a NaN."""
        value = record.metrics.get(self.metric) if record.status in _WELL else None
        return None if value is None or math.isnan(value) else value

    def better(self, value: float, than: float) -> bool:
        """Whether a value beats another."""
        return value > than if self.higher else value < than


def _short(count: float) -> str:
    return f"{count / 1e6:.1f}M" if count >= 1e6 else f"{count / 1e3:.0f}k" if count >= 10_000 else f"{count:.0f}"


def show_plan(grid: "Grid", work: Sequence[tuple["Planned", "Needs"]], finished: int) -> None:
    """Print what a sweep would train."""
    from dlrun.experiments.sweep import total

    out = console()
    distinct, skipped, failed = len(grid.specs), grid.count("skipped"), grid.count("failed")
    seconds, memory = total(work), max((need.bytes for _, need in work), default=0)
    same = len(grid.cells) - skipped - failed - distinct
    counts = f"{distinct - finished:,} to train, {finished:,} finished already, {skipped:,} skipped"
    counts += f", {failed:,} failed" if failed else ""
    out.print(Text(f"{plural(len(grid.cells), 'run')}: {counts}" + (f", {same:,} the same as another" if same else ""), "bold"))
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="bold")
    for column in ("cohort", "runs", "splits", "steps", "estimate", "memory", "what"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for number_, (planned, need) in enumerate(work[:COHORTS], 1):
        spec = planned.specs[0]
        what = f"{spec.choices.get('dataset')}, {spec.choices.get('model')}, batch {spec.trainer.batch_size}"
        regularizers = "".join(f", {part.name}" for part in spec.row.regularizers)
        table.add_row(
            str(number_),
            str(len(planned.specs)),
            str(len(planned.cohort.splits)),
            f"{need.steps:,}",
            duration(need.seconds),
            f"{need.bytes / 2**20:,.0f} MB",
            Text(printable(what + regularizers)),
        )
    if work:
        out.print(table)
    if len(work) > COHORTS:
        out.print(Text(f"and {len(work) - COHORTS} more cohorts"))
    out.print(Text(f"about {duration(seconds)} of training on one core, {memory / 2**20:,.0f} MB at a time"))
    for line in reasons(grid.cells, most=len(grid.cells)):
        notice(line, out, style="yellow")


def show_failures(sweep: "Sweep", out: Console) -> None:
    """Print every way in which runs failed or were skipped, and where a failure's log is."""
    for line in reasons(sweep.cells):
        notice(line, out)
    failed = [cell.id for cell in sweep.cells if cell.status == "failed" and cell.id]
    if failed:
        log = Store(sweep.folder.parent.parent).export(failed[0]) / LOG
        whose = "its" if len(failed) == 1 else "the first one's"
        out.print(Text(printable(f"{whose} traceback is in {log}")), soft_wrap=True)
