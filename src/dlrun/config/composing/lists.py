"""Which settings take a list as one value: those of whose lists a sweep has to try each as a whole."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from dlrun import registry
from dlrun.components.hyperparameters import mismatch, type_hints
from dlrun.config.resolver import resolve
from dlrun.data.preparation import Preparation
from dlrun.errors import InputError

_ALONE = ("baseline", "reference", "tune_over", "zip")


def takes_list(key: str, value: list[Any]) -> bool:
    """Whether a list such as ``value`` is one value of ``key``: ``model.hidden`` takes one, ``seed`` none."""
    group, _, rest = key.partition(".")
    if not rest:
        return registry.is_set(group) or group in _ALONE
    if "." not in rest and group == "dataset" and _accepts(type_hints(Preparation), rest, value):
        return True
    return any(_has_list(group, name, part, value) for name, part in _places(group, rest))


def _places(group: str, rest: str) -> Iterator[tuple[str, str]]:
    """The options that may have a key, and its name there."""
    for name in registry.options(group):
        if not registry.is_set(group):
            yield name, rest
        elif rest.startswith(f"{name}."):
            yield name, rest.removeprefix(f"{name}.")


def _has_list(group: str, name: str, key: str, value: list[Any]) -> bool:
    with suppress(InputError):  # an option of the user's own, whose module was not imported
        content = registry.load_option(group, name)
        if key not in content:
            return False
        if isinstance(content[key], list):
            return True
        if group == "model" and content[key] is None:  # sizes that the data decides
            return True
        if "_target_" in content:
            return _accepts(type_hints(resolve(content["_target_"], group)), key, value)
    return False


def _accepts(hints: dict[str, Any], key: str, value: list[Any]) -> bool:
    return key in hints and not mismatch(hints[key], value)
