"""What a cohort will need: memory, time, and therefore how many rows to train at once.

The figures come from counting: parameters and optimizer state by the layout, activations by a pass of one row through the model.
Time uses two constants measured in benchmarks/; it is an order of magnitude for ``dlrun plan``, not a promise.

Shapes: R runs, B batch rows, P parameters, W numbers that a pass of one row leaves behind.
"""

import math
import os
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from dlrun.engine.cohort import Cohort
from dlrun.engine.diagnostics import ROWS as DIAGNOSED
from dlrun.engine.layers import Pass
from dlrun.engine.machine import Machine
from dlrun.experiments.plan import Planned

STEP_SECONDS = 70e-6  # dispatching one step, whatever R
GROUP_SECONDS = 25e-6  # for every further group of rows that has a component of its own
FLOPS = 15e9  # multiplications and additions a second and core in batched products of this size
STATE_COPIES = 8  # theta, gradient, moments, scratch, best and final parameters, slack
CACHE_BYTES = 24 << 20  # theta, gradient and moments of a cohort should stay within reach of a core
FEWEST_ROWS = 32  # a cohort is not cut below this many rows for the cache's sake


@dataclass(frozen=True)
class Needs:
    """What training a cohort takes: bytes at the peak, optimizer steps, seconds on one core."""

    bytes: int
    steps: int
    seconds: float


def needs(cohort: Cohort) -> Needs:
    """Estimate a cohort's needs."""
    machine = Machine(cohort.runs[:1], cohort.data, cohort.settings)
    runs, parameters, passed = len(cohort.runs), machine.layout.size, _passed(machine, cohort)
    settings, data = cohort.settings, cohort.data
    train = len(cohort.splits[0].train)
    rows = len(data)
    size = settings.dtype.itemsize
    row = (
        STATE_COPIES * parameters + 6 * passed * max(settings.batch_size, min(DIAGNOSED, train)) + 6 * settings.outputs * rows
    ) * size
    copies = len(cohort.splits) * data.x.numel() * size
    steps = settings.epochs * math.ceil(train / settings.batch_size)
    steps = min(steps, settings.max_steps or steps)
    groups = sum(len(set(parts)) - 1 for parts in _parts(cohort))
    work = 6 * settings.batch_size * parameters + 20 * parameters
    seconds = steps * (STEP_SECONDS + GROUP_SECONDS * groups + runs * work / FLOPS)
    return Needs(runs * row + min(copies, 1 << 28) + data.x.numel() * size, steps, seconds)


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
        total += x.numel()
    return total


def free_bytes() -> int:
    """Memory that is free on this machine."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def cut(planned: Planned, budget: int, pieces: int = 1) -> list[Planned]:
    """Cohorts of no more rows than fit into ``budget`` bytes and into the cache; at least ``pieces`` of them if rows allow."""
    cohort = planned.cohort
    runs = len(cohort.runs)
    all_rows = needs(cohort)
    each = max(1, all_rows.bytes // runs)
    machine = Machine(cohort.runs[:1], cohort.data, cohort.settings)
    cached = max(FEWEST_ROWS, CACHE_BYTES // (4 * machine.layout.size * cohort.settings.dtype.itemsize))
    rows = max(1, min(runs, budget // each, cached, math.ceil(runs / pieces)))
    count = math.ceil(runs / rows)
    bounds = [round(runs * number / count) for number in range(count + 1)]
    return [part(planned, range(start, stop)) for start, stop in pairwise(bounds)]


def part(planned: Planned, rows: range) -> Planned:
    """Some rows of a cohort as a cohort of their own, with the splits that they use."""
    cohort = planned.cohort
    used = sorted({cohort.runs[row].split for row in rows})
    place = {split: number for number, split in enumerate(used)}
    smaller = replace(
        cohort,
        splits=[cohort.splits[split] for split in used],
        preprocessing=[cohort.preprocessing[split] for split in used],
        runs=[replace(cohort.runs[row], split=place[cohort.runs[row].split]) for row in rows],
    )
    return Planned(smaller, tuple(planned.specs[row] for row in rows))
