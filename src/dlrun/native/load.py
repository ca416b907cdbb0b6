"""The kernel as a library of this process."""

import ctypes
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from dlrun.native.build import libraries


@cache
def load() -> ctypes.CDLL | None:
    """The kernel, or None where the package was built without one, or for another processor."""
    return first(libraries().values())


def first(places: Iterable[Path]) -> ctypes.CDLL | None:
    """The first of some libraries that is there and that this processor can run."""
    for place in places:
        try:
            found = ctypes.CDLL(str(place))
        except OSError:
            continue
        if found.dlrun_runs_here():
            return found
    return None


def described() -> str:
    """In words what trains here."""
    return "its kernel and torch" if load() else "torch alone: there is no kernel for this machine"
