"""What metrics read of an output: each link and head against scikit-learn and scipy in float64, where float32 saturates."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import special
from sklearn import metrics as sk

from dlrun.components.arrays import Array
from dlrun.components.metrics import METRICS
from dlrun.engine.measuring.evaluation import figure
from dlrun.engine.measuring.forms import LINKS, Forms, Kind

MOST = -math.log(2**-52)  # nats of a row, as scikit-learn's log_loss of float64 probabilities
HEADS = {
    "logit": lambda z: z,
    "probability": special.expit,
    "softmax": lambda z: special.softmax(z, 2),
    "log_probability": lambda z: special.log_softmax(z, 2),
}


def forms(kind: Kind, z: Array) -> Forms:
    return Forms([kind] * len(z), HEADS[kind[0]](z), z)


def data(columns: int, size: float) -> tuple[Array, Array]:
    draw = np.random.default_rng(columns)
    z = np.float32(size) * draw.standard_normal((3, 80, columns), dtype=np.float32)
    noisy = z + np.float32(size) * draw.standard_normal(z.shape, dtype=np.float32)
    return z, (noisy > 0).astype(np.float32) if columns == 1 else noisy.argmax(2)


SIZES = [1.0, 30.0, 1e3]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [("logit", "sigmoid"), ("probability", "identity")])
def test_binary_metrics_are_those_of_the_logits(kind: Kind, size: float) -> None:
    """A sigmoid that is the loss's or the head's: nothing is ranked or priced by its rounded values."""
    z, y = data(1, size)
    found = {name: figure(metric, forms(kind, z), y, {}) for name, metric in METRICS["binary"].items()}
    for run in range(3):
        exact, true = z[run, :, 0].astype(np.float64), y[run, :, 0]
        p = special.expit(exact)
        expected = {
            "accuracy": sk.accuracy_score(true, exact > 0),
            "f1": sk.f1_score(true, exact > 0),
            "auroc": sk.roc_auc_score(true, exact),
            "average_precision": sk.average_precision_score(true, exact),
            "brier": sk.brier_score_loss(true, p),
            "log_loss": float(np.minimum(np.logaddexp(0, -(2 * true - 1) * exact), MOST).mean()),
        }
        assert {name: float(found[name][run]) for name in expected} == pytest.approx(expected, rel=1e-9)
        assert expected["log_loss"] == pytest.approx(sk.log_loss(true, p), rel=1e-3)  # which rounds 1 - p above logits of 30


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [("logit", "softmax"), ("softmax", "identity"), ("log_probability", "exp")])
def test_multiclass_metrics_are_those_of_the_logits(kind: Kind, size: float) -> None:
    z, y = data(4, size)
    found = {name: figure(metric, forms(kind, z), y, {}) for name, metric in METRICS["multiclass"].items()}
    for run in range(3):
        exact, true = z[run].astype(np.float64), y[run]
        log_p = special.log_softmax(exact, 1)
        expected = {
            "accuracy": sk.accuracy_score(true, exact.argmax(1)),
            "macro_f1": sk.f1_score(true, exact.argmax(1), average="macro"),
            "log_loss": float(np.minimum(-log_p[range(80), true], MOST).mean()),
            "brier": float(np.square(np.exp(log_p) - np.eye(4)[true]).sum(1).mean()),
        }
        assert {name: float(found[name][run]) for name in expected} == pytest.approx(expected, rel=1e-9)
        assert expected["log_loss"] == pytest.approx(sk.log_loss(true, np.exp(log_p)), rel=1e-4)


def test_classes_with_a_sigmoid_of_their_own_are_told_apart_where_all_round_to_one() -> None:
    z = np.array([[[18.0, 40.0, 30.0], [200.0, 150.0, 300.0]]], dtype=np.float32)
    y = np.array([[1, 2]])
    head = forms(("probability", "identity"), z)
    assert np.unique(head.output).tolist() == [1.0]
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert figure(METRICS["multiclass"][name], head, y, {}).tolist() == [1.0]
    assert figure(METRICS["multiclass"]["ece"], head, y, {}).tolist() == pytest.approx([0.0])


def test_one_bound_of_the_log_loss_for_all_that_is_called_impossible() -> None:
    """Of a sigmoid, a softmax, sparsemax's zeros, the values of a regression, and a tree's: 36.04 nats a row."""
    no, yes = np.zeros((1, 1, 1)), np.ones((1, 1, 1))
    first = np.zeros((1, 1), dtype=np.int64)
    binary = {
        ("logit", "sigmoid"): np.full((1, 1, 1), -5e3),
        ("probability", "identity"): np.full((1, 1, 1), -5e3),
        ("value", "identity"): -3 * yes,
        ("tree", "sigmoid"): -math.inf * yes,
    }
    for kind, z in binary.items():
        output = HEADS.get(kind[0], HEADS["logit"])(z)
        assert figure(METRICS["binary"]["log_loss"], Forms([kind], output, z), yes, {}).tolist() == pytest.approx([MOST])
        assert figure(METRICS["binary"]["log_loss"], Forms([kind], output, z), no, {}).tolist() == pytest.approx([0], abs=1e-9)
    far, never = np.array([[[-1e4, 0.0]]]), np.array([[[-np.inf, 0.0]]])
    for kind, output in {("logit", "softmax"): far, ("logit", "sparsemax"): far, ("tree", "exp"): never}.items():
        assert figure(METRICS["multiclass"]["log_loss"], Forms([kind], output, output), first, {}).tolist() == pytest.approx(
            [MOST]
        )


def test_values_that_are_no_probabilities_rank_by_their_size() -> None:
    """A regression of classes (allow_mismatch=true) gives values below 0 and above 1."""
    z = np.array([-0.5, 1.7, -2.0, 1.2])[None, :, None]
    y = np.array([0.0, 1.0, 0.0, 1.0])[None, :, None]
    assert figure(METRICS["binary"]["auroc"], Forms([("value", "identity")], z, z), y, {}).tolist() == [1.0]


@pytest.mark.parametrize("name", LINKS)
def test_the_forms_of_a_link_agree(name: str) -> None:
    z = np.random.default_rng(0).standard_normal((2, 50, 3), dtype=np.float32)
    z = {"identity": special.expit(z), "exp": special.log_softmax(z, 2)}.get(name, z)
    found = Forms([("logit", name)] * 2, z, z)
    p = found["probability"]
    assert p.dtype == np.float64
    np.testing.assert_allclose(np.exp(found["log_probability"]), p, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(special.expit(found["log_odds"]), p, rtol=1e-7, atol=1e-7)
    order = found["score"].argsort(2)
    assert (np.diff(np.take_along_axis(p, order, 2), axis=2) >= 0).all()


def test_runs_of_several_kinds_have_each_its_own() -> None:
    z = 3 * np.random.default_rng(3).standard_normal((4, 20, 1), dtype=np.float32)
    kinds = [("logit", "sigmoid"), ("probability", "identity"), ("logit", "sigmoid"), ("value", "identity")]
    output = z.copy()
    output[1] = special.expit(z[1])
    together: Any = Forms(kinds, output, z)
    for form in ("score", "log_odds", "probability"):
        for run, kind in enumerate(kinds):
            alone: Any = Forms([kind], output[run : run + 1], z[run : run + 1])
            np.testing.assert_array_equal(together[form][run], alone[form][0])
