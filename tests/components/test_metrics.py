"""Every metric against its oracle, run by run. ``ORACLES`` has a row for each metric of each task, which a test makes sure of."""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from sklearn.neighbors import NearestNeighbors
from torchmetrics import classification as tm
from torchmetrics.functional import segmentation as tm_segmentation

from dlrun.components import metrics
from dlrun.components.arrays import Array
from dlrun.components.links import sigmoid, softmax
from dlrun.components.metrics import METRICS, Metric, embedding, regression
from dlrun.components.metrics.confidence import mean_top_probability
from dlrun.components.tasks import TASKS
from dlrun.engine.measuring.evaluation import figure
from dlrun.engine.measuring.forms import Forms

N, K = 60, 4
RUNS = 3


def measured(task: str, name: str, prediction: Array, target: Array, **options: Any) -> Array:
    """The metric of values, probabilities or embeddings, in whatever form it reads them."""
    forms = Forms([("value", "identity")] * len(prediction), prediction, prediction)
    return (
        figure(METRICS[task][name], forms, target, options)
        if "taus" not in options
        else (METRICS[task][name].function(prediction, target, **options))
    )


def values(*sizes: int, seed: int = 0) -> Array:
    found: Array = torch.randn(RUNS, *sizes, generator=torch.Generator().manual_seed(sum(sizes) + seed)).numpy()
    return found


def tensors(*arrays: Array) -> list[torch.Tensor]:
    return [torch.from_numpy(each) for each in arrays]


def one_hot(classes: Array, count: int) -> Array:
    return np.eye(count, dtype=np.float32)[classes]


def regression_data() -> tuple[Array, Array]:
    y = values(N, 2)
    return y + 0.5 * values(N, 2, seed=1), y


def quantile_data() -> tuple[Array, Array]:
    return np.sort(values(N, 3), axis=2), values(N, 1)


def binary_data() -> tuple[Array, Array]:
    z = values(N, 1)
    # rounded, so that there are ties
    return (sigmoid(z) * 20).round() / 20, (z + values(N, 1, seed=1) > 0.5).astype(np.float32)


def smooth_binary_data() -> tuple[Array, Array]:
    return sigmoid(values(N, 1)), binary_data()[1]


def multiclass_data() -> tuple[Array, Array]:
    z = values(N, K)
    return softmax(2 * z, 2), (z + values(N, K, seed=1)).argmax(2)


def multilabel_data() -> tuple[Array, Array]:
    z = values(N, K)
    return sigmoid(z), (z + values(N, K, seed=1) > 0.5).astype(np.float32)


def mask_data() -> tuple[Array, Array]:
    z = values(5, 3, 6, 7)
    return softmax(z, 2), (z + values(5, 3, 6, 7, seed=1)).argmax(2)


def pair_data() -> tuple[Array, Array]:
    return values(N, 2, 5), np.sign(values(N, 1))


def triplet_data() -> tuple[Array, Array]:
    return values(N, 3, 5), values(N, 7).argmax(2)


TAUS = [0.1, 0.5, 0.9]
ODD = np.arange(N) % 7 == 0  # which rows are anomalies
MEMBERS = values(2 * N, 7)[0].argmax(1).reshape(N, 2)  # the classes of the members of pairs


@dataclass(frozen=True)
class Case:
    """The oracle takes the prediction and target of one run: arrays without their leading axis."""

    inputs: Callable[[], tuple[Array, Array]]
    oracle: Callable[[Array, Array], Any]
    options: dict[str, Any] = field(default_factory=dict)


def cosine(z: Array) -> Array:
    found: Array = torch.cosine_similarity(*tensors(*z.astype(np.float64).swapaxes(0, 1))).numpy()
    return found


def nearest_has_same_class(z: Array, y: Array) -> float:
    anchors = torch.from_numpy(z[:, 0]).double()
    distance = torch.cdist(anchors, anchors).fill_diagonal_(torch.inf)
    return float((y[distance.argmin(1).numpy()] == y).mean())


