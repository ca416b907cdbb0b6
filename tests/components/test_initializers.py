"""Initializers against torch.nn.init: the same distribution, and the same numbers for a seed in any company."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from dlrun import registry, streams
from dlrun.components.initializers import INITIALIZERS, Draw
from dlrun.engine.layers import Conv2d, Convolution, Linear
from dlrun.engine.models.layout import Layout, Shape

LINEAR = Linear(60, 40)
CONV = Conv2d(6, 9, kernel=3)


def draw(shape: Shape, seeds: range = range(4)) -> Draw:
    return Draw(streams.keys(seeds, "init"), shape.shape, shape.fan_in, shape.fan_out, shape.role == "bias")


def torch_weight(layer: Linear | Convolution, fill: Callable[[Tensor], object]) -> Tensor:
    """A weight of torch's own layer of the same size, many times over."""
    generator_state = torch.random.get_rng_state()
    torch.manual_seed(0)
    try:
        found = []
        for _ in range(4):
            module = nn.Linear(60, 40) if isinstance(layer, Linear) else nn.Conv2d(6, 9, 3)
            fill(module.weight)
            found.append(module.weight.detach().double())
        return torch.stack(found)
    finally:
        torch.random.set_rng_state(generator_state)


TORCH: dict[str, Callable[[Tensor], object]] = {
    "default": lambda weight: nn.init.kaiming_uniform_(weight, a=math.sqrt(5)),  # what nn.Linear and nn.Conv2d do
    "kaiming": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="relu"),
    "xavier": nn.init.xavier_uniform_,
    "lecun": lambda weight: nn.init.kaiming_normal_(weight, nonlinearity="linear"),
    "orthogonal": nn.init.orthogonal_,
    "zeros": nn.init.zeros_,
    "eye": lambda weight: nn.init.eye_(weight) if weight.dim() == 2 else nn.init.dirac_(weight),
}


def test_every_initializer_has_an_oracle_and_stands_in_the_models_help() -> None:
    assert set(INITIALIZERS) == set(TORCH)
    said = " ".join(registry.header("model", "mlp"))
    assert all(name in said for name in INITIALIZERS)


@pytest.mark.parametrize("layer", [LINEAR, CONV], ids=["linear", "conv2d"])
@pytest.mark.parametrize("name", sorted(set(TORCH) - {"zeros", "eye"}))
def test_weights_are_distributed_as_torchs(name: str, layer: Linear | Convolution) -> None:
    ours = INITIALIZERS[name](draw(layer.shapes[0]))
    theirs = torch_weight(layer, TORCH[name])
    assert ours.shape == (4, *layer.shapes[0].shape)
    assert ours.dtype == np.float64
    assert stats.ks_2samp(ours.ravel(), theirs.flatten().numpy()).pvalue > 1e-3
    assert float(ours.std()) == pytest.approx(float(theirs.std()), rel=0.03)
    assert float(ours.mean()) == pytest.approx(0, abs=4 * float(theirs.std()) / math.sqrt(ours.size))
    if name in ("default", "xavier"):  # bounded: the ends are reached and not passed
        fans = (6 * 9, 9 * 9) if isinstance(layer, Convolution) else (60, 40)
        bound = 1 / math.sqrt(fans[0]) if name == "default" else math.sqrt(6 / sum(fans))
        assert 0.99 * bound < float(np.abs(ours).max()) <= bound


@pytest.mark.parametrize(
    ("name", "variance"), [("kaiming", 2 / 60), ("lecun", 1 / 60), ("xavier", 2 / 100), ("default", 1 / 180)]
)
def test_variances_are_those_of_the_papers(name: str, variance: float) -> None:
    weight = INITIALIZERS[name](draw(LINEAR.shapes[0], range(50)))
    assert float(weight.var()) == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize("layer", [LINEAR, CONV], ids=["linear", "conv2d"])
