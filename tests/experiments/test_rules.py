"""What fits together: the head that follows from loss and task, and the known mistakes, refused or measured."""

import math
from collections.abc import Callable
from typing import Any

import pytest

from dlrun import registry
from dlrun.config.spec import RunSpec
from dlrun.engine.trainer import Outcome
from dlrun.errors import InputError, MismatchError

Spec = Callable[..., RunSpec]

# (what is combined, why it is wrong, what to type instead); allow_mismatch=true measures each of them
MISTAKES: list[tuple[dict[str, Any], str, str]] = [
    ({"dataset": "iris", "loss": "cross_entropy", "model.head": "softmax"}, "applies softmax itself", "model.head=logit"),
    ({"dataset": "iris", "loss": "focal", "model.head": "softmax"}, "applies softmax itself", "model.head=logit"),
    ({"dataset": "moons", "loss": "bce_with_logits", "model.head": "probability"}, "the sigmoid itself", "model.head=logit"),
    ({"dataset": "moons", "loss": "focal", "model.head": "probability"}, "the sigmoid itself", "model.head=logit"),
    ({"dataset": "multilabel", "loss": "bce_with_logits", "model.head": "probability"}, "the sigmoid itself", "model.head=logit"),
    ({"dataset": "moons", "loss": "bce", "model.head": "logit"}, "logarithm of a probability", "model.head=probability"),
    ({"dataset": "moons", "loss": "bce", "model.head": "softmax"}, "logarithm of a probability", "model.head=probability"),
    ({"dataset": "iris", "loss": "nll", "model.head": "logit"}, "wants the output of LogSoftmax", "model.head=log_probability"),
    ({"dataset": "iris", "loss": "nll", "model.head": "softmax"}, "wants the output of LogSoftmax", "model.head=log_probability"),
    ({"dataset": "iris", "loss": "cross_entropy", "model.head": "log_probability"}, "head 'logit'", "model.head=logit"),
    ({"dataset": "iris", "loss": "mse"}, "class labels have no distances", "loss=cross_entropy"),
    ({"dataset": "moons", "loss": "mae"}, "class labels have no distances", "loss=bce_with_logits"),
    ({"dataset": "moons", "loss": "mse", "model.head": "probability"}, "class labels have no distances", "loss=bce_with_logits"),
    ({"dataset": "diabetes", "loss": "mse", "model.head": "softmax"}, "head 'value'", "model.head=value"),
    ({"dataset": "diabetes", "loss": "huber", "model.head": "probability"}, "head 'value'", "model.head=value"),
]

# combined all the same it makes no sense, whatever the user says
IMPOSSIBLE: list[tuple[dict[str, Any], str, str]] = [
    ({"dataset": "diabetes", "loss": "cross_entropy"}, "it is made for multiclass, segmentation", "loss=mse"),
    ({"dataset": "diabetes", "loss": "bce"}, "it is made for binary, multilabel", "loss=mse"),
    ({"dataset": "moons", "loss": "cross_entropy"}, "it is made for multiclass, segmentation", "loss=bce_with_logits"),
    ({"dataset": "moons", "loss": "triplet_margin"}, "it is made for metric_learning", "loss=bce_with_logits"),
    ({"dataset": "iris", "loss": "dice"}, "it is made for segmentation", "loss=cross_entropy"),
    ({"dataset": "multilabel", "loss": "cross_entropy"}, "it is made for multiclass, segmentation", "loss=bce_with_logits"),
    ({"dataset": "pairs", "loss": "mse", "model": "embedder"}, "it is made for regression", "loss=cosine_embedding"),
    ({"dataset": "iris", "loss": "hinge", "regularizer": ["label_smoothing"]}, "class labels only", "loss=cross_entropy"),
    ({"dataset": "moons", "loss": "hinge", "regularizer": ["label_smoothing"]}, "class labels only", "loss="),
    ({"dataset": "diabetes", "regularizer": ["label_smoothing"]}, "no labels to smooth in regression data", "leave it out"),
    (
        {"dataset": "triplets", "model": "embedder", "regularizer": ["label_smoothing"]},
        "no labels to smooth in metric_learning data",
        "leave it out",
    ),
    (
        {"dataset": "iris", "loss": "hinge", "regularizer": ["augmentation"], "regularizer.augmentation.kind": "mixup"},
        "makes targets soft",
        "loss=cross_entropy",
    ),
    (
        {"dataset": "triplets", "model": "embedder", "regularizer": ["augmentation"], "regularizer.augmentation.kind": "mixup"},
        "makes targets soft",
        "leave it out",
    ),
    (
        {"dataset": "moons", "regularizer": ["early_stopping"], "dataset.validation": 0.0},
        "there are none",
        "dataset.validation=0.2",
    ),
]


