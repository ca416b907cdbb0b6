"""The kernel as a library of this process."""

import ctypes
from functools import cache

from dlrun.native.build import library


@cache
def load() -> ctypes.CDLL | None:
    """The kernel, or None where the package was built without one, or for another processor."""
    try:
        found = ctypes.CDLL(str(library()))
    except OSError:
        return None
    return found if found.dlrun_runs_here() else None


def described() -> str:
    """In words what trains here."""
    return "its kernel and torch" if load() else "torch alone: there is no kernel for this machine"
