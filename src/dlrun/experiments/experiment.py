"""One service below the command and Python: settings in, events and results out.

    RunExperiment(job)       one run: always trained, and a component that raises ends it
    SweepExperiment(jobs)    many: what is finished is taken over, and what fails is kept as failed

Both check and read everything in ``prepare``, train in ``run``, and report what happens to their listeners (see events): the
command and ``dlrun.run`` differ in those alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from dlrun.baselines.rows import AUTO, names
from dlrun.comparison.factors import Factor
from dlrun.config.composing.composed import Composed
from dlrun.config.resolver import resolve
from dlrun.config.spec import from_config
from dlrun.errors import InputError, StoreError
from dlrun.experiments import sections as tables
from dlrun.experiments import sweep as sweeps
from dlrun.experiments import tuning
from dlrun.experiments.checkpoints import going_on, keeping
from dlrun.experiments.events import Guarded, Listener, Listeners
from dlrun.experiments.executors.scheduling import train_one
from dlrun.experiments.planning.cohorts import Datasets, Planned, plan
from dlrun.experiments.planning.cut import Needs
from dlrun.experiments.planning.folds import every_fold
from dlrun.experiments.provenance import check_same_data, provenance, where_it_began
from dlrun.experiments.signals import Interruption
from dlrun.experiments.train import identity, worth_keeping
from dlrun.report.files import as_csv, as_markdown
from dlrun.report.sections import Place, Section
from dlrun.results.record import MEASURED, RunRecord
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep

Records = Mapping[str, RunRecord]
INTERRUPTED = 128  # from here on exit codes are those of signals


@dataclass(frozen=True)
class Result:
    """What came of an experiment.

    Attributes:
        code: the exit code of the command.
        folder: of the run, or of the sweep.
        record: of a single run.
        sweep, grid: of a sweep.
        taken: how many of its runs had ended before.
        sections: its comparison, a table for each dataset.
    """

    code: int
    store: Store
    folder: Path
    record: RunRecord | None = None
    sweep: Sweep | None = None
    grid: sweeps.Grid | None = None
    taken: int = 0
    sections: tuple[Section, ...] = ()


class RunExperiment:
    """One run of one composed config."""

    def __init__(self, job: Composed, listeners: Sequence[Listener] = ()) -> None:
        self._job = job
        self._tell = Listeners([*listeners, *loggers(job.config, Listeners(listeners))])

    @cached_property
    def planned(self) -> Planned:
        """The run, checked, with its data read."""
        job = self._job
        (found,) = plan([from_config(job.config, job.choices, job.overrides, job.mentioned)], Datasets())
        return found

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to know of the data."""
        return (*self.planned.cohort.data.notes, *self.planned.notes)

    @property
    def warnings(self) -> Mapping[str, int]:
        """What may not be meant, and in how many runs."""
        return dict.fromkeys(self.planned.specs[0].warnings, 1)

    def prepare(self) -> None:
        """Everything that can go wrong before training; notes and warnings are reported.

        Raises:
            InputError: the config or its data cannot work.
            StoreError: the output folder cannot be written.
        """
        with _closed_by_errors(self._tell):
            tuning.refuse_alone(self._job)
            self.store = Store.at(self.planned.specs[0].config.get("output_dir"))
            self.store.prepare()
            _report(self, self._tell)

    def run(self) -> Result:
        """Train and keep it.

        Raises:
            Whatever a component of the user's own raises.
        """
        spec = self.planned.specs[0]
        with _closing(self._tell), Interruption(spec.config.get("timeout_s")) as interruption:
            self._tell.opened(self.store)
            self._tell.begun(None, spec.name or self.planned.cohort.data.name)
            keep = keeping(self.store, self._tell)
            (files,) = train_one(self._continued(), report=self._tell.progress, interrupted=interruption, keep=keep)
            kept = worth_keeping([files], self.store)
            folder = self.store.write_run(files) if kept else self.store.folder(files.record.id)
            self._tell.run_ended([files.record])
            if files.record.status == "interrupted" and interruption.reason:
                self._tell.note(f"{interruption.reason}; type the same command again to go on")
            stopped = interruption.exit_code if files.record.status == "interrupted" else 0
            code = stopped or int(files.record.status not in MEASURED)
            section = self._beside(files.record)
            result = Result(code, self.store, folder, files.record, sections=() if section is None else (section,))
            self._tell.finished(result)
            return result

    def _continued(self) -> Planned:
        """The run, going on from its checkpoint where there is one."""
        planned, spec = self.planned, self.planned.specs[0]
        if not spec.config.get("reuse", True):
            return planned
        run = identity(spec, planned.cohort.data.fingerprint)
        return next(iter(going_on([run], {run: spec}, [planned], self.store, "", self._tell)), planned)

    def _beside(self, record: RunRecord) -> Section | None:
        """The run in a table with the baselines that were asked for by name; None when none were."""
        spec = self.planned.specs[0]
        wanted = [name for name in names(spec.config.get("baseline")) if name != AUTO]
        if not wanted or record.status not in MEASURED:
            return None
        return tables.of_run(self.planned, record, wanted)


