"""What an option of a config group brings into the config, read from its file instead of composed by Hydra.

Most options write under their group's key and nowhere else, and nobody else writes there. For those the file's content is the
config's. The rest (options with defaults of their own or another package, groups that an experiment changes too) is Hydra's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import OmegaConf

if TYPE_CHECKING:
    from hydra.plugins.config_source import ConfigResult

    from dlrun.config.composing.loader import Loader

Config = dict[str, Any]


@dataclass(frozen=True)
class Brought:
    """What a word such as ``optimizer=adam`` brings: what stands under its key, not resolved; None when nothing does."""

    content: Config | None


class Options:
    """The options that a loader finds.

    Args:
        loader: Hydra's config loader.
        primary: the name of the primary config.
    """

    def __init__(self, loader: "Loader", primary: str) -> None:
        self._loader, self._primary = loader, primary
        self._loaded: dict[str, ConfigResult | None] = {}

    def brought(self, override: Override) -> Brought | None:
        """What an override that chooses options brings; None when only Hydra can tell.

        Raises:
            InputError: a file says what it must not.
        """
        group, value = override.key_or_group, override.value()
        if override.is_delete() or override.is_add() or override.is_force_add() or override.package is not None:
            return None
        content: Config = {}
        for name in value if isinstance(value, list) else [value]:
            loaded = self._load(f"{group}/{name}") if isinstance(name, str) else None
            path = _place(group, loaded) if loaded is not None else []
            if loaded is None or not path or not _put(content, path, OmegaConf.to_container(loaded.config)):
                return None
        self._loader.check_values(content)
        return Brought(content.get(root(override)))

    def alone(self, words: Sequence[str], groups: Sequence[str]) -> set[str]:
        """Those of ``groups`` under whose key nothing but their own options writes when ``words`` are composed."""
        found = self._loader.compute_defaults_list(self._primary, list(words), RunMode.RUN)
        writers: dict[str, set[str]] = {}
        for default in found.defaults:
            path, package = str(default.config_path), default.package or ""
            if package == "hydra" or package.startswith("hydra."):
                continue
            loaded = self._load(path)
            if loaded is None or "${" in str(loaded.defaults_list):  # an option that depends on another group's
                return set()
            keys = [package.split(".")[0]] if package else [str(key) for key in loaded.config]
            for key in keys:
                writers.setdefault(key, set()).add(path.rpartition("/")[0] if package else "")
        return {group for group in groups if writers.get(group.split("/")[0], {group}) == {group}}

    def _load(self, path: str) -> "ConfigResult | None":
        if path not in self._loaded:
            repository = self._loader.repository
            self._loaded[path] = repository.load_config(path) if repository.config_exists(path) else None
        return self._loaded[path]


def root(override: Override) -> str:
    """The key of the config under which a group's options write."""
    return override.key_or_group.split("/")[0]


def keys(node: Any) -> Iterator[str]:
    """Every key of nested containers."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield str(key)
            yield from keys(value)
    elif isinstance(node, list):
        for value in node:
            yield from keys(value)


def mentions(node: Any) -> Iterator[str]:
    """Every word that stands in an interpolation: a key that might be referred to."""
    if isinstance(node, dict):
        for value in node.values():
            yield from mentions(value)
    elif isinstance(node, list):
        for value in node:
            yield from mentions(value)
    elif isinstance(node, str) and "${" in node:
        word = ""
        for character in f"{node} ":
            if character.isalnum() or character in "_-":
                word += character
            elif word:
                yield word
                word = ""


def _place(group: str, loaded: "ConfigResult") -> list[str]:
    """The keys under which an option's content stands; none when that is not one place under the group's own key."""
    if loaded.defaults_list or not OmegaConf.is_dict(loaded.config):
        return []
    package = loaded.header.get("package") or "_group_"
    path = group.split("/") if package == "_group_" else package.split(".")
    return path if path[0] == group.split("/")[0] and not any(part.startswith("_") for part in path) else []


def _put(content: Config, path: Sequence[str], value: Any) -> bool:
    """Place ``value`` at ``path``; False when something is there."""
    for part in path[:-1]:
        content = cast(Config, content.setdefault(part, {}))
    if path[-1] in content:
        return False
    content[path[-1]] = value
    return True
