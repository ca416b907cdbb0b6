"""Which code a run's own components are, so that a changed component makes other runs.

What counts are the files of the modules that a config names, and of the modules that those have taken something from at their top
level, but for installed libraries. A module that is imported within a function is not seen.
"""

import sys
import sysconfig
from collections.abc import Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from dlrun import own_modules

_STANDARD = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))
_INSTALLED = {"site-packages", "dist-packages"}  # of whichever environment: a virtual one may see those of another
_known: dict[frozenset[str], tuple[dict[str, Any], str]] = {}  # modules -> how each was loaded, digest of all
_adopted: dict[frozenset[str], str] = {}


def digest(config: Mapping[str, Any]) -> str:
    """12 hex characters for the user's own code that a config names, as it was when first asked; empty when it names none."""
    if not own_modules.trusted():
        return ""
    names = frozenset(target.rpartition(".")[0] for target in _components(config) if own_modules.is_own(target))
    if not names or names in _adopted:
        return _adopted.get(names, "")
    loaded, found = _known.get(names, ({}, ""))
    if not found or any(getattr(sys.modules.get(name), "__spec__", None) is not spec for name, spec in loaded.items()):
        modules = dict(sorted(_reached(names).items()))
        content = sha256()
        for name, module in modules.items():
            content.update(f"{name}\0".encode() + sha256(_read(module)).digest())
        found = content.hexdigest()[:12]
        _known[names] = ({name: module.__spec__ for name, module in modules.items()}, found)
    return found


def own(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The user's own components that a config names, sorted."""
    return (
        tuple(sorted({target for target in _components(config) if own_modules.is_own(target)})) if own_modules.trusted() else ()
    )


def known() -> dict[frozenset[str], str]:
    """What was answered so far, for worker processes: a file may change while they start."""
    return {names: found for names, (_, found) in _known.items()}


def adopt(found: Mapping[frozenset[str], str]) -> None:
    """Answer what another process has answered."""
    _adopted.clear()
    _adopted.update(found)


def _components(config: Mapping[str, Any]) -> Iterator[str]:
    """The names of code in a config that a run computes with; a logger only listens."""
    for group, section in config.items():
        if group != "logger":
            yield from _named(section)


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if isinstance(value.get("_target_"), str):
            yield value["_target_"]
        for item in value.values():
            yield from _named(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _named(item)


def _reached(names: frozenset[str]) -> dict[str, ModuleType]:
    """The modules of ``names`` with all that they rest on, but for libraries."""
    ours = {name.partition(".")[0] for name in names}
    found: dict[str, ModuleType] = {}
    waiting: list[Any] = list(names)
    while waiting:
        name = waiting.pop()
        module = sys.modules.get(name) if isinstance(name, str) and name not in found else None
        file = getattr(module, "__file__", None)
        root = str(name).partition(".")[0]
        if module is None or not file or root == "dlrun" or (root not in ours and _is_library(Path(file))):
            continue
        found[name] = module
        waiting.append(name.rpartition(".")[0])
        waiting += [_home(value) for value in list(vars(module).values())]
    return found


def _is_library(file: Path) -> bool:
    """Whether a module's file is Python's own, or was installed."""
    return not _INSTALLED.isdisjoint(file.parts) or any(file.is_relative_to(folder) for folder in _STANDARD)


def _home(value: Any) -> Any:
    """The name of the module that something is, or is from, or is an object of a class of."""
    if isinstance(value, ModuleType):
        return value.__name__
    return value.__module__ if isinstance(value, type | FunctionType) else type(value).__module__


def _read(module: ModuleType) -> bytes:
    try:
        return Path(str(module.__file__)).read_bytes()
    except OSError:  # removed since it was imported
        return b""
