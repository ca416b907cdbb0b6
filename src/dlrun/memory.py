"""How much memory this machine has, and a refusal of what it cannot hold before any of it is allocated."""

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

from dlrun.errors import InputError

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container: version 2, version 1


def machine_bytes() -> int:
    """All memory that this process may ever have: the machine's, or less where a container or a limit allows less."""
    import psutil

    found = [int(psutil.virtual_memory().total)]
    for limit in _LIMITS:
        with suppress(OSError, ValueError):  # there is no such file, or it says "max"
            found.append(int(Path(limit).read_text()))
    with suppress(ImportError):  # not every system has such limits
        import resource

        address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
        if address_space != resource.RLIM_INFINITY:
            found.append(address_space)
    return min(found)


def free_bytes() -> int:
    """The memory that can be had now without making others wait."""
    import psutil

    return int(psutil.virtual_memory().available)


def give_back() -> None:
    """Return memory that was freed to the system, where the C library keeps it: what reading a file took is then free."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def check(count: int, what: str, remedy: str, *, limit: int | None = None, error: type[InputError] = InputError) -> None:
    """Refuse what takes more memory than there is.

    Args:
        count: bytes that it takes at least.
        what: the beginning of the message, such as ``dataset.rows=1000``.
        remedy: what to do about it.
        limit: bytes that there are; those of this machine when None.
        error: what to raise.

    Raises:
        InputError: ``count`` is larger than ``limit``.
    """
    limit = machine_bytes() if limit is None else limit
    if count > limit:
        raise error(f"{what}: takes about {gigabytes(count)} of memory, and there are {gigabytes(limit)}; {remedy}")


def gigabytes(count: int) -> str:
    """Bytes in words, such as 1.5 GB."""
    return f"{count / 2**30:,.1f} GB"
