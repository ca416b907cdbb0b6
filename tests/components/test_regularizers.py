"""Every regularizer of conf/regularizer: its mathematics, and that a column is the number of each run.

The layers that dropout and batch_norm put around activations are tested with the other layers, in tests/engine.
"""

from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from dlrun import registry, streams
from dlrun.components.hyperparameters import problems
from dlrun.components.regularizers import (
    L1,
    L2,
    AfterStep,
    AroundActivation,
    Augmentation,
    BatchNorm,
    BatchTransform,
    Dropout,
    EarlyStopping,
    Kink,
    LabelSmoothing,
    MaxNorm,
    Penalty,
    Regularizer,
    Stop,
    Weights,
)
from dlrun.components.regularizers.batches import soften
from dlrun.config.resolver import resolve
from dlrun.engine.components import rowwise
from dlrun.engine.layers import Conv2d, Linear
from dlrun.engine.models.layout import Layout

NAMES = registry.options("regularizer")
TESTED = {  # name -> (class, hooks, keys that may differ from run to run)
    "augmentation": (Augmentation, {BatchTransform}, {"strength"}),
    "batch_norm": (BatchNorm, {AroundActivation}, {"momentum", "eps"}),
    "dropout": (Dropout, {AroundActivation}, {"p"}),
    "early_stopping": (EarlyStopping, {Stop}, {"min_delta"}),
    "l1": (L1, {Kink, Penalty}, {"weight"}),
    "l2": (L2, {Penalty}, {"weight"}),
    "label_smoothing": (LabelSmoothing, {BatchTransform}, {"smoothing"}),
    "max_norm": (MaxNorm, {AfterStep}, {"max_norm"}),
}

LAYOUT = Layout([Linear(3, 4).shapes, (), Conv2d(2, 3, kernel=2).shapes, Linear(5, 1).shapes])
MASK = torch.from_numpy(LAYOUT.weight_mask()).double().unsqueeze(0)
WEIGHTS = Weights(MASK, tuple((slot.start, slot.stop, slot.spec.shape) for slot in LAYOUT.slots if slot.spec.role == "weight"))
RUNS = 3


