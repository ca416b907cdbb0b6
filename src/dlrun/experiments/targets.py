"""What a name in a config may stand for.

A config is data: it may name torch.nn's modules, torch.optim's optimizers, dlrun's own components and datasets, and what lies in
a module that the user imported with ``--import MODULE``. Nothing else is ever looked up, whatever a config says.
"""

import importlib
from collections.abc import Callable
from typing import Any

from torch import nn

from dlrun.components.optimizers import ROWWISE as OPTIMIZERS
from dlrun.errors import InputError, nearest

_OWN = ("dlrun.components.", "dlrun.data.sources.")
_imported: set[str] = set()


def trust(module: str) -> None:
    """Import a user's module, whose names may from now on stand in configs. Importing is trusting: its code runs.

    Raises:
        InputError: there is no such module, or it fails to import.
    """
    try:
        importlib.import_module(module)
    except Exception as error:
        raise InputError(
            f"--import {module}: {type(error).__name__}: {error}; it must be importable from the working folder"
        ) from error
    _imported.add(module)


def trusted() -> tuple[str, ...]:
    """The modules imported so far, for worker processes to import too."""
    return tuple(sorted(_imported))


def resolve(target: Any, where: str) -> Callable[..., Any]:
    """What ``target`` names, looked up in the places above.

    Raises:
        InputError: the name is not of those places, or nothing there has it.
    """
    if not isinstance(target, str) or "." not in target:
        raise InputError(f"{where}._target_={target}: must be a name such as torch.nn.ReLU or dlrun.components.losses.mse")
    module, _, name = target.rpartition(".")
    if module == "torch.nn":
        return _class(target, name, vars(nn), nn.Module, where)
    if module == "torch.optim":
        if target in OPTIMIZERS:
            return OPTIMIZERS[target]
        import torch.optim

        return _class(target, name, vars(torch.optim), torch.optim.Optimizer, where)
    if f"{module}.".startswith(_OWN):
        return _member(target, module, name, where, own=True)
    for user in _imported:
        if f"{module}.".startswith(f"{user}."):
            return _member(target, module, name, where, own=False)
    root = target.split(".")[0]
    raise InputError(
        f"{where}._target_={target}: is not dlrun's, torch.nn's or torch.optim's, and was not imported; "
        f"if you trust it, type --import {module if root != 'torch' else 'MODULE'}"
    )


def _class(target: str, name: str, names: dict[str, Any], kind: type, where: str) -> Callable[..., Any]:
    known = [key for key, value in names.items() if isinstance(value, type) and issubclass(value, kind)]
    if name not in known:
        raise InputError(f"{where}._target_={target}: torch has no such class{nearest(name, known)}")
    found: Callable[..., Any] = names[name]
    return found


def _member(target: str, module: str, name: str, where: str, *, own: bool) -> Callable[..., Any]:
    try:
        found = vars(importlib.import_module(module)).get(name)
    except ImportError as error:
        raise InputError(f"{where}._target_={target}: {error}") from error
    if not callable(found) or (own and not str(getattr(found, "__module__", "")).startswith("dlrun.")):
        known = [
            key for key, value in vars(importlib.import_module(module)).items() if callable(value) and not key.startswith("_")
        ]
        raise InputError(f"{where}._target_={target}: {module} has no component '{name}'{nearest(name, known)}")
    component: Callable[..., Any] = found
    return component
