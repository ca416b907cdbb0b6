"""Who trains cohorts: this process, or workers. ``choose`` decides; ``scheduling`` retries and bisects whatever fails.

    serial       this process
    processes    worker processes of this machine
    remote       what those share whose workers another system starts: dask, ray, submitit

An executor takes cohorts by ``submit`` and gives back tasks, so that clusters can join without touching the sweep.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from dlrun import isolation
from dlrun.errors import InputError, nearest
from dlrun.experiments.executors import dask, ray, submitit
from dlrun.experiments.executors.base import Executor, Interrupted, Site
from dlrun.experiments.executors.processes import Processes
from dlrun.experiments.executors.serial import Serial
from dlrun.experiments.planning.cohorts import Planned, uses_own

__all__ = ["AUTO", "EXECUTORS", "Executor", "Site", "check_name", "choose", "slots"]

AUTO = "auto"
Make = Callable[[int, Interrupted, Site], Executor]

EXECUTORS: dict[str, Make] = {
    "serial": lambda count, interrupted, site: Serial(interrupted),
    "processes": lambda count, interrupted, site: Processes(count),
    "dask": lambda count, interrupted, site: dask.Dask(count, site),
    "ray": lambda count, interrupted, site: ray.Ray(count, site),
    "submitit": lambda count, interrupted, site: submitit.Submitit(count, site),
}
"""By name: how many cohorts at once, whether to stop, and where workers are -> the executor."""

_NEEDS = {"dask": "distributed", "ray": "ray", "submitit": "submitit"}  # what the extra of that name installs
_WORKERS_AT = {"dask": dask.workers_at, "ray": ray.workers_at}  # those that an address leads to
_AT_ADDRESS = ("dask", "ray", "submitit")
_ASKING = ("ray", "submitit")  # those whose workers ask for something


def check_name(name: str, address: str = "", parameters: Any = None) -> str:
    """The name of an executor.

    Raises:
        InputError: there is none of that name, it is not installed, or it takes no address or no parameters.
    """
    known = [AUTO, *EXECUTORS]
    if name not in known:
        raise InputError(f"hydra.launcher.executor={name}: must be one of {', '.join(known)}{nearest(name, known)}")
    if name in _NEEDS and find_spec(_NEEDS[name]) is None:
        raise InputError(
            f"hydra.launcher.executor={name}: needs {_NEEDS[name]}, which is not installed; run: pip install 'dlrun[{name}]'"
        )
    if address and name not in _AT_ADDRESS:
        raise InputError(f"hydra.launcher.address={address}: is of a cluster; type {_typed(_AT_ADDRESS)} too")
    if not isinstance(parameters or {}, Mapping):
        raise InputError(f"hydra.launcher.parameters={parameters}: must be a mapping, such as '{{num_cpus: 2}}'")
    if parameters and name not in _ASKING:
        raise InputError(
            f"hydra.launcher.parameters: are what Ray's actors and submitit's jobs ask for; type {_typed(_ASKING)} too"
        )
    return name


def _typed(names: Sequence[str]) -> str:
    return " or ".join(f"hydra.launcher.executor={name}" for name in names)


def slots(wanted: int | None, name: str, site: Site) -> int | None:
    """How many cohorts at once: as many as wanted or, at an address, as there are workers; None leaves it to the work.

    Raises:
        StartError: nothing answers at the address.
    """
    return _WORKERS_AT[name](site) if site.address and wanted is None and name in _WORKERS_AT else wanted


def choose(
    cohorts: Sequence[Planned],
    count: int,
    interrupted: Interrupted,
    name: str = AUTO,
    site: Site | None = None,
    *,
    isolates: bool = True,
) -> Executor:
    """The executor of that name or, for auto, workers for several cohorts at once and for components of the user's own.

    Args:
        count: how many cohorts at once.
        interrupted: whether to stop.
        site: where workers are.
        isolates: whether components of the user's own train in a worker, whoever calls.
    """
    if name != AUTO:
        return EXECUTORS[name](count, interrupted, site or Site())
    own = any(map(uses_own, cohorts)) and (isolates or isolation.here() is not None)
    return EXECUTORS["processes" if count > 1 or own else "serial"](count, interrupted, Site())
