"""Measuring a cohort: losses and metrics of every run on a subset, without touching what training changes.

Shapes: R runs, n rows of a subset, K outputs.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dlrun.components.losses import sparsemax
from dlrun.components.metrics import METRICS, Metric
from dlrun.engine.cohort import Run
from dlrun.engine.layers import Pass
from dlrun.engine.machine import Machine
from dlrun.engine.parts import Rows
from dlrun.engine.tables import Table

CHUNK_NUMBERS = 1 << 24  # inputs and hidden values held at once during an evaluation


def outputs(machine: Machine, table: Table, subset: str, limit: int | None = None) -> tuple[Tensor, Tensor]:
    """Outputs of the model and targets for the first ``limit`` rows of a subset: [R, n, K], [R, n, ...]."""
    n = table.sizes[subset] if limit is None else min(limit, table.sizes[subset])
    together = max(1, CHUNK_NUMBERS // (len(machine.runs) * max(machine.model.widest, math.prod(table.row_shape))))
    if together >= n:
        x, y = table.subset(subset, 0, n)
        return machine.forward(x, Pass())[0], y
    parts = [_part(machine, table, subset, start, min(start + together, n)) for start in range(0, n, together)]
    return torch.cat([output for output, _ in parts], 1), torch.cat([y for _, y in parts], 1)


def _part(machine: Machine, table: Table, subset: str, start: int, stop: int) -> tuple[Tensor, Tensor]:
    x, y = table.subset(subset, start, stop)
    return machine.forward(x, Pass())[0], y


_LINKS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda output: output,
    "sigmoid": torch.sigmoid,
    "softmax": lambda output: torch.softmax(output, 2),
    "exp": torch.exp,
    "sparsemax": sparsemax,
}


def predictions(machine: Machine, table: Table, output: Tensor) -> Tensor:
    """What the metrics see: probabilities, or values in the units of the data (float64). [R, n, K] -> [R, n, K]."""
    if machine.task == "regression":
        return table.original(output)
    kinds = [run.prediction for run in machine.runs]
    if len(set(kinds)) == 1:
        return _LINKS[kinds[0]](output)
    out = torch.empty_like(output)
    for kind in sorted(set(kinds)):
        rows = Rows([row for row, other in enumerate(kinds) if other == kind], len(kinds), output.device)
        rows.put(out, _LINKS[kind](rows.take(output)))
    return out


def targets(machine: Machine, table: Table, y: Tensor) -> Tensor:
    """The targets in the units of the data."""
    return table.original(y) if machine.task == "regression" else y


def measure(machine: Machine, table: Table, subset: str, names: Sequence[str], limit: int | None = None) -> dict[str, Tensor]:
    """The loss and the named metrics of every run on a subset: {"loss": [R], "r2": [R], ...}."""
    output, y = outputs(machine, table, subset, limit)
    found = {"loss": machine.loss(output, y)}
    wanted = [name for name in names if name != "loss"]
    if wanted:
        predicted, true = predictions(machine, table, output), targets(machine, table, y)
        for name in wanted:
            found[name] = _metric(machine, METRICS[machine.task][name], predicted, true)
    return found


def _metric(machine: Machine, metric: Metric, predicted: Tensor, true: Tensor) -> Tensor:
    if not metric.takes_taus:
        if machine.task == "regression" and predicted.shape[2] > true.shape[2]:  # quantiles: the one nearest to the median
            predicted = _middle(machine, predicted)
        return metric.function(predicted, true)
    levels = [_levels(run) for run in machine.runs]
    out = torch.empty(len(levels), dtype=torch.float64, device=predicted.device)
    for level in sorted(set(levels)):
        rows = Rows([row for row, other in enumerate(levels) if other == level], len(levels), predicted.device)
        rows.put(out, metric.function(rows.take(predicted), rows.take(true), taus=list(level)))
    return out


def _levels(run: Run) -> tuple[float, ...]:
    """The quantile levels of a run's outputs; the median for a loss that has none."""
    tau = run.loss.values.get("tau", 0.5)
    return tuple(tau) if isinstance(tau, list | tuple) else (float(tau),)


def _middle(machine: Machine, predicted: Tensor) -> Tensor:
    nearest = [min(range(len(levels)), key=lambda i: abs(levels[i] - 0.5)) for levels in map(_levels, machine.runs)]
    index = torch.tensor(nearest, device=predicted.device).view(-1, 1, 1).expand(-1, predicted.shape[1], 1)
    return predicted.gather(2, index)


def default_metrics(task: str, runs: Sequence[Run]) -> list[str]:
    """What is measured at the end unless the user says: the task's usual metrics, and those of quantiles where a run has some."""
    quantiles = any("tau" in run.loss.values for run in runs)
    return [name for name, metric in METRICS[task].items() if metric.default or (metric.takes_taus and quantiles)]
