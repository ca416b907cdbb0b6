"""The comparison table of a sweep: a section for each dataset, runs beside baselines, and its two files.

Groups of different data have no common scale, so each dataset, prepared in one way, is compared within itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from dlrun.baselines.rows import AUTO, Fold, Key, beside, choose
from dlrun.comparison.factors import Factor
from dlrun.comparison.groups import BEST, Compared, comparison, named, words_of
from dlrun.comparison.table import BASELINE, Row, factors_that_vary, groups, shared_rows
from dlrun.components.metrics import METRICS
from dlrun.config.repeats import once
from dlrun.config.spec import RunSpec
from dlrun.errors import InputError
from dlrun.experiments.cohorts import Planned
from dlrun.experiments.sweep import Grid
from dlrun.report.columns import DETAIL, columns, legend, undefined
from dlrun.report.tables import Cell, Table, full_table, markdown_text, to_csv, to_markdown
from dlrun.results.record import RunRecord
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep

FILES = ("csv", "parquet")  # datasets that are called by their file's name


class Place(NamedTuple):
    """What runs must share to be compared: the data with all its settings, the task, the metric, and what that is measured by."""

    data: str
    task: str
    metric: str
    by: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Section:
    """The comparison of the runs on one dataset.

    Args:
        dataset: what it is called.
        metric: the one that sorts and is tested; ``metrics`` stand beside it.
        notes: what is not in the table, and why.
        settings: what tells it from other sections of the same dataset.
        kept: whether the sweep's folder has all figures.
    """

    dataset: str
    metric: str
    metrics: tuple[str, ...]
    compared: tuple[Compared, ...]
    notes: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    kept: bool = False

    @property
    def title(self) -> str:
        """``moons, dataset.noise=0.1``."""
        return ", ".join((self.dataset, *(f"{key}={value}" for key, value in self.settings.items())))


def compare(grid: Grid, sweep: Sweep, store: Store, *, tell: Callable[[str], None] = lambda line: None) -> list[Section]:
    """Compare what the sweep has measured, dataset by dataset, on the test rows (validation where there are none).

    Args:
        tell: hears in a line of whatever may take long.
    """
    records = {record.id: record for record in store.records(dict.fromkeys(cell.id for cell in sweep.cells if cell.id))}
    members: dict[Place, list[RunRecord]] = {}
    examples: dict[Place, RunSpec] = {}
    for run, spec in grid.specs.items():
        record = records.get(run) or RunRecord(run, "interrupted", seed=spec.seed, fold=spec.fold)  # it was not reached
        members.setdefault(at := place(spec), []).append(record)
        examples.setdefault(at, spec)
    folds = folds_of(grid.cohorts) if grid.baselines else {}
    factors, settings, experiments = factors_of(grid.specs), _settings(examples), _experiments(grid.specs)
    settings = {at: said | experiments.get(at, {}) for at, said in settings.items()}
    judged: Any = {"reference": grid.reference, "margin": grid.margin}
    found = [
        (at, section(at, mine, factors, folds.get(at, {}), grid.baselines, **judged, tell=tell)) for at, mine in members.items()
    ]
    return [replace(part, settings=settings[at], kept=True) for at, part in found if part is not None]


def check_reference(grid: Grid) -> None:
    """Whether what every group is to be compared with is one group of each table, before anything trains.

    Raises:
        InputError: it names none, or several.
    """
    if words_of(grid.reference) == [BEST]:
        return
    folds = folds_of(grid.cohorts) if grid.baselines else {}
    factors = factors_of(grid.specs)
    tables: dict[Place, list[Row]] = {}
    for run, spec in grid.specs.items():
        tables.setdefault(place(spec), []).append(Row(run, "pending", spec.seed, spec.fold, factors[run], {}))
    for at, rows in tables.items():
        known = choose(grid.baselines, folds[at], at.metric)[0] if at in folds else []
        more = [Row("", "pending", 0, None, {BASELINE: name}, {}) for name in known]
        named(groups([*rows, *more], "", higher_is_better=True), grid.reference)


def section(
    at: Place,
    members: Sequence[RunRecord],
    factors: Mapping[str, Mapping[str, Factor]] | None,
    folds: Mapping[Key, Fold],
    baselines: Sequence[str],
    *,
    reference: str | Sequence[str] = BEST,
    margin: float | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Section | None:
    """Compare runs on one dataset with each other and with the baselines; None when the metric was not measured.

    Args:
        factors: run id -> what it is told by; what the records say when None.
        reference, margin: see ``comparison``; a reference without a value is told in a note.
    """
    task, metric = at.task, at.metric
    dataset = at.data.partition("\0")[0]
    measured = {name for record in members for name in record.metrics}
    subset = next((name for name in ("test", "validation", "train") if f"{name}/{metric}" in measured), None)
    if subset is None:
        return None
    main = f"{subset}/{metric}"
    others = tuple(
        f"{subset}/{name}"
        for name, known in METRICS[task].items()
        if name != metric and f"{subset}/{name}" in measured and (known.default or known.takes_taus or known.fact)
    )
    if factors is None:
        rows = [Row.of(record) for record in members]
    else:
        rows = [replace(Row.of(record), factors=factors[record.id]) for record in members]
    varying = factors_that_vary(rows)
    notes: list[str] = []
    if folds and baselines:
        if set(baselines) != {AUTO}:
            tell(f"fitting baselines on {len(folds)} splits of {dataset}")
        common = {name: value for name, value in rows[0].factors.items() if name not in varying}
        more, notes = beside(baselines, folds, metric, common)
        rows += more
    better = metric != "loss" and METRICS[task][metric].higher_is_better is not False
    ratio = shared_rows(rows, subset)
    try:
        compared = comparison(
            rows, main, higher_is_better=better, reference=reference, metrics=others, margin=margin, ratio=ratio
        )
    except InputError as error:
        compared = comparison(rows, main, higher_is_better=better, metrics=others, margin=margin, ratio=ratio)
        notes = [*notes, *(f"{problem}, so the reference is the best" for problem in error.problems)]
    notes += undefined(compared, (main, *others))
    if not varying:  # one group of runs, which needs a name
        compared = [_named(item, str(rows[0].factors.get("model", ""))) for item in compared]
    return Section(dataset, main, others, tuple(compared), tuple(notes))


def _named(item: Compared, model: str) -> Compared:
    factors: dict[str, Factor] = {"model": "" if item.group.is_baseline else model, **item.group.factors}
    return replace(item, group=replace(item.group, factors=factors))


def factors_of(specs: Mapping[str, RunSpec]) -> dict[str, Mapping[str, Factor]]:
    """Run id -> its factors, with the name of its experiment in front where experiments differ and tell no equal runs apart."""
    names: dict[tuple[tuple[str, str], ...], set[str]] = {}
    for spec in specs.values():
        names.setdefault(_key(spec), set()).add(_experiment(spec))
    several = len(set().union(*names.values())) > 1
    return {
        run: {"experiment": _experiment(spec), **spec.factors} if several and len(names[_key(spec)]) == 1 else spec.factors
        for run, spec in specs.items()
    }


@once
def _key(spec: RunSpec) -> tuple[tuple[str, str], ...]:
    return tuple((name, str(value)) for name, value in spec.factors.items())


def _experiment(spec: RunSpec) -> str:
    name = spec.choices.get("experiment")
    return "" if name in (None, "None") else str(name)


def _experiments(specs: Mapping[str, RunSpec]) -> dict[Place, dict[str, str]]:
    """The experiment of each place whose runs are all of one, where there are several: its name is in no table's rows."""
    found: dict[Place, set[str]] = {}
    for spec in specs.values():
        found.setdefault(place(spec), set()).add(_experiment(spec))
    several = len(set().union(*found.values())) > 1
    return {at: {"experiment": name} for at, (name, *others) in found.items() if several and not others and name}


