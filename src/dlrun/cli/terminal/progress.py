"""The progress of a training: a bar on a terminal, a few plain lines in a pipe or a log. It goes to stderr."""

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from dlrun.cli.terminal.drawing import draw
from dlrun.cli.terminal.run_table import number
from dlrun.cli.terminal.screen import console, is_notebook, is_terminal, rewrite_line, write_line
from dlrun.errors import printable

if TYPE_CHECKING:
    from dlrun.engine.progress import Progress

REDRAW = 0.1  # seconds between two pictures of the bar
SHORTEST, LONGEST = 6, 30  # characters of the bar
CURVES = "curves"
CHART = 72, 8  # columns and lines of a curve, at most
LINES = 10  # plain lines in a whole training, at most


class RunProgress:
    """Shows what the trainer reports; a context manager.

    Args:
        title: the name that stands before the bar.
        enabled: False shows nothing, for ``logger=none``; CURVES draws the learning curves above the bar, where that is possible.
    """

    def __init__(self, title: str = "train", *, enabled: bool | str = True) -> None:
        self.title = title
        drawn = _Curves if enabled == CURVES else _Bar
        self._shown = _Nothing() if not enabled else drawn(title) if is_terminal(sys.stderr) else _Lines(title)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._shown.close()

    def update(self, progress: "Progress") -> None:
        """Show a report. Cheap enough to be called after every epoch."""
        self._shown.update(progress)


class _Nothing:
    def update(self, progress: "Progress") -> None:
        pass

    def close(self) -> None:
        pass


class _Lines(_Nothing):
    """At most LINES lines: the first report, the last one, and others evenly between them."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.told = -1
        self.line = ""  # where one is rewritten

    def update(self, progress: "Progress") -> None:
        tenth = (LINES - 2) * progress.step // max(progress.steps, 1)
        last = progress.step >= progress.steps or progress.finished >= progress.runs
        if tenth <= self.told and not last:
            return
        self.told = LINES if last else tenth
        line = f"{self.title}: epoch {progress.epoch}/{progress.epochs}, {', '.join(_figures(progress))}"
        if is_notebook(sys.stderr):
            rewrite_line(line, self.line)
            self.line = line
        else:
            write_line(line)

    def close(self) -> None:
        if self.line:
            write_line("")


class _Bar(_Nothing):
    """One line that redraws itself, ten times a second at most. Where room is short, the bar goes first, then the speed."""

    def __init__(self, title: str) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self.title = title
        self.output = console(sys.stderr)
        self.words = TextColumn("{task.description}", markup=False), TextColumn("{task.fields[figures]}", markup=False)
        self.line = BarColumn()
        self.bar = Progress(*self.words, console=self.output, auto_refresh=False, transient=True)
        self.task = self.bar.add_task(title, total=None, figures="")
        self.bar.start()
        self.drawn = 0.0

    def update(self, progress: "Progress") -> None:
        now = time.perf_counter()
        if now - self.drawn < REDRAW:
            return
        self.drawn = now
        figures = _figures(progress)
        before = f"{progress.epoch}/{progress.epochs}"
        room = self.output.width - len(self.title) - 3
        if len("  ".join([before, *figures])) > room:
            figures = [figure for figure in figures if not figure.endswith("steps/s")]
        text = "  ".join([before, *figures])
        self.line.bar_width = min(room - len(text), LONGEST)
        title, numbers = self.words
        self.bar.columns = (title, self.line, numbers) if self.line.bar_width >= SHORTEST else (title, numbers)
        self.bar.update(self.task, total=progress.steps, completed=progress.step, figures=text)
        self.bar.refresh()

    def close(self) -> None:
        self.bar.stop()


class _Curves(_Nothing):
    """The training loss and the metric of all epochs so far, and a line of figures, redrawn ten times a second at most."""

    def __init__(self, title: str) -> None:
        from rich.live import Live

        self.title = title
        self.output = console(sys.stderr)
        self.live = Live(console=self.output, auto_refresh=False)
        self.live.start()
        self.drawn = 0.0
        self.seen: list[Progress] = []

    def update(self, progress: "Progress") -> None:
        self.seen.append(progress)
        now = time.perf_counter()
        if now - self.drawn >= REDRAW:
            self.drawn = now
            self._draw()

    def close(self) -> None:
        if self.seen:
            self._draw()
        self.live.stop()

    def _draw(self) -> None:
        from rich.text import Text

        last, lines = self.seen[-1], []
        width, height = min(self.output.width, CHART[0]), CHART[1]
        unicode = (sys.stderr.encoding or "").lower().startswith("utf")
        if len(self.seen) > 1:
            epochs = [float(each.epoch) for each in self.seen]
            curves = {"train/loss": [each.loss for each in self.seen], last.metric_name: [each.metric for each in self.seen]}
            for name, values in curves.items():
                lines += [f"{name} by epoch", *draw(epochs, values, width=width, height=height, unicode=unicode)]
        lines.append(f"{self.title}: epoch {last.epoch}/{last.epochs}, {', '.join(_figures(last))}")
        self.live.update(Text("\n".join(map(printable, lines))), refresh=True)


def _figures(progress: "Progress") -> list[str]:
    figures = [f"loss {number(progress.loss)}", f"{progress.metric_name} {number(progress.metric)}"]
    if progress.seconds > 0:
        rate = progress.step / progress.seconds
        figures.append(f"{_count(rate)} steps/s")
        left = max(progress.steps - progress.step, 0) / rate if rate else 0.0
        figures.append(f"ETA {duration(left)}" if left else f"{duration(progress.seconds)}")
    if progress.runs > 1:
        figures.append(f"{progress.finished}/{progress.runs} runs")
    if progress.diverged:
        figures.append(f"{progress.diverged} diverged")
    return figures


def _count(number: float) -> str:
    return f"{number / 1000:.1f}k" if number >= 10_000 else f"{number:.0f}"


def duration(seconds: float) -> str:
    """Seconds in words: 1.5 s, 12:05, 3:00:00."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
