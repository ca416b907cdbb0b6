"""What ``dlrun -m`` does with its jobs: plan, train, compare, and tell about it."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from rich.text import Text

from dlrun.cli.sweep_display import SweepProgress, show_failures, show_plan
from dlrun.cli.sweep_table import show_section
from dlrun.cli.terminal import console
from dlrun.experiments import sweep as sweeps
from dlrun.experiments.compose import Composed
from dlrun.experiments.sections import compare, write_tables
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep


class Sweeping:
    """One sweep from its jobs to the table on the terminal.

    Args:
        jobs: what is to be trained.
        launcher: the settings of the cohort launcher.
        command: the words that start it, for ``dlrun resume``.
        plan_only, resume, retry_failed: see Session.
        reuse: whether finished runs are taken over; as the jobs say when None.
    """

    def __init__(
        self,
        jobs: Sequence[Composed],
        launcher: Mapping[str, Any],
        *,
        command: Sequence[str],
        plan_only: bool = False,
        resume: Path | None = None,
        retry_failed: bool = False,
        reuse: bool | None = None,
    ) -> None:
        self.jobs = jobs
        self.command, self.plan_only, self.resume = command, plan_only, resume
        first = self.jobs[0].config
        self.name = str(first.get("name") or "sweep")
        self.logger = first.get("logger") or {}
        self.store = Store.at(first.get("output_dir"))
        self.options = sweeps.Options(
            reuse=(bool(first.get("reuse", True)) if reuse is None else reuse) or resume is not None,
            retry_failed=retry_failed or bool(first.get("retry_failed")),
            memory_share=float(launcher.get("memory_share", sweeps.MEMORY_SHARE)),
            processes=launcher.get("processes"),
        )

    def run(self) -> int:
        """Carry the sweep out. Returns the exit code."""
        grid = sweeps.lay_out(self.jobs)
        for note in dict.fromkeys(note for group in grid.cohorts for note in group.cohort.data.notes):
            print(note, file=sys.stderr)
        for warning, count in grid.warnings.items():
            print(f"warning: {warning}" + (f" ({count} runs)" if count > 1 else ""), file=sys.stderr)
        if self.plan_only:
            cohorts, there = sweeps.missing(grid, self.store, self.options)
            show_plan(grid, sweeps.pieces(cohorts, self.options), len(there))
            return 0
        self.store.prepare()
        sweep = Sweep.open(self.resume) if self.resume else sweeps.begin(grid, self.store, self.name, self.command, {})
        if self.resume:
            sweep.cells = grid.cells
        with ExitStack() as stack:
            stack.enter_context(sweep.claim())
            shown = bool(self.logger.get("progress", True))
            progress = stack.enter_context(SweepProgress(self.name, grid, enabled=shown))
            code = sweeps.carry_out(grid, sweep, self.store, self.options, progress)
        self._conclude(grid, sweep)
        return code

    def _conclude(self, grid: sweeps.Grid, sweep: Sweep) -> None:
        shown = bool(self.logger.get("progress", True))
        sections = compare(grid, sweep, self.store, tell=partial(print, file=sys.stderr) if shown else lambda line: None)
        if sections:
            write_tables(sections, sweep)
        out = console()
        if self.logger.get("table", True):
            for section in sections:
                show_section(section, out)
        show_failures(sweep, console(sys.stderr))
        counts = ", ".join(f"{count} {status}" for status, count in sweep.counts().items())
        out.print(Text(f"{len(sweep.cells)} runs: {counts}"))
        out.print(Text(str(sweep.folder), style="bold"), soft_wrap=True)
