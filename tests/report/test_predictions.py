"""What predictions show, held against scikit-learn and against figures counted by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

import dlrun
from dlrun.components.tasks import TASKS
from dlrun.report.charts.boundary import Boundary, tiles
from dlrun.report.evidence import Evidence, Predicted, band
from dlrun.report.predictions import confusion, hardest, mean_roc, reliability, roc
from dlrun.results.store import Store

Call = Callable[..., tuple[int, str, str]]


def predicted(task: str, true: object, value: object, names: tuple[str, ...] = ("a", "b", "c"), rows: object = None) -> Predicted:
    true, value = np.asarray(true), np.asarray(value, dtype=np.float64)
    numbers = np.arange(len(true)) if rows is None else np.asarray(rows)
    return Predicted("run", "test", TASKS[task], names[: value.shape[1]], False, numbers, true, value)


@pytest.mark.parametrize("classes", [(), ("a", "b"), ("a", "b", "c")])
def test_the_tiles_of_a_boundary_are_its_cells_put_together(classes: tuple[str, ...]) -> None:
    xs, ys = np.arange(4.0), np.arange(3.0)
    value = np.array([[0.0, 0.001, 1.0, 1.0], [1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]])
    labels = np.zeros(0, np.int64)
    found = tiles(
        Boundary("a", ("x", "y"), classes, xs, ys, value.round() if len(classes) > 2 else value, np.zeros((0, 2)), labels)
    )
    assert len(found) == 2 + 1 + 4, "neighbours of one colour are one tile"
    names = {name: float(place) for place, name in enumerate(classes)}
    for j, y in enumerate(ys):
        for i, x in enumerate(xs):
            over = [tile for tile in found if tile["x"] <= x < tile["x2"] and tile["y"] <= y < tile["y2"]]
            colour = over[-1]["value"]  # the last one lies on top
            assert (names[colour] if len(classes) > 2 else colour) == pytest.approx(value[j, i], abs=0.01)


def test_confusion_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    several = [predicted("multiclass", rng.integers(0, 3, 50), rng.dirichlet(np.ones(3), 50)) for _ in range(3)]
    true = np.concatenate([each.true for each in several])
    said = np.concatenate([each.value.argmax(1) for each in several])
    assert (confusion(several) == metrics.confusion_matrix(true, said)).all()


@pytest.mark.parametrize("ties", [False, True])
def test_roc_is_that_of_scikit_learn(ties: bool) -> None:
    rng = np.random.default_rng(1)
    positive = rng.random(80) < 0.4
    score = rng.random(80) + positive
    score = score.round(1) if ties else score
    false, true = roc(score, positive)
    wanted = metrics.roc_curve(positive, score, drop_intermediate=False)
    assert np.allclose(false, wanted[0])
    assert np.allclose(true, wanted[1])
    grid, (curve,) = mean_roc([predicted("binary", positive.astype(int), np.stack([2 - score, score], 1), ("no", "yes"))])["yes"]
    assert np.trapezoid(curve, grid) == pytest.approx(metrics.roc_auc_score(positive, score), abs=0.01)
    assert (curve[0], curve[-1]) == (0, 1)


def test_roc_needs_both_kinds_of_rows() -> None:
    with pytest.raises(ValueError, match="both kinds"):
        roc(np.array([0.1, 0.2]), np.array([True, True]))
    assert mean_roc([predicted("binary", [1, 1], [[0.1, 0.9], [0.2, 0.8]])]) == {}


def test_reliability_counts_what_came_true() -> None:
    p = np.array([0.05, 0.05, 0.95, 0.95, 0.95, 1.0])
    first, last = reliability([predicted("binary", [0, 1, 1, 1, 0, 1], np.stack([1 - p, p], 1))])
    assert (first.count, first.predicted, first.observed) == (2, pytest.approx(0.05), 0.5)
    assert (last.count, last.predicted, last.observed) == (4, pytest.approx(0.9625), 0.75)
    wilson = stats.binomtest(3, 4).proportion_ci(method="wilson")
    assert (last.low, last.high) == (pytest.approx(wilson.low, abs=1e-6), pytest.approx(wilson.high, abs=1e-6))


def test_the_hardest_rows_are_those_with_the_largest_mean_error() -> None:
    one = predicted("multiclass", [0, 1], [[0.9, 0.1, 0.0], [0.5, 0.25, 0.25]], rows=[7, 3])
    two = predicted("multiclass", [1, 2], [[0.2, 0.6, 0.2], [0.1, 0.8, 0.1]], rows=[3, 9])
    found = hardest([one, two], most=2)
    assert [(each.row, each.runs, each.true, each.predicted) for each in found] == [(9, 1, "c", "b"), (3, 2, "b", "a (1), b (1)")]
    assert found[1].error == pytest.approx((np.log(4) - np.log(0.6)) / 2)


def test_errors_of_each_form_of_prediction() -> None:
    values = predicted("regression", [[1.0], [2.0]], [[1.5], [0.0]])
    assert values.errors().tolist() == [0.5, 2.0]
    labels = predicted("multilabel", [[1, 0]], [[0.5, 0.25]])
    assert labels.errors() == pytest.approx(-(np.log(0.5) + np.log(0.75)) / 2)
    pixels = predicted("segmentation", np.array([[[0, 1]]]), np.array([[[[0.5, 0.75]], [[0.5, 0.25]]]]))
    assert pixels.errors() == pytest.approx(-(np.log(0.5) + np.log(0.25)) / 2)


def test_a_band_is_students_interval_and_a_short_curve_keeps_its_last_value() -> None:
    mean, low, high = band([np.array([1.0, 2.0]), np.array([3.0]), np.array([2.0, np.nan])])
    interval = stats.t.interval(0.95, 2, 2.0, stats.sem([1, 3, 2]))
    assert (mean[0], low[0], high[0]) == (2.0, *map(pytest.approx, interval))
    assert mean[1] == 2.5
    assert [float(each[0]) for each in band([np.array([4.0])])] == [4.0, 4.0, 4.0]


@pytest.mark.parametrize("dataset", ["xor", "iris", "multilabel", "diabetes"])
def test_predictions_of_the_store_are_those_of_the_run(call: Call, folder: Path, dataset: str) -> None:
    assert call(f"dataset={dataset}", "trainer=smoke", "logger=none")[0] == 0
    store = Store(folder / "outputs")
    (record,) = store.records()
    (found,) = Evidence(store, [record]).predicted([record.id, "gone"], 3)
    table = dlrun.load(record.id).predictions()
    assert (found.rows == table["row"]).all()
    column = f"probability {found.names[-1]}" if found.task.classes else f"predicted {found.names[-1]}"
    assert np.allclose(found.value[:, -1], table[column])
    if found.task.two_classes or found.task.exclusive:
        assert [found.names[label] for label in found.true] == [*table["true"]]
    else:
        assert np.allclose(found.true[:, -1], table[f"true {found.names[-1]}"])
