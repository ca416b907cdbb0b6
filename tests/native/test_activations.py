"""Activations of the kernel against torch's, a run a lane: other numbers in every lane, and values that are hard to get right."""

import ctypes
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlrun.components.activations import ROWWISE
from vectors import V, lanes, pointer

NEAR = (0.0, -0.0, 1e-30, -1e-30, 1e-3, 0.5, -0.7, 1.0, -1.0, 2.5, -3.0, 3.0, 5.0, -6.0, 10.0, -12.0, 20.5, -25.0, 60.0, -60.0)
FAR = (88.0, -88.0, 104.0, -104.0, 1e30, -1e30, math.inf, -math.inf, math.nan)
TARGETS = {  # the kernel's name: the target, its number or word
    "identity": ("torch.nn.Identity", ""),
    "sigmoid": ("torch.nn.Sigmoid", ""),
    "tanh": ("torch.nn.Tanh", ""),
    "relu": ("torch.nn.ReLU", ""),
    "leaky_relu": ("torch.nn.LeakyReLU", "negative_slope"),
    "elu": ("torch.nn.ELU", "alpha"),
    "selu": ("torch.nn.SELU", ""),
    "gelu": ("torch.nn.GELU", "approximate"),
    "gelu_tanh": ("torch.nn.GELU", "approximate"),
    "silu": ("torch.nn.SiLU", ""),
    "swish": ("dlrun.components.activations.swish", "beta"),
    "softplus": ("torch.nn.Softplus", "beta"),
    "mish": ("torch.nn.Mish", ""),
    "hardswish": ("torch.nn.Hardswish", ""),
    "softmax": ("torch.nn.Softmax", ""),
    "log_softmax": ("torch.nn.LogSoftmax", ""),
}
NUMBERS = {
    "elu": (1.0, 0.3, 0.0, 2.0, 1.0, 0.5, 1.5, 0.1),
    "leaky_relu": (0.01, 0.3, -0.5, 0.0, 1.0, 0.25, 2.0, 0.1),
    "softplus": (1.0, 0.5, 4.0, 2.0, 1.5, 10.0, 0.1, 3.0),
    "swish": (1.0, 0.5, -2.0, 0.0, 3.0, 1.5, 0.1, 0.7),
}
WORDS = {"gelu": "none", "gelu_tanh": "tanh"}
ROWS = ("softmax", "log_softmax")
Lanes = NDArray[np.float32]


@pytest.fixture(scope="module", autouse=True)
def denormals_are_zeros() -> Iterator[None]:
    """As where the kernel trains."""
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


class Native:
    """The kernel's activation of that name, for arrays [rows, width, V]."""

    def __init__(self, kernel: ctypes.CDLL, name: str) -> None:
        kernel.dlrun_activations.restype = ctypes.c_char_p
        self._kernel, self._kind = kernel, kernel.dlrun_activations().decode().split().index(name)
        self._numbers = lanes(NUMBERS.get(name, (0.0,) * V))

    def _call(self, verb: str, *arrays: Lanes) -> None:
        function = getattr(self._kernel, f"dlrun_activation_{verb}")
        rows, width, _ = arrays[0].shape
        pointers = map(pointer, (self._numbers, *arrays))
        function(self._kind, *pointers, ctypes.c_long(rows), ctypes.c_long(width))

    def forward(self, x: Lanes) -> Lanes:
        y = lanes(np.zeros_like(x))
        self._call("forward", x, y)
        return y

    def backward(self, grad: Lanes, x: Lanes, y: Lanes) -> Lanes:
        dx = lanes(grad)  # in place, as the kernel may
        self._call("backward", dx, x, y, dx)
        return dx

    def learned(self, grad: Lanes, x: Lanes, y: Lanes) -> Lanes:
        out = lanes(np.zeros(V))
        self._call("learned", grad, x, y, out)
        return out


def runs(values: Lanes) -> Tensor:
    """[rows, width, V] as [V, rows, width] in float64."""
    return torch.from_numpy(values.astype(np.float64)).movedim(-1, 0)


def reference(name: str, x: Tensor, number: Tensor | None = None) -> Tensor:
    """torch's activation of [V, rows, width], with another number for every run."""
    target, key = TARGETS[name]
    values = {key: WORDS.get(name) or (column(name) if number is None else number)} if key else {}
    return ROWWISE[target].forward(x, **values)


def column(name: str) -> Tensor:
    return torch.tensor(np.array(NUMBERS[name], np.float32).astype(np.float64)).view(V, 1, 1)


