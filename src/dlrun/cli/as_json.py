"""What verbs print with ``--json``: one JSON document on stdout. docs/json.md names the keys, docs/schema.json has their types.

Numbers that are not finite are null. Errors stay lines on stderr, and exit codes are those without ``--json``.
"""

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from dlrun.cli.terminal.screen import show_json
from dlrun.experiments.events import Listener
from dlrun.report.files import contents
from dlrun.results.record import MEASURED, RunRecord

if TYPE_CHECKING:
    from dlrun.experiments.experiment import Result
    from dlrun.experiments.planning.cohorts import Planned
    from dlrun.experiments.planning.cut import Needs
    from dlrun.experiments.sweep import Grid
    from dlrun.results.sweeps import Cell, Sweep

Content = dict[str, Any]


class JsonDisplay(Listener):
    """A run or a sweep, for a program: nothing while it trains, and its result at the end."""

    def __init__(self) -> None:
        self._notes: list[str] = []
        self._warnings: list[str] = []

    def note(self, text: str) -> None:
        """Keep it for the document."""
        self._notes.append(text)

    def warning(self, text: str, runs: int) -> None:
        """Keep it for the document."""
        self._warnings.append(text)

    @property
    def reported(self) -> Content:
        """The notes and warnings so far."""
        return {"notes": self._notes, "warnings": self._warnings}

    def finished(self, result: "Result") -> None:
        """Print the run, or the sweep with its comparison."""
        found = {"folder": str(result.folder), "comparison": contents(result.sections), **self.reported}
        if result.record is not None:
            show_json({"run": of_record(result.record), **found})
        elif result.sweep is not None:
            show_json({"sweep": of_sweep(result.sweep), "taken": result.taken, **found})


def of_record(record: RunRecord) -> Content:
    """A run as its result.json has it."""
    content: Content = json.loads(record.to_json())
    return content


def of_sweep(sweep: "Sweep") -> Content:
    """A sweep: how many runs it has, and what became of those that were not measured."""
    return {
        "name": sweep.name,
        "folder": str(sweep.folder),
        "runs": len(sweep.cells),
        "statuses": dict(sweep.counts()),
        "problems": problems(sweep.cells),
    }


def problems(cells: "Iterable[Cell]") -> list[Content]:
    """The runs of a sweep that have ended without being measured, each with its reason."""
    return [
        {name: getattr(cell, name) for name in ("id", "overrides", "seed", "fold", "status", "reason")}
        for cell in cells
        if cell.status not in (*MEASURED, "pending")
    ]


def of_plan(grid: "Grid", work: "Sequence[tuple[Planned, Needs]]", finished: int) -> Content:
    """What a sweep would train, and what that takes."""
    from dlrun.experiments.sweep import total

    return {
        "runs": len(grid.cells),
        "to_train": len(grid.specs) - finished,
        "finished": finished,
        "skipped": grid.count("skipped"),
        "failed": grid.count("failed"),
        "seconds": total(work),
        "bytes": max((need.bytes for _, need in work), default=0),
        "cohorts": [_of_cohort(planned, need) for planned, need in work],
        "problems": problems(grid.cells),
    }


def _of_cohort(planned: "Planned", need: "Needs") -> Content:
    spec = planned.specs[0]
    return {
        "runs": len(planned.specs),
        "splits": len(planned.cohort.splits),
        "steps": need.steps,
        "seconds": need.seconds,
        "bytes": need.bytes,
        "dataset": spec.choices.get("dataset"),
        "model": spec.choices.get("model"),
        "batch_size": spec.trainer.batch_size,
        "regularizers": [part.name for part in spec.row.regularizers],
    }
