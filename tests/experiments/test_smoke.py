"""Everything that can be selected trains: each option of conf/ with partners that fit it, found by reading the folders."""

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dlrun import registry
from dlrun.config.spec import RunSpec, from_config
from dlrun.data.dataset import TASKS
from dlrun.experiments.planning.cohorts import plan
from dlrun.experiments.train import train
from dlrun.results.formats import RunFiles

DATASET = {  # a dataset for each task
    "regression": "diabetes",
    "binary": "moons",
    "multiclass": "iris",
    "multilabel": "multilabel",
    "segmentation": "shapes",
    "similarity": "pairs",
    "metric_learning": "triplets",
    "clustering": "clusters",
    "recommendation": "ratings",
}
MODEL = {  # mlp for the others
    "segmentation": "segmenter",
    "similarity": "embedder",
    "metric_learning": "embedder",
    "clustering": "autoencoder",
    "recommendation": "factorization",
}
SMALL = {
    "shapes": {"dataset.rows": 60},
    "mnist1d": {"dataset.rows": 200},
    "clusters": {"dataset.rows": 90},
    "ratings": {"dataset.rows": 300, "dataset.users": 30, "dataset.items": 20},
}
MODEL_OF_DATASET = {"sentences": "bag_of_words", "text": "gru", "signals": "cnn1d", "mnist1d": "gru1d", "images": "cnn"}
MODEL_DATASET = {
    "bag_of_words": "sentences",
    "gru": "sentences",
    "attention": "sentences",
    "cnn1d": "signals",
    "gru1d": "signals",
    "cnn": "digits",
    "segmenter": "shapes",
    "embedder": "triplets",
    "factorization": "ratings",
    "two_towers": "ratings",
}  # moons for the others

LOSSES = [(loss, task) for loss in registry.options("loss") for task in registry.load_option("loss", loss)["tasks"]]
OVER_THE_NETWORK = {"openml"}
TRAINED_ELSEWHERE = {
    "experiment": "changes of other groups: composed by Hydra, in tests/cli",
    "claim": "experiments with a check, in their own tests",
    "logger": "how results are shown, in tests/cli",
}


def options(group: str) -> list[str]:
    return registry.options(group)


@pytest.fixture
def run(spec_of: Callable[..., RunSpec], datasets: Any) -> Callable[..., RunFiles]:
    """Train one run for five steps, and check everything that must hold for any run."""

    def go(**given: Any) -> RunFiles:
        spec = spec_of(**(SMALL.get(given.get("dataset", ""), {}) | {"trainer.max_steps": 5, "trainer.epochs": 2} | given))
        (planned,) = plan([spec], datasets)
        (files,) = train(planned)
        record = files.record
        assert record.status == "done", record.reason
        measured = {name: value for name, value in record.metrics.items() if not name.endswith(("auroc", "recall@1"))}
        assert {name.split("/")[0] for name in measured} == {"train", "validation", "test"}
        assert all(math.isfinite(value) for value in measured.values()), measured
        assert f"test/{spec.metric}" in record.metrics
        assert files.weights
        assert all((value == value).all() for value in files.weights.values())
        assert record.parameters == sum(v.size for name, v in files.weights.items() if "running" not in name)
        json.dumps(dict(record.metrics))
        assert files.config["optimizer"] == spec.config["optimizer"]
        return files

    return go


def test_every_group_is_covered() -> None:
    covered = {"activation", "dataset", "loss", "model", "optimizer", "regularizer", "scheduler", "trainer"}
    assert set(registry.groups()) - set(TRAINED_ELSEWHERE) == covered
    assert set(DATASET) == set(TASKS)


@pytest.mark.parametrize("name", options("activation"))
def test_activation(name: str, run: Callable[..., RunFiles]) -> None:
    run(activation=name)