@dataclass(frozen=True)
class Reports:
    """What runs report: each what was tuned, or its default.

    Args:
        told: for each job (each fold is one) further factors.
        notes: lines for the table of a place.
    """

    told: Sequence[Mapping[str, Factor]]
    notes: Mapping[Place, Sequence[str]]


@dataclass(frozen=True)
class How:
    """How a sweep is carried out.

    Args:
        command: the words that start it, for ``dlrun resume``.
        launcher: the settings of the cohort launcher.
        resume: the folder of the sweep to carry on with; a new one when None.
        retry_failed: train runs again that failed.
        reuse: whether finished runs are taken over; as the jobs say when None.
        plan_only: nothing will train, so that there is nothing for a logger to hear.
        grows: the jobs are runs that a sweep gets beside those that it has; they are not compared, unless they report.
        reports: that they report what was tuned.
        interruption: what stops it; when None, signals and what the jobs have as ``timeout_s``.
    """

    command: Sequence[str] = ()
    launcher: Mapping[str, Any] = field(default_factory=dict)
    resume: Path | None = None
    retry_failed: bool = False
    reuse: bool | None = None
    plan_only: bool = False
    grows: bool = False
    reports: Reports | None = None
    interruption: Interruption | None = None


class SweepExperiment:
    """Many runs, trained together.

    Raises:
        StoreError: the sweep to resume cannot be read.
    """

    def __init__(self, jobs: Sequence[Composed], how: How, listeners: Sequence[Listener] = ()) -> None:
        self._jobs, self._how = jobs, how
        first = next(job.config for job in jobs if not job.error)
        self.name = str(first.get("name") or "sweep")
        self._tell = Listeners([*listeners, *([] if how.plan_only else loggers(first, Listeners(listeners)))])
        self._tuned = tuning.tuned_keys(jobs)
        self._began = None if how.resume is None else Sweep.open(how.resume.absolute())
        self.store = Store.at(first.get("output_dir")) if self._began is None else Store(self._began.folder.parent.parent)
        self._interruption = how.interruption or Interruption(first.get("timeout_s"))
        options = sweeps.Options.of(first, how.launcher)
        taken = options.reuse if how.reuse is None else how.reuse
        self._options = replace(
            options,
            reuse=taken or self._began is not None,
            since="" if taken or self._began is None else self._began.created,
            retry_failed=how.retry_failed or options.retry_failed,
        )

    @cached_property
    def grid(self) -> sweeps.Grid:
        """The runs, checked, with their data read, and grouped."""
        with where_it_began(self._began):
            grid = sweeps.lay_out(self._jobs)
        if self._began is not None:
            check_same_data(self._began, grid)
        if not self._how.grows or self._how.reports is not None:
            tables.check_reference(grid)
        if self._how.reports is not None:
            pairs = zip(grid.cells, self._how.reports.told, strict=True)
            grid.cells = [replace(cell, factors={**cell.factors, **told}) for cell, told in pairs]
        return grid

    @property
    def notes(self) -> tuple[str, ...]:
        """What is to know of the data, and of what follows."""
        tuned = ",".join(self._tuned)
        said = [f"tune_over={tuned}: what is chosen, and the default, train with new seeds afterwards"] if tuned else []
        return (*dict.fromkeys(note for group in self.grid.cohorts for note in (*group.cohort.data.notes, *group.notes)), *said)

    @property
    def warnings(self) -> Mapping[str, int]:
        """What may not be meant, and in how many runs."""
        return self.grid.warnings

    def prepare(self) -> None:
        """Everything that can go wrong before training; notes and warnings are reported.

        Raises:
            InputError: no job can work, a value was typed that no run can have, or ``reference`` names no group.
            DataError: a resumed sweep's data has changed.
        """
        with _closed_by_errors(self._tell):
            _report(self, self._tell)

    def plan(self) -> tuple[list[tuple[Planned, Needs]], int]:
        """The cohorts that ``run`` would train with what they need, and how many runs have ended already."""
        cohorts, there = sweeps.missing(self.grid, self.store, self._options)
        return sweeps.pieces(cohorts, self._options), len(there)

    def run(self) -> Result:
        """Train what is missing, keep it, and compare.

        Raises:
            StoreError: the output folder cannot be written, or another process carries the sweep out.
        """
        grid, counter = self.grid, _Taken(self.grid)
        tell = Listeners([counter, *self._tell.several])
        with _closing(self._tell):
            self.store.prepare()
            tell.opened(self.store)
            sweep = self._resumed() or sweeps.begin(grid, self.store, self.name, self._how.command, provenance(grid))
            compared = self._how.reports is not None or not self._how.grows
            beside = tables.Beside(grid.cohorts, grid.baselines) if compared and not self._tuned else None
            with beside or nullcontext():
                with sweep.claim():
                    if self._began is not None:
                        sweep.save()
                    code, records = self._carried_out(grid, sweep, tell, self.name)
                    reported = tables.Reported(grid, records, *self._told())
                    if self._tuned and not self._interruption():
                        code, reported = self._tested(reported, sweep, tell)
                if self._interruption.reason:
                    self._tell.note(self._interruption.reason)
                sections = tables.compare(reported, sweep, beside, tell=tell.comparing) if compared else []
            if sections:
                sweep.write_comparison(as_csv(sections), as_markdown(sections))
            every = replace(grid, specs={**grid.specs, **reported.grid.specs})
            result = Result(code, self.store, sweep.folder, None, sweep, every, counter.taken, tuple(sections))
            tell.finished(result)
        return result

    def _carried_out(self, grid: sweeps.Grid, sweep: Sweep, tell: Listener, title: str) -> tuple[int, Records]:
        tell.begun(grid, title)
        try:
            return sweeps.carry_out(grid, sweep, self.store, self._options, self._interruption, tell)
        except StoreError as error:  # the disk is full, say
            raise StoreError(*error.problems, f"mend that, and carry on with: dlrun resume {sweep.folder}") from error

    def _tested(self, first: tables.Reported, sweep: Sweep, tell: Listener) -> tuple[int, tables.Reported]:
        """Choose the tuned settings, and train what was chosen, and the default, with new seeds: cells of the same sweep."""
        keys, cells = self._tuned, sweep.cells
        found = tuning.choose(keys, every_fold(self._jobs), first.grid, first.records)
        sweep.keep(tuning.CURVES, tuning.curves(keys, found))
        notes = tuning.notes(keys, found)
        fresh = tuning.fresh_jobs(keys, found, [cell.seed for cell in first.grid.cells])
        if not fresh:
            return 1, replace(first, notes=notes)
        tested = sweeps.lay_out([job for job, _ in fresh])
        told = {cell.id: factors for cell, (_, factors) in zip(tested.cells, fresh, strict=True)}
        tested.cells = [replace(cell, factors={**cell.factors, **told[cell.id]}) for cell in tested.cells]
        sweep.cells = [*cells, *tested.cells]
        sweep.save()
        code, records = self._carried_out(tested, sweep, tell, f"{self.name}: what was chosen, with new seeds")
        failed = any(cell.status == "failed" for cell in cells)
        return max(code, int(failed)), tables.Reported(tested, records, told, notes)

    def _told(self) -> tuple[Mapping[str, Mapping[str, Factor]], Mapping[Place, Sequence[str]]]:
        """The further factors of runs that report, and the notes of their tables."""
        reports = self._how.reports
        if reports is None:
            return {}, {}
        return {cell.id: told for cell, told in zip(self.grid.cells, reports.told, strict=True)}, reports.notes

    def _resumed(self) -> Sweep | None:
        """The sweep to carry on with, with the cells that its command spans now: data and versions may have changed."""
        sweep, grid = self._began, self.grid
        if sweep is None:
            return None
        if self._how.grows:
            sweep.cells = [*sweep.cells, *grid.cells]
            return sweep
        began = {cell.id for cell in sweep.cells}
        new = sum(cell.id not in began for cell in grid.cells)
        if new:
            self._tell.warning(
                f"{new} of {len(grid.cells)} runs are not those that the sweep began with, since the data, the options, "
                "code of yours or dlrun's version have changed; they are trained anew",
                1,
            )
        sweep.cells, sweep.settings["lacking"] = grid.cells, grid.lacking()
        return sweep


