"""Comparing what the store has: runs of sweeps, or whatever runs are asked for, without composing or training anything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from dlrun.comparison.factors import Factor
from dlrun.comparison.groups import BEST
from dlrun.comparison.longtable import TUNED
from dlrun.comparison.table import BASELINE, Row, completed
from dlrun.errors import InputError, StoreError, nearest, plural, raise_all
from dlrun.report.sections import (
    Entry,
    Judged,
    Place,
    Section,
    check_metric,
    place_of,
    sections,
    with_experiments,
    with_symptoms,
)
from dlrun.results.find import find, is_run, one
from dlrun.results.record import MEASURED, RunRecord
from dlrun.results.store import Store
from dlrun.results.sweeps import Cell, Sweep

SETTLED = "settled"  # in the settings of a sweep: that its seeds were added until it was settled, and what came of it
TUNING = "tuning"  # in the settings of a sweep: the trials of each configuration that was tuned
BESIDE = "beside"  # in the settings of a sweep: what baselines got, by the data


@dataclass(frozen=True)
class Stored:
    """Runs of the store that are to be compared.

    Args:
        records: of those that have ended.
        factors: run id -> what it is told by.
        pending: runs of the sweeps that have not ended, or whose record is gone.
        beside: what baselines got, by the data.
        names: the names of the sweeps; none for runs that were found by their settings.
        notes: what is to know of them, a line each.
    """

    store: Store
    records: Sequence[RunRecord]
    factors: Mapping[str, Mapping[str, Factor]]
    pending: Sequence[Row] = ()
    beside: Mapping[str, Sequence[Any]] | None = None
    sweeps: Sequence[Sweep] = ()
    notes: Sequence[str] = ()


def of_words(store: Store, words: Sequence[str]) -> Stored:
    """The runs that words speak of: of sweeps (a folder, its name, the name it was given), with settings, ``key=value``, or one.

    Args:
        words: none for the latest sweep.

    Raises:
        InputError: a key that no run has, or a setting beside a sweep.
        StoreError: there is no such sweep.
    """
    where = [word for word in words if "=" in word and not word.startswith(("/", "."))]
    names = [word for word in words if word not in where]
    if len(words) == 1 and is_run(store, words[0]):
        record = one(store, words[0])
        return Stored(store, [record], {record.id: record.factors})
    if where and names:
        raise InputError(f"{' '.join(words)}: takes sweeps, or settings that runs have; give one of the two")
    return _found(store, where) if where else of_sweeps([Sweep.find(store, name) for name in names or ["latest"]])


def of_sweeps(several: Sequence[Sweep]) -> Stored:
    """The runs of sweeps, put together.

    Raises:
        StoreError: they are of several stores.
    """
    roots = {sweep.folder.parent.parent for sweep in several}
    if len(roots) > 1:
        raise StoreError(f"{', '.join(map(str, sorted(roots)))}: sweeps of several output folders; dlrun import takes one in")
    store = Store(roots.pop())
    notes: list[str] = []
    cells = {cell.id: cell for sweep in several for cell in _reported(sweep) if cell.id}
    records = store.records(cells, notes.append)
    there = {record.id for record in records}
    pending = [
        Row(cell.id, "pending" if cell.status in MEASURED else cell.status, cell.seed, cell.fold, cell.factors, {}, cell.reason)
        for cell in cells.values()
        if cell.id not in there
    ]
    skipped = sum(not cell.id for sweep in several for cell in sweep.cells)
    if skipped:
        notes.append(f"{plural(skipped, 'combination')} skipped or failed before training; dlrun status says why")
    if any(SETTLED in sweep.settings for sweep in several):
        notes.append("its seeds were added until it was settled: dlrun settle has the verdicts that allow for that, these do not")
    beside: dict[str, list[Any]] = {}
    for sweep in several:
        for key, rows in (sweep.settings.get(BESIDE) or {}).items():
            beside.setdefault(key, []).extend(rows)
    factors = {record.id: cells[record.id].factors or record.factors for record in records}
    return Stored(store, records, factors, pending, beside, several, notes)


def _reported(sweep: Sweep) -> list[Cell]:
    """The cells of a sweep; where it tuned settings, those that report what was chosen."""
    return [cell for cell in sweep.cells if TUNED in cell.factors] or sweep.cells


def _found(store: Store, where: Sequence[str]) -> Stored:
    found, damaged = find(store, where)
    records = [each.record for each in found]
    if not records:
        raise InputError(f"{' '.join(where)}: no run has that; dlrun runs lists what there is")
    return Stored(store, records, {record.id: record.factors for record in records}, notes=damaged)


def compare(
    stored: Stored,
    *,
    metric: str | None = None,
    by: Sequence[str] = (),
    reference: str | Sequence[str] | None = None,
    margin: float | None = None,
    higher_is_better: bool | None = None,
) -> list[Section]:
    """Compare them, place by place.

    Args:
        metric: such as ``rmse``, ``validation/rmse`` or ``dead_units[0]``; what each run was asked for by when None.
        by: the factors to compare by, means being taken over all others; all that vary when empty.
        reference, margin: see ``comparison``; what the first sweep was asked for when None.
        higher_is_better: for a metric of which it is not known.

    Raises:
        InputError: no run has such a metric or factor.
    """
    configs = stored.store.configs(record.id for record in stored.records)
    entries = [
        Entry.of(record, *place, record.choices, stored.factors[record.id])
        for record, place in _placed(stored.records, configs, metric)
    ]
    if metric is not None:
        entries = [_with_layers(entry, record) for entry, record in zip(entries, stored.records, strict=True)]
        check_metric(metric, [entry.row for entry in entries])
    entries = with_experiments([*entries, *_pending(stored.pending, entries)])
    if by:
        entries = _means(entries, by)
    usual: Mapping[str, Any] = next(iter(configs.values()), {})
    judged = Judged(
        usual.get("reference") or BEST if reference is None else reference,
        usual.get("margin") if margin is None and metric is None else margin,
        higher_is_better,
    )
    found = sections(entries, judged, _beside(stored.beside or {}))
    return with_symptoms(found, {record.id: record for record in stored.records})


def _placed(
    records: Sequence[RunRecord], configs: Mapping[str, Mapping[str, Any]], metric: str | None
) -> list[tuple[RunRecord, tuple[Place, Mapping[str, Any]]]]:
    """Each run with its place; the same settings on other data, such as a file that was changed, are another place."""
    known: dict[tuple[Any, ...], tuple[Place, Mapping[str, Any]]] = {}

    def place(record: RunRecord, data: str) -> tuple[Place, Mapping[str, Any]]:
        config = configs[record.id]
        asked = metric or config.get("metric")
        key = (id(config["dataset"]), id(config.get("loss")), record.choices.get("dataset"), record.data["task"], asked, data)
        if key not in known:
            known[key] = place_of(config, record.choices, record.data["task"], asked, record.data["name"], data)
        return known[key]

    sound = [record for record in records if record.id in configs and record.data.get("task")]
    prints: dict[str, set[str]] = {}
    for record in sound:
        prints.setdefault(place(record, "")[0].data, set()).add(str(record.data["fingerprint"]))
    return [
        (record, place(record, str(record.data["fingerprint"])[:8] if len(prints[place(record, "")[0].data]) > 1 else ""))
        for record in sound
    ]


def _pending(rows: Sequence[Row], entries: Sequence[Entry]) -> list[Entry]:
    """Runs that have not ended, each at the place of an ended one with the same data."""
    if not (rows and entries):
        return []
    places = {_of_data(entry.row): entry for entry in reversed(entries)}
    found = [(row, places.get(_of_data(row), entries[0])) for row in rows]
    return [Entry(row, entry.place, entry.settings, entry.experiment) for row, entry in found]


def _of_data(row: Row) -> tuple[tuple[str, Factor], ...]:
    return tuple(sorted((key, value) for key, value in row.factors.items() if key.partition(".")[0] == "dataset"))


def _with_layers(entry: Entry, record: RunRecord) -> Entry:
    """The run, with its diagnostics of single layers as figures: ``dead_units[0]``."""
    layers = {
        f"{name}[{place}]": value
        for name, values in record.diagnostics.items()
        if isinstance(values, list)
        for place, value in enumerate(values)
    }
    return replace(entry, row=replace(entry.row, metrics={**entry.row.metrics, **layers}))


def _means(entries: Sequence[Entry], by: Sequence[str]) -> list[Entry]:
    """One run for each value of the factors ``by``, seed and fold: the mean over what else varies; lost where one of them is.

    Raises:
        InputError: no run has such a factor.
    """
    rows = completed(entry.row for entry in entries)
    known = dict.fromkeys(name for row in rows for name in row.factors)
    unknown = [name for name in by if name not in known]
    raise_all([f"--by {name}: is no factor; there are {', '.join(known)}{nearest(name, known)}" for name in unknown])
    together: dict[Any, list[tuple[Entry, Row]]] = {}
    for entry, row in zip(entries, rows, strict=True):
        factors = tuple((name, row.factors.get(name, "")) for name in by)
        together.setdefault((entry.place, factors, row.seed, row.fold), []).append((entry, row))
    found = []
    for (_, factors, seed, fold), members in together.items():
        lost = next((row for _, row in members if row.status not in MEASURED), None)
        names = members[0][1].metrics if lost is None else ()
        metrics = {name: _mean([row.metrics.get(name) for _, row in members]) for name in names}
        ids = " ".join(row.id for _, row in members)
        row = Row(ids, "done" if lost is None else lost.status, seed, fold, dict(factors), metrics)
        found.append(replace(members[0][0], row=row))
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _beside(kept: Mapping[str, Sequence[Any]]) -> Callable[[Place, Sequence[Row], Mapping[str, Factor]], Any]:
    """What stands beside the runs of a place: the baselines that a sweep of that data had."""

    def rows(place: Place, runs: Sequence[Row], common: Mapping[str, Factor]) -> tuple[list[Row], list[str]]:
        wanted = {(row.seed, row.fold) for row in runs}
        mine = kept.get(data_key(place), ())
        found = {
            (name, seed, fold): Row("", "done", seed, fold, {**common, BASELINE: name}, metrics)
            for name, seed, fold, metrics in mine
            if (seed, fold) in wanted
        }
        has = any(name.rpartition("/")[2] == place.metric.rpartition("/")[2] for row in found.values() for name in row.metrics)
        return ([*found.values()] if has else []), []

    return rows


def data_key(place: Place) -> str:
    """What names the data of a place, whatever it is compared by."""
    return sha256(f"{place.data}\0{place.task}".encode(errors="backslashreplace")).hexdigest()[:16]
