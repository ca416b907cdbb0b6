"""The bits of a run: the same alone and beside any others, in any number of calls and of threads."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dlrun import registry
from dlrun.engine import lanes
from dlrun.engine.lanes.library import kernel
from dlrun.engine.trainer import Training
from dlrun.experiments.planning.cohorts import plan

Theta = NDArray[np.float32]
pytestmark = pytest.mark.skipif(kernel() is None, reason="dlrun was built without its kernel")

STEPS = 300
MINE = {
    "dataset": "moons",
    "model.hidden": [9, 6],
    "activation": "gelu",
    "optimizer": "adamw",
    "scheduler": "cosine",
    "regularizer": ["dropout", "batch_norm"],
    "trainer.batch_size": 11,
    "trainer.epochs": 1000,
    "trainer.max_steps": STEPS,
    "seed": 7,
}
KINDS = [("tanh", "sgd"), ("relu", "lion"), ("gelu", "adamw"), ("mish", "nadam"), ("elu", "adagrad"), ("softplus", "asgd")]


@pytest.fixture(scope="module")
def theta(spec_of: Callable[..., Any], datasets: Any) -> Callable[..., list[Theta]]:
    """Theta of each run of a cohort after 300 steps."""

    def train(rows: Sequence[dict[str, Any]]) -> list[Theta]:
        (planned,) = plan([spec_of(**row) for row in rows], datasets)
        training = Training(planned.cohort)
        assert training.way.name == "native"
        number = 0
        while training.step < STEPS:
            training.epoch(number)
            number += 1
        training.way.evaluated(training.step)
        found, _ = training.way.parameters()
        return [found[training.order.index(row)] for row in range(len(rows))]

    return train


def neighbours(count: int) -> list[dict[str, Any]]:
    rows = []
    for number in range(count):
        activation, optimizer = KINDS[number % len(KINDS)]
        rows.append(MINE | {"activation": activation, "optimizer": optimizer, "seed": 50 + number, "scheduler": "constant"})
    return rows


@pytest.fixture(scope="module")
def alone(theta: Callable[..., list[Theta]]) -> Theta:
    return theta([MINE])[0]


@pytest.mark.parametrize("count", [7, 63, pytest.param(1000, marks=pytest.mark.slow)])
def test_neighbours_change_nothing(count: int, alone: Theta, theta: Callable[..., list[Theta]]) -> None:
    rows = neighbours(count)
    rows.insert(count // 2, MINE)
    assert np.array_equal(theta(rows)[count // 2], alone)


def test_neighbours_with_other_optimizers_change_nothing(theta: Callable[..., list[Theta]]) -> None:
    """Runs that differ in their optimizers are lanes of one block where none of them fills one."""
    rows = [MINE | {"optimizer": name, "seed": 7} for name in sorted(registry.options("optimizer"))]
    found = theta(rows)
    for row, mine in zip(rows, found, strict=True):
        assert np.array_equal(mine, theta([row])[0]), row["optimizer"]


@pytest.mark.parametrize(
    "given",
    [
        {"regularizer": ["augmentation"], "regularizer.augmentation.strength": 0.3},
        {"regularizer": ["augmentation", "label_smoothing"], "regularizer.augmentation.kind": "mixup"},
        {"dataset": "sentences", "model": "bag_of_words", "model.hidden": [5], "regularizer": ["dropout"]},
    ],
    ids=["noise", "mixup", "words"],
)
def test_neighbours_change_nothing_in_batches_and_words(given: dict[str, Any], theta: Callable[..., list[Theta]]) -> None:
    rows = [row | given for row in neighbours(13)]
    rows.insert(5, MINE | given)
    assert np.array_equal(theta(rows)[5], theta([MINE | given])[0])


def test_the_number_of_calls_changes_nothing(
    alone: Theta, theta: Callable[..., list[Theta]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes, "PRODUCTS", 1)  # a call a step
    assert np.array_equal(theta([MINE])[0], alone)


def test_threads_change_nothing(threads: Callable[[int], None], alone: Theta, theta: Callable[..., list[Theta]]) -> None:
    rows = [*neighbours(63), MINE]
    found = []
    for count in (1, 2, 3):
        threads(count)
        found.append(np.stack(theta(rows)))
    assert np.array_equal(found[0][-1], alone)
    assert np.array_equal(found[1], found[0])
    assert np.array_equal(found[2], found[0])
