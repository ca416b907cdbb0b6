"""One run, typed and frozen: what a resolved config says, checked and built.

    config (plain dict) -> RunSpec        every problem of the config at once, before any data is read

A RunSpec knows everything but the data: sizes and class counts follow when the dataset is loaded (see plan).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from dlrun import registry
from dlrun.comparison.factors import Factor
from dlrun.components.tasks import TASKS
from dlrun.config import compatibility
from dlrun.config.factors import factors
from dlrun.config.resolver import UntrustedError
from dlrun.config.settings import Trainer
from dlrun.config.unused import twice, unread
from dlrun.config.validation import Problems
from dlrun.data.preparation import COMMON_KEYS, Preparation, preparation_problems, undecided, unsaid_folds
from dlrun.engine.cohort import Run
from dlrun.engine.components import Component
from dlrun.engine.model import LayerSpec
from dlrun.engine.module import takes_activation
from dlrun.errors import InputError, MismatchError, UnusableError

WIDTHS = ("hidden", "depth", "width")  # keys of a model that say how large its hidden layers are
HIDDEN = (32, 32)  # sizes of the hidden layers when neither the model nor the dataset names any


@dataclass(frozen=True)
class RunSpec:
    """A run that can be trained. ``row`` is what the engine wants, but for the split, which the plan assigns."""

    seed: int
    name: str
    dataset: Component
    preparation: Preparation
    layers: tuple[LayerSpec, ...]
    row: Run
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
    if found.lines:
        raise InputError(*found.lines)
    config = dict(config)
    dataset_config = dict(config.get("dataset") or {})
    prepared = {key: value for key, value in dataset_config.items() if key in COMMON_KEYS}
    found.add(preparation_problems({"task": None} | prepared))
    if unsaid_folds(dataset_config):
        folds = dataset_config["folds"]
        found.add(
            [
                f"dataset.folds={folds}: a run tests on one fold; give dataset.fold=0 for the first, or call "
                f'dlrun.sweep("dataset.folds={folds}") with the same settings for a run on each'
            ]
        )
    if "seed" not in config:
        found.add(["seed: is missing; leave ~seed out, or type seed=0"])
    dataset, task = found.dataset(dataset_config, choices)
    if undecided(prepared.get("task")):
        prepared["task"] = task
        config["dataset"] = _settled(json.dumps(dataset_config | {"task": task}, default=str))
    if not config.get("loss"):
        name = TASKS.get(task, next(iter(TASKS.values()))).loss  # any will do where the task is unknown, which is reported
        config["loss"] = _default_loss(name)
        choices = dict(choices) | {"loss": name}
    if not config.get("regularizer"):
        config["regularizer"] = {}

    sizes = prepared.get("hidden") or HIDDEN
    config["model"] = _sized(config.get("model") or {}, sizes)
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
    trainer = found.trainer(config.get("trainer") or {})
    found.root(config)
    metric = found.metric(config.get("metric"), task)
    for part in regularizers:
        if isinstance(part.values.get("metric"), str):
            found.metric(part.values["metric"], task, f"regularizer.{part.name}.metric")
    if not found.lines and not found.unusable:
        found.trials(
            {"activation": activation, "loss": loss, "optimizer": optimizer, "scheduler": scheduler}
            | {f"regularizer.{part.name}": part for part in regularizers},
            task,
            loss_facts,
        )
    if not found.lines and not found.unusable and "lr" not in optimizer.values:
        found.add(["optimizer.lr: is missing; give it a value, such as optimizer.lr=0.01"])
    if found.lines:
        raise (UntrustedError if found.untrusted else InputError)(*found.lines, *found.unusable)
    if found.unusable:
        raise UnusableError(*found.unusable)

    fit = compatibility.check(
        task=TASKS[task],
        loss=loss,
        facts=loss_facts,
        head=head,
        activation=activation,
        regularizers=regularizers,
        validation=float(prepared.get("validation", 0.2)),
        insist=bool(config.get("allow_mismatch")),
    )
    unfit = [*fit.problems, *(compatibility.module_problems(module, activation, learnable, regularizers) if module else [])]
    if unfit:
        raise MismatchError(*unfit)
    if module:
        odd = _without_effect(module, activation, overrides)
    else:
        odd = compatibility.without_effect(str(choices.get("model", "")), layers, regularizers, overrides)
        odd += _sizes_without_effect(config["model"], choices, overrides)
    warnings = [*fit.warnings, *odd]
    unused = without_effect(config, layers, regularizers, module)
    row = Run(
        seed=config["seed"],
        split=0,
        activation=activation,
        loss=fit.loss,
        head=fit.head,
        prediction=fit.prediction,
        optimizer=optimizer,
        scheduler=scheduler,
        regularizers=regularizers,
        initializer=initializer,
        learnable=learnable,
        clip_norm=trainer.clip_norm,
        clip_value=trainer.clip_value,
    )
    return RunSpec(
        seed=config["seed"],
        name=config.get("name") or "",
        dataset=dataset,
        preparation=Preparation(**prepared),
        layers=layers,
        row=row,
        trainer=trainer,
        metric=metric,
        outputs=outputs,
        module=module,
        config=config,
        choices=choices,
        overrides=tuple(overrides),
        warnings=tuple(warnings),
        unused=unused,
        factors=factors(config, choices, unused),
    )


def without_effect(
    config: Mapping[str, Any], layers: Sequence[LayerSpec], regularizers: Sequence[Component], module: Component | None
) -> tuple[str, ...]:
    """Keys that change nothing of what a run computes: what its model has no use for, and shares of rows that folds decide."""
    found = ["dataset.test"] if (config["dataset"].get("folds") or 1) > 1 else []
    if module is not None:
        return (*found, *(() if takes_activation(module) else ("activation",)))
    model, text = config["model"], str(config["model"].get("layers"))
    if "'hidden'" not in text:
        found += [f"model.{key}" for key in WIDTHS if key in model]
    elif model.get("hidden") is not None:
        found += [f"model.{key}" for key in WIDTHS[1:] if key in model]
    if not any(layer.kind == "activation" for layer in layers):
        found += ["activation", *(f"regularizer.{part.name}" for part in regularizers if compatibility.is_around(part))]
    return tuple(found)


def _without_effect(module: Component, activation: Component, overrides: Sequence[str]) -> list[str]:
    """A warning when an activation was asked for, and the module takes none."""
    if takes_activation(module) or not any(word.startswith("activation") for word in overrides):
        return []
    return [
        f"activation={activation.name}: has no effect, since model={module.name} takes none; give its constructor a parameter "
        "'activation' and apply that"
    ]


def _sizes_without_effect(model: Mapping[str, Any], choices: Mapping[str, str], overrides: Sequence[str]) -> list[str]:
    """A warning when sizes of hidden layers were asked for, and the model has none whose size can be chosen."""
    if "'hidden'" in str(model.get("layers")) or not any(word.lstrip("+").startswith("model.hidden=") for word in overrides):
        return []
    return [f"model.hidden: has no effect, since model={choices.get('model')} has no hidden layers of other sizes; leave it out"]


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
