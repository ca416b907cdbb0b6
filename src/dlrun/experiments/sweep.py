"""A sweep: from the composed jobs to the records of its runs.

    jobs -> specs (see specs; impossible combinations are skipped) -> ids -> what is missing -> cohorts -> train -> store

The store has the list of its runs by id before anything trains, so it can be resumed after any kind of end.
"""

import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, Self

from dlrun.baselines import rows as baselines
from dlrun.comparison.groups import BEST
from dlrun.config.composing.composed import Composed
from dlrun.config.spec import RunSpec
from dlrun.engine.progress import Progress
from dlrun.errors import InputError
from dlrun.experiments.checkpoints import going_on, keeping
from dlrun.experiments.events import Listener
from dlrun.experiments.executors import AUTO, Site, check_name, choose, scheduling, slots
from dlrun.experiments.planning.cohorts import Datasets, Planned, plan, together
from dlrun.experiments.planning.cut import Needs, cut, free_bytes, needs
from dlrun.experiments.planning.folds import every_fold
from dlrun.experiments.planning.specs import Without, distinct, left_out, raise_some, specs_of
from dlrun.experiments.signals import Interruption
from dlrun.experiments.train import FINISHED, Report, failure, identity, worth_keeping
from dlrun.results.formats import RunFiles
from dlrun.results.record import RunRecord
from dlrun.results.store import Store
from dlrun.results.sweeps import Cell, Sweep

MEMORY_SHARE = 0.25
LOST = ("failed", "diverged", "interrupted", "pending")  # statuses of which any makes the exit code 1
SWITCH = 0.001  # seconds that training, which lets go of the interpreter in every operation, waits for it while runs are written
LOOK = 0.5  # seconds between two looks at the runs that another process trains


@dataclass(frozen=True)
class Options:
    """How a sweep is carried out; none of it changes what a run computes."""

    folders: bool = False  # each run is a folder too
    reuse: bool = True
    since: str = ""  # take over those alone that ended later: a resumed sweep that was told to train everything
    retry_failed: bool = False
    memory_share: float = MEMORY_SHARE
    processes: int | None = None  # None: as many as cores, where the work repays their start
    executor: str = AUTO
    address: str = ""  # of a cluster
    parameters: Mapping[str, Any] = field(default_factory=dict)  # what its workers or jobs ask for

    @classmethod
    def of(cls, config: Mapping[str, Any], launcher: Mapping[str, Any]) -> "Options":
        """What a composed config and the settings of the cohort launcher say."""
        address, parameters = str(launcher.get("address") or ""), launcher.get("parameters") or {}
        return cls(
            folders=bool(config.get("folders")),
            reuse=bool(config.get("reuse", True)),
            retry_failed=bool(config.get("retry_failed")),
            memory_share=float(launcher.get("memory_share", MEMORY_SHARE)),
            processes=launcher.get("processes"),
            executor=check_name(str(launcher.get("executor", AUTO)), address, parameters),
            address=address,
            parameters=parameters,
        )


@dataclass
class Grid:
    """A sweep before it trains: every cell, the specs of those that can be trained, and how they go together.

    ``broken`` has what is kept of runs whose data raised: it is all that will come of them.
    """

    cells: list[Cell]
    specs: dict[str, RunSpec]  # id -> spec
    cohorts: list[Planned]
    broken: dict[str, RunFiles] = field(default_factory=dict)
    warnings: dict[str, int] = field(default_factory=dict)
    baselines: tuple[str, ...] = ()  # what shall stand beside the runs in their table
    reference: str | Sequence[str] = BEST  # what they are compared with there
    margin: float | None = None
    left_out: Sequence[str] = ()  # settings that some runs have no component for, in words
    strict: bool = False  # those, and skipped combinations, make the sweep a failure

    def count(self, status: str) -> int:
        """How many cells have a status before anything trains: skipped, failed or pending."""
        return sum(cell.status == status for cell in self.cells)

    def lacking(self) -> str:
        """What a strict sweep lacks, in words; an empty string when it lacks nothing, or is not strict."""
        skipped = self.count("skipped")
        said = [f"{skipped:,} of {len(self.cells):,} combinations are skipped"] if skipped else []
        return "; ".join([*said, *self.left_out]) if self.strict else ""


