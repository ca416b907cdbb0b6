"""Who trains cohorts: this process, or workers. ``choose`` decides; ``scheduling`` retries and bisects whatever fails.

An executor takes cohorts by ``submit`` and gives back tasks, so that clusters can join without touching the sweep.
"""

from collections.abc import Callable, Sequence

from dlrun import isolation
from dlrun.errors import InputError, nearest
from dlrun.experiments.executors.base import Executor, Interrupted
from dlrun.experiments.executors.processes import Processes
from dlrun.experiments.executors.serial import Serial
from dlrun.experiments.planning.cohorts import Planned, uses_own

__all__ = ["AUTO", "EXECUTORS", "Executor", "check_name", "choose"]

AUTO = "auto"
Make = Callable[[int, Interrupted], Executor]

EXECUTORS: dict[str, Make] = {
    "serial": lambda count, interrupted: Serial(interrupted),
    "processes": lambda count, interrupted: Processes(count),
}
"""By name: how many cohorts at once, and whether to stop -> the executor."""


def check_name(name: str) -> str:
    """The name of an executor.

    Raises:
        InputError: there is none of that name.
    """
    known = [AUTO, *EXECUTORS]
    if name not in known:
        raise InputError(f"hydra.launcher.executor={name}: must be one of {', '.join(known)}{nearest(name, known)}")
    return name


def choose(
    cohorts: Sequence[Planned], count: int, interrupted: Interrupted, name: str = AUTO, *, isolates: bool = True
) -> Executor:
    """The executor of that name or, for auto, workers for several cohorts at once and for components of the user's own.

    Args:
        count: how many cohorts at once.
        interrupted: whether to stop.
        isolates: whether components of the user's own train in a worker, whoever calls.
    """
    if name != AUTO:
        return EXECUTORS[name](count, interrupted)
    own = any(map(uses_own, cohorts)) and (isolates or isolation.here() is not None)
    return EXECUTORS["processes" if count > 1 or own else "serial"](count, interrupted)