@pytest.mark.parametrize(
    ("given", "reason", "fix"), MISTAKES, ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else ""
)
def test_known_mistakes_are_refused_with_reason_and_fix(given: dict[str, Any], reason: str, fix: str, spec_of: Spec) -> None:
    with pytest.raises(MismatchError) as caught:
        spec_of(**given)
    assert caught.value.exit_code == 2
    (said,) = (line for line in caught.value.problems if reason in line)
    assert f"type {fix}" in said
    assert said.startswith(("loss=", "model.head="))
    assert "allow_mismatch=true" in said


@pytest.mark.parametrize(
    ("given", "reason", "fix"), MISTAKES, ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else ""
)
def test_known_mistakes_are_measured_when_the_user_insists(
    given: dict[str, Any], reason: str, fix: str, spec_of: Spec, train_all: Callable[..., list[Outcome]]
) -> None:
    spec = spec_of(allow_mismatch=True, **({"trainer.epochs": 3} | given))
    assert any(reason in warning and "measured all the same" in warning for warning in spec.warnings)
    (outcome,) = train_all([spec])
    assert outcome.status in ("done", "diverged")
    if given.get("loss") not in ("nll", "bce"):  # these take logarithms of what is no probability
        assert outcome.status == "done"
        assert math.isfinite(outcome.metrics[f"test/{spec.metric}"])


