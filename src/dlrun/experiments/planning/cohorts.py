"""From runs to cohorts: what can be trained as one matrix is.

Runs go together when they agree on the data, the architecture, the batch size, the number of steps and the structure of their
regularizers. Inside a cohort everything else may differ from row to row.
"""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

from dlrun import isolation
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
from dlrun.data.preparation import Preparation
from dlrun.data.preprocessing import Scalings, fit_each
from dlrun.data.splits import Splits, is_drawn, splits
from dlrun.engine.cohort import Cohort, CohortRun, Settings
from dlrun.engine.components import Component, signature
from dlrun.engine.models import module
from dlrun.engine.step import blueprint_of
from dlrun.experiments.planning import checks, cost
from dlrun.results.checkpoints import SavedCheckpoint
from dlrun.threads import thread_count

MANY = 1000  # splits that are worth several threads


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
            self._fitted[place] = _fitted(data, how, made)
        return self._fitted[place]


def _fitted(data: Data, how: Preparation, made: Splits) -> Scalings:
    """What ``fit_each`` gives. Many splits are shared out to threads: it is arithmetic outside of the interpreter's lock."""
    fitted = partial(fit_each, data, standardize=how.standardize, standardize_target=how.standardize_target)
    if len(made) < MANY:
        return fitted(made)
    count = thread_count()
    bounds = [len(made) * number // count for number in range(count + 1)]
    with ThreadPoolExecutor(count) as pool:
        return Scalings.joined([*pool.map(fitted, [made[start:stop] for start, stop in pairwise(bounds)])])


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
        checks.check(specs, data, made)
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
        checks.check_layers(cohort)
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
        floats=trainer.dtype,
        place=device(trainer.device),
        engine=trainer.engine,
        module=spec.module,
        predictions=spec.config.get("predictions", True),
    )


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
