"""Metrics of clusters and rankings: those of clusters are scikit-learn's, that of rankings is counted by hand."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from dlrun.components.arrays import Array
from dlrun.components.metrics import clustering
from dlrun.components.metrics.recommendation import recall_at_10

NOTHING = np.empty(0)
ORACLES = {"ari": sk.adjusted_rand_score, "nmi": sk.normalized_mutual_info_score}


@pytest.mark.parametrize("name", ORACLES)
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=40))
def test_agreement_is_scikit_learns_for_each_run(name: str, rows: list[tuple[int, int, int]]) -> None:
    first, second, known = np.array(rows).T
    found = getattr(clustering, name)(np.stack([first, second]), NOTHING, known=known[None])
    assert found.dtype == np.float64
    expected = [ORACLES[name](known, first), ORACLES[name](known, second)]
    assert found.tolist() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", ORACLES)
def test_names_of_clusters_do_not_matter_and_broken_runs_have_no_figure(name: str) -> None:
    known = np.array([[0, 0, 1, 1, 2, 2, 2]])
    cluster = np.array([[2, 2, 0, 0, 1, 1, 1], [2, 2, 0, 0, -1, 1, 1], [0, 1, 0, 1, 0, 1, 0]])
    whole, broken, other = getattr(clustering, name)(cluster, NOTHING, known=known).tolist()
    assert whole == pytest.approx(1.0)
    assert math.isnan(broken)
    assert other < 0.3


def test_two_partitions_of_hubert_and_arabie() -> None:
    """Golden: n_ij of [[1, 1, 0], [1, 2, 1], [0, 0, 4]], by counting pairs."""
    table = [[1, 1, 0], [1, 2, 1], [0, 0, 4]]
    pairs = [(i, j) for i, row in enumerate(table) for j, count in enumerate(row) for _ in range(count)]
    known, cluster = np.array(pairs).T
    # pairs together in both: 0 + 1 + 6 = 7; in classes 1 + 6 + 6 = 13; in clusters 1 + 3 + 10 = 14; of 45
    expected = (7 - 13 * 14 / 45) / ((13 + 14) / 2 - 13 * 14 / 45)
    assert clustering.ari(cluster[None], NOTHING, known=known[None]).tolist() == pytest.approx([expected])


RANKING = np.array([[[11, 12, 13], [12, 14, 0], [13, 11, 14]], [[14, 13, 12], [11, 12, 13], [0, 0, 0]]])


def recalled(liked: list[tuple[int, int]], ranking: Array = RANKING) -> list[float]:
    return recall_at_10(ranking, NOTHING, liked=np.array(liked)[None]).tolist()


def test_recall_is_the_mean_over_users_of_the_share_of_what_they_like() -> None:
    # user 1 likes 11 and 14, user 2 likes 13, user 3 likes 11; a rating of 12 by user 1 is below the threshold
    found = recalled([(1, 11), (1, 14), (1, 0), (2, 13), (3, 11)])
    assert found == pytest.approx([(1 / 2 + 0 + 1) / 3, (1 / 2 + 1) / 2])  # in the second run user 3 has no ranking


def test_users_who_like_nothing_are_left_out_and_order_within_the_ten_does_not_matter() -> None:
    liked = [(1, 12), (2, 0), (3, 14)]
    assert recalled(liked) == pytest.approx([1.0, 1.0])
    assert recalled(liked, RANKING[..., ::-1]) == recalled(liked)
    assert all(math.isnan(value) for value in recalled([(1, 0), (2, 0)]))


def test_a_run_without_finite_predictions_has_no_recall() -> None:
    broken = RANKING.copy()
    broken[0] = -1
    first, second = recalled([(1, 12)], broken)
    assert math.isnan(first)
    assert second == 1.0
