"""The values of factors: what tells runs apart, by the name of a group or the dotted key of a setting."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dlrun import registry
from dlrun.errors import InputError
from dlrun.suggestions.values import show

Factor = str | int | float | bool
"""An option's name, or a setting. Lists are texts as one types them, null is a text; "" stands for a run that has no such key."""

_EXACT = 2**53  # up to here a float stands for one whole number


def typed(value: Any) -> Factor:
    """A value of a config as a factor."""
    if isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) < _EXACT else value
    return show(value)


def shown(value: Factor) -> str:
    """A factor's value as a user would type it."""
    return show(typed(value))


def distinct(value: Factor) -> tuple[bool, Factor]:
    """A value to compare by: true is not 1, and 1.0 is."""
    return isinstance(value, bool), value


def label(factors: Mapping[str, Factor]) -> str:
    """Factors as a user would type them; ``all runs`` when nothing varies."""
    return " ".join(f"{key}={shown(value)}" for key, value in factors.items() if value != "") or "all runs"


def filled(several: Sequence[Mapping[str, Factor]]) -> list[Mapping[str, Factor]]:
    """The factors of runs, with those that only others name: a run has the value of its option's file there.

    So a run that was asked for without ``optimizer.lr`` and one with its default are alike.
    """
    known = {id(factors): factors for factors in several}  # runs that differ in their seeds alone share them
    settings = list(dict.fromkeys(key for factors in known.values() for key in factors if "." in key))
    if not settings:
        return [*several]
    made = {place: {**dict(_usual(factors, settings)), **factors} if factors else factors for place, factors in known.items()}
    return [made[id(factors)] for factors in several]


def _usual(factors: Mapping[str, Factor], settings: Sequence[str]) -> Iterator[tuple[str, Factor]]:
    for key in settings:
        group, _, rest = key.partition(".")
        option = factors.get(group)
        if key in factors or not isinstance(option, str):
            continue
        if option.startswith("["):  # a set of options
            name, _, rest = rest.partition(".")
            option = name if name in option.strip("[]").split(",") else ""
        try:
            value = registry.value_at(registry.content(group, option), rest)
        except InputError:
            continue
        if value is not None and "${" not in str(value):
            yield key, typed(value)
