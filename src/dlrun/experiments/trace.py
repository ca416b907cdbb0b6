"""The first steps of a run with all their numbers, for a reader: what ``dlrun trace`` shows. Nothing is kept."""

from collections.abc import Iterator, Sequence

import numpy as np

from dlrun import registry
from dlrun.components.tasks import TASKS
from dlrun.config.spec import RunSpec
from dlrun.engine import layers as kinds
from dlrun.engine.cohort import Cohort, CohortRun
from dlrun.engine.components import Component
from dlrun.engine.recording import LayerRecord, StepRecord, record
from dlrun.engine.step import TrainStep
from dlrun.errors import InputError
from dlrun.experiments.planning.cohorts import Planned
from dlrun.lazy import Tensor
from dlrun.report.trace.steps import Layer, Numbers, Parameter, Part, Step, Trace

MOST_NUMBERS = 1 << 20  # parameters of a model whose steps are written down
HEADS = {"probability": "sigmoid", "softmax": "softmax", "log_probability": "log_softmax"}


def trace(planned: Planned, steps: int) -> Trace:
    """The first ``steps`` steps of a planned run that ``check`` has passed, or as many as it has."""
    (spec,), cohort = planned.specs, planned.cohort
    data = cohort.data
    found = [_step(cohort, each) for each in record(cohort, steps)]
    return Trace(
        title=" ".join(("dlrun trace", *spec.overrides)),
        facts=_facts(spec, cohort, found[0]),
        parts=list(_parts(cohort.runs[0], found[0])),
        features=data.features,
        targets=data.targets,
        classes=data.classes,
        exclusive=TASKS[data.task].exclusive,
        steps=found,
    )


def check(planned: Planned, row: int) -> None:
    """Whether a run can be traced, before anything is computed.

    Raises:
        InputError: the model is too large, or the batch has no such row.
    """
    settings, (split,) = planned.cohort.settings, planned.cohort.splits
    size = TrainStep(planned.cohort.runs, planned.cohort.data, settings).layout.size
    if size > MOST_NUMBERS:
        raise InputError(f"trace: the model has {size:,} parameters, and at most {MOST_NUMBERS:,} are written down; take fewer")
    rows = min(settings.batch_size, split.sizes[0])
    if not 0 <= row < rows:
        raise InputError(f"--row {row}: a batch has rows 0 to {rows - 1}")


def _facts(spec: RunSpec, cohort: Cohort, first: Step) -> dict[str, str]:
    data, settings = cohort.data, cohort.settings
    size = sum(each.before.size for each in first.parameters)
    shape = " x ".join(map(str, (len(data), *data.shape)))
    return {
        "data": f"{data.name}, {shape}, {data.task.replace('_', ' ')}",
        "model": f"{spec.choices.get('model', 'model')}, {size:,} parameters: {', '.join(layer.name for layer in first.layers)}",
        "training": f"batches of {settings.batch_size} rows, {settings.epochs} epochs, seed {spec.seed}, {settings.floats}",
    }


def _parts(run: CohortRun, first: Step) -> Iterator[Part]:
    if any(layer.kind == "activation" for layer in first.layers):
        yield _part("activation", run.activation)
    for group, part in (("loss", run.loss), ("optimizer", run.optimizer), ("scheduler", run.scheduler)):
        yield _part(group, part)
    for part in run.regularizers:
        yield _part("regularizer", part)


def _part(group: str, part: Component) -> Part:
    lines: list[str] = []
    if part.name in registry.options(group):
        lines = [line.removeprefix("Formula: ") for line in registry.notes(group, part.name)[1:]]
    return Part(group, part.name, lines, dict(part.values))


def _step(cohort: Cohort, found: StepRecord) -> Step:
    return Step(
        number=found.number,
        epoch=found.epoch,
        rows=found.rows,
        lr=found.lr,
        x=_numbers(found.x),
        targets=found.targets.astype(np.float64),
        y=_numbers(found.y),
        layers=[_layer(cohort, found.layers, place) for place in range(len(found.layers))],
        parameters=[
            Parameter(
                name=each.slot.name,
                before=_numbers(each.before),
                gradient=_numbers(each.gradient),
                taken=_numbers(each.taken),
                after=_numbers(each.after),
                remembered={name: _numbers(value) for name, value in each.slots.items()},
            )
            for each in found.parameters
        ],
        scores=_numbers(found.before),
        output=_numbers(found.output),
        prediction=_prediction(cohort, _numbers(found.output)),
        probability=None if found.probability is None else _numbers(found.probability),
        values=None if found.values is None else _numbers(found.values),
        row_losses=_numbers(found.row_losses),
        loss=found.loss,
        after=found.after,
        unclipped=found.unclipped,
        norm=found.norm,
    )


def _prediction(cohort: Cohort, output: Numbers) -> Numbers:
    """The output in the units of the data."""
    return cohort.preprocessing[0].original(output) if TASKS[cohort.data.task].scaled else output


def _layer(cohort: Cohort, layers: Sequence[LayerRecord], place: int) -> Layer:
    found, run = layers[place], cohort.runs[0]
    head = run.head in HEADS and place == len(layers) - 1
    kind = "head" if head else _kind(found)
    name = HEADS[run.head] if head else run.activation.name if kind == "activation" else _name(kind, found)
    return Layer(
        name=name,
        kind=kind,
        input=_numbers(found.input),
        output=_numbers(found.output),
        gradient=None if found.gradient is None else _numbers(found.gradient),
        parameters=[f"{place}.{shape.name}" for shape in found.layer.shapes],
    )


def _kind(found: LayerRecord) -> str:
    layer = found.layer
    if isinstance(layer, kinds.Linear):
        return "linear"
    if isinstance(layer, kinds.Convolution):
        return f"conv{found.input.dim() - 2}d"
    return "activation" if isinstance(layer, kinds.Pointwise) else _words(type(layer).__name__)


def _name(kind: str, found: LayerRecord) -> str:
    before, after = (tuple(x.shape[1:]) for x in (found.input, found.output))
    if before == after and kind not in ("linear", "conv1d", "conv2d"):
        return kind
    return f"{kind} {'x'.join(map(str, before))} -> {'x'.join(map(str, after))}"


def _words(name: str) -> str:
    """The name of a class as a key: BatchNorm is batch_norm."""
    return "".join(f"_{letter.lower()}" if letter.isupper() and place else letter.lower() for place, letter in enumerate(name))


def _numbers(values: Tensor) -> Numbers:
    return values.detach().cpu().numpy().astype(np.float64)
