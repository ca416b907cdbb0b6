"""Stacked layers, run by run: forward against torch.nn's module, backward against autograd through it, in float64."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dlrun import streams
from dlrun.components.activations import ROWWISE, Activation
from dlrun.components.initializers import INITIALIZERS
from dlrun.config.resolver import resolve
from dlrun.engine.components import Component, group
from dlrun.engine.layers import (
    Attention,
    BatchNorm,
    Conv1d,
    Conv2d,
    Dropout,
    Flatten,
    Gru,
    Last,
    Layer,
    Linear,
    MaxPool1d,
    MaxPool2d,
    Mean,
    Pass,
    Pointwise,
    Positions,
    Upsample,
)
from dlrun.engine.models.layout import Layout
from dlrun.engine.step import pointwise

RUNS = [1, 3]


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def column(values: Sequence[float]) -> NDArray[np.float64]:
    """A number of each run, [R, 1]."""
    return np.array(values)[:, None]


def strided(x: Tensor) -> Tensor:
    """The same values, with the batch axis outermost in memory."""
    return x.transpose(0, 1).contiguous().transpose(0, 1)


def expanded(x: Tensor) -> Tensor:
    """The first run's values for every run, without a copy: what one split shared by all runs looks like."""
    return x[:1].expand(x.shape)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {"contiguous": lambda x: x, "strided": strided, "expanded": expanded}


@dataclass(frozen=True)
class Case:
    """A layer, the shape of one row, and torch's module made from one run's parameters."""

    layer: Layer
    row: tuple[int, ...]
    module: Callable[[Sequence[Tensor]], Callable[[Tensor], Tensor]]


