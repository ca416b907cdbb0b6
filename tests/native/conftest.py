"""The kernel, compiled once for these tests."""

import ctypes
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dlrun.native import build

Kernel = ctypes.CDLL
Compile = Callable[[str], Kernel]


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    """A function from a compiler's name to the kernel that it makes; skips a test whose compiler is not installed."""
    kernels: dict[str, Kernel] = {}

    def compile_with(name: str) -> Kernel:
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
        if name not in kernels:
            path: Path = tmp_path_factory.mktemp("kernel") / f"{Path(name).name}.so"
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("CC", name)
                if build.build(to=path) is None:
                    pytest.skip("no kernel for this machine")
            kernels[name] = ctypes.CDLL(os.fspath(path))
        return kernels[name]

    return compile_with


@pytest.fixture(scope="session")
def kernel(compiled: Compile) -> Kernel:
    """The kernel as it is built here."""
    return compiled(build.compiler() or "cc")
