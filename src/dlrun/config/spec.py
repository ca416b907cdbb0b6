"""One run, typed and frozen: what a resolved config says, checked and built.

    config (plain dict) -> structure -> data -> components -> settings -> trials -> compatibility -> RunSpec
                           each step collects every problem it finds; they are raised together

A RunSpec knows everything but the data: sizes and class counts follow when the dataset is loaded (see plan).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from dlrun import registry
from dlrun.comparison.factors import Factor
from dlrun.components.tasks import TASKS
from dlrun.config.checks import compatibility
from dlrun.config.checks.ineffective import unused_keys, unused_warnings
from dlrun.config.checks.splitting import FIXED, splitting_problems
from dlrun.config.checks.unused import twice, unread
from dlrun.config.checks.validation import Problems
from dlrun.config.factors import factors
from dlrun.config.repeats import Memo, twin
from dlrun.config.settings import Trainer
from dlrun.data.preparation import COMMON_KEYS, Preparation, preparation_problems, undecided, unsaid_folds
from dlrun.engine.cohort import DEFAULT_THRESHOLD, CohortRun
from dlrun.engine.components import Component
from dlrun.engine.models.model import LayerSpec
from dlrun.errors import MismatchError, raise_all
from dlrun.results.seeded import Seeded

HIDDEN = (32, 32)  # sizes of the hidden layers when neither the model nor the dataset names any


@dataclass(frozen=True)
class RunSpec:
    """A run that can be trained. ``row`` is what the engine wants, but for the split, which the plan assigns.

    ``memo`` keeps what is the same for all its repeats (see repeats.once).
    """

    seed: int
    name: str
    dataset: Component
    preparation: Preparation
    layers: tuple[LayerSpec, ...]
    row: CohortRun
    trainer: Trainer
    metric: str
    outputs: int | None  # None: as many as the data says
    module: Component | None  # a user's own model instead of the layers
    config: Mapping[str, Any] = field(repr=False)
    choices: Mapping[str, str] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    factors: Mapping[str, Factor] = field(default_factory=dict)
    memo: Memo = field(default_factory=Memo, init=False, repr=False, compare=False)

    def repeat(self, seed: int, overrides: Sequence[str]) -> "RunSpec":
        """The same run with another seed; ``overrides`` are its words."""
        row, config = twin(self.row, seed=seed), Seeded.of(self.config, seed)
        return twin(self, seed=seed, row=row, config=config, overrides=tuple(overrides))

    @property
    def fold(self) -> int | None:
        """The fold that the run tests on; None when there is but one split."""
        return self.preparation.fold if self.preparation.folds > 1 else None


def from_config(
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    overrides: Sequence[str] = (),
    mentioned: frozenset[str] | None = None,
) -> RunSpec:
    """Check a resolved config and build the run that it describes.

    Args:
        config: the resolved config.
        choices: the option of each group.
        overrides: what it was composed with.
        mentioned: words in the interpolations that were resolved; None for a config that was kept, whose keys are not looked at.

    Raises:
        InputError: with every problem found.
        UnusableError: a component of the user's own fails its check, or the data cannot be read.
        MismatchError: each component is fine, but they do not fit together.
    """
    found = Problems()
    found.structure(config)
    if mentioned is not None:
        found.add(unread(config, choices, overrides, mentioned) + twice(config))
    found.refuse()
    data = _data(found, config, choices)
    config, choices = _completed(config, choices, data)
    parts = _components(found, config, choices, data.task)
    trainer = found.trainer(config.get("trainer") or {})
    metric = _settings(found, config, parts, data.task)
    _tried(found, parts, data.task)
    found.refuse()
    fit = _fitted(config, data, parts)
    unused = unused_keys(config, parts.layers, parts.regularizers, parts.module)
    odd = unused_warnings(config, choices, parts.layers, parts.regularizers, parts.activation, parts.module, overrides)
    row = CohortRun(
        seed=config["seed"],
        split=0,
        activation=parts.activation,
        loss=fit.loss,
        head=fit.head,
        prediction=fit.prediction,
        optimizer=parts.optimizer,
        scheduler=parts.scheduler,
        regularizers=parts.regularizers,
        initializer=parts.initializer,
        learnable=parts.learnable,
        clip_norm=trainer.clip_norm,
        clip_value=trainer.clip_value,
        until=trainer.until,
        threshold=config.get("threshold", DEFAULT_THRESHOLD),
    )
    return RunSpec(
        seed=config["seed"],
        name=config.get("name") or "",
        dataset=data.part,
        preparation=Preparation(**data.prepared),
        layers=parts.layers,
        row=row,
        trainer=trainer,
        metric=metric,
        outputs=parts.outputs,
        module=parts.module,
        config=Seeded(config, config["seed"]),
        choices=choices,
        overrides=tuple(overrides),
        warnings=(*fit.warnings, *odd),
        unused=unused,
        factors=factors(config, choices, unused),
    )


# The steps: each adds what it finds to the problems, and gives the next ones something to go on with


@dataclass(frozen=True)
class _Data:
    """The dataset, how its rows are prepared, and what is learnt from it; an empty task where that cannot be known."""

    part: Component
    prepared: Mapping[str, Any]
    task: str


@dataclass(frozen=True)
class _Parts:
    """The components of a run."""

    activation: Component
    learnable: bool
    loss: Component
    loss_facts: Mapping[str, Any]
    optimizer: Component
    scheduler: Component
    regularizers: tuple[Component, ...]
    layers: tuple[LayerSpec, ...]
    head: str
    initializer: Callable[..., Any]
    outputs: int | None
    module: Component | None

    def named(self) -> dict[str, Component]:
        """The components that can be tried alone, by their keys."""
        parts = {"activation": self.activation, "loss": self.loss, "optimizer": self.optimizer, "scheduler": self.scheduler}
        return parts | {f"regularizer.{part.name}": part for part in self.regularizers}


def _data(found: Problems, config: Mapping[str, Any], choices: Mapping[str, str]) -> _Data:
    """The dataset; its data is read where the config leaves the task open."""
    section = dict(config.get("dataset") or {})
    prepared = {key: value for key, value in section.items() if key in COMMON_KEYS}
    fixed = any(section.get(key) is not None for key in FIXED)
    found.add(preparation_problems({"task": None} | prepared, fixed=fixed) + splitting_problems(section))
    if unsaid_folds(section):
        folds = section["folds"]
        found.add(
            [
                f"dataset.folds={folds}: a run tests on one fold; give dataset.fold=0 for the first, or call "
                f'dlrun.sweep("dataset.folds={folds}") with the same settings for a run on each'
            ]
        )
    if "seed" not in config:
        found.add(["seed: is missing; leave ~seed out, or type seed=0"])
    part, task = found.dataset(section, choices)
    return _Data(part, prepared | {"task": task} if undecided(prepared.get("task")) else prepared, task)


def _completed(config: Mapping[str, Any], choices: Mapping[str, str], data: _Data) -> tuple[dict[str, Any], Mapping[str, str]]:
    """The config and the choices with what follows from the data: its task, the loss, the sizes of hidden layers."""
    config = dict(config)
    section = config.get("dataset") or {}
    if undecided(section.get("task")):
        config["dataset"] = _settled(json.dumps(dict(section) | {"task": data.task}, default=str))
    if not config.get("loss"):
        name = TASKS.get(data.task, next(iter(TASKS.values()))).loss  # any will do where the task is unknown, which is reported
        config["loss"] = _default_loss(name)
        choices = dict(choices) | {"loss": name}
    if not config.get("regularizer"):
        config["regularizer"] = {}
    config["model"] = _sized(config.get("model") or {}, data.prepared.get("hidden") or HIDDEN)
    return config, choices


def _components(found: Problems, config: Mapping[str, Any], choices: Mapping[str, str], task: str) -> _Parts:
    """The components that the groups of a config name; stand-ins where something is wrong with one."""
    activation_config = dict(config.get("activation") or {})
    learnable = activation_config.pop("learnable", False)
    activation = found.part(activation_config, "activation", choices)
    found.learnable(learnable, activation)
    loss_config = dict(config["loss"])
    loss_facts = {key: loss_config.pop(key, default) for key, default in compatibility.LOSS_FACTS.items()}
    loss = found.part(loss_config, "loss", choices)
    optimizer = found.part(config.get("optimizer") or {}, "optimizer", choices)
    scheduler = found.part(config.get("scheduler") or {}, "scheduler", choices)
    regularizers = tuple(
        found.part(values or {}, f"regularizer.{name}", {f"regularizer.{name}": name})
        for name, values in config["regularizer"].items()
    )
    layers, head, initializer, outputs = found.model(config["model"], task, loss)
    module = found.module(config["model"], choices)
    return _Parts(
        *(activation, learnable, loss, loss_facts, optimizer, scheduler, regularizers),
        *(layers, head, initializer, outputs, module),
    )


def _settings(found: Problems, config: Mapping[str, Any], parts: _Parts, task: str) -> str:
    """The settings that are no component. Returns the metric."""
    found.root(config)
    metric = found.metric(config.get("metric"), task)
    found.add(compatibility.threshold_problems(config.get("threshold", DEFAULT_THRESHOLD), TASKS.get(task)))
    for part in parts.regularizers:
        if isinstance(part.values.get("metric"), str):
            found.metric(part.values["metric"], task, f"regularizer.{part.name}.metric")
    return metric


def _tried(found: Problems, parts: _Parts, task: str) -> None:
    """What calling the user's own components shows; only where nothing else is wrong with them."""
    if found:
        return
    found.trials(parts.named(), task, parts.loss_facts)
    if not found and "lr" not in parts.optimizer.values:
        found.add(["optimizer.lr: is missing; give it a value, such as optimizer.lr=0.01"])


