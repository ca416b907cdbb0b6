"""Every activation of conf/activation against its oracle: values by torch, derivatives by autograd."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dlrun import registry
from dlrun.components import activations
from dlrun.components.activations import ROWWISE, Activation
from dlrun.components.hyperparameters import problems
from dlrun.config.resolver import resolve
from dlrun.engine.components import Component, rowwise
from dlrun.engine.step import pointwise

NAMES = registry.options("activation")

# The formula in torch's words, from other functions than those that dlrun calls where torch has several.
ORACLES: dict[str, Callable[..., Tensor]] = {
    "elu": lambda x, alpha: nn.ELU(alpha)(x),
    "gelu": lambda x, approximate: nn.GELU(approximate)(x),
    "hardswish": lambda x: x * F.relu6(x + 3) / 6,
    "identity": lambda x: x,
    "leaky_relu": lambda x, negative_slope: nn.LeakyReLU(negative_slope)(x),
    "linear": lambda x: x,
    "mish": lambda x: x * torch.tanh(F.softplus(x)),
    "prelu": lambda x, negative_slope: F.prelu(x, torch.tensor(negative_slope, dtype=x.dtype)),
    "relu": lambda x: x.clamp(min=0),
    "selu": lambda x: nn.SELU()(x),
    "sigmoid": lambda x: 1 / (1 + torch.exp(-x)),
    "silu": lambda x, beta: F.silu(x * beta) / beta,
    "softmax": lambda x, dim: torch.exp(x - torch.logsumexp(x, dim, keepdim=True)),
    "softplus": lambda x, beta: torch.logaddexp(x * beta, torch.zeros_like(x)) / beta,
    "swish": lambda x, beta: F.silu(x * beta) / beta,
    "tanh": lambda x: torch.tanh(x),
}
# Values other than those of the YAML file, one for each of three runs.
COLUMNS: dict[str, dict[str, tuple[float, ...]]] = {
    "elu": {"alpha": (1.0, 0.3, 0.0)},
    "leaky_relu": {"negative_slope": (0.01, 0.3, -0.5)},
    "prelu": {"negative_slope": (0.25, 0.0, 1.0)},
    "silu": {"beta": (1.0, 0.5, 2.0)},
    "softplus": {"beta": (1.0, 0.5, 4.0)},
    "swish": {"beta": (1.0, 0.5, -2.0)},
}
# The ranges that the YAML files print.
RANGES: dict[str, tuple[float, float]] = {
    "elu": (-1, math.inf),
    "gelu": (-0.17, math.inf),
    "hardswish": (-0.375, math.inf),
    "identity": (-math.inf, math.inf),
    "leaky_relu": (-math.inf, math.inf),
    "linear": (-math.inf, math.inf),
    "mish": (-0.31, math.inf),
    "prelu": (-math.inf, math.inf),
    "relu": (0, math.inf),
    "selu": (-1.7581, math.inf),
    "sigmoid": (0, 1),
    "silu": (-0.28, math.inf),
    "softmax": (0, 1),
    "softplus": (0, math.inf),
    "swish": (-0.28, math.inf),
    "tanh": (-1, 1),
}


def load(name: str) -> tuple[Activation, dict[str, Any]]:
    """An activation as the engine takes it, and the hyperparameters of its file."""
    values = {key: value for key, value in registry.load_option("activation", name).items() if key != "learnable"}
    target = values.pop("_target_")
    return pointwise(Component(name, target, resolve(target, "activation"), values)), values


def inputs(*shape: int, seed: int = 0) -> Tensor:
    """Values from -30 to 30, dense around 0, none of them at a kink."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * 3 + 1e-3


def differentiate(activation: Activation, x: Tensor, grad: Tensor, values: dict[str, Any]) -> Tensor:
    assert activation.backward is not None
    return activation.backward(grad, x, activation.forward(x, **values), **values)


def test_every_activation_has_an_oracle() -> None:
    assert set(NAMES) == set(ORACLES) == set(RANGES)
    numeric = {name for name in NAMES if any(isinstance(v, float) for v in registry.load_option("activation", name).values())}
    assert numeric == set(COLUMNS)