def lay_out(jobs: Sequence[Composed]) -> Grid:
    """Check every job, read the data, and group the runs into cohorts. Equal runs stand once in ``specs``.

    A job that names a broken file, broken data or a component that fails its check is a failed cell, and the others are runs.

    Raises:
        InputError: a value was typed that no run can have, or no job is possible; with every distinct problem.
    """
    jobs = every_fold(jobs)
    specs = specs_of(jobs)
    datasets = Datasets()
    planned, without, raised = _plan([spec for spec in specs if isinstance(spec, RunSpec)], datasets)
    ids = {id(spec): identity(spec, group.cohort.data.fingerprint) for group in planned for spec in group.specs}
    ids |= {spec: files.record.id for spec, files in raised.items()}
    cells = []
    first: dict[str, RunSpec] = {}
    for job, spec in zip(jobs, specs, strict=True):
        if isinstance(spec, RunSpec) and id(spec) in ids:
            first.setdefault(ids[id(spec)], spec)
            cells.append(Cell(ids[id(spec)], job.overrides, spec.seed, spec.fold, factors=spec.factors))
        else:
            why = spec if isinstance(spec, Without) else without[id(spec)]
            seed = int(job.config.get("seed") or 0)
            cells.append(Cell("", job.overrides, seed, None, why.status, why.reason, spec.factors))
    if not first:
        raise_some(list(dict.fromkeys(cell.reason for cell in cells)))
    kept = {id(spec) for spec in first.values()}
    warnings = Counter(warning for spec in first.values() for warning in spec.warnings)
    warnings.update(group.note for group in planned if group.note)
    sound = [job for job in jobs if not job.error]
    lacking = [*left_out(sound)]
    warnings.update(lacking)
    cohorts = [chosen for group in planned if (chosen := _only(group, kept))]
    kept_of = {files.record.id: files for files in raised.values()}
    beside = baselines.names_of(job.config.get("baseline") for job in distinct(sound))
    reference, margin, strict = (sound[0].config.get(key) for key in ("reference", "margin", "strict"))
    return Grid(
        cells, first, cohorts, kept_of, dict(warnings), beside, reference or BEST, margin, tuple(lacking), strict=bool(strict)
    )


def _plan(specs: Sequence[RunSpec], datasets: Datasets) -> tuple[list[Planned], dict[int, Without], dict[int, RunFiles]]:
    """Cohorts; for the specs that their data rules out the reason; for those whose data raised what is kept of them."""
    planned: list[Planned] = []
    without: dict[int, Without] = {}
    raised: dict[int, RunFiles] = {}
    for members in together(specs):
        readable = False
        try:
            datasets.load(members[0].dataset)
            readable = True
            planned += plan(members, datasets)
        except InputError as error:
            why = Without("; ".join(error.problems), "skipped" if readable else "failed")
            without |= {id(spec): why for spec in members}
        except (Exception, SystemExit) as error:
            raised |= {id(spec): failure(spec, error) for spec in members}
    return planned, without, raised


def _only(planned: Planned, kept: set[int]) -> Planned | None:
    """The rows of a cohort whose specs are among ``kept``."""
    rows = [number for number, spec in enumerate(planned.specs) if id(spec) in kept]
    if len(rows) == len(planned.specs):
        return planned
    if not rows:
        return None
    cohort = replace(planned.cohort, runs=[planned.cohort.runs[row] for row in rows])
    return Planned(cohort, tuple(planned.specs[row] for row in rows), notes=planned.notes)


def missing(grid: Grid, store: Store, options: Options) -> tuple[list[Planned], dict[str, RunRecord]]:
    """The cohorts of what is left to train, and the records of what is there already."""
    there = _there(grid.specs, store, options)
    wanted = {id(spec) for run, spec in grid.specs.items() if run not in there}
    return [left for group in grid.cohorts if (left := _only(group, wanted))], there


def _there(
    runs: Iterable[str], store: Store, options: Options, complain: Callable[[str], None] | None = None
) -> dict[str, RunRecord]:
    """Those of ``runs`` that need not be trained; ``complain`` is told of those that are damaged."""
    if not options.reuse:
        return {}
    ended = set(FINISHED) - {"failed"} if options.retry_failed else FINISHED
    found = store.records(runs, complain, whole=True)
    return {record.id: record for record in found if record.status in ended and record.finished >= options.since}


def pieces(cohorts: Sequence[Planned], options: Options) -> list[tuple[Planned, Needs]]:
    """Cohorts cut to what memory and cache hold, the largest first, so that parallel processes end together."""
    free = {device: free_bytes(device) for device in {group.cohort.settings.place for group in cohorts}}
    budget = {device: max(1 << 26, int(count * options.memory_share)) for device, count in free.items()}
    cut_up = [piece for group in cohorts for piece in cut(group, budget[group.cohort.settings.place])]
    return sorted(((piece, needs(piece.cohort)) for piece in cut_up), key=lambda pair: -pair[1].seconds)


