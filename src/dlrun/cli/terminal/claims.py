"""What the terminal shows while claims are tested: a line that counts for each sweep, and what failed."""

import sys
from typing import TYPE_CHECKING

from dlrun.cli.terminal.experiment import SweepDisplay
from dlrun.cli.terminal.screen import console
from dlrun.cli.terminal.sweep import show_failures

if TYPE_CHECKING:
    from dlrun.experiments.experiment import Result
    from dlrun.experiments.sweep import Grid


class ClaimDisplay(SweepDisplay):
    """The sweeps of a claim. Notes and warnings are part of what a claim is about, and are not printed.

    Args:
        place: which claim of how many this is.
    """

    def __init__(self, place: str) -> None:
        super().__init__({"table": False})
        self._place = place

    def note(self, text: str) -> None:
        """Nothing: of every claim the data are known."""

    def warning(self, text: str, runs: int) -> None:
        """Nothing: of every claim the settings are meant."""

    def begun(self, grid: "Grid | None", title: str) -> None:
        """Show the line."""
        super().begun(grid, f"{self._place}, {title.removeprefix('claim-')}")

    def finished(self, result: "Result") -> None:
        """Print what failed."""
        self._open.close()
        if result.sweep is not None:
            show_failures(result.sweep, console(sys.stderr))
