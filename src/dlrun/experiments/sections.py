"""The comparison of a sweep that was just trained: its runs beside baselines, which are fitted on the same rows."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dlrun.baselines.rows import AUTO, Fold, Key, beside, choose
from dlrun.comparison.factors import Factor
from dlrun.comparison.groups import BEST, named, words_of
from dlrun.comparison.table import BASELINE, Row, groups
from dlrun.config.repeats import once
from dlrun.config.spec import RunSpec
from dlrun.engine.cohort import Cohort
from dlrun.experiments.planning.cohorts import Planned
from dlrun.experiments.sweep import Grid
from dlrun.report.sections import Entry, Judged, Place, Section, place_of, section, sections, with_experiments
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


def compare(reported: Reported, sweep: Sweep, *, tell: Callable[[str], None] = lambda line: None) -> list[Section]:
    """Compare what the sweep has measured, and keep what the baselines got with it.

    Args:
        tell: hears in a line of whatever may take long.
    """
    grid = reported.grid
    fitted = _Fitted(folds_of(grid.cohorts) if grid.baselines else {}, grid.baselines, tell, reported.notes)
    found = entries(grid.specs, reported.records, reported.told)
    compared = sections(found, Judged(grid.reference, grid.margin), fitted, kept=True)
    sweep.keep(BESIDE, fitted.kept)
    return compared


def of_run(planned: Planned, record: RunRecord, baselines: Sequence[str]) -> Section | None:
    """One run in a table with baselines."""
    fitted = _Fitted(folds_of([planned]), baselines)
    return section(place(planned.specs[0])[0], [Row.of(record)], Judged(), fitted)


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
        factors = {**spec.factors, **told.get(run, {})}
        found.append(Entry.of(record, *place(spec), spec.choices, factors))
    return with_experiments(found)


class _Folds(Mapping[Key, Fold]):
    """The data of seeds and folds, by where it is in cohorts: ten thousand of them are put together one by one."""

    def __init__(self) -> None:
        self.places: dict[Key, tuple[Cohort, int]] = {}

    def __getitem__(self, key: Key) -> Fold:
        cohort, split = self.places[key]
        return Fold(cohort.data, cohort.splits[split], cohort.preprocessing[split])

    def __iter__(self) -> Iterator[Key]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


def folds_of(cohorts: Iterable[Planned]) -> Mapping[Place, Mapping[Key, Fold]]:
    """The data of every seed and fold, place by place."""
    found: dict[Place, _Folds] = {}
    for planned in cohorts:
        for spec, run in zip(planned.specs, planned.cohort.runs, strict=True):
            found.setdefault(place(spec)[0], _Folds()).places.setdefault((spec.seed, spec.fold), (planned.cohort, run.split))
    return found


class _Fitted:
    """Baselines, fitted where they are wanted; ``kept`` has what they got, by the data."""

    def __init__(
        self,
        folds: Mapping[Place, Mapping[Key, Fold]],
        wanted: Sequence[str],
        tell: Callable[[str], None] = lambda line: None,
        notes: Mapping[Place, Sequence[str]] | None = None,
    ) -> None:
        self._folds, self._wanted, self._tell, self._notes = folds, wanted, tell, notes or {}
        self.kept: dict[str, list[Any]] = {}

    def __call__(self, at: Place, rows: Sequence[Row], common: Mapping[str, Factor]) -> tuple[Sequence[Row], Sequence[str]]:
        folds, more = self._folds.get(at), self._notes.get(at, ())
        if not folds or not self._wanted:
            return (), more
        if set(self._wanted) != {AUTO}:
            self._tell(f"fitting baselines on {len(folds)} splits of {at.dataset}")
        found, notes = beside(self._wanted, folds, at.metric, common)
        self.kept[data_key(at)] = [[row.factors[BASELINE], row.seed, row.fold, dict(row.metrics)] for row in found]
        return found, [*notes, *more]
