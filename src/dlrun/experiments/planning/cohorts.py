"""From runs to cohorts: what can be trained as one matrix is.

Runs go together when they agree on the data, the architecture, the batch size, the number of steps and the structure of their
regularizers. Inside a cohort everything else may differ from row to row.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import torch

from dlrun import isolation, own_modules
from dlrun.components.losses import per_row
from dlrun.components.regularizers import Augmentation
from dlrun.components.tasks import TASKS
from dlrun.config import own_code
from dlrun.config.checks.data import read as read_dataset
from dlrun.config.checks.watched_metrics import check_watched
from dlrun.config.repeats import once, twin
from dlrun.config.settings import device
from dlrun.config.spec import RunSpec
from dlrun.data import balance, look
from dlrun.data.clustering import for_task
from dlrun.data.dataset import Data
from dlrun.data.interactions import cold
from dlrun.data.modality import TABLE
from dlrun.data.preparation import Preparation
from dlrun.data.preprocessing import Scalings, fit_each
from dlrun.data.splits import Splits, is_drawn, splits
from dlrun.engine.cohort import Cohort, CohortRun, Settings
from dlrun.engine.components import Component, signature
from dlrun.engine.models import module
from dlrun.engine.step import TrainStep, blueprint_of
from dlrun.engine.thresholds import is_chosen
from dlrun.errors import InputError, plural
from dlrun.experiments.planning import cost
from dlrun.results.checkpoints import SavedCheckpoint
from dlrun.suggestions.values import show


@dataclass(frozen=True)
class Planned:
    """A cohort with the specs of its rows, in the same order."""

    cohort: Cohort
    specs: tuple[RunSpec, ...]
    note: str = ""  # what a user should know of how they go together
    notes: tuple[str, ...] = ()  # what a look at the split of their data shows
    checkpoint: SavedCheckpoint | None = None  # where its training goes on


Place = tuple[int, int]  # seed, fold


class Datasets:
    """Datasets, splits and fitted preprocessing, each made once however many runs share it."""

    def __init__(self) -> None:
        self._data: dict[str, Data] = {}
        self._of: dict[tuple[str, str, int | None], Data] = {}
        self._splits: dict[tuple[object, ...], list[tuple[list[Place], Splits]]] = {}
        self._notes: dict[tuple[object, ...], tuple[str, ...]] = {}
        self._fitted: dict[tuple[object, ...], Scalings] = {}

    def load(self, part: Component) -> Data:
        """The dataset that a part describes."""
        key = _key(part)
        if key not in self._data:
            self._data[key] = read_dataset(part)
        return self._data[key]

    def of(self, spec: RunSpec) -> Data:
        """The data of a run: the dataset as the run's task takes it.

        Raises:
            DataError: it is for another task.
        """
        task, clusters = spec.preparation.task, spec.preparation.clusters
        place = _key(spec.dataset), task, clusters
        if place not in self._of:
            self._of[place] = for_task(self.load(spec.dataset), task, clusters)
        return self._of[place]

    def splits(self, data: Data, how: Preparation, wanted: Sequence[Place]) -> list[tuple[list[Place], Splits]]:
        """The splits of ``data`` for some seeds and folds; those with other numbers of training rows, or of rows, apart."""
        place = (data.fingerprint, how.validation, how.test, how.folds, how.stratify, *wanted)
        if place not in self._splits:
            made = splits(
                data,
                [seed for seed, _ in wanted],
                fold=[fold for _, fold in wanted],
                validation=how.validation,
                test=how.test,
                folds=how.folds,
                stratify=how.stratify,
            )
            by_size: dict[tuple[int, int], list[int]] = {}
            train, validation, test = made.sizes()
            for number, size in enumerate(zip(train.tolist(), (train + validation + test).tolist(), strict=True)):
                by_size.setdefault(size, []).append(number)
            self._splits[place] = [([wanted[number] for number in mine], made.select(mine)) for mine in by_size.values()]
        return self._splits[place]

    def notes(self, data: Data, how: Preparation, wanted: Sequence[Place]) -> tuple[str, ...]:
        """What a look at the first of these splits shows."""
        place = (data.fingerprint, how.validation, how.test, how.folds, how.stratify)
        if place not in self._notes:
            made = self.splits(data, how, wanted)[0][1]
            self._notes[place] = (*look.notes(data, made[0]), *(cold(data, made) if data.users else ()))
        return self._notes[place]

    def fitted(self, data: Data, how: Preparation, made: Splits) -> Scalings:
        """What is fitted on the training rows of each of the ``splits``, which have equally many."""
        place = (data.fingerprint, how.standardize, how.standardize_target, id(made))
        if place not in self._fitted:
            how_fitted = {"standardize": how.standardize, "standardize_target": how.standardize_target}
            self._fitted[place] = fit_each(data, made, **how_fitted)
        return self._fitted[place]


def plan(specs: Sequence[RunSpec], datasets: Datasets) -> list[Planned]:
    """Group runs into cohorts, load their data and split it.

    Raises:
        InputError: with every problem that only the data can tell, such as a batch larger than the training set.
    """
    planned = []
    for members in together(specs):
        planned += _cohorts(members, datasets)
    return planned


def together(specs: Sequence[RunSpec]) -> list[list[RunSpec]]:
    """Runs that can be rows of one matrix, in the order in which each kind is first met."""
    found: dict[tuple[Any, ...], list[RunSpec]] = {}
    known: dict[int, list[RunSpec]] = {}  # runs that differ in their seeds alone have the same tuple, which is hashed once
    for spec in specs:
        kind = architecture(spec)
        if id(kind) not in known:
            known[id(kind)] = found.setdefault(kind, [])
        known[id(kind)].append(spec)
    return list(found.values())


@once
def architecture(spec: RunSpec) -> tuple[Any, ...]:
    """What runs must share to be rows of one matrix."""
    preparation = asdict(replace(spec.preparation, fold=None))
    trainer = asdict(replace(spec.trainer, clip_norm=None, clip_value=None, until=None))
    activation = spec.row.activation
    learned = (activation.target, *sorted(activation.values)) if spec.row.learnable else ()
    return (
        spec.dataset.target,
        _text(spec.dataset.values),
        _text(preparation),
        _text(trainer),
        spec.layers,
        _module(spec.module, activation),
        spec.outputs,
        spec.metric,
        spec.config.get("predictions", True),
        learned,
        tuple(signature(part) for part in spec.row.regularizers),
        # lists of one number a class, so that those of a wrong length spoil no other run
        tuple(len(value) for value in spec.row.loss.values.values() if isinstance(value, list | tuple)),
    )


def _module(part: Component | None, activation: Component) -> tuple[str, ...]:
    """What runs whose model is a user's module must share: its values, and the activation if it takes one."""
    if part is None:
        return ()
    inside = (activation.target, _text(activation.values)) if module.takes_activation(part) else ()
    return (part.target, _text(part.values), *inside)


