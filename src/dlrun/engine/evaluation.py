"""Measuring a cohort: losses and metrics of every run on a subset, without touching what training changes.

Shapes: R runs, n rows of a subset, K outputs.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from dlrun.components.losses import sparsemax
from dlrun.components.metrics import METRICS, Metric, median
from dlrun.data.dataset import Data
from dlrun.engine.cohort import Run
from dlrun.engine.layers import Pass
from dlrun.engine.machine import Machine
from dlrun.engine.parts import Rows
from dlrun.engine.tables import Table

CHUNK_NUMBERS = 1 << 24  # inputs and hidden values held at once during an evaluation


def outputs(machine: Machine, table: Table, subset: str, limit: int | None = None) -> tuple[Tensor, Tensor]:
    """Outputs of the model and targets for a subset, or for ``limit`` rows of it: [R, n, K], [R, n, ...]."""
    here = table.sample(subset, limit or table.sizes[subset])
    together = max(1, CHUNK_NUMBERS // (len(machine.runs) * max(machine.model.widest, math.prod(table.row_shape))))
    chunks: Sequence[Tensor | slice] = (
        [slice(start, min(start + together, here.stop)) for start in range(here.start, here.stop, together)]
        if isinstance(here, slice)
        else torch.split(here, together)
    )
    parts = [(machine.forward(x, Pass())[0], y) for x, y in map(table.at, chunks)]
    return parts[0] if len(parts) == 1 else (torch.cat([output for output, _ in parts], 1), torch.cat([y for _, y in parts], 1))


LINKS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda output: output,
    "sigmoid": torch.sigmoid,
    "softmax": lambda output: torch.softmax(output, 2),
    "exp": torch.exp,
    "sparsemax": sparsemax,
}
"""What makes a prediction of an output [R, n, K, ...], by the name that a run's loss gives it."""


def predictions(machine: Machine, table: Table, output: Tensor) -> Tensor:
    """What the metrics see: probabilities, or values in the units of the data (float64). [R, n, K] -> [R, n, K]."""
    if machine.task == "regression":
        return table.original(output)
    kinds = [run.prediction for run in machine.runs]
    if len(set(kinds)) == 1:
        return LINKS[kinds[0]](output)
    out = torch.empty_like(output)
    for kind in sorted(set(kinds)):
        rows = Rows([row for row, other in enumerate(kinds) if other == kind], len(kinds), output.device)
        rows.put(out, LINKS[kind](rows.take(output)))
    return out


def targets(machine: Machine, table: Table, y: Tensor) -> Tensor:
    """The targets in the units of the data."""
    return table.original(y) if machine.task == "regression" else y


def measure(machine: Machine, table: Table, subset: str, names: Sequence[str], limit: int | None = None) -> dict[str, Tensor]:
    """The loss and the named metrics of every run on a subset: {"loss": [R], "r2": [R], ...}."""
    output, y = outputs(machine, table, subset, limit)
    facts = table.facts(subset, limit)

    def figures(rows: slice) -> dict[str, Tensor]:
        known = {fact: values[:, rows] for fact, values in facts.items()}
        return _figures(machine, table, output[:, rows], y[:, rows], known, names)

    return by_size(table, subset, figures)


def by_size(table: Table, subset: str, figures: Callable[[slice], dict[str, Tensor]]) -> dict[str, Tensor]:
    """What ``figures`` [R] says of the rows that each run has: of all alike, or once for each size that the subset comes in."""
    (rows, _), *others = table.spans(subset)
    found = figures(rows)
    for rows, runs in others:
        for name, values in figures(rows).items():
            found[name][runs] = values[runs]
    return found


def _figures(
    machine: Machine, table: Table, output: Tensor, y: Tensor, facts: Mapping[str, Tensor], names: Sequence[str]
) -> dict[str, Tensor]:
    found = {"loss": machine.loss(output, y)}
    wanted = [name for name in names if name != "loss"]
    if wanted:
        predicted, true = predictions(machine, table, output), targets(machine, table, y)
        for name in wanted:
            found[name] = _metric(machine, METRICS[machine.task][name], predicted, true, facts)
    return found


def _metric(machine: Machine, metric: Metric, predicted: Tensor, true: Tensor, facts: Mapping[str, Tensor]) -> Tensor:
    if metric.takes_taus:
        return by_levels(machine, predicted, lambda p, rows, taus: metric.function(p, rows.take(true), taus=taus))
    if machine.task == "regression" and predicted.shape[2] > true.shape[2]:  # quantiles: the one nearest to the median
        predicted = by_levels(machine, predicted, lambda p, rows, taus: median(p, taus))
    return metric.function(predicted, true, **({metric.fact: facts[metric.fact]} if metric.fact else {}))


def by_levels(machine: Machine, predicted: Tensor, function: Callable[[Tensor, Rows, list[float]], Tensor]) -> Tensor:
    """[R, ...] from ``function`` (predictions, runs, levels), called once for the runs that share their quantile levels."""
    each = [levels(run) for run in machine.runs]
    if len(set(each)) == 1:
        return function(predicted, Rows(range(len(each)), len(each), predicted.device), list(each[0]))
    parts = {}
    for taus in dict.fromkeys(each):
        rows = Rows([row for row, other in enumerate(each) if other == taus], len(each), predicted.device)
        parts[rows] = function(rows.take(predicted), rows, list(taus))
    first = next(iter(parts.values()))
    out = first.new_empty(len(each), *first.shape[1:])
    for rows, values in parts.items():
        rows.put(out, values)
    return out


def levels(run: Run) -> tuple[float, ...]:
    """The quantile levels of a run's outputs; the median for a loss that has none."""
    tau = run.loss.values.get("tau", 0.5)
    return tuple(tau) if isinstance(tau, list | tuple) else (float(tau),)


def default_metrics(data: Data, runs: Sequence[Run]) -> list[str]:
    """What is measured at the end unless the user says: the task's usual metrics, those of quantiles where a run has some, and
    those that take a fact which the data knows.
    """
    quantiles = any("tau" in run.loss.values for run in runs)
    return [
        name
        for name, metric in METRICS[data.task].items()
        if metric.default or (metric.takes_taus and quantiles) or metric.fact in data.facts
    ]
