"""What ``dlrun -m`` does with its jobs: plan, train, compare, and tell about it."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from dlrun.cli.sweep_display import SweepProgress, show_failures, show_plan
from dlrun.cli.sweep_table import notice, show_section
from dlrun.cli.terminal import console, write_line
from dlrun.config.composed import Composed
from dlrun.errors import StoreError, plural, printable
from dlrun.experiments import sweep as sweeps
from dlrun.experiments.provenance import check_same_data, provenance, where_it_began
from dlrun.experiments.sections import check_reference, compare, write_tables
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
        self.command, self.plan_only = command, plan_only
        first = next(job.config for job in jobs if not job.error)
        self.name = str(first.get("name") or "sweep")
        self.logger = first.get("logger") or {}
        self.sweep = None if resume is None else Sweep.open(resume.absolute())
        self.store = Store.at(first.get("output_dir")) if self.sweep is None else Store(self.sweep.folder.parent.parent)
        options = sweeps.Options.of(first, launcher)
        taken = options.reuse if reuse is None else reuse
        self.options = replace(
            options,
            reuse=taken or self.sweep is not None,
            since="" if taken or self.sweep is None else self.sweep.created,
            retry_failed=retry_failed or options.retry_failed,
        )

    def run(self) -> int:
        """Carry the sweep out. Returns the exit code."""
        with where_it_began(self.sweep):
            grid = sweeps.lay_out(self.jobs)
        errors = console(sys.stderr)
        if self.sweep is not None:
            check_same_data(self.sweep, grid)
        check_reference(grid)
        for note in dict.fromkeys(note for group in grid.cohorts for note in group.cohort.data.notes):
            notice(note, errors)
        for warning, count in grid.warnings.items():
            notice(f"warning: {warning}" + (f" ({count} runs)" if count > 1 else ""), errors)
        if self.plan_only:
            cohorts, there = sweeps.missing(grid, self.store, self.options)
            show_plan(grid, sweeps.pieces(cohorts, self.options), len(there))
            self._strictly(grid, errors)
            return 1 if grid.lacking() or grid.count("failed") else 0
        self.store.prepare()
        sweep = (
            self._resumed(self.sweep, grid)
            if self.sweep
            else sweeps.begin(grid, self.store, self.name, self.command, provenance(grid))
        )
        with ExitStack() as stack:
            stack.enter_context(sweep.claim())
            shown = bool(self.logger.get("progress", True))
            progress = stack.enter_context(SweepProgress(self.name, grid, enabled=shown))
            try:
                code = sweeps.carry_out(grid, sweep, self.store, self.options, progress)
            except StoreError as error:  # the disk is full, say
                raise StoreError(*error.problems, f"mend that, and carry on with: dlrun resume {sweep.folder}") from error
        self._conclude(grid, sweep, progress.taken)
        self._strictly(grid, errors)
        return code

    @staticmethod
    def _strictly(grid: sweeps.Grid, errors: Console) -> None:
        if lacking := grid.lacking():
            notice(f"error: strict=true: {lacking}", errors)

    def _resumed(self, sweep: Sweep, grid: sweeps.Grid) -> Sweep:
        """The sweep with the cells that its command spans now: data and versions may have changed since it began."""
        began = {cell.id for cell in sweep.cells}
        new = sum(cell.id not in began for cell in grid.cells)
        if new:
            write_line(
                f"warning: {new} of {len(grid.cells)} runs are not those that the sweep began with, since the data, the options, "
                "code of yours or dlrun's version have changed; they are trained anew"
            )
        sweep.cells, sweep.settings["lacking"] = grid.cells, grid.lacking()
        return sweep

    def _conclude(self, grid: sweeps.Grid, sweep: Sweep, taken: int) -> None:
        shown = bool(self.logger.get("progress", True))
        sections = compare(grid, sweep, self.store, tell=write_line if shown else lambda line: None)
        if sections:
            write_tables(sections, sweep)
        out = console()
        if self.logger.get("table", True):
            for section in sections:
                show_section(section, out)
        show_failures(sweep, console(sys.stderr))
        counts = sweep.counts()
        said = [f"{count} {status}" for status, count in counts.items()]
        same = sum(bool(cell.id) for cell in sweep.cells) - len(grid.specs)
        said += [f"{same} of them the same as another"] if same else []
        if taken:
            trained = taken < sum(bool(cell.id) for cell in sweep.cells)
            said.append(f"{taken} of them taken over" + ("" if trained else ", none trained"))
        out.print(Text(f"{plural(len(sweep.cells), 'run')}: {', '.join(said)}"))
        if {"pending", "interrupted"} & counts.keys():
            out.print(Text(printable(f"carry on with: dlrun resume {sweep.folder}")), soft_wrap=True)
        out.print(Text(printable(str(sweep.folder)), style="bold"), soft_wrap=True)