def _fitted(config: Mapping[str, Any], data: _Data, parts: _Parts) -> compatibility.Fit:
    """How the components go together.

    Raises:
        MismatchError: they do not.
    """
    fit = compatibility.check(
        task=TASKS[data.task],
        loss=parts.loss,
        facts=parts.loss_facts,
        head=parts.head,
        activation=parts.activation,
        regularizers=parts.regularizers,
        validation=float(data.prepared.get("validation", 0.2)),
        insist=bool(config.get("allow_mismatch")),
    )
    of_module: list[str] = []
    if parts.module:
        of_module = compatibility.module_problems(parts.module, parts.activation, parts.learnable, parts.regularizers)
    raise_all([*fit.problems, *of_module], MismatchError)
    return fit


def _sized(model: Mapping[str, Any], suggested: Sequence[int]) -> Mapping[str, Any]:
    """A model's config with the sizes of its hidden layers, where it leaves them to the data."""
    if model.get("hidden", 0) is not None or "depth" in model or "width" in model:
        return model
    sizes = list(suggested) if isinstance(suggested, list | tuple) else []  # if it is none, a problem told already
    layers = [
        dict(layer) | {"hidden": sizes} if isinstance(layer, Mapping) and layer.get("hidden", 0) is None else layer
        for layer in model.get("layers") or []
    ]
    return dict(model) | {"hidden": sizes, "layers": layers}


@cache
def _settled(dataset: str) -> dict[str, Any]:
    """A dataset's config with the task that its data told; one for all runs on it."""
    config: dict[str, Any] = json.loads(dataset)
    return config


@cache
def _default_loss(name: str) -> dict[str, Any]:
    """The loss that a task takes when none is chosen; read once, however many runs take it."""
    return registry.load_option("loss", name)
