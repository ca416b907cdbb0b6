"""The words of a sweep's jobs: what each is, and which can be set in a composed config without Hydra. Each is parsed once."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Override

from dlrun.config.composing import grammar

if TYPE_CHECKING:
    from dlrun.config.composing.loader import Loader

Config = dict[str, Any]


class Words:
    """Overrides by their text, as a loader's groups make them out."""

    def __init__(self, loader: "Loader") -> None:
        self._loader = loader
        self._parsed: dict[str, Override] = {}
        self._groups: dict[str, bool] = {}
        self._values: dict[str, Any] = {}

    def parse(self, word: str) -> Override:
        """The override that a word is."""
        if word not in self._parsed:
            self._parsed[word] = grammar.parse([word], self._loader)[0]
        return self._parsed[word]

    def value(self, word: str) -> Any:
        """The value of a word: the same object for all jobs that have it."""
        if word not in self._values:
            self._values[word] = self.parse(word).value()
        return self._values[word]

    def key(self, word: str) -> str:
        """The key or the group of a word."""
        return self.parse(word).key_or_group

    def path(self, word: str) -> list[str]:
        """The parts of its key."""
        return self.key(word).split(".")

    def makes_keys(self, word: str) -> bool:
        """Whether a word may bring keys that no option has."""
        override = self.parse(word)
        return override.is_add() or override.is_force_add() or isinstance(override.value(), dict)

    def is_missing(self, word: str, raw: Config) -> bool:
        """Whether a word sets a key of a component that is not there."""
        override, path = self.parse(word), self.path(word)
        if override.is_delete() or override.package is not None or len(path) == 1 or path[0] == "hydra":
            return False
        if not self._loader.repository.group_exists(path[0]):
            return False
        node: Any = raw
        for part in path:
            if not isinstance(node, dict):
                return node is None
            if part not in node:
                return True
            node = node[part]
        return False

    def is_group(self, word: str) -> bool:
        """Whether a word chooses options."""
        override = self.parse(word)
        key = override.key_or_group
        if key not in self._groups:
            self._groups[key] = bool(self._loader.repository.group_exists(key))
        return self._groups[key] and not isinstance(override.value(), dict)

    def plain(self, words: Sequence[str], raw: Config) -> list[str]:
        """Those of ``words`` that can be set in plain containers, and that no other word has a part in."""
        plain = [word for word in words if self._is_plain(word, raw)]
        others = [self.path(word) for word in words if word not in plain]
        return [word for word in plain if not any(_within(self.path(word), other) for other in others)]

    def _is_plain(self, word: str, raw: Config) -> bool:
        """Whether setting this value in plain containers is all that Hydra would do."""
        override = self.parse(word)
        if override.is_add() or override.is_delete() or override.package is not None:
            return False
        value = override.value()
        if isinstance(value, dict) or "${" in str(value):
            return False
        node: Any = raw
        for part in self.path(word):
            if not isinstance(node, dict) or part not in node:
                return False
            node = node[part]
        return not isinstance(node, dict)


def _within(path: Sequence[str], other: Sequence[str]) -> bool:
    """Whether one of two paths leads through the other."""
    shorter = min(len(path), len(other))
    return path[:shorter] == other[:shorter]
