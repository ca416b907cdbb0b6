"""The values that an override sweeps over, in Hydra's grammar, with ranges computed in decimal numbers.

    optimizer.lr=range(0.1,0.4,0.1)   -> 0.1, 0.2, 0.3
    seed=range(0,3),10                -> 0, 1, 2, 10
    activation=glob(s*),relu          -> selu, sigmoid, ..., relu

Hydra 1.3 adds the steps of a range as binary numbers, so that 0.1 + 0.1 + 0.1 is above 0.3 and a range may keep its stop. It also
has no reading for a range or a pattern that is one of several values. Here a range has the values that its decimal digits give,
and every sweep may be part of another. ``plain`` writes what Hydra would read otherwise as a list of values.
"""

import itertools
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from decimal import Context, Decimal
from functools import cache
from pathlib import Path
from typing import Any

from hydra._internal.grammar import grammar_functions as theirs
from hydra._internal.grammar.functions import Functions
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import (
    ChoiceSweep,
    Glob,
    IntervalSweep,
    Override,
    OverrideType,
    Quote,
    QuotedString,
    RangeSweep,
    Sweep,
    ValueType,
)
from hydra.errors import HydraException, OverrideParseException

from dlrun import registry
from dlrun.errors import InputError

LIMIT = 100_000  # runs in one sweep; more are a mistake more often than a wish
DIGITS = 50  # of the decimal numbers that a range is computed in
_COUNT = re.compile(r"([a-zA-Z_]\w*(?:\.[a-zA-Z_]\w*)*)=(0|[1-9][0-9]{0,17})", re.ASCII)
_OWN_SWEEPERS = ("cohort", "basic")  # others give ranges a meaning of their own: bounds of a search, say


def parse(words: Sequence[str], loader: Any = None) -> list[Override]:
    """Overrides as dlrun reads them.

    Args:
        words: overrides.
        loader: Hydra's config loader; patterns are matched with the registry where there is none.

    Raises:
        InputError: the arguments of a function such as ``range`` cannot work.
        OverrideParseException: a word is not in the grammar.
    """
    parser = OverridesParser(_functions(), loader)
    found = []
    for word in words:
        if simple := _COUNT.fullmatch(word):  # most words of a large sweep are seeds, and parsing one takes a millisecond
            key, number = simple.groups()
            found.append(
                Override(OverrideType.CHANGE, key, ValueType.ELEMENT, int(number), input_line=word, config_loader=loader)
            )
            continue
        try:
            found += parser.parse_overrides([word])
        except OverrideParseException:
            _check_arguments(parser, word)
            raise
    return found


def values(override: Override) -> Iterator[str]:
    """The values of a sweep as words of the grammar, one after the other.

    Raises:
        InputError: the sweep cannot be enumerated, or a pattern stands where there are no options.
    """
    for value in _flat(override.value(), override):
        yield Override._get_value_element_as_str(value)


def plain(words: Sequence[str]) -> list[str]:
    """The same words, with sweeps that Hydra 1.3 reads otherwise, or not at all, written as lists of values.

    Words that cannot be parsed stay as they are. Where another sweeper than dlrun's or Hydra's basic one is asked for, all do.

    Raises:
        InputError: a sweep cannot be enumerated, or has more than ``LIMIT`` values.
    """
    sweepers = [word.partition("=")[2] for word in words if word.startswith("hydra/sweeper=")]
    if any(name not in _OWN_SWEEPERS for name in sweepers):
        return [*words]
    return [_plain(word) for word in words]


def _plain(word: str) -> str:
    if "(" not in word:
        return word
    try:
        override = parse([word])[0]
    except HydraException:
        return word
    value: Any = override.value()
    if not isinstance(value, Sweep) or isinstance(value, IntervalSweep) or _is_whole(value):
        return word  # a pattern that stands alone is the loader's
    if isinstance(value, ChoiceSweep) and value.simple_form and not any(isinstance(part, Sweep | Glob) for part in value.list):
        return word
    found = [*itertools.islice(values(override), LIMIT + 1)]
    if not found:
        raise InputError(f"{word}: holds no value")
    if len(found) > LIMIT:
        raise InputError(f"{word}: more than {LIMIT:,} values; sweep over fewer")
    return f"{override.get_key_element()}={f'choice({found[0]})' if len(found) == 1 else ','.join(found)}"


