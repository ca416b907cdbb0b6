"""A sweep: from the composed jobs to the records of its runs.

    jobs -> specs (impossible combinations skipped) -> ids -> what is missing -> cohorts -> train -> store

The store has the list of its runs by id before anything trains, so it can be resumed after any kind of end.
"""

import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from dlrun import registry
from dlrun.baselines import rows as baselines
from dlrun.comparison.factors import Factor
from dlrun.comparison.groups import BEST
from dlrun.config.composed import Composed
from dlrun.config.factors import factors
from dlrun.config.resolver import UntrustedError
from dlrun.config.spec import RunSpec, from_config
from dlrun.errors import InputError, MismatchError, UnusableError, raise_all
from dlrun.experiments.cohorts import Datasets, Planned, in_pieces, plan, together
from dlrun.experiments.cut import Needs, cut, free_bytes, needs
from dlrun.experiments.events import Listener
from dlrun.experiments.executors import AUTO, check_name, choose, scheduling
from dlrun.experiments.folds import every_fold
from dlrun.experiments.signals import Interruption
from dlrun.experiments.train import FINISHED, failure, identity, worth_keeping
from dlrun.isolation import reason
from dlrun.results.formats import RunFiles
from dlrun.results.identity import OF_A_SWEEP
from dlrun.results.record import RunRecord
from dlrun.results.store import Store
from dlrun.results.sweeps import Cell, Sweep

MEMORY_SHARE = 0.25
MOST_PROBLEMS = 20
LOOK = 0.5  # seconds between two looks at the runs that another process trains


