"""The long table of a sweep as a DataFrame: a row for each run, whatever became of it.

Columns: id, status, seed, fold, reason; then what was chosen, as text; then what was measured.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dlrun.comparison.table import Row, frame, parsed, rows_of
from dlrun.results.record import RunRecord
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep

if TYPE_CHECKING:
    import pandas


def of_sweep(sweep: Sweep, store: Store, beside: Iterable[Row] = ()) -> "pandas.DataFrame":
    """The runs of a sweep in the order of its grid, skipped ones too; then rows from elsewhere, such as baselines.

    ``attrs["folder"]`` of the table is the sweep's.
    """
    records = {record.id: record for record in _in_its_words(sweep, sweep.refresh(store))}
    measured = dict(zip(records, rows_of(records.values(), sweep.overrides()), strict=True))
    options = Options([(parsed(cell.overrides), measured[cell.id].factors) for cell in sweep.cells if cell.id in measured])
    rows = [
        measured.get(cell.id)
        or Row(cell.id, cell.status, cell.seed, cell.fold, options.of(parsed(cell.overrides)), {}, cell.reason)
        for cell in sweep.cells
    ]
    table = frame([*rows, *beside])
    table.attrs["folder"] = str(sweep.folder)
    return table


class Options:
    """What runs that have no record, since they were skipped or not reached, have in common with those of the same words.

    Args:
        known: the words of each run that has a record, as key -> value without seed and fold, and what that run is told by.
    """

    def __init__(self, known: Sequence[tuple[Mapping[str, str], Mapping[str, str]]]) -> None:
        self._same = {tuple(sorted(words.items())): factors for words, factors in known}
        first = known[0][1] if known else {}
        self._common = {key: value for key, value in first.items() if all(other.get(key) == value for _, other in known)}

    def of(self, words: Mapping[str, str]) -> dict[str, str]:
        """What a run of these words is told by."""
        same = self._same.get(tuple(sorted(words.items())))
        return dict(same) if same is not None else {**self._common, **words}


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