def whole_range(value: RangeSweep) -> range:
    """The numbers of a range of whole numbers."""
    return range(int(value.start or 0), int(value.stop or 0), int(value.step))


def decimal_range(start: float, stop: float, step: float) -> Iterator[float]:
    """``start``, ``start + step``, ... as long as they are before ``stop``, computed on the digits that the numbers print with.

    >>> list(decimal_range(0.1, 0.4, 0.1))
    [0.1, 0.2, 0.3]
    """
    exact = Context(prec=DIGITS)
    value, last, by = (Decimal(repr(number)) for number in (start, stop, step))
    while value < last if by > 0 else value > last:
        yield float(value)
        value = exact.add(value, by)


# Functions of the grammar: those of Hydra, but for what makes and orders sweeps


@cache
def _functions() -> Functions:
    functions = Functions()
    for name, function in _OURS.items():
        functions.register(name=name, func=function)
    return functions


def _range(start: int | float, stop: int | float | None = None, step: int | float = 1) -> RangeSweep:
    if stop is None:
        start, stop = 0, start
    if any(isinstance(number, bool) or number != number or abs(number) == float("inf") for number in (start, stop, step)):
        raise InputError(f"takes finite numbers: {_USES['range']}")
    if step == 0:
        raise InputError("has a step of 0, so it has no end; range(start,stop,step) takes another step, such as 1")
    return RangeSweep(start=start, stop=stop, step=step)


def _choice(*args: Any) -> ChoiceSweep:
    if not args:
        raise InputError("holds no value; choice(a,b) takes those to try")
    return ChoiceSweep(list=[*args])


def _sort(*args: Any, reverse: bool = False, list: Any = None, sweep: Any = None) -> Any:
    args = tuple(value for value in (*args, list, sweep) if value is not None)
    if len(args) == 1 and isinstance(args[0], _List):
        return sorted(args[0], reverse=reverse)
    try:
        return ChoiceSweep(list=sorted(_parts(args), reverse=reverse))
    except TypeError:
        raise InputError("takes values that can be compared: numbers, or words") from None


def _shuffle(*args: Any, list: Any = None, sweep: Any = None) -> Any:
    args = tuple(value for value in (*args, list, sweep) if value is not None)
    if len(args) == 1 and isinstance(args[0], _List):
        return random.sample(args[0], len(args[0]))
    parts = _parts(args)
    return ChoiceSweep(list=random.sample(parts, len(parts)))


def _parts(args: Sequence[Any]) -> list[Any]:
    found = [*itertools.islice((value for arg in args for value in _flat(arg)), LIMIT + 1)]
    if len(found) > LIMIT:
        raise InputError(f"holds more than {LIMIT:,} values; sweep over fewer")
    return found


_List = list
_OURS: dict[str, Callable[..., Any]] = {
    "range": _range,
    "choice": _choice,
    "sort": _sort,
    "shuffle": _shuffle,
    "glob": theirs.glob,
    "interval": theirs.interval,
    "tag": theirs.tag,
    "int": theirs.cast_int,
    "float": theirs.cast_float,
    "str": theirs.cast_str,
    "bool": theirs.cast_bool,
}


_USES = {
    "range": "range(start,stop,step), such as range(0,10) or range(0.1,0.5,0.1)",
    "choice": "choice(a,b,c)",
    "sort": "sort(3,1,2) or sort(range(10,0,-1))",
    "shuffle": "shuffle(range(0,10))",
    "glob": "glob(s*) or glob([s*,t*],exclude=si*)",
    "interval": "interval(start,end)",
    "tag": "tag(name,range(0,10))",
    "int": "int(3.0)",
    "float": "float(3)",
    "str": "str(3)",
    "bool": "bool(true)",
}