def nearest_by_cosine_has_same_class(z: Array, _: Array) -> float:
    y, members = MEMBERS.ravel(), z.reshape(2 * N, -1).astype(np.float64)
    found = NearestNeighbors(n_neighbors=2, metric="cosine").fit(members).kneighbors(return_distance=False)
    return float((y[found[:, 0]] == y).mean())


def classes(p: Array) -> Array:
    found: Array = p.argmax(1).ravel()
    return found


ORACLES: dict[str, dict[str, Case]] = {
    "regression": {
        "r2": Case(regression_data, lambda p, y: sk.r2_score(y, p)),
        "rmse": Case(regression_data, lambda p, y: sk.mean_squared_error(y, p) ** 0.5),
        "mae": Case(regression_data, lambda p, y: sk.mean_absolute_error(y, p)),
        "mse": Case(regression_data, lambda p, y: sk.mean_squared_error(y, p)),
        "pinball": Case(
            quantile_data,
            lambda p, y: np.mean([sk.mean_pinball_loss(y[:, 0], p[:, i], alpha=tau) for i, tau in enumerate(TAUS)]),
            {"taus": TAUS},
        ),
        "coverage": Case(quantile_data, lambda p, y: ((y[:, 0] >= p[:, 0]) & (y[:, 0] <= p[:, 2])).mean(), {"taus": TAUS}),
        "anomaly_auroc": Case(
            regression_data,
            lambda p, y: sk.roc_auc_score(ODD, ((p - y).astype(np.float64) ** 2 / y.astype(np.float64).var(0)).mean(1)),
            {"anomalies": ODD[None]},
        ),
    },
    "binary": {
        "accuracy": Case(binary_data, lambda p, y: sk.accuracy_score(y, p > 0.5)),
        "balanced_accuracy": Case(binary_data, lambda p, y: sk.balanced_accuracy_score(y, p > 0.5)),
        "f1": Case(binary_data, lambda p, y: sk.f1_score(y, p > 0.5)),
        "auroc": Case(binary_data, lambda p, y: sk.roc_auc_score(y, p)),
        "average_precision": Case(binary_data, lambda p, y: sk.average_precision_score(y, p)),
        "log_loss": Case(binary_data, lambda p, y: sk.log_loss(y.ravel(), p[:, 0])),
        "brier": Case(binary_data, lambda p, y: sk.brier_score_loss(y, p)),
        "ece": Case(smooth_binary_data, lambda p, y: tm.BinaryCalibrationError(n_bins=15)(*tensors(p, y.astype(np.int64)))),
    },
    "multiclass": {
        "accuracy": Case(multiclass_data, lambda p, y: sk.accuracy_score(y, classes(p))),
        "balanced_accuracy": Case(multiclass_data, lambda p, y: sk.balanced_accuracy_score(y, classes(p))),
        "macro_f1": Case(multiclass_data, lambda p, y: sk.f1_score(y, classes(p), average="macro")),
        "log_loss": Case(multiclass_data, lambda p, y: sk.log_loss(y, p / p.sum(1, keepdims=True, dtype=np.float64))),
        "brier": Case(multiclass_data, lambda p, y: np.square(p - one_hot(y, K)).sum(1).mean()),
        "ece": Case(multiclass_data, lambda p, y: tm.MulticlassCalibrationError(K, n_bins=15)(*tensors(p, y))),
    },
    "multilabel": {
        "micro_f1": Case(multilabel_data, lambda p, y: sk.f1_score(y, p > 0.5, average="micro")),
        "macro_f1": Case(multilabel_data, lambda p, y: sk.f1_score(y, p > 0.5, average="macro")),
        "hamming": Case(multilabel_data, lambda p, y: sk.hamming_loss(y, p > 0.5)),
    },
    "segmentation": {
        "iou": Case(mask_data, lambda p, y: sk.jaccard_score(y.flatten(), classes(p), average="macro")),
        "dice": Case(
            mask_data,
            # one image of all pixels: torchmetrics averages over images, dlrun pools them
            lambda p, y: tm_segmentation.dice_score(
                *tensors(classes(p).reshape(1, -1, 1), y.reshape(1, -1, 1)),
                num_classes=3,
                average="macro",
                input_format="index",
            ).mean(),
        ),
        "accuracy": Case(mask_data, lambda p, y: sk.accuracy_score(y.flatten(), classes(p))),
    },
    "similarity": {
        "auroc": Case(pair_data, lambda z, t: sk.roc_auc_score(t.flatten() > 0, cosine(z))),
        "average_precision": Case(pair_data, lambda z, t: sk.average_precision_score(t.flatten() > 0, cosine(z))),
        "recall@1": Case(pair_data, nearest_by_cosine_has_same_class, {"members": MEMBERS[None]}),
    },
    "metric_learning": {
        "recall@1": Case(triplet_data, nearest_has_same_class),
        "triplet_accuracy": Case(
            triplet_data,
            lambda z, _: (np.linalg.norm(z[:, 0] - z[:, 1], axis=1) < np.linalg.norm(z[:, 0] - z[:, 2], axis=1)).mean(),
        ),
    },
}
ORACLES["recommendation"] = {name: ORACLES["regression"][name] for name in ("rmse", "mae")}
# those of clusters and rankings are in test_metrics_derived.py
EACH = [(task, name) for task, table in METRICS.items() for name, metric in table.items() if not metric.at_end]


