"""A sweep: from the composed jobs to the comparison table.

    jobs -> specs (impossible combinations skipped) -> ids -> what is missing -> cohorts -> train -> run folders -> table

The sweep's folder lists its runs by id before anything trains, so it can be resumed after any kind of end.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from dlrun.components.metrics import METRICS
from dlrun.engine.progress import Progress
from dlrun.errors import InputError, MismatchError
from dlrun.experiments import workers
from dlrun.experiments.compose import Composed
from dlrun.experiments.estimate import Needs, cut, free_bytes, needs
from dlrun.experiments.execute import identity, train
from dlrun.experiments.folds import every_fold, shared_rows
from dlrun.experiments.interruption import Interruption
from dlrun.experiments.plan import Datasets, Planned, in_pieces, plan
from dlrun.experiments.spec import RunSpec, from_config
from dlrun.results.comparison import Compared, comparison
from dlrun.results.formats import RunFiles
from dlrun.results.record import RunRecord
from dlrun.results.render import Table, full_table, to_csv, to_markdown
from dlrun.results.store import Store
from dlrun.results.sweeps import Cell, Sweep
from dlrun.results.table import rows_of

FINISHED = ("done", "stopped", "diverged", "failed")
MEMORY_SHARE = 0.25
MOST_PROBLEMS = 20


class Watcher(Protocol):
    """Whoever shows how the sweep is doing."""

    def cohort(self, number: int, cohorts: int, runs: int) -> None:
        """A cohort begins."""

    def progress(self, progress: Progress) -> None:
        """The cohort at work reports."""

    def ended(self, records: Sequence[RunRecord]) -> None:
        """Runs have ended and are kept."""


@dataclass(frozen=True)
class Options:
    """How a sweep is carried out; none of it changes what a run computes."""

    reuse: bool = True
    retry_failed: bool = False
    memory_share: float = MEMORY_SHARE
    processes: int | None = None  # None: as many as cores, where the work repays their start


@dataclass
class Grid:
    """A sweep before it trains: every cell, the specs of those that can be trained, and how they go together."""

    cells: list[Cell]
    specs: dict[str, RunSpec]  # id -> spec
    cohorts: list[Planned]
    warnings: dict[str, int] = field(default_factory=dict)

    @property
    def skipped(self) -> dict[str, int]:
        """Reason -> how many cells cannot be trained because of it."""
        return dict(Counter(cell.reason for cell in self.cells if cell.status == "skipped"))


def lay_out(jobs: Sequence[Composed]) -> Grid:
    """Check every job, read the data, and group the runs into cohorts. Equal runs stand once in ``specs``.

    Raises:
        InputError: a value that no run can have, or no job is possible; with every distinct problem.
    """
    jobs = every_fold(jobs)
    specs: list[RunSpec | str] = []
    problems: dict[str, None] = {}
    for job in jobs:
        try:
            specs.append(from_config(job.config, job.choices, job.overrides))
        except MismatchError as error:
            specs.append("; ".join(error.problems))
        except InputError as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        more = [f"and {len(problems) - MOST_PROBLEMS} more problems"] if len(problems) > MOST_PROBLEMS else []
        raise InputError(*list(problems)[:MOST_PROBLEMS], *more)
    datasets = Datasets()
    possible = [spec for spec in specs if isinstance(spec, RunSpec)]
    planned, impossible = _plan(possible, datasets)
    ids = {id(spec): identity(spec, group.cohort.data.fingerprint) for group in planned for spec in group.specs}
    cells = []
    first: dict[str, RunSpec] = {}
    for job, spec in zip(jobs, specs, strict=True):
        if isinstance(spec, RunSpec) and id(spec) in ids:
            first.setdefault(ids[id(spec)], spec)
            cells.append(Cell(ids[id(spec)], job.overrides, spec.seed, spec.fold))
        else:
            reason = spec if isinstance(spec, str) else impossible[id(spec)]
            cells.append(Cell("", job.overrides, int(job.config.get("seed") or 0), None, "skipped", reason))
    if not first:
        raise InputError(*dict.fromkeys(cell.reason for cell in cells))
    kept = {id(spec) for spec in first.values()}
    warnings = Counter(warning for spec in first.values() for warning in spec.warnings)
    return Grid(cells, first, [chosen for group in planned if (chosen := _only(group, kept))], dict(warnings))


def _plan(specs: Sequence[RunSpec], datasets: Datasets) -> tuple[list[Planned], dict[int, str]]:
    """Cohorts, and for the specs that their data rules out the reason."""
    try:
        return plan(specs, datasets), {}
    except InputError:
        pass
    by_problem: list[Planned] = []
    impossible: dict[int, str] = {}
    for members in _architectures(specs):
        try:
            by_problem += plan(members, datasets)
        except InputError as error:
            impossible |= {id(spec): "; ".join(error.problems) for spec in members}
    return by_problem, impossible


def _architectures(specs: Sequence[RunSpec]) -> list[list[RunSpec]]:
    from dlrun.experiments.plan import architecture

    together: dict[Any, list[RunSpec]] = {}
    for spec in specs:
        together.setdefault(architecture(spec), []).append(spec)
    return list(together.values())


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
    there: dict[str, RunRecord] = {}
    if options.reuse:
        for run in grid.specs:
            record = store.finished(run)
            if record is not None and record.status in FINISHED and not (options.retry_failed and record.status == "failed"):
                there[run] = record
    wanted = {id(spec) for run, spec in grid.specs.items() if run not in there}
    return [left for group in grid.cohorts if (left := _only(group, wanted))], there


def pieces(cohorts: Sequence[Planned], options: Options) -> list[tuple[Planned, Needs]]:
    """Cohorts cut to what memory and cache hold, the largest first, so that parallel processes end together."""
    budget = max(1 << 26, int(free_bytes() * options.memory_share))
    cut_up = [piece for group in cohorts for piece in cut(group, budget)]
    return sorted(((piece, needs(piece.cohort)) for piece in cut_up), key=lambda pair: -pair[1].seconds)


def carry_out(grid: Grid, sweep: Sweep, store: Store, options: Options, watcher: Watcher) -> int:
    """Train what is missing, keep every run, and bring the sweep's list up to date. Returns the exit code."""
    cohorts, there = missing(grid, store, options)
    sweep.update(there.values())
    sweep.save()
    watcher.ended(list(there.values()))
    index = {id(spec): run for run, spec in grid.specs.items()}
    work = pieces(cohorts, options)
    with store.claim([index[id(spec)] for group, _ in work for spec in group.specs]) as claim, Interruption() as interruption:
        mine = set(claim.mine)
        work = [(left, need) for group, need in work if (left := _only(group, {i for i, run in index.items() if run in mine}))]
        for files in _trained(work, options, watcher, interruption):
            store.write_cohort(files)
            records = [item.record for item in files]
            sweep.update(records)
            sweep.save()
            watcher.ended(records)
    sweep.refresh(store)
    sweep.save()
    if interruption():
        return interruption.exit_code
    bad = {"failed", "diverged"}
    return 1 if any(cell.status in bad for cell in sweep.cells) or claim.others else 0