def _check_arguments(parser: OverridesParser, word: str) -> None:
    """Raise InputError when a function of the grammar could not take what ``word`` gives it."""
    try:
        parser.parse_override(word)
    except HydraException as error:
        causes = [*_causes(error)]
        for cause in causes:
            if isinstance(cause, InputError):
                raise InputError(f"{word}: {cause}") from None
        name = next((name for name in re.findall(r"(\w+)\(", word) if name in _OURS), "")
        if name and any(isinstance(cause, TypeError | ValueError) for cause in causes):
            raise InputError(f"{word}: {name} cannot take that; type {_USES[name]}") from None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _flat(value: Any, override: Override | None = None) -> Iterator[Any]:
    """The single values of a sweep, whatever sweeps it is made of."""
    where = f"{override.input_line}: " if override is not None else ""
    if isinstance(value, ChoiceSweep):
        for part in random.sample(value.list, len(value.list)) if value.shuffle else value.list:
            yield from _flat(part, override)
    elif isinstance(value, RangeSweep):
        assert value.start is not None
        assert value.stop is not None
        yield from whole_range(value) if _is_whole(value) else decimal_range(value.start, value.stop, value.step)
    elif isinstance(value, Glob):
        yield from _matching(value, override, where)
    elif isinstance(value, IntervalSweep):
        raise InputError(f"{where}has no end; list the values, such as 0.1,0.01")
    else:
        yield value


def _matching(pattern: Glob, override: Override | None, where: str) -> list[str]:
    """The options that a pattern stands for."""
    if override is None:
        raise InputError("takes no glob(...); write the glob alone, as in activation=glob(s*)")
    group, loader = override.key_or_group, override.config_loader
    known = registry.options(group)
    if not known and loader is not None:
        known = loader.get_group_options(group)
    if not known:
        raise InputError(f"{where}glob(...) chooses options of a group, and {group} is none; list the values")
    found = pattern.filter(known)
    if not found:
        raise InputError(f"{where}matches nothing; {group} takes {', '.join(known)}")
    return found


def _is_whole(value: Any) -> bool:
    """Whether it is a range of whole numbers, which Python has."""
    return isinstance(value, RangeSweep) and all(isinstance(n, int) for n in (value.start, value.stop, value.step))


# Sweeps in a config file


def words_of(params: Mapping[Any, Any], takes_list: Callable[[str, list[Any]], bool]) -> list[str]:
    """What stands under ``hydra.sweeper.params`` as overrides.

    A text is in the grammar. A list holds values to try, unless the key takes a list itself; keys may be nested.

    Args:
        params: keys and values.
        takes_list: whether a list is one value of a key.

    Raises:
        InputError: a list is empty, or something cannot be written as an override.
    """
    found: list[str] = []
    for key, value in registry.leaves(params):
        several = isinstance(value, list) and (_holds_lists(value) or not takes_list(key, value))
        if several and not value:
            raise InputError(f"hydra.sweeper.params.{key}: holds no value to try; list some, or take the line out")
        parts = value if several else [value]
        found.append(f"{key}={','.join(part if isinstance(part, str) else word(part) for part in parts)}")
    return found


def _holds_lists(value: list[Any]) -> bool:
    return any(isinstance(part, list) or (isinstance(part, str) and part.lstrip().startswith("[")) for part in value)


# Values of Python's

_PLAIN = re.compile(r"[A-Za-z_][\w./-]*", re.ASCII)
_MEANING = ("null", "true", "false", "nan", "inf")  # words that YAML and Hydra read as something else than text
_SHORT = 12  # significant digits of a number that somebody may have typed


def word(value: Any) -> str:
    """A Python value in Hydra's grammar: a text is one text, whatever is in it.

    Raises:
        TypeError: it cannot be part of a config.
    """
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:  # a number of numpy's, or a tensor of one number
        single = "float32" in str(getattr(value, "dtype", "")) or "float16" in str(getattr(value, "dtype", ""))
        value = value.item()
        if single and isinstance(value, float):  # 0.1, not the 0.10000000149011612 that it is next to
            value = float(f"{value:.7g}")
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return repr(_typed(value))
    if isinstance(value, int):
        return repr(value)
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _MEANING
        return value if plain else str(QuotedString(value, Quote.single).with_quotes())
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{word(item)}' for key, item in value.items())}}}"
    found = items(value)
    if found is None:
        raise TypeError(f"{type(value).__name__} cannot be part of a config")
    return f"[{','.join(map(word, found))}]"


def items(value: Any) -> list[Any] | None:
    """The values to try that something of Python's holds; None when it is one value itself."""
    if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
        return None
    return list(value)


def _typed(value: float) -> float:
    """The short decimal number that a computed one stands for, as 0.3 for the 0.30000000000000004 of ``numpy.arange``."""
    near = f"{value:.15g}"
    return float(near) if len(near.partition("e")[0].strip("-0.").replace(".", "")) <= _SHORT else value