@pytest.mark.parametrize(
    "name", [name for name in options("activation") if "learnable" in registry.load_option("activation", name)]
)
def test_learnable_activation(name: str, run: Callable[..., RunFiles]) -> None:
    files = run(activation=name, **{"activation.learnable": True, "optimizer.lr": 0.1})
    start = next(v for v in registry.load_option("activation", name).values() if isinstance(v, float))
    assert files.weights["1.parameters"].shape == (1,)
    assert abs(float(files.weights["1.parameters"][0]) - start) > 1e-3, "it has learned"


@pytest.mark.parametrize(("name", "task"), LOSSES, ids=[f"{loss}-{task}" for loss, task in LOSSES])
def test_loss_on_each_of_its_tasks(name: str, task: str, run: Callable[..., RunFiles]) -> None:
    run(loss=name, dataset=DATASET[task], model=MODEL.get(task, "mlp"))


def own_table(name: str, folder: Path) -> dict[str, Any]:
    """A file for the datasets that read one, rows for the one that is given them."""
    if name == "inline":
        shares = {"dataset.validation": 0.2, "dataset.test": 0.2, "trainer.batch_size": 8}
        return shares | {
            "dataset.x": [[row / 20.0, row % 3.0] for row in range(40)],
            "dataset.y": [row / 10.0 for row in range(40)],
        }
    if "path" not in registry.load_option("dataset", name) or name == "ratings":
        return {}
    draw = np.random.default_rng(0)
    if name == "images":
        image = pytest.importorskip("PIL.Image")
        for row in range(60):
            (folder / ("dark", "light")[row % 2]).mkdir(exist_ok=True)
            pixels = draw.integers(0, 120, (8, 8)) + 120 * (row % 2)
            image.fromarray(pixels.astype(np.uint8)).save(folder / ("dark", "light")[row % 2] / f"{row}.png")
        return {"dataset.path": str(folder), "dataset.size": 8}
    table = pd.DataFrame({"a": draw.normal(size=200), "b": draw.normal(size=200), "c": draw.choice(["x", "y", "z"], 200)})
    table["label"] = np.where(table.a + (table.c == "x") > 0.3, "yes", "no")
    if name == "text":
        texts = [f"The {'good' if label == 'yes' else 'bad'} one, number {row}." for row, label in enumerate(table.label)]
        table = pd.DataFrame({"text": texts, "label": table.label})
    file = folder / f"table.{name}"
    if name == "parquet":
        pytest.importorskip("pyarrow")
        table.to_parquet(file)
    else:
        table.to_csv(file, index=False)
    return {"dataset.path": str(file), "dataset.target": "label"} | ({"dataset.text": "text"} if name == "text" else {})


@pytest.mark.parametrize("name", sorted(set(options("dataset")) - OVER_THE_NETWORK))
def test_dataset_with_its_tasks_own_loss(name: str, run: Callable[..., RunFiles], tmp_path: Path) -> None:
    task = registry.load_option("dataset", name)["task"]
    files = run(dataset=name, model=MODEL_OF_DATASET.get(name) or MODEL.get(task, "mlp"), **own_table(name, tmp_path))
    assert files.record.data["task"] == (task or "binary")


@pytest.mark.parametrize("name", options("model"))
def test_model(name: str, run: Callable[..., RunFiles]) -> None:
    run(model=name, dataset=MODEL_DATASET.get(name, "moons"))


@pytest.mark.parametrize("name", options("optimizer"))
def test_optimizer(name: str, run: Callable[..., RunFiles]) -> None:
    assert "lr" in registry.load_option("optimizer", name)
    run(optimizer=name)


@pytest.mark.parametrize("name", options("scheduler"))
def test_scheduler(name: str, run: Callable[..., RunFiles]) -> None:
    run(scheduler=name, **{"trainer.max_steps": 60, "trainer.epochs": 3})


@pytest.mark.parametrize("name", options("regularizer"))
@pytest.mark.parametrize("dataset", ["moons", "iris"])
def test_regularizer(name: str, dataset: str, run: Callable[..., RunFiles]) -> None:
    run(dataset=dataset, regularizer=[name])


