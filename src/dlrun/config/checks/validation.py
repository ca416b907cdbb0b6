"""Building the parts of a run from its config, and collecting everything that is wrong on the way."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, get_args, get_origin

from dlrun import isolation, registry
from dlrun.baselines.rows import baseline_problems
from dlrun.comparison.groups import BEST, words_of
from dlrun.components.hyperparameters import Count, hyperparameters, mismatch, problems, type_hints
from dlrun.components.initializers import INITIALIZERS
from dlrun.components.tasks import TASKS
from dlrun.config.checks import compatibility
from dlrun.config.checks.components import problems as component_problems
from dlrun.config.composing.names import GROUP, KEYS
from dlrun.config.resolver import UntrustedError, resolve
from dlrun.config.settings import Trainer, device_problem, root_keys
from dlrun.data.preparation import COMMON_KEYS, undecided
from dlrun.engine.components import Component, rowwise
from dlrun.engine.models.model import LayerSpec, expand
from dlrun.engine.models.module import SUPPLIED
from dlrun.errors import InputError, UnusableError, nearest, raise_all
from dlrun.isolation import DiedError, RaisedError
from dlrun.own_modules import is_own
from dlrun.suggestions.values import show


class Problems:
    """Collects what is wrong while the parts are built, so that all of it can be told at once."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.untrusted = False  # whether any is a name of code that was not imported
        self.unusable: list[str] = []  # what a check of components and data found, which is no matter of other runs

    def add(self, lines: Sequence[str]) -> None:
        """Take over problems that were found elsewhere."""
        self.lines += lines

    def __bool__(self) -> bool:
        """Whether anything is wrong."""
        return bool(self.lines or self.unusable)

    def refuse(self) -> None:
        """Raise what was found; do nothing when that is nothing.

        Raises:
            InputError: something is wrong with the config.
            UnusableError: nothing is, but a check of components and data found something.
        """
        if self.lines:
            raise (UntrustedError if self.untrusted else InputError)(*self.lines, *self.unusable)
        raise_all(self.unusable, UnusableError)

    def structure(self, config: Mapping[str, Any]) -> None:
        """Sections that are no mappings, and lists and words that are neither: nothing can be built from them."""
        for group in ("dataset", "model", "activation", "loss", "optimizer", "scheduler", "trainer", "regularizer"):
            section = config.get(group)
            if section not in (None, []) and not isinstance(section, Mapping):
                self.lines.append(
                    f"{group}={show(section)}: must hold keys and values; type {group}=NAME (dlrun ls {group} lists the names)"
                )
        if self.lines:
            return
        for name, values in (config.get("regularizer") or {}).items():
            if values and not isinstance(values, Mapping):
                self.lines.append(f"regularizer.{name}={show(values)}: must hold keys and values; type regularizer=[{name}]")
        self._layers((config.get("model") or {}).get("layers"), "model.layers")
        self.lines += [
            f"{key}={show(value)}: must be {message}"
            for key, (hint, value) in _typed(config).items()
            if (message := mismatch(hint, value))
        ]

    def _layers(self, layers: Any, where: str) -> None:
        if layers is not None and not isinstance(layers, list | tuple):
            self.lines.append(f"{where}={show(layers)}: must be a list, such as [flatten,{{hidden: [32,32]}},output]")
        for entry in layers if isinstance(layers, list | tuple) else ():
            if isinstance(entry, Mapping) and "repeat" in entry:
                self._layers(entry.get("layers"), f"{where}: repeat.layers")
            if isinstance(entry, Mapping) and "residual" in entry:
                self._layers(entry["residual"], f"{where}: residual")

    def part(self, values: Mapping[str, Any], where: str, choices: Mapping[str, str], omit: Sequence[str] = ()) -> Component:
        """The component that a group's config names; a stand-in when something is wrong with it."""
        own = {key: value for key, value in values.items() if key not in omit and key != "_target_"}
        target = values.get("_target_")
        if target is None and own and where in choices:
            group = where.split(".")[0]
            self.lines.append(
                f"{where}: the file {registry.path(group, choices[where]).name} needs a line such as _target_: mymodule.name"
                if choices[where] in registry.options(group)
                else f"{where}._target_: is missing"
            )
            return Component(where, "", _nothing)
        if target is None:
            self.lines.append(
                f"{where}: is missing; type {where.split('.')[0]}=NAME (dlrun ls {where.split('.')[0]} lists the names)"
            )
            return Component(where, "", _nothing)
        try:
            function = resolve(target, where)
        except InputError as error:
            self.untrusted |= isinstance(error, UntrustedError)
            self.lines += error.problems
            return Component(where, str(target), _nothing)
        own = {key: _as_wanted(function, key, value, is_name=where == GROUP and key in KEYS) for key, value in own.items()}
        own_function = not str(target).startswith(("dlrun.", "torch."))
        self.lines += (_keyword_only(function, own, where) if own_function else []) or problems(function, own, where)
        return Component(choices.get(where, str(target).rpartition(".")[2]), target, function, own)

    def dataset(self, config: Mapping[str, Any], choices: Mapping[str, str]) -> tuple[Component, str]:
        """The dataset, and its task: what the config says or, if it leaves that open, the data; empty while neither can tell."""
        part = self.part(config, "dataset", choices, omit=COMMON_KEYS)
        given = config.get("task")
        if "task" in hyperparameters(part.function):  # a table can be learnt in several ways
            open_ = undecided(given) or (
                given in TASKS and TASKS[given].clusters
            )  # of clusters the classes are known all the same
            part = replace(part, values={**part.values, "task": None if open_ else given})
        if not undecided(given):
            return part, str(given)
        task = ""
        if not self.lines:
            try:
                task = _task(part) if not is_own(part.target) else isolation.call(_task, part)
            except InputError as error:
                self.unusable += error.problems
            except Exception as error:  # a user's own dataset
                self.unusable.append(f"dataset={part.name}: {_said(error, part)}; dataset.task=TASK need not ask the data")
        return part, task

    def model(
        self, config: Mapping[str, Any], task: str, loss: Component
    ) -> tuple[tuple[LayerSpec, ...], str, Callable[..., Any], int | None]:
        """Layers, head, initializer and the number of outputs that a model's config asks for."""
        head, init = config.get("head", "auto"), config.get("init", "default")
        if head not in ("auto", *compatibility.HEADS):
            heads = compatibility.HEADS
            self.lines.append(f"model.head={head}: must be one of auto, {', '.join(heads)}{nearest(str(head), heads)}")
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
        if task in TASKS and TASKS[task].members:
            outputs = config.get("embedding", 16)
            message = mismatch(Count, outputs)
            if message:
                self.lines.append(f"model.embedding={outputs}: must be {message}")
        return layers, head, INITIALIZERS.get(init, INITIALIZERS["default"]), outputs

    def module(self, config: Mapping[str, Any], choices: Mapping[str, str]) -> Component | None:
        """The user's own module that a model's config names, if it names one."""
        if "_target_" not in config:
            return None
        for key in SUPPLIED:
            if key in config:
                self.lines.append(f"model.{key}: dlrun gives it to the module; take it out of the YAML")
        if config.get("init", "default") != "default":
            self.lines.append(f"model.init={config['init']}: a module of your own draws its initial values itself; leave it out")
        return self.part(config, "model", choices, omit=("init", "head", "layers", "embedding", *SUPPLIED))

    def trials(self, parts: Mapping[str, Component], task: str, loss_facts: Mapping[str, Any]) -> None:
        """What calling the user's own components shows."""
        if not loss_facts["tasks"]:
            self.lines.append(f"loss.tasks: is missing; say in its YAML what data it serves, such as tasks: [{task}]")
        for where, part in parts.items():
            self.unusable += component_problems(part, where, task, loss_facts)

    def trainer(self, config: Mapping[str, Any]) -> Trainer:
        """The trainer's settings; the defaults when something is wrong with them."""
        found = problems(Trainer, config, "trainer")
        self.lines += found
        trainer = Trainer() if found else Trainer(**config)
        if trainer.until is not None and trainer.until >= trainer.epochs:
            self.lines.append(f"trainer.until={trainer.until}: must be less than trainer.epochs={trainer.epochs}")
        elif trainer.until is not None and trainer.until % trainer.evaluate_every:
            self.lines.append(
                f"trainer.until={trainer.until}: a run ends where it is evaluated; "
                f"type a multiple of trainer.evaluate_every={trainer.evaluate_every}"
            )
        message = device_problem(trainer.device)
        if message:
            self.lines.append(message)
        return trainer

    def root(self, config: Mapping[str, Any]) -> None:
        """The keys that stand alone."""
        known = {name: config[name] for name in hyperparameters(root_keys) if name in config}
        self.lines += problems(root_keys, known, "config")
        self.lines = [line.removeprefix("config.") for line in self.lines]
        self.lines += baseline_problems(config.get("baseline"))
        reference = config.get("reference", BEST)
        if not words_of(reference):
            self.lines.append(f"reference={show(reference)}: must be best, or what names a group, such as relu or [relu,sgd]")
        name = config.get("name")
        if isinstance(name, str) and (len(name) > 100 or not name.isprintable()):
            self.lines.append(f"name={name[:20]!r}...: must be at most 100 printable characters")

    def learnable(self, value: Any, activation: Component) -> None:
        """Whether the activation's numbers are learned, and whether it has any."""
        if not isinstance(value, bool):
            self.lines.append(f"activation.learnable={value}: must be true or false")
        elif value and not any(float in forms for forms in rowwise(activation.function).values()):
            self.lines.append(f"activation.learnable=true: {activation.name} has no number to learn; leave it out")

    def metric(self, name: Any, task: str, where: str = "metric") -> str:
        """The metric that selects and sorts: the task's main one unless the user says."""
        if task not in TASKS:  # a problem of the dataset, which is reported already
            return "loss"
        if name is None:
            return TASKS[task].main_metric
        known = TASKS[task].metrics
        if name != "loss" and name not in known:
            self.lines.append(f"{where}={name}: the metrics of {task} are loss, {', '.join(known)}{nearest(str(name), known)}")
        elif name != "loss" and known[name].higher_is_better is None:
            self.lines.append(f"{where}={name}: is best at its nominal level, neither high nor low; type {where}=pinball")
        return str(name)


