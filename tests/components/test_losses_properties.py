"""What losses must satisfy beyond their oracles: printed figures, extreme inputs, identities, and the projection of sparsemax."""

import math
from collections.abc import Callable
from itertools import product
from typing import Any

import entmax
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor
from torch.nn import functional as f

from dlrun.components import losses
from dlrun.components.losses import GRADIENTS, per_row, per_run, shapes, sparsemax

Call = tuple[Callable[..., Tensor], Tensor, dict[str, Any]]


def scores(rows: int = 5, columns: int = 4, size: float = 30) -> st.SearchStrategy[Tensor]:
    return arrays(np.float64, (1, rows, columns), elements=st.floats(-size, size)).map(torch.from_numpy)


# Golden values of the notes: cross entropy of these scores with class 0, in float64.
@pytest.mark.parametrize(("z", "printed"), [([-5.2, 4.6, 0.8], 9.8222), ([-0.1211, 0.1059], 0.8131)])
def test_cross_entropy_that_the_notes_print(z: list[float], printed: float) -> None:
    output = torch.tensor([[z]], dtype=torch.float64)
    one_hot = torch.eye(len(z), dtype=torch.float64)[None, :1]
    # from four printed decimals of the scores come four decimals of the loss, give or take one in the last
    assert float(losses.cross_entropy(output, torch.tensor([[0]]))) == pytest.approx(printed, abs=1e-4)
    assert float(losses.cross_entropy(output, one_hot)) == pytest.approx(printed, abs=1e-4)
    assert float(losses.nll(output.log_softmax(2), torch.tensor([[0]]))) == pytest.approx(printed, abs=1e-4)


def test_softmax_and_sigmoid_that_the_notes_print() -> None:
    p = shapes.softmax(torch.tensor([[[4.3, 6.1, 2.3]]], dtype=torch.float64))
    assert p.flatten().tolist() == pytest.approx([0.1392, 0.8420, 0.0188], abs=5e-5)
    # bce_with_logits has the gradient sigmoid(z) - y
    assert float(GRADIENTS[losses.bce_with_logits](torch.full((1, 1, 1), 0.8), torch.zeros(1, 1, 1))) == pytest.approx(
        0.69, abs=5e-5
    )


# Worked out by hand: r = 2 and -0.5, delta = 1.
@pytest.mark.parametrize(
    ("loss", "hypers", "expected"),
    [
        (losses.mse, {}, (4 + 0.25) / 2),
        (losses.mae, {}, (2 + 0.5) / 2),
        (losses.huber, {"delta": 1.0}, (1.5 + 0.125) / 2),
        (losses.quantile, {"tau": 0.9}, (0.9 * 2 + 0.1 * 0.5) / 2),
        (losses.log_cosh, {}, (math.log(math.cosh(2)) + math.log(math.cosh(0.5))) / 2),
    ],
)
def test_regression_losses_by_hand(loss: Callable[..., Tensor], hypers: dict[str, float], expected: float) -> None:
    y = torch.tensor([[[2.0], [-0.5]]])
    assert float(per_run(loss(torch.zeros_like(y), y, **hypers))) == pytest.approx(expected)


def extreme() -> list[Call]:
    z = torch.tensor([[[200.0, -200.0, 0.0], [-200.0, 200.0, 1e-6], [200.0, 200.0, -200.0]]])
    y = torch.tensor([[1, 1, 2]])
    each = torch.tensor([[[0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [0.0, 0.5, 1.0]]])
    share = torch.tensor([[[0.2, 0.3, 0.5], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]]])
    calls: list[Call] = [
        (losses.bce_with_logits, each, {}),
        (losses.bce_with_logits, each, {"pos_weight": 3.0}),
        (losses.cross_entropy, y, {}),
        (losses.cross_entropy, share, {}),
        (losses.hinge, y, {"squared": True}),
        (losses.sparsemax_loss, y, {}),
        (losses.sparsemax_loss, share, {}),
    ]
    for gamma in (0.0, 0.5, 2.0):
        calls += [
            (losses.focal, each, {"task": "multilabel", "gamma": gamma, "alpha": 0.25}),
            (losses.focal, y, {"task": "multiclass", "gamma": gamma}),
            (losses.focal, share, {"task": "multiclass", "gamma": gamma}),
        ]
    return [(loss, target, {**hypers, "z": z}) for loss, target, hypers in calls]


