"""Runs that differ in their seed alone: what does not depend on it is found out once for all of them."""

import re
from collections.abc import Callable, Sequence
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from dlrun.results.seeded import SEED

if TYPE_CHECKING:
    from dlrun.config.spec import RunSpec

_SEED = re.compile(r"seed=(0|[1-9][0-9]{0,17})", re.ASCII)

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


def is_seed(word: str) -> bool:
    """Whether a word of a job sets its seed."""
    return word.lstrip("+").startswith("seed=")


def parted(job: Sequence[str]) -> tuple[tuple[str, ...], int | None]:
    """The words of a job without its seed, and its seed; all of them, and None, where it has none that is a plain number."""
    found = [word for word in job if is_seed(word)]
    seed = _SEED.fullmatch(found[0]) if len(found) == 1 else None
    if seed is None:
        return tuple(job), None
    return tuple([SEED if word is found[0] else word for word in job]), int(seed[1])


class Memo(dict[Any, Any]):
    """What is known of some runs. In another process it is empty, and shared by the same runs."""

    def __reduce__(self) -> tuple[type["Memo"], tuple[()]]:
        return Memo, ()


def twin(instance: T, **changes: Any) -> T:
    """What ``dataclasses.replace`` gives of a frozen instance, in a tenth of the time; nothing is checked anew."""
    made = object.__new__(type(instance))
    vars(made).update(vars(instance), **changes)
    return made


def once(function: Callable[["RunSpec", *Ts], T]) -> Callable[["RunSpec", *Ts], T]:
    """Call ``function`` with the first of some repeats, and answer the same for the others.

    It must not look at what repeats differ in: the seed and the overrides.
    """

    def known(spec: "RunSpec", *args: *Ts) -> T:
        place = (function, *args)
        if place not in spec.memo:
            spec.memo[place] = function(spec, *args)
        found: T = spec.memo[place]
        return found

    return update_wrapper(known, function)
