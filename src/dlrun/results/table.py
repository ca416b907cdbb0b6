"""The long table of runs, and its summary: one group for everything that varies except seed and fold.

Pure functions: rows in, groups out. Nothing here knows the disk or the terminal.
"""

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from dlrun.errors import InputError, nearest
from dlrun.results.identity import OF_A_SWEEP
from dlrun.results.record import MEASURED, STATUSES, RunRecord

if TYPE_CHECKING:
    import pandas

REPEATS = ("seed", "fold")  # what is repeated and not compared
MEASURES = ("parameters", "epochs", "seconds")  # numbers of every run that no split belongs to
BASELINE = "baseline"  # the factor by which a row that is no run is known
_UNCOMPARED = frozenset({*REPEATS, BASELINE, "dataset.fold", "name", *OF_A_SWEEP})
_UNTOLD = frozenset({"logger", "experiment"})  # options that are no part of what a run computes, or bring such parts
_DATA = "dataset"  # what a baseline depends on begins with it
_SHARE, _ERROR = (0.0, 1.0), (0.0, math.inf)
_BOUNDS = {
    "r2": (-math.inf, 1.0),
    **dict.fromkeys(("rmse", "mae", "mse", "pinball", "log_loss", "brier"), _ERROR),
    **dict.fromkeys(("accuracy", "balanced_accuracy", "f1", "macro_f1", "micro_f1", "iou", "dice", "hamming"), _SHARE),
    **dict.fromkeys(("auroc", "average_precision", "anomaly_auroc", "coverage", "ece", "recall@1", "triplet_accuracy"), _SHARE),
}
_FLAT = frozenset({"id", "status", "reason", *REPEATS})


@dataclass(frozen=True, slots=True)
class Row:
    """One run: what was chosen (``factors``, as text) and what was measured (``metrics``, by split/name)."""

    id: str
    status: str
    seed: int = 0
    fold: int | None = None
    factors: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    reason: str = ""

    @staticmethod
    def of(source: "Row | RunRecord | Mapping[str, Any]", overrides: Sequence[str] | None = None) -> "Row":
        """A row from a record or from a flat mapping, in which a key with a slash (``test/r2``) is a metric.

        Args:
            overrides: the overrides to tell the run by, instead of those in the record.
        """
        if isinstance(source, Row):
            return source
        if isinstance(source, RunRecord):
            factors = told(source.choices, source.overrides if overrides is None else overrides)
            measures = {name: float(getattr(source, name)) for name in MEASURES}
            measures |= {f"{subset}/rows": float(rows) for subset, rows in source.data.get("sizes", {}).items()}
            numbers = {key: item for key, item in source.diagnostics.items() if item is None or isinstance(item, int | float)}
            return Row(
                source.id,
                source.status,
                source.seed,
                source.fold,
                factors,
                {**measures, **numbers, **source.metrics},
                source.reason,
            )
        metrics = {key: value for key, value in source.items() if key in MEASURES or "/" in key}
        factors = {key: str(value) for key, value in source.items() if key not in _FLAT and key not in metrics}
        head = {key: source[key] for key in _FLAT if key in source}
        return Row(**{"id": "", "status": "done", **head, "factors": factors, "metrics": metrics})


def rows_of(records: Iterable[RunRecord], overrides: Mapping[str, Sequence[str]] | None = None) -> list[Row]:
    """The long table of ``records``; ``overrides`` (run id -> overrides) goes before what the records say."""
    return [Row.of(record, None if overrides is None else overrides.get(record.id)) for record in records]


def told(choices: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, str]:
    """What a run is told by: the option chosen in each group, and overrides."""
    return {key: str(option) for key, option in choices.items() if key not in _UNTOLD} | parsed(overrides)


def parsed(overrides: Iterable[str]) -> dict[str, str]:
    """Overrides as key -> value, without the keys that are not compared (seed, fold, name, hydra.*, ...).

    ``+`` and ``++`` are dropped, ``~key`` has the value ``removed``.
    """
    found = {}
    for text in overrides:
        key, equals, value = text.lstrip("+").partition("=")
        if key.startswith("~"):
            key, value = key[1:], "removed"
        elif not equals:
            continue
        if key not in _UNCOMPARED and not key.startswith(("hydra.", "hydra/", "logger")):
            found[key] = value.strip("'\"") if value[:1] == value[-1:] else value
    return found


