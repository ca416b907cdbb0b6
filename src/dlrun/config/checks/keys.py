"""What is wrong with an override that the composed config does not take: its key is looked up there."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf

from dlrun import registry
from dlrun.config.composing.grammar import values
from dlrun.errors import InputError, nearest
from dlrun.suggestions import keys


class SettingError(InputError):
    """Words that set what the composed config does not take."""


def value_problem(override: Override, config: DictConfig, error: Exception) -> str:
    """A line about an override that could not be applied.

    Args:
        override: the override.
        config: the composed config.
        error: what Hydra raised; its cause is OmegaConf's, where a value is not of the type of its key.
    """
    choices = {str(group): name for group, name in config.hydra.runtime.choices.items()}
    content = OmegaConf.to_container(config)
    assert isinstance(content, dict)
    said = _key_problem(override, {str(name): value for name, value in content.items()}, choices)
    return said or f"{override.input_line}: {str(error.__cause__ or error).splitlines()[0]}"


def of_another_option(override: Override, choices: Sequence[Override]) -> bool:
    """Whether a key is one of an option that the words sweep over: it applies to the runs that have it."""
    group, _, name = override.key_or_group.partition(".")
    swept = [each for each in choices if each.key_or_group == group and each.is_sweep_override()]
    chosen = [str(getattr(value, "text", value)) for each in swept for value in values(each)]
    for option in dict.fromkeys(part for names in chosen for part in names.strip("[]").split(",")):
        if option in registry.options(group):
            own = name.removeprefix(f"{option}.") if registry.is_set(group) else name
            if own.split(".")[0] in registry.load_option(group, option):
                return True
    return False


def _key_problem(override: Override, config: Mapping[str, Any], choices: Mapping[str, Any]) -> str:
    """What is wrong with an override's key; an empty string when nothing is."""
    word, key, value = override.input_line or "", override.key_or_group, override.value()
    node = registry.value_at(config, key, registry.MISSING)
    there = node is not registry.MISSING
    if override.is_force_add():
        return ""
    if override.is_add():
        taken = there and node is not None and not isinstance(value, dict | list)
        return f"{word}: the key exists; type {word.lstrip('+')}" if taken else ""
    if override.is_delete():
        if not there or node is None:
            known = [name for name in config if name != "hydra"]
            return f"{word}: no such key; there is nothing to take out{'' if there else nearest(key, known)}"
        return f"{word}: the value is {node}; type ~{key}" if value is not None and value != node else ""
    if not there:
        return keys.unknown(word, key, config, choices)
    if isinstance(value, dict) and isinstance(node, dict):
        missing = next((str(name) for name in value if name not in node), "")
        return keys.unknown(word, f"{key}.{missing}", config, choices) if missing else ""
    return ""
