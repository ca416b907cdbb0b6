"""Settings that change nothing of what a run computes, because its model has no use for them."""

from collections.abc import Mapping, Sequence
from typing import Any

from dlrun.config.checks import compatibility
from dlrun.config.checks.splitting import split_warnings, unused_by_split
from dlrun.engine.components import Component
from dlrun.engine.models.model import STACKS, LayerSpec
from dlrun.engine.models.module import takes_activation

WIDTHS = ("hidden", "depth", "width")  # keys of a model that say how large its hidden layers are


def unused_keys(
    config: Mapping[str, Any], layers: Sequence[LayerSpec], regularizers: Sequence[Component], module: Component | None
) -> tuple[str, ...]:
    """Keys that change nothing of what a run computes: what its model has no use for, and shares of rows that others decide."""
    found = unused_by_split(config["dataset"])
    if module is not None:
        return (*found, *(() if takes_activation(module) else ("activation",)))
    model = config["model"]
    if not _has_hidden(model):
        found += ["model.hidden"] if "hidden" in model else []
    elif model.get("hidden") is not None:
        found += [f"model.{key}" for key in WIDTHS[1:] if key in model]
    if not any(layer.kind == "activation" for layer in layers):
        found += ["activation", *(f"regularizer.{part.name}" for part in regularizers if compatibility.is_around(part))]
    return tuple(found)


def unused_warnings(
    config: Mapping[str, Any],
    choices: Mapping[str, str],
    layers: Sequence[LayerSpec],
    regularizers: Sequence[Component],
    activation: Component,
    module: Component | None,
    overrides: Sequence[str],
) -> list[str]:
    """Warnings for settings that were asked for and change nothing."""
    split = split_warnings(config["dataset"], overrides)
    if module is not None:
        return split + _of_module(module, activation, overrides)
    odd = split + compatibility.without_effect(str(choices.get("model", "")), layers, regularizers, overrides)
    if not _has_hidden(config["model"]) and any(word.lstrip("+").startswith("model.hidden=") for word in overrides):
        model = choices.get("model")
        odd.append(f"model.hidden: has no effect, since model={model} has no hidden layers of other sizes; leave it out")
    return odd


def _has_hidden(model: Mapping[str, Any]) -> bool:
    """Whether a model has hidden layers whose sizes can be chosen."""
    return any(f"'{key}'" in str(model.get("layers")) for key in STACKS)


def _of_module(module: Component, activation: Component, overrides: Sequence[str]) -> list[str]:
    """A warning when an activation was asked for, and the module takes none."""
    if takes_activation(module) or not any(word.startswith("activation") for word in overrides):
        return []
    return [
        f"activation={activation.name}: has no effect, since model={module.name} takes none; give its constructor a parameter "
        "'activation' and apply that"
    ]
