"""Who trains cohorts: this process, or workers. ``choose`` decides; ``scheduling`` retries and bisects whatever fails.

An executor takes cohorts by ``submit`` and gives back tasks, so that clusters can join without touching the sweep.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec

from dlrun import isolation
from dlrun.errors import InputError, nearest
from dlrun.experiments.executors.base import Executor, Interrupted
from dlrun.experiments.executors.dask import Dask, workers_at
from dlrun.experiments.executors.processes import Processes
from dlrun.experiments.executors.serial import Serial
from dlrun.experiments.planning.cohorts import Planned, uses_own

__all__ = ["AUTO", "EXECUTORS", "Executor", "check_name", "choose", "slots"]

AUTO = "auto"
Make = Callable[[int, Interrupted, str], Executor]
_NEEDS = {"dask": "distributed"}  # what the extra of that name installs

EXECUTORS: dict[str, Make] = {
    "serial": lambda count, interrupted, address: Serial(interrupted),
    "processes": lambda count, interrupted, address: Processes(count),
    "dask": lambda count, interrupted, address: Dask(count, address),
}
"""By name: how many cohorts at once, whether to stop, and the address of a cluster -> the executor."""


def check_name(name: str, address: str = "") -> str:
    """The name of an executor.

    Raises:
        InputError: there is none of that name, it is not installed, or it takes no address.
    """
    known = [AUTO, *EXECUTORS]
    if name not in known:
        raise InputError(f"hydra.launcher.executor={name}: must be one of {', '.join(known)}{nearest(name, known)}")
    if name in _NEEDS and find_spec(_NEEDS[name]) is None:
        raise InputError(
            f"hydra.launcher.executor={name}: needs {_NEEDS[name]}, which is not installed; run: pip install 'dlrun[{name}]'"
        )
    if address and name != "dask":
        raise InputError(f"hydra.launcher.address={address}: is of a Dask scheduler; type hydra.launcher.executor=dask too")
    return name


def slots(wanted: int | None, address: str) -> int | None:
    """How many cohorts at once: as many as wanted or, at an address, as there are workers; None leaves it to the work.

    Raises:
        StartError: nothing answers at the address.
    """
    return workers_at(address) if address and wanted is None else wanted


def choose(
    cohorts: Sequence[Planned],
    count: int,
    interrupted: Interrupted,
    name: str = AUTO,
    address: str = "",
    *,
    isolates: bool = True,
) -> Executor:
    """The executor of that name or, for auto, workers for several cohorts at once and for components of the user's own.

    Args:
        count: how many cohorts at once.
        interrupted: whether to stop.
        address: of a cluster.
        isolates: whether components of the user's own train in a worker, whoever calls.
    """
    if name != AUTO:
        return EXECUTORS[name](count, interrupted, address)
    own = any(map(uses_own, cohorts)) and (isolates or isolation.here() is not None)
    return EXECUTORS["processes" if count > 1 or own else "serial"](count, interrupted, address)