def linear(parameters: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: F.linear(x, parameters[0].mT, parameters[1].flatten())


def conv2d(stride: int, padding: int) -> Callable[[Sequence[Tensor]], Callable[[Tensor], Tensor]]:
    return lambda parameters: lambda x: F.conv2d(x, *parameters, stride=stride, padding=padding)


def conv1d(stride: int, padding: int) -> Callable[[Sequence[Tensor]], Callable[[Tensor], Tensor]]:
    return lambda parameters: lambda x: F.conv1d(x, *parameters, stride=stride, padding=padding)


def module(made: nn.Module) -> Callable[[Sequence[Tensor]], Callable[[Tensor], Tensor]]:
    return lambda parameters: made


def batch_norm(parameters: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: F.batch_norm(x, None, None, *parameters, training=True, eps=1e-3)


def recurrent(layer: Gru, inputs: int) -> Callable[[Sequence[Tensor]], Callable[[Tensor], Tensor]]:
    """torch.nn.GRU, whose parameters are views of one run's."""
    made = nn.GRU(inputs, layer.units, bidirectional=layer.directions == 2, batch_first=True, dtype=torch.float64)
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    suffixes = ("", "_reverse")[: layer.directions]

    def of(parameters: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
        own = {
            name + suffix: part
            for name, parameter in zip(names, parameters, strict=True)
            for suffix, part in zip(suffixes, parameter.chunk(layer.directions), strict=True)
        }
        return lambda x: torch.func.functional_call(made, own, (x.mT,))[0].mT

    return of


def attending(heads: int) -> Callable[[Sequence[Tensor]], Callable[[Tensor], Tensor]]:
    """The parts of torch.nn.MultiheadAttention around F.scaled_dot_product_attention, and the input in front of them."""

    def of(parameters: Sequence[Tensor]) -> Callable[[Tensor], Tensor]:
        in_weight, in_bias, out_weight, out_bias = parameters

        def attend(x: Tensor) -> Tensor:
            parts = F.linear(x.mT, in_weight, in_bias).unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
            mixed = F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2)
            return x + F.linear(mixed, out_weight, out_bias).mT

        return attend

    return of


GRU, GRU_BOTH_WAYS = Gru(2, 3), Gru(3, 4, directions=2)
CASES = {
    "linear": Case(Linear(5, 4), (5,), linear),
    "linear to one": Case(Linear(5, 1), (5,), linear),
    "linear of one": Case(Linear(1, 3), (1,), linear),
    "conv2d": Case(Conv2d(2, 3, kernel=3, padding=1), (2, 6, 5), conv2d(1, 1)),
    "conv2d stride": Case(Conv2d(2, 3, kernel=3, stride=2, padding=2), (2, 7, 6), conv2d(2, 2)),
    "conv2d no padding": Case(Conv2d(3, 2, kernel=2, stride=2), (3, 5, 7), conv2d(2, 0)),
    "conv2d one channel": Case(Conv2d(1, 1, kernel=1), (1, 4, 4), conv2d(1, 0)),
    "conv1d": Case(Conv1d(2, 3, kernel=3, padding=1), (2, 7), conv1d(1, 1)),
    "conv1d stride": Case(Conv1d(2, 3, kernel=4, stride=2, padding=1), (2, 9), conv1d(2, 1)),
    "max_pool1d": Case(MaxPool1d(2), (2, 6), module(nn.MaxPool1d(2))),
    "max_pool1d odd": Case(MaxPool1d(3), (2, 8), module(nn.MaxPool1d(3))),
    "mean of signals": Case(Mean(), (2, 5), lambda parameters: lambda x: x.mean(2)),
    "mean of images": Case(Mean(), (2, 5, 3), lambda parameters: lambda x: x.mean((2, 3))),
    "gru": Case(GRU, (2, 5), recurrent(GRU, 2)),
    "gru both ways": Case(GRU_BOTH_WAYS, (3, 6), recurrent(GRU_BOTH_WAYS, 3)),
    "attention": Case(Attention(4), (4, 5), attending(1)),
    "attention of heads": Case(Attention(6, heads=3), (6, 4), attending(3)),
    "positions": Case(Positions(3, 5), (3, 5), lambda parameters: lambda x: x + parameters[0]),
    "last": Case(Last(), (3, 5), lambda parameters: lambda x: x[..., -1]),
    "max_pool2d": Case(MaxPool2d(2), (2, 6, 4), module(nn.MaxPool2d(2))),
    "max_pool2d odd": Case(MaxPool2d(2), (2, 7, 5), module(nn.MaxPool2d(2))),
    "max_pool2d three": Case(MaxPool2d(3), (1, 7, 6), module(nn.MaxPool2d(3))),
    "upsample": Case(Upsample(2), (2, 3, 4), module(nn.Upsample(scale_factor=2))),
    "upsample three": Case(Upsample(3), (2, 3, 4), module(nn.Upsample(scale_factor=3))),
    "flatten": Case(Flatten(), (2, 3, 4), module(nn.Flatten())),
    "batch_norm": Case(BatchNorm(5, momentum=0.1, eps=1e-3), (5,), batch_norm),
    "batch_norm images": Case(BatchNorm(2, momentum=0.1, eps=1e-3), (2, 3, 4), batch_norm),
    "dropout off": Case(Dropout(0.5, 0), (5,), lambda parameters: lambda x: x),
}


def parameters_of(layer: Layer, runs: int) -> tuple[Layout, Tensor]:
    layout = Layout([layer.shapes])
    theta = torch.from_numpy(layout.initialize(range(runs), [(INITIALIZERS["default"], list(range(runs)))], "float64"))
    return layout, theta + 0.1 * numbers(*theta.shape, seed=9)  # norms and biases off their start


def run_both(case: Case, x: Tensor, grad: Tensor, first: bool = False) -> tuple[list[Tensor], list[Tensor]]:
    """Output, input gradient and parameter gradients: the layer's, and torch's stacked run by run."""
    runs = len(x)
    layout, theta = parameters_of(case.layer, runs)
    # the gradient matrix holds rubbish and a column more than the layer's own: everything must be written, nothing beside it
    matrix = torch.full((runs, layout.size + 1), torch.nan, dtype=x.dtype)
    gradients = layout.views(matrix)[0]
    buffers = Layout([case.layer.buffers]).views(torch.ones(runs, 64, dtype=x.dtype))[0]
    kept = x.clone()
    y, saved = case.layer.forward(layout.views(theta)[0], buffers, x, Pass(training=True))
    dx = case.layer.backward(layout.views(theta)[0], gradients, grad.view(y.shape), saved, first)
    assert torch.equal(x, kept), "a pass may not change its input"
    assert matrix[:, layout.size].isnan().all()
    ours = [y, *([] if dx is None else [dx]), *gradients]
    theirs = []
    for run in range(runs):
        leaves = [slot.view(theta)[run].clone().requires_grad_() for slot in layout.slots]
        row = x[run].clone().requires_grad_()
        out = case.module(leaves)(row)
        wanted = [*([] if dx is None else [row]), *leaves]
        found = torch.autograd.grad(out, wanted, grad[run].view(out.shape)) if wanted else []
        theirs.append([out.detach(), *found])
    return ours, [torch.stack(parts) for parts in zip(*theirs, strict=True)]


@pytest.mark.parametrize("runs", RUNS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_layer_is_torchs(case: Case, layout: str, runs: int) -> None:
    x = LAYOUTS[layout](numbers(runs, 6, *case.row))
    out_shape = case.module([slot.view(parameters_of(case.layer, 1)[1])[0] for slot in Layout([case.layer.shapes]).slots])(
        x[0]
    ).shape
    grad = numbers(runs, *out_shape, seed=1)
    for made in (grad, strided(grad)):
        ours, theirs = run_both(case, x, made)
        for mine, oracle in zip(ours, theirs, strict=True):
            torch.testing.assert_close(mine, oracle.view(mine.shape), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "case", [case for case in CASES.values() if case.layer.shapes], ids=[k for k in CASES if CASES[k].layer.shapes]
)
def test_the_first_layer_needs_no_gradient_of_its_input(case: Case) -> None:
    x = numbers(2, 6, *case.row)
    layout, theta = parameters_of(case.layer, 2)
    gradients = layout.views(torch.empty_like(theta))[0]
    y, saved = case.layer.forward(
        layout.views(theta)[0], Layout([case.layer.buffers]).views(torch.ones(2, 64, dtype=x.dtype))[0], x, Pass(True)
    )
    assert case.layer.backward(layout.views(theta)[0], gradients, torch.ones_like(y), saved, True) is None
    ours, _ = run_both(case, x, torch.ones_like(y))
    for mine, whole in zip(gradients, ours[2:], strict=True):
        torch.testing.assert_close(mine, whole)


@pytest.mark.parametrize("name", ["linear", "conv2d", "conv2d stride", "max_pool2d", "gru", "attention", "batch_norm"])
def test_a_batch_of_one_row(name: str) -> None:
    case = CASES[name]
    x = numbers(2, 1, *case.row)
    if name == "batch_norm":  # torch refuses it: there is nothing to normalize with, and beta remains
        layout, theta = parameters_of(case.layer, 2)
        before = torch.rand(2, 2 * 5, dtype=torch.float64)
        matrix = before.clone()
        y, _ = case.layer.forward(layout.views(theta)[0], Layout([case.layer.buffers]).views(matrix)[0], x, Pass(True))
        torch.testing.assert_close(y[:, 0], layout.slots[1].view(theta))
        assert torch.equal(matrix, before), "one row says nothing about a variance: running statistics stay"
        return
    ours, theirs = run_both(case, x, torch.ones(2, 10_000, dtype=x.dtype)[:, : out_size(case)])
    for mine, oracle in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, oracle.view(mine.shape), rtol=1e-10, atol=1e-12)


def out_size(case: Case) -> int:
    slots = Layout([case.layer.shapes]).slots
    theta = torch.zeros(1, 1000, dtype=torch.float64)
    return case.module([slot.view(theta)[0] for slot in slots])(torch.zeros(1, *case.row, dtype=torch.float64)).numel()


# Batch normalization against torch's modules


@pytest.mark.parametrize("row", [(5,), (5, 3, 4)], ids=["1d", "2d"])
def test_running_statistics_and_evaluation_are_torchs(row: tuple[int, ...]) -> None:
    momentum, eps = (0.1, 0.5, 0.9), (1e-5, 1e-3, 0.1)
    layer = BatchNorm(5, momentum=column(momentum), eps=column(eps))
    layout, theta = parameters_of(layer, 3)
    buffers = Layout([layer.buffers])
    matrix = torch.from_numpy(buffers.initialize([0, 1, 2], [(INITIALIZERS["zeros"], [0, 1, 2])], "float64"))
    kind = nn.BatchNorm1d if len(row) == 1 else nn.BatchNorm2d
    modules = [kind(5, momentum=m, eps=e, dtype=torch.float64) for m, e in zip(momentum, eps, strict=True)]
    for run, made in enumerate(modules):
        made.weight.data, made.bias.data = (slot.view(theta)[run].clone() for slot in layout.slots)
    for step in range(4):
        x = 2 * numbers(3, 7, *row, seed=step) + 1
        y, _ = layer.forward(layout.views(theta)[0], buffers.views(matrix)[0], x, Pass(True))
        torch.testing.assert_close(y, torch.stack([made(x[run]) for run, made in enumerate(modules)]).detach())
    mean, var = buffers.views(matrix)[0]
    torch.testing.assert_close(mean, torch.stack([made.running_mean for made in modules]))
    torch.testing.assert_close(var, torch.stack([made.running_var for made in modules]))
    kept = matrix.clone()
    x = numbers(3, 2, *row, seed=10)
    y, _ = layer.forward(layout.views(theta)[0], buffers.views(matrix)[0], x, Pass())
    torch.testing.assert_close(y, torch.stack([made.eval()(x[run]) for run, made in enumerate(modules)]).detach())
    assert torch.equal(matrix, kept)


# Dropout


def dropout(p: float | NDArray[np.float64], x: Tensor, seeds: Sequence[int], part: int = 0) -> tuple[Tensor, Tensor]:
    layer = Dropout(p, part)
    y, saved = layer.forward([], [], x, Pass(True, torch.from_numpy(streams.keys(seeds, "dropout"))))
    dx = layer.backward([], [], torch.ones_like(y), saved, False)
    assert dx is not None
    return y, dx


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9])
def test_dropout_keeps_a_share_and_scales_it(p: float) -> None:
    x = numbers(2, 200, 500).abs() + 1
    y, dx = dropout(p, x, [0, 1])
    kept = y != 0
    for row in kept:
        assert float(row.double().mean()) == pytest.approx(1 - p, abs=4 * (p * (1 - p) / row.numel()) ** 0.5 + 1e-12)
    torch.testing.assert_close(y[kept], x[kept] / (1 - p))
    torch.testing.assert_close(dx, kept.double() / (1 - p))
    assert float(y.mean()) == pytest.approx(float(x.mean()), rel=0.02)


