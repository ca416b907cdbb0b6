"""The kernel's functions against their exact values, for all floats or every so many of them."""

import ctypes
import math
from collections.abc import Iterator

import pytest
import torch

import floats

ULPS = {"exp": 2.0, "expm1": 2.0, "log": 2.0, "log1p": 2.0, "tanh": 3.0, "sigmoid": 4.0, "softplus": 4.0, "logsigmoid": 4.0}
ULPS |= {"cdf": 4.0, "bell": 2.0, "x^7/3": 1.0, "x^1/2": 1.0}


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ctypes.CDLL]:
    """functions.c, run with denormals as zeros as where the kernel trains."""
    found = floats.compiled(tmp_path_factory.mktemp("functions"))
    if found is None:
        pytest.skip("no kernel for this machine")
    torch.set_flush_denormal(True)
    yield found
    torch.set_flush_denormal(False)


def test_every_function_is_tested(functions: ctypes.CDLL) -> None:
    assert sorted(floats.names(functions)) == sorted(ULPS)


@pytest.mark.parametrize("name", ULPS)
def test_functions_are_exact_to_a_few_units(functions: ctypes.CDLL, name: str) -> None:
    assert floats.worst(functions, name, 9973)[0] <= ULPS[name]


EDGES = (0.0, 2.0**-126, 2.0**-64, 1 / 3, 0.5, 2 / 3, 1.0, 4 / 3, 9.0, 10.0, 13.0, 13.25, 16.6, 20.0, 44.4, 80.0, 87.3365, 88.0)
EDGES += (88.7228, 89.0, 103.97, 104.0, 2.0**54, math.inf)


@pytest.mark.parametrize("name", ULPS)
def test_functions_are_exact_around_the_places_where_something_changes(functions: ctypes.CDLL, name: str) -> None:
    """Such as e^x where it becomes a zero, which one float in a million would miss."""
    for edge in (*EDGES, *(-edge for edge in EDGES)):
        first, last = floats.near(edge)
        error, at = floats.worst(functions, name, 1, first, last)
        assert error <= ULPS[name], at


@pytest.mark.slow
@pytest.mark.parametrize("name", ULPS)
def test_functions_are_exact_for_every_float(functions: ctypes.CDLL, name: str) -> None:
    assert floats.worst(functions, name)[0] <= ULPS[name]
