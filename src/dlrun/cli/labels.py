"""What to call a run of a sweep: the factors that tell it from the others."""

import re
from collections.abc import Iterable, Sequence

from dlrun.comparison.table import label
from dlrun.results.sweeps import Cell

MOST = 12  # reasons that are told one by one, where there is a file that has all


class Labels:
    """Names for the runs of one sweep.

    Args:
        cells: all of its runs.
    """

    def __init__(self, cells: Iterable[Cell]) -> None:
        every = [set(_factors(cell).items()) for cell in cells]
        self._common = set.intersection(*every) if len(every) > 1 else set()

    def of(self, cell: Cell) -> str:
        """What this run's factors add to what all have in common; ``the run`` when that is nothing."""
        mine = {key: value for key, value in _factors(cell).items() if (key, value) not in self._common}
        return label(mine) if mine else "the run"


def _factors(cell: Cell) -> dict[str, str | int | float | bool]:
    """The factors of a run, its seed and fold among them."""
    fold = {} if cell.fold is None else {"dataset.fold": cell.fold}
    return {**cell.factors, "seed": cell.seed, **fold}


def reasons(cells: Sequence[Cell], most: int = MOST) -> list[str]:
    """Why runs failed, diverged or were skipped: a line for each reason, with the first run of it and how many more there are.

    Reasons that differ in numbers alone are one.
    """
    labels = Labels(cells)
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
            lines.append(f"{status}: {labels.of(first)}{more}: {_why(first)}")
    if len(found) > most:
        lines.append(f"and {len(found) - most} more reasons; sweep.json has them all")
    return lines


def _why(cell: Cell) -> str:
    """A reason without its list of figures that were not finite: for a diverged run they are consequences."""
    return cell.reason.partition("; not finite: ")[0]