def _settings(examples: Mapping[Place, RunSpec]) -> dict[Place, dict[str, str]]:
    """What tells each place from others of the same dataset: settings of its data, its task, its metric."""
    alike: dict[str, dict[Place, dict[str, str]]] = {}
    for at, spec in examples.items():
        said = {f"dataset.{key}": _text(value) for key, value in _data(spec).items() if key != "task"}
        alike.setdefault(at.data.partition("\0")[0], {})[at] = said | {"task": at.task, "metric": at.metric} | dict(at.by)
    found: dict[Place, dict[str, str]] = {}
    for places in alike.values():
        names = dict.fromkeys(name for said in places.values() for name in said)
        varying = [name for name in names if len({said[name] for said in places.values() if name in said}) > 1]
        found |= {at: {name: said[name] for name in varying if name in said} for at, said in places.items()}
    return found


def _text(value: Any) -> str:
    return "null" if value is None else str(value)


def _data(spec: RunSpec) -> dict[str, Any]:
    return {key: value for key, value in spec.config["dataset"].items() if key not in ("_target_", "fold")}


@once
def place(spec: RunSpec) -> Place:
    """What runs must share to be compared with each other."""
    name, values = str(spec.choices.get("dataset", spec.dataset.name)), _data(spec)
    if name in FILES and isinstance(values.get("path"), str):
        name = Path(values["path"]).name
    return Place(f"{name}\0{sorted(map(str, values.items()))}", spec.preparation.task, spec.metric, _measured_by(spec))