@pytest.mark.parametrize("kind", ["noise", "mask", "mixup", "shift", "flip", "rotate", "crop"])
@pytest.mark.parametrize(("dataset", "model"), [("digits", "cnn"), ("shapes", "segmenter")])
def test_augmentation_of_images(kind: str, dataset: str, model: str, run: Callable[..., RunFiles]) -> None:
    run(dataset=dataset, model=model, regularizer=["augmentation"], **{"regularizer.augmentation.kind": kind})


@pytest.mark.parametrize("name", options("trainer"))
def test_trainer(name: str, run: Callable[..., RunFiles]) -> None:
    run(trainer=name)


def test_a_torch_optimizer_and_activation_without_files(compose: Callable[..., Any], datasets: Any) -> None:
    """What torch has and conf/ has not works by its name."""
    config, choices = compose(dataset="iris", **{"trainer.max_steps": 5})
    config["optimizer"] = {"_target_": "torch.optim.Rprop", "lr": 0.01, "etas": [0.5, 1.2]}
    config["activation"] = {"_target_": "torch.nn.CELU", "alpha": 0.7}
    (planned,) = plan([from_config(config, choices)], datasets)
    (files,) = train(planned)
    assert finite(files)


# Combinations


def finite(files: RunFiles) -> bool:
    return files.record.status == "done" and math.isfinite(files.record.metrics["test/loss"])


def test_every_activation_with_every_optimizer_on_moons(spec_of: Callable[..., RunSpec], datasets: Any) -> None:
    """One sweep: the product of both folders is one matrix, but for the runs that learn their slope."""
    pairs = list(itertools.product(options("activation"), options("optimizer")))
    assert len(pairs) >= 10 * 8
    specs = [spec_of(activation=activation, optimizer=optimizer) for activation, optimizer in pairs]
    planned = plan(specs, datasets)
    assert sorted(len(group.specs) for group in planned) == [len(options("optimizer")), len(pairs) - len(options("optimizer"))]
    trained = {id(spec): files for group in planned for spec, files in zip(group.specs, train(group), strict=True)}
    failed = [pair for pair, spec in zip(pairs, specs, strict=True) if not finite(trained[id(spec)])]
    assert failed == []
    for (activation, optimizer), spec in zip(pairs, specs, strict=True):
        choices = trained[id(spec)].record.choices
        assert (choices["activation"], choices["optimizer"]) == (activation, optimizer)


@pytest.mark.parametrize("pair", list(itertools.combinations(options("regularizer"), 2)), ids="+".join)
def test_every_two_regularizers(pair: tuple[str, str], spec_of: Callable[..., RunSpec], datasets: Any) -> None:
    """In both orders, two seeds each."""
    specs = [spec_of(regularizer=list(order), dataset="iris", seed=seed) for order in (pair, pair[::-1]) for seed in (0, 1)]
    planned = plan(specs, datasets)
    assert [len(group.specs) for group in planned] == [2, 2]
    for group in planned:
        for files in train(group):
            assert finite(files)


def test_all_regularizers_at_once_on_every_task_that_takes_them(run: Callable[..., RunFiles]) -> None:
    for task in ("binary", "multiclass", "multilabel"):
        run(dataset=DATASET[task], regularizer=options("regularizer"))
    others = [name for name in options("regularizer") if name != "label_smoothing"]
    for task in ("regression", "segmentation", "similarity", "metric_learning"):
        run(dataset=DATASET[task], model=MODEL.get(task, "mlp"), regularizer=others)


@pytest.mark.parametrize("model", ["deep_mlp", "cnn"])
def test_every_activation_in_deeper_models(model: str, spec_of: Callable[..., RunSpec], datasets: Any) -> None:
    given = {"trainer.max_steps": 3, "trainer.epochs": 1} | ({"model.hidden": [8]} if model == "cnn" else {"model.depth": 4})
    specs = [spec_of(model=model, dataset="digits", activation=name, **given) for name in options("activation")]
    for group in plan(specs, datasets):
        assert all(finite(files) for files in train(group))
