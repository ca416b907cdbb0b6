"""One run from one composed config: what ``dlrun [overrides]`` does."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dlrun.baselines.rows import AUTO, names
from dlrun.config.composed import Composed
from dlrun.config.spec import RunSpec, from_config
from dlrun.engine.progress import Progress
from dlrun.experiments.cohorts import Datasets, Planned, plan
from dlrun.experiments.executors.workers import train_one
from dlrun.experiments.sections import Section, folds_of, place, section
from dlrun.experiments.signals import Interruption
from dlrun.experiments.train import worth_keeping
from dlrun.results.record import MEASURED, RunRecord
from dlrun.results.store import Store


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


def prepare(job: Composed) -> Job:
    """Everything that can go wrong before training, for one composed config.

    Raises:
        InputError: the config or its data cannot work.
        StoreError: the output folder cannot be written.
    """
    spec = from_config(job.config, job.choices, job.overrides, job.mentioned)
    (planned,) = plan([spec], Datasets())
    store = Store.at(spec.config.get("output_dir"))
    store.prepare()
    return Job(planned, store)