def _keyword_only(function: Callable[..., Any], values: Mapping[str, Any], where: str) -> list[str]:
    """Keys of a config that are parameters of a user's function, but none that count as hyperparameters."""
    if inspect.isclass(function):
        return []
    parameters = {name: p for name, p in inspect.signature(function).parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD}
    wrong = [str(p.replace(annotation=p.empty)) for name, p in parameters.items() if name in values]
    kept = "".join(f"{name}, " for name in parameters if name not in values)
    first = next((name for name in parameters if name in values), "")
    message = f"hyperparameters are keyword-only; write def {function.__name__}({kept}*, {', '.join(wrong)})"
    return [f"{where}.{first}: {message}"] if wrong else []


def _typed(config: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys that no signature speaks for, with what they may be and what they are."""
    model, loss = config.get("model") or {}, config.get("loss") or {}
    found: dict[str, tuple[Any, Any]] = {f"model.{key}": (str, model[key]) for key in ("head", "init") if key in model}
    found |= {f"loss.{key}": (str, loss[key]) for key in ("head", "prediction") if key in loss}
    if loss.get("tasks"):
        found["loss.tasks"] = (list[str], loss["tasks"])
    if "soft_targets" in loss:
        found["loss.soft_targets"] = (bool, loss["soft_targets"])
    return found | {"metric": (str | None, config.get("metric"))}


def _task(part: Component) -> str:
    """What is to be learnt from a dataset, which is read for it."""
    return str(part.function(**part.values).task)


def _said(error: Exception, part: Component) -> str:
    if isinstance(error, DiedError):
        return error.named([part.target], "read it").reason
    return error.reason if isinstance(error, RaisedError) else in_a_line(error)


def in_a_line(error: BaseException) -> str:
    """An exception in a line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _nothing() -> None:
    """Stands in for a component that could not be resolved."""


def _as_wanted(function: Callable[..., Any], key: str, value: Any, *, is_name: bool) -> Any:
    """The number that a text stands for, where the component takes no text: YAML 1.1 reads 1e-3 as text, and nobody means that.

    Args:
        is_name: whether values of the key are kept as they were typed; a component that is not dlrun's may have such a key too.
    """
    if _takes_text(type_hints(function).get(key)):
        return value
    if is_name and isinstance(value, list | tuple):
        return [_as_wanted(function, key, item, is_name=True) if isinstance(item, str) else item for item in value]
    if is_name and isinstance(value, str):
        return registry.scalar(value)
    return float(value) if _is_float_text(value) else value


def _takes_text(hint: Any) -> bool:
    """Whether a text is among what an annotation allows."""
    return hint is str or get_origin(hint) is Literal or any(map(_takes_text, get_args(hint)))


def _is_float_text(value: Any) -> bool:
    """YAML 1.1 reads 1e-3 as text; nobody means text by it."""
    if not isinstance(value, str) or value[:1] not in "+-.0123456789":
        return False
    try:
        float(value)
    except ValueError:
        return False
    return True