def test_dropout_masks_belong_to_the_run() -> None:
    """The same mask alone and in a cohort, whatever p the others have; another one for each seed, layer and step."""
    x = torch.ones(4, 6, 7, dtype=torch.float64)
    together, _ = dropout(column([0.5, 0.2, 0.5, 0.8]), x, [3, 4, 5, 3])
    for row, (p, seed) in enumerate([(0.5, 3), (0.2, 4), (0.5, 5), (0.8, 3)]):
        alone, _ = dropout(p, x[:1], [seed])
        assert torch.equal(alone[0] != 0, together[row] != 0)
        torch.testing.assert_close(alone[0], together[row])
    assert not torch.equal(together[0] != 0, together[2] != 0)
    assert not torch.equal(dropout(0.5, x, [3] * 4, part=1)[0] != 0, dropout(0.5, x, [3] * 4)[0] != 0)
    assert torch.equal((together[3] != 0) & (together[0] != 0), together[3] != 0), "a larger p drops more of the same units"


def test_dropout_of_a_float32_column_drops_what_the_number_drops() -> None:
    """p from a grid of many: the threshold may not be rounded differently in a column of the cohort's type."""
    for p in np.linspace(0.001, 0.95, 97).tolist():
        x = torch.ones(2, 8, 64)
        mixed, _ = dropout(column([p, 0.5]), x, [0, 1])
        assert torch.equal(mixed[0] != 0, dropout(p, x[:1], [0])[0][0] != 0)
        assert mixed.dtype == torch.float32