def theta(seed: int = 0) -> Tensor:
    return torch.randn(RUNS, LAYOUT.size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(-1, 1)


def test_every_regularizer_is_tested_here() -> None:
    assert set(NAMES) == set(TESTED)


@pytest.mark.parametrize("name", NAMES)
def test_files_name_a_class_its_values_and_what_may_differ(name: str) -> None:
    content = registry.load_option("regularizer", name)
    kind, hooks, columns = TESTED[name]
    assert resolve(content.pop("_target_"), "regularizer") is kind
    assert not problems(kind, content, name)
    assert {
        base for base in (AfterStep, AroundActivation, BatchTransform, Kink, Penalty, Stop) if issubclass(kind, base)
    } == hooks
    assert issubclass(kind, Regularizer)
    assert {key for key, forms in rowwise(kind).items() if float in forms} == columns


# Penalties


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
def test_l2_is_the_sum_of_squares_of_weights_and_its_gradient(weight: float) -> None:
    penalty, t = L2(WEIGHTS, weight=weight), theta().requires_grad_()
    value = sum(weight * slot.view(t).square().flatten(1).sum(1) for slot in LAYOUT.slots if slot.spec.role == "weight")
    assert isinstance(value, Tensor)
    torch.testing.assert_close(penalty.value(t.detach()), value.detach())
    (expected,) = torch.autograd.grad(value.sum(), t)
    grad = theta(1)
    found = grad.clone()
    penalty.add_gradient(t.detach(), found)
    torch.testing.assert_close(found - grad, expected)


def test_l2_of_half_lambda_is_sgds_weight_decay_on_weights() -> None:
    grad, t = theta(1), theta()
    L2(WEIGHTS, weight=0.15).add_gradient(t, with_penalty := grad.clone())
    parameter = nn.Parameter(t.clone())
    parameter.grad = grad.clone()
    torch.optim.SGD([parameter], lr=0.1, weight_decay=0.3).step()
    ours = t - 0.1 * with_penalty
    weights = MASK.bool().expand_as(t)
    torch.testing.assert_close(ours[weights], parameter.detach()[weights])
    torch.testing.assert_close(ours[~weights], (t - 0.1 * grad)[~weights])


def test_l1_subgradient_is_autograds_and_takes_no_step() -> None:
    penalty, t = L1(WEIGHTS, weight=0.3, method="subgradient"), theta().requires_grad_()
    value = 0.3 * (t.abs() * MASK).sum(1)
    torch.testing.assert_close(penalty.value(t.detach()), value.detach())
    (expected,) = torch.autograd.grad(value.sum(), t)
    penalty.add_gradient(t.detach(), grad := torch.zeros_like(t))
    torch.testing.assert_close(grad, expected)
    assert not penalty.state(t.detach())


def l1_step(penalty: L1, t: Tensor, grad: Tensor, lr: float, state: dict[str, Tensor] | None = None, number: int = 1) -> Tensor:
    """Theta after one step of gradient descent from theta with the gradient ``grad`` of the loss."""
    after, held = t.clone(), penalty.state(t) if state is None else state
    signs = penalty.choose(after, used := grad.clone(), held, number)
    after -= lr * used
    penalty.project(after, signs)
    return after


def test_l1_leaves_biases_and_runs_without_a_weight_alone() -> None:
    t, grad = theta(), theta(1)
    t[:, ::3] = 0
    penalty = L1(WEIGHTS, weight=column(0.3, 0.0, 2.0))  # type: ignore[arg-type]
    penalty.add_gradient(t, nothing := torch.zeros_like(t))
    assert not nothing.any()
    after, plain = l1_step(penalty, t, grad, 0.5), t - 0.5 * grad
    free = ~MASK[0].bool()
    assert torch.equal(after[:, free], plain[:, free])
    assert torch.equal(after[1], plain[1])
    assert bool((after[[0, 2]] == 0).any())


@pytest.mark.parametrize("w", [-2.0, -0.3, -0.05, 0.0, 0.04, 0.2, 1.5])
@pytest.mark.parametrize("slope", [-3.0, -0.4, 0.0, 0.4, 3.0])
@pytest.mark.parametrize(("weight", "lr"), [(0.5, 0.2), (2.0, 0.05), (0.0, 0.1), (10.0, 0.1)])
def test_l1_steps_to_the_best_point_on_its_side_of_zero(w: float, slope: float, weight: float, lr: float) -> None:
    """A step of gradient descent is argmin_v slope v + (v - w)^2 / (2 lr) + weight |v| over the v that do not change sign."""
    t, grad = torch.zeros(2, 1, LAYOUT.size, dtype=torch.float64)
    t[:, 0], grad[:, 0] = w, slope
    found = l1_step(L1(WEIGHTS, weight=weight), t, grad, lr)[0, 0]

    def cost(v: Tensor) -> Tensor:
        return slope * v + (v - w).square() / (2 * lr) + weight * v.abs()

    grid = torch.linspace(-3, 3, 100_001, dtype=torch.float64)
    side = grid * w >= 0 if weight else grid.isfinite()
    assert float(cost(found)) <= float(cost(grid[side]).min()) + 1e-12


def test_l1_frees_a_weight_from_zero_by_the_average_of_gradients() -> None:
    """Gradients whose noise is far above the penalty leave a weight at 0 as long as their average is not."""
    generator = torch.Generator().manual_seed(0)
    penalty = L1(WEIGHTS, weight=0.2)
    t = torch.zeros(1, LAYOUT.size, dtype=torch.float64)
    state, moved = penalty.state(t), []
    for number in range(1, 2001):
        grad = torch.randn(1, LAYOUT.size, dtype=torch.float64, generator=generator)
        grad[:, 0] += 0.5  # one that the penalty does not hold
        t = l1_step(penalty, t, grad, 0.01, state, number)
        moved.append(t != 0)
    weights = MASK[0].bool()
    weights[0] = False
    assert not bool(torch.stack(moved[1000:])[:, 0, weights].any())
    assert float(t[0, 0]) < -0.05


@pytest.mark.parametrize("limit", [0.5, 1.0, 100.0])
def test_max_norm_scales_units_back_to_the_sphere(limit: float) -> None:
    t = theta()
    after = t.clone()
    MaxNorm(WEIGHTS, max_norm=limit).after_step(after, 0.1)
    assert torch.equal(after[:, ~MASK[0].bool()], t[:, ~MASK[0].bool()])
    for slot in LAYOUT.slots:
        if slot.spec.role != "weight":
            continue
        old, new = slot.view(t), slot.view(after)
        units = (lambda w: w.mT) if len(slot.spec.shape) == 2 else (lambda w: w.flatten(2))  # [R, units, incoming]
        for before, now in zip(units(old).flatten(0, 1), units(new).flatten(0, 1), strict=True):
            expected = before * min(1.0, limit / float(before.norm()))
            torch.testing.assert_close(now, expected)
    again = after.clone()
    MaxNorm(WEIGHTS, max_norm=limit).after_step(again, 0.1)
    torch.testing.assert_close(again, after)


def test_max_norm_leaves_zero_weights_zero() -> None:
    t = torch.zeros(RUNS, LAYOUT.size, dtype=torch.float64)
    MaxNorm(WEIGHTS, max_norm=1.0).after_step(t, 0.1)
    assert not t.any()


PENALTIES: list[tuple[type[Any], str, dict[str, Any]]] = [
    (L1, "weight", {}),
    (L1, "weight", {"method": "subgradient"}),
    (L2, "weight", {}),
    (MaxNorm, "max_norm", {}),
]


def kinked(penalty: Kink, t: Tensor, grad: Tensor) -> Tensor:
    """Theta after a step of gradient descent with a penalty that may act by its kink."""
    state, after = penalty.state(t), t.clone()
    if state:
        signs = penalty.choose(after, grad, state, 1)
        penalty.project(after.sub_(0.3 * grad), signs)
    return after


@pytest.mark.parametrize(("kind", "key", "flags"), PENALTIES)
def test_columns_of_penalties_are_numbers_row_by_row(kind: type[Any], key: str, flags: dict[str, Any]) -> None:
    numbers, rates = (0.1, 0.7, 1.3), (0.1, 1.0, 0.5)
    together = kind(WEIGHTS, **{key: column(*numbers)}, **flags)
    t, grad = theta(), theta(1)
    t[:, ::3] = 0
    found = {"theta": t.clone(), "grad": grad.clone()}
    if isinstance(together, AfterStep):
        together.after_step(found["theta"], column(*rates))
    if isinstance(together, Penalty):
        together.add_gradient(t, found["grad"])
    if isinstance(together, Kink):
        found["theta"] = kinked(together, found["theta"], found["grad"])
    for row, (number, rate) in enumerate(zip(numbers, rates, strict=True)):
        alone = kind(WEIGHTS, **{key: number}, **flags)
        own_theta, own_grad = t[row : row + 1].clone(), grad[row : row + 1].clone()
        if isinstance(alone, AfterStep):
            alone.after_step(own_theta, rate)
        if isinstance(alone, Penalty):
            alone.add_gradient(t[row : row + 1], own_grad)
            own_theta = kinked(alone, own_theta, own_grad) if isinstance(alone, Kink) else own_theta
            torch.testing.assert_close(alone.value(t[row : row + 1])[0], together.value(t)[row])
        torch.testing.assert_close(found["theta"][row], own_theta[0])
        torch.testing.assert_close(found["grad"][row], own_grad[0])


@pytest.mark.parametrize(("kind", "key", "flags"), PENALTIES)
def test_a_nan_stays_in_its_row(kind: type[Any], key: str, flags: dict[str, Any]) -> None:
    regularizer = kind(WEIGHTS, **{key: 0.5}, **flags)
    t, clean = theta(), theta()
    t[1] = torch.nan
    for values in (t, clean):
        grad = torch.zeros_like(values)
        if isinstance(regularizer, Penalty):
            regularizer.add_gradient(values, grad)
        if isinstance(regularizer, Kink):
            values.copy_(kinked(regularizer, values, grad))
        if isinstance(regularizer, AfterStep):
            regularizer.after_step(values, 0.1)
        values += grad
    assert torch.equal(t[[0, 2]], clean[[0, 2]])
    assert t[1].isnan().all()


# Layers: what they hand to the engine


def test_layers_hand_their_values_over() -> None:
    assert Dropout(p=0.3).values == {"p": 0.3}
    assert BatchNorm(momentum=0.2, eps=1e-4).values == {"momentum": 0.2, "eps": 1e-4}
    assert (Dropout.place, BatchNorm.place) == ("after", "before")


# Augmentation

TABLE, IMAGES = (2, 6, 5), (2, 6, 3, 8, 10)
TABLE_KINDS, IMAGE_KINDS = ("noise", "mask", "mixup"), ("shift", "flip", "rotate", "crop")
STRENGTHS = {"noise": 0.5, "mask": 0.3, "mixup": 0.4, "shift": 0.25, "flip": 0.5, "rotate": 0.1, "crop": 0.3}
KINDS = [(kind, shape) for kind in TABLE_KINDS for shape in (TABLE, IMAGES)] + [(kind, IMAGES) for kind in IMAGE_KINDS]


def inputs(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def targets(shape: tuple[int, ...], classes: int = 3) -> Tensor:
    return torch.randint(classes, shape[:2], generator=torch.Generator().manual_seed(1))


def keys_of(*seeds: int) -> Tensor:
    return torch.from_numpy(streams.keys(seeds, "augment"))


def test_every_kind_is_tested() -> None:
    said = " ".join(registry.header("regularizer", "augmentation"))
    assert all(kind in said for kind in (*TABLE_KINDS, *IMAGE_KINDS))
    found = problems(Augmentation, {"kind": "shft"}, "regularizer.augmentation")
    assert "did you mean 'shift'" in found[0]
    assert all(kind in found[0] for kind in (*TABLE_KINDS, *IMAGE_KINDS))


@pytest.mark.parametrize(("kind", "shape"), KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_augmentation_keeps_shapes_and_is_a_function_of_its_keys(kind: str, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    x, y = inputs(shape).to(dtype), targets(shape)
    kept = x.clone(), y.clone()
    change = Augmentation(3, kind=kind, strength=STRENGTHS[kind])  # type: ignore[arg-type]
    found = change.batch(x, y, keys_of(0, 1))
    assert found[0].shape == x.shape
    assert found[0].dtype == dtype
    assert not torch.equal(found[0], x)
    assert torch.equal(x, kept[0])
    assert torch.equal(y, kept[1])
    again = change.batch(x, y, keys_of(0, 1))
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    other = change.batch(x, y, keys_of(0, 2))
    assert torch.equal(other[0][0], found[0][0])
    assert not torch.equal(other[0][1], found[0][1])
    if kind == "mixup":
        assert found[1].shape == (*y.shape, 3)
        assert found[1].dtype == dtype
    else:
        assert torch.equal(found[1], y)


@pytest.mark.parametrize(("kind", "shape"), KINDS)
def test_augmentation_of_a_run_is_the_same_in_any_cohort_and_with_columns(kind: str, shape: tuple[int, ...]) -> None:
    x, y = inputs((3, *shape[1:])), targets((3, *shape[1:]))
    strengths = (STRENGTHS[kind], 0.05, 0.9)
    together = Augmentation(3, kind=kind, strength=column(*strengths)).batch(x, y, keys_of(4, 5, 6))  # type: ignore[arg-type]
    for row, strength in enumerate(strengths):
        alone = Augmentation(3, kind=kind, strength=strength).batch(x[row : row + 1], y[row : row + 1], keys_of(4 + row))  # type: ignore[arg-type]
        for mine, own in zip(together, alone, strict=True):
            torch.testing.assert_close(mine[row], own[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("kind", "shape"), [(kind, shape) for kind, shape in KINDS if kind != "mixup"])
def test_strength_zero_changes_nothing(kind: str, shape: tuple[int, ...]) -> None:
    x, y = inputs(shape), targets(shape)
    found, same = Augmentation(3, kind=kind, strength=0.0).batch(x, y, keys_of(0, 1))  # type: ignore[arg-type]
    torch.testing.assert_close(found, x, rtol=0, atol=1e-12)
    assert torch.equal(same, y)


def test_noise_has_its_standard_deviation() -> None:
    x = inputs((2, 300, 50))
    noise = Augmentation(1, kind="noise", strength=column(0.5, 0.1)).batch(x, targets(TABLE), keys_of(0, 1))[0] - x
    for row, scale in enumerate((0.5, 0.1)):
        assert stats.kstest(noise[row].flatten().numpy() / scale, "norm").pvalue > 1e-3


def test_mask_sets_its_share_to_the_mean() -> None:
    """Inputs are standardized: their mean is 0."""
    x = inputs((2, 300, 50))
    found = Augmentation(1, kind="mask", strength=column(0.5, 0.1)).batch(x, targets(TABLE), keys_of(0, 1))[0]
    for row, share in enumerate((0.5, 0.1)):
        assert float((found[row] == 0).double().mean()) == pytest.approx(share, abs=0.015)
    assert torch.equal(found[found != 0], x[found != 0])


@pytest.mark.parametrize("shape", [TABLE, IMAGES])
@pytest.mark.parametrize("soft", [False, True])
def test_mixup_is_convex_in_inputs_and_targets_alike(shape: tuple[int, ...], soft: bool) -> None:
    """One share and one partner for each row; the same mixture for both. Recovered here from the targets alone."""
    runs, rows = shape[:2]
    x = inputs(shape)
    y = torch.eye(rows, dtype=torch.float64).expand(runs, -1, -1)  # every row a class of its own
    given = y if soft else torch.arange(rows).expand(runs, -1)
    mixed_x, mixed_y = Augmentation(rows, kind="mixup", strength=0.8).batch(x, given, keys_of(0, 1))
    torch.testing.assert_close(mixed_y.sum(2), torch.ones(runs, rows, dtype=torch.float64))
    assert float(mixed_y.min()) >= 0
    assert int((mixed_y > 0).sum(2).max()) <= 2
    expected = torch.einsum("rij,rj...->ri...", mixed_y, x)
    torch.testing.assert_close(mixed_x, expected)
    own = mixed_y.diagonal(dim1=1, dim2=2)
    shares = own[own < 1 - 1e-9].view(-1)
    assert len(shares.unique()) <= runs


def test_mixup_shares_come_from_the_beta_distribution() -> None:
    n = 4000
    x, y = torch.zeros(n, 2, 1, dtype=torch.float64), torch.tensor([[[0.0], [1.0]]], dtype=torch.float64).expand(n, 2, 1)
    for alpha in (0.2, 1.0):
        mixed = Augmentation(1, kind="mixup", strength=alpha).batch(x, y, torch.from_numpy(streams.keys(range(n), "augment")))[1]
        share = mixed[:, 1, 0]
        swapped = (mixed[:, 0, 0] + mixed[:, 1, 0] - 1).abs() < 1e-12  # the partner is the other row, or itself
        changed = share[swapped & (share != 1)]
        assert stats.kstest(changed.numpy(), stats.beta(alpha, alpha).cdf).pvalue > 1e-3


@pytest.mark.parametrize("alpha", [0.0, 1e-6, 1e-3, 1.0])
def test_mixup_of_any_strength_is_finite(alpha: float) -> None:
    x, y = inputs(TABLE), targets(TABLE)
    mixed = Augmentation(3, kind="mixup", strength=alpha).batch(x, y, keys_of(0, 1))
    assert all(part.isfinite().all() for part in mixed)


def test_flip_mirrors_a_share_of_the_images() -> None:
    x = inputs((1, 400, 1, 4, 6))
    found = Augmentation(1, kind="flip", strength=0.3).batch(x, targets((1, 400)), keys_of(0))[0]
    same = (found - x).abs().flatten(2).amax(2) < 1e-9
    mirrored = (found - x.flip(-1)).abs().flatten(2).amax(2) < 1e-9
    assert bool((same ^ mirrored).all())
    assert float(mirrored.double().mean()) == pytest.approx(0.3, abs=0.08)


def test_shift_moves_by_at_most_its_share_and_fills_with_the_mean() -> None:
    """One bright pixel in the middle moves by up to strength * side in both directions."""
    x = torch.zeros(1, 300, 1, 21, 21, dtype=torch.float64)
    x[..., 10, 10] = 1.0
    found = Augmentation(1, kind="shift", strength=0.25).batch(x, targets((1, 300)), keys_of(0))[0][0, :, 0]
    torch.testing.assert_close(found.sum((1, 2)), torch.ones(300, dtype=torch.float64))
    place = torch.arange(21, dtype=torch.float64) - 10
    for moved in (found.sum(1) @ place, found.sum(2) @ place):
        assert 4.5 < float(moved.abs().max()) <= 0.25 * 21 + 1e-9
        assert stats.kstest(moved.numpy() / (0.25 * 21) / 2 + 0.5, "uniform").pvalue > 1e-3


def test_rotate_turns_by_at_most_its_share_of_180_degrees() -> None:
    x = torch.zeros(1, 200, 1, 41, 41, dtype=torch.float64)
    x[..., 20, 35] = 1.0
    found = Augmentation(1, kind="rotate", strength=0.25).batch(x, targets((1, 200)), keys_of(0))[0][0, :, 0]
    place = torch.arange(41, dtype=torch.float64) - 20
    mass = found.sum((1, 2))
    right, down = found.sum(1) @ place / mass, found.sum(2) @ place / mass
    angle = torch.atan2(down, right).abs()
    assert 0.7 < float(angle.max()) <= torch.pi / 4 + 0.02
    torch.testing.assert_close(torch.hypot(right, down), torch.full((200,), 15.0, dtype=torch.float64), rtol=0, atol=0.6)


def test_crop_enlarges_by_at_most_its_share() -> None:
    """A cropped gradient image keeps its straight line, with a smaller slope and inside the old range."""
    ramp = torch.linspace(-1, 1, 33, dtype=torch.float64).expand(1, 200, 1, 33, 33)
    found = Augmentation(1, kind="crop", strength=0.5).batch(ramp, targets((1, 200)), keys_of(0))[0][0, :, 0]
    slope = (found[:, 16, 20] - found[:, 16, 12]) / (ramp[0, 0, 0, 16, 20] - ramp[0, 0, 0, 16, 12])
    assert 0.5 - 1e-9 <= float(slope.min()) < 0.55
    assert 0.95 < float(slope.max()) <= 1 + 1e-9
    assert float(found.abs().max()) <= 1 + 1e-9


@pytest.mark.parametrize("kind", IMAGE_KINDS)
@pytest.mark.parametrize("soft", [False, True])
def test_masks_move_with_their_images(kind: str, soft: bool) -> None:
    """An image that is its own mask still is, whatever happens to it; what comes in from outside is the ground."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(3, (2, 40, 4, 4), generator=generator)
    masks = coarse.repeat_interleave(4, 2).repeat_interleave(4, 3)
    x = masks.unsqueeze(2).double()
    given = soften(masks, 3, torch.float64) if soft else masks
    moved_x, moved_y = Augmentation(3, kind=kind, strength=STRENGTHS[kind]).batch(x, given, keys_of(0, 1))  # type: ignore[arg-type]
    assert moved_y.shape == given.shape
    assert moved_y.dtype == given.dtype
    classes = moved_y.argmax(2) if soft else moved_y
    assert float((moved_x[:, :, 0].round() == classes).double().mean()) > 0.85  # all but the edges, where images blend
    assert not torch.equal(classes, masks)
    if soft:
        torch.testing.assert_close(moved_y.sum(2), torch.ones(2, 40, 16, 16, dtype=torch.float64))


# Soft targets


def test_soften_is_the_identitys_rows() -> None:
    assert soften(torch.tensor([[0, 1, 2]]), 3, torch.float64).tolist() == [torch.eye(3).tolist()]
    masks = torch.randint(3, (2, 4, 5, 6), generator=torch.Generator().manual_seed(0))
    soft = soften(masks, 3, torch.float64)
    assert soft.shape == (2, 4, 3, 5, 6)
    assert torch.equal(soft.argmax(2), masks)
    y = torch.rand(2, 3, 1)
    assert soften(y, 1, torch.float64) is y


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_label_smoothing_is_torchs_for_classes(smoothing: float) -> None:
    y, logits = targets(TABLE), inputs((2, 6, 3), seed=2)
    x, soft = LabelSmoothing(3, smoothing=smoothing).batch(inputs(TABLE), y, keys_of(0, 1))
    assert torch.equal(x, inputs(TABLE))
    torch.testing.assert_close(soft, nn.functional.one_hot(y, 3).double() * (1 - smoothing) + smoothing / 3)
    for run in range(2):
        oracle = nn.CrossEntropyLoss(label_smoothing=smoothing)(logits[run], y[run])
        torch.testing.assert_close(-(soft[run] * logits[run].log_softmax(1)).sum(1).mean(), oracle)


def test_label_smoothing_pulls_binary_targets_to_one_half() -> None:
    y = torch.tensor([[[0.0], [1.0]]], dtype=torch.float64)
    _, soft = LabelSmoothing(1, smoothing=0.2).batch(torch.zeros(1, 2, 1, dtype=torch.float64), y, keys_of(0))
    assert soft.flatten().tolist() == pytest.approx([0.1, 0.9])


def test_label_smoothing_of_soft_targets_and_columns() -> None:
    """Behind mixup the targets are soft already; each run has its own smoothing."""
    y = inputs((3, 4, 5)).softmax(2)
    _, soft = LabelSmoothing(5, smoothing=column(0.0, 0.5, 0.1)).batch(inputs((3, 4, 2)), y, keys_of(0, 1, 2))
    for row, s in enumerate((0.0, 0.5, 0.1)):
        torch.testing.assert_close(soft[row], y[row] * (1 - s) + s / 5)
    torch.testing.assert_close(soft.sum(2), torch.ones(3, 4, dtype=torch.float64))


# Early stopping


def stops_at(history: list[float], **values: Any) -> int | None:
    """The number of evaluations after which the run is stopped."""
    stop = EarlyStopping(**values)
    for seen in range(1, len(history) + 1):
        if bool(stop.stop(torch.tensor(history[:seen], dtype=torch.float64).view(-1, 1))[0]):
            return seen
    return None


def by_counting(history: list[float], patience: int, min_delta: float) -> int | None:
    """The usual counter: evaluations since the best one improved by more than min_delta."""
    best, waited = float("inf"), 0
    for seen, value in enumerate(history, 1):
        if value < best - min_delta:
            best, waited = value, 0
        else:
            waited += 1
        if waited >= patience:
            return seen
    return None


@pytest.mark.parametrize(
    ("history", "values", "at"),
    [
        ([3, 2, 1, 0.5], {"patience": 2}, None),
        ([1, 1, 1, 1], {"patience": 2}, 3),
        ([1, 2, 3], {"patience": 1}, 2),
        ([3, 2, 2.5, 1.9, 2.0, 2.1, 2.2], {"patience": 3}, 7),
        ([1.0, 0.95, 0.91, 0.87], {"patience": 2, "min_delta": 0.2}, 3),
        ([1.0, 0.7, 0.4, 0.1], {"patience": 2, "min_delta": 0.2}, None),
        ([1.0], {"patience": 1}, None),
        ([float("nan"), 1.0, 0.9, 0.8, 0.7, 0.6], {"patience": 2}, None),
        ([1.0, float("nan"), 0.5, float("nan"), 0.4, 0.45, 0.5], {"patience": 2}, 7),
        ([float("nan")] * 4, {"patience": 2}, None),
        ([float("inf"), float("inf"), 1.0, 0.5], {"patience": 3}, None),
    ],
)
def test_early_stopping_by_hand(history: list[float], values: dict[str, Any], at: int | None) -> None:
    assert stops_at(history, **values) == at


@pytest.mark.parametrize("patience", [1, 2, 5])
def test_early_stopping_is_the_usual_counter(patience: int) -> None:
    generator = torch.Generator().manual_seed(patience)
    for _ in range(50):
        history = (torch.rand(20, generator=generator) + torch.linspace(1, 0, 20)).tolist()
        assert stops_at(history, patience=patience) == by_counting(history, patience, 0.0)


def test_early_stopping_columns_and_rows() -> None:
    history = torch.tensor([[1.0, 1.0, 5.0], [0.95, 0.95, 4.0], [0.91, 0.91, 3.0]], dtype=torch.float64)
    assert EarlyStopping(patience=2, min_delta=column(0.2, 0.01, 0.2).numpy()).stop(history).tolist() == [True, False, False]