def _trained(
    work: Sequence[tuple[Planned, Needs]], options: Options, watcher: Watcher, interruption: Interruption
) -> Iterator[list[RunFiles]]:
    """Train cohorts, in this process or in several, and hand out what comes of each."""
    count = workers.processes(work, options.processes)
    groups = [group for group, _ in work]
    if count > 1:
        share = count * workers.PIECES / (total(work) or 1.0)
        groups = [piece for group, need in work for piece in in_pieces(group, round(need.seconds * share))]
    begun = 0

    def begin(group: Planned) -> None:
        nonlocal begun
        watcher.cohort(begun, len(groups), len(group.specs))
        begun += 1

    def attempt(group: Planned) -> list[RunFiles]:
        if interruption():
            return []
        begin(group)
        workers.use_threads(group)
        return train(group, report=watcher.progress, interrupted=interruption)

    if count > 1 and len(groups) > 1:
        yield from workers.in_parallel(groups, count, started=begin, interrupted=interruption)
    else:
        yield from workers.in_turn(groups, attempt)


# The table


@dataclass(frozen=True)
class Section:
    """The comparison of the runs on one dataset: groups of different data have no common scale."""

    dataset: str
    metric: str
    metrics: tuple[str, ...]
    compared: tuple[Compared, ...]


def compare(grid: Grid, sweep: Sweep, store: Store) -> list[Section]:
    """Compare what the sweep has measured, dataset by dataset, on the test rows (validation where there are none)."""
    records = {record.id: record for record in store.records(dict.fromkeys(cell.id for cell in sweep.cells if cell.id))}
    by_dataset: dict[tuple[str, str, str], list[RunRecord]] = {}
    for run, spec in grid.specs.items():
        if run in records:
            by_dataset.setdefault((_dataset(spec), spec.preparation.task, spec.metric), []).append(records[run])
    sections = []
    for (dataset, task, metric), members in by_dataset.items():
        measured = {name for record in members for name in record.metrics}
        subset = "test" if f"test/{metric}" in measured else "validation" if f"validation/{metric}" in measured else "train"
        main = f"{subset}/{metric}"
        if main not in measured:
            continue
        others = tuple(f"{subset}/{name}" for name in METRICS[task] if name != metric and f"{subset}/{name}" in measured)
        higher = metric != "loss" and METRICS[task][metric].higher_is_better is not False
        rows = rows_of(members, sweep.overrides())
        ratio = shared_rows(members, subset)
        compared = comparison(rows, main, higher_is_better=higher, metrics=others, ratio=ratio)
        sections.append(Section(dataset, main, others, tuple(compared)))
    return sections


def _dataset(spec: RunSpec) -> str:
    values = {key: value for key, value in spec.config["dataset"].items() if key not in ("_target_", "fold")}
    name = str(spec.choices.get("dataset", spec.dataset.name))
    return name if not values else f"{name}\0{sorted(map(str, values.items()))}"


def write_tables(sections: Sequence[Section], sweep: Sweep) -> None:
    """comparison.csv (all sections, one header) and comparison.md (a table for each)."""
    tables = [full_table(section.compared, section.metric, section.metrics) for section in sections]
    columns = tuple(dict.fromkeys(column for table in tables for column in ("dataset", *table.columns)))
    rows = []
    for section, table in zip(sections, tables, strict=True):
        for row in table.rows:
            cells: Mapping[str, Any] = {"dataset": section.dataset.split("\0")[0], **dict(zip(table.columns, row, strict=True))}
            rows.append(tuple(cells.get(column) for column in columns))
    texts = [
        f"## {section.dataset.split(chr(0))[0]}: {section.metric}\n\n{to_markdown(table)}"
        for section, table in zip(sections, tables, strict=True)
    ]
    sweep.write_comparison(to_csv(Table(columns, tuple(rows))), "\n".join(texts))


def begin(grid: Grid, store: Store, name: str, command: Sequence[str], settings: Mapping[str, Any]) -> Sweep:
    """Write down which runs belong to the sweep, before any of them trains."""
    return Sweep.create(store, name, grid.cells, command=" ".join(command), settings=dict(settings) | {"words": list(command)})


def total(work: Sequence[tuple[Planned, Needs]]) -> float:
    """Seconds that all cohorts take, one after the other."""
    return math.fsum(need.seconds for _, need in work)
