"""What specs and their data say together: whether runs of one architecture can be trained on it."""

from collections.abc import Sequence
from contextlib import suppress

from dlrun import isolation, own_modules
from dlrun.components.losses import per_row
from dlrun.components.regularizers import Augmentation
from dlrun.components.tasks import TASKS
from dlrun.config.spec import RunSpec
from dlrun.data.dataset import Data
from dlrun.data.modality import TABLE
from dlrun.data.splits import Splits
from dlrun.engine.cohort import Cohort, CohortRun, Settings
from dlrun.engine.components import Component
from dlrun.engine.measuring.thresholds import is_chosen
from dlrun.engine.step import TrainStep
from dlrun.errors import InputError, plural
from dlrun.experiments.planning import cost
from dlrun.lazy import torch
from dlrun.suggestions.values import show

_FACTS = {
    "anomalies": "which rows are anomalies; type dataset=reconstruction",
    "members": "the classes of the members of its pairs; type dataset=pairs",
    "known": "the classes of its rows; type dataset=clusters",
    "liked": "which items users like; type dataset=ratings",
}


def check(specs: Sequence[RunSpec], data: Data, made: Splits) -> None:
    """Raise an InputError with what specs of one architecture and their data say together."""
    _check_one(specs[0], data, made[0].sizes[0])
    _check_weights(specs, data)
    _check_row_weights(specs, data, made)
    _check_thresholds(specs, made)


def _check_one(spec: RunSpec, data: Data, train: int) -> None:
    found = []
    if spec.trainer.batch_size > train:
        found.append(
            f"trainer.batch_size={spec.trainer.batch_size}: "
            f"there {'is' if train == 1 else 'are'} {plural(train, 'training row')}; "
            f"type trainer.batch_size={train} for full batches"
        )
    if data.clusters > train:
        found.append(f"dataset.clusters={data.clusters}: more than the {plural(train, 'training row')}; take fewer clusters")
    for part in spec.row.regularizers:
        kind = part.values.get("kind")
        fit = data.modality.augmentations
        if part.function is Augmentation and kind not in fit:
            other = f"type kind={', '.join(fit[:-1])} or {fit[-1]}" if fit else f"leave {part.name} out"
            needs = "images" if fit else "numbers"
            what = f"{data.name} is {data.modality.name}" if data.modality is TABLE else f"{data.name} has {data.modality.name}"
            found.append(f"regularizer.{part.name}.kind={kind}: needs {needs}, and {what}; {other}")
        if kind == "mixup" and spec.trainer.batch_size == 1 < train:
            found.append(
                f"regularizer.{part.name}.kind=mixup: mixes the rows of a batch, and trainer.batch_size=1 leaves one; "
                f"type trainer.batch_size={min(16, train)}"
            )
    if spec.outputs and TASKS[data.task].scaled and data.outputs > 1:
        found.append(f"loss.tau: a list gives one output a level, and {data.name} has {data.outputs} targets; give one level")
    known = TASKS[data.task].metrics.get(spec.metric)
    if known is not None and known.fact and known.fact not in data.facts:
        found.append(f"metric={spec.metric}: {data.name} does not say {_FACTS[known.fact]}")
    if found:
        raise InputError(*found)


def _check_weights(specs: Sequence[RunSpec], data: Data) -> None:
    """Lists of one number a class, in losses, must have as many as there are classes."""
    found = []
    for part in {id(spec.row.loss): spec.row.loss for spec in specs}.values():
        for name in ("class_weight", "pos_weight", "alpha"):
            value = part.values.get(name)
            if isinstance(value, list | tuple) and len(value) != data.outputs:
                classes = f" ({', '.join(data.classes)})" if data.classes else ""
                found.append(f"loss.{name}={show(value)}: {data.name} has {data.outputs} outputs{classes}; give each one number")
    if found:
        raise InputError(*dict.fromkeys(found))


def _check_row_weights(specs: Sequence[RunSpec], data: Data, made: Splits) -> None:
    """Weights of rows need training rows that weigh something, losses with a value for each row, and no rows that are mixed."""
    if data.weights is None:
        return
    weightless = [number for number, split in enumerate(made) if not bool(data.weights[split.train].any())]
    found = [f"dataset.weight: all training rows of {data.name} weigh 0; give some a weight above 0"] * bool(weightless)
    for part in {id(spec.row.loss): spec.row.loss for spec in specs}.values():
        if not own_modules.is_own(part.target):
            continue
        with suppress(Exception, SystemExit):  # what else is wrong with it, training will tell
            if not isolation.call(_has_rows, part, data.task, specs[0].outputs or data.outputs):
                found.append(
                    f"dataset.weight: loss={part.name} gives one number a run, in which rows cannot be weighted; let it return "
                    "one for each row, [R, B], or leave dataset.weight out"
                )
    for part in specs[0].row.regularizers:
        if part.values.get("kind") == "mixup":
            found.append(
                f"regularizer.{part.name}.kind=mixup: mixes rows, which dataset.weight weighs one by one; leave one of them out"
            )
    if found:
        raise InputError(*dict.fromkeys(found))


def _check_thresholds(specs: Sequence[RunSpec], made: Splits) -> None:
    """A threshold is chosen on validation rows, of which there must be some."""
    chosen = [spec.row.threshold for spec in specs if is_chosen(spec.row.threshold)]
    if chosen and not made[0].sizes[1]:
        raise InputError(
            f"threshold={chosen[0]}: is chosen on validation rows, and there are none; type dataset.validation=0.2, or a number"
        )


def _has_rows(part: Component, task: str, outputs: int) -> bool:
    """Whether a loss gives a value for each row."""
    target = torch.from_numpy(TASKS[task].target(2, outputs)).unsqueeze(0)
    return per_row(part.function(torch.full((1, 2, outputs), 0.5), target, **part.values)) is not None


def check_layers(cohort: Cohort) -> None:
    """Raise an InputError where the layers do not fit the data, or batches the layers."""
    size, train = cohort.settings.batch_size, cohort.splits[0].sizes[0]
    members = TASKS[cohort.data.task].members or 1
    given = cohort.runs[:1], cohort.data, cohort.settings, size * members
    try:
        least = isolation.call(_normalized, *given) if cost.has_own(cohort.runs[0], cohort.settings) else _normalized(*given)
    except InputError:
        raise
    except (Exception, SystemExit):  # a component of the user's own: training will tell which run it spoils, and the others go on
        return
    if least <= 1:
        more = f"type trainer.batch_size={min(16, train)}, or " if train > 1 else ""
        raise InputError(
            f"trainer.batch_size={size}: batch_norm subtracts the mean over the batch, and of a batch of one row nothing is left "
            f"to learn from; {more}leave batch_norm out of regularizer"
        )


def _normalized(runs: Sequence[CohortRun], data: Data, settings: Settings, rows: int) -> float:
    """Of how many numbers the layers take a mean over a batch, where they take the fewest."""
    return TrainStep(runs, data, settings).model.averaged(rows)