@pytest.mark.parametrize("name", INITIALIZERS)
def test_biases_start_at_zero_but_for_torchs_default(name: str, layer: Linear | Convolution) -> None:
    bias = INITIALIZERS[name](draw(layer.shapes[1]))
    bound = 1 / math.sqrt(54 if isinstance(layer, Convolution) else 60)
    assert bias.shape == (4, *layer.shapes[1].shape)
    if name == "default":
        assert 0.5 * bound < float(np.abs(bias).max()) <= bound
    else:
        assert not bias.any()


def test_zeros_are_zero() -> None:
    assert not INITIALIZERS["zeros"](draw(LINEAR.shapes[0])).any()


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (4, 2, 3, 3), (3, 6, 5)])
def test_eye_is_torchs(shape: tuple[int, ...]) -> None:
    weight = INITIALIZERS["eye"](draw(Shape("weight", shape, "weight", 1, 1), range(3)))
    theirs = torch.empty(shape, dtype=torch.float64)
    (nn.init.eye_ if len(shape) == 2 else nn.init.dirac_)(theirs)
    assert np.array_equal(weight, theirs.expand(3, *shape))


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (1, 4), (4, 2, 3, 3), (40, 2, 3, 3)])
def test_orthogonal_rows_or_columns_are_orthonormal(shape: tuple[int, ...]) -> None:
    weight = INITIALIZERS["orthogonal"](draw(Shape("weight", shape, "weight", 1, 1), range(3)))
    matrix = weight.reshape(3, shape[0], -1)
    short = min(matrix.shape[1:])
    gram = matrix @ matrix.mT if matrix.shape[1] == short else matrix.mT @ matrix
    np.testing.assert_allclose(gram, np.tile(np.eye(short), (3, 1, 1)), rtol=0, atol=1e-12)


def test_orthogonal_is_uniform_over_rotations() -> None:
    """Mezzadri 2007: without the signs of R's diagonal QR favours some rotations. In two dimensions the angle is uniform."""
    weight = INITIALIZERS["orthogonal"](draw(Shape("weight", (2, 2), "weight", 2, 2), range(4000)))
    angle = np.arctan2(weight[:, 1, 0], weight[:, 0, 0]) / (2 * np.pi) + 0.5
    assert stats.kstest(angle, "uniform").pvalue > 1e-3
    assert float((np.linalg.det(weight) > 0).mean()) == pytest.approx(0.5, abs=0.04)


@pytest.mark.parametrize("name", INITIALIZERS)
@pytest.mark.parametrize("floats", ["float32", "float64"])
def test_a_seed_starts_at_the_same_point_in_any_cohort(name: str, floats: str) -> None:
    layout = Layout([LINEAR.shapes, (), CONV.shapes])
    others = [f for key, f in INITIALIZERS.items() if key != name]
    seeds = [5, 0, 5, 9, 1, 2, 3, 9, 4]
    mixed = [(INITIALIZERS[name], [0, 3, 6]), *((f, [row]) for f, row in zip(others, [1, 2, 4, 5, 7, 8], strict=True))]
    together = layout.initialize(seeds, mixed, floats)
    for row in (0, 3, 6):
        alone = layout.initialize([seeds[row]], [(INITIALIZERS[name], [0])], floats)
        assert np.array_equal(together[row], alone[0])


def test_slots_and_seeds_draw_different_numbers() -> None:
    layout = Layout([LINEAR.shapes, LINEAR.shapes])
    theta = layout.initialize([0, 1, 0], [(INITIALIZERS["default"], [0, 1, 2])], "float64")
    assert np.array_equal(theta[0], theta[2])
    weights = [slot.view(theta).reshape(3, -1) for slot in layout.slots if slot.spec.role == "weight"]
    for a, b in [(weights[0][0], weights[0][1]), (weights[0][0], weights[1][0])]:
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.1


def test_float32_starts_at_the_rounded_float64_numbers() -> None:
    layout = Layout([LINEAR.shapes])
    start = [layout.initialize([3], [(INITIALIZERS["kaiming"], [0])], floats) for floats in ("float32", "float64")]
    assert np.array_equal(start[0], start[1].astype(np.float32))
