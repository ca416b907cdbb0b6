"""What a name in a config may stand for.

A config is data: it may name torch.nn's modules, torch.optim's optimizers, dlrun's own components and datasets, and what lies in
a module that the user imported with ``--import MODULE``. Nothing else is ever looked up, whatever a config says.
"""

import importlib
import sys
from collections.abc import Callable
from typing import Any

from dlrun import own_modules
from dlrun.components.activations import ROWWISE as ACTIVATIONS
from dlrun.components.optimizers import ROWWISE as OPTIMIZERS
from dlrun.errors import InputError, nearest
from dlrun.lazy import torch

_OWN = ("dlrun.components.", "dlrun.data.sources.", "dlrun.loggers.")
_LIBRARIES = ("dlrun", "hydra", "hydra_plugins", "joblib", "numpy", "omegaconf", "pandas", "scipy", "sklearn", "torch", "yaml")


class UntrustedError(InputError):
    """A config names code that the user has not imported."""


def resolve(target: Any, where: str) -> Callable[..., Any]:
    """What ``target`` names, looked up in the places above.

    Raises:
        UntrustedError: the name is not of those places.
        InputError: nothing there has it.
    """
    if not isinstance(target, str) or "." not in target:
        raise InputError(f"{where}._target_={target}: must be a name such as torch.nn.ReLU or dlrun.components.losses.mse")
    module, _, name = target.rpartition(".")
    if target in ACTIVATIONS:
        return ACTIVATIONS[target].forward
    if target in OPTIMIZERS:
        return OPTIMIZERS[target]
    if module == "torch.nn":
        return _class(target, name, vars(torch.nn), torch.nn.Module, where)
    if module == "torch.optim":
        return _class(target, name, vars(torch.optim), torch.optim.Optimizer, where)
    if f"{module}.".startswith(_OWN):
        return _member(target, module, name, where, own=True)
    for user in own_modules.trusted():
        if f"{module}.".startswith(f"{user}."):
            return _member(target, module, name, where, own=False)
    raise UntrustedError(f"{where}._target_={target}: {_refusal(module)}")


def _refusal(module: str) -> str:
    root = module.split(".")[0]
    if root in sys.stdlib_module_names or root in _LIBRARIES:
        return "a config cannot name that; it may name what is in torch.nn, torch.optim, dlrun.components, or a module of yours"
    return f"{module} was not imported; if it is yours or you trust it, type --import {module}"


def _class(target: str, name: str, names: dict[str, Any], kind: type, where: str) -> Callable[..., Any]:
    found = names.get(name)
    if not (isinstance(found, type) and issubclass(found, kind)):
        known = [key for key, value in names.items() if isinstance(value, type) and issubclass(value, kind)]
        raise InputError(f"{where}._target_={target}: torch has no such class{nearest(name, known)}")
    return found


def _member(target: str, module: str, name: str, where: str, *, own: bool) -> Callable[..., Any]:
    try:
        names = vars(importlib.import_module(module))
    except ImportError as error:
        raise InputError(f"{where}._target_={target}: {error}") from error
    found = names.get(name)
    home = str(getattr(found, "__module__", ""))
    if callable(found) and _defines(home, own=own):
        component: Callable[..., Any] = found
        return component
    if callable(found) and not own:
        raise InputError(
            f"{where}._target_={target}: {module} has it from {home or 'elsewhere'}; only what it defines itself can be named"
        )
    known = [
        key
        for key, value in names.items()
        if callable(value) and not key.startswith("_") and _defines(str(getattr(value, "__module__", "")), own=own)
    ]
    raise InputError(f"{where}._target_={target}: {module} has no component '{name}'{nearest(name, known)}")


def _defines(home: str, *, own: bool) -> bool:
    """Whether a function or class that says it is from ``home`` may be named: a name from os stays os's wherever it is found."""
    if own:
        return home.startswith("dlrun.")
    return any(f"{home}.".startswith(f"{user}.") for user in own_modules.trusted())