@dataclass(frozen=True, slots=True)
class Summary:
    """What n values of a metric come to; sd and the 95% interval of the mean (Student's t) are NaN below two values.

    The interval ends where the metric does: no accuracy is above 1.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float
    median: float
    minimum: float
    maximum: float


@dataclass(frozen=True)
class Group:
    """Runs that differ in seed and fold alone.

    Args:
        factors: what varies in the table -> the value here; empty where it does not apply.
        rows: all runs of the group, however they ended.
        summaries: metric -> its summary over the measured runs, for metrics that have a finite value.
    """

    factors: Mapping[str, str]
    rows: tuple[Row, ...]
    summaries: Mapping[str, Summary]

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

    def values(self, metric: str) -> dict[tuple[int, int | None], float]:
        """(seed, fold) -> value of ``metric``, NaN where it is missing, for the measured runs."""
        found = {}
        for row in self.rows:
            if row.status in MEASURED:
                value = row.metrics.get(metric)
                found[row.seed, row.fold] = math.nan if value is None else value
        return found


def label(factors: Mapping[str, str]) -> str:
    """Factors as a user would type them; ``all runs`` when nothing varies."""
    return " ".join(f"{key}={value}" for key, value in factors.items() if value != "") or "all runs"


def groups(
    rows: Iterable[Row | RunRecord | Mapping[str, Any]],
    metric: str,
    *,
    higher_is_better: bool,
    metrics: Sequence[str] = (),
) -> list[Group]:
    """Summarize the long table by everything that varies except seed and fold, best group first.

    Groups with a diverged run come after all that have none: what survived is not a fair sample of them. Groups without any
    value come last. What is the same in all runs is left out. Baselines depend on the data alone: however many sweeps the rows
    are from, each stands there once.

    Args:
        metric: the one that sorts.
        metrics: others to be summarized.

    Raises:
        InputError: rows have been measured, and none has ``metric``.
    """
    table = [Row.of(row) for row in rows]
    _check_metric(table, metric)
    varying = factors_that_vary(table)
    cells: dict[tuple[str, ...], dict[str, Row]] = {}
    for number, row in enumerate(table):
        beside = bool(row.factors.get(BASELINE))
        key = tuple(row.factors.get(name, "") if not beside or name.startswith((BASELINE, _DATA)) else "" for name in varying)
        this = f"{row.seed} {row.fold}" if beside else row.id or str(number)
        cells.setdefault(key, {})[this] = row  # a run that the table has twice counts once
    found = [
        Group(
            dict(zip(varying, key, strict=True)),
            tuple(members.values()),
            {
                name: summary
                for name in dict.fromkeys((metric, *metrics))
                if (summary := summarize(_finite(members.values(), name), bounds(name))) is not None
            },
        )
        for key, members in cells.items()
    ]
    return sorted(found, key=lambda group: _rank(group, metric, higher_is_better))


def factors_that_vary(rows: Sequence[Row]) -> list[str]:
    """The factors with more than one value, in the order in which they are first met.

    Beside runs, baselines differ from them in being baselines, and in nothing else.
    """
    names = dict.fromkeys(name for row in rows for name in row.factors)
    runs = [row for row in rows if not row.factors.get(BASELINE)] or rows
    return [name for name in names if len({row.factors.get(name, "") for row in (rows if name == BASELINE else runs)}) > 1]


def shared_rows(rows: Iterable[Row], subset: str) -> float:
    """(rows of ``subset``) / (training rows), on average, when the runs are of several folds; 0 when they are not.

    It is what the comparison of folds needs to know, since they share training rows (Nadeau & Bengio 2003). Of a table that does
    not say how many rows there were, the folds are taken for all there are, without validation rows.
    """
    runs = [row for row in rows if not row.factors.get(BASELINE)]
    folds = len({row.fold for row in runs})
    if subset == "train" or folds < 2:
        return 0.0
    sizes = [(row.metrics.get(f"{subset}/rows"), row.metrics.get("train/rows")) for row in runs]
    shares = [tested / trained for tested, trained in sizes if tested and trained]
    return sum(shares) / len(shares) if shares else 1 / (folds - 1)


def bounds(metric: str) -> tuple[float, float]:
    """The least and the largest value that a metric can have."""
    return _BOUNDS.get(metric.rpartition("/")[2], (-math.inf, math.inf))


def summarize(values: Sequence[float], within: tuple[float, float] = (-math.inf, math.inf)) -> Summary | None:
    """The summary of finite ``values``, which lie ``within`` bounds; None when there are none."""
    n = len(values)
    if n == 0:
        return None
    mean = math.fsum(values) / n
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)) if n > 1 else math.nan
    half = t_quantile(0.975, n - 1) * sd / math.sqrt(n) if n > 1 else math.nan
    smallest, largest = min(values), max(values)
    low = max(mean - half, min(within[0], smallest)) if n > 1 else math.nan
    high = min(mean + half, max(within[1], largest)) if n > 1 else math.nan
    return Summary(n, mean, sd, low, high, statistics.median(values), smallest, largest)


@lru_cache(maxsize=4096)
def t_quantile(share: float, df: int) -> float:
    """The quantile of Student's t with ``df`` degrees of freedom below which ``share`` of it lies."""
    from scipy.special import stdtrit

    return float(stdtrit(df, share))


def frame(rows: Iterable[Row | RunRecord | Mapping[str, Any]]) -> "pandas.DataFrame":
    """The long table as a DataFrame: one row a run; id, status, seed, fold, reason, then factors, then metrics."""
    import pandas

    table = [Row.of(row) for row in rows]
    head = ("id", "status", "seed", "fold", "reason")
    factors = dict.fromkeys(name for row in table for name in row.factors)
    metrics = dict.fromkeys(name for row in table for name in row.metrics)
    columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in table] for name in head}
    columns |= {name: [row.factors.get(name, "") for row in table] for name in factors}
    columns |= {name: [_number(row.metrics.get(name)) for row in table] for name in metrics}
    return pandas.DataFrame(columns)


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _finite(rows: Iterable[Row], metric: str) -> list[float]:
    values = (row.metrics.get(metric) for row in rows if row.status in MEASURED)
    return [value for value in values if value is not None and math.isfinite(value)]


def _rank(group: Group, metric: str, higher_is_better: bool) -> tuple[int, float]:
    summary = group.summaries.get(metric)
    if summary is None:
        return 2, 0.0
    survivors = any(row.status == "diverged" for row in group.rows)
    return int(survivors), -summary.mean if higher_is_better else summary.mean


def _check_metric(rows: Sequence[Row], metric: str) -> None:
    measured = [row for row in rows if row.status in MEASURED]
    if measured and not any(metric in row.metrics for row in measured):
        known = list(dict.fromkeys(name for row in measured for name in row.metrics))
        raise InputError(f"metric={metric}: no run has it; there are {', '.join(known[:12])}{nearest(metric, known)}")
