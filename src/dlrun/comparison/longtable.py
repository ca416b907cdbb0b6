"""The long table of a sweep as a DataFrame: a row for each run, whatever became of it.

Columns: id, status, seed, fold, reason; then the factors, numbers as numbers; then what was measured.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from dlrun.comparison.table import REPEATS, Row, frame
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep

if TYPE_CHECKING:
    import pandas


TUNED = "tuned"  # the factor of runs that report what was chosen (see experiments/tuning): true, or false for the default


def reported(table: "pandas.DataFrame") -> "pandas.DataFrame":
    """Where a sweep tuned settings, the runs that report what was chosen, and what stands beside them; else the whole table."""
    import pandas

    repeats = [name for name in REPEATS if name in table]
    if TUNED not in table or not repeats:
        return table
    keys = pandas.MultiIndex.from_frame(table[repeats].fillna(-1))  # a run without folds has none
    return table[keys.isin(keys[table[TUNED].notna() & (table[TUNED] != "")])]


def of_sweep(sweep: Sweep, store: Store, beside: Iterable[Row] = ()) -> "pandas.DataFrame":
    """The runs of a sweep in the order of its grid, skipped ones too; then rows from elsewhere, such as baselines.

    ``attrs["folder"]`` of the table is the sweep's.
    """
    measured = {record.id: Row.of(record) for record in sweep.refresh(store)}
    rows = [
        replace(measured[cell.id], factors=cell.factors or measured[cell.id].factors)
        if cell.id in measured
        else Row(cell.id, cell.status, cell.seed, cell.fold, cell.factors, {}, cell.reason)
        for cell in sweep.cells
    ]
    table = frame([*rows, *beside])
    table.attrs["folder"] = str(sweep.folder)
    return table