def carry_out(
    grid: Grid, sweep: Sweep, store: Store, options: Options, interruption: Interruption, tell: Listener
) -> tuple[int, dict[str, RunRecord]]:
    """Train what is missing, keep every run, and bring the sweep's cells up to date.

    Returns:
        The exit code, and the records of all of the sweep's runs that have ended.

    Runs that another process is training are waited for, and trained here should that process give them up.
    """
    ledger = _Ledger(store, tell, folders=options.folders)
    there = _there(grid.specs, store, options, lambda line: tell.warning(line, 1))
    ledger.note(list(there.values()))
    if options.folders:
        for run in there:
            store.export(run)
    left = dict.fromkeys(run for run in grid.specs if run not in there)
    with interruption:
        while left and not interruption():
            with store.claim(left) as claim, ledger:
                ended = _there(claim.mine, store, options)  # by a process that let go of it since we looked
                ledger.note(list(ended.values()))
                mine = [run for run in claim.mine if run not in ended]
                ledger.keep([grid.broken[run] for run in mine if run in grid.broken])
                begun = going_on(mine, grid.specs, grid.cohorts, store, options.since, tell) if options.reuse else []
                wanted = {id(grid.specs[run]) for run in mine} - {id(spec) for group in begun for spec in group.specs}
                work = pieces([*begun, *(rows for group in grid.cohorts if (rows := _only(group, wanted)))], options)
                claimed = set(mine)
                for files in _trained(work, options, store, tell, ledger.progress, interruption):
                    ledger.keep([item for item in files if item.record.id in claimed])  # others had ended when it went on
            left = dict.fromkeys(run for run in left if run in claim.others)
            if left and not interruption():
                tell.waiting(left, claim.others[next(iter(left))])
                time.sleep(LOOK)
    if interruption.signal:
        return interruption.exit_code, {record.id: record for record in sweep.refresh(store)}
    records = {record.id: record for record in sweep.refresh(store)} if interruption.late else ledger.records
    sweep.update(records.values())
    asked = {cell.id for cell in grid.cells}
    lost = any(cell.status in LOST for cell in sweep.cells if cell.id in asked)
    return int(lost or bool(grid.lacking())), records


class _Ledger:
    """Keeps what has ended. As a context, it writes a cohort down while the next one trains."""

    def __init__(self, store: Store, tell: Listener, *, folders: bool) -> None:
        self._store, self._tell, self._folders = store, tell, folders
        self._writer = ThreadPoolExecutor(1, "dlrun-store")
        self._writing: tuple[Sequence[RunFiles], Future[None]] | None = None
        self._interval = sys.getswitchinterval()
        self.records: dict[str, RunRecord] = {}

    def __enter__(self) -> Self:
        sys.setswitchinterval(SWITCH)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._settle()
        finally:
            sys.setswitchinterval(self._interval)

    def keep(self, files: Sequence[RunFiles]) -> None:
        """Write runs down, when those before are."""
        self._settle()
        self._writing = files, self._writer.submit(self._write, files)

    def progress(self, progress: Progress) -> None:
        """The next cohort reports: by now the runs before may be there."""
        if self._writing is not None and self._writing[1].done():
            self._settle()
        self._tell.progress(progress)

    def _settle(self) -> None:
        """Wait for what is being written.

        Raises:
            StoreError: it could not be.
        """
        if self._writing is not None:
            (files, future), self._writing = self._writing, None
            future.result()
            self.note([item.record for item in files])

    def _write(self, files: Sequence[RunFiles]) -> None:
        self._store.write_cohort(worth_keeping(files, self._store), as_folders=self._folders)

    def note(self, records: Sequence[RunRecord]) -> None:
        """Take up the records of runs that are there."""
        if records:
            self.records |= {record.id: record for record in records}
            self._tell.run_ended(records)


def _trained(
    work: Sequence[tuple[Planned, Needs]],
    options: Options,
    store: Store,
    tell: Listener,
    report: Report,
    interruption: Interruption,
) -> Iterator[list[RunFiles]]:
    """Train cohorts, in this process or in several, and hand out what comes of each."""
    site, keep = Site(options.address, options.parameters, store.root), keeping(store, tell)
    shares = scheduling.shares(work, slots(options.processes, options.executor, site), options.executor)
    begun, all_of_them = 0, sum(len(part) for part, _ in shares)

    def started(group: Planned) -> None:
        nonlocal begun
        tell.cohort(begun, all_of_them, len(group.specs))
        begun += 1

    for part, count in shares:
        cohorts, count = [group for group, _ in part], min(count, len(part))
        executor = choose(cohorts, count, interruption, options.executor, site)
        yield from scheduling.train_all(part, executor, started=started, report=report, interrupted=interruption, keep=keep)


def begin(grid: Grid, store: Store, name: str, command: Sequence[str], settings: Mapping[str, Any]) -> Sweep:
    """Write down which runs belong to the sweep, before any of them trains."""
    more = {"words": list(command), "lacking": grid.lacking()}
    return Sweep.create(store, name, grid.cells, command=" ".join(command), settings={**settings, **more})


def total(work: Sequence[tuple[Planned, Needs]]) -> float:
    """Seconds that all cohorts take, one after the other."""
    return math.fsum(need.seconds for _, need in work)