def test_dropout_is_nothing_at_evaluation() -> None:
    x = numbers(2, 3, 4)
    y, saved = Dropout(0.5, 0).forward([], [], x, Pass())
    assert torch.equal(y, x)
    assert saved is None


# Pointwise: groups of runs with their own functions


def part(target: str, **values: Any) -> Component:
    known = ROWWISE.get(target)
    return Component(target, target, known.forward if known else resolve(target, "activation"), values)


def bent(x: Tensor, *, bend: float | Tensor = 0.5) -> Tensor:
    """A user's function, without a derivative."""
    return x + bend * torch.sin(3 * x)


MIXED = [
    part("torch.nn.ReLU"),
    part("torch.nn.LeakyReLU", negative_slope=0.1),
    part("torch.nn.Tanh"),
    part("torch.nn.LeakyReLU", negative_slope=0.3),
    part("torch.nn.CELU", alpha=0.7),
    Component("bent", "mine.bent", bent, {"bend": 0.2}),
    part("torch.nn.ReLU"),
    part("torch.nn.Softmax", dim=-1),
    Component("bent", "mine.bent", bent, {"bend": 0.9}),
    part("dlrun.components.activations.swish", beta=2.0),
]
PLAIN: list[Callable[[Tensor], Tensor]] = [
    torch.relu,
    nn.LeakyReLU(0.1),
    torch.tanh,
    nn.LeakyReLU(0.3),
    nn.CELU(0.7),
    lambda x: x + 0.2 * torch.sin(3 * x),
    torch.relu,
    nn.Softmax(-1),
    lambda x: x + 0.9 * torch.sin(3 * x),
    lambda x: x * torch.sigmoid(2 * x),
]


