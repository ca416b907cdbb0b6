"""What to call a run of a sweep: the overrides that tell it from the others."""

from collections.abc import Iterable, Sequence

_ELSEWHERE = ("output_dir=", "reuse=", "retry_failed=", "logger", "hydra")  # they say nothing of what a run is
MOST = 12  # reasons that are told one by one


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


def reasons(told: Iterable[tuple[str, str, str]]) -> list[str]:
    """Lines for (status, reason, run) triples: one a reason, with its first run and how many more there are.

    Reasons that differ in numbers alone are one.
    """
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for status, reason, run in told:
        found.setdefault((status, "".join("0" if letter.isdigit() else letter for letter in reason)), []).append((run, reason))
    lines = []
    for (status, _), runs in list(found.items())[:MOST]:
        first, reason = runs[0]
        more = f" and {len(runs) - 1:,} more" if len(runs) > 1 else ""
        lines.append(f"{status}: {first}{more}: {reason}")
    if len(found) > MOST:
        lines.append(f"and {len(found) - MOST} more reasons; sweep.json has them all")
    return lines
