"""Confidence sequences: the formula against its definition, what they do not depend on, and the verdicts that follow."""

import math

import numpy as np
import pytest
from scipy.integrate import quad

from dlrun.comparison.sequential import LEAST, PRIOR, confidence_sequence, settle


def evidence(t: float, n: int) -> float:
    """The mixture of the module by its definition, from t = mean / sd of n normal values.

    The likelihood ratio of an effect size a, the scale having been integrated out with the measure ds / s, depends on the values
    by c = n mean / norm alone: int u^(n-1) exp(-u^2/2 + a c u - n a^2/2) du / int u^(n-1) exp(-u^2/2) du.
    """
    c = math.sqrt(n) * t / math.sqrt(1 + t**2)
    below = quad(lambda u: u ** (n - 1) * math.exp(-u * u / 2), 0, 30)[0]
    # the mixture over a ~ N(0, 1/PRIOR) of exp(a c u - n a^2/2) is sqrt(r) exp((c u)^2 / (2 (n + PRIOR)))
    inner = lambda u: math.exp((c * u) ** 2 / (2 * (n + PRIOR)) - u * u / 2) * u ** (n - 1)  # noqa: E731
    return math.sqrt(PRIOR / (n + PRIOR)) * quad(inner, 0, 60)[0] / below


@pytest.mark.parametrize("alpha", [0.05, 0.001])
def test_at_the_ends_of_the_interval_the_evidence_is_one_over_alpha(alpha: float) -> None:
    half = np.random.default_rng(0).standard_normal(LEAST // 2)
    values = 5 + np.concatenate([half, -half])  # without skewness, so that Hall's interval is the same
    low, high = confidence_sequence(values.tolist(), alpha=alpha)[-1]
    assert evidence((5 - low) / values.std(), LEAST) == pytest.approx(1 / alpha)
    assert evidence((5 - high) / values.std(), LEAST) == pytest.approx(1 / alpha)


def test_with_skewness_one_end_is_that_of_the_t_statistic_and_the_other_beyond_it() -> None:
    values = np.random.default_rng(3).exponential(size=LEAST)
    mean, sd = values.mean(), values.std()
    low, high = confidence_sequence(values.tolist(), alpha=0.05)[-1]
    assert evidence((mean - low) / sd, LEAST) == pytest.approx(20)
    t, skewness = (mean - high) / sd, ((values - mean) ** 3).mean() / sd**3
    hall = t + skewness * t**2 / 3 + skewness**2 * t**3 / 27 + skewness / (6 * LEAST)
    assert evidence(hall, LEAST) == pytest.approx(20)
    assert high - mean > 1.2 * (mean - low), "large values may not have been seen"


def test_intervals_are_nested_and_begin_at_the_least_number_of_pairs() -> None:
    found = confidence_sequence(np.random.default_rng(1).exponential(size=300).tolist(), alpha=0.05)
    assert np.isinf(found[: LEAST - 1]).all()
    assert np.isfinite(found[LEAST - 1 :]).all()
    assert (np.diff(found[:, 0][LEAST - 1 :]) >= 0).all()
    assert (np.diff(found[:, 1][LEAST - 1 :]) <= 0).all()


def test_intervals_move_and_stretch_with_the_values_and_mirror() -> None:
    values = np.random.default_rng(2).exponential(size=80)
    plain = confidence_sequence(values.tolist(), alpha=0.01)[-1]
    moved = confidence_sequence((1e4 + 3 * values).tolist(), alpha=0.01)[-1]
    mirrored = confidence_sequence((-values).tolist(), alpha=0.01)[-1]
    assert moved == pytest.approx(1e4 + 3 * plain, rel=1e-9)
    assert mirrored == pytest.approx(-plain[::-1], rel=1e-9)


def test_equal_differences_of_a_metric_of_few_values_leave_room_for_a_step() -> None:
    low, high = confidence_sequence([0.0] * 40, alpha=0.05, step=1 / 30)[-1]
    assert 0.001 < high == -low < 1 / 30
    assert np.isinf(confidence_sequence([0.5] * 40, alpha=0.05)).all(), "without a step nothing is known of their spread"
    known = {"higher_is_better": True, "alpha": 0.05, "step": 1 / 30}
    assert settle([0.0] * 40, margin=high / 2, **known).word == "not settled"
    assert settle([0.0] * 40, margin=0.03, **known).word == "equivalent"


def test_verdicts_follow_the_first_interval_that_says_so() -> None:
    values = np.random.default_rng(4).standard_normal(400)
    found = settle((values + 0.6).tolist(), higher_is_better=True, alpha=0.05)
    assert (found.word, LEAST <= found.n < 100) == ("better", True)
    assert 0 < found.low < found.mean < found.high
    assert found.mean == pytest.approx(values[: found.n].mean() + 0.6)
    assert settle((values + 0.6).tolist(), higher_is_better=False, alpha=0.05).word == "worse"
    again = settle((values[: found.n] + 0.6).tolist(), higher_is_better=True, alpha=0.05)
    assert (again.word, again.n) == (found.word, found.n), "what comes later changes nothing"
    assert (again.low, again.high) == pytest.approx((found.low, found.high))
    same = settle(values.tolist(), higher_is_better=True, alpha=0.05, margin=0.5)
    assert (same.word, same.low > -0.5, same.high < 0.5) == ("equivalent", True, True)
    assert settle(values.tolist(), higher_is_better=True, alpha=0.05).word == "not settled"
    assert settle([], higher_is_better=True, alpha=0.05).n == 0
    tiny = settle((1e-9 * values + 1e-9).tolist(), higher_is_better=True, alpha=0.05, scale=1.0)
    assert tiny.word == "not settled", "differences of rounding are none"
