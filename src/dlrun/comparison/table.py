"""The long table of runs, and its summary: one group for everything that varies except seed and fold.

Pure functions: rows in, groups out. Nothing here knows the disk or the terminal.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from dlrun.comparison.factors import Factor, distinct, filled, label
from dlrun.comparison.measures import bounds
from dlrun.comparison.pairing import Key, Lost, common, defined, lost
from dlrun.comparison.summary import Summary, summarize
from dlrun.errors import InputError, nearest
from dlrun.results.record import MEASURED, STATUSES, RunRecord

if TYPE_CHECKING:
    import pandas

REPEATS = ("seed", "fold")  # what is repeated and not compared
MEASURES = ("parameters", "epochs", "seconds")  # numbers of every run that no split belongs to
BASELINE = "baseline"  # the factor by which a row that is no run is known
_MODEL = "model"  # decides which other groups a run has
_DATA = "dataset"  # what a baseline depends on begins with it
_FLAT = frozenset({"id", "status", "reason", *REPEATS})


@dataclass(frozen=True, slots=True)
class Row:
    """One run: what tells it from others (``factors``) and what was measured (``metrics``, by split/name)."""

    id: str
    status: str
    seed: int = 0
    fold: int | None = None
    factors: Mapping[str, Factor] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    reason: str = ""

    @staticmethod
    def of(source: "Row | RunRecord | Mapping[str, Any]", factors: Mapping[str, Factor] | None = None) -> "Row":
        """A row from a record or from a flat mapping, in which a key with a slash (``test/r2``) is a metric.

        Args:
            factors: of a record, where they are not the record's own.
        """
        if isinstance(source, Row):
            return source
        if isinstance(source, RunRecord):
            measures = {name: float(getattr(source, name)) for name in MEASURES}
            measures |= {f"{subset}/rows": float(rows) for subset, rows in source.data.get("sizes", {}).items()}
            measures |= {f"{subset}/fixed": 1.0 for subset in source.data.get("fixed", ())}
            numbers = {key: item for key, item in source.diagnostics.items() if item is None or isinstance(item, int | float)}
            return Row(
                source.id,
                source.status,
                source.seed,
                source.fold,
                source.factors if factors is None else factors,
                {**measures, **numbers, **source.metrics},
                source.reason,
            )
        metrics = {key: value for key, value in source.items() if key in MEASURES or "/" in key}
        factors = {key: value for key, value in source.items() if key not in _FLAT and key not in metrics}
        head = {key: source[key] for key in _FLAT if key in source}
        return Row(**{"id": "", "status": "done", **head, "factors": factors, "metrics": metrics})


@dataclass(frozen=True)
class Group:
    """Runs that differ in seed and fold alone.

    Args:
        factors: what varies in the table -> the value here; empty where it does not apply.
        rows: all runs of the group, however they ended.
        summaries: metric -> its summary over the measured runs, for metrics that have a finite value.
    """

    factors: Mapping[str, Factor]
    rows: tuple[Row, ...]
    summaries: Mapping[str, Summary]
    _values: dict[str, dict[Key, float]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def label(self) -> str:
        """What tells this group from the others, as a user would type it: ``activation=relu optimizer.lr=0.01``."""
        return label(self.factors)

    @property
    def is_baseline(self) -> bool:
        """Whether it is an estimator that stands beside the runs."""
        return bool(self.factors.get(BASELINE))

    @property
    def statuses(self) -> dict[str, int]:
        """How many runs ended in each way, in the order of ``STATUSES``."""
        counted = Counter(row.status for row in self.rows)
        return {status: counted[status] for status in dict.fromkeys((*STATUSES, *counted)) if counted[status]}

    @property
    def keys(self) -> frozenset[Key]:
        """The seeds and folds for which it has a run, however that ended."""
        return frozenset((row.seed, row.fold) for row in self.rows)

    def values(self, metric: str) -> Mapping[Key, float]:
        """(seed, fold) -> value of ``metric``, NaN where the run has none."""
        if metric not in self._values:
            self._values[metric] = {(row.seed, row.fold): _value(row, metric) for row in self.rows}
        return self._values[metric]

    def finite(self, metric: str) -> list[float]:
        """The values of ``metric``, without those that are missing or not finite."""
        return _finite(self.rows, metric)

    def chosen(
        self, metric: str, among: int, within: tuple[float, float], *, higher_is_better: bool, ratio: float = 0.0
    ) -> "Group":
        """The group as the best ``among`` several: the interval of ``metric`` reaches as far as the choice may have lifted it."""
        if among < 2:
            return self
        side: Literal["low", "high"] = "low" if higher_is_better else "high"
        found = summarize(self.finite(metric), within, ratio=ratio, chosen=among, side=side)
        return self if found is None else replace(self, summaries={**self.summaries, metric: found})

    def lost(self, elsewhere: Collection[Key], metric: str) -> Lost | None:
        """The runs without a value of ``metric`` at the seeds and folds ``elsewhere``, where other groups have one."""
        endings = {(row.seed, row.fold): "undefined" if row.status in MEASURED else row.status for row in self.rows}
        return lost(self.values(metric), elsewhere, endings)


def groups(
    rows: Iterable[Row | RunRecord | Mapping[str, Any]],
    metric: str,
    *,
    higher_is_better: bool,
    metrics: Sequence[str] = (),
    ratio: float = 0.0,
) -> list[Group]:
    """Summarize the long table by everything that varies except seed and fold, best group first.

    Groups are ranked by their means over the seeds and folds that most of them share (see ``pairing.common``). After them come
    groups that lack some of those, and groups that lost runs of which others have a value: what is left is no fair sample of
    them. Groups without any value come last. What is the same in all runs is left out. Baselines depend on the data alone:
    however many sweeps the rows are from, each stands there once.

    Args:
        metric: the one that sorts.
        metrics: others to be summarized.
        ratio: (test rows) / (training rows) of folds, which share rows: intervals of means are wider then; see ``shared_rows``.

    Raises:
        InputError: rows have been measured, and none has ``metric``; or a group has a seed and fold twice, with other values.
    """
    table = completed(Row.of(row) for row in rows)
    _check_metric(table, metric)
    varying = factors_that_vary(table)
    cells: dict[tuple[tuple[bool, Factor], ...], dict[str | Key, Row]] = {}
    known: dict[int, tuple[bool, dict[str | Key, Row]]] = {}  # rows that share their factors are of one group
    for number, row in enumerate(table):
        if id(row.factors) not in known:
            beside = bool(row.factors.get(BASELINE))
            values = [row.factors.get(name, "") if not beside or name.startswith((BASELINE, _DATA)) else "" for name in varying]
            known[id(row.factors)] = beside, cells.setdefault(tuple(map(distinct, values)), {})
        beside, members = known[id(row.factors)]
        this = (row.seed, row.fold) if beside else row.id or str(number)
        if this not in members or row.status in MEASURED:  # a run that the table has twice counts once
            members[this] = row
    names = dict.fromkeys((metric, *metrics))
    within = {name: extent(table, name) for name in names}
    found = []
    for key, members in cells.items():
        factors = {name: value for name, (_, value) in zip(varying, key, strict=True)}
        mine = _one_each(members.values(), metric, factors)
        summaries = {name: _summary(mine, name, within[name], ratio) for name in names}
        found.append(Group(factors, mine, {name: summary for name, summary in summaries.items() if summary is not None}))
    return _ranked(found, metric, higher_is_better)


def completed(rows: Iterable[Row]) -> list[Row]:
    """The rows, each with the factors that only others name (see ``factors.filled``); one of an id has those of all of its id."""
    table = [*rows]
    said = {id(row.factors): {key: value for key, value in row.factors.items() if value != ""} for row in table}
    known: dict[str, Mapping[str, Factor]] = {}
    for row in table:
        if row.id:
            mine = said[id(row.factors)]
            before = known.setdefault(row.id, mine)
            if before is not mine:
                known[row.id] = {**before, **mine}
    every = filled([known.get(row.id, row.factors) if row.status in MEASURED else row.factors for row in table])
    return [
        row if factors is row.factors or factors == row.factors else replace(row, factors=factors)
        for row, factors in zip(table, every, strict=True)
    ]


def factors_that_vary(rows: Sequence[Row]) -> list[str]:
    """The factors with more than one value, in the order in which they are first met.

    A setting that has one value for each option of its group, such as a default, says nothing beside the option. Neither does a
    group that the models of some runs have no use for, and that has one value in all others: the model says it.
    Beside runs, baselines differ from them in being baselines, and in nothing else.
    """
    every = list({id(row.factors): row.factors for row in rows}.values())  # runs that differ in their seeds alone share them
    names = dict.fromkeys(name for factors in every for name in factors)
    runs = [factors for factors in every if not factors.get(BASELINE)] or every
    return [name for name in names if _varies(every if name == BASELINE else runs, name)]


def _varies(several: Sequence[Mapping[str, Factor]], name: str) -> bool:
    """Whether a factor tells rows apart that its option, or the model, does not tell apart already."""
    values = [factors.get(name, "") for factors in several]
    known = {(value is True or value is False, value) for value in values}
    if len(known) < 2:
        return False
    if "." in name:
        follows = name.partition(".")[0]
    elif len(known) == 2 and (False, "") in known and name not in (_MODEL, BASELINE):
        follows = _MODEL
    else:
        return True
    options = [factors.get(follows, "") for factors in several]
    return len({*zip(options, map(distinct, values), strict=True)}) > len({*options})


def shared_rows(rows: Iterable[Row], subset: str) -> float:
    """(rows of ``subset``) / (training rows), on average, when the runs are of several folds; 0 when they are not.

    It is what the comparison of folds needs to know, since they share training rows (Nadeau & Bengio 2003). Of a table that does
    not say how many rows there were, the folds are taken for all there are, without validation rows.
    """
    runs = [row for row in rows if not row.factors.get(BASELINE)]
    folds = len({row.fold for row in runs})
    if subset == "train" or folds < 2:
        return 0.0
    found = _rows_for_one(runs, subset)
    return 1 / (folds - 1) if found is None else found


def resplit(rows: Iterable[Row], subset: str) -> float | None:
    """(rows of ``subset``) / (training rows) of runs that all split the same rows, by seeds or folds.

    It is what a statement about new rows needs to know. None for metrics of training rows and for those that no row is measured
    by, where a table of seeds does not say how many rows there were, and where the rows are the same for all seeds: these differ
    in their training alone, which tells nothing of other rows.
    """
    runs = [row for row in rows if not row.factors.get(BASELINE)]
    if subset not in ("validation", "test"):
        return None
    return shared_rows(runs, subset) or (None if is_fixed(runs, subset) else _rows_for_one(runs, subset))


def is_fixed(rows: Iterable[Row], subset: str) -> bool:
    """Whether ``subset`` has the same rows for all seeds, as the data says which these are."""
    return any(row.metrics.get(f"{subset}/fixed") for row in rows)


def _rows_for_one(runs: Iterable[Row], subset: str) -> float | None:
    """Rows of ``subset`` for one training row, on average; None where no run says."""
    sizes = [(row.metrics.get(f"{subset}/rows"), row.metrics.get("train/rows")) for row in runs]
    found = [tested / trained for tested, trained in sizes if tested and trained]
    return sum(found) / len(found) if found else None


def frame(rows: Iterable[Row | RunRecord | Mapping[str, Any]]) -> "pandas.DataFrame":
    """The long table as a DataFrame: one row a run; id, status, seed, fold, reason, then factors, then metrics."""
    import pandas

    table = completed(Row.of(row) for row in rows)
    head = ("id", "status", "seed", "fold", "reason")
    factors = dict.fromkeys(name for row in table for name in row.factors)
    metrics = dict.fromkeys(name for row in table for name in row.metrics)
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in table] for name in head}
    columns |= {name: _column([row.factors.get(name) for row in table]) for name in factors}
    columns |= {name: [_number(row.metrics.get(name)) for row in table] for name in metrics}
    return pandas.DataFrame(columns)


def _column(values: list[Factor | None]) -> list[Any]:
    """The values of a factor: numbers where all that are there are numbers, so that they sort and draw; else as they are."""
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values if value is not None)
    return [(math.nan if numeric else "") if value is None else value for value in values]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _value(row: Row, metric: str) -> float:
    return _number(row.metrics.get(metric)) if row.status in MEASURED else math.nan


def _finite(rows: Iterable[Row], metric: str) -> list[float]:
    """The values of a metric that are there and finite."""
    values = [row.metrics.get(metric) for row in rows if row.status in MEASURED]
    return [value for value in values if value is not None and math.isfinite(value)]


def extent(rows: Iterable[Row], metric: str) -> tuple[float, float]:
    """The bounds of a metric; where it has none and all of its values are positive, 0 is one."""
    known = bounds(metric)
    if any(map(math.isfinite, known)):
        return known
    values = [value for row in rows if row.status in MEASURED and (value := row.metrics.get(metric)) is not None]
    return (0.0, math.inf) if values and min(values) > 0 else known


def _summary(rows: Iterable[Row], metric: str, within: tuple[float, float], ratio: float) -> Summary | None:
    return summarize(_finite(rows, metric), within, ratio=ratio)


def _one_each(rows: Iterable[Row], metric: str, factors: Mapping[str, Factor]) -> tuple[Row, ...]:
    """The rows of a group, one for each seed and fold; which of two different ones to take is not known."""
    kept: dict[Key, Row] = {}
    for row in rows:
        first = kept.setdefault((row.seed, row.fold), row)
        if first is row:
            continue
        one, other = _value(first, metric), _value(row, metric)
        if one != other and not (math.isnan(one) and math.isnan(other)):
            where = f"seed {row.seed}" + (f", fold {row.fold}" if row.fold is not None else "")
            raise InputError(
                f"{label(factors)}: {where} is there twice, with {metric} {one:.6g} and {other:.6g}; keep one of the two runs, "
                "or put what tells them apart into a column of its own, as text"
            )
    return tuple(kept.values())


def _ranked(found: Sequence[Group], metric: str, higher_is_better: bool) -> list[Group]:
    """Best first, those that are no fair comparison after the others."""
    runs = [group for group in found if metric in group.summaries and not group.is_baseline]
    shared = common([group.keys for group in runs])
    every = frozenset[Key]().union(*(defined(group.values(metric)) for group in runs))

    def rank(group: Group) -> tuple[int, float]:
        if metric not in group.summaries:
            return 2, 0.0
        values = group.values(metric)
        at_shared = [value for key, value in values.items() if key in shared and math.isfinite(value)]
        mean = math.fsum(at_shared) / len(at_shared) if at_shared else group.summaries[metric].mean
        apart = not shared <= group.keys or group.lost(every, metric) is not None
        return int(apart), -mean if higher_is_better else mean

    return sorted(found, key=rank)


def _check_metric(rows: Sequence[Row], metric: str) -> None:
    measured = [row for row in rows if row.status in MEASURED]
    if measured and not any(metric in row.metrics for row in measured):
        known = list(dict.fromkeys(name for row in measured for name in row.metrics))
        raise InputError(f"metric={metric}: no run has it; there are {', '.join(known[:12])}{nearest(metric, known)}")
