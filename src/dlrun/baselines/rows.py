"""Baselines: estimators that need no network, fitted on the same rows as the runs and measured by the same metrics.

    baseline: auto | none | [mean,linear,ridge,...]        auto: those that cost next to nothing, in the table of a sweep

They are fitted anew for every table, since that is quick, and are rows of the comparison table like any other: paired with the
runs by seed and fold, corrected with them for the number of comparisons. The reference of the table is always a run.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from dlrun.baselines.estimators import ESTIMATORS, TFIDF
from dlrun.baselines.sample import Predict, Sample
from dlrun.comparison.factors import Factor
from dlrun.comparison.table import BASELINE, Row
from dlrun.components.arrays import Array, quiet
from dlrun.components.tasks import TASKS, Link, Task
from dlrun.data.dataset import Data
from dlrun.data.modality import TABLE
from dlrun.data.preprocessing import Preprocessing, Scalings
from dlrun.data.splits import Split, Splits
from dlrun.engine.batches import SUBSETS, Batches, Here
from dlrun.engine.cohort import DEFAULT_THRESHOLD, Threshold
from dlrun.engine.measuring.derived import Derived
from dlrun.engine.measuring.evaluation import figure
from dlrun.engine.measuring.forms import Forms, Kind
from dlrun.engine.measuring.thresholds import cuts
from dlrun.errors import nearest

AUTO, NONE = "auto", "none"
RATE = 4e9  # operations a second, about
QUICK = 3.0  # seconds that auto spends on one estimator at most
LARGEST = 1 << 27  # numbers that the products of features may hold for one split
TOGETHER = 1 << 21  # numbers of the splits that are fitted together

Key = tuple[int, int | None]  # seed, fold
_X = ("fill", "shift", "factor")  # what is fitted on features
_KINDS: dict[Link, Kind] = {"identity": ("value", "identity"), "sigmoid": ("logit", "sigmoid"), "softmax": ("logit", "exp")}
"""What a prediction of an estimator is (see Predict), by what the task makes of a logit."""


@dataclass(frozen=True)
class Fold:
    """What runs of one seed and fold are trained on."""

    data: Data
    split: Split
    preprocessing: Preprocessing


class Folds(Mapping[Key, Fold]):
    """What runs of several seeds and folds are trained on: one dataset, prepared in one way, held as arrays.

    Args:
        keys: of each split.
    """

    def __init__(self, data: Data, keys: Iterable[Key], splits: Splits, scalings: Scalings) -> None:
        self.data, self.splits, self.scalings = data, splits, scalings
        self._place = {key: number for number, key in enumerate(keys)}

    @staticmethod
    def of(folds: Mapping[Key, Fold]) -> "Folds":
        """The same, held as arrays."""
        if isinstance(folds, Folds):
            return folds
        several = [*folds.values()]
        splits, scalings = (Splits.of([fold.split for fold in several]), Scalings.of([fold.preprocessing for fold in several]))
        return Folds(several[0].data, folds, splits, scalings)

    def __getitem__(self, key: Key) -> Fold:
        place = self._place[key]
        return Fold(self.data, self.splits[place], self.scalings[place])

    def __iter__(self) -> Iterator[Key]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)

    def select(self, places: Sequence[int]) -> "Folds":
        """Those at some places."""
        keys = [*self._place]
        return Folds(self.data, [keys[place] for place in places], self.splits.select(places), self.scalings.select(places))


def names(value: Any) -> tuple[str, ...]:
    """The estimators that a value of ``baseline`` asks for, ``auto`` among them; none at all for none and null."""
    asked = [value] if isinstance(value, str) or value is None else list(value)
    return tuple(dict.fromkeys(str(name) for name in asked if name not in (None, NONE)))


def names_of(values: Iterable[Any]) -> tuple[str, ...]:
    """All that several values of ``baseline`` ask for together."""
    distinct = {str(value): value for value in values}
    return tuple(dict.fromkeys(name for value in distinct.values() for name in names(value)))


def baseline_problems(value: Any) -> list[str]:
    """What is wrong with a value of ``baseline``, one line each."""
    if not isinstance(value, str | list | tuple | None):
        return [f"baseline={value}: must be auto, none or a list of {', '.join(ESTIMATORS)}"]
    return [
        f"baseline={name}: must be auto, none or a list of {', '.join(ESTIMATORS)}{nearest(name, ESTIMATORS)}"
        for name in names(value)
        if name != AUTO and name not in ESTIMATORS
    ]


def beside(
    wanted: Sequence[str], folds: Mapping[Key, Fold], metric: str, factors: Mapping[str, Factor]
) -> tuple[list[Row], list[str]]:
    """Rows of a comparison, one for each estimator, seed and fold.

    Args:
        wanted: names of estimators, or auto.
        folds: the data of each seed and fold; one dataset, prepared in one way.
        metric: the one that the comparison is about; the task's usual ones are measured besides.
        factors: what all runs of the comparison have in common, for the rows to have too.

    Returns:
        The rows, and in a line each what was left out and why.
    """
    return Fits(wanted, folds, metric, factors.get("threshold", DEFAULT_THRESHOLD)).rows(factors)


class Fits:
    """Estimators and what they are to be fitted on, in parts of some splits each.

    Args:
        wanted, folds, metric: see ``beside``.
        threshold: the rule by which classes are predicted, that of all runs beside them.
        pool: fits them part by part from now on; without one they are fitted when their rows are asked for.
    """

    def __init__(
        self, wanted: Sequence[str], folds: Mapping[Key, Fold], metric: str, threshold: Threshold, pool: Executor | None = None
    ) -> None:
        self.threshold = threshold
        self._chosen, self._notes = choose(wanted, folds, metric)
        folds = Folds.of(folds)
        data = folds.data
        metrics = TASKS[data.task].metrics
        also = [name for name, known in metrics.items() if not known.takes_taus and (not known.fact or known.fact in data.facts)]
        measured = list(dict.fromkeys((metric, *also)))
        if self._chosen == ["mean"] and data.modality is TABLE:  # it looks at no feature: of a large table none need be scaled
            folds = _first_feature(folds)
        self._parts = _together(folds) if self._chosen else []
        self._works = [partial(_by_one_thread, self._chosen, part, measured, threshold) for part in self._parts]
        self._begun = [] if pool is None else [pool.submit(work) for work in self._works]

    def rows(self, factors: Mapping[str, Factor]) -> tuple[list[Row], list[str]]:
        """See ``beside``. Of parts that a pool has not come to, the last ones are fitted here."""
        told = {name: {**factors, BASELINE: name} for name in self._chosen}
        here = {}
        for number in reversed(range(len(self._parts))):
            if not self._begun or self._begun[number].cancel():
                here[number] = self._works[number]()
        rows = [
            Row("", "done", seed, fold, told[name], figures)
            for number, part in enumerate(self._parts)
            for name, several in (here[number] if number in here else self._begun[number].result()).items()
            for (seed, fold), figures in zip(part, several, strict=True)
        ]
        return rows, self._notes


def choose(wanted: Sequence[str], folds: Mapping[Key, Fold], metric: str) -> tuple[list[str], list[str]]:
    """The estimators to fit, and why others are not; see ``beside``."""
    data = next(iter(folds.values())).data
    task = TASKS[data.task]
    if wanted and not task.baselines:
        return [], [] if tuple(wanted) == (AUTO,) else [f"no baselines: there are none for {data.task} data"]
    if wanted and (metric not in task.metrics or task.metrics[metric].takes_taus):
        return [], [f"no baselines: they have no {metric}; type metric={task.main_metric} to compare with them"]
    chosen: dict[str, None] = {}
    notes = []
    for name in wanted:
        if name == AUTO:
            for cheap in _auto(data):
                seconds = _operations(cheap, data, folds) / RATE
                if seconds <= QUICK:
                    chosen[cheap] = None
                else:
                    notes.append(
                        f"baseline {cheap} left out: it would take about {seconds:.0f} s; type baseline=[{cheap}] for it"
                    )
        elif name not in task.baselines:
            notes.append(
                f"baseline {name} left out: it serves {', '.join(ESTIMATORS[name].tasks)} data, and {data.name} is {data.task}"
            )
        elif name == "naive" and not _lags(data):
            notes.append(f"baseline naive left out: {data.name} has no windows of a series, whose last value is named 'lag 0'")
        elif name == "seasonal" and not _steps(data):
            notes.append(
                f"baseline seasonal left out: {data.name} has no windows of a series, whose targets are named 'in 1' and so on"
            )
        elif name == "tfidf" and not data.vocabulary:
            notes.append(f"baseline tfidf left out: {data.name} has no texts, whose words it counts")
        elif name == "polynomial" and _products(data, folds) > LARGEST:
            notes.append(f"baseline polynomial left out: {_width(data)} features have {_products(data, folds):,} products in all")
        else:
            chosen[name] = None
    return list(chosen), notes


def _auto(data: Data) -> list[str]:
    """What every table can afford: quick to fit, and without scikit-learn, which takes seconds to import."""
    pointless = {
        "naive": not _lags(data),
        "seasonal": len(_lags(data)) < 2 or not _steps(data),
        "tfidf": not data.vocabulary,
        "linear": data.targets == data.features,  # a linear map that gives back its inputs is no achievement
    }
    return [name for name in TASKS[data.task].quick if not pointless.get(name, False)]


def _lags(data: Data) -> list[int]:
    """The columns that hold the values of a window, the last value first; none when the data is no windows of a series."""
    places = {name: place for place, name in enumerate(data.features)} if data.modality is TABLE else {}
    return [places[f"lag {lag}"] for lag in itertools.takewhile(lambda lag: f"lag {lag}" in places, itertools.count())]


def _steps(data: Data) -> list[int]:
    """How many steps behind the last value of a window each target is; none when their names do not say so."""
    said = [re.fullmatch(r"in (\d+)", name) for name in data.targets]
    return [int(each[1]) for each in said if each] if all(said) and _lags(data) else []


def _operations(name: str, data: Data, folds: Mapping[Key, Fold]) -> float:
    """Multiplications that fitting takes, about: folds have equally many training rows, or nearly so."""
    rows, width = len(folds) * next(iter(folds.values())).split.sizes[0], _width(data)
    fit = 1200.0 * rows * width * data.outputs  # of a logistic regression
    return {"linear": 8.0 * rows * width * width, "logistic": fit, "tfidf": len(TFIDF) * fit}.get(name, 0.0)


def _products(data: Data, folds: Mapping[Key, Fold]) -> int:
    width = _width(data)
    return width * (width + 3) // 2 * max(fold.split.sizes[0] for fold in folds.values())


def _width(data: Data) -> int:
    """How many numbers of a row an estimator sees."""
    return (TASKS[data.task].members or 1) * data.modality.flat_width(data.sample, data.words)


def _first_feature(folds: Folds) -> Folds:
    data = replace(folds.data, x=folds.data.x[:, :1], features=folds.data.features[:1], encoding=None)
    scalings = replace(folds.scalings, **{name: getattr(folds.scalings, name)[:, :1] for name in _X})
    return Folds(data, folds, folds.splits, scalings)


def _together(folds: Folds) -> list[Folds]:
    """Those whose splits have the same sizes, as many at a time as memory bears."""
    by_size: dict[tuple[int, ...], list[int]] = {}
    for place, sizes in enumerate(zip(*(each.tolist() for each in folds.splits.sizes()), strict=True)):
        by_size.setdefault(sizes, []).append(place)
    found = []
    for sizes, places in by_size.items():
        count = max(1, TOGETHER // (sum(sizes) * _width(folds.data)))
        found += [folds.select(places[start : start + count]) for start in range(0, len(places), count)]
    return found


def _by_one_thread(*given: Any) -> dict[str, list[dict[str, float | None]]]:
    """What ``_measure`` gives, with linear algebra by one thread."""
    from threadpoolctl import threadpool_limits

    # each of many small problems would be handed to several threads, which takes longer than solving it
    with threadpool_limits(1, "blas"):
        return _measure(*given)


def _measure(
    chosen: Iterable[str], folds: Folds, metrics: Sequence[str], threshold: Threshold
) -> dict[str, list[dict[str, float | None]]]:
    """For each estimator and each of the folds, which have the same sizes, the metrics on all subsets.

    ``threshold`` is the rule by which classes are predicted, that of all runs beside them.
    """
    data = folds.data
    table = Batches(data, folds.splits, folds.scalings, range(len(folds)), floats="float64")
    task = TASKS[data.task]
    subsets = {name: _rows(table, data, name) for name in SUBSETS if table.sizes[name]}
    sample = Sample(
        task=task,
        outputs=data.outputs,
        x=subsets["train"][0],
        y=subsets["train"][1],
        validation=subsets.get("validation"),
        window=_window(table, folds),
        steps=_steps(data),
        seeds=[seed for seed, _ in folds],
        clusters=data.clusters,
        users=data.users,
        words=len(data.vocabulary),
    )
    found = {}
    for name in chosen:
        predict = ESTIMATORS[name].fit(sample)
        figures: dict[str, list[float]] = {}
        forms_of, true_of = {}, {}

        def of_rows(here: Here, predict: Predict = predict) -> Array:
            return predict(_flat(data, table.inputs(here)))

        def of_others(x: Array, predict: Predict = predict) -> Array:
            return predict(_flat(data, table.prepare(x)))

        derived = Derived(table, data, sample.seeds, codes=of_rows, scores=of_others)
        for subset, (x, _) in subsets.items():
            here = table.sample(subset, table.sizes[subset])
            output = predict(x)
            if task.scaled and not task.clusters:
                output = table.original(output)
            more = derived.forms([task.metrics[name] for name in _asked(task, metrics, subset)], here)
            forms_of[subset] = Forms([_KINDS[task.link]] * len(folds), output, output, _made=more)
            true_of[subset] = table.true(here)
        cut = cuts([threshold] * len(folds), table, forms_of.get("validation"), true_of.get("validation"))
        for subset, made in forms_of.items():
            forms, true = replace(made, cut=cut), true_of[subset]
            facts = table.facts(subset)
            figures |= {
                f"{subset}/{name}": figure(task.metrics[name], forms, true, facts).tolist()
                for name in _asked(task, metrics, subset)
            }
        found[name] = [dict(zip(figures, mine, strict=True)) for mine in zip(*map(_finite, figures.values()), strict=True)]
    return found


def _asked(task: Task, metrics: Sequence[str], subset: str) -> list[str]:
    """The metrics that say something of a subset."""
    return [name for name in metrics if subset != "train" or not task.metrics[name].held_out]


def _finite(values: list[float]) -> list[float | None]:
    """The values, None in the place of those that are not finite."""
    return [value if math.isfinite(value) else None for value in values]


def _rows(table: Batches, data: Data, subset: str) -> tuple[Array, Array]:
    """Rows as lists of numbers [S, n, D], in which members of pairs and triplets stay apart, and their targets."""
    x, y = table.subset(subset)
    return _flat(data, x), y


def _flat(data: Data, x: Array) -> Array:
    return data.modality.flat(x, data.words)


def _window(table: Batches, folds: Folds) -> Callable[[Array], Array] | None:
    columns = _lags(folds.data)
    if not columns:
        return None
    shift, factor = (values[:, columns][:, None] for values in (folds.scalings.shift, folds.scalings.factor))
    y_shift, y_factor = (values[:, None, :, None] for values in (table.y_shift, table.y_factor))

    @quiet
    def window(x: Array) -> Array:
        values = np.where(factor > 0, x[..., columns] / factor, 0.0) + shift
        found: Array = (values[:, :, None] - y_shift) * y_factor
        return found

    return window
