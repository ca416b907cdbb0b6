"""What is measured of runs that the kernel trained: by the kernel, and what torch makes of the same weights."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from dlrun import registry
from dlrun.engine.by_torch.stepper import TorchWay
from dlrun.engine.lanes import Native
from dlrun.engine.lanes.library import kernel
from dlrun.engine.measuring.diagnostics import inside
from dlrun.engine.outcome import Outcome
from dlrun.engine.trainer import Training
from dlrun.engine.way import UNITS
from dlrun.experiments.planning.cohorts import plan

pytestmark = pytest.mark.skipif(kernel() is None, reason="dlrun was built without its kernel")

Trainings = Callable[..., Training]


@pytest.fixture(scope="module")
def trained(spec_of: Callable[..., Any], datasets: Any) -> Trainings:
    """The only cohort of some runs after its only epoch, by the kernel; to be measured by the kernel or ``by_torch``."""

    def make(rows: Sequence[dict[str, Any]], by_torch: bool = False) -> Training:
        (planned,) = plan([spec_of(**{"trainer.epochs": 1} | row) for row in rows], datasets)
        training = Training(planned.cohort)
        assert isinstance(training.way, Native)
        if by_torch:
            training.start = inside(torch_way(training), training.train_step, training.table)["gradient_norm"]
        training.epoch(0)
        training.evaluate(1)
        training.finish(training.alive[training.active], "done", 1)
        if by_torch:
            training.way = torch_way(training)
        return training

    return make


def torch_way(training: Training) -> TorchWay:
    """For the runs before their first step."""
    return TorchWay(training.train_step, training.table, training.train_step.initial())


def agree(trained: Trainings, rows: Sequence[dict[str, Any]], tolerance: float = 1e-4) -> None:
    """All figures within ``tolerance`` of their size, and fractions within one unit or value of a hundred."""
    mine, theirs = trained(rows).results(), trained(rows, by_torch=True).results()
    for outcome, other in zip(mine, theirs, strict=True):
        assert outcome.metrics == pytest.approx(other.metrics, rel=tolerance, abs=tolerance, nan_ok=True)
        assert outcome.diagnostics.keys() == other.diagnostics.keys()
        for name, values in outcome.diagnostics.items():
            wide = 0.01 if name in ("dead_units", "saturation") else tolerance
            assert values == pytest.approx(other.diagnostics[name], rel=tolerance, abs=wide, nan_ok=True), name
        for subset, values in outcome.predictions.items():
            np.testing.assert_allclose(values, other.predictions[subset], rtol=tolerance, atol=tolerance, equal_nan=False)


def seeds(count: int, **every: Any) -> list[dict[str, Any]]:
    return [every | {"seed": seed} for seed in range(count)]


SMALL = {"model.hidden": [7, 5], "optimizer": "sgd", "optimizer.lr": 0.1}
ACTIVATIONS = sorted(set(registry.options("activation")) - {"prelu"})  # learned numbers make another cohort


@pytest.mark.parametrize("given", [{}, {"regularizer": ["batch_norm", "dropout"]}], ids=str)
def test_every_activation(trained: Trainings, given: dict[str, Any]) -> None:
    agree(trained, [SMALL | given | {"dataset": "diabetes", "activation": name, "seed": 1} for name in ACTIVATIONS])


@pytest.mark.parametrize("given", [{"activation": "prelu"}, {"activation": "elu", "activation.learnable": True}], ids=str)
def test_learned_activations(trained: Trainings, given: dict[str, Any]) -> None:
    agree(trained, seeds(3, dataset="diabetes", **SMALL | given))


DATASETS = {
    "binary": ("breast_cancer", "mlp"),
    "metric_learning": ("triplets", "embedder"),
    "multiclass": ("iris", "mlp"),
    "multilabel": ("multilabel", "mlp"),
    "regression": ("diabetes", "mlp"),
    "segmentation": ("shapes", "segmenter"),
    "similarity": ("pairs", "embedder"),
}
LOSSES = [(loss, task) for loss in registry.options("loss") for task in registry.load_option("loss", loss)["tasks"]]
SOFT = {loss for loss in registry.options("loss") if registry.load_option("loss", loss).get("soft_targets", False)}
FEW = {"trainer.max_steps": 4, "trainer.batch_size": 8}


@pytest.mark.parametrize(("loss", "task"), LOSSES)
def test_every_loss_in_every_task(loss: str, task: str, trained: Trainings) -> None:
    """The classes of an epoch of softened targets are measured as they are."""
    dataset, model = DATASETS[task]
    given = FEW | {"dataset": dataset, "model": model, "loss": loss}
    small = {"dataset.rows": 60} if task == "segmentation" else {}
    agree(trained, seeds(2, **given, **small))
    if task in ("binary", "multiclass", "multilabel") and loss in SOFT:
        smoothing = {"regularizer": ["label_smoothing"], "regularizer.label_smoothing.smoothing": 0.3}
        agree(trained, seeds(2, **given, **smoothing))


MODELS = {
    "bag_of_words": "sentences",
    "cnn": "digits",
    "cnn1d": "signals",
    "autoencoder": "clusters",
    "linear": "moons",
    "residual_mlp": "iris",
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("regularizer", [(), ("batch_norm", "dropout")], ids=str)
def test_models(model: str, regularizer: Sequence[str], trained: Trainings) -> None:
    """The clusters of an autoencoder are those of the kernel's codes."""
    if model == "linear" and regularizer:
        pytest.skip("there is no activation that it could stand at")
    agree(trained, seeds(3, dataset=MODELS[model], model=model, regularizer=regularizer, **FEW), tolerance=1e-3)


