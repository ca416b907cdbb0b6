"""The kernel as it is installed, and compiled anew by every compiler that is."""

import ctypes
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dlrun.native import build
from dlrun.native.load import first, load
from dlrun.threads import set_thread_count, thread_count

Kernel = ctypes.CDLL
Compile = Callable[[str], Kernel]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """A function from a compiler's name to the kernel that it makes; skips a test whose compiler is not installed.

    Processes that share the tests share what is compiled.
    """
    kernels: dict[str, Kernel] = {}
    folder: Path = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder

    def compile_with(name: str) -> Kernel:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
        if name not in kernels:
            place = folder / f"by-{Path(name).name}"
            place.mkdir(exist_ok=True)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("CC", name)
                found = first(build.build(place))
            if found is None:
                pytest.skip("no kernel for this machine")
            kernels[name] = found
        return kernels[name]

    return compile_with


@pytest.fixture(scope="session")
def kernel(compiled: Compile) -> Kernel:
    """The kernel that is installed, or one that is compiled for these tests."""
    return load() or compiled(build.compiler() or "cc")


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Sets the number of threads, for a test."""
    before = thread_count()
    monkeypatch.setattr("dlrun.threads._asked", [])
    yield set_thread_count
    set_thread_count(before)
