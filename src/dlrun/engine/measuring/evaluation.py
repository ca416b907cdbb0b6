"""Measuring a cohort: losses and metrics of every run on a subset, without touching what training changes.

Shapes: R runs, n rows of a subset, K outputs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dlrun.components.arrays import Array
from dlrun.components.metrics import Metric
from dlrun.components.metrics.regression import median
from dlrun.components.tasks import TASKS
from dlrun.data.dataset import Data
from dlrun.engine.batches import Batches, Here
from dlrun.engine.cohort import CohortRun
from dlrun.engine.measuring.derived import Derived
from dlrun.engine.measuring.forms import Forms
from dlrun.engine.measuring.thresholds import cuts, is_chosen
from dlrun.engine.step import TrainStep
from dlrun.engine.way import Way


def derived_of(train_step: TrainStep, table: Batches, way: Way) -> Derived:
    """What makes the forms of predictions that take a fit to training rows, with the parameters that ``way`` evaluates."""
    return Derived(table, train_step.data, train_step.seeds, codes=way.codes, scores=way.scores)


def predictions(train_step: TrainStep, table: Batches, output: Array, before: Array) -> Forms:
    """What the metrics see of outputs [R, n, K, ...] and what stands before the head."""
    if train_step.task.scaled:
        output = before = table.original(output)
    return Forms(train_step.kinds, output, before)


def measure(
    train_step: TrainStep,
    table: Batches,
    way: Way,
    subset: str,
    names: Sequence[str],
    limit: int | None = None,
    keep: Callable[[str, Forms], None] | None = None,
    cut: Array | None = None,
    derived: Derived | None = None,
) -> dict[str, Array]:
    """The loss and the named metrics of every run on a subset: {"loss": [R], "r2": [R], ...}.

    Args:
        way: computes outputs and losses.
        limit: of how many rows, at most.
        keep: is given what was predicted for all of them.
        cut: of the thresholds (see ``thresholds.cuts``); on validation rows they are chosen here where it is None.
        derived: makes the forms that take a fit to training rows, which several subsets share.
    """
    here = table.sample(subset, limit or table.sizes[subset])
    wanted = [name for name in names if name != "loss"]
    alike = len(table.spans(subset)) == 1
    loss, outputs = way.evaluate(here, bool(wanted) or keep is not None or not alike)
    if outputs is None:
        assert loss is not None
        return {"loss": loss}
    output, before = outputs
    every = predictions(train_step, table, output, before)
    if keep is not None:
        keep(subset, every)
    more = (derived or derived_of(train_step, table, way)).forms([train_step.task.metrics[name] for name in wanted], here)
    facts, true = (table.facts(subset, limit), table.true(here)) if wanted else ({}, output)
    if wanted and cut is None:
        known = (every, true) if subset == "validation" else (None, None)
        cut = cuts([run.threshold for run in train_step.runs], table, *known)
    every = replace(every, cut=cut)

    def figures(rows: slice) -> dict[str, Array]:
        if loss is not None and alike:  # else it is of more rows than some runs have
            found = {"loss": loss}
        else:
            found = {"loss": way.loss(_part(here, rows), (output[:, rows], before[:, rows]))}
        if wanted:
            known = {fact: values[:, rows] for fact, values in facts.items()}
            forms = every.of_rows(rows, {form: values[:, rows] if form == "cluster" else values for form, values in more.items()})
            for name in wanted:
                found[name] = figure_of(train_step, train_step.task.metrics[name], forms, true[:, rows], known)
        return found

    return by_size(table, subset, figures)


def _part(here: Here, rows: slice) -> Here:
    """Some of the rows of a subset, by their places in it."""
    if not isinstance(here, slice):
        return here[rows]
    places = range(here.start, here.stop)[rows]
    return slice(places.start, places.stop)


def thresholds(train_step: TrainStep, table: Batches, way: Way) -> Array | None:
    """The thresholds of the runs, as log odds [R, 1, K]; chosen on their validation rows where that is asked for."""
    rules = [run.threshold for run in train_step.runs]
    if not any(map(is_chosen, rules)):
        return cuts(rules, table, None, None)
    here = table.sample("validation", table.sizes["validation"])
    _, outputs = way.evaluate(here, True)
    assert outputs is not None
    return cuts(rules, table, predictions(train_step, table, *outputs), table.true(here))


def by_size(table: Batches, subset: str, figures: Callable[[slice], dict[str, Array]]) -> dict[str, Array]:
    """What ``figures`` [R] says of the rows that each run has: of all alike, or once for each size that the subset comes in."""
    (rows, _), *others = table.spans(subset)
    found = figures(rows)
    for rows, runs in others:
        for name, values in figures(rows).items():
            found[name][runs] = values[runs]
    return found


def figure(metric: Metric, forms: Forms, true: Array, facts: Mapping[str, Array]) -> Array:
    """A metric that needs no quantile levels, of targets [R, n, ...] in the units of the data: [R]."""
    options = {metric.fact: facts[metric.fact]} if metric.fact else {}
    return metric.function(*(forms[form] for form in metric.reads), true, **options)


def is_defined(name: str, data: Data, rows: NDArray[np.int64]) -> bool:
    """Whether a metric of the data's task has a value on these rows of it, whatever is predicted there (int64 [n])."""
    task = TASKS[data.task]
    metric = task.metrics[name]
    if not metric.needs or (metric.fact and metric.fact not in data.facts):
        return True
    y = data.y[rows][None]
    nothing = np.zeros((1, len(rows), *task.output_shape(data.outputs)))
    facts = {name: values[rows][None] for name, values in data.facts.items()}
    derived = {"cluster": np.zeros((1, len(rows)), np.int64), "ranking": np.ones((1, data.users, 1), np.int64)}
    return not np.isnan(figure(metric, Forms([("logit", "sigmoid")], nothing, nothing, None, derived), y, facts)).any()


