"""What a hyperparameter may be, said where it is declared.

A component is a function or class whose keyword-only parameters are its hyperparameters. Their annotations carry the allowed
values: ``delta: Positive = 1.0``. ``problems`` reads the signature and tells what is wrong with a set of values, so a range is
written once, and nothing else needs to know it.

``Row`` stands for one number for all runs, or a column with one number for each run (shaped to broadcast against the data).
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from dlrun.errors import nearest
from dlrun.lazy import Tensor
from dlrun.suggestions.values import each, show

Row = float | Tensor


@dataclass(frozen=True)
class Interval:
    """Allowed numbers: from ``low`` to ``high``, ends included unless they are open."""

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return -math.inf < value < math.inf and above and below

    def __str__(self) -> str:
        if self.low == -math.inf and self.high == math.inf:
            return "a finite number"
        if self.high == math.inf:
            return f"a number {'above' if self.open_low else 'of at least'} {_digits(self.low)}"
        low, high = _digits(self.low), _digits(self.high)
        return f"a number in {'(' if self.open_low else '['}{low}, {high}{')' if self.open_high else ']'}"


@dataclass(frozen=True)
class OneOf:
    """Allowed words, of a table that is written elsewhere."""

    options: tuple[str, ...]

    def mismatch(self, value: Any) -> str:
        """What is allowed, in words, when ``value`` is not."""
        if value in self.options:
            return ""
        return f"one of {', '.join(map(show, self.options))}{nearest(str(value), map(str, self.options))}"


Finite = Annotated[Row, Interval()]
Positive = Annotated[Row, Interval(0, open_low=True)]
NonNegative = Annotated[Row, Interval(0)]
Probability = Annotated[Row, Interval(0, 1)]
Share = Annotated[Row, Interval(0, 1, open_high=True)]  # a probability or decay rate that may not reach 1
OpenShare = Annotated[Row, Interval(0, 1, open_low=True, open_high=True)]  # strictly between 0 and 1
Count = Annotated[int, Interval(1)]
Natural = Annotated[int, Interval(0)]


@cache
def hyperparameters(component: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """The hyperparameters of a component: its keyword-only parameters.

    All parameters for a class of torch, an optimizer (its first parameter is ``params``), or a class without keyword-only ones.
    """
    try:
        parameters = list(inspect.signature(component).parameters.values())
    except ValueError:  # torch's built-in functions have no signature, and no hyperparameters either
        return {}
    named = {p.name: p for p in parameters if p.kind is p.KEYWORD_ONLY}
    optimizer = bool(parameters) and parameters[0].name == "params"
    if inspect.isclass(component) and (not named or optimizer or component.__module__.startswith("torch.")):
        named = {p.name: p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name != "params"}
    return named


@cache
def type_hints(component: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a component's parameters, ranges included; none where they cannot be read."""
    try:
        return get_type_hints(component.__init__ if inspect.isclass(component) else component, include_extras=True)
    except (TypeError, NameError, AttributeError):
        return {}


def is_tensor(hint: Any) -> bool:
    """Whether an annotation is the class of tensors: torch's own, or what stands for it."""
    return isinstance(hint, type) and issubclass(hint, Tensor)


# Parameters that the engine gives, to losses, schedules, modules and regularizers: a config does not have them.
SUPPLIED = ("task", "epoch_steps", "total_steps", "inputs", "outputs", "vocabulary", "activation", "weights", "classes")


def problems(component: Callable[..., Any], values: Mapping[str, Any], where: str) -> list[str]:
    """Every problem of ``values`` as hyperparameters of ``component``, one line each, named by the config key ``where``."""
    known = hyperparameters(component)
    hints = type_hints(component)
    found = []
    for name, value in values.items():
        if name not in known:
            found.append(f"{where}.{name}: no such key; {where} takes {', '.join(known) or 'none'}{nearest(name, known)}")
        elif name in hints:
            message = mismatch(hints[name], value)
            if message:
                hint = hints[name]
                several = each(f"{where}.{name}".removeprefix("config."), value, partial(_fits, hint))
                found.append(f"{where}.{name}={show(value)}: must be {message}{several}")
    found += [
        f"{where}.{name}: is missing; give it a value"
        for name, parameter in known.items()
        if parameter.default is parameter.empty and name not in values and name not in SUPPLIED
    ]
    return found


def mismatch(hint: Any, value: Any) -> str:
    """What ``hint`` allows, in words, when ``value`` is not that; an empty string when it is."""
    if get_origin(hint) is Annotated:
        base, *extras = get_args(hint)
        interval = next((extra for extra in extras if isinstance(extra, Interval)), None)
        if interval is not None:
            whole = base is int
            fits = _is_number(value, whole) and value in interval
            return "" if fits else str(interval).replace("a number", "a whole number") if whole else str(interval)
        choice = next((extra for extra in extras if isinstance(extra, OneOf)), None)
        return choice.mismatch(value) if choice is not None else mismatch(base, value)
    if get_origin(hint) is Literal:
        return OneOf(get_args(hint)).mismatch(value)
    if get_origin(hint) in (Union, UnionType):
        message = [mismatch(option, value) for option in get_args(hint) if not is_tensor(option)]
        return "" if "" in message else " or ".join(dict.fromkeys(message))
    if get_origin(hint) in (list, tuple):
        return _mismatch_items(hint, value)
    if hint is NoneType:
        return "" if value is None else "null"
    if hint is bool:
        return "" if isinstance(value, bool) else "true or false"
    if hint in (int, float):
        return "" if _is_number(value, hint is int) else f"a {'whole ' if hint is int else ''}number"
    if hint is str:
        return "" if isinstance(value, str) else "a word"
    return ""


def _mismatch_items(hint: Any, value: Any) -> str:
    items = get_args(hint)
    if not isinstance(value, list | tuple):
        return f"a list such as [{', '.join('...' for _ in items[:2])}]" if get_origin(hint) is tuple else "a list"
    if get_origin(hint) is tuple and items[-1] is not Ellipsis:
        if len(value) != len(items):
            return f"a list of {len(items)}"
        pairs = list(zip(items, value, strict=True))
    else:
        pairs = [(items[0], item) for item in value]
    message = next((text for text in (mismatch(item_hint, item) for item_hint, item in pairs) if text), "")
    return f"a list in which each is {message}" if message else ""


def _fits(hint: Any, value: Any) -> bool:
    return not mismatch(hint, value)


def _digits(number: float) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


def _is_number(value: Any, whole: bool) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int) or (not whole and isinstance(value, float))
