"""Keys of a config that nothing reads, and names that a list holds twice: refused, since they do not do what they seem to."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from dlrun import registry
from dlrun.errors import nearest
from dlrun.suggestions.options import not_global
from dlrun.suggestions.values import show

_OF_MODELS = ("hidden", "init", "head", "layers", "embedding")  # read from any model's config
_LISTS = ("baseline", "reference", "tune_over")  # lists of names at the top of a config


def unread(
    config: Mapping[str, Any], choices: Mapping[str, str], overrides: Sequence[str], mentioned: frozenset[str]
) -> list[str]:
    """Keys that nothing reads, one line each. Those of components are in their signatures, and checked there.

    Args:
        config: a resolved config.
        choices: the option of each group.
        overrides: what it was composed with.
        mentioned: words of the config's interpolations; what is mentioned there is read.
    """
    return [
        f"{_word(path, overrides)}: no such key; {_takes(path, known)}"
        for path, known in _unread(config, choices)
        if not (name := path.rpartition(".")[2]).startswith("_") and name not in mentioned and path not in choices
    ] + _not_global(config, choices)


def twice(config: Mapping[str, Any]) -> list[str]:
    """Names that stand twice in a list of names, one line each."""
    lists = {key: config.get(key) for key in _LISTS}
    lists |= {f"dataset.{key}": value for key, value in (config.get("dataset") or {}).items()}
    return [
        f"{key}={show(value)}: {name} is named twice; type {key}={show(list(dict.fromkeys(value)))}"
        for key, value in lists.items()
        if isinstance(value, list)
        for name in dict.fromkeys(part for part in value if isinstance(part, str))
        if value.count(name) > 1
    ]


def _unread(config: Mapping[str, Any], choices: Mapping[str, str]) -> Iterator[tuple[str, Sequence[str]]]:
    roots = root_keys()
    yield from ((str(key), roots) for key in config if key not in roots and key != "experiment")
    model, logger = config.get("model"), config.get("logger")
    if isinstance(model, Mapping) and "_target_" not in model:
        known = list(dict.fromkeys([*_OF_MODELS, *_own("model", choices.get("model", ""))]))
        yield from ((f"model.{key}", known) for key in model if key not in known)
    if isinstance(logger, Mapping) and "_target_" not in logger:  # another's keys are checked where it is made
        known = [*_own("logger", "console"), *(name for name in logger if registry.is_apart("logger", str(name)))]
        yield from ((f"logger.{key}", known) for key in logger if key not in known)


def _not_global(config: Mapping[str, Any], choices: Mapping[str, str]) -> list[str]:
    """A line when an experiment's settings stand under a key of its own instead of at the top."""
    if "experiment" not in config:
        return []
    return [not_global(choices.get("experiment", "NAME"))]


@cache
def root_keys() -> tuple[str, ...]:
    """The keys at the top of a config, sorted."""
    return tuple(sorted({*registry.root_keys(), *registry.defaults()} - {"experiment", registry.CLAIM}))


@cache
def _own(group: str, name: str) -> tuple[str, ...]:
    """The keys of one of dlrun's own options; none of another's."""
    file = registry.root() / group / f"{name}.yaml"
    return tuple(registry.read(file)) if file.is_file() else ()


def _takes(path: str, known: Sequence[str]) -> str:
    parent, _, name = path.rpartition(".")
    return f"{parent or 'dlrun'} takes {', '.join(known)}{nearest(name, known)}"


def _word(path: str, overrides: Sequence[str]) -> str:
    """The override that sets a key, or the key and that it stands in a file."""
    for word in overrides:
        key = word.lstrip("+").partition("=")[0].rpartition("@")[2]  # of group@package the package
        if key == path or key.startswith(f"{path}."):
            return word
    return f"{path} (in a config file)"