def values(far: bool = False, seed: int = 0) -> Lanes:
    """[rows, width, V]: the hard values, in every lane another rotation of them, then values of a bell curve."""
    hard = np.array(NEAR + (FAR if far else ()))
    drawn = np.random.default_rng(seed).standard_normal((9, 7, V)) * 3
    hard = np.stack([np.roll(hard, lane) for lane in range(V)], 1)[: len(hard) // 7 * 7 + 7]
    hard = np.concatenate([hard, np.ones((-len(hard) % 7, V))]).reshape(-1, 7, V)
    return lanes(np.concatenate([hard, drawn]))


def terms(name: str, x: Tensor) -> Tensor | float:
    """What a result is rounded in proportion to, beside itself."""
    if name == "log_softmax":
        return x.nan_to_num().abs().clamp(1, 1e3)  # z - max - log sum e^(z - max)
    return x.abs() * 2.0**-27 if name.startswith("gelu") else 0.0  # torch's 1 + erf(x) and 1 + tanh(x) cancel, in float64 too


def ulps(name: str, x: Tensor) -> Tensor | float:
    """How many units of the last place: an exponent such as beta x is rounded, which e^x turns into a relative error."""
    if name == "gelu_tanh":
        return 12.0 + 4.0 * (x + x**3 / 20).abs().clamp(max=200)
    return 12.0 + 2.0 * (x * column(name)).abs().clamp(max=200) if name in ("swish", "softplus") else 12.0


def close(found: Lanes, expected: Tensor, ulps: Tensor | float, terms: Tensor | float = 0.0) -> None:
    """Within so many units of the last place of the expected number, or of the largest term of its sum."""
    allowed = ulps * 2.0**-24 * torch.maximum(expected.abs(), torch.as_tensor(terms)) + 2.0**-120
    mine = runs(found)
    same = (mine == expected) | (mine.isnan() & expected.isnan()) | (mine == expected.float())
    wrong = ~same & ~((mine - expected).abs() <= allowed)
    assert not wrong.any(), (mine[wrong][:5], expected[wrong][:5])


def test_every_activation_is_here(kernel: ctypes.CDLL) -> None:
    kernel.dlrun_activations.restype = ctypes.c_char_p
    assert set(kernel.dlrun_activations().decode().split()) == set(TARGETS)
    assert {target for target, _ in TARGETS.values()} >= set(ROWWISE) - {"dlrun.components.activations.leaky_relu"}


@pytest.mark.parametrize("name", TARGETS)
def test_forward_is_torchs(kernel: ctypes.CDLL, name: str) -> None:
    x = values(far=name not in ROWS)
    close(Native(kernel, name).forward(x), reference(name, runs(x)), ulps(name, runs(x)), terms(name, runs(x)))


@pytest.mark.parametrize("name", TARGETS)
def test_backward_is_autograds(kernel: ctypes.CDLL, name: str) -> None:
    """Of the same values, in place; the number that a run learns has its gradient as well."""
    x, grad = values(), lanes(values(seed=1)[::-1])
    leaf = runs(x).requires_grad_()
    number = column(name).requires_grad_() if name in NUMBERS else None
    y = reference(name, leaf, number)
    expected = torch.autograd.grad(y, [leaf] if number is None else [leaf, number], runs(grad))
    native = Native(kernel, name)
    out = native.forward(x)
    size = runs(grad).abs().amax(2, keepdim=True) if name in ROWS else runs(grad).abs()
    slope = runs(x).abs().clamp(1, 10) if "gelu" in name or name in ("swish", "silu", "mish") else 1.0
    close(native.backward(grad, x, out), expected[0], ulps(name, runs(x)), size * slope)
    if number is not None:
        sizes = torch.autograd.grad(reference(name, leaf, number), number, runs(grad).abs())[0].abs()
        close(native.learned(grad, x, out).reshape(1, 1, V), expected[1], 100, torch.maximum(sizes, expected[1].abs()))


@pytest.mark.parametrize("name", TARGETS)
def test_a_lane_knows_nothing_of_the_others(kernel: ctypes.CDLL, name: str) -> None:
    """The bits of a lane are the same beside NaN, infinities and other values."""
    native = Native(kernel, name)
    x, grad = values(), lanes(values(seed=1)[::-1])
    y = native.forward(x)
    dx = native.backward(grad, x, y)
    mixed, mixed_grad = lanes(x), lanes(grad)
    mixed[..., 1::2] = values(far=True)[: len(x), :, 1::2]
    mixed_grad[..., 1::2] = math.nan
    y_mixed = native.forward(mixed)
    dx_mixed = native.backward(mixed_grad, mixed, y_mixed)
    assert np.array_equal(y[..., ::2].view(np.int32), y_mixed[..., ::2].view(np.int32))
    assert np.array_equal(dx[..., ::2].view(np.int32), dx_mixed[..., ::2].view(np.int32))


@pytest.mark.slow  # test_machines.py holds whole cohorts of both to the same bits
@pytest.mark.parametrize("name", TARGETS)
def test_compilers_agree_to_the_bit(compiled: Callable[[str], ctypes.CDLL], name: str) -> None:
    found = []
    for compiler in ("gcc", "clang"):
        native = Native(compiled(compiler), name)
        x, grad = values(far=True), values(far=True, seed=1)
        y = native.forward(x)
        found.append(np.nan_to_num(np.stack([y, native.backward(grad, x, y)]), nan=7.0))
    assert np.array_equal(found[0].view(np.int32), found[1].view(np.int32))
