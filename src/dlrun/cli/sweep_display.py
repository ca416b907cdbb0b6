"""What a sweep shows: its plan, its progress, its failures, its comparison tables."""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dlrun.cli.display import number
from dlrun.cli.progress import duration
from dlrun.cli.terminal import console, is_terminal
from dlrun.engine.progress import Progress
from dlrun.results.record import RunRecord
from dlrun.results.render import short_table, to_text

if TYPE_CHECKING:
    from rich.live import Live

    from dlrun.experiments.estimate import Needs
    from dlrun.experiments.plan import Planned
    from dlrun.experiments.sweep import Grid, Section
    from dlrun.results.sweeps import Sweep

REDRAW = 0.1  # seconds between two pictures
PAUSE = 2.0  # seconds between two plain lines, doubling up to LONGEST
LONGEST = 60.0
ROWS = 40  # rows of a comparison on the terminal; the files have all
REASONS = 12


class SweepProgress:
    """Shows a sweep at work: a line that redraws itself on a terminal, plain lines ever further apart elsewhere. On stderr."""

    def __init__(self, title: str, grid: "Grid", *, enabled: bool = True) -> None:
        self.title = title
        self.runs = len(grid.cells)
        self.counts: Counter[str] = Counter({"skipped": sum(grid.skipped.values())})
        self.copies = Counter(cell.id for cell in grid.cells if cell.id)
        self.metrics = {run: spec.metric for run, spec in grid.specs.items()}
        self.best: tuple[float, str] | None = None
        self.cohorts = (0, 0)
        self.running = 0
        self.work = {"total": 0.0, "done": 0.0, "now": 0.0}
        self.started = time.perf_counter()
        self.steps = 0
        self.last: Progress | None = None
        self.others = ""
        self.told, self.pause = 0.0, PAUSE
        self.live: Live | None = None
        self.enabled = enabled
        self.drawn = enabled and is_terminal(sys.stderr)

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
            self._line()

    def cohort(self, number: int, cohorts: int, runs: int) -> None:
        """A cohort begins."""
        if self.last is not None:
            self.steps += self.last.step
        self.cohorts, self.running, self.last, self.others = (number + 1, cohorts), runs, None, ""
        self._show(force=number == 0)

    def progress(self, progress: Progress) -> None:
        """The cohort at work reports."""
        self.last = progress
        self._show()

    def ended(self, records: Sequence[RunRecord]) -> None:
        """Runs have ended."""
        for record in records:
            self.counts[record.status] += self.copies[record.id]
            name = f"validation/{self.metrics.get(record.id, '')}"
            value = record.metrics.get(name)
            if record.status in ("done", "stopped") and value is not None:
                better = self.best is None or value > self.best[0]
                if better and name.endswith(("r2", "accuracy", "f1", "iou", "auroc", "recall@1")):
                    self.best = (value, f"{name} {number(value)} ({' '.join(record.overrides)})")
        self.running = 0
        self._show(force=False)

    def waiting(self, runs: int, owner: str) -> None:
        """All that is left is being trained by another process."""
        self.others = f"waiting for {runs} runs of {owner}"
        self._show()

    def _show(self, *, force: bool = False) -> None:
        now = time.perf_counter()
        if not self.enabled:
            return
        if self.live is not None:
            if force or now - self.told >= REDRAW:
                self.told = now
                self.live.update(Text(self._text(), overflow="ellipsis", no_wrap=True), refresh=True)
        elif force or now - self.told >= self.pause:
            if not force:
                self.pause = min(2 * self.pause, LONGEST)
            self.told = now
            self._line()

    def _line(self) -> None:
        sys.stderr.write(self._text() + "\n")
        sys.stderr.flush()

    def _text(self) -> str:
        ended = sum(self.counts.values())
        finished = self.last.finished if self.last is not None and self.running else 0
        parts = [f"{self.title}: {ended}/{self.runs} runs"]
        if self.others:
            parts.append(self.others)
        if self.running:
            parts.append(f"{self.running - finished} training in cohort {self.cohorts[0]}/{self.cohorts[1]}")
        parts += [f"{count} {status}" for status, count in self.counts.items() if count and status not in ("done", "stopped")]
        if self.last is not None and self.last.seconds > 0:
            rate = self.last.step / self.last.seconds
            parts.append(f"epoch {self.last.epoch}/{self.last.epochs}")
            parts.append(f"{rate:.0f} steps/s, {rate * self.last.runs:,.0f} run-steps/s")
            left = (self.last.steps - self.last.step) / rate if rate else 0.0
            others = max(self.cohorts[1] - self.cohorts[0], 0) * self.last.steps / rate if rate else 0.0
            parts.append(f"ETA {duration(left + others)}")
        if self.best is not None:
            parts.append(f"best {self.best[1]}")
        return ", ".join(parts)


def show_plan(grid: "Grid", work: Sequence[tuple["Planned", "Needs"]], finished: int) -> None:
    """Print what a sweep would train."""
    from dlrun.experiments.sweep import total

    out = console()
    distinct, skipped = len(grid.specs), sum(grid.skipped.values())
    seconds, memory = total(work), max((need.bytes for _, need in work), default=0)
    same = len(grid.cells) - skipped - distinct
    out.print(
        Text(
            f"{len(grid.cells)} runs: {distinct - finished} to train, {finished} finished already, {skipped} skipped",
            style="bold",
        )
    )
    if same:
        out.print(Text(f"{same} of them are the same as another run, and share its result"))
    table = Table(box=None, padding=(0, 3, 0, 0), pad_edge=False, header_style="bold")
    for column in ("cohort", "runs", "splits", "steps", "estimate", "memory", "what"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for number_, (planned, need) in enumerate(work[:ROWS], 1):
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
            Text(what + regularizers),
        )
    if work:
        out.print(table)
    if len(work) > ROWS:
        out.print(Text(f"and {len(work) - ROWS} more cohorts"))
    out.print(Text(f"about {duration(seconds)} of training on one core, {memory / 2**20:,.0f} MB at a time"))
    for reason, count in grid.skipped.items():
        out.print(Text(f"skipped ({count}): {reason}", style="yellow"))


def show_section(section: "Section", out: Console) -> None:
    """Print the comparison of one dataset."""
    text = short_table(section.compared, section.metric, section.metrics)
    table = Table(
        title=Text(f"{section.dataset.split(chr(0))[0]}: {section.metric}", style="bold"), title_justify="left", box=None
    )
    for column in text.columns:
        table.add_column(Text(column, style="bold"), overflow="fold")
    cells = to_text(text)
    for row in cells[:ROWS]:
        table.add_row(*(Text(cell) for cell in row))
    out.print(table)
    if len(cells) > ROWS:
        out.print(Text(f"and {len(cells) - ROWS} more rows in comparison.csv", style="dim"))


def show_failures(sweep: "Sweep", out: Console) -> None:
    """Print every way in which runs failed, with the first run of each."""
    said: dict[tuple[str, str], list[str]] = {}
    for cell in sweep.cells:
        if cell.status in ("failed", "diverged"):
            said.setdefault((cell.status, cell.reason), []).append(f"{' '.join(cell.overrides)} ({cell.id})")
        elif cell.status == "skipped":
            said.setdefault((cell.status, cell.reason), []).append(" ".join(cell.overrides))
    for (status, reason), cells in list(said.items())[:REASONS]:
        more = f" and {len(cells) - 1} more" if len(cells) > 1 else ""
        out.print(Text(f"{status}: {cells[0]}{more}: {reason}"), soft_wrap=True)
    if len(said) > REASONS:
        out.print(Text(f"and {len(said) - REASONS} more reasons: dlrun status"))
