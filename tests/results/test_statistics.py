import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dlrun.comparison import statistics
from dlrun.comparison.power import pairs_for_difference, pairs_for_equivalence
from dlrun.comparison.statistics import Paired, hedges, holm, paired, summarize_differences, verdict, wilcoxon


def sample(seed: int, n: int = 12, shift: float = 0.4) -> tuple[dict[int, float], dict[int, float]]:
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, n))
    return dict(enumerate((a + shift).tolist())), dict(enumerate(b.tolist()))


@pytest.mark.parametrize("seed", range(5))
def test_the_paired_t_test_against_scipy(seed: int):
    a, b = sample(seed)
    found = paired(a, b)
    expected = stats.ttest_rel(list(a.values()), list(b.values()))
    interval = expected.confidence_interval(0.95)
    np.testing.assert_allclose(
        [found.t_p, found.low, found.high, found.mean],
        [expected.pvalue, interval.low, interval.high, np.mean(list(a.values())) - np.mean(list(b.values()))],
        rtol=1e-9,
    )


@pytest.mark.parametrize("n", [2, 5, 12, 40, 80])
def test_wilcoxon_against_scipy(n: int):
    differences = np.random.default_rng(n).standard_normal(n) + 0.2
    method = "exact" if n <= 50 else "approx"
    assert wilcoxon(differences.tolist()) == pytest.approx(
        stats.wilcoxon(differences, method=method, correction=False).pvalue, rel=1e-9
    )


def test_wilcoxon_with_ties_and_zeros_against_all_sign_flips():
    differences = [1.0, 1.0, -1.0, 2.0, 2.0, 3.0, -0.5, 0.0, 4.0]
    kept = np.array([d for d in differences if d])
    ranks = stats.rankdata(np.abs(kept))
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(kept))).reshape(len(kept), -1)
    sums = (ranks[:, None] * (signs > 0)).sum(0)
    centre = ranks.sum() / 2
    expected = np.mean(np.abs(sums - centre) >= abs(ranks[kept > 0].sum() - centre) - 1e-9)
    assert wilcoxon(differences) == pytest.approx(expected, rel=1e-12)
    assert wilcoxon([0.0, 0.0]) == 1.0
    tied = [1.0, 2.0, 2.0, -1.0] * 20
    assert wilcoxon(tied) == pytest.approx(stats.wilcoxon(tied, method="approx", correction=False).pvalue, rel=1e-9)


def test_tost_against_scipy():
    a, b = sample(1, shift=0.05)
    d = np.array(list(a.values())) - np.array(list(b.values()))
    expected = max(stats.ttest_1samp(d, -0.9, alternative="greater").pvalue, stats.ttest_1samp(d, 0.9, alternative="less").pvalue)
    assert paired(a, b).equivalence_p(0.9) == pytest.approx(expected, rel=1e-9)


