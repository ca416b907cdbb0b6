"""Areas under curves of any scores: extreme ones, infinite ones, many ties, and what must not change them."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from sklearn import metrics as sk
from torch import Tensor

from dlrun.components.metrics import binary, ranking

FLOATS = [torch.float32, torch.float64]


def logits(width: int) -> SearchStrategy[float]:
    """Many ties, rounding's neighbours, and the whole range of the type."""
    near = st.sampled_from([0.0, -0.0, 1.0, -1.0, 16.5, 17.5, 20.0, 88.0, 104.0, 709.0, 1000.0, -17.5, -1000.0])
    return near | st.floats(-1e3, 1e3, width=width) | st.floats(allow_nan=False, allow_infinity=False, width=width)


def of(rows: list[tuple[float, bool]], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    z = torch.tensor([score for score, _ in rows], dtype=dtype)[None]
    return z, torch.tensor([[positive for _, positive in rows]])


def levels(z: Tensor) -> np.ndarray:
    """The same order and ties as small whole numbers: scikit-learn takes differences of scores, which overflow."""
    return np.unique(z.numpy() + 0.0, return_inverse=True)[1].ravel()


@pytest.mark.parametrize("dtype", FLOATS)
def test_equal_scikit_learn_for_any_scores(dtype: torch.dtype) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(logits(32 if dtype == torch.float32 else 64), st.booleans()), min_size=2, max_size=20))
    def check(rows: list[tuple[float, bool]]) -> None:
        z, y = of(rows, dtype)
        if y.all() or not y.any():
            assert ranking.auroc(z, y).isnan().all()
            return
        assert float(ranking.auroc(z, y)) == pytest.approx(sk.roc_auc_score(y[0], levels(z)), abs=1e-12)
        assert float(ranking.average_precision(z, y)) == pytest.approx(sk.average_precision_score(y[0], levels(z)), abs=1e-12)

    check()


@pytest.mark.parametrize("dtype", FLOATS)
def test_scaling_and_shifting_change_nothing(dtype: torch.dtype) -> None:
    """Whole numbers up to 1,000: what is added and multiplied leaves them exact."""
    draw = torch.Generator().manual_seed(0)
    z = torch.randint(-1000, 1001, (5, 200), generator=draw).to(dtype)
    y = torch.rand(5, 200, generator=draw) < 0.4
    auroc, precision = ranking.auroc(z, y), ranking.average_precision(z, y)
    others = [z * factor for factor in (2.0**-100, 0.5, 3.0, 2.0**90)] + [z + shift for shift in (-1000.0, 17.0, 5000.0)]
    for other in [*others, z.double(), z.t().contiguous().t()]:
        assert torch.equal(ranking.auroc(other, y), auroc)
        assert torch.equal(ranking.average_precision(other, y), precision)
    torch.testing.assert_close(ranking.auroc(-z, y), 1 - auroc, rtol=0, atol=1e-12)


def test_what_a_sigmoid_rounds_to_one_keeps_its_order() -> None:
    """Golden: positives 18, 19, 40, negatives 17.5, 30; 4 of 6 pairs are in order. Their float32 sigmoids are all 1."""
    z = torch.tensor([18.0, 19.0, 40.0, 17.5, 30.0])[None, :, None]
    y = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0])[None, :, None]
    assert z.sigmoid().unique().tolist() == [1.0]
    assert float(binary.auroc(z, y)) == pytest.approx(4 / 6)
    # steps of recall at 40, 19 and 18, where 1 of 1, 2 of 3 and 3 of 4 rows are positive
    assert float(binary.average_precision(z, y)) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_infinite_scores_are_the_ends() -> None:
    z = torch.tensor([[math.inf, 3.0, -math.inf, 3.0, math.inf, 1e-3]])
    y = torch.tensor([[True, True, False, False, False, True]])
    finite = z.clamp(-1e6, 1e6)
    assert float(ranking.auroc(z, y)) == pytest.approx(sk.roc_auc_score(y[0], finite[0]))
    assert float(ranking.average_precision(z, y)) == pytest.approx(sk.average_precision_score(y[0], finite[0]))


def test_a_run_with_a_nan_or_a_huge_range_does_not_change_the_others() -> None:
    draw = torch.Generator().manual_seed(1)
    z, y = torch.randn(4, 50, generator=draw), torch.rand(4, 50, generator=draw) < 0.5
    clean = ranking.auroc(z, y)
    z[1, 3], z[2, 0], z[2, 1] = torch.nan, 3e38, 1e-45
    assert torch.equal(ranking.auroc(z, y)[[0, 3]], clean[[0, 3]])
    assert binary.auroc(z.unsqueeze(2), y.unsqueeze(2).float())[1].isnan()
    assert float(ranking.auroc(z, y)[2]) == pytest.approx(sk.roc_auc_score(y[2], levels(z[2])))