class _Taken(Listener):
    """Counts the runs that had ended before any was trained."""

    def __init__(self, grid: sweeps.Grid) -> None:
        self._grid, self._began, self.taken = grid, False, 0

    def cohort(self, number: int, cohorts: int, runs: int) -> None:
        """Training begins."""
        self._began = True

    def run_ended(self, records: Sequence[RunRecord]) -> None:
        """Runs have ended."""
        ended = {record.id for record in records if record.id not in self._grid.broken}
        self.taken += 0 if self._began else sum(cell.id in ended for cell in self._grid.cells)


def loggers(config: Mapping[str, Any], tell: Listener) -> list[Listener]:
    """The loggers that a config names by a ``_target_``, at its top or below their names; none for the displays of the command.

    Args:
        tell: hears of one that fails.

    Raises:
        InputError: one is no Listener, or cannot be made.
    """
    section = dict(config.get("logger") or {})
    named = {str(name): dict(part) for name, part in section.items() if isinstance(part, Mapping) and "_target_" in part}
    found = [_logger(f"logger.{name}", name, part, tell) for name, part in named.items()]
    if "_target_" not in section:
        return found
    own = {key: value for key, value in section.items() if key not in ("progress", "table", *named)}
    return [_logger("logger", str(own["_target_"]).rpartition(".")[2], own, tell), *found]


def _logger(where: str, name: str, section: dict[str, Any], tell: Listener) -> Listener:
    target = section.pop("_target_")
    kind = resolve(target, "logger")
    if not (isinstance(kind, type) and issubclass(kind, Listener)):
        raise InputError(f"{where}._target_={target}: must be a subclass of dlrun.extend.Logger")
    try:
        return Guarded(name, kind(**section), tell)
    except TypeError as error:
        raise InputError(f"{where}: {target} cannot be made with {', '.join(section) or 'no keys'} ({error})") from error


def _report(experiment: RunExperiment | SweepExperiment, tell: Listener) -> None:
    for note in experiment.notes:
        tell.note(note)
    for warning, runs in experiment.warnings.items():
        tell.warning(warning, runs)


@contextmanager
def _closed_by_errors(listener: Listener) -> Iterator[None]:
    try:
        yield
    except BaseException:
        listener.close()
        raise


@contextmanager
def _closing(listener: Listener) -> Iterator[None]:
    try:
        yield
    finally:
        listener.close()
