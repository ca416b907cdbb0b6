"""One run, typed and frozen: what a resolved config says, checked and built.

    config (plain dict) -> RunSpec        every problem of the config at once, before any data is read

A RunSpec knows everything but the data: sizes and class counts follow when the dataset is loaded (see plan).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Annotated, Any, Literal

import torch

from dlrun import registry
from dlrun.components import activations
from dlrun.components.hyperparameters import Count, Interval, hyperparameters, mismatch, problems
from dlrun.components.initializers import INITIALIZERS
from dlrun.components.metrics import METRICS
from dlrun.data.preparation import COMMON_KEYS, Preparation, preparation_problems, undecided, unsaid_folds
from dlrun.engine.cohort import Run
from dlrun.engine.model import LayerSpec, expand
from dlrun.engine.module import SUPPLIED, takes_activation
from dlrun.engine.parts import Part, rowwise
from dlrun.errors import InputError, MismatchError, nearest
from dlrun.experiments import rules, trial
from dlrun.experiments.baselines import baseline_problems
from dlrun.experiments.targets import resolve

Number = Annotated[float, Interval(0, open_low=True)]
Seed = Annotated[int, Interval(0, (1 << 63) - 1)]


HIDDEN = (32, 32)  # sizes of the hidden layers when neither the model nor the dataset names any


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """``trainer.*``: how long and how a run trains. See conf/trainer/default.yaml."""

    epochs: Count = 100
    batch_size: Count = 16
    device: str = "auto"
    dtype: Literal["float32", "float64"] = "float32"
    compile: bool | Literal["auto"] = False
    clip_norm: Number | None = None
    clip_value: Number | None = None
    evaluate_every: Count = 1
    max_steps: Count | None = None


@dataclass(frozen=True)
class RunSpec:
    """A run that can be trained. ``row`` is what the engine wants, but for the split, which the plan assigns."""

    seed: int
    name: str
    dataset: Part
    preparation: Preparation
    layers: tuple[LayerSpec, ...]
    row: Run
    trainer: Trainer
    metric: str
    outputs: int | None  # None: as many as the data says
    module: Part | None  # a user's own model instead of the layers
    config: Mapping[str, Any] = field(repr=False)
    choices: Mapping[str, str] = field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def fold(self) -> int | None:
        """The fold that the run tests on; None when there is but one split."""
        return self.preparation.fold if self.preparation.folds > 1 else None


def from_config(config: Mapping[str, Any], choices: Mapping[str, str], overrides: Sequence[str] = ()) -> RunSpec:
    """Check a resolved config and build the run that it describes.

    Raises:
        InputError: with every problem found.
        MismatchError: each component is fine, but they do not fit together.
    """
    found = _Problems()
    config = dict(config)
    dataset_config = dict(config.get("dataset") or {})
    prepared = {key: value for key, value in dataset_config.items() if key in COMMON_KEYS}
    found.add(preparation_problems(prepared))
    if unsaid_folds(dataset_config):
        found.add([f"dataset.folds={dataset_config['folds']}: a run tests on one fold; give dataset.fold=0 for the first"])
    dataset, task = found.dataset(dataset_config, choices)
    if undecided(prepared.get("task")):
        prepared["task"] = task
        config["dataset"] = _settled(json.dumps(dataset_config | {"task": task}, default=str))
    if not config.get("loss"):
        name = rules.DEFAULT_LOSS.get(task, "mse")
        config["loss"] = _default_loss(name)
        choices = dict(choices) | {"loss": name}
    if not config.get("regularizer"):
        config["regularizer"] = {}

    config["model"] = _sized(config.get("model") or {}, prepared.get("hidden") or HIDDEN)
    activation_config = dict(config.get("activation") or {})
    learnable = activation_config.pop("learnable", False)
    activation = found.part(activation_config, "activation", choices)
    found.learnable(learnable, activation)
    loss_config = dict(config["loss"])
    loss_facts = {key: loss_config.pop(key, default) for key, default in rules.LOSS_FACTS.items()}
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
    if not found.lines:
        found.trials(
            {"activation": activation, "loss": loss, "optimizer": optimizer, "scheduler": scheduler}
            | {f"regularizer.{part.name}": part for part in regularizers},
            task,
            loss_facts,
        )
    if not found.lines and "lr" not in optimizer.values:
        found.add(["optimizer.lr: is missing; give it a value, such as optimizer.lr=0.01"])
    if found.lines:
        raise InputError(*found.lines)

    fit = rules.check(
        task=task,
        loss=loss,
        facts=loss_facts,
        head=head,
        activation=activation,
        regularizers=regularizers,
        validation=float(prepared.get("validation", 0.2)),
        insist=bool(config.get("allow_mismatch")),
    )
    unfit = [*fit.problems, *(rules.module_problems(module, activation, learnable, regularizers) if module else [])]
    if unfit:
        raise MismatchError(*unfit)
    warnings = [*fit.warnings, *(_without_effect(module, activation, overrides) if module else [])]
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
    )


def _without_effect(module: Part, activation: Part, overrides: Sequence[str]) -> list[str]:
    """A warning when an activation was asked for, and the module takes none."""
    if takes_activation(module) or not any(word.startswith("activation") for word in overrides):
        return []
    return [
        f"activation={activation.name}: has no effect, since model={module.name} takes none; give its constructor a parameter "
        "'activation' and apply that"
    ]


def _sized(model: Mapping[str, Any], suggested: Sequence[int]) -> Mapping[str, Any]:
    """A model's config with the sizes of its hidden layers, where it leaves them to the data."""
    if model.get("hidden", 0) is not None or "depth" in model or "width" in model:
        return model
    sizes = list(suggested)
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