@pytest.mark.parametrize(("loss", "target", "hypers"), extreme())
def test_logits_of_200_in_float32_agree_with_float64(loss: Callable[..., Tensor], target: Tensor, hypers: dict[str, Any]) -> None:
    hypers = dict(hypers)
    z = hypers.pop("z")
    exact = target.double() if target.is_floating_point() else target
    value, gradient = per_run(loss(z, target, **hypers)), GRADIENTS[loss](z, target, **hypers)
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    torch.testing.assert_close(value.double(), per_run(loss(z.double(), exact, **hypers)), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient.double(), GRADIENTS[loss](z.double(), exact, **hypers), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("residual", [1e-6, 1e-3, 0.1, 3.0, 19.0, 21.0, 1e4, 1e30])
def test_log_cosh_is_exact_for_small_and_large_residuals(residual: float) -> None:
    output = torch.full((1, 1, 1), residual)
    r = float(output)  # as float32 has it
    series = r**2 / 2 - r**4 / 12 if r < 1e-2 else math.log1p(math.exp(-2 * r)) + r - math.log(2)
    assert float(losses.log_cosh(output, torch.zeros(1, 1, 1))) == pytest.approx(series, rel=1e-6)


def test_bce_is_bounded_where_probabilities_are_0_and_1_as_torch_is() -> None:
    p = torch.tensor([[[0.0], [1.0], [0.0], [1.0], [1e-20]]], requires_grad=True)
    y = torch.tensor([[[1.0], [0.0], [0.0], [1.0], [1.0]]])
    expected = f.binary_cross_entropy(p, y)
    expected.backward()
    torch.testing.assert_close(per_run(losses.bce(p.detach(), y))[0], expected.detach())
    torch.testing.assert_close(GRADIENTS[losses.bce](p.detach(), y), p.grad)


@pytest.mark.parametrize("loss", [losses.mse, losses.mae, losses.huber, losses.log_cosh])
def test_gradient_at_a_residual_of_zero_is_zero(loss: Callable[..., Tensor]) -> None:
    assert GRADIENTS[loss](torch.ones(2, 3, 1), torch.ones(2, 3, 1)).eq(0).all()


@settings(max_examples=25, deadline=None)
@given(scores(), st.integers(0, 3))
def test_identities_between_losses(z: Tensor, label: int) -> None:
    y = torch.full((1, 5), label)
    each = f.one_hot(y, 4).double()
    same = [
        (losses.nll(z.log_softmax(2), y), losses.cross_entropy(z, y)),
        (losses.cross_entropy(z, each), losses.cross_entropy(z, y)),
        (losses.focal(z, y, task="multiclass", gamma=0.0), losses.cross_entropy(z, y)),
        (losses.focal(z, each, task="multilabel", gamma=0.0), losses.bce_with_logits(z, each)),
        (losses.focal(z, each, task="multiclass", gamma=1.5), losses.focal(z, y, task="multiclass", gamma=1.5)),
        (losses.sparsemax_loss(z, each), losses.sparsemax_loss(z, y)),
        (losses.quantile(z, each, tau=0.5), 0.5 * losses.mae(z, each)),
        (losses.quantile(z, each[..., :1], tau=[0.3] * 4), losses.quantile(z, each[..., :1].expand_as(z), tau=0.3)),
        (losses.huber(z, each, delta=1e9), 0.5 * losses.mse(z, each)),
    ]
    for left, right in same:
        torch.testing.assert_close(per_run(left), per_run(right), rtol=1e-9, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(scores(), st.integers(0, 3))
def test_losses_are_not_negative_and_class_gradients_sum_to_zero(z: Tensor, label: int) -> None:
    y = torch.full((1, 5), label)
    for loss, hypers in (
        (losses.cross_entropy, {}),
        (losses.sparsemax_loss, {}),
        (losses.hinge, {}),
        (losses.focal, {"task": "multiclass"}),
    ):
        assert (loss(z, y, **hypers) >= -1e-12).all()
        # nothing changes when all scores move together
        torch.testing.assert_close(loss(z + 3, y, **hypers), loss(z, y, **hypers))
        total = GRADIENTS[loss](z, y, **hypers).sum(2)
        torch.testing.assert_close(total, torch.zeros_like(total), rtol=0, atol=1e-12)


@settings(max_examples=50, deadline=None)
@given(scores(rows=3, columns=3, size=3))
def test_sparsemax_is_nearer_than_any_point_of_a_grid_on_the_simplex(z: Tensor) -> None:
    p = sparsemax(z)
    assert (p >= 0).all()
    torch.testing.assert_close(p.sum(2), torch.ones(1, 3, dtype=torch.float64))
    grid = torch.tensor([(i, j, 20 - i - j) for i, j in product(range(21), repeat=2) if i + j <= 20], dtype=torch.float64) / 20
    best = (grid - z[0, :, None, :]).square().sum(2).amin(1)
    assert ((p[0] - z[0]).square().sum(1) <= best + 1e-12).all()


@settings(max_examples=100, deadline=None)
@given(scores(), st.integers(0, 99))
def test_sparsemax_and_its_loss_equal_entmax(z: Tensor, seed: int) -> None:
    y = torch.randint(4, (1, 5), generator=torch.Generator().manual_seed(seed))
    p = sparsemax(z)
    reference = entmax.sparsemax(z, dim=2)
    torch.testing.assert_close(p, reference, rtol=0, atol=1e-12)
    expected = entmax.SparsemaxLoss(reduction="elementwise_mean")(z[0], y[0])
    torch.testing.assert_close(per_run(losses.sparsemax_loss(z, y))[0], expected, rtol=1e-9, atol=1e-12)
    gradient = (reference - torch.nn.functional.one_hot(y, 4)) / 5
    torch.testing.assert_close(GRADIENTS[losses.sparsemax_loss](z, y), gradient, rtol=0, atol=1e-12)


def test_sparsemax_has_exact_zeros_along_any_axis() -> None:
    z = torch.tensor([[[0.1, 1.1, 0.2, -2.0], [5.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]]])
    p = sparsemax(z)
    # the first: support {1.1, 0.2}, threshold (1.3 - 1) / 2 = 0.15
    assert p[0, 0].tolist() == pytest.approx([0.0, 0.95, 0.05, 0.0])
    assert p[0, 0, 3] == 0
    assert p[0, 1].tolist() == [1.0, 0.0, 0.0, 0.0]
    assert p[0, 2].tolist() == pytest.approx([0.25] * 4)
    assert torch.equal(sparsemax(z.transpose(1, 2), 1), p.transpose(1, 2))
    assert torch.equal(sparsemax(z.transpose(0, 2), 0), p.transpose(0, 2))


def test_sparsemax_loss_ends_where_a_class_leads_by_one() -> None:
    y = torch.tensor([[0]])
    ahead = torch.tensor([[[1000.0, 999.0, 0.0]]])
    assert float(losses.sparsemax_loss(ahead, y)) == 0
    assert GRADIENTS[losses.sparsemax_loss](ahead, y).eq(0).all()
    assert float(losses.sparsemax_loss(torch.tensor([[[1.0, 0.1, 0.0]]]), y)) > 0


def test_dice_of_equal_masks_is_zero_and_of_an_absent_class_too() -> None:
    y = torch.zeros(1, 2, 4, 4, dtype=torch.int64)
    y[:, :, :2] = 1
    z = 100.0 * f.one_hot(y, 3).movedim(-1, 2).float()
    # of 16 pixels two classes have 8 each, without any overlap, and the third is neither there nor predicted
    for background, expected in ((False, (1 - 1 / 17) / 2), (True, 2 * (1 - 1 / 17) / 3)):
        assert float(per_run(losses.dice(z, y, background=background))) == pytest.approx(0, abs=1e-6)
        assert float(per_run(losses.dice(z, 1 - y, background=background))) == pytest.approx(expected)


@pytest.mark.parametrize(("background", "towards_the_shape"), [(False, True), (True, False)])
def test_dice_of_the_background_pulls_all_pixels_to_it(background: bool, towards_the_shape: bool) -> None:
    """A shape of one pixel in twenty, and a network that knows nothing: where the bias of the shape's class is drawn."""
    y = torch.zeros(1, 1, 10, 10, dtype=torch.int64)
    y[..., 0, :5] = 1
    gradient = GRADIENTS[losses.dice](torch.zeros(1, 1, 2, 10, 10, dtype=torch.float64), y, background=background, smooth=0.0)
    by_bias = float(gradient[:, :, 1].sum())
    f, p = 0.05, 0.5
    shape, ground = 2 * f**2 / (p + f) ** 2, 2 * (1 - f) ** 2 / (1 - p + 1 - f) ** 2
    assert by_bias == pytest.approx((ground - shape) * p * (1 - p) / 2 if background else -shape * p * (1 - p))
    assert (by_bias < 0) == towards_the_shape


def test_softmax_of_many_rows_equals_that_of_few() -> None:
    z = torch.randn(3, 2000, 5)
    torch.testing.assert_close(shapes.softmax(z), z.softmax(2))
    torch.testing.assert_close(shapes.log_softmax(z), z.log_softmax(2))


def test_public_names_exist() -> None:
    assert all(hasattr(losses, name) for name in losses.__all__)


# Reductions


def weights_of(rows: int, seed: int = 0) -> Tensor:
    return torch.rand(2, rows, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) + 0.1


def a_batch(classes: bool) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(2, 6, 3, dtype=torch.float64, generator=generator)
    return z, torch.randint(3, (2, 6), generator=generator) if classes else torch.randn(2, 6, 3, generator=generator).double()


REDUCED: list[tuple[Callable[..., losses.Values], bool, dict[str, Any]]] = [
    (losses.mse, False, {}),
    (losses.quantile, False, {"tau": [0.1, 0.5, 0.9]}),
    (losses.cross_entropy, True, {}),
    (losses.cross_entropy, True, {"class_weight": [0.5, 2.0, 0.0]}),
    (losses.hinge, True, {}),
]


@pytest.mark.parametrize(("loss", "classes", "hypers"), REDUCED)
def test_a_weight_of_2_counts_a_row_twice_and_of_0_leaves_it_out(
    loss: Callable[..., losses.Values], classes: bool, hypers: dict[str, Any]
) -> None:
    z, y = a_batch(classes)
    counts = torch.tensor([2.0, 1, 0, 1, 3, 0], dtype=torch.float64)
    rows = counts.long().repeat_interleave(counts.long()).new_tensor([row for row in range(6) for _ in range(int(counts[row]))])
    found = per_run(loss(z, y, **hypers), counts)
    torch.testing.assert_close(found, per_run(loss(z[:, rows], y[:, rows], **hypers)))
    torch.testing.assert_close(
        per_run(loss(z, y, **hypers), counts, "sum"), per_run(loss(z[:, rows], y[:, rows], **hypers), reduction="sum")
    )


@pytest.mark.parametrize(("loss", "classes", "hypers"), REDUCED)
def test_a_rows_loss_is_that_of_a_batch_of_it(loss: Callable[..., losses.Values], classes: bool, hypers: dict[str, Any]) -> None:
    z, y = a_batch(classes)
    found = per_row(loss(z, y, **hypers))
    assert found is not None
    alone = torch.stack([per_run(loss(z[:, [row]], y[:, [row]], **hypers)) for row in range(6)], 1)
    torch.testing.assert_close(found, alone.nan_to_num())  # a row whose class weighs nothing has no loss of its own


def test_class_weights_and_row_weights_together_are_torchs() -> None:
    z, y = a_batch(classes=True)
    weight, rows = torch.tensor([0.5, 2.0, 1.0], dtype=torch.float64), weights_of(6)
    found = per_run(losses.cross_entropy(z, y, class_weight=weight.tolist()), rows)
    each = torch.stack([f.cross_entropy(z[run], y[run], weight=weight, reduction="none") for run in range(2)])
    torch.testing.assert_close(found, (each * rows).sum(1) / (weight[y] * rows).sum(1))


def test_a_loss_that_gives_one_number_a_run_is_taken_as_it_is() -> None:
    assert torch.equal(per_run(torch.tensor([1.0, 2.0])), torch.tensor([1.0, 2.0]))
    assert per_row(torch.tensor([1.0, 2.0])) is None