def _measured_by(spec: RunSpec) -> tuple[tuple[str, str], ...]:
    """The loss with its settings, where it is the metric; the quantile levels, where the metric takes them."""
    if spec.metric == "loss":
        values = {f"loss.{key}": _text(value) for key, value in spec.row.loss.values.items()}
        return ("loss", spec.row.loss.name), *values.items()
    if METRICS[spec.preparation.task][spec.metric].takes_taus:
        return (("loss.tau", _text(spec.row.loss.values.get("tau", 0.5))),)
    return ()


def folds_of(cohorts: Iterable[Planned]) -> dict[Place, dict[Key, Fold]]:
    """The data of every seed and fold, section by section."""
    found: dict[Place, dict[Key, Fold]] = {}
    for planned in cohorts:
        cohort = planned.cohort
        places = {id(spec): place(spec) for spec in planned.specs}
        for spec, run in zip(planned.specs, cohort.runs, strict=True):
            mine, key = found.setdefault(places[id(spec)], {}), (spec.seed, spec.fold)
            if key not in mine:
                mine[key] = Fold(cohort.data, cohort.splits[run.split], cohort.preprocessing[run.split])
    return found


def write_tables(sections: Sequence[Section], sweep: Sweep) -> None:
    """comparison.csv (all sections and figures, one header) and comparison.md (what a person reads, a table for each)."""
    tables = [full_table(part.compared, part.metric, part.metrics) for part in sections]
    heads = dict.fromkeys(("dataset", *(key for part in sections for key in part.settings)))
    names = tuple(dict.fromkeys((*heads, *(column for table in tables for column in table.columns))))
    rows: list[tuple[Cell, ...]] = []
    texts = []
    for part, table in zip(sections, tables, strict=True):
        for row in table.rows:
            cells: dict[str, Any] = {"dataset": part.dataset, **part.settings, **dict(zip(table.columns, row, strict=True))}
            rows.append(tuple(cells.get(name) for name in names))
        shown = [item for item in columns(part.compared, part.metric, part.metrics) if item.rank < DETAIL]
        lines = "".join(f"\n{markdown_text(line)}\n" for line in (*legend(part.compared, shown), *part.notes))
        text = to_markdown([(item.name, item.cells, item.right) for item in shown])
        texts.append(f"## {markdown_text(f'{part.title}: {part.metric}')}\n\n{text}{lines}")
    sweep.write_comparison(to_csv(Table(names, tuple(rows))), "\n".join(texts))