@pytest.mark.parametrize(
    ("given", "reason", "fix"),
    IMPOSSIBLE,
    ids=lambda value: "-".join(map(str, value.values())) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("insist", [False, True])
def test_what_cannot_be_is_refused_always(given: dict[str, Any], reason: str, fix: str, insist: bool, spec_of: Spec) -> None:
    with pytest.raises(MismatchError) as caught:
        spec_of(allow_mismatch=insist, **given)
    assert any(reason in line and fix in line for line in caught.value.problems)


def test_sigmoids_over_exclusive_classes_are_a_warning(spec_of: Spec, train_all: Callable[..., list[Outcome]]) -> None:
    specs = [
        spec_of(dataset="iris", loss=loss, seed=seed, **{"trainer.epochs": 5})
        for loss in ("bce", "bce_with_logits")
        for seed in (0, 1)
    ]
    for spec in specs:
        (warning,) = spec.warnings
        assert "exclusive classes" in warning
        assert "loss=cross_entropy" in warning
    for outcome in train_all(specs):
        assert outcome.status == "done"
        assert 0 <= outcome.metrics["test/accuracy"] <= 1


def test_softmax_in_hidden_layers_is_a_warning(spec_of: Spec) -> None:
    (warning,) = spec_of(activation="softmax").warnings
    assert "activation=softmax" in warning


def test_all_mismatches_are_told_at_once(spec_of: Spec) -> None:
    with pytest.raises(MismatchError) as caught:
        spec_of(
            dataset="iris",
            loss="hinge",
            regularizer=["label_smoothing", "early_stopping"],
            **{"model.head": "softmax", "dataset.validation": 0.0},
        )
    assert len(caught.value.problems) == 3


# The head and the prediction that follow from loss and task

HEADS: dict[tuple[str, str], tuple[str, str]] = {
    ("mse", "regression"): ("value", "identity"),
    ("mae", "regression"): ("value", "identity"),
    ("l1_loss", "regression"): ("value", "identity"),
    ("huber", "regression"): ("value", "identity"),
    ("quantile", "regression"): ("value", "identity"),
    ("pinball", "regression"): ("value", "identity"),
    ("log_cosh", "regression"): ("value", "identity"),
    ("bce", "binary"): ("probability", "identity"),
    ("bce", "multilabel"): ("probability", "identity"),
    ("log_loss", "binary"): ("probability", "identity"),
    ("log_loss", "multilabel"): ("probability", "identity"),
    ("bce_with_logits", "binary"): ("logit", "sigmoid"),
    ("bce_with_logits", "multilabel"): ("logit", "sigmoid"),
    ("hinge", "binary"): ("logit", "sigmoid"),
    ("hinge", "multiclass"): ("logit", "softmax"),
    ("focal", "binary"): ("logit", "sigmoid"),
    ("focal", "multiclass"): ("logit", "softmax"),
    ("focal", "multilabel"): ("logit", "sigmoid"),
    ("cross_entropy", "multiclass"): ("logit", "softmax"),
    ("cross_entropy", "segmentation"): ("logit", "softmax"),
    ("nll", "multiclass"): ("log_probability", "exp"),
    ("sparsemax", "multiclass"): ("logit", "sparsemax"),
    ("dice", "segmentation"): ("logit", "softmax"),
    ("dice_cross_entropy", "segmentation"): ("logit", "softmax"),
    ("cosine_embedding", "similarity"): ("embedding", "identity"),
    ("triplet_margin", "metric_learning"): ("embedding", "identity"),
}
DATASET = {
    "regression": "diabetes",
    "binary": "moons",
    "multiclass": "iris",
    "multilabel": "multilabel",
    "segmentation": "shapes",
    "similarity": "pairs",
    "metric_learning": "triplets",
}
DEFAULTS = {
    "regression": "mse",
    "binary": "bce_with_logits",
    "multiclass": "cross_entropy",
    "multilabel": "bce_with_logits",
    "segmentation": "cross_entropy",
    "similarity": "cosine_embedding",
    "metric_learning": "triplet_margin",
}


def test_every_loss_on_every_task_of_its_has_a_head() -> None:
    assert set(HEADS) == {
        (loss, task) for loss in registry.options("loss") for task in registry.load_option("loss", loss)["tasks"]
    }


@pytest.mark.parametrize(("loss", "task"), HEADS, ids="-".join)
def test_head_and_prediction_follow(loss: str, task: str, spec_of: Spec) -> None:
    row = spec_of(loss=loss, dataset=DATASET[task]).row
    assert (row.head, row.prediction) == HEADS[loss, task]
    assert row.loss.name == loss


@pytest.mark.parametrize(("loss", "task"), HEADS, ids="-".join)
def test_the_head_that_follows_may_also_be_said(loss: str, task: str, spec_of: Spec) -> None:
    head, prediction = HEADS[loss, task]
    row = spec_of(loss=loss, dataset=DATASET[task], **{"model.head": head}).row
    assert (row.head, row.prediction) == (head, prediction)


@pytest.mark.parametrize("task", DATASET)
def test_without_a_loss_the_task_has_its_own(task: str, spec_of: Spec) -> None:
    spec = spec_of(dataset=DATASET[task])
    assert spec.row.loss.name == spec.choices["loss"] == DEFAULTS[task]
    assert not spec.warnings


@pytest.mark.parametrize(
    ("given", "prediction"),
    [
        ({"dataset": "iris", "loss": "cross_entropy", "model.head": "softmax"}, "identity"),
        ({"dataset": "iris", "loss": "cross_entropy", "model.head": "log_probability"}, "exp"),
        ({"dataset": "iris", "loss": "nll", "model.head": "softmax"}, "identity"),
        ({"dataset": "iris", "loss": "nll", "model.head": "logit"}, "exp"),
        ({"dataset": "moons", "loss": "bce_with_logits", "model.head": "probability"}, "identity"),
        ({"dataset": "moons", "loss": "bce", "model.head": "logit"}, "identity"),
        ({"dataset": "moons", "loss": "mse", "model.head": "probability"}, "identity"),
        ({"dataset": "moons", "loss": "mse"}, "identity"),
    ],
)
def test_predictions_of_measured_mistakes(given: dict[str, Any], prediction: str, spec_of: Spec) -> None:
    """What stands behind the last layer already is not applied again; where the loss sees a probability, so does the metric."""
    assert spec_of(allow_mismatch=True, **given).row.prediction == prediction


def test_nll_on_log_probabilities_is_cross_entropy_on_logits(spec_of: Spec, train_all: Callable[..., list[Outcome]]) -> None:
    shared = {"dataset": "iris", "trainer.dtype": "float64", "trainer.max_steps": None}
    nll, cross_entropy = train_all([spec_of(loss="nll", **shared), spec_of(loss="cross_entropy", **shared)])
    for name, value in nll.metrics.items():
        assert value == pytest.approx(cross_entropy.metrics[name], rel=1e-9)


def test_bce_on_probabilities_is_bce_with_logits(spec_of: Spec, train_all: Callable[..., list[Outcome]]) -> None:
    shared = {"trainer.dtype": "float64", "trainer.max_steps": None}
    one, other = train_all([spec_of(loss="bce", **shared), spec_of(loss="bce_with_logits", **shared)])
    for name, value in one.metrics.items():
        assert value == pytest.approx(other.metrics[name], rel=1e-6)


def test_unknown_heads_and_metrics_name_the_nearest(spec_of: Spec) -> None:
    with pytest.raises(InputError) as caught:
        spec_of(metric="acuracy", **{"model.head": "logits", "model.init": "kaimin", "trainer.epochs": 0})
    said = caught.value.problems
    assert len(said) == 4
    assert any("did you mean 'logit'?" in line for line in said)
    assert any("did you mean 'accuracy'?" in line for line in said)
    assert any("did you mean 'kaiming'?" in line for line in said)
    assert any("trainer.epochs=0" in line for line in said)
