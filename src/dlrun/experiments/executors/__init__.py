"""Who trains cohorts: this process, or workers. ``choose`` decides; ``scheduling`` retries and bisects whatever fails.

An executor takes cohorts by ``submit`` and gives back tasks, so that clusters can join without touching the sweep.
"""

from collections.abc import Sequence

from dlrun import isolation
from dlrun.experiments.cohorts import Planned, uses_own
from dlrun.experiments.executors.base import Executor, Interrupted
from dlrun.experiments.executors.processes import Processes
from dlrun.experiments.executors.serial import Serial

__all__ = ["Executor", "choose"]


def choose(cohorts: Sequence[Planned], count: int, interrupted: Interrupted, *, isolates: bool = True) -> Executor:
    """The executor for cohorts: workers for several at once, and for components of the user's own; else this process.

    Args:
        count: how many cohorts at once.
        interrupted: whether to stop.
        isolates: whether components of the user's own train in a worker, whoever calls.
    """
    own = any(map(uses_own, cohorts)) and (isolates or isolation.here() is not None)
    return Processes(count) if count > 1 or own else Serial(interrupted)
