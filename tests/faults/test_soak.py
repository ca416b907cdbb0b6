"""Many runs in one process: its memory and its open files do not grow."""

import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import dlrun
from doses import dose

RUNS, FIRST = dose(8, of_300=5000), 4  # and those after which all that is imported and kept once is there
MOST = 50 << 20  # bytes

WORDS = ("dataset=moons", "dataset.rows=40", "trainer=smoke", "trainer.max_steps=4")


@pytest.mark.fault("many runs in one process")
@pytest.mark.skipif(sys.platform != "linux", reason="looks in /proc")
def test_nothing_grows(folder: Path, injected: Callable[[int], None]) -> None:
    for seed in range(FIRST):
        dlrun.run(*WORDS, seed=seed, progress=False)
    memory, files = used()
    for seed in range(FIRST, FIRST + RUNS):
        assert dlrun.run(*WORDS, seed=seed, progress=False).status == "done"
    now, open_now = used()
    assert now - memory < MOST
    assert open_now <= files
    injected(RUNS)


def used() -> tuple[int, int]:
    """The memory of this process, and how many files it has open."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd"))
