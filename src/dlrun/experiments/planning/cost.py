"""What a cohort will need: memory and time.

The figures come from counting, by the shapes of the layers alone: nothing is allocated that grows with the model.
Time uses a few constants, measured on one core of a CPU; it is an order of magnitude for ``dlrun plan``, not a promise.

Shapes: R runs, B batch rows, P parameters, W numbers that a pass of one sample leaves behind.
"""

import math
from dataclasses import dataclass, replace

from dlrun import isolation, own_modules
from dlrun.components.tasks import TASKS
from dlrun.data.dataset import Data
from dlrun.engine import lanes
from dlrun.engine.batches import MATERIALIZED_BYTES
from dlrun.engine.cohort import Cohort, CohortRun, Settings
from dlrun.engine.measuring.diagnostics import rows_of
from dlrun.engine.models.builder import Builder
from dlrun.engine.trainer import EPOCH_ROWS
from dlrun.lazy import torch
from dlrun.memory import check, machine_bytes

# For time, by torch
STEP_SECONDS = 70e-6  # dispatching one step, whatever R
MODULE_SECONDS = 400e-6  # for a user's module: its own dispatch, vmap and autograd
GROUP_SECONDS = 25e-6  # for every further group of rows that has a component of its own
FLOPS = 50e9  # multiplications and additions a second and core in batched products
NUMBER_SECONDS = 4e-9  # for every number that a layer puts out for a row of a batch, forward and backward
FORWARD_SHARE = 1 / 3  # of that for a row that is only looked at, to measure an epoch

# For time, by the kernel
PRODUCTS = 20e9  # multiplications of layers a second and core
PARAMETER_SECONDS = 0.6e-9  # for the update of one parameter
ASKED = 1 << 20  # parameters of models for which it is asked: asking allocates some tensors like them
LOOK_SECONDS = 1e-3  # for measuring a cohort, however few its runs

# For memory
RECORDED = 32  # bytes that an evaluation leaves in the history of a run, at least
STATE_COPIES = 8  # theta, gradient, moments, scratch, best and final parameters, slack


@dataclass(frozen=True)
class Needs:
    """What a cohort takes: bytes at the peak, steps, seconds on one core, parameters a row, numbers that a step touches.

    ``native`` says whether the kernel will train it, ``samples`` how many samples of a run are looked at together.
    """

    bytes: int
    steps: int
    seconds: float
    parameters: int
    numbers: int
    native: bool = False
    samples: int = 0


def needs(cohort: Cohort) -> Needs:
    """Estimate a cohort's needs; nothing at all for one in which no row can be built and passed through."""
    measured = _measured(cohort)
    if measured is None:
        return Needs(0, 0, 0.0, 1, 0)
    parameters, passed = measured
    runs, settings, data = len(cohort.runs), cohort.settings, cohort.data
    train, validation, _ = cohort.splits[0].sizes
    rows = len(data)
    size = settings.itemsize
    samples = max(settings.batch_size, min(rows_of(passed), train))
    row = (STATE_COPIES * parameters + 6 * passed * samples + 6 * settings.outputs * rows) * size
    copies = len(cohort.splits) * data.x.size * size
    steps, evaluations = _steps(cohort)
    looked = min(train, EPOCH_ROWS) + validation
    groups = sum(len(set(parts)) - 1 for parts in _parts(cohort))
    small = parameters <= ASKED and not any(has_own(run, settings) for run in cohort.runs)
    products = lanes.products(cohort) if small else None
    if products is None:
        each = (6 * settings.batch_size + 20) * parameters / FLOPS + passed * settings.batch_size * NUMBER_SECONDS
        seconds = steps * (STEP_SECONDS + MODULE_SECONDS * (settings.module is not None) + GROUP_SECONDS * groups + runs * each)
        seconds += evaluations * looked * runs * passed * NUMBER_SECONDS * FORWARD_SHARE
    else:
        filled = max(runs, lanes.V * (groups + 1))
        seconds = steps * filled * (products / PRODUCTS + parameters * PARAMETER_SECONDS)
        seconds += evaluations * (LOOK_SECONDS + looked * filled * products / (3 * settings.batch_size * PRODUCTS))
    prepared = 2 * min(copies, MATERIALIZED_BYTES)  # as torch reads them, and as the kernel does
    memory = runs * row + prepared + data.x.size * size
    numbers = runs * (passed * settings.batch_size + parameters)
    return Needs(memory, steps, seconds, parameters, numbers, native=products is not None, samples=samples)


def check_memory(cohort: Cohort) -> None:
    """Refuse a cohort of which not even one run fits into memory.

    Raises:
        InputError: with what a run takes, and what there is.
    """
    found = needs(replace(cohort, runs=cohort.runs[:1]))
    settings = cohort.settings
    check(
        _steps(cohort)[1] * RECORDED,
        f"trainer.epochs={settings.epochs}, for the history of one run",
        "take fewer, or a larger trainer.evaluate_every",
    )
    limit = machine_bytes() if settings.place == "cpu" else torch.cuda.mem_get_info(settings.device)[1]
    check(
        found.bytes,
        f"model: one run with {found.parameters:,} parameters and {found.samples:,} samples at a time",
        "take fewer or smaller layers, or a smaller trainer.batch_size",
        limit=limit,
    )


def _steps(cohort: Cohort) -> tuple[int, int]:
    """The steps that a run takes, and how often it is evaluated."""
    settings = cohort.settings
    each = math.ceil(cohort.splits[0].sizes[0] / settings.batch_size)
    epochs = max(run.until or settings.epochs for run in cohort.runs)
    steps = min(epochs * each, settings.max_steps or epochs * each)
    return steps, -(-steps // (each * settings.evaluate_every))


def _measured(cohort: Cohort) -> tuple[int, int] | None:
    """P and W of the first run whose components do not raise: which one spoils what, training will tell."""
    members = TASKS[cohort.data.task].members or 1
    for run in sorted(cohort.runs, key=lambda run: has_own(run, cohort.settings)):  # those of dlrun's components first
        given = run, cohort.data, cohort.settings, members
        try:
            return isolation.call(_sizes, *given) if has_own(run, cohort.settings) else _sizes(*given)
        except isolation.DiedError:  # every other one might take seconds to die
            return None
        except (Exception, SystemExit):
            continue
    return None


def _sizes(run: CohortRun, data: Data, settings: Settings, members: int) -> tuple[int, int]:
    model = Builder([run], data, settings).model
    return model.layout.size, model.left_by(members)


def has_own(run: CohortRun, settings: Settings) -> bool:
    """Whether a run has components of the user's own."""
    if not own_modules.trusted():
        return False
    parts = run.activation, run.loss, run.optimizer, run.scheduler, *run.regularizers, settings.module
    return any(part is not None and own_modules.is_own(part.target) for part in parts)


def _parts(cohort: Cohort) -> list[list[str]]:
    return [[run.activation.target for run in cohort.runs], [run.optimizer.target for run in cohort.runs]]