def test_holm_golden_values():
    # Holm 1979 by hand: 0.01*4, max(., 0.02*3), max(., 0.03*2), 0.5.
    assert holm([0.03, 0.01, None, 0.5, 0.02]) == pytest.approx([0.06, 0.04, None, 0.5, 0.06])
    assert holm([0.03, 0.01, None], tests=10) == pytest.approx([0.27, 0.1, None])
    assert holm([]) == []
    assert holm([0.7, 0.6]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holm_lies_between_the_bare_p_and_bonferroni(p_values: list[float]):
    for bare, corrected in zip(p_values, holm(list(p_values)), strict=True):
        assert corrected is not None
        assert bare <= corrected <= min(1.0, bare * len(p_values))


def test_hedges_golden_value():
    # J(10) from its definition with scipy.special.gamma; the usual approximation 1 - 3/(4*10 - 1) is 0.9231.
    from scipy.special import gamma

    assert hedges(10) == pytest.approx(gamma(5) / (math.sqrt(5) * gamma(4.5)), rel=1e-12)
    assert hedges(10) == pytest.approx(0.9228, abs=1e-4)


def test_the_effect_is_the_standardized_mean():
    found = summarize_differences([1.0, 2.0, 3.0, 4.0])
    assert found.effect == pytest.approx(hedges(3) * 2.5 / np.std([1, 2, 3, 4], ddof=1))


def test_nadeau_bengio_widens_the_error():
    differences = [0.1, 0.3, 0.2, 0.4, 0.1]
    plain, corrected = summarize_differences(differences), summarize_differences(differences, ratio=0.25)
    assert corrected.error == pytest.approx(np.std(differences, ddof=1) * math.sqrt(1 / 5 + 1 / 4))
    t = np.mean(differences) / corrected.error
    assert corrected.t_p == pytest.approx(2 * stats.t.sf(t, 4), rel=1e-9)
    assert plain.t_p is not None
    assert corrected.t_p is not None
    assert corrected.t_p > plain.t_p


def test_the_number_of_pairs_by_simulation():
    n = pairs_for_difference(0.5, 1.0)
    assert n == 34  # the textbook figure for d_z = 0.5, two-sided 0.05, power 0.8 (Cohen 1988; G*Power)
    rng = np.random.default_rng(0)
    found = stats.ttest_1samp(rng.standard_normal((4000, n)) + 0.5, 0, axis=1).pvalue < 0.05
    assert np.mean(found) == pytest.approx(0.8, abs=0.025)
    m = pairs_for_equivalence(0.1, 1.0, 0.5)
    assert m is not None
    d = rng.standard_normal((4000, m)) + 0.1
    t, error = stats.t.ppf(0.95, m - 1), d.std(1, ddof=1) / math.sqrt(m)
    assert np.mean((d.mean(1) + 0.5 > t * error) & (0.5 - d.mean(1) > t * error)) == pytest.approx(0.8, abs=0.03)


def test_the_number_of_pairs_where_there_is_none():
    assert pairs_for_difference(0.0, 1.0) is None
    assert pairs_for_difference(1e-6, 1.0) is None
    assert pairs_for_difference(0.1, 1.0, ratio=0.25) is None  # folds that share rows never get precise enough
    assert pairs_for_equivalence(0.5, 1.0, 0.5) is None
    assert pairs_for_difference(0.1, 0.0) == 6  # 2^-5 is below 0.05
    assert pairs_for_difference(0.1, 0.0, alpha=0.01) == 8
    assert pairs_for_difference(0.1, 0.0, ratio=0.25) is None, "five folds are worth four pairs at most"
    assert pairs_for_difference(0.1, 0.0, ratio=1 / 9) == 14
    assert pairs_for_equivalence(0.1, 0.0, 0.5) == 5
    assert pairs_for_difference(100.0, 1.0) == 5


def test_pairs_that_lack_a_value_are_dropped_and_counted():
    found = paired({0: 1.0, 1: math.nan, 2: 3.0, 3: 1.0, 9: 1.0}, {0: 0.5, 1: 1.0, 2: 1.0, 3: math.inf})
    assert (found.n, found.dropped) == (2, 2)


@pytest.mark.parametrize("scale", [1e-100, 1e-8, 1.0, 1e8])
def test_the_verdict_does_not_depend_on_the_unit(scale: float):
    a, b = sample(0)
    one = verdict(paired(a, b), higher_is_better=True)
    other = verdict(paired({k: v * scale for k, v in a.items()}, {k: v * scale for k, v in b.items()}), higher_is_better=True)
    assert (one.word, one.more) == (other.word, other.more)


def result(differences: list[float], **options: Any) -> Paired:
    return summarize_differences(differences, **options)


CLEAR = [0.10, 0.12, 0.09, 0.11, 0.10]


@pytest.mark.parametrize(
    ("differences", "options", "text"),
    [
        ([], {}, "not enough evidence: no seeds in common"),
        ([0.5], {}, "not enough evidence: 1 pair; run at least 5 seeds"),
        ([0.0, 0.0], {}, "not enough evidence: 2 pairs; run at least 5 seeds"),
        ([0.0] * 4, {"margin": 0.5}, "not enough evidence: 4 pairs; run at least 5 seeds"),
        ([0.0] * 5, {}, "equivalent: identical in all 5 pairs"),
        ([0.25, 0.25], {}, "not enough evidence: 2 pairs; run at least 5 seeds"),
        ([0.10, 0.12, 0.09, 0.11], {}, "not enough evidence: 4 pairs; run at least 5 seeds"),
        ([0.10, 0.12, 0.09, 0.11], {"margin": 0.5}, "not enough evidence: 4 pairs; run at least 5 seeds"),
        ([0.1, 0.2, 0.1], {"ratio": 0.5, "unit": "fold"}, "not enough evidence: 3 pairs; run at least 5 folds"),
        ([0.25] * 5, {}, "not enough evidence: 1 more seed would show a difference"),
        ([0.25] * 6, {}, "better by 0.25"),
        ([0.25] * 6, {"p": 0.0625}, "not enough evidence: 1 more seed would show a difference"),
        ([0.25] * 5, {"margin": 0.3}, "equivalent within 0.3"),
        ([0.25] * 10, {"ratio": 0.25, "unit": "fold"}, "not enough evidence: more folds share the same samples"),
        ([0.25] * 10, {"ratio": 1 / 9, "unit": "fold"}, "not enough evidence: about 4 more folds would show a difference"),
        (CLEAR, {}, "better by 0.104"),
        (CLEAR, {"higher_is_better": False}, "worse by 0.104"),
        ([-d for d in CLEAR], {}, "worse by 0.104"),
        ([-d for d in CLEAR], {"higher_is_better": False}, "better by 0.104"),
        ([0.5, 0.1, 0.4, 0.2, 0.3], {"p": 0.06}, "not enough evidence: about 2 more seeds would show a difference"),
        (CLEAR, {"margin": 0.2}, "equivalent within 0.2"),
        (CLEAR, {"margin": 0.01}, "better by 0.104"),
        ([0.5, -0.4, 0.3, -0.1, 0.2], {}, "not enough evidence: about 96 more seeds would show a difference"),
        ([0.5, -0.4, 0.3, -0.1, 0.2], {"margin": 0.3}, "not enough evidence: about 16 more seeds would show equivalence"),
        ([0.5, -0.5, 0.5, -0.5, 0.0], {}, "not enough evidence: more seeds will not help"),
        ([0.5, -0.5, 0.5, -0.5, 0.08], {}, "not enough evidence: more than 1,000 more seeds would show a difference"),
    ],
)
def test_verdicts(differences: list[float], options: dict[str, Any], text: str):
    options = {"higher_is_better": True, **options}
    given = {name: options.pop(name) for name in ("ratio", "unit") if name in options}
    found = verdict(result(differences, **given), **options)
    assert found.text == text
    assert text.startswith(found.word)


def test_how_many_pairs_are_missing():
    assert verdict(result([0.1] * 2), higher_is_better=True).more == 3
    assert verdict(result([0.5, -0.5, 0.5, -0.5, 0.0]), higher_is_better=True).more is None


def test_what_float32_rounds_away_is_no_difference():
    a = {seed: 0.9 + 1e-9 * seed for seed in range(6)}
    found = paired(a, dict.fromkeys(a, 0.9))
    assert (found.mean, found.sd, found.t_p, found.wilcoxon_p) == (0.0, 0.0, 1.0, 1.0)
    assert verdict(found, higher_is_better=True).text == "equivalent: identical in all 6 pairs"
    counted = paired({0: 28 / 30, 1: 29 / 30, 2: 30 / 30}, {0: 27 / 30, 1: 28 / 30, 2: 29 / 30})
    assert counted.sd == 0.0, "a row of thirty each time, though the quotients differ in their last bit"
    assert counted.t_p == 0.25
    assert math.isnan(counted.low)


@pytest.mark.parametrize("share", [0.5, 0.9, 0.97])
def test_groups_that_are_equal_are_seldom_told_apart(share: float):
    """Two classifiers of the same accuracy on 30 test rows: better or worse by luck in a twentieth of all sweeps at most."""
    rng = np.random.default_rng(0)
    rates = []
    for n in (2, 3, 5, 10):
        a, b = rng.binomial(30, share, (2, 600, n)) / 30
        found = [verdict(result(d, scale=1.0), higher_is_better=True) for d in (a - b).tolist()]
        rates.append(np.mean([item.word in ("better", "worse") for item in found]))
    assert rates[:2] == [0.0, 0.0]
    assert np.mean(rates) < 0.05
    assert max(rates) < 0.077  # of 600: 0.05 and three standard errors


def test_seeds_that_are_added_as_advised_settle_it_in_about_four_of_five_cases():
    rng = np.random.default_rng(1)
    n = pairs_for_difference(0.8, 1.0)
    assert n is not None
    settled = [
        verdict(result((rng.standard_normal(n) + 0.8).tolist()), higher_is_better=True).word == "better" for _ in range(300)
    ]
    assert 0.72 < np.mean(settled) < 0.9


def test_the_public_words_are_four():
    assert set(statistics.Word.__args__) == {"better", "worse", "equivalent", "not enough evidence"}
