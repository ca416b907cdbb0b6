"""The comparison of a sweep that was just trained: its runs beside baselines, which are fitted on the same rows."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from dlrun.baselines.rows import AUTO, Fits, Folds, Key, choose
from dlrun.comparison.factors import Factor
from dlrun.comparison.groups import BEST, named, words_of
from dlrun.comparison.table import BASELINE, Row, groups
from dlrun.config.repeats import once
from dlrun.config.spec import RunSpec
from dlrun.data.preprocessing import Scalings
from dlrun.data.splits import Splits
from dlrun.engine.cohort import DEFAULT_THRESHOLD, Cohort
from dlrun.experiments.planning.cohorts import Planned
from dlrun.experiments.sweep import Grid
from dlrun.report.sections import Entry, Judged, Place, Section, place_of, section, sections, with_experiments, with_symptoms
from dlrun.report.stored import BESIDE, data_key
from dlrun.results.record import RunRecord
from dlrun.results.sweeps import Sweep


@dataclass(frozen=True)
class Reported:
    """What the table of a sweep is about: its runs, or those that report what was chosen.

    Args:
        records: of those that have ended, by id.
        told: run id -> further factors.
        notes: lines for the section of a place.
    """

    grid: Grid
    records: Mapping[str, RunRecord]
    told: Mapping[str, Mapping[str, Factor]] = field(default_factory=dict)
    notes: Mapping[Place, Sequence[str]] = field(default_factory=dict)


def compare(
    reported: Reported, sweep: Sweep, beside: "Beside | None" = None, *, tell: Callable[[str], None] = lambda line: None
) -> list[Section]:
    """Compare what the sweep has measured, and keep what the baselines got with it.

    Args:
        beside: the baselines of this grid, which may have been begun with.
        tell: hears in a line of whatever may take long.
    """
    grid = reported.grid
    beside = beside or Beside(grid.cohorts, grid.baselines)

    def told(at: Place, rows: Sequence[Row], common: Mapping[str, Factor]) -> tuple[Sequence[Row], Sequence[str]]:
        found, notes = beside(at, rows, common, tell)
        return found, [*notes, *reported.notes.get(at, ())]

    found = entries(grid.specs, reported.records, reported.told)
    compared = sections(found, Judged(grid.reference, grid.margin), told, kept=True)
    compared = with_symptoms(compared, reported.records)
    sweep.keep(BESIDE, beside.kept)
    return compared


def of_run(planned: Planned, record: RunRecord, baselines: Sequence[str]) -> Section | None:
    """One run in a table with baselines."""
    return section(place(planned.specs[0])[0], [Row.of(record)], Judged(), Beside([planned], baselines))


def check_reference(grid: Grid) -> None:
    """Whether what every group is to be compared with is one group of each table, before anything trains.

    Raises:
        InputError: it names none, or several.
    """
    if words_of(grid.reference) == [BEST]:
        return
    folds = folds_of(grid.cohorts) if grid.baselines else {}
    tables: dict[Place, list[Row]] = {}
    for entry in entries(grid.specs, {}):
        tables.setdefault(entry.place, []).append(entry.row)
    for at, rows in tables.items():
        known = choose(grid.baselines, folds[at], at.metric)[0] if at in folds else []
        more = [Row("", "pending", 0, None, {BASELINE: name}, {}) for name in known]
        named(groups([*rows, *more], "", higher_is_better=True), grid.reference)


@once
def place(spec: RunSpec) -> tuple[Place, Mapping[str, Any]]:
    """The place of a run, and the settings of its data."""
    return place_of(spec.config, spec.choices, spec.preparation.task, spec.metric, spec.dataset.name)


def entries(
    specs: Mapping[str, RunSpec], records: Mapping[str, RunRecord], told: Mapping[str, Mapping[str, Factor]] | None = None
) -> list[Entry]:
    """The runs to be compared; those without a record were not reached."""
    found, told = [], told or {}
    for run, spec in specs.items():
        record = records.get(run) or RunRecord(run, "interrupted", seed=spec.seed, fold=spec.fold)
        factors = {**spec.factors, **told[run]} if run in told else spec.factors
        found.append(Entry.of(record, *place(spec), spec.choices, factors))
    return with_experiments(found)


def folds_of(cohorts: Sequence[Planned]) -> Mapping[Place, Folds]:
    """The data of every seed and fold, place by place."""
    found: dict[Place, dict[Key, tuple[int, int]]] = {}  # where it is: the number of a cohort, and a split of it
    several = [planned.cohort for planned in cohorts]
    for number, planned in enumerate(cohorts):
        for spec, run in zip(planned.specs, planned.cohort.runs, strict=True):
            found.setdefault(place(spec)[0], {}).setdefault((spec.seed, spec.fold), (number, run.split))
    return {at: _joined(keys, several) for at, keys in found.items()}


def _joined(keys: Mapping[Key, tuple[int, int]], cohorts: Sequence[Cohort]) -> Folds:
    """The data of some seeds and folds, of which those of a cohort stand side by side."""
    parts: dict[int, list[int]] = {}
    for number, split in keys.values():
        parts.setdefault(number, []).append(split)
    splits = [Splits.of(cohorts[number].splits).select(places) for number, places in parts.items()]
    scalings = [Scalings.of(cohorts[number].preprocessing).select(places) for number, places in parts.items()]
    return Folds(cohorts[next(iter(parts))].data, keys, Splits.joined(splits), Scalings.joined(scalings))


class Beside:
    """Baselines of some cohorts, fitted where a table wants them; ``kept`` has what they got, by the data.

    As a context it has a thread that fits those of ``auto``, which are quick, while the runs train.
    """

    def __init__(self, cohorts: Sequence[Planned], wanted: Sequence[str]) -> None:
        self._cohorts, self._wanted = cohorts, wanted
        self._folds = folds_of(cohorts) if wanted else {}
        self._pool = ThreadPoolExecutor(1, "dlrun-baselines")  # which has no thread before it is given work
        self._begun: dict[Place, Fits] = {}
        self.kept: dict[str, list[Any]] = {}

    def __enter__(self) -> Self:
        if set(self._wanted) == {AUTO}:
            thresholds: dict[Place, set[Any]] = {}
            for planned in self._cohorts:
                for spec in planned.specs:
                    thresholds.setdefault(place(spec)[0], set()).add(spec.factors.get("threshold", DEFAULT_THRESHOLD))
            for at, folds in self._folds.items():
                known = thresholds[at].pop() if len(thresholds[at]) == 1 else DEFAULT_THRESHOLD
                self._begun[at] = Fits(self._wanted, folds, at.metric, known, self._pool)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def __call__(
        self,
        at: Place,
        rows: Sequence[Row],
        common: Mapping[str, Factor],
        tell: Callable[[str], None] = lambda line: None,
    ) -> tuple[Sequence[Row], Sequence[str]]:
        """What stands beside the runs of a place, and in a line each what was left out and why; see ``report.sections``."""
        if at not in self._folds:
            return (), ()
        if set(self._wanted) != {AUTO}:
            tell(f"fitting baselines on {len(self._folds[at])} splits of {at.dataset}")
        threshold, fits = common.get("threshold", DEFAULT_THRESHOLD), self._begun.get(at)
        if fits is None or fits.threshold != threshold:
            fits = Fits(self._wanted, self._folds[at], at.metric, threshold)
        found, notes = fits.rows(common)
        self.kept[data_key(at)] = [[row.factors[BASELINE], row.seed, row.fold, dict(row.metrics)] for row in found]
        return found, notes
