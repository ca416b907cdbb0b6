"""The factors of a run: typed leaves of its resolved config, by which runs are grouped, named, found and drawn.

    activation=relu optimizer.lr=0.01       the option of each group, then every setting that is not what its option says

A setting that equals the value in the option's file is no factor, however it was asked for: equal runs have equal factors. What
the file leaves open (null) and the data decides, such as sizes and tasks, always is one. What nothing in the run reads is none,
nor is what only says how to look at results.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dlrun import registry
from dlrun.comparison.factors import Factor, distinct, typed
from dlrun.errors import InputError
from dlrun.results.identity import VOLATILE

REMOVED = "removed"  # the value of a setting that the option has and the run has not
_PRESENTATION = ("logger", "experiment")  # groups that are no part of what a run computes, or bring such parts
_REPEATS = ("seed", "dataset.fold")
_ROOTS: Mapping[str, Factor] = {"threshold": 0.5}  # settings without a group, and what they are by default
_PATHS = ("dataset.path", "dataset.test_path")  # no part of the identity, and yet what tells two tables apart


def factors(config: Mapping[str, Any], choices: Mapping[str, str], unused: Sequence[str] = ()) -> dict[str, Factor]:
    """What tells a run from others.

    Args:
        config: the resolved config.
        choices: the option of each group.
        unused: keys that have no effect on the run.

    Returns:
        Group or dotted key -> name of the option, number, truth value or text. Lists are texts as one types them; null is a text.
    """
    found: dict[str, Factor] = {
        group: name for group, name in choices.items() if group not in _PRESENTATION and _counts(group, unused)
    }
    found |= {key: typed(config[key]) for key, usual in _ROOTS.items() if config.get(key, usual) != usual}
    for group, section in config.items():
        if group in _PRESENTATION or not _counts(group, unused):
            continue
        if group == "regularizer":
            found[group] = f"[{','.join(section or {})}]"
            for name, values in (section or {}).items():
                found.update(_settings(f"{group}.{name}", values or {}, _option(group, name), unused))
        elif isinstance(section, Mapping):
            found.update(_settings(group, section, _option(group, choices.get(group, ""), section), unused))
    return found


def _settings(
    where: str, section: Mapping[str, Any], default: Mapping[str, Any], unused: Sequence[str]
) -> Iterator[tuple[str, Factor]]:
    """The leaves of a section that are not those of its option."""
    mine, usual = dict(registry.leaves(section, where)), dict(registry.leaves(default, where))
    for key in dict.fromkeys((*mine, *usual)):
        if _counts(key, unused):
            value = typed(mine[key]) if key in mine else REMOVED
            if key not in usual or distinct(value) != distinct(typed(usual[key])):
                yield key, value


def _counts(key: str, unused: Sequence[str]) -> bool:
    """Whether a key may be a factor."""
    if key in _REPEATS or (key in VOLATILE and key not in _PATHS):
        return False
    return not any(key == other or key.startswith(f"{other}.") for other in unused)


def _option(group: str, name: str, section: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """The content of an option's file, its interpolations resolved with the values of the run's section."""
    try:
        content = registry.content(group, name) if name else {}
        refers = [key for key, value in content.items() if "${" in str(value)]
        if not refers:
            return content
        given = {key: value for key, value in (section or {}).items() if key not in refers}
        return {**content, **_resolved(group, json.dumps({key: content[key] for key in refers}), json.dumps(given, default=str))}
    except (InputError, OmegaConfBaseException):  # broken, or it refers to another group: its settings are factors
        return {}


@cache
def _resolved(group: str, refers: str, given: str) -> Mapping[str, Any]:
    """What an option's interpolations come to with the values of a run."""
    mine = json.loads(refers)
    found = OmegaConf.to_container(OmegaConf.create({group: {**json.loads(given), **mine}}), resolve=True)
    assert isinstance(found, dict)
    return {key: found[group][key] for key in mine}
