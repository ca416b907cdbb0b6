"""The kernel's functions against their exact values, for all floats or every so many of them."""

import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dlrun.native import build

ULPS = {"exp": 2.0, "expm1": 2.0, "log": 2.0, "log1p": 2.0, "tanh": 3.0, "sigmoid": 4.0, "softplus": 4.0, "logsigmoid": 4.0}
ULPS |= {"cdf": 5.0, "bell": 2.0, "x^7/3": 1.0, "x^1/2": 1.0}


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ctypes.CDLL]:
    """functions.c, run with denormals as zeros as where the kernel trains."""
    compiler, machine = build.compiler(), build.MACHINES.get(os.uname().machine)
    if compiler is None or machine is None:
        pytest.skip("no kernel for this machine")
    library = tmp_path_factory.mktemp("functions") / "functions.so"
    command = [compiler, *build.FLAGS, machine, f"-I{build.HERE}", "-shared", str(Path(__file__).with_name("functions.c")), "-lm"]
    subprocess.run([*command, "-o", str(library)], check=True)
    found = ctypes.CDLL(os.fspath(library))
    found.worst_error.restype, found.function_name.restype = ctypes.c_double, ctypes.c_char_p
    torch.set_flush_denormal(True)
    yield found
    torch.set_flush_denormal(False)


def worst(functions: ctypes.CDLL, name: str, step: int) -> float:
    number = [functions.function_name(place).decode() for place in range(len(ULPS))].index(name)
    at = ctypes.c_float()
    error = float(functions.worst_error(number, step // 2, step, ctypes.byref(at)))
    print(f"{name}: {error:.3f} units in the last place at {at.value!r}")
    return error


def test_every_function_is_tested(functions: ctypes.CDLL) -> None:
    assert functions.function_name(len(ULPS)) is None


@pytest.mark.parametrize("name", ULPS)
def test_functions_are_exact_to_a_few_units(functions: ctypes.CDLL, name: str) -> None:
    assert worst(functions, name, 9973) <= ULPS[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", ULPS)
def test_functions_are_exact_for_every_float(functions: ctypes.CDLL, name: str) -> None:
    assert worst(functions, name, 1) <= ULPS[name]
