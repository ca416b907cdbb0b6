"""One run from one composed config: what ``dlrun [overrides]`` does."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dlrun.engine.progress import Progress
from dlrun.experiments.baselines import AUTO, names
from dlrun.experiments.composed import Composed, typed
from dlrun.experiments.composed import read as read_config
from dlrun.experiments.execute import worth_keeping
from dlrun.experiments.interruption import Interruption
from dlrun.experiments.plan import Datasets, Planned, plan
from dlrun.experiments.sections import Section, folds_of, place, section
from dlrun.experiments.spec import RunSpec, from_config
from dlrun.experiments.workers import train_one
from dlrun.results.record import MEASURED, RunRecord
from dlrun.results.store import Store

if TYPE_CHECKING:
    from omegaconf import DictConfig


@dataclass(frozen=True)
class Job:
    """A run that is ready to train: its data is read, its folder can be written."""

    planned: Planned
    store: Store

    @property
    def spec(self) -> RunSpec:
        """The run."""
        return self.planned.specs[0]

    def beside(self, record: RunRecord) -> Section | None:
        """The run in a table with the baselines that were asked for by name; None when none were."""
        wanted = [name for name in names(self.spec.config.get("baseline")) if name != AUTO]
        if not wanted or record.status not in MEASURED:
            return None
        return section(place(self.spec), [record], None, folds_of([self.planned])[place(self.spec)], wanted)

    def run(self, report: Callable[[Progress], None]) -> tuple[RunRecord, Path, int]:
        """Train and keep it: the record, the folder, and the exit code (130 or 143 when a signal ended it)."""
        with Interruption() as interruption:
            (files,) = train_one(self.planned, report=report, interrupted=interruption)
            kept = worth_keeping([files], self.store)
            folder = self.store.write_run(files) if kept else self.store.folder(files.record.id)
        failed = 0 if files.record.status in ("done", "stopped") else 1
        return files.record, folder, interruption.exit_code if files.record.status == "interrupted" else failed


def prepare(config: "DictConfig") -> Job:
    """Everything that can go wrong before training, for the run that a composed config describes.

    Raises:
        InputError: the config or its data cannot work.
        StoreError: the output folder cannot be written.
    """
    return prepare_composed(composed(config))


def prepare_composed(job: Composed) -> Job:
    """The same for a config that was composed before."""
    spec = from_config(job.config, job.choices, job.overrides, job.mentioned)
    (planned,) = plan([spec], Datasets())
    store = Store.at(spec.config.get("output_dir"))
    store.prepare()
    return Job(planned, store)


def read(config: "DictConfig") -> RunSpec:
    """The run that a composed config describes."""
    job = composed(config)
    return from_config(job.config, job.choices, job.overrides, job.mentioned)


def composed(config: "DictConfig") -> Composed:
    """What Hydra composed, in plain containers.

    Raises:
        InputError: a config file lists several options in the place of one.
    """
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    settings = HydraConfig.get()
    hydra = GlobalHydra.instance()
    loader: Any = hydra.config_loader() if hydra.is_initialized() else None  # none in a launcher's worker
    return read_config(config, settings, loader).job(typed(settings))  # type: ignore[arg-type]