def stacked(parts: Sequence[Component], learned: Sequence[str] = (), start: NDArray[np.float64] | None = None) -> Pointwise:
    groups = group(parts, floats="float64")
    return Pointwise([(g, pointwise(g.part)) for g in groups], learned, start)


@pytest.mark.parametrize("row", [(5,), (2, 4, 3)], ids=["rows", "images"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_run_has_its_own_activation(layout: str, row: tuple[int, ...]) -> None:
    layer = stacked(MIXED)
    assert [len(g.rows) for g, _ in layer.activations] == [2, 2, 1, 1, 2, 1, 1]
    x = LAYOUTS[layout](numbers(10, 6, *row))
    y, saved = layer.forward([], [], x, Pass(True))
    dx = layer.backward([], [], grad := strided(numbers(10, 6, *row, seed=1)), saved, False)
    assert dx is not None
    for run, plain in enumerate(PLAIN):
        leaf = x[run].clone().requires_grad_()
        out = plain(leaf)
        torch.testing.assert_close(y[run], out.detach())
        torch.testing.assert_close(dx[run], torch.autograd.grad(out, leaf, grad[run])[0])
    evaluated, _ = layer.forward([], [], x, Pass())
    assert torch.equal(evaluated, y)


@pytest.mark.parametrize("parts", [MIXED[:1], MIXED[5:6]], ids=["closed form", "autograd"])
def test_one_run_with_one_activation(parts: list[Component]) -> None:
    layer = stacked(parts)
    x = numbers(1, 6, 5)
    y, saved = layer.forward([], [], x, Pass(True))
    dx = layer.backward([], [], torch.ones_like(y), saved, False)
    leaf = x.clone().requires_grad_()
    out = (torch.relu if parts[0] is MIXED[0] else PLAIN[5])(leaf)
    torch.testing.assert_close(y, out.detach())
    torch.testing.assert_close(dx, torch.autograd.grad(out.sum(), leaf)[0])
    assert not y.requires_grad


LEARNABLE = {
    "leaky_relu": ("torch.nn.LeakyReLU", "negative_slope", lambda x, a: torch.where(x > 0, x, a * x)),
    "elu": ("torch.nn.ELU", "alpha", lambda x, a: torch.where(x > 0, x, a * torch.expm1(x.clamp(max=0)))),
    "swish": ("dlrun.components.activations.swish", "beta", lambda x, a: x * torch.sigmoid(a * x)),
    "prelu": ("dlrun.components.activations.leaky_relu", "negative_slope", lambda x, a: torch.where(x > 0, x, a * x)),
}


@pytest.mark.parametrize("name", LEARNABLE)
@pytest.mark.parametrize("row", [(5,), (2, 4, 3)], ids=["rows", "images"])
@pytest.mark.parametrize("runs", RUNS)
def test_learnable_hyperparameters(name: str, row: tuple[int, ...], runs: int) -> None:
    target, key, plain = LEARNABLE[name]
    starts = [0.25, 0.5, 1.5][:runs]
    layer = stacked([part(target, **{key: start}) for start in starts], [key], column(starts))
    layout = Layout([layer.shapes])
    theta = torch.from_numpy(layout.initialize(range(runs), [(INITIALIZERS["zeros"], list(range(runs)))], "float64"))
    assert theta.flatten().tolist() == starts
    theta += 0.1
    x, grad = numbers(runs, 6, *row), numbers(runs, 6, *row, seed=1)
    matrix = torch.full_like(theta, torch.nan)
    y, saved = layer.forward(layout.views(theta)[0], [], x, Pass(True))
    dx = layer.backward(layout.views(theta)[0], layout.views(matrix)[0], grad, saved, False)
    assert dx is not None
    for run in range(runs):
        leaf, learned = x[run].clone().requires_grad_(), theta[run].clone().requires_grad_()
        out = plain(leaf, learned)
        expected = torch.autograd.grad(out, (leaf, learned), grad[run])
        torch.testing.assert_close(y[run], out.detach())
        torch.testing.assert_close(dx[run], expected[0])
        torch.testing.assert_close(matrix[run], expected[1])
    torch.testing.assert_close(layer.forward(layout.views(theta)[0], [], x, Pass())[0], y)


def test_learnable_groups_write_their_own_rows() -> None:
    """Two functions that learn, interleaved: each writes the gradients of its rows alone."""
    parts = [
        part("torch.nn.ELU", alpha=1.0),
        Component("bent", "mine.bent", lambda x, *, alpha: x + alpha * x**2, {"alpha": 1.0}),
    ] * 2
    layer = stacked(parts, ["alpha"], np.ones((4, 1)))
    layout = Layout([layer.shapes])
    theta = torch.ones(4, 1, dtype=torch.float64)
    matrix = torch.full_like(theta, torch.nan)
    x = numbers(4, 6, 5)
    y, saved = layer.forward(layout.views(theta)[0], [], x, Pass(True))
    layer.backward(layout.views(theta)[0], layout.views(matrix)[0], torch.ones_like(y), saved, False)
    torch.testing.assert_close(matrix[1::2, 0], x[1::2].square().sum((1, 2)))
    torch.testing.assert_close(matrix[::2, 0], torch.expm1(x[::2].clamp(max=0)).sum((1, 2)))


def test_slope_is_the_derivative_and_may_be_asked_twice() -> None:
    for parts in ([part("torch.nn.Tanh")], [Component("bent", "mine.bent", bent, {"bend": 0.2})]):
        layer = stacked(parts)
        x = numbers(1, 6, 5)
        _, saved = layer.forward([], [], x, Pass(True))
        (g, activation), save = layer.activations[0], saved[0]
        slopes = [layer.slope(g, activation, save) for _ in range(2)]
        leaf = x.clone().requires_grad_()
        out = (torch.tanh if parts[0].target == "torch.nn.Tanh" else PLAIN[5])(leaf)
        torch.testing.assert_close(slopes[0], torch.autograd.grad(out.sum(), leaf)[0])
        assert torch.equal(*slopes)


def test_an_activation_without_a_backward_is_the_same_as_with_it() -> None:
    known = ROWWISE["torch.nn.GELU"]
    x, grad = numbers(2, 6, 5), numbers(2, 6, 5, seed=1)
    found = []
    for activation in (known, Activation(known.forward)):
        layer = Pointwise([(group([part("torch.nn.GELU", approximate="none")] * 2, floats="float64")[0], activation)])
        _, saved = layer.forward([], [], x, Pass(True))
        found.append(layer.backward([], [], grad, saved, False))
    torch.testing.assert_close(*found)