def test_every_metric_has_an_oracle() -> None:
    assert set(EACH) == {(task, name) for task, table in ORACLES.items() for name in table}


@pytest.mark.parametrize(("task", "name"), EACH)
def test_equals_the_oracle_for_each_run(task: str, name: str) -> None:
    case = ORACLES[task][name]
    prediction, target = case.inputs()
    before = prediction.copy(), target.copy()
    figure = measured(task, name, prediction, target, **case.options)
    expected = [float(case.oracle(prediction[r], target[r])) for r in range(RUNS)]
    assert figure.shape == (RUNS,)
    assert figure.dtype == np.float64
    np.testing.assert_allclose(figure, expected, rtol=2e-6, atol=1e-7)
    assert np.array_equal(prediction, before[0])
    assert np.array_equal(target, before[1])


@pytest.mark.parametrize(("task", "name"), EACH)
def test_one_target_serves_all_runs(task: str, name: str) -> None:
    case = ORACLES[task][name]
    prediction, target = case.inputs()
    each = measured(task, name, prediction, np.repeat(target[:1], RUNS, axis=0), **case.options)
    assert np.array_equal(measured(task, name, prediction, np.broadcast_to(target[:1], target.shape), **case.options), each)
    assert np.array_equal(measured(task, name, prediction, target[:1], **case.options), each)


