"""Calls of the kernel, spread over threads."""

import multiprocessing
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from dlrun.engine.lanes import threads as threads_module
from dlrun.engine.lanes.threads import PIECES, WORTH, spread


def test_a_long_call_is_spread_over_threads(threads: Callable[[int], None]) -> None:
    threads(3)
    together = threading.Barrier(3, timeout=600)
    taken: list[int] = []
    met = threading.local()

    def call(first: int, last: int) -> int:
        if not hasattr(met, "others"):
            met.others = together.wait()  # passed when three threads are here
        taken.extend(range(first, last))
        return 0

    spread(call, 100, WORTH)
    assert sorted(taken) == list(range(100))


@pytest.mark.parametrize(("count", "blocks", "products"), [(1, 100, WORTH), (3, 1, WORTH), (3, 100, WORTH - 1)])
def test_a_call_that_cannot_gain_stays_in_its_thread(
    count: int, blocks: int, products: int, threads: Callable[[int], None]
) -> None:
    threads(count)
    calls: list[tuple[int, int, int]] = []
    spread(lambda first, last: calls.append((first, last, threading.get_ident())) or 0, blocks, products)
    assert calls == [(0, blocks, threading.get_ident())]


def test_no_memory_in_any_thread_is_an_error(threads: Callable[[int], None]) -> None:
    threads(2)
    with pytest.raises(MemoryError):
        spread(lambda first, last: -(first <= 37 < last), 100, WORTH)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="no fork")
def test_a_forked_process_has_threads_of_its_own(threads: Callable[[int], None]) -> None:
    """It has none of its parent's, and waits for none of them."""
    threads(2)

    def spread_calls() -> list[int]:
        taken: list[int] = []
        spread(lambda first, last: taken.extend(range(first, last)) or 0, 100, WORTH)
        return sorted(taken)

    assert spread_calls() == list(range(100))
    child = multiprocessing.get_context("fork").Process(
        target=lambda: sys.exit(0 if spread_calls() == list(range(100)) else 1), daemon=True
    )
    child.start()
    child.join(300)  # a process that waits for threads it does not have would never end
    assert child.exitcode == 0


@pytest.mark.parametrize(("count", "blocks"), [(2, 2), (2, 3), (3, 7), (3, 100), (5, 4)])
def test_every_block_is_taken_once_in_pieces(count: int, blocks: int, threads: Callable[[int], None]) -> None:
    threads(count)
    taken: list[range] = []
    spread(lambda first, last: taken.append(range(first, last)) or 0, blocks, WORTH)
    assert sorted(block for piece in taken for block in piece) == list(range(blocks))
    size = -(-blocks // (PIECES * min(count, blocks)))
    assert max(map(len, taken)) == size
    assert len(taken) == -(-blocks // size)


def test_an_error_waits_for_the_other_threads(threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """They work on memory that is gone when the error has left."""
    threads(2)
    begun, go, ended = threading.Event(), threading.Event(), []
    wait = threads_module.wait

    def waits(others: Any) -> Any:
        go.set()
        return wait(others)

    def call(first: int, last: int) -> int:
        if threading.current_thread() is threading.main_thread():
            begun.wait(300)
            raise KeyboardInterrupt
        begun.set()
        assert go.wait(300)
        ended.append(first)
        return 0

    monkeypatch.setattr(threads_module, "wait", waits)
    with pytest.raises(KeyboardInterrupt):
        spread(call, 2, WORTH)
    assert len(ended) == 1


def test_an_error_of_another_thread_is_raised(threads: Callable[[int], None]) -> None:
    threads(2)
    met = threading.Barrier(2, timeout=300)

    def call(first: int, last: int) -> int:
        met.wait()
        if threading.current_thread() is not threading.main_thread():
            raise ValueError(first)
        return 0

    with pytest.raises(ValueError, match=r"[01]"):
        spread(call, 2, WORTH)