class _Problems:
    """Collects what is wrong while the parts are built, so that all of it can be told at once."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, lines: Sequence[str]) -> None:
        self.lines += lines

    def part(self, values: Mapping[str, Any], where: str, choices: Mapping[str, str], omit: Sequence[str] = ()) -> Part:
        """The component that a group's config names; a stand-in when something is wrong with it."""
        own = {key: value for key, value in values.items() if key not in omit and key != "_target_"}
        target = values.get("_target_")
        if target is None:
            self.lines.append(
                f"{where}: is missing; type {where.split('.')[0]}=NAME (dlrun ls {where.split('.')[0]} lists the names)"
            )
            return Part(where, "", _nothing)
        try:
            function = resolve(target, where)
        except InputError as error:
            self.lines += error.problems
            return Part(where, str(target), _nothing)
        known = activations.ROWWISE.get(target) if where == "activation" else None
        if known is not None:
            function = known.forward
        own = {key: float(value) if _is_float_text(value) else value for key, value in own.items()}
        self.lines += problems(function, own, where)
        return Part(choices.get(where, str(target).rpartition(".")[2]), target, function, own)

    def dataset(self, config: Mapping[str, Any], choices: Mapping[str, str]) -> tuple[Part, str]:
        """The dataset, and its task: what the config says or, if it leaves that open, the data; empty while neither can tell."""
        part = self.part(config, "dataset", choices, omit=COMMON_KEYS)
        given = config.get("task")
        if "task" in hyperparameters(part.function):  # a table can be learnt in several ways
            part = replace(part, values={**part.values, "task": None if undecided(given) else given})
        if not undecided(given):
            return part, str(given)
        task = ""
        if not self.lines:
            try:
                task = part.function(**part.values).task
            except InputError as error:
                self.lines += error.problems
            except Exception as error:  # a user's own dataset
                self.lines.append(f"dataset: {type(error).__name__}: {error}; dataset.task=TASK need not ask the data")
        return part, task

    def model(
        self, config: Mapping[str, Any], task: str, loss: Part
    ) -> tuple[tuple[LayerSpec, ...], str, Callable[..., Any], int | None]:
        """Layers, head, initializer and the number of outputs that a model's config asks for."""
        head, init = config.get("head", "auto"), config.get("init", "default")
        if head not in ("auto", *rules.HEADS):
            self.lines.append(
                f"model.head={head}: must be one of auto, {', '.join(rules.HEADS)}{nearest(str(head), rules.HEADS)}"
            )
        if init not in INITIALIZERS:
            self.lines.append(f"model.init={init}: must be one of {', '.join(INITIALIZERS)}{nearest(str(init), INITIALIZERS)}")
        layers: tuple[LayerSpec, ...] = ()
        try:
            layers = () if "_target_" in config else expand(config.get("layers") or [])
        except InputError as error:
            self.lines += error.problems
        outputs = len(loss.values["tau"]) if isinstance(loss.values.get("tau"), list | tuple) else None
        if outputs == 0:
            self.lines.append("loss.tau=[]: must name at least one level, such as [0.1,0.5,0.9]")
        if task in ("similarity", "metric_learning"):
            outputs = config.get("embedding", 16)
            said = mismatch(Count, outputs)
            if said:
                self.lines.append(f"model.embedding={outputs}: must be {said}")
        return layers, head, INITIALIZERS.get(init, INITIALIZERS["default"]), outputs

    def module(self, config: Mapping[str, Any], choices: Mapping[str, str]) -> Part | None:
        """The user's own module that a model's config names, if it names one."""
        if "_target_" not in config:
            return None
        for key in SUPPLIED:
            if key in config:
                self.lines.append(f"model.{key}: dlrun gives it to the module; take it out of the YAML")
        if config.get("init", "default") != "default":
            self.lines.append(f"model.init={config['init']}: a module of your own draws its initial values itself; leave it out")
        return self.part(config, "model", choices, omit=("init", "head", "layers", "embedding", *SUPPLIED))

    def trials(self, parts: Mapping[str, Part], task: str, loss_facts: Mapping[str, Any]) -> None:
        """What calling the user's own components shows."""
        if not loss_facts["tasks"]:
            self.lines.append(f"loss.tasks: is missing; say in its YAML what data it serves, such as tasks: [{task}]")
        for where, part in parts.items():
            self.lines += trial.problems(part, where, task, loss_facts)

    def trainer(self, config: Mapping[str, Any]) -> Trainer:
        """The trainer's settings; the defaults when something is wrong with them."""
        found = problems(Trainer, config, "trainer")
        self.lines += found
        trainer = Trainer() if found else Trainer(**config)
        said = device_problem(trainer.device)
        if said:
            self.lines.append(said)
        return trainer

    def root(self, config: Mapping[str, Any]) -> None:
        """The keys that stand alone."""
        self.lines += problems(
            _root_keys,
            {key: config.get(key) for key in ("seed", "name", "allow_mismatch", "reuse", "retry_failed") if key in config},
            "config",
        )
        self.lines = [line.removeprefix("config.") for line in self.lines]
        self.lines += baseline_problems(config.get("baseline"))
        name = config.get("name")
        if isinstance(name, str) and (len(name) > 100 or not name.isprintable()):
            self.lines.append(f"name={name[:20]!r}...: must be at most 100 printable characters")

    def learnable(self, value: Any, activation: Part) -> None:
        """Whether the activation's numbers are learned, and whether it has any."""
        if not isinstance(value, bool):
            self.lines.append(f"activation.learnable={value}: must be true or false")
        elif value and not any(float in forms for forms in rowwise(activation.function).values()):
            self.lines.append(f"activation.learnable=true: {activation.name} has no number to learn; leave it out")

    def metric(self, name: Any, task: str, where: str = "metric") -> str:
        """The metric that selects and sorts: the task's main one unless the user says."""
        known = METRICS.get(task, {})
        if not task:  # a problem of the dataset, told already
            return "loss"
        if name is None:
            return next(iter(known), "loss")
        if name != "loss" and name not in known:
            self.lines.append(f"{where}={name}: the metrics of {task} are loss, {', '.join(known)}{nearest(str(name), known)}")
        return str(name)


def _root_keys(
    *, seed: Seed = 0, name: str | None = None, allow_mismatch: bool = False, reuse: bool = True, retry_failed: bool = False
) -> None:
    """The signature of the keys that stand alone."""


def _nothing() -> None:
    """Stands in for a component that could not be resolved."""


def _is_float_text(value: Any) -> bool:
    """YAML 1.1 reads 1e-3 as text; nobody means text by it."""
    if not isinstance(value, str) or value[:1] not in "+-.0123456789":
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True


@cache
def device_problem(name: str) -> str:
    """What is wrong with a device's name, with what to type; an empty string when it can be used."""
    if name == "auto":
        return ""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):
        present = ["auto", "cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        return f"trainer.device={name}: is not there; on this machine there is {', '.join(present)}{nearest(name, present)}"
    return ""


def device(name: str) -> torch.device:
    """The device that a name stands for; auto is the GPU if there is one."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
