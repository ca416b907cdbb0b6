"""What a cohort takes is counted by shapes, and what memory cannot hold is refused before it is allocated."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dlrun import memory
from dlrun.engine.layers import Pass
from dlrun.engine.models.model import expand
from dlrun.engine.step import TrainStep
from dlrun.errors import DataError, InputError
from dlrun.experiments.planning.cohorts import Datasets, plan
from dlrun.experiments.planning.cost import check_memory, needs
from dlrun.memory import machine_bytes

SpecOf = Callable[..., Any]
MEGABYTE = 1 << 20


class Bounded(TorchDispatchMode):
    """Fails when an operation puts out more than ``most`` numbers."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        sizes = [
            item.numel() for item in (found if isinstance(found, tuple | list) else [found]) if isinstance(item, torch.Tensor)
        ]
        assert max(sizes, default=0) <= self.most, func
        return found


@pytest.fixture
def small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 64 MB."""
    monkeypatch.setattr(memory, "machine_bytes", lambda: 64 * MEGABYTE)
    monkeypatch.setattr("dlrun.experiments.planning.cost.machine_bytes", lambda: 64 * MEGABYTE)


@pytest.mark.parametrize(
    ("regularizer", "given"),
    [
        ((), {}),
        (("batch_norm", "dropout"), {"model.hidden": [7, 3]}),
        ((), {"dataset": "digits", "model": "cnn"}),
        ((), {"dataset": "shapes", "model": "segmenter"}),
        ((), {"dataset": "pairs", "model": "embedder"}),
        ((), {"dataset": "triplets", "model": "embedder"}),
        ((), {"activation": "prelu"}),
    ],
)
def test_counted_by_shapes_is_what_a_pass_leaves_behind(
    spec_of: SpecOf, datasets: Datasets, regularizer: tuple[str, ...], given: dict[str, Any]
) -> None:
    (planned,) = plan([spec_of(regularizer, **given)], datasets)
    cohort = planned.cohort
    train_step = TrainStep(cohort.runs, cohort.data, cohort.settings)
    train_step.bind(train_step.fresh())
    x = torch.zeros(1, 1, *cohort.data.shape)
    x = x.flatten(1, 2) if cohort.data.task in ("similarity", "metric_learning") else x
    passed = x.numel()
    for layer, mine, kept in zip(train_step.model.layers, train_step.parameters, train_step.buffers, strict=True):
        x, _ = layer.forward(mine, kept, x, Pass())
        passed += x.numel() + layer.inner
    found = needs(cohort)
    assert found.parameters == train_step.layout.size
    assert found.numbers == passed * cohort.settings.batch_size + train_step.layout.size


def test_a_model_that_memory_cannot_hold_is_refused_before_it_is_made(
    spec_of: SpecOf, datasets: Datasets, small_machine: None
) -> None:
    spec = spec_of(dataset="iris", **{"model.hidden": [100_000, 10_000]})
    datasets.load(spec.dataset)
    with Bounded(MEGABYTE), pytest.raises(InputError, match=r"1,000,540,003 parameters.*takes about .* GB.*0\.1 GB; take fewer"):
        plan([spec], datasets)
    plan([spec_of(dataset="iris", **{"model.hidden": [100, 100]})], datasets)  # as advised


def test_a_history_that_memory_cannot_hold_is_refused(spec_of: SpecOf, datasets: Datasets, small_machine: None) -> None:
    long = {"trainer": "default", "trainer.epochs": 10**12}
    with pytest.raises(InputError, match=r"trainer.epochs=1000000000000, for the history of one run: takes about 29,802.3 GB"):
        plan([spec_of(**long)], datasets)
    plan([spec_of(**long, **{"trainer.evaluate_every": 10**7})], datasets)
    plan([spec_of(**long, **{"trainer.max_steps": 9})], datasets)


def test_needs_of_a_huge_model_are_counted_without_making_it(spec_of: SpecOf, datasets: Datasets) -> None:
    (planned,) = plan([spec_of()], datasets)
    cohort = planned.cohort
    wide = tuple(replace(layer, size=10**9) if layer.kind == "linear" else layer for layer in cohort.settings.layers)
    huge = replace(cohort, settings=replace(cohort.settings, layers=wide, epochs=10**9, max_steps=None))
    with Bounded(MEGABYTE):
        found = needs(huge)
        with pytest.raises(InputError, match="4,000,000,001 parameters"):
            check_memory(replace(huge, settings=replace(huge.settings, epochs=1)))
    assert found.parameters == 4 * 10**9 + 1
    assert found.bytes > 8 * 4 * found.parameters
    assert found.steps > 10**9


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"dataset": "xor", "dataset.rows": 10**10}, "dataset.rows=10000000000"),
        ({"dataset": "moons", "dataset.rows": 10**10}, "dataset.rows=10000000000"),
        ({"dataset": "multiclass", "dataset.rows": 10**6}, "dataset.rows=1000000"),
        ({"dataset": "multiclass", "dataset.features": 10**7}, "dataset.rows=600"),
        ({"dataset": "forecasting", "dataset.rows": 10**7}, "dataset.rows=10000000"),
        ({"dataset": "forecasting", "dataset.horizon": 10**9}, "dataset: 500,000,008,000 numbers"),
    ],
)
def test_data_that_memory_cannot_hold_is_refused_before_it_is_made(
    compose: Callable[..., Any], small_machine: None, given: dict[str, Any], said: str
) -> None:
    from dlrun.config.spec import from_config

    with Bounded(2 * MEGABYTE), pytest.raises(DataError, match=f"{said}.* take fewer"):
        Datasets().load(from_config(*compose(**given)).dataset)


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ([{"hidden": None, "depth": 100_000, "width": 2}], "model.depth=100000: gives 200,000 layers, and at most 20,000"),
        ([{"hidden": None, "depth": 10**12, "width": 2}], "model.depth=1000000000000: gives"),
        ([{"hidden": [1] * 10_001}], "model.hidden: gives 20,002 layers"),
        ([{"repeat": 10**9, "layers": ["activation"]}], "repeat=1000000000: gives"),
        ([{"repeat": 9000, "layers": ["activation"]}] * 3, "model.layers: gives 27,001"),
    ],
)
def test_layers_without_number_are_refused_before_they_are_listed(layers: list[Any], said: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=said):
            expand([*layers, "output"])
        assert tracemalloc.get_traced_memory()[1] < 8 * MEGABYTE
    finally:
        tracemalloc.stop()


def test_the_machines_memory_is_that_of_its_container_or_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    assert machine_bytes() > 16 * MEGABYTE
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_LIMITS", (str(limit), str(tmp_path / "missing")))
    limit.write_text("max\n")
    whole = machine_bytes()
    limit.write_text("1048576\n")
    assert machine_bytes() == MEGABYTE < whole