def _cohorts(specs: Sequence[RunSpec], datasets: Datasets) -> list[Planned]:
    """Cohorts of runs that share an architecture: one for each number of training rows that their splits have."""
    first = specs[0]
    data, preparation = datasets.of(first), first.preparation
    places = {id(spec): place_of(spec, data) for spec in specs}
    wanted = sorted({*places.values()})
    planned = []
    for keys, made in datasets.splits(data, preparation, wanted):
        train = made[0].sizes[0]
        _check(first, data, train)
        _check_weights(specs, data)
        _check_row_weights(specs, data, made)
        _check_thresholds(specs, made)
        check_watched(specs, data, keys, made)
        place = {key: number for number, key in enumerate(keys)}
        rows = [spec for spec in specs if places[id(spec)] in place]
        losses = _Losses(data, made)
        cohort = Cohort(
            data=data,
            splits=made,
            preprocessing=datasets.fitted(data, preparation, made),
            runs=[losses.bound(spec.row, place[places[id(spec)]]) for spec in rows],
            settings=settings_of(first, data.outputs),
        )
        cost.check_memory(cohort)
        _fits(cohort, train)
        planned += _stacked(Planned(cohort, tuple(rows), notes=datasets.notes(data, preparation, wanted)))
    return planned


class _Losses:
    """The losses of runs with what is fitted on the training rows of their splits; runs that agree in it share one object."""

    def __init__(self, data: Data, made: Splits) -> None:
        self._data, self._made = data, made
        self._known: dict[tuple[int, int], Component] = {}
        self._alike: dict[tuple[int, str], Component] = {}

    def bound(self, run: CohortRun, split: int) -> CohortRun:
        """A run on a split."""
        if not balance.asks(run.loss.values):
            return twin(run, split=split)
        key = id(run.loss), split
        if key not in self._known:
            values = balance.fitted(run.loss.values, self._data, self._made[split].train)
            self._known[key] = self._alike.setdefault((key[0], _text(values)), replace(run.loss, values=values))
        return twin(run, split=split, loss=self._known[key])


