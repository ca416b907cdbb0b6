"""What ``dlrun -m`` and ``dlrun plan`` do with their jobs."""

import sys
from collections.abc import Sequence

from dlrun.cli.as_json import JsonDisplay, of_plan
from dlrun.cli.terminal.experiment import SweepDisplay
from dlrun.cli.terminal.screen import console, show_json
from dlrun.cli.terminal.sweep import show_plan
from dlrun.cli.terminal.sweep_table import notice
from dlrun.config.composing.composed import Composed
from dlrun.experiments.experiment import How, SweepExperiment


def carry_out(jobs: Sequence[Composed], how: How, *, as_json: bool = False) -> int:
    """Train a sweep, or show its plan, on the terminal or as JSON. Returns the exit code."""
    first = next(job.config for job in jobs if not job.error)
    display = JsonDisplay() if as_json else SweepDisplay(first.get("logger") or {})
    experiment = SweepExperiment(jobs, how, [display])
    experiment.prepare()
    grid = experiment.grid
    if how.plan_only:
        if isinstance(display, JsonDisplay):
            show_json({**of_plan(grid, *experiment.plan()), **display.reported})
        else:
            show_plan(grid, *experiment.plan())
        code = 1 if grid.lacking() or grid.count("failed") else 0
    else:
        code = experiment.run().code
    if lacking := grid.lacking():
        notice(f"error: strict=true: {lacking}", console(sys.stderr))
    return code