@pytest.mark.parametrize("name", NAMES)
def test_forward_is_the_oracles(name: str) -> None:
    activation, values = load(name)
    x = inputs(2, 50, 7)
    torch.testing.assert_close(activation.forward(x, **values), ORACLES[name](x, **values), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NAMES)
def test_backward_is_autograds(name: str) -> None:
    activation, values = load(name)
    x, grad = inputs(2, 50, 7).requires_grad_(), inputs(2, 50, 7, seed=1)
    (expected,) = torch.autograd.grad(ORACLES[name](x, **values), x, grad)
    with torch.no_grad():
        found = differentiate(activation, x.detach(), grad, values)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", NAMES)
def test_backward_is_that_of_the_forward_at_kinks_and_extremes(name: str) -> None:
    """Whatever the convention at a kink, the two must share it; far out nothing may overflow."""
    activation, values = load(name)
    x = torch.tensor([[[0.0, -0.0, 3.0, -3.0, 25.0, -25.0, 800.0, -800.0, 1e-300, -1e-300]]], dtype=torch.float64)
    x, grad = x.requires_grad_(), torch.linspace(-1, 1, 10, dtype=torch.float64).view_as(x)
    y = activation.forward(x, **values)
    (expected,) = torch.autograd.grad(y, x, grad)
    assert y.isfinite().all()
    found = differentiate(activation, x.detach(), grad, values)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_float32_and_strided_inputs(name: str) -> None:
    activation, values = load(name)
    x, grad = inputs(3, 5, 8), inputs(3, 5, 8, seed=1)
    exact = differentiate(activation, x, grad, values)
    strided = x.transpose(0, 1).contiguous().transpose(0, 1)
    assert not strided.is_contiguous()
    torch.testing.assert_close(activation.forward(strided, **values), activation.forward(x, **values))
    torch.testing.assert_close(differentiate(activation, strided, grad, values), exact)
    single = differentiate(activation, x.float(), grad.float(), values)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_neither_pass_changes_its_inputs(name: str) -> None:
    activation, values = load(name)
    x, grad = inputs(2, 5, 4), inputs(2, 5, 4, seed=1)
    y = activation.forward(x, **values)
    kept = [tensor.clone() for tensor in (x, grad, y)]
    assert activation.backward is not None
    activation.backward(grad, x, y, **values)
    for tensor, before in zip((x, grad, y), kept, strict=True):
        assert torch.equal(tensor, before)


