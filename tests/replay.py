"""A cohort outside of Python: written to a file, and trained by tests/native/replay.c, compiled by anything for any machine."""

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dlrun.engine import aligned
from dlrun.engine.lanes import Native
from dlrun.engine.lanes.library import Plan
from dlrun.native import build

SOURCE = Path(__file__).parent / "native" / "replay.c"
FLAGS = tuple(flag for flag in build.FLAGS if flag not in ("-O3", "-fPIC"))
POINTERS = [name for name, kind in Plan._fields_ if kind is ctypes.c_void_p]
Array = NDArray[Any] | ctypes.Array


def program(folder: Path, compiler: str, *flags: str) -> Path:
    """Compile replay.c into ``folder``; skips a test whose compiler is not installed."""
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    place = folder / "replay"
    sources = [SOURCE, *(source for source in build.SOURCES if source.name != "kernel.c")]  # which replay.c has in itself
    done = subprocess.run([compiler, *FLAGS, *flags, *sources, "-o", place], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return place


def write(path: Path, plan: Plan, arrays: Sequence[Array], steps: int, factors: NDArray[Any] | None = None) -> None:
    """Write what ``plan`` says and points at, which are some of ``arrays``. ``factors`` [steps, G V] are of the schedules."""
    held = {address(array): array for array in arrays}
    found = {name: held[getattr(plan, name)] for name in POINTERS}
    fields = [getattr(plan, name) for name, _ in Plan._fields_[len(POINTERS) :]]
    sizes = [len(content(array)) for array in found.values()]
    assert POINTERS[-1] == "drawn"
    with path.open("wb") as file:
        file.write(np.array([*sizes, *fields, steps, factors is not None], np.int64).tobytes())
        for name, array in found.items():
            file.write(b"" if name == "drawn" else content(array))
        if factors is not None:
            assert factors.shape == (steps, plan.blocks_count * 8)
            file.write(content(factors.astype(np.float64)))


def address(array: Array) -> int:
    return array.ctypes.data if isinstance(array, np.ndarray) else ctypes.addressof(array)


def content(array: Array) -> bytes:
    return array.tobytes() if isinstance(array, np.ndarray) else bytes(array)


def run(command: Sequence[str | Path], files: Sequence[Path]) -> list[str]:
    """What the program prints of each file."""
    done = subprocess.run([*command, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout.splitlines()


def number(values: NDArray[Any]) -> int:
    """The hash of replay.c: the sum of a random word for each number and its place."""
    found = values.astype(np.float64).ravel()
    words = np.where(np.isnan(found), np.float64(np.nan), found).view(np.uint64)
    words = words + np.arange(1, len(words) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        words = (words ^ (words >> np.uint64(shift))) * np.uint64(multiplier)
    return int(np.sum(words ^ (words >> np.uint64(31)), dtype=np.uint64))


def here(native: Native, steps: int) -> str:
    """The line that the program prints, of what the kernel of this process has after ``steps`` steps."""
    kernel, plan, theta = native._kernel, native._plan, native._theta
    blocks, lanes = plan.blocks_count, plan.blocks_count * 8
    kernel.dlrun_evaluated(plan, steps, address(theta))
    losses = aligned.zeros(lanes)
    assert kernel.dlrun_evaluate(plan, 0, blocks, address(theta), None, 0, plan.rows, 0, None, 0, None, address(losses)) == 0
    output, before = (aligned.zeros(lanes - 3, plan.rows, plan.outputs * plan.members) for _ in range(2))
    headed = native._train_step.model.headed
    places = np.arange(plan.rows - 1, -1, -1)
    rows = (address(theta), address(places), 0, plan.rows)
    wanted = (lanes - 3, address(output), plan.depth - 1, address(before) if headed else None, None)
    assert kernel.dlrun_evaluate(plan, 0, blocks, *rows, *wanted) == 0
    found = (number(output) + (number(before) if headed else 0)) % (1 << 64)
    norms = aligned.zeros(blocks, plan.weights_count, 8)
    units = aligned.zeros(blocks, len(native._train_step.model.pointwise()) - headed, 3, 8)
    assert kernel.dlrun_inside(plan, 0, blocks, *rows, address(norms), address(units)) == 0
    inside = (number(norms) + number(units)) % (1 << 64)
    return f"{number(theta):016x} {number(losses):016x} {found:016x} {inside:016x}"
