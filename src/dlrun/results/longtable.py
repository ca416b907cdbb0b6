"""The long table of a sweep as a DataFrame, and back: a row for each run, whatever became of it.

Columns: id, status, seed, fold, reason; then what was chosen, as text; then what was measured.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dlrun import registry
from dlrun.results.record import RunRecord
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep
from dlrun.results.table import Row, frame, parsed, rows_of

if TYPE_CHECKING:
    import pandas

_HEAD = ("id", "status", "seed", "fold", "reason")


def of_sweep(sweep: Sweep, store: Store, beside: Iterable[Row] = ()) -> "pandas.DataFrame":
    """The runs of a sweep in the order of its grid, skipped ones too; then rows from elsewhere, such as baselines.

    ``attrs["folder"]`` of the table is the sweep's.
    """
    records = {record.id: record for record in _in_its_words(sweep, sweep.refresh(store))}
    overrides = sweep.overrides()
    rows = []
    for cell in sweep.cells:
        if cell.id in records:
            rows += rows_of([records[cell.id]], overrides)
        else:
            rows.append(Row(cell.id, cell.status, cell.seed, cell.fold, parsed(cell.overrides), {}, cell.reason))
    table = frame([*rows, *beside])
    table.attrs["folder"] = str(sweep.folder)
    return table


def _in_its_words(sweep: Sweep, records: Sequence[RunRecord]) -> list[RunRecord]:
    """The records with the options of this sweep: one that was taken over may have been trained under other words.

    What the sweep's words do not name is the same for all of its runs, or follows from what they name.
    """
    words = {run: parsed(overrides) for run, overrides in sweep.overrides().items()}
    named = {key for said in words.values() for key in said}
    first: dict[tuple[str, ...], str] = {}

    def option(record: RunRecord, group: str, chosen: str) -> str:
        if group in named:
            return chosen
        return first.setdefault((group, record.choices.get("dataset", ""), words[record.id].get("experiment", "")), chosen)

    return [
        replace(record, choices={group: option(record, group, chosen) for group, chosen in record.choices.items()})
        for record in records
    ]


def rows_of_frame(table: "pandas.DataFrame") -> list[Row]:
    """Rows from a long table. Texts, options and settings are factors; other numbers were measured."""
    import pandas

    names = [str(name) for name in table.columns if str(name) not in _HEAD]
    known = {*registry.groups(), "baseline"}
    factors = [
        name
        for name in names
        if name in known or ("." in name and "/" not in name) or not pandas.api.types.is_numeric_dtype(table[name])
    ]
    rows = []
    for number, values in enumerate(table.to_dict("records")):
        fold = values.get("fold")
        rows.append(
            Row(
                f"row {number}" if pandas.isna(run := values.get("id")) or not run else str(run),
                str(values.get("status", "done")),
                int(values.get("seed", 0)),
                None if fold is None or pandas.isna(fold) else int(fold),
                {name: "" if pandas.isna(values[name]) else str(values[name]) for name in factors},
                {name: float(values[name]) for name in names if name not in factors and not pandas.isna(values[name])},
            )
        )
    return rows
