"""How many threads this process computes with: the kernel, and torch when it comes to that."""

import os
import sys

from dlrun.lazy import torch

__all__ = ["cores", "set_thread_count", "thread_count"]

_asked: list[int] = []  # for how many, at last


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_count() -> int:
    """As many as were asked for; else as many as OMP_NUM_THREADS says, or as there are cores, as torch has it too."""
    if _asked:
        return _asked[0]
    if "torch" in sys.modules:
        return torch.get_num_threads()
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) else cores()


def set_thread_count(count: int) -> None:
    """Let this process compute with so many from now on."""
    _asked[:] = [count]
    if "torch" in sys.modules:
        torch.set_num_threads(count)