def place_of(spec: RunSpec, data: Data) -> Place:
    """The seed and fold of a run's split; the seed is 0 where all have the same rows."""
    return spec.seed if is_drawn(data, "train") else 0, spec.fold or 0


def _stacked(group: Planned) -> list[Planned]:
    """The cohort as it is, or its rows one by one where a user's module cannot be stacked."""
    cohort = group.cohort
    part = cohort.settings.module
    if part is None or len(cohort.runs) == 1:
        return [group]
    alone = isolation.call(_alone, cohort.settings, cohort.data, cohort.runs[0].activation)
    if not alone:
        return [group]
    note = f"model={part.name}: its runs train one by one, since they cannot be stacked: {alone}"
    return [replace(piece, note=note) for piece in in_pieces(group, len(cohort.runs))]


def _alone(settings: Settings, data: Data, activation: Component) -> str:
    """Why a user's module cannot be stacked; an empty string where it can."""
    return module.tried(blueprint_of(settings, data, activation)).alone


def _fits(cohort: Cohort, train: int) -> None:
    """Raise an InputError where the layers do not fit the data, or batches of ``train`` rows the layers."""
    size = cohort.settings.batch_size
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


def settings_of(spec: RunSpec, outputs: int) -> Settings:
    """What the engine is told of a run beside its row, for data with that many outputs."""
    trainer = spec.trainer
    return Settings(
        layers=spec.layers,
        outputs=spec.outputs or outputs,
        epochs=trainer.epochs,
        batch_size=trainer.batch_size,
        max_steps=trainer.max_steps,
        evaluate_every=trainer.evaluate_every,
        metric=spec.metric,
        dtype=getattr(torch, trainer.dtype),
        device=device(trainer.device),
        engine=trainer.engine,
        module=spec.module,
        predictions=spec.config.get("predictions", True),
    )


_FACTS = {
    "anomalies": "which rows are anomalies; type dataset=reconstruction",
    "members": "the classes of the members of its pairs; type dataset=pairs",
    "known": "the classes of its rows; type dataset=clusters",
    "liked": "which items users like; type dataset=ratings",
}


def _check(spec: RunSpec, data: Data, train: int) -> None:
    """What a config and its data say together."""
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
    target = TASKS[task].target(2, outputs).unsqueeze(0)
    return per_row(part.function(torch.full((1, 2, outputs), 0.5), target, **part.values)) is not None


def _key(part: Component) -> str:
    return json.dumps([part.target, dict(part.values)], sort_keys=True, default=str)


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), sort_keys=True, default=str)


def in_pieces(planned: Planned, count: int) -> list[Planned]:
    """A cohort cut into ``count`` cohorts of about as many rows each, or into single rows when there are fewer.

    One that goes on from a checkpoint stays whole.
    """
    if planned.checkpoint is not None:
        return [planned]
    runs = len(planned.specs)
    count = max(1, min(count, runs))
    bounds = [round(runs * number / count) for number in range(count + 1)]
    return [part(planned, range(start, stop)) for start, stop in pairwise(bounds)]


def halves(planned: Planned) -> list[Planned]:
    """A cohort in two: runs with other components of the user's own apart where there are any, else one half of the rows each."""
    kinds = [_own(spec) for spec in planned.specs]
    known = [*dict.fromkeys(kinds)]
    first = set(known[: len(known) // 2])
    if not first:
        return in_pieces(planned, 2)
    rows = [number for number, kind in enumerate(kinds) if kind in first]
    return [part(planned, rows), part(planned, [number for number in range(len(kinds)) if number not in set(rows)])]


@once
def _own(spec: RunSpec) -> tuple[str, ...]:
    return own_code.own(spec.config)


def uses_own(planned: Planned) -> bool:
    """Whether any of a cohort's runs has components of the user's own."""
    return any(cost.has_own(run, planned.cohort.settings) for run in planned.cohort.runs)


def part(planned: Planned, rows: Sequence[int]) -> Planned:
    """Some rows of a cohort as a cohort of their own, with the splits that they use."""
    cohort = planned.cohort
    used = sorted({cohort.runs[row].split for row in rows})
    place = {split: number for number, split in enumerate(used)}
    smaller = replace(
        cohort,
        splits=Splits.of(cohort.splits).select(used),
        preprocessing=Scalings.of(cohort.preprocessing).select(used),
        runs=[twin(run, split=place[run.split]) for run in (cohort.runs[row] for row in rows)],
    )
    return Planned(smaller, tuple(planned.specs[row] for row in rows), notes=planned.notes)
