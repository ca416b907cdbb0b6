"""Values in a place for one that mean several: what to type for a run of each."""

import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

_SPAN = re.compile(r"(-?\d+)\s*(?:\.\.\.?|-|:|to)\s*(-?\d+)")


def each(key: str, value: Any, fits: Callable[[Any], bool]) -> str:
    """``; for a run of each, type -m seed=0,1,2`` for ``[0,1,2]`` where one number can stand, or an empty string.

    Args:
        key: the key that was given the value.
        value: a value that it does not take.
        fits: whether it takes another.
    """
    if isinstance(value, list | tuple) and value and all(map(fits, value)):
        word = f"{key}={','.join(map(str, value))}" if len(value) > 1 else f"{key}={value[0]}"
        return f"; for a run of each, type -m {word}" if len(value) > 1 else f"; type {word}"
    if isinstance(value, str) and (match := _SPAN.fullmatch(value.strip())) and fits(int(match[1])) and fits(int(match[2])):
        low, high = int(match[1]), int(match[2])
        if low < high:
            return f"; for a run of each, type -m {shlex.quote(f'{key}=range({low},{high + 1})')}"
    if isinstance(value, str) and value == "":
        return f"; give it a value, or leave {key}= out"
    return ""


def show(value: Any) -> str:
    """A value as a user would type it on the command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(show(item) for item in value)}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{show(item)}' for key, item in value.items())}}}"
    return str(value)
