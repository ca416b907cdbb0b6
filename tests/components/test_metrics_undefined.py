"""What every metric is of rows that leave something undefined: one row, one class, equal targets, no rows.

``TABLE`` has the right values of each metric, which a test makes sure of. Those of scikit-learn 1.9.1 are marked where they
differ: it gives 0 or 1 and a warning for what dlrun calls undefined.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from dlrun.components.arrays import Array
from dlrun.components.metrics import DERIVED, METRICS
from dlrun.engine.measuring.evaluation import figure
from dlrun.engine.measuring.forms import Forms

NAN = math.nan
LINKS = {"binary": "sigmoid", "multilabel": "sigmoid", "multiclass": "softmax", "segmentation": "softmax"}


def measured(task: str, name: str, output: Array, target: Array, **options: Any) -> Array:
    """The metric of values, logits or embeddings."""
    metric = METRICS[task][name]
    if metric.takes_taus:
        return metric.function(output, target, taus=(0.1, 0.9))
    forms = Forms([("logit", LINKS.get(task, "identity"))] * len(output), output, output, None, dict.fromkeys(DERIVED, output))
    return figure(metric, forms, target, options)


def column(*values: float, dtype: type[np.floating[Any]] = np.float32) -> Array:
    return np.array(values, dtype=dtype)[None, :, None]


TENTHS = column(0.1, 0.1, 0.1)
NEAR = column(0.11, 0.12, 0.13)
LIKELY, UNLIKELY = column(2.0, 1.0, 3.0), column(-2.0, -1.0, -3.0)
ONES, ZEROS = column(1.0, 1.0, 1.0), column(0.0, 0.0, 0.0)
FIRST = np.array([[[2.0, 0.0, -1.0], [1.0, 0.0, -1.0]]])  # logits of three classes; the first is the likeliest
NO_LABELS = np.full((1, 2, 3), -1.0)
SHAPES = np.broadcast_to(np.array([[[1.0, 0.0], [1.0, 0.0]]])[..., None, None], (1, 2, 2, 3, 3))  # the background is likeliest
PAIRS = np.array([[[[1.0, 0.0], [1.0, 0.1]], [[1.0, 0.0], [0.0, 1.0]]]])
TRIPLETS = np.array([[[[0.0], [0.1], [1.0]], [[1.0], [1.1], [0.0]]]])
ALONE = np.array([[[0, 1], [2, 3]]])
SHOWN = np.array([[[7, 8, 9], [9, 8, 7]]])  # three items for each of two users

Case = tuple[str, Array, Array, float, dict[str, Any]]


def case(said: str, output: Array, target: Array, value: float, **options: Any) -> Case:
    return said, output, target, value, options


def softplus(z: float) -> float:
    return math.log1p(math.exp(z))


TABLE: dict[str, dict[str, list[Case]]] = {
    "regression": {
        "r2": [
            case("equal targets whose mean does not round to them", NEAR, TENTHS, NAN),
            case("the same in float64", NEAR.astype(np.float64), column(0.1, 0.1, 0.1, dtype=np.float64), NAN),
            case("equal targets that are met", TENTHS, TENTHS, NAN),
            case("2.7 three times", column(2.71, 2.71, 2.71), column(2.7, 2.7, 2.7), NAN),
            case("one row", column(1.0), column(2.0), NAN),
            # the mean over the output that varies: 1 - (0.5^2 + 0.5^2) / (0.5^2 + 0.5^2)
            case(
                "one of two outputs is constant",
                np.array([[[0.5, 9.0], [0.5, 9.0]]]),
                np.array([[[0.0, 0.1], [1, 0.1]]]),
                0.0,
            ),
            case("two rows", column(0.0, 1.0), column(0.0, 1.0), 1.0),
        ],
        "rmse": [case("one row", column(1.0), column(3.0), 2.0)],
        "mae": [case("one row", column(1.0), column(3.0), 2.0)],
        "mse": [case("one row", column(1.0), column(3.0), 4.0)],
        "pinball": [case("one row", np.array([[[0.0, 1.0]]]), column(2.0), (0.1 * 2 + 0.9 * 1) / 2)],
        "coverage": [
            case("one row inside", np.array([[[0.0, 1.0]]]), column(0.5), 1.0),
            case("quantiles that cross cover nothing", np.array([[[1.0, 0.0]]]), column(0.5), 0.0),
        ],
        "anomaly_auroc": [
            case("no anomalies", NEAR, column(0.1, 0.2, 0.3), NAN, anomalies=np.zeros((1, 3), dtype=bool)),
            case("anomalies alone", NEAR, column(0.1, 0.2, 0.3), NAN, anomalies=np.ones((1, 3), dtype=bool)),
            case("equal targets", NEAR, TENTHS, NAN, anomalies=np.array([[True, False, False]])),
            case(
                "an output of equal targets does not count",
                np.array([[[0.0, 5.0], [1.0, 0.0], [2.5, 0.0]]]),
                np.array([[[0.0, 0.1], [1.0, 0.1], [2.0, 0.1]]]),
                1.0,
                anomalies=np.array([[False, False, True]]),
            ),
            case(
                "errors of any size",
                column(1e30, 3e30, 0.0),
                column(0.0, 1.0, 2.0),
                1.0,
                anomalies=np.array([[False, True, False]]),
            ),
        ],
    },
    "binary": {
        "accuracy": [case("one class", LIKELY, ONES, 1.0), case("one row", column(1.0), column(0.0), 0.0)],
        "balanced_accuracy": [
            case("positives alone", column(1.0, -1.0), column(1.0, 1.0), 0.5),
            case("negatives alone", UNLIKELY, ZEROS, 1.0),
        ],
        "f1": [
            case("no positives, true or predicted", UNLIKELY, ZEROS, NAN),  # scikit-learn: 0 and a warning
            case("no true positives", LIKELY, ZEROS, 0.0),
            case("none predicted", UNLIKELY, ONES, 0.0),
        ],
        "auroc": [
            case("positives alone", LIKELY, ONES, NAN),
            case("negatives alone", LIKELY, ZEROS, NAN),
            case("one row", column(1.0), column(1.0), NAN),
            case("all scores equal", column(3.0, 3.0), column(0.0, 1.0), 0.5),
        ],
        "average_precision": [
            case("negatives alone", LIKELY, ZEROS, NAN),  # scikit-learn: 0 and a warning
            case("positives alone", LIKELY, ONES, 1.0),
            case("one positive row", column(1.0), column(1.0), 1.0),
        ],
        "log_loss": [
            case("one class", column(2.0), column(1.0), softplus(-2.0)),
            case("surely wrong", column(np.inf), column(0.0), -math.log(2**-52)),
            case("surely right", column(np.inf), column(1.0), 0.0),
        ],
        "brier": [case("one class", column(0.0), column(1.0), 0.25)],
        "ece": [case("one row", column(0.0), column(1.0), 0.5), case("one class", column(0.0, 0.0), column(0.0, 0.0), 0.5)],
    },
    "multiclass": {
        "accuracy": [case("one class", FIRST, np.array([[0, 0]]), 1.0)],
        "balanced_accuracy": [
            case("classes that do not occur", FIRST, np.array([[0, 1]]), 0.5),
            case("one row", FIRST[:, :1], np.array([[2]]), 0.0),
        ],
        "macro_f1": [
            case("a class neither there nor predicted", FIRST, np.array([[0, 1]]), (2 / 3 + 0) / 2),
            case("one class", FIRST, np.array([[0, 0]]), 1.0),
        ],
        "log_loss": [
            case("one row", FIRST[:, 1:], np.array([[0]]), math.log(1 + math.exp(-1) + math.exp(-2))),
            case("a probability that softmax rounds to 0", np.array([[[0.0, -1e4]]]), np.array([[1]]), -math.log(2**-52)),
        ],
        "brier": [case("one row", np.zeros((1, 1, 2)), np.array([[0]]), 0.5)],
        "ece": [case("one row", np.zeros((1, 1, 2)), np.array([[0]]), 0.5)],
    },
    "multilabel": {
        "micro_f1": [
            case("no labels, true or predicted", NO_LABELS, np.zeros((1, 2, 3)), NAN),
            case("no true labels", -NO_LABELS, np.zeros((1, 2, 3)), 0.0),
        ],
        "macro_f1": [
            case("no labels, true or predicted", NO_LABELS, np.zeros((1, 2, 3)), NAN),
            case("two labels never", np.array([[[1.0, -1.0, -1.0]]]), np.array([[[1.0, 0.0, 0.0]]]), 1.0),
        ],
        "hamming": [case("no labels", NO_LABELS, np.zeros((1, 2, 3)), 0.0)],
    },
    "segmentation": {
        "iou": [
            case("background alone", SHAPES, np.zeros((1, 2, 3, 3), dtype=np.int64), 1.0),
            case("a shape that is not seen", SHAPES, np.broadcast_to(np.eye(3, dtype=np.int64), (1, 2, 3, 3)), (2 / 3 + 0) / 2),
        ],
        "dice": [
            case("background alone", SHAPES, np.zeros((1, 2, 3, 3), dtype=np.int64), 1.0),
            case("a shape that is not seen", SHAPES, np.broadcast_to(np.eye(3, dtype=np.int64), (1, 2, 3, 3)), (4 / 5 + 0) / 2),
        ],
        "accuracy": [case("background alone", SHAPES, np.zeros((1, 2, 3, 3), dtype=np.int64), 1.0)],
    },
    "similarity": {
        "auroc": [case("pairs that are alike alone", PAIRS, column(1.0, 1.0), NAN), case("both", PAIRS, column(1.0, -1.0), 1.0)],
        "average_precision": [
            case("pairs that differ alone", PAIRS, column(-1.0, -1.0), NAN),
            case("one alike", PAIRS[:, :1], column(1.0), 1.0),
        ],
        "recall@1": [
            case("each member alone in its class", PAIRS, column(1.0, -1.0), NAN, members=ALONE),
            case("one pair of one class", PAIRS[:, :1], column(1.0), 1.0, members=np.array([[[0, 0]]])),
        ],
    },
    "metric_learning": {
        "recall@1": [
            case("each row alone in its class", TRIPLETS, np.array([[0, 1]]), NAN),
            case("one row", TRIPLETS[:, :1], np.array([[0]]), NAN),
            case("one class", TRIPLETS, np.array([[1, 1]]), 1.0),
        ],
        "triplet_accuracy": [case("one row", TRIPLETS[:, :1], np.array([[0]]), 1.0)],
    },
    "clustering": {  # the values of scikit-learn
        "ari": [
            case("one class, one cluster", np.array([[2, 2]]), NEAR, 1.0, known=np.array([[1, 1]])),
            case("one class, two clusters", np.array([[0, 1]]), NEAR, 0.0, known=np.array([[1, 1]])),
            case("each row alone", np.array([[0, 1, 2]]), NEAR, 1.0, known=np.array([[2, 0, 1]])),
            case("one row", np.array([[0]]), NEAR, 1.0, known=np.array([[0]])),
        ],
        "nmi": [
            case("one class, one cluster", np.array([[2, 2]]), NEAR, 1.0, known=np.array([[1, 1]])),
            case("one class, two clusters", np.array([[0, 1]]), NEAR, 0.0, known=np.array([[1, 1]])),
            case("one row", np.array([[0]]), NEAR, 1.0, known=np.array([[0]])),
        ],
    },
    "recommendation": {
        "rmse": [case("one row", column(1.0), column(3.0), 2.0)],
        "mae": [case("one row", column(1.0), column(3.0), 2.0)],
        "recall@10": [
            case("no item is liked", SHOWN, NEAR, NAN, liked=np.array([[[1, 0], [2, 0]]])),
            case("one user likes none", SHOWN, NEAR, 1.0, liked=np.array([[[1, 7], [2, 0]]])),
            case("an item that is not shown", SHOWN, NEAR, 0.5, liked=np.array([[[1, 7], [2, 6]]])),
        ],
    },
}
EACH = [(task, name) for task, table in METRICS.items() for name in table]
CASES = [(task, name, *item) for task, table in TABLE.items() for name, items in table.items() for item in items]


def test_every_metric_has_a_row_for_what_may_be_undefined() -> None:
    assert {task: set(table) for task, table in TABLE.items()} == {task: set(table) for task, table in METRICS.items()}
    for task, table in TABLE.items():
        for name, items in table.items():
            assert items, name
            undefined = any(math.isnan(value) for *_, value, _ in items)
            assert undefined == bool(METRICS[task][name].needs), f"{task} {name}: needs says what it takes to be defined"


@pytest.mark.parametrize(
    ("task", "name", "said", "output", "target", "value", "options"), CASES, ids=[f"{c[0]}-{c[1]}-{c[2]}" for c in CASES]
)
def test_value_of_rows_that_leave_something_undefined(
    task: str, name: str, said: str, output: Array, target: Array, value: float, options: dict[str, Any]
) -> None:
    found = measured(task, name, output, target, **options)
    assert found.shape == (1,)
    assert found.tolist() == pytest.approx([value], nan_ok=True, abs=1e-7), said
    beside = np.concatenate([output, np.roll(output, 1, axis=1)])  # another run does not change it
    assert measured(task, name, beside, target, **options)[:1].tolist() == pytest.approx([value], nan_ok=True, abs=1e-7)


@pytest.mark.parametrize(("task", "name"), EACH)
def test_no_rows_have_no_figure(task: str, name: str) -> None:
    _, output, target, _, options = TABLE[task][name][0]
    options = {key: values[:, :0] for key, values in options.items()}
    assert np.isnan(measured(task, name, output[:, :0], target[:, :0], **options)).all()


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e9])
@pytest.mark.parametrize("value", [0.1, 0.3, 2.7, 1 / 3, 123456.7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [2, 3, 7, 1000])
def test_r2_of_equal_targets_is_undefined_whatever_they_are(scale: float, value: float, dtype: Any, rows: int) -> None:
    y = np.full((2, rows, 1), value * scale, dtype=dtype)
    assert np.isnan(METRICS["regression"]["r2"].function(y * 1.01, y)).all()


def test_r2_of_targets_that_differ_in_the_last_digit_is_a_number() -> None:
    y = np.array([0.1, np.nextafter(0.1, 1), 0.1], dtype=np.float64)[None, :, None]
    assert METRICS["regression"]["r2"].function(y, y).tolist() == [1.0]
    far = 1e9 + y  # of targets that are far from 0 as of others
    z = far + np.array([0.0, 1e-3, 0.0], dtype=np.float64)[None, :, None]
    assert METRICS["regression"]["r2"].function(far, z) == pytest.approx(sk.r2_score(z[0, :, 0], far[0, :, 0]), rel=1e-6)


SKLEARN: dict[str, Callable[[Any, Any], float]] = {
    "accuracy": lambda y, z: sk.accuracy_score(y, z > 0),
    "balanced_accuracy": lambda y, z: sk.balanced_accuracy_score(y, z > 0),
    "f1": lambda y, z: sk.f1_score(y, z > 0, zero_division=np.nan),
    "auroc": lambda y, z: sk.roc_auc_score(y, z),
    "average_precision": lambda y, z: sk.average_precision_score(y, z) if y.any() else NAN,
    "log_loss": lambda y, z: sk.log_loss(y, 1 / (1 + np.exp(-z)), labels=[0, 1]),
    "brier": lambda y, z: sk.brier_score_loss(y, 1 / (1 + np.exp(-z)), labels=[0, 1]),
}


@pytest.mark.parametrize("name", SKLEARN)
@pytest.mark.parametrize("target", [[0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 1]])
def test_binary_metrics_of_one_class_are_scikit_learns(name: str, target: list[int]) -> None:
    z = [-1.5, 0.5, 2.0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = SKLEARN[name](np.array(target), np.array(z))
    found = measured("binary", name, column(*z), column(*map(float, target)))
    assert found.tolist() == pytest.approx([expected], nan_ok=True, rel=1e-6)