@dataclass(frozen=True)
class Options:
    """How a sweep is carried out; none of it changes what a run computes."""

    reuse: bool = True
    since: str = ""  # take over those alone that ended later: a resumed sweep that was told to train everything
    retry_failed: bool = False
    memory_share: float = MEMORY_SHARE
    processes: int | None = None  # None: as many as cores, where the work repays their start
    executor: str = AUTO

    @classmethod
    def of(cls, config: Mapping[str, Any], launcher: Mapping[str, Any]) -> "Options":
        """What a composed config and the settings of the cohort launcher say."""
        return cls(
            reuse=bool(config.get("reuse", True)),
            retry_failed=bool(config.get("retry_failed")),
            memory_share=float(launcher.get("memory_share", MEMORY_SHARE)),
            processes=launcher.get("processes"),
            executor=check_name(str(launcher.get("executor", AUTO))),
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


@dataclass(frozen=True)
class _Without:
    """Why a job has no run: its components do not fit together (skipped), or something that it names is broken (failed)."""

    reason: str
    status: Literal["skipped", "failed"] = "skipped"


def lay_out(jobs: Sequence[Composed]) -> Grid:
    """Check every job, read the data, and group the runs into cohorts. Equal runs stand once in ``specs``.

    A job that names a broken file, broken data or a component that fails its check is a failed cell, and the others are runs.

    Raises:
        InputError: a value was typed that no run can have, or no job is possible; with every distinct problem.
    """
    jobs = every_fold(jobs)
    sound = [job for job in jobs if not job.error]
    specs: list[RunSpec | _Without] = []
    problems: dict[str, None] = dict.fromkeys(_said_twice(sound))
    for job in jobs:
        if job.error:
            specs.append(_Without(_in_files(job.error, job), "failed"))
            continue
        try:
            specs.append(from_config(job.config, job.choices, job.overrides, job.mentioned))
        except MismatchError as error:
            specs.append(_Without("; ".join(error.problems)))
        except InputError as error:
            if isinstance(error, UnusableError):
                specs.append(_Without("; ".join(error.problems), "failed"))
                continue
            if isinstance(error, UntrustedError) or _typed(error.problems, job):
                problems |= dict.fromkeys(error.problems)
            specs.append(_Without(_in_files(error, job), "failed"))
    raise_some(list(problems))
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
            why = spec if isinstance(spec, _Without) else without[id(spec)]
            told = spec.factors if isinstance(spec, RunSpec) else _asked(job)
            cells.append(Cell("", job.overrides, int(job.config.get("seed") or 0), None, why.status, why.reason, told))
    if not first:
        raise_some(list(dict.fromkeys(cell.reason for cell in cells)))
    kept = {id(spec) for spec in first.values()}
    warnings = Counter(warning for spec in first.values() for warning in spec.warnings)
    warnings.update(group.note for group in planned if group.note)
    left_out = [*_left_out(sound)]
    warnings.update(left_out)
    cohorts = [chosen for group in planned if (chosen := _only(group, kept))]
    kept_of = {files.record.id: files for files in raised.values()}
    beside = baselines.names_of(job.config.get("baseline") for job in sound)
    reference, margin, strict = (sound[0].config.get(key) for key in ("reference", "margin", "strict"))
    return Grid(
        cells, first, cohorts, kept_of, dict(warnings), beside, reference or BEST, margin, tuple(left_out), strict=bool(strict)
    )


def _asked(job: Composed) -> dict[str, Factor]:
    """The factors of a job that is no run; of one whose files are broken the options that it names."""
    if job.config:
        return factors(job.config, job.choices)
    words = [word.lstrip("+").partition("=") for word in job.overrides]
    return {group: name for group, _, name in words if group in registry.groups()}


def raise_some(problems: Sequence[str]) -> None:
    """Raise an InputError for problems, of many for the first ones; do nothing when there are none."""
    more = [f"and {len(problems) - MOST_PROBLEMS} more problems"] if len(problems) > MOST_PROBLEMS else []
    raise_all([*problems[:MOST_PROBLEMS], *more])


def _in_files(error: Exception, job: Composed) -> str:
    """What is wrong with a job, and in which of the user's files: those of the options that its words choose."""
    said = "; ".join(error.problems) if isinstance(error, InputError) else reason(error)
    words = [word.lstrip("+").partition("=") for word in job.overrides]
    chosen = [registry.path(group, name) for group, _, name in words if name in registry.options(group)]
    files = [str(path) for path in chosen if registry.root() not in path.parents]
    return said if not files or any(file in said for file in files) else f"{said} (in {' or '.join(files)})"


def _typed(problems: Sequence[str], job: Composed) -> bool:
    """Whether any of a job's problems is of a value that was typed, and not of one that stands in an option's file."""
    keys = [word.lstrip("+~").partition("=")[0] for word in job.overrides]
    typed = tuple(key for key in keys if key not in registry.groups())
    return any(problem.lstrip("+~").startswith(typed) for problem in problems) or not job.choices


def _left_out(jobs: Sequence[Composed]) -> Iterator[str]:
    """Settings that some jobs have no component for."""
    found: dict[str, list[str]] = {}
    for job in jobs:
        for key in dict.fromkeys(word.partition("=")[0] for word in job.left_out):
            found.setdefault(key, []).append(job.choices.get(key.split(".")[0], "null"))
    for key, options in found.items():
        group, name, *_ = key.split(".")
        why = f"which do not select {name}" if registry.is_set(group) else f"since {_has(group, options)} no {name}"
        yield f"{key}: left out of {len(options):,} of {len(jobs):,} runs, {why}"


def _has(group: str, options: Sequence[str]) -> str:
    names = [*dict.fromkeys(options)]
    *others, last = names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} others"]
    return f"{group}={', '.join(others)} and {last} have" if others else f"{group}={last} has"


def _said_twice(jobs: Sequence[Composed]) -> Iterator[str]:
    """Settings of the sweep as a whole that its jobs do not agree on."""
    for key in OF_A_SWEEP:
        values = dict.fromkeys(str(job.config.get(key)) for job in jobs)
        if len(values) > 1:
            yield f"{key}={','.join(values)}: a sweep has one {key}; start a sweep for each"


