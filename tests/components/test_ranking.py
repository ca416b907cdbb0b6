"""Areas under curves of any scores: extreme ones, infinite ones, many ties, and what must not change them."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from sklearn import metrics as sk

from dlrun.components.arrays import Array
from dlrun.components.links import sigmoid
from dlrun.components.metrics import binary, ranking

FLOATS = [np.float32, np.float64]


def logits(width: int) -> SearchStrategy[float]:
    """Many ties, rounding's neighbours, and the whole range of the type."""
    near = st.sampled_from([0.0, -0.0, 1.0, -1.0, 16.5, 17.5, 20.0, 88.0, 104.0, 709.0, 1000.0, -17.5, -1000.0])
    return near | st.floats(-1e3, 1e3, width=width) | st.floats(allow_nan=False, allow_infinity=False, width=width)


def of(rows: list[tuple[float, bool]], dtype: type[np.floating[Any]]) -> tuple[Array, Array]:
    z = np.array([[score for score, _ in rows]], dtype=dtype)
    return z, np.array([[positive for _, positive in rows]])


def levels(z: Array) -> Array:
    """The same order and ties as small whole numbers: scikit-learn takes differences of scores, which overflow."""
    return np.unique(z + 0.0, return_inverse=True)[1].ravel()


@pytest.mark.parametrize("dtype", FLOATS)
def test_equal_scikit_learn_for_any_scores(dtype: Any) -> None:
    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(logits(32 if dtype == np.float32 else 64), st.booleans()), min_size=2, max_size=20))
    def check(rows: list[tuple[float, bool]]) -> None:
        z, y = of(rows, dtype)
        if y.all() or not y.any():
            assert np.isnan(ranking.auroc(z, y)).all()
            return
        assert ranking.auroc(z, y).item() == pytest.approx(sk.roc_auc_score(y[0], levels(z)), abs=1e-12)
        assert ranking.average_precision(z, y).item() == pytest.approx(sk.average_precision_score(y[0], levels(z)), abs=1e-12)

    check()


@pytest.mark.parametrize("dtype", FLOATS)
def test_scaling_and_shifting_change_nothing(dtype: Any) -> None:
    """Whole numbers up to 1,000: what is added and multiplied leaves them exact."""
    draw = np.random.default_rng(0)
    z = draw.integers(-1000, 1001, (5, 200)).astype(dtype)
    y = draw.random((5, 200)) < 0.4
    auroc, precision = ranking.auroc(z, y), ranking.average_precision(z, y)
    others = [z * factor for factor in (2.0**-100, 0.5, 3.0, 2.0**90)] + [z + shift for shift in (-1000.0, 17.0, 5000.0)]
    for other in [*others, z.astype(np.float64), np.asfortranarray(z)]:
        assert np.array_equal(ranking.auroc(other, y), auroc)
        assert np.array_equal(ranking.average_precision(other, y), precision)
    np.testing.assert_allclose(ranking.auroc(-z, y), 1 - auroc, rtol=0, atol=1e-12)


def test_what_a_sigmoid_rounds_to_one_keeps_its_order() -> None:
    """Golden: positives 18, 19, 40, negatives 17.5, 30; 4 of 6 pairs are in order. Their float32 sigmoids are all 1."""
    z = np.array([18.0, 19.0, 40.0, 17.5, 30.0], dtype=np.float32)[None, :, None]
    y = np.array([1.0, 1.0, 1.0, 0.0, 0.0])[None, :, None]
    assert np.unique(sigmoid(z)).tolist() == [1.0]
    assert binary.auroc(z, y).item() == pytest.approx(4 / 6)
    # steps of recall at 40, 19 and 18, where 1 of 1, 2 of 3 and 3 of 4 rows are positive
    assert binary.average_precision(z, y).item() == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_infinite_scores_are_the_ends() -> None:
    z = np.array([[math.inf, 3.0, -math.inf, 3.0, math.inf, 1e-3]])
    y = np.array([[True, True, False, False, False, True]])
    finite = z.clip(-1e6, 1e6)
    assert ranking.auroc(z, y).item() == pytest.approx(sk.roc_auc_score(y[0], finite[0]))
    assert ranking.average_precision(z, y).item() == pytest.approx(sk.average_precision_score(y[0], finite[0]))


def test_a_run_with_a_nan_or_a_huge_range_does_not_change_the_others() -> None:
    draw = np.random.default_rng(1)
    z, y = draw.standard_normal((4, 50), dtype=np.float32), draw.random((4, 50)) < 0.5
    clean = ranking.auroc(z, y)
    z[1, 3], z[2, 0], z[2, 1] = np.nan, 3e38, 1e-45
    assert np.array_equal(ranking.auroc(z, y)[[0, 3]], clean[[0, 3]])
    assert np.isnan(binary.auroc(z[..., None], y[..., None])[1])
    assert ranking.auroc(z, y)[2] == pytest.approx(sk.roc_auc_score(y[2], levels(z[2])))
