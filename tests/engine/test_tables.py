"""The data of a cohort: each run sees its own split, in its own order, scaled by its own training rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from dlrun import streams
from dlrun.data.dataset import Data
from dlrun.data.preprocessing import fit
from dlrun.data.splits import splits
from dlrun.engine import batches as tables
from dlrun.engine.batches import SUBSETS, Batches
from dlrun.engine.by_torch import draws as drawing
from dlrun.engine.by_torch.draws import Draws

CPU = torch.device("cpu")


def regression(rows: int = 50, shape: tuple[int, ...] = (3,), offset: float = 5.0) -> Data:
    x = np.random.default_rng(0).normal(offset, 2, (rows, *shape))
    y = x.reshape(rows, -1).sum(1, keepdims=True) * 10 + 100
    names = tuple(f"x{i}" for i in range(shape[0]))
    return Data("made", x, y, "regression", 1, names, ("y",))


def table_of(data: Data, seeds: list[int], split_of: list[int], floats: str = "float64") -> tuple[Batches, list[Any], list[Any]]:
    made = splits(data, seeds, validation=0.2, test=0.2)
    fitted = [fit(data, split.train) for split in made]
    return Batches(data, made, fitted, split_of, floats=floats), made, fitted


@pytest.fixture(params=["held", "scaled when drawn"])
def memory(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of holding the data: scaled copies, or one raw copy."""
    if request.param != "held":
        monkeypatch.setattr(tables, "MATERIALIZED_BYTES", 0)
    return str(request.param)


@pytest.mark.parametrize("shape", [(3,), (2, 4, 5)], ids=["rows", "images"])
@pytest.mark.parametrize("split_of", [[0, 1, 2], [2, 0, 2, 1], [0], [1, 1]], ids=str)
def test_subsets_are_the_splits_rows_scaled_by_their_training_rows(
    memory: str, shape: tuple[int, ...], split_of: list[int]
) -> None:
    data = regression(shape=shape)
    table, made, fitted = table_of(data, [0, 1, 2], split_of)
    draws = Draws(table, CPU)
    for name in SUBSETS:
        x, y = table.subset(name)
        assert len(x) == len(y) == len(split_of)
        for run, split in enumerate(split_of):
            rows = getattr(made[split], name)
            np.testing.assert_allclose(x[run], fitted[split].inputs(data.x[rows]))
            np.testing.assert_allclose(y[run], fitted[split].targets(data.y[rows]))
        part_x, part_y = table.subset(name, 2, 5)
        assert np.array_equal(part_x, x[:, 2:5])
        assert np.array_equal(part_y, y[:, 2:5])
        drawn = draws.at(table.sample(name, len(data)))
        assert all(np.array_equal(mine, there) for mine, there in zip(drawn, (x, y), strict=True))
        np.testing.assert_allclose(table.original(y)[0], data.y[getattr(made[split_of[0]], name)])
    x, _ = table.subset("train")
    centred = np.moveaxis(x, 2, 0).reshape(x.shape[2], len(x), -1)
    np.testing.assert_allclose(centred.mean(2), 0, atol=1e-12)
    np.testing.assert_allclose(centred.std(2), 1)


def test_a_sample_is_spread_over_a_subset(memory: str) -> None:
    """Sorted data: the first rows would be the smallest."""
    data = regression(rows=5000)
    order = data.x[:, 0].argsort()
    ordered = Data("sorted", data.x[order], data.y[order], "regression", 1, data.features, data.targets)
    table, _, _ = table_of(ordered, [0, 1], [0, 1, 0])
    here = table.sample("train", 500)
    assert isinstance(here, np.ndarray)
    x, y = table.at(here)
    assert x.shape == (3, 500, 3)
    assert y.shape == (3, 500, 1)
    assert np.array_equal(x[0], x[2])
    assert np.array_equal(x, table.subset("train")[0][:, here])
    assert all(np.array_equal(mine, there) for mine, there in zip(Draws(table, CPU).at(here), (x, y), strict=True))
    assert abs(float(x[:, :, 0].mean())) < 0.15
    assert len(np.unique(here)) > 400
    assert np.array_equal(here, table.select([2]).sample("train", 500)), "always the same rows"  # type: ignore[arg-type]
    whole = table.sample("validation", 1000)
    assert np.array_equal(table.at(whole)[0], table.subset("validation")[0])


def test_one_split_is_not_copied_for_every_run() -> None:
    table, _, _ = table_of(regression(), [0], [0, 0, 0, 0])
    x, y = table.subset("train")
    assert x.strides[0] == 0
    assert y.strides[0] == 0
    assert x.shape[0] == 4
    drawn = Draws(table, CPU).at(table.sample("train", 50))
    assert [values.stride(0) for values in drawn] == [0, 0]