@pytest.mark.parametrize("name", NAMES)
def test_nan_stays_nan_and_touches_no_other_row(name: str) -> None:
    activation, values = load(name)
    x = inputs(3, 4, 5)
    clean = activation.forward(x, **values)
    x[1] = math.nan
    y = activation.forward(x, **values)
    assert y[1].isnan().all()
    assert torch.equal(y[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("shape", [(3, 6, 5), (3, 2, 4, 5, 5)], ids=["rows", "images"])
def test_columns_are_numbers_row_by_row(name: str, shape: tuple[int, ...]) -> None:
    activation, _ = load(name)
    assert activation.backward is not None
    x, grad = inputs(*shape), inputs(*shape, seed=1)
    column = {
        key: torch.tensor(numbers, dtype=torch.float64).view(-1, *[1] * (len(shape) - 1))
        for key, numbers in COLUMNS[name].items()
    }
    y = activation.forward(x, **column)
    dx = activation.backward(grad, x, y, **column)
    for row in range(3):
        alone = {key: numbers[row] for key, numbers in COLUMNS[name].items()}
        y_alone = activation.forward(x[row], **alone)
        torch.testing.assert_close(y[row], y_alone, rtol=1e-13, atol=1e-15)
        torch.testing.assert_close(dx[row], activation.backward(grad[row], x[row], y_alone, **alone), rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_are_declared(name: str) -> None:
    """What the file gives as a number may differ from run to run."""
    activation, values = load(name)
    assert not problems(activation.forward, values, "activation")
    assert all(float in rowwise(activation.forward)[key] for key in COLUMNS[name])


@pytest.mark.parametrize("name", NAMES)
def test_range_is_the_documented_one(name: str) -> None:
    activation, values = load(name)
    low, high = RANGES[name]
    mixed = torch.linspace(-40, 40, 80_001, dtype=torch.float64).view(1, 3, -1).transpose(1, 2)
    y = activation.forward(mixed, **values)
    assert float(y.min()) >= low
    assert float(y.max()) <= high
    # and not a looser one: the values come near to both ends
    assert float(y.min()) <= low + 0.011 if low > -math.inf else float(y.min()) < -0.1
    assert float(y.max()) >= high - 0.011 if high < math.inf else float(y.max()) > 39
    header = " ".join(registry.header("activation", name))
    assert ("(-inf, inf)" in header) == (low == -math.inf and high == math.inf)


def test_golden_values_of_the_notes() -> None:
    sigmoid, _ = load("sigmoid")
    assert float(sigmoid.forward(torch.tensor(0.8))) == pytest.approx(0.6900, abs=5e-5)
    softmax, values = load("softmax")
    scores = torch.tensor([4.3, 6.1, 2.3])
    assert softmax.forward(scores, **values).tolist() == pytest.approx([0.1392, 0.8420, 0.0188], abs=5e-5)


def test_the_sigmoids_derivative_is_at_most_a_quarter() -> None:
    sigmoid, _ = load("sigmoid")
    x = torch.linspace(-5, 5, 1001, dtype=torch.float64)
    slope = differentiate(sigmoid, x, torch.ones_like(x), {})
    assert float(slope.max()) == pytest.approx(0.25, abs=1e-12)
    assert float(slope[500]) == float(slope.max())


def test_closed_forms_of_the_notes() -> None:
    x = torch.linspace(-4, 4, 81, dtype=torch.float64)
    tanh = (x.exp() - (-x).exp()) / (x.exp() + (-x).exp())
    torch.testing.assert_close(load("tanh")[0].forward(x), tanh)
    phi = 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    torch.testing.assert_close(load("gelu")[0].forward(x, approximate="none"), x * phi)
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    torch.testing.assert_close(load("gelu")[0].forward(x, approximate="tanh"), 0.5 * x * (1 + torch.tanh(inner)))
    torch.testing.assert_close(load("swish")[0].forward(x, beta=1.0), F.silu(x))


def test_softmax_sums_to_one_and_ignores_a_shift() -> None:
    softmax, values = load("softmax")
    x = inputs(2, 3, 6)
    y = softmax.forward(x, **values)
    torch.testing.assert_close(y.sum(-1), torch.ones(2, 3, dtype=torch.float64))
    torch.testing.assert_close(softmax.forward(x + 1000, **values), y)
    assert not softmax.elementwise


def test_selu_keeps_mean_and_variance() -> None:
    """The fixed point of Klambauer et al. 2017: from mean 0 and variance 1 to the same."""
    x = torch.randn(1_000_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    y = load("selu")[0].forward(x)
    assert float(y.mean()) == pytest.approx(0, abs=5e-3)
    assert float(y.var()) == pytest.approx(1, abs=1e-2)
    scaled = activations.SELU_SCALE * activations.SELU_ALPHA
    assert scaled == pytest.approx(1.7580993408473766)


@pytest.mark.parametrize("target", ROWWISE)
def test_every_table_entry_names_what_it_computes(target: str) -> None:
    """The row-wise form of a class of torch equals the class, at its defaults."""
    function = resolve(target, "activation")
    if isinstance(function, type):
        x = inputs(2, 4, 5)
        oracle = function(dim=-1) if "Softmax" in target else function()
        torch.testing.assert_close(ROWWISE[target].forward(x), oracle(x), rtol=1e-13, atol=1e-15)
    else:
        assert ROWWISE[target].forward is function


def test_a_module_that_is_not_in_the_table_and_a_users_function_work() -> None:
    celu = pointwise(Component("celu", "torch.nn.CELU", resolve("torch.nn.CELU", "activation"), {"alpha": 2.0}))
    x = inputs(2, 4, 5)
    assert celu.backward is None
    torch.testing.assert_close(celu.forward(x, alpha=2.0), F.celu(x, 2.0))

    def bent(x: Tensor, *, bend: float = 0.5) -> Tensor:
        return x + bend * torch.sin(x)

    own = pointwise(Component("bent", "mine.bent", bent, {"bend": 0.25}))
    torch.testing.assert_close(own.forward(x, bend=0.25), x + 0.25 * torch.sin(x))
