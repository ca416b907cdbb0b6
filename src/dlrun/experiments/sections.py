"""The comparison table of a sweep: a section for each dataset, runs beside baselines, and its two files.

Groups of different data have no common scale, so each dataset, prepared in one way, is compared within itself.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlrun.components.metrics import METRICS
from dlrun.experiments.baselines import AUTO, Fold, Key, beside
from dlrun.experiments.folds import shared_rows
from dlrun.experiments.plan import Planned
from dlrun.experiments.spec import RunSpec
from dlrun.experiments.sweep import Grid
from dlrun.results.comparison import Compared, comparison
from dlrun.results.record import RunRecord
from dlrun.results.render import Cell, Table, full_table, to_csv, to_markdown
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep
from dlrun.results.table import factors_that_vary, rows_of

Place = tuple[str, str, str]  # the data with all its settings, the task, the metric


@dataclass(frozen=True)
class Section:
    """The comparison of the runs on one dataset. ``metric`` sorts and is tested; ``notes`` say what is not in the table."""

    dataset: str
    metric: str
    metrics: tuple[str, ...]
    compared: tuple[Compared, ...]
    notes: tuple[str, ...] = ()


def compare(grid: Grid, sweep: Sweep, store: Store, *, tell: Callable[[str], None] = lambda line: None) -> list[Section]:
    """Compare what the sweep has measured, dataset by dataset, on the test rows (validation where there are none).

    Args:
        tell: hears in a line of whatever may take long.
    """
    records = {record.id: record for record in store.records(dict.fromkeys(cell.id for cell in sweep.cells if cell.id))}
    members: dict[Place, list[RunRecord]] = {}
    for run, spec in grid.specs.items():
        if run in records:
            members.setdefault(place(spec), []).append(records[run])
    folds = folds_of(grid.cohorts) if grid.baselines else {}
    overrides = sweep.overrides()
    found = [section(at, mine, overrides, folds.get(at, {}), grid.baselines, tell=tell) for at, mine in members.items()]
    return [part for part in found if part is not None]


def section(
    at: Place,
    members: Sequence[RunRecord],
    overrides: Mapping[str, Sequence[str]] | None,
    folds: Mapping[Key, Fold],
    baselines: Sequence[str],
    *,
    tell: Callable[[str], None] = lambda line: None,
) -> Section | None:
    """Compare runs on one dataset with each other and with the baselines; None when the metric was not measured."""
    dataset, task, metric = at
    measured = {name for record in members for name in record.metrics}
    subset = next((name for name in ("test", "validation", "train") if f"{name}/{metric}" in measured), None)
    if subset is None:
        return None
    main = f"{subset}/{metric}"
    others = tuple(f"{subset}/{name}" for name in METRICS[task] if name != metric and f"{subset}/{name}" in measured)
    rows = rows_of(members, overrides)
    notes: list[str] = []
    if folds and baselines:
        if set(baselines) != {AUTO}:
            tell(f"fitting baselines on {len(folds)} splits of {dataset.split(chr(0))[0]}")
        varying = factors_that_vary(rows)
        common = {name: value for name, value in rows[0].factors.items() if name not in varying}
        more, notes = beside(baselines, folds, metric, common)
        rows += more
    compared = comparison(
        rows,
        main,
        higher_is_better=metric != "loss" and METRICS[task][metric].higher_is_better is not False,
        metrics=others,
        ratio=shared_rows(members, subset),
    )
    return Section(dataset, main, others, tuple(compared), tuple(notes))


def place(spec: RunSpec) -> Place:
    """What runs must share to be compared with each other."""
    values = {key: value for key, value in spec.config["dataset"].items() if key not in ("_target_", "fold")}
    name = str(spec.choices.get("dataset", spec.dataset.name))
    return f"{name}\0{sorted(map(str, values.items()))}", spec.preparation.task, spec.metric


def folds_of(cohorts: Iterable[Planned]) -> dict[Place, dict[Key, Fold]]:
    """The data of every seed and fold, section by section."""
    found: dict[Place, dict[Key, Fold]] = {}
    for planned in cohorts:
        cohort = planned.cohort
        mine = found.setdefault(place(planned.specs[0]), {})  # rows of a cohort share their data and how it is prepared
        for spec, run in zip(planned.specs, cohort.runs, strict=True):
            key = (spec.seed, spec.fold)
            if key not in mine:
                mine[key] = Fold(cohort.data, cohort.splits[run.split], cohort.preprocessing[run.split])
    return found


def write_tables(sections: Sequence[Section], sweep: Sweep) -> None:
    """comparison.csv (all sections, one header) and comparison.md (a table for each)."""
    tables = [full_table(part.compared, part.metric, part.metrics) for part in sections]
    columns = tuple(dict.fromkeys(column for table in tables for column in ("dataset", *table.columns)))
    rows: list[tuple[Cell, ...]] = []
    texts = []
    for part, table in zip(sections, tables, strict=True):
        name = part.dataset.split("\0")[0]
        for row in table.rows:
            cells: dict[str, Any] = {"dataset": name, **dict(zip(table.columns, row, strict=True))}
            rows.append(tuple(cells.get(column) for column in columns))
        notes = "".join(f"\n{note}\n" for note in part.notes)
        texts.append(f"## {name}: {part.metric}\n\n{to_markdown(table)}{notes}")
    sweep.write_comparison(to_csv(Table(columns, tuple(rows))), "\n".join(texts))
