"""Hydra's way into dlrun's sweeps. No logic: Hydra executes this file anew whenever it looks for plugins."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class CohortSweeper(BasicSweeper):
    """Hydra's basic sweeper; with the cohort launcher the whole grid goes to dlrun at once, uncomposed."""

    def sweep(self, arguments: list[str]) -> Any:
        """Expand the grid and launch it."""
        if type(self.launcher).__name__ != CohortLauncher.__name__:
            if self.config is not None and self.config.get("zip"):
                from dlrun.errors import InputError

                raise InputError("zip: goes with dlrun's own launcher alone; leave hydra/launcher out")
            return super().sweep(arguments)
        return [self.launcher.expand([*self._parse_config(), *arguments])]  # type: ignore[union-attr]

    def _parse_config(self) -> list[str]:
        """What a config file sweeps over, as overrides."""
        from omegaconf import OmegaConf

        from dlrun.config.composing.grammar import plain, words_of
        from dlrun.config.composing.lists import takes_list

        params: Any = OmegaConf.to_container(self.params) if OmegaConf.is_config(self.params) else self.params
        return plain(words_of(params or {}, takes_list))


class CohortLauncher(Launcher):
    """Hands all jobs to dlrun, which trains them together."""

    def __init__(self, memory_share: float, processes: int | None, executor: str, address: str, parameters: Any) -> None:
        """The settings are read from the config by dlrun itself."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Keep what dlrun needs."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def expand(self, arguments: list[str]) -> Sequence[JobReturn]:
        """Launch the grid that the arguments span."""
        from dlrun.config.composing.grid import expand

        jobs = expand(arguments, self.context.config_loader, zipped=self.config.get("zip"))
        return self.launch(jobs, initial_job_idx=0)

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Train all jobs."""
        from dlrun.cli.train import session_of

        code = session_of(self.task).sweep(self.context.config_loader, self.config, job_overrides)
        return [JobReturn(overrides=list(job), status=JobStatus.COMPLETED, _return_value=code) for job in job_overrides]


@dataclass
class CohortSweeperConf:
    """hydra/sweeper=cohort."""

    _target_: str = "hydra_plugins.dlrun_plugins.sweeps.CohortSweeper"
    max_batch_size: int | None = None
    params: dict[str, Any] = field(default_factory=dict)


@dataclass
class CohortLauncherConf:
    """hydra/launcher=cohort."""

    _target_: str = "hydra_plugins.dlrun_plugins.sweeps.CohortLauncher"
    memory_share: float = 0.25  # of the memory that is free
    processes: int | None = None  # those of what torch trains: as many as cores, where the work repays their start
    executor: str = "auto"  # serial, processes, dask, ray, submitit, or what the work repays
    address: str = ""  # of a Dask scheduler or a Ray cluster; where it is empty, they start workers here
    parameters: Any = None  # a mapping: what Ray's actors or submitit's jobs ask for


store = ConfigStore.instance()
store.store(group="hydra/sweeper", name="cohort", node=CohortSweeperConf, provider="dlrun")
store.store(group="hydra/launcher", name="cohort", node=CohortLauncherConf, provider="dlrun")
