"""Which runs the kernel trains, and that it is there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlrun import registry
from dlrun.engine.lanes import Native, products
from dlrun.engine.trainer import Training
from dlrun.experiments.planning.cohorts import plan
from dlrun.native import build
from dlrun.native.load import load


def test_where_there_is_a_compiler_there_is_a_kernel() -> None:
    if build.compiler() is None:
        pytest.skip("no C compiler")
    assert load() is not None, "python -m dlrun.native.build"


def test_what_is_built_is_not_built_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError

    if load() is None:
        pytest.skip("dlrun was built without its kernel")
    monkeypatch.setattr(build.subprocess, "run", refused)
    assert build.build() == [*build.libraries().values()]


def test_without_a_compiler_nothing_is_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert build.build(tmp_path) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(load() is None, reason="dlrun was built without its kernel")
@pytest.mark.parametrize(
    ("given", "engine"),
    [
        ({}, "native"),
        ({"trainer.engine": "torch"}, "torch"),
        ({"trainer.dtype": "float64"}, "torch"),
        ({"regularizer": ["augmentation"]}, "native"),
        ({"dataset": "sentences", "model": "bag_of_words"}, "native"),
        ({"dataset": "iris", "loss": "mse", "allow_mismatch": True}, "torch"),  # numbers of classes as if they were values
        ({"dataset": "diabetes", "model.hidden": [256], "trainer.batch_size": 256}, "native"),
        ({"dataset": "diabetes", "model.hidden": [256, 256], "trainer.batch_size": 16}, "native"),
        ({"dataset": "diabetes", "model.hidden": [256, 256], "trainer.batch_size": 17}, "torch"),
    ],
    ids=str,
)
@pytest.mark.parametrize("runs", [1, 9])
def test_what_a_run_is_decides_and_not_how_many_there_are(
    given: dict[str, Any], engine: str, runs: int, spec_of: Callable[..., Any], datasets: Any
) -> None:
    (planned,) = plan([spec_of(**{"dataset": "moons"} | given | {"seed": seed}) for seed in range(runs)], datasets)
    assert Training(planned.cohort).way.name == engine
    assert (products(planned.cohort) is not None) == (engine == "native")


DATASETS = {
    "attention": "sentences",
    "autoencoder": "reconstruction",
    "bag_of_words": "sentences",
    "cnn": "digits",
    "cnn1d": "signals",
    "embedder": "pairs",
    "gru": "sentences",
    "factorization": "ratings",
    "two_towers": "ratings",
    "gru1d": "signals",
    "segmenter": "shapes",
}
BY_TORCH = {"attention", "gru", "gru1d", "factorization", "two_towers"}  # models with layers that the kernel has not


@pytest.mark.skipif(load() is None, reason="dlrun was built without its kernel")
@pytest.mark.parametrize(
    ("group", "option"), [(group, option) for group in ("model", "regularizer") for option in registry.options(group)]
)
def test_the_catalogue_trains_by_the_kernel(group: str, option: str, spec_of: Callable[..., Any], datasets: Any) -> None:
    given = {"model": option, "model.hidden": [5]} if group == "model" else {"regularizer": [option], "model": "mlp"}
    (planned,) = plan([spec_of(dataset=DATASETS.get(option, "moons"), **given)], datasets)
    assert (products(planned.cohort) is None) == (option in BY_TORCH)


@pytest.mark.skipif(load() is None, reason="dlrun was built without its kernel")
def test_data_that_is_scaled_as_it_is_drawn_goes_the_torch_way(
    spec_of: Callable[..., Any], datasets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (planned,) = plan([spec_of(dataset="moons")], datasets)
    monkeypatch.setattr("dlrun.engine.batches.MATERIALIZED_BYTES", 0)
    assert Training(planned.cohort).way.name == "torch"
    assert products(planned.cohort) is None


@pytest.mark.skipif(load() is None, reason="dlrun was built without its kernel")
def test_it_is_asked_whether_to_stop_often_enough(spec_of: Callable[..., Any], datasets: Any) -> None:
    """A step of images multiplies each weight once for every pixel."""
    (planned,) = plan([spec_of(dataset="shapes", model="segmenter", seed=seed) for seed in range(8)], datasets)
    asked = []

    def stop() -> bool:
        asked.append(training.step)
        return len(asked) == 3

    training = Training(planned.cohort, stop)
    training.epoch(0)
    assert asked == [0, 1, 2]
    assert training.step == 2


@pytest.mark.skipif(load() is None, reason="dlrun was built without its kernel")
def test_runs_that_fill_no_block_share_one_with_other_optimizers(spec_of: Callable[..., Any], datasets: Any) -> None:
    """Eleven runs with adam, three with sgd, one with lion: one block of adam and sgd, with lanes for four each, one of lion."""
    counts = {("relu", "adam"): 11, ("relu", "sgd"): 3, ("relu", "lion"): 1, ("tanh", "adam"): 1}
    rows = [{"activation": a, "optimizer": o, "seed": seed} for (a, o), count in counts.items() for seed in range(count)]
    (planned,) = plan([spec_of(**{"dataset": "moons"} | row) for row in rows], datasets)
    way = Training(planned.cohort).way
    assert isinstance(way, Native)
    assert sorted((len(block.updates), block.lanes) for block in way._lanes.blocks) == [*[(1, 8)] * 3, (2, 4)]
