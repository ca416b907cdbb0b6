"""The functions that a check can name with ``holds``: those of ``identities``, and those of ``fitted``, which look at runs."""

from collections.abc import Callable

from dlrun.claims.fitted import FITTED, Trained
from dlrun.claims.identities import IDENTITIES
from dlrun.errors import InputError, nearest


def described(name: str) -> str:
    """What a function finds out: the first line of its docstring.

    Raises:
        InputError: there is none of this name.
    """
    return (_function(name).__doc__ or name).splitlines()[0].rstrip(".")


def call(name: str, runs: Trained) -> tuple[float, float, float, int]:
    """The figure of a function, the bounds between which it must lie, and how many runs it looked at.

    Raises:
        InputError: there is none of this name.
    """
    _function(name)
    if name in FITTED:
        return *FITTED[name](runs), len(runs.records)
    return *IDENTITIES[name](), 0


def _function(name: str) -> Callable[..., tuple[float, float, float]]:
    known: dict[str, Callable[..., tuple[float, float, float]]] = {**IDENTITIES, **FITTED}
    if name not in known:
        raise InputError(f"holds: {name}: no such function; there are {', '.join(known)}{nearest(name, known)}")
    return known[name]