@pytest.mark.parametrize(("batch_size", "steps"), [(30, 1), (8, 4), (7, 5), (10, 3), (1, 30), (7, 2), (8, 1)])
def test_an_epoch_is_the_runs_own_order(memory: str, batch_size: int, steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All training rows once, in the order of the stream; the last batch holds the rest; a step limit cuts the end off."""
    data = regression()
    table, made, fitted = table_of(data, [3, 4], [0, 1, 0])
    seeds = [3, 4, 5]
    keys = streams.derive(torch.from_numpy(streams.seeded(seeds, "order")), 2)
    orders = streams.permutations(keys, 30)
    found = {}
    for chunk in (drawing.CHUNK_BYTES, 1):  # gathered many at a time, or one by one
        monkeypatch.setattr(drawing, "CHUNK_BYTES", chunk)
        batches = list(Draws(table, CPU).epoch(keys, batch_size, steps))
        assert len(batches) == steps
        found[chunk] = batches
        for step, (x, y) in enumerate(batches):
            here = slice(step * batch_size, min((step + 1) * batch_size, 30))
            for run, split in enumerate([0, 1, 0]):
                rows = made[split].train[orders[run, here].numpy()]
                np.testing.assert_allclose(x[run], fitted[split].inputs(data.x[rows]))
                np.testing.assert_allclose(y[run], fitted[split].targets(data.y[rows]))
    for one, other in zip(*found.values(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_run_sees_the_same_batches_alone_and_among_others(memory: str) -> None:
    data = regression()
    together, _, _ = table_of(data, [3, 4, 5], [0, 1, 2, 1])
    keys = streams.derive(torch.from_numpy(streams.seeded([3, 4, 5, 4], "order")), 0)
    batches = list(Draws(together, CPU).epoch(keys, 7, 5))
    alone, _, _ = table_of(data, [4], [0])
    for (x, y), (own_x, own_y) in zip(batches, Draws(alone, CPU).epoch(keys[1:2], 7, 5), strict=True):
        for row in (1, 3):  # runs with the same seed share their order
            assert torch.equal(x[row], own_x[0])
            assert torch.equal(y[row], own_y[0])


def test_select_keeps_the_rows_of_the_kept_runs(memory: str) -> None:
    table, _, _ = table_of(regression(), [0, 1, 2], [0, 1, 2, 1, 0])
    whole = {name: table.subset(name) for name in SUBSETS}
    small = table.select([3, 4])
    smaller = small.select([1])
    for name in SUBSETS:
        for part, kept in ((small, [3, 4]), (smaller, [4])):
            for mine, full in zip(part.subset(name), whole[name], strict=True):
                assert np.array_equal(mine, full[kept])
    keys = torch.from_numpy(streams.seeded([9, 9, 9, 8, 7], "order"))
    draws = Draws(table, CPU)
    for (x, y), (own_x, own_y) in zip(draws.epoch(keys, 8, 4), draws.of(small).epoch(keys[3:], 8, 4), strict=True):
        assert torch.equal(x[3:], own_x)
        assert torch.equal(y[3:], own_y)
    np.testing.assert_allclose(small.original(small.subset("test")[1]), table.original(whole["test"][1])[3:])
    assert len(table.split_of) == 5, "the table that was cut is as before"


@pytest.mark.parametrize("floats", ["float32", "float64"])
def test_both_ways_of_holding_data_agree_also_for_large_offsets(floats: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Timestamps: a mean of 1e9 leaves float32 no digits for the spread, unless it is taken away before rounding."""
    data = regression(offset=1e9)
    held, _, _ = table_of(data, [0, 1], [0, 1], floats)
    monkeypatch.setattr(tables, "MATERIALIZED_BYTES", 0)
    drawn, _, _ = table_of(data, [0, 1], [0, 1], floats)
    for name in SUBSETS:
        np.testing.assert_allclose(drawn.subset(name)[0], held.subset(name)[0], rtol=1e-5, atol=1e-5)
    keys = torch.from_numpy(streams.seeded([0, 1], "order"))
    for (x, _), (own, _) in zip(*(Draws(table, CPU).epoch(keys, 8, 4) for table in (held, drawn)), strict=True):
        torch.testing.assert_close(x, own, rtol=1e-5, atol=1e-5)


def test_missing_values_are_filled_in_both_ways(memory: str) -> None:
    data = regression()
    x = data.x.copy()
    x[::7, 1] = np.nan
    holed = Data("holed", x, data.y, "regression", 1, data.features, data.targets)
    table, made, fitted = table_of(holed, [0, 1], [0, 1])
    for run in range(2):
        found = table.subset("train")[0][run]
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, fitted[run].inputs(x[made[run].train]))


@pytest.mark.parametrize("members", [2, 3])
def test_pairs_and_triplets_share_the_numbers_of_their_features(
    memory: str, members: int, datasets: Any, spec_of: Callable[..., Any]
) -> None:
    name = {2: "pairs", 3: "triplets"}[members]
    data = datasets.load(spec_of(dataset=name, model="embedder").dataset)
    table, made, fitted = table_of(data, [0, 1], [0, 1, 1])
    x, y = table.subset("validation")
    assert x.shape[2:] == (members, 64)
    for run, split in enumerate([0, 1, 1]):
        np.testing.assert_allclose(x[run], fitted[split].inputs(data.x[made[split].validation]))
        assert np.array_equal(y[run], data.y[made[split].validation])


def test_corrupted_training_targets_stay_in_the_training_rows(datasets: Any, spec_of: Callable[..., Any]) -> None:
    data = datasets.load(spec_of(dataset="outliers").dataset)
    assert data.train_y is not None
    table, made, fitted = table_of(data, [0], [0])
    for name, targets in (("train", data.train_y), ("validation", data.y), ("test", data.y)):
        np.testing.assert_allclose(table.subset(name)[1][0], fitted[0].targets(targets[getattr(made[0], name)]))


def test_classes_stay_whole_numbers(datasets: Any, spec_of: Callable[..., Any]) -> None:
    data = datasets.load(spec_of(dataset="iris").dataset)
    table, made, _ = table_of(data, [0], [0])
    y = table.subset("test")[1]
    assert y.dtype == np.int64
    assert np.array_equal(y[0], data.y[made[0].test])
