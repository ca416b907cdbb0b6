"""What a cohort will need: memory, time, and therefore how many rows to train at once.

The figures come from counting: parameters and optimizer state by the layout, activations by a pass of one row through the model.
Time uses six constants, measured on one core of a CPU; it is an order of magnitude for ``dlrun plan``, not a promise.

Shapes: R runs, B batch rows, P parameters, W numbers that a pass of one row leaves behind.
"""

import math
import os
from dataclasses import dataclass

import torch

from dlrun.engine.cohort import Cohort
from dlrun.engine.diagnostics import ROWS as DIAGNOSED
from dlrun.engine.layers import Pass
from dlrun.engine.machine import Machine
from dlrun.engine.tables import MATERIALIZED_BYTES
from dlrun.engine.trainer import EPOCH_ROWS
from dlrun.experiments.plan import Planned, in_pieces

# For time
STEP_SECONDS = 70e-6  # dispatching one step, whatever R
MODULE_SECONDS = 400e-6  # for a user's module: its own dispatch, vmap and autograd
GROUP_SECONDS = 25e-6  # for every further group of rows that has a component of its own
FLOPS = 50e9  # multiplications and additions a second and core in batched products
NUMBER_SECONDS = 4e-9  # for every number that a layer puts out for a row of a batch, forward and backward
FORWARD_SHARE = 1 / 3  # of that for a row that is only looked at, to measure an epoch

# For memory
STATE_COPIES = 8  # theta, gradient, moments, scratch, best and final parameters, slack
CACHE_BYTES = 6 << 20  # theta, gradient and moments of a cohort should stay within reach of a CPU's core
FEWEST_ROWS = 32  # a cohort is not cut below this many rows for the cache's sake


@dataclass(frozen=True)
class Needs:
    """What a cohort takes: bytes at the peak, steps, seconds on one core, parameters a row, numbers that a step touches."""

    bytes: int
    steps: int
    seconds: float
    parameters: int
    numbers: int


def needs(cohort: Cohort) -> Needs:
    """Estimate a cohort's needs; nothing at all for one in which no row can be built and passed through."""
    measured = _measured(cohort)
    if measured is None:
        return Needs(0, 0, 0.0, 1, 0)
    parameters, passed = measured
    runs, settings, data = len(cohort.runs), cohort.settings, cohort.data
    train = len(cohort.splits[0].train)
    rows = len(data)
    size = settings.dtype.itemsize
    row = (
        STATE_COPIES * parameters + 6 * passed * max(settings.batch_size, min(DIAGNOSED, train)) + 6 * settings.outputs * rows
    ) * size
    copies = len(cohort.splits) * data.x.numel() * size
    epoch_steps = math.ceil(train / settings.batch_size)
    steps = min(settings.epochs * epoch_steps, settings.max_steps or settings.epochs * epoch_steps)
    looks = math.ceil(steps / epoch_steps / settings.evaluate_every) * (min(train, EPOCH_ROWS) + len(cohort.splits[0].validation))
    groups = sum(len(set(parts)) - 1 for parts in _parts(cohort))
    each = (6 * settings.batch_size + 20) * parameters / FLOPS + passed * settings.batch_size * NUMBER_SECONDS
    seconds = steps * (STEP_SECONDS + MODULE_SECONDS * (settings.module is not None) + GROUP_SECONDS * groups + runs * each)
    seconds += looks * runs * passed * NUMBER_SECONDS * FORWARD_SHARE
    memory = runs * row + min(copies, MATERIALIZED_BYTES) + data.x.numel() * size
    return Needs(memory, steps, seconds, parameters, runs * (passed * settings.batch_size + parameters))


def _measured(cohort: Cohort) -> tuple[int, int] | None:
    """P and W, measured on the first row whose components do not raise: which one spoils what, training will tell."""
    for row in range(len(cohort.runs)):
        try:
            machine = Machine(cohort.runs[row : row + 1], cohort.data, cohort.settings)
            return machine.layout.size, _passed(machine, cohort)
        except (Exception, SystemExit):
            continue
    return None


def _parts(cohort: Cohort) -> list[list[str]]:
    return [[run.activation.target for run in cohort.runs], [run.optimizer.target for run in cohort.runs]]


@torch.no_grad()
def _passed(machine: Machine, cohort: Cohort) -> int:
    """W: the numbers that all layers put out for one row."""
    machine.bind(machine.fresh())
    x = torch.zeros(1, 1, *cohort.data.shape, dtype=cohort.settings.dtype, device=cohort.settings.device)
    if machine.task in ("similarity", "metric_learning"):
        x = x.flatten(1, 2)
    total = x.numel()
    for layer, mine, remembered in zip(machine.model.layers, machine.parameters, machine.buffers, strict=True):
        x, _ = layer.forward(mine, remembered, x, Pass())
        total += x.numel() + layer.inner
    return total


def free_bytes(device: torch.device | None = None) -> int:
    """Memory that is free on this machine, or on a GPU, including what torch keeps there of earlier cohorts."""
    if device is not None and device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + kept
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def cut(planned: Planned, budget: int) -> list[Planned]:
    """Cohorts of no more rows than fit into ``budget`` bytes, and on a CPU into the cache."""
    runs, settings = len(planned.specs), planned.cohort.settings
    needed = needs(planned.cohort)
    rows = max(1, min(runs, budget // max(1, needed.bytes // runs)))
    if settings.device.type == "cpu":
        rows = min(rows, max(FEWEST_ROWS, CACHE_BYTES // (4 * needed.parameters * settings.dtype.itemsize)))
    return in_pieces(planned, math.ceil(runs / rows))