def _plan(specs: Sequence[RunSpec], datasets: Datasets) -> tuple[list[Planned], dict[int, _Without], dict[int, RunFiles]]:
    """Cohorts; for the specs that their data rules out the reason; for those whose data raised what is kept of them."""
    planned: list[Planned] = []
    without: dict[int, _Without] = {}
    raised: dict[int, RunFiles] = {}
    for members in together(specs):
        readable = False
        try:
            datasets.load(members[0].dataset)
            readable = True
            planned += plan(members, datasets)
        except InputError as error:
            why = _Without("; ".join(error.problems), "skipped" if readable else "failed")
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
    return Planned(cohort, tuple(planned.specs[row] for row in rows))


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
    free = {device: free_bytes(device) for device in {group.cohort.settings.device for group in cohorts}}
    budget = {device: max(1 << 26, int(count * options.memory_share)) for device, count in free.items()}
    cut_up = [piece for group in cohorts for piece in cut(group, budget[group.cohort.settings.device])]
    return sorted(((piece, needs(piece.cohort)) for piece in cut_up), key=lambda pair: -pair[1].seconds)


def carry_out(grid: Grid, sweep: Sweep, store: Store, options: Options, tell: Listener) -> int:
    """Train what is missing, keep every run, and bring the sweep's list up to date. Returns the exit code.

    Runs that another process is training are waited for, and trained here should that process give them up.
    """
    ledger = _Ledger(sweep, store, tell)
    there = _there(grid.specs, store, options, lambda line: tell.warning(line, 1))
    ledger.note(list(there.values()))
    sweep.save()
    left = dict.fromkeys(run for run in grid.specs if run not in there)
    with Interruption() as interruption:
        while left and not interruption():
            with store.claim(left) as claim:
                ended = _there(claim.mine, store, options)  # by a process that let go of it since we looked
                ledger.note(list(ended.values()))
                mine = [run for run in claim.mine if run not in ended]
                ledger.keep([grid.broken[run] for run in mine if run in grid.broken])
                wanted = {id(grid.specs[run]) for run in mine}
                work = pieces([rows for group in grid.cohorts if (rows := _only(group, wanted))], options)
                for files in _trained(work, options, tell, interruption):
                    ledger.keep(files)
            left = dict.fromkeys(run for run in left if run in claim.others)
            if left and not interruption():
                tell.waiting(left, claim.others[next(iter(left))])
                time.sleep(LOOK)
    sweep.refresh(store)
    if interruption():
        return interruption.exit_code
    return 1 if grid.lacking() or any(cell.status in ("failed", "diverged") for cell in sweep.cells) else 0


class _Ledger:
    """Keeps what has ended."""

    def __init__(self, sweep: Sweep, store: Store, tell: Listener) -> None:
        self._sweep, self._store, self._tell = sweep, store, tell

    def keep(self, files: Sequence[RunFiles]) -> None:
        """Write runs down."""
        self._store.write_cohort(worth_keeping(files, self._store))
        self.note([item.record for item in files])

    def note(self, records: Sequence[RunRecord]) -> None:
        """Take up the records of runs that are there."""
        if records:
            self._sweep.update(records)
            self._tell.run_ended(records)


def _trained(
    work: Sequence[tuple[Planned, Needs]], options: Options, tell: Listener, interruption: Interruption
) -> Iterator[list[RunFiles]]:
    """Train cohorts, in this process or in several, and hand out what comes of each."""
    count = scheduling.processes(work, options.processes)
    if count > 1:
        share = count * scheduling.PIECES / (total(work) or 1.0)
        work = [(piece, need) for group, need in work for piece in in_pieces(group, round(need.seconds * share))]
    begun = 0

    def started(group: Planned) -> None:
        nonlocal begun
        tell.cohort(begun, len(work), len(group.specs))
        begun += 1

    executor = choose([group for group, _ in work], min(count, len(work)), interruption, options.executor)
    yield from scheduling.train_all(work, executor, started=started, report=tell.progress, interrupted=interruption)


def begin(grid: Grid, store: Store, name: str, command: Sequence[str], settings: Mapping[str, Any]) -> Sweep:
    """Write down which runs belong to the sweep, before any of them trains."""
    more = {"words": list(command), "lacking": grid.lacking()}
    return Sweep.create(store, name, grid.cells, command=" ".join(command), settings={**settings, **more})


def total(work: Sequence[tuple[Planned, Needs]]) -> float:
    """Seconds that all cohorts take, one after the other."""
    return math.fsum(need.seconds for _, need in work)
