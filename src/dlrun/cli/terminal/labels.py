"""What to call a run of a sweep: the overrides that tell it from the others."""

import re
from collections.abc import Iterable, Sequence

from dlrun.results.identity import OF_A_SWEEP
from dlrun.results.sweeps import Cell

_ELSEWHERE = ("name=", *(f"{key}=" for key in OF_A_SWEEP), "logger", "hydra")  # they say nothing of what a run is
MOST = 12  # reasons that are told one by one, where there is a file that has all


class Labels:
    """Names for the runs of one sweep.

    Args:
        overrides: those of every run.
    """

    def __init__(self, overrides: Iterable[Sequence[str]]) -> None:
        every = [set(words) for words in overrides]
        self._common = set.intersection(*every) if len(every) > 1 else set()

    def of(self, overrides: Sequence[str]) -> str:
        """What this run's overrides add to what all have in common; ``the run`` when that is nothing."""
        words = [word for word in overrides if word not in self._common and not word.lstrip("+~").startswith(_ELSEWHERE)]
        return " ".join(words) or "the run"


def reasons(cells: Sequence[Cell], most: int = MOST) -> list[str]:
    """Why runs failed, diverged or were skipped: a line for each reason, with the first run of it and how many more there are.

    Reasons that differ in numbers alone are one.
    """
    labels = Labels(cell.overrides for cell in cells)
    found: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        if cell.status in ("failed", "diverged", "skipped"):
            found.setdefault((cell.status, re.sub(r"[\d.e+-]+", "0", _why(cell))), []).append(cell)
    lines = []
    for (status, _), members in list(found.items())[:most]:
        count, first = len(members), members[0]
        if status == "skipped":  # the reason names what does not fit
            lines.append(f"skipped {count:,}: {_why(first)}")
        else:
            more = f" and {count - 1:,} more" if count > 1 else ""
            lines.append(f"{status}: {labels.of(first.overrides)}{more}: {_why(first)}")
    if len(found) > most:
        lines.append(f"and {len(found) - most} more reasons; dlrun runs status=failed has them all")
    return lines


def _why(cell: Cell) -> str:
    """A reason without its list of figures that were not finite: for a diverged run they are consequences."""
    return cell.reason.partition("; not finite: ")[0]