def figure_of(train_step: TrainStep, metric: Metric, forms: Forms, true: Array, facts: Mapping[str, Array]) -> Array:
    """A metric of every run, quantiles judged by their levels, of targets [R, n, ...] in the units of the data: [R]."""
    if metric.takes_taus:
        return by_levels(train_step, forms.output, lambda p, rows, taus: metric.function(p, true[rows], taus=taus))
    if train_step.task.scaled and forms.output.shape[2] > true.shape[2]:  # quantiles: the one nearest to the median
        middle = by_levels(train_step, forms.output, lambda p, rows, taus: median(p, taus))
        forms = Forms(forms.kinds, middle, middle)
    return figure(metric, forms, true, facts)


def by_levels(
    train_step: TrainStep, predicted: Array, function: Callable[[Array, slice | list[int], list[float]], Array]
) -> Array:
    """[R, ...] from ``function`` (predictions, runs, levels), called once for the runs that share their quantile levels."""
    each = [levels(run) for run in train_step.runs]
    if len(set(each)) == 1:
        return function(predicted, slice(None), list(each[0]))
    out: Array | None = None
    for taus in dict.fromkeys(each):
        rows = [row for row, other in enumerate(each) if other == taus]
        found = function(predicted[rows], rows, list(taus))
        out = np.empty((len(each), *found.shape[1:]), found.dtype) if out is None else out
        out[rows] = found
    assert out is not None
    return out


def levels(run: CohortRun) -> tuple[float, ...]:
    """The quantile levels of a run's outputs; the median for a loss that has none."""
    tau = run.loss.values.get("tau", 0.5)
    return tuple(tau) if isinstance(tau, list | tuple) else (float(tau),)


def default_metrics(data: Data, runs: Sequence[CohortRun]) -> list[str]:
    """What is measured at the end: all metrics of the task, those of quantiles where a run has some, and those that take a fact
    where the data knows it.
    """
    quantiles = any("tau" in run.loss.values for run in runs)
    return [
        name
        for name, metric in TASKS[data.task].metrics.items()
        if (quantiles if metric.takes_taus else not metric.fact or metric.fact in data.facts)
    ]
