"""Probabilities and their logarithms against scipy, for scores of any size; sparsemax against that of tensors."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import special

from dlrun.components import links, losses
from dlrun.components.arrays import Array

Z = np.array([0.0, -0.0, 1e-9, -1e-9, 0.5, -3.0, 17.5, -40.0, 88.0, -104.0, 709.0, -746.0, 1e4, -1e4, np.inf, -np.inf])


@pytest.mark.parametrize(
    ("function", "oracle"),
    [
        (links.sigmoid, special.expit),
        (links.log_sigmoid, special.log_expit),
        (links.softplus, lambda z: np.logaddexp(0, z)),
    ],
)
def test_of_one_score_it_is_scipys(function: Callable[[Array], Array], oracle: Callable[[Array], Array]) -> None:
    np.testing.assert_allclose(function(Z), oracle(Z), rtol=1e-14)
    single = Z.astype(np.float32)
    assert function(single).dtype == np.float32
    np.testing.assert_allclose(function(single), oracle(single), rtol=1e-6)


def test_log_odds_of_a_probability() -> None:
    p = np.array([0.0, 1e-300, 1e-9, 0.25, 0.5, 1 - 1e-12, 1.0])
    np.testing.assert_allclose(links.logit(p), special.logit(p), rtol=1e-14)


@pytest.mark.parametrize("size", [1.0, 30.0, 1e4])
@pytest.mark.parametrize("axis", [1, 2])
def test_of_several_scores_it_is_scipys(size: float, axis: int) -> None:
    z = size * np.random.default_rng(0).standard_normal((2, 5, 4))
    z[0, 0, 0] = -np.inf
    for function, oracle in ((links.softmax, special.softmax), (links.log_softmax, special.log_softmax)):
        np.testing.assert_allclose(function(z, axis), oracle(z, axis=axis), rtol=1e-13, atol=1e-300)
    np.testing.assert_allclose(links.log_sum_exp(z, axis), special.logsumexp(z, axis=axis, keepdims=True), rtol=1e-14)
    z = z.clip(-1e6)
    np.testing.assert_allclose(links.sparsemax(z, axis), losses.sparsemax(torch.from_numpy(z), axis), rtol=0, atol=1e-15)


def test_nothing_is_possible_where_all_are_impossible() -> None:
    assert links.log_sum_exp(np.full((1, 3), -np.inf), 1).tolist() == [[-np.inf]]


def test_what_is_given_stays_as_it_is() -> None:
    z = np.random.default_rng(1).standard_normal((2, 3, 4))
    before = z.copy()
    for function in (links.sigmoid, links.log_sigmoid, links.softplus):
        function(z)
    for several in (links.softmax, links.log_softmax, links.sparsemax, links.log_sum_exp):
        several(z, 2)
    assert np.array_equal(z, before)
