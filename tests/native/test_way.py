"""The native way of taking steps beside the torch way: the same runs, step for step."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from dlrun import registry
from dlrun.engine.by_torch.stepper import TorchWay
from dlrun.engine.lanes import Native
from dlrun.engine.lanes.library import kernel
from dlrun.engine.state import Parameters
from dlrun.engine.trainer import Training
from dlrun.experiments.planning.cohorts import plan

pytestmark = pytest.mark.skipif(kernel() is None, reason="dlrun was built without its kernel")

Trainings = Callable[..., Training]


@pytest.fixture(scope="session")
def training(spec_of: Callable[..., Any], datasets: Any) -> Trainings:
    """The training of the only cohort that some runs make up."""

    def make(rows: Sequence[dict[str, Any]], **every: Any) -> Training:
        (planned,) = plan([spec_of(**row | every) for row in rows], datasets)
        return Training(planned.cohort)

    return make


def epochs(training: Training, count: int) -> Parameters:
    """Theta and the buffers after some epochs."""
    for number in range(count):
        training.epoch(number)
    training.way.evaluated(training.step)
    return training.way.parameters()


def agree(training: Trainings, rows: Sequence[dict[str, Any]], count: int = 2, tolerance: float = 2e-5) -> None:
    native, there = training(rows), training(rows, **{"trainer.engine": "torch"})
    assert isinstance(native.way, Native)
    assert isinstance(there.way, TorchWay)
    start, _ = there.way.parameters()
    (mine, buffers), (theirs, their_buffers) = epochs(native, count), epochs(there, count)
    moved = np.abs(theirs - start).max(1, keepdims=True)
    assert (moved > 0).all()
    assert native.step == there.step
    apart = (np.abs(mine - theirs) / moved).max(1)
    assert apart.max() < tolerance, apart
    np.testing.assert_allclose(buffers, their_buffers, rtol=1e-4, atol=1e-4, equal_nan=False)
    native.evaluate(count)
    there.evaluate(count)
    for name, values in native.records[-1][1].items():
        np.testing.assert_allclose(values, there.records[-1][1][name], rtol=1e-4, atol=1e-5, equal_nan=False)


SMALL = {"dataset": "diabetes", "trainer.batch_size": 37, "trainer.epochs": 2, "loss": "mse", "optimizer": "sgd"}


@pytest.mark.parametrize(
    "given",
    [
        {"model.hidden": [7, 6, 3]},
        {"model.hidden": [6], "regularizer": ["batch_norm"]},
        {"model.hidden": [5, 4], "regularizer": ["dropout"]},
        {"model.hidden": [5, 4], "regularizer": ["l1", "l2", "max_norm", "dropout", "batch_norm"]},
        {"trainer.clip_norm": 0.1, "trainer.clip_value": 0.05},
        {"trainer.batch_size": 266},
        {"scheduler": "cosine", "optimizer": "adam"},
        {"optimizer": "asgd", "optimizer.t0": 3.0},
        {"model": "linear"},
        {"activation": "prelu", "model.hidden": [6, 5]},
        {"activation": "swish", "activation.learnable": True, "model.hidden": [6, 5]},
        {"activation": "elu", "activation.learnable": True, "optimizer": "adam"},
        {"activation": "softplus", "activation.learnable": True},
    ],
    ids=str,
)
def test_both_ways_take_the_same_steps(training: Trainings, given: dict[str, Any]) -> None:
    agree(training, [SMALL | given | {"seed": seed} for seed in range(11)])


ACTIVATIONS = sorted(set(registry.options("activation")) - {"prelu"})  # learned numbers make another cohort


def test_every_activation_and_optimizer(training: Trainings) -> None:
    rows = [
        SMALL | {"model.hidden": [6, 5], "activation": activation, "optimizer": optimizer, "seed": row % 3}
        for row, (activation, optimizer) in enumerate(itertools.product(ACTIVATIONS, registry.options("optimizer")))
    ]
    agree(training, rows, tolerance=1e-3)


CONVOLVED = [
    {"embedding": 5},
    {"conv1d": 7},
    "activation",
    {"conv1d": 3, "kernel": 5, "padding": 2},
    "activation",
    "mean",
    "output",
]


AROUND = [
    {"conv2d": 3, "stride": 2},
    {"residual": [{"conv2d": 3}, "activation", {"residual": ["activation"]}]},
    "flatten",
    {"residual": [{"residual": [{"linear": 48}, "activation"]}]},
    "output",
]


@pytest.mark.parametrize(
    ("dataset", "given"),
    [
        ("moons", {"loss": "bce"}),
        ("moons", {"loss": "bce_with_logits"}),
        ("moons", {"loss": "focal"}),
        ("moons", {"loss": "hinge"}),
        ("moons", {"regularizer": ["label_smoothing"]}),
        ("iris", {"loss": "cross_entropy"}),
        ("iris", {"loss": "cross_entropy", "regularizer": ["label_smoothing"]}),
        ("iris", {"loss": "nll"}),
        ("iris", {"loss": "focal"}),
        ("iris", {"loss": "sparsemax"}),
        ("iris", {"loss": "hinge"}),
        ("multilabel", {}),
        ("diabetes", {"loss": "quantile", "loss.tau": [0.1, 0.5, 0.9]}),
        ("diabetes", {"loss": "huber"}),
        ("reconstruction", {"model": "autoencoder"}),
        ("pairs", {"model": "embedder"}),
        ("triplets", {"model": "embedder"}),
        ("moons", {"model": "residual_mlp", "model.width": 7, "regularizer": ["batch_norm", "dropout"]}),
        ("digits", {"model": "cnn", "model.layers": AROUND, "trainer.max_steps": 20}),
        ("digits", {"model": "cnn", "trainer.max_steps": 20}),
        ("digits", {"model": "cnn", "regularizer": ["batch_norm", "dropout"], "trainer.max_steps": 20}),
        ("signals", {"model": "cnn1d", "trainer.max_steps": 20}),
        ("shapes", {"model": "segmenter", "trainer.max_steps": 5}),
        ("shapes", {"model": "segmenter", "loss": "dice", "trainer.max_steps": 5}),
        ("sentences", {"model": "bag_of_words"}),
        ("sentences", {"model": "bag_of_words", "model.layers": CONVOLVED, "regularizer": ["dropout", "l2", "max_norm"]}),
    ],
    ids=str,
)
def test_every_kind_of_data(training: Trainings, dataset: str, given: dict[str, Any]) -> None:
    every = {"dataset": dataset, "optimizer": "sgd", "optimizer.lr": 0.02, "optimizer.momentum": 0.5, "trainer.batch_size": 17}
    agree(training, [every | given | {"seed": seed} for seed in range(3)], count=1, tolerance=2e-4)


FEW = {"model": "segmenter", "dataset.rows": 40, "trainer.batch_size": 6, "trainer.max_steps": 2}


@pytest.mark.parametrize(
    ("dataset", "kinds", "given"),
    [
        ("diabetes", ("noise", "mask", "mixup"), {}),
        ("moons", ("mixup",), {"regularizer": ["label_smoothing", "augmentation", "dropout"]}),
        ("iris", ("mixup", "noise"), {"loss": "cross_entropy", "loss.class_weight": [1.0, 2.0, 0.5]}),
        ("iris", ("mixup",), {"loss": "focal", "regularizer": ["augmentation", "label_smoothing"]}),
        ("pairs", ("noise", "mask"), {"model": "embedder"}),
        ("signals", ("mask", "mixup"), {"model": "cnn1d"}),
        ("digits", ("shift", "flip", "rotate", "crop", "mixup"), {"model": "cnn", "model.hidden": [5]}),
        ("shapes", ("shift", "rotate", "crop"), FEW | {"loss": "dice_cross_entropy"}),
        ("shapes", ("flip", "mixup"), FEW),
    ],
    ids=str,
)
def test_every_kind_of_augmentation(training: Trainings, dataset: str, kinds: Sequence[str], given: dict[str, Any]) -> None:
    every = {
        "dataset": dataset,
        "optimizer": "sgd",
        "optimizer.lr": 0.02,
        "regularizer": ["augmentation"],
        "trainer.max_steps": 3,
    }
    for kind in kinds:
        rows = [
            every | {"regularizer.augmentation.kind": kind, "regularizer.augmentation.strength": strength, "seed": seed} | given
            for seed, strength in enumerate((0.1, 0.4, 0.0))
        ]
        agree(training, rows, count=1, tolerance=2e-4)