@pytest.mark.parametrize(
    "given",
    [
        {"dataset": "iris", "loss": "cross_entropy", "loss.class_weight": [1.0, 2.0, 0.5], "regularizer": ["label_smoothing"]},
        {"dataset": "iris", "loss": "focal", "loss.alpha": [0.2, 0.3, 0.5]},
        {"dataset": "diabetes", "loss": "quantile", "loss.tau": [0.1, 0.5, 0.9]},
        {"dataset": "moons", "threshold": "f1"},
        {"dataset": "moons", "optimizer": "asgd"},
    ],
    ids=str,
)
def test_weights_levels_and_thresholds(given: dict[str, Any], trained: Trainings) -> None:
    agree(trained, seeds(3, **FEW, **given))


def test_folds_of_other_sizes(trained: Trainings) -> None:
    agree(trained, [FEW | {"dataset": "diabetes", "dataset.folds": 5, "dataset.fold": fold} for fold in (0, 3)])


def test_units_that_cannot_move(trained: Trainings) -> None:
    """A bias of -1e9 makes a unit of ReLU 0 for all rows; that of another run is as it was."""
    training = trained(seeds(2, **SMALL, dataset="moons"))
    slot = next(slot for slot in training.train_step.layout.slots if slot.name == "2.bias")
    theta = training.final[0].copy()
    theta[0, slot.start + 1] = -1e9
    training.way.use(theta, training.final[1])
    first = training.way.inside(slice(0, 40))
    theta[0, slot.start : slot.stop] = -1e9
    training.way.use(theta, training.final[1])
    second = training.way.inside(slice(0, 40))
    assert first["dead_units"][0, 1] > 0.19
    assert second["dead_units"][0, 1] == 1
    assert second["saturation"][0, 1] == 1
    assert second["mean_activation"][0, 1] == 0
    assert second["gradient_norm"][0, :2].tolist() == [0, 0]
    for name in ("gradient_norm", *UNITS):
        assert np.array_equal(first[name][1], second[name][1])
        assert not np.isnan(second[name][1]).any()


MINE = SMALL | {"dataset": "iris", "activation": "gelu", "regularizer": ["batch_norm", "dropout"], "seed": 7}


def bits(outcome: Outcome) -> tuple[Any, ...]:
    return tuple(sorted((name, repr(values)) for name, values in (outcome.diagnostics | outcome.metrics).items()))


def test_neighbours_change_nothing(trained: Trainings) -> None:
    rows = [MINE | {"activation": ACTIVATIONS[number % len(ACTIVATIONS)], "seed": 50 + number} for number in range(30)]
    rows.insert(11, MINE)
    assert bits(trained(rows).results()[11]) == bits(trained([MINE]).results()[0])


def test_threads_change_nothing(trained: Trainings, threads: Callable[[int], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlrun.engine.lanes.threads.WORTH", 1)
    found = []
    for count in (1, 2):
        threads(count)
        found.append([bits(outcome) for outcome in trained(seeds(40, **MINE | {"seed": 0})).results()])
    assert found[0] == found[1]


def test_runs_that_ended_before_others_are_measured_with_them(spec_of: Callable[..., Any], datasets: Any) -> None:
    """Theta was cut when they ended."""
    rows = [SMALL | {"dataset": "iris", "trainer.epochs": 2, "seed": seed} for seed in range(12)]
    (planned,) = plan([spec_of(**row) for row in rows], datasets)
    whole, cut = (Training(planned.cohort) for _ in range(2))
    for number in range(2):
        for training in (whole, cut):
            training.epoch(number)
    for training in (whole, cut):
        training.way.evaluated(training.step)
        training.finish(np.arange(12) >= 6, "done", 2)
    cut.cut(range(6))
    for training in (whole, cut):
        training.way.evaluated(training.step)
        training.finish(training.alive[training.active], "done", 2)
    assert [*map(bits, whole.results())] == [*map(bits, cut.results())]
    assert isinstance(cut.way, Native)