@pytest.mark.parametrize(("task", "name"), EACH)
def test_a_nan_among_the_predictions_makes_that_run_nan(task: str, name: str) -> None:
    case = ORACLES[task][name]
    prediction, target = case.inputs()
    clean = measured(task, name, prediction, target, **case.options)
    broken = prediction.copy()
    broken[1, 2] = np.nan
    figure = measured(task, name, broken, target, **case.options)
    assert np.isnan(figure[1])
    assert np.array_equal(figure[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize(("task", "name"), EACH)
def test_takes_strided_predictions_and_float64(task: str, name: str) -> None:
    case = ORACLES[task][name]
    prediction, target = case.inputs()
    expected = measured(task, name, prediction, target, **case.options)
    strided = np.ascontiguousarray(prediction.swapaxes(1, 2)).swapaxes(1, 2)
    np.testing.assert_allclose(measured(task, name, strided, target, **case.options), expected, rtol=1e-7, atol=1e-7)
    double = prediction.astype(np.float64)
    real = target.astype(np.float64) if target.dtype == np.float32 else target
    before = double.copy(), real.copy()
    np.testing.assert_allclose(measured(task, name, double, real, **case.options), expected, rtol=1e-5, atol=1e-6)
    assert np.array_equal(double, before[0])
    assert np.array_equal(real, before[1])


def perfect(task: str, name: str) -> tuple[Array, Array]:
    _, y = ORACLES[task][name].inputs()
    if "anomalies" in ORACLES[task][name].options:
        return y + ODD[:, None], y
    if "members" in ORACLES[task][name].options:
        return np.repeat(one_hot(MEMBERS, 7)[None], RUNS, axis=0), y
    if task in ("regression", "recommendation", "binary", "multilabel"):
        return np.repeat(y, 3, axis=2) if "taus" in ORACLES[task][name].options else y, y
    if task == "similarity":
        return np.stack((np.ones_like(y), y), axis=2), y
    certain = np.moveaxis(one_hot(y, y.max() + 1), -1, 2)
    if task == "metric_learning":
        return np.stack((certain, certain, 1 - certain), axis=2), y
    return certain, y


@pytest.mark.parametrize(("task", "name"), EACH)
def test_a_perfect_prediction_is_as_good_as_can_be(task: str, name: str) -> None:
    metric = METRICS[task][name]
    figure = measured(task, name, *perfect(task, name), **ORACLES[task][name].options)
    best = 0.0 if metric.higher_is_better is False else 1.0
    np.testing.assert_allclose(figure, np.full(RUNS, best), rtol=0, atol=1e-6)


def test_inverted_predictions_are_as_bad_as_can_be() -> None:
    _, y = binary_data()
    for name in ("accuracy", "balanced_accuracy", "f1", "auroc"):
        assert measured("binary", name, 1 - y, y).tolist() == [0.0] * RUNS
    assert measured("binary", "brier", 1 - y, y).tolist() == [1.0] * RUNS
    assert measured("binary", "ece", 1 - y, y).tolist() == pytest.approx([1.0] * RUNS)
    # p = 0 and 1 are held off by the rounding error of float64, as in scikit-learn
    assert measured("binary", "log_loss", 1 - y, y).tolist() == pytest.approx([-np.log(np.finfo(np.float64).eps)] * RUNS)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=2, max_size=30),
    st.sampled_from([np.float32, np.float64, np.float16]),
)
def test_ranks_with_many_ties_equal_scikit_learn(rows: list[tuple[int, bool]], dtype: type[np.floating[Any]]) -> None:
    p = np.array([level / 6 for level, _ in rows], dtype=dtype)[None, :, None]
    y = np.array([float(positive) for _, positive in rows])[None, :, None]
    if len(np.unique(y)) == 1:
        assert np.isnan(measured("binary", "auroc", p, y)).all()
        return
    assert measured("binary", "auroc", p, y).item() == pytest.approx(sk.roc_auc_score(y.ravel(), p.ravel()), abs=1e-12)
    precise = sk.average_precision_score(y.ravel(), p.ravel())
    assert measured("binary", "average_precision", p, y).item() == pytest.approx(precise, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(0, 1, width=32), min_size=4, max_size=40))
def test_auroc_of_the_complement_is_one_less_auroc(scores: list[float]) -> None:
    p = np.array(scores)[None, :, None]
    y = (np.arange(len(scores)) % 2)[None, :, None]
    p = (p * 64).round() / 64  # 1 - p is exact
    assert measured("binary", "auroc", p, y) + measured("binary", "auroc", 1 - p, y) == pytest.approx(1.0, abs=1e-12)


def test_undefined_figures_are_nan() -> None:
    p, zeros, ones = np.full((2, 5, 1), 0.2), np.zeros((2, 5, 1)), np.ones((2, 5, 1))
    assert np.isnan(measured("binary", "auroc", p, zeros)).all()
    assert np.isnan(measured("binary", "auroc", p, ones)).all()
    assert np.isnan(measured("binary", "average_precision", p, zeros)).all()
    assert np.isnan(measured("binary", "f1", p, zeros)).all()
    assert np.isnan(regression.r2(p, ones)).all()
    assert np.isnan(embedding.recall_at_1(values(5, 3), np.arange(5)[None])).all()


