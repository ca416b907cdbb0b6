"""What metrics read of an output: each link and head against scikit-learn and torch in float64, where float32 saturates."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torch import Tensor

from dlrun.components.metrics import METRICS
from dlrun.engine.evaluation import figure
from dlrun.engine.forms import LINKS, Forms, Kind

MOST = -math.log(2**-52)  # nats of a row, as scikit-learn's log_loss of float64 probabilities
HEADS = {
    "logit": lambda z: z,
    "probability": torch.sigmoid,
    "softmax": lambda z: z.softmax(2),
    "log_probability": lambda z: z.log_softmax(2),
}


def forms(kind: Kind, z: Tensor) -> Forms:
    return Forms([kind] * len(z), HEADS[kind[0]](z), z)


def data(columns: int, size: float) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(columns)
    z = size * torch.randn(3, 80, columns, generator=draw)
    noisy = z + size * torch.randn(z.shape, generator=draw)
    return z, (noisy > 0).float() if columns == 1 else noisy.argmax(2)


SIZES = [1.0, 30.0, 1e3]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [("logit", "sigmoid"), ("probability", "identity")])
def test_binary_metrics_are_those_of_the_logits(kind: Kind, size: float) -> None:
    """A sigmoid that is the loss's or the head's: nothing is ranked or priced by its rounded values."""
    z, y = data(1, size)
    found = {name: figure(metric, forms(kind, z), y, {}) for name, metric in METRICS["binary"].items()}
    for run in range(3):
        exact, true = z[run, :, 0].double(), y[run, :, 0].numpy()
        p = exact.sigmoid().numpy()
        expected = {
            "accuracy": sk.accuracy_score(true, exact > 0),
            "f1": sk.f1_score(true, exact > 0),
            "auroc": sk.roc_auc_score(true, exact),
            "average_precision": sk.average_precision_score(true, exact),
            "brier": sk.brier_score_loss(true, p),
            "log_loss": float(np.minimum(np.logaddexp(0, -(2 * true - 1) * exact.numpy()), MOST).mean()),
        }
        assert {name: float(found[name][run]) for name in expected} == pytest.approx(expected, rel=1e-9)
        assert expected["log_loss"] == pytest.approx(sk.log_loss(true, p), rel=1e-3)  # which rounds 1 - p above logits of 30


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", [("logit", "softmax"), ("softmax", "identity"), ("log_probability", "exp")])
def test_multiclass_metrics_are_those_of_the_logits(kind: Kind, size: float) -> None:
    z, y = data(4, size)
    found = {name: figure(metric, forms(kind, z), y, {}) for name, metric in METRICS["multiclass"].items()}
    for run in range(3):
        exact, true = z[run].double(), y[run]
        log_p = exact.log_softmax(1)
        expected = {
            "accuracy": sk.accuracy_score(true, exact.argmax(1)),
            "macro_f1": sk.f1_score(true, exact.argmax(1), average="macro"),
            "log_loss": float((-log_p[range(80), true]).clamp(max=MOST).mean()),
            "brier": float((log_p.exp() - torch.nn.functional.one_hot(true, 4)).square().sum(1).mean()),
        }
        assert {name: float(found[name][run]) for name in expected} == pytest.approx(expected, rel=1e-9)
        assert expected["log_loss"] == pytest.approx(sk.log_loss(true, log_p.exp()), rel=1e-4)


def test_classes_with_a_sigmoid_of_their_own_are_told_apart_where_all_round_to_one() -> None:
    z = torch.tensor([[[18.0, 40.0, 30.0], [200.0, 150.0, 300.0]]])
    y = torch.tensor([[1, 2]])
    head = forms(("probability", "identity"), z)
    assert head.output.unique().tolist() == [1.0]
    for name in ("accuracy", "balanced_accuracy", "macro_f1"):
        assert figure(METRICS["multiclass"][name], head, y, {}).tolist() == [1.0]
    assert figure(METRICS["multiclass"]["ece"], head, y, {}).tolist() == pytest.approx([0.0])


def test_one_bound_of_the_log_loss_for_all_that_is_called_impossible() -> None:
    """Of a sigmoid, a softmax, sparsemax's zeros, the values of a regression, and a tree's: 36.04 nats a row."""
    no, yes = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    first = torch.zeros(1, 1, dtype=torch.int64)
    binary = {
        ("logit", "sigmoid"): torch.full((1, 1, 1), -5e3),
        ("probability", "identity"): torch.full((1, 1, 1), -5e3),
        ("value", "identity"): -3 * yes,
        ("tree", "sigmoid"): -math.inf * yes,
    }
    for kind, z in binary.items():
        output = HEADS.get(kind[0], HEADS["logit"])(z)
        assert figure(METRICS["binary"]["log_loss"], Forms([kind], output, z), yes, {}).tolist() == pytest.approx([MOST])
        assert figure(METRICS["binary"]["log_loss"], Forms([kind], output, z), no, {}).tolist() == pytest.approx([0], abs=1e-9)
    far = torch.tensor([[[-1e4, 0.0]]])
    for kind, output in {("logit", "softmax"): far, ("logit", "sparsemax"): far, ("tree", "exp"): far.exp().log()}.items():
        assert figure(METRICS["multiclass"]["log_loss"], Forms([kind], output, output), first, {}).tolist() == pytest.approx(
            [MOST]
        )


def test_values_that_are_no_probabilities_rank_by_their_size() -> None:
    """A regression of classes (allow_mismatch=true) gives values below 0 and above 1."""
    z = torch.tensor([-0.5, 1.7, -2.0, 1.2])[None, :, None]
    y = torch.tensor([0.0, 1.0, 0.0, 1.0])[None, :, None]
    assert figure(METRICS["binary"]["auroc"], Forms([("value", "identity")], z, z), y, {}).tolist() == [1.0]


@pytest.mark.parametrize("name", LINKS)
def test_the_forms_of_a_link_agree(name: str) -> None:
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(2, 50, 3, generator=draw)
    z = {"identity": z.sigmoid(), "exp": z.log_softmax(2)}.get(name, z)
    found = Forms([("logit", name)] * 2, z, z)
    p = found["probability"]
    assert p.dtype == torch.float64
    torch.testing.assert_close(found["log_probability"].exp(), p)
    torch.testing.assert_close(found["log_odds"].sigmoid(), p)
    order = found["score"].sort(2).indices
    assert (p.gather(2, order).diff(dim=2) >= 0).all()


def test_runs_of_several_kinds_have_each_its_own() -> None:
    z = 3 * torch.randn(4, 20, 1, generator=torch.Generator().manual_seed(3))
    kinds = [("logit", "sigmoid"), ("probability", "identity"), ("logit", "sigmoid"), ("value", "identity")]
    output = z.clone()
    output[1] = z[1].sigmoid()
    together: Any = Forms(kinds, output, z)
    for form in ("score", "log_odds", "probability"):
        for run, kind in enumerate(kinds):
            alone: Any = Forms([kind], output[run : run + 1], z[run : run + 1])
            torch.testing.assert_close(together[form][run].double(), alone[form][0].double(), rtol=0, atol=0)
