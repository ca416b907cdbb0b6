"""The blocks of a call to the kernel, spread over threads.

ctypes releases the interpreter's lock, so the kernel runs in several of Python's threads at once. Blocks share no number that
changes, so what they compute does not depend on which thread takes them.
"""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache

from dlrun.threads import thread_count

__all__ = ["spread"]

WORTH = 1 << 22  # multiplications of all blocks from which others help: some 500 us, where handing over takes 50 to 100
PIECES = 4  # ranges a thread, so that all end at about the same time: kinds of components differ in what they cost


def spread(call: Callable[[int, int], int], blocks: int, products: int) -> None:
    """Make a call of the kernel for all blocks, in the threads of ``threads.thread_count()``.

    Args:
        call: takes the first block and the one behind the last; returns what the kernel returns.
        blocks: how many there are.
        products: multiplications of the call for all of them. Short calls stay in this thread.

    Raises:
        MemoryError: the kernel found no memory.
    """
    threads = min(thread_count(), blocks)
    if threads == 1 or products < WORTH:
        failed = call(0, blocks)
    else:
        size = -(-blocks // (PIECES * threads))
        waiting = deque(range(0, blocks, size))
        others = [_pool().submit(_take, call, waiting, size, blocks) for _ in range(threads - 1)]
        try:
            failed = _take(call, waiting, size, blocks)
        finally:
            wait(others)  # whatever happens here, nobody writes behind it
        failed = failed or any(other.result() for other in others)
    if failed:
        raise MemoryError("the kernel found no memory for a batch")


def _take(call: Callable[[int, int], int], waiting: deque[int], size: int, blocks: int) -> int:
    """Take ranges until none is left."""
    failed = 0
    while True:
        try:
            first = waiting.popleft()
        except IndexError:
            return failed
        failed = failed or call(first, min(first + size, blocks))


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads, each of which is started when it is first needed, and kept."""
    return ThreadPoolExecutor(max(32, os.cpu_count() or 1), "dlrun")


if hasattr(os, "register_at_fork"):  # a forked process has none of them, and would wait for them
    os.register_at_fork(after_in_child=_pool.cache_clear)