def test_classes_that_do_not_occur_are_left_out() -> None:
    p = np.array([[[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.7, 0.3, 0.0]]])
    y = np.array([[0, 1, 1]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert measured("multiclass", "macro_f1", p, y).item() == pytest.approx(
            sk.f1_score([0, 1, 1], [0, 1, 0], average="macro")
        )
    assert measured("multiclass", "balanced_accuracy", p, y).item() == pytest.approx(0.75)
    assert measured("binary", "balanced_accuracy", np.array([[[0.9], [0.1]]]), np.ones((1, 2, 1))) == 0.5


def test_coverage_of_one_level_and_of_levels_in_any_order() -> None:
    p, y = quantile_data()
    assert np.array_equal(regression.coverage(p[..., :1], y, taus=[0.3]), (y <= p[..., :1]).mean((1, 2)))
    assert np.array_equal(regression.coverage(p[..., ::-1], y, taus=TAUS[::-1]), regression.coverage(p, y, taus=TAUS))
    assert np.array_equal(regression.median(p, TAUS), p[..., 1:2])


def test_recall_takes_plain_embeddings_and_works_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    z, y = triplet_data()
    whole = embedding.recall_at_1(z, y)
    assert np.array_equal(embedding.recall_at_1(z[:, :, 0], y), whole)
    monkeypatch.setattr(embedding, "_BLOCK", 7 * N)
    assert np.array_equal(embedding.recall_at_1(z, y), whole)


def test_recall_of_pairs_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Angles in degrees, with lengths that do not matter; each member looks for the nearest of all the others."""
    angles = np.deg2rad([[0.0, 10.0], [14.0, 90.0], [100.0, 200.0]])
    lengths = np.array([[1.0, 5.0], [0.1, 2.0], [9.0, 1.0]])
    z = (lengths[..., None] * np.stack((np.cos(angles), np.sin(angles)), 2))[None]
    t = np.ones((1, 3, 1))

    def recall(*members: list[int]) -> float:
        return embedding.pair_recall_at_1(z, t, members=np.array([members])).item()

    # who is nearest to whom: 0 -> 10 -> 14 -> 10, 90 -> 100 -> 90, 200 -> 100
    assert recall([0, 0], [0, 1], [1, 1]) == 1
    assert recall([0, 0], [1, 1], [0, 0]) == pytest.approx(2 / 6)  # 0 and 200, but not 10, 14, 90, 100
    assert recall([0, 0], [1, 2], [3, 4]) == pytest.approx(1 / 2)  # 0, but not 10; the others are alone in their class
    assert math.isnan(recall([0, 1], [2, 3], [4, 5]))
    z[0, 0, 0] = 0.0  # a cosine of 0 to all, while that of 200 and 100 is -0.17
    assert recall([0, 1], [2, 3], [4, 0]) >= 1 / 2
    whole = embedding.pair_recall_at_1(*pair_data(), members=MEMBERS[None])
    monkeypatch.setattr(embedding, "_BLOCK", 7 * N)
    assert np.array_equal(embedding.pair_recall_at_1(*pair_data(), members=MEMBERS[None]), whole)


def test_mean_top_probability() -> None:
    one = np.array([[[0.9], [0.3]]])
    assert mean_top_probability(one) == pytest.approx(0.8)
    assert mean_top_probability(np.concatenate((one, 1 - one), axis=2)) == pytest.approx(0.8)


def test_tables_name_a_main_metric_with_a_direction() -> None:
    assert {task: TASKS[task].main_metric for task in METRICS} == {
        "regression": "r2",
        "binary": "accuracy",
        "multiclass": "accuracy",
        "multilabel": "micro_f1",
        "segmentation": "iou",
        "similarity": "auroc",
        "metric_learning": "recall@1",
        "clustering": "ari",
        "recommendation": "rmse",
    }
    for task, table in METRICS.items():
        assert all(isinstance(metric, Metric) for metric in table.values())
        assert table[TASKS[task].main_metric].default
        assert table[TASKS[task].main_metric].higher_is_better is (task != "recommendation")
    assert metrics.__doc__ is not None


def test_sums_in_float64() -> None:
    y = np.full((1, 4096, 1), 1e4, np.float32) + np.arange(4096, dtype=np.float32)[None, :, None] % 2
    assert regression.r2(y, y) == 1.0
    assert regression.r2(np.full(y.shape, y.mean(dtype=np.float64)), y) == pytest.approx(0.0, abs=1e-9)
