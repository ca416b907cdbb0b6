"""Copies across a split, and a column that alone decides the target: found where they are, and not in any dataset of dlrun's."""

from importlib import import_module

import numpy as np
import pytest
from numpy.typing import NDArray

from dlrun import registry
from dlrun.data.dataset import Data
from dlrun.data.look import copies, leak, notes
from dlrun.data.sources.files import csv
from dlrun.data.sources.real import diabetes, iris, wine
from dlrun.data.splits import split

NAMES = [name for name in registry.options("dataset") if name not in ("csv", "parquet", "openml", "text", "images", "inline")]


def beside(data: Data, column: NDArray[np.float64]) -> Data:
    """The data with one more feature."""
    x = np.concatenate([data.x, column.reshape(-1, 1)], 1)
    return Data(data.name, x, data.y, data.task, data.outputs, (*data.features, "late"), data.targets, data.classes)


@pytest.mark.parametrize("name", NAMES)
def test_no_column_of_a_dataset_is_taken_for_a_leak(name: str) -> None:
    module, _, function = registry.load_option("dataset", name)["_target_"].rpartition(".")
    data = getattr(import_module(module), function)()
    assert [leak(data, split(data, seed=seed)) for seed in range(2)] == ["", ""]


def test_one_measurement_that_separates_a_kind_of_flower_is_no_leak() -> None:
    data = iris()
    y = (data.y == 0).astype(np.float64)[:, None]
    setosa = Data("setosa", data.x, y, "binary", 1, data.features, ("y",), ("other", "setosa"))
    assert leak(setosa, split(setosa, seed=0)) == ""


@pytest.mark.parametrize(("data", "late"), [(wine(), lambda y: 7 - 2 * y), (diabetes(), lambda y: 1.19 * y + 3)])
def test_a_column_made_of_the_target_is_a_leak(data: Data, late: object) -> None:
    column = late(data.y.astype(np.float64))  # type: ignore[operator]
    leaking = beside(data, column)
    assert leak(leaking, split(leaking, seed=0)) == "late"
    noise = np.random.default_rng(0).standard_normal(len(data))
    blurred = beside(data, column.reshape(-1) + noise * column.std())
    assert leak(blurred, split(blurred, seed=0)) == ""


def test_copies_are_counted() -> None:
    x = np.arange(20.0)[:, None].repeat(3, 1)
    x[10:] = x[:10]
    y = np.arange(20.0)[:, None]
    y[10:15] = y[:5]
    subset = np.array([0] * 10 + [2] * 10, dtype=np.int8)
    data = Data("toy", x, y, "regression", 1, ("a", "b", "c"), ("y",), subset=subset)
    assert copies(data, split(data, seed=0, validation=0)) == (5, 10)
    x[12, 1], x[13] = -1.0, np.nan
    assert copies(data, split(data, seed=0, validation=0)) == (3, 8)
    x[3] = np.nan
    assert copies(data, split(data, seed=0, validation=0)) == (4, 9)


def test_what_is_said_of_a_table(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("t") / "t.csv"
    kinds = ["ab"[row * 7 % 3 % 2] for row in range(300)]
    lines = [f"{row * 37 % 101},{row * 53 % 89},{kind * 2},{kind}" for row, kind in enumerate(kinds)]
    path.write_text("\n".join(["u,v,code,y", *lines, *lines[:40]]) + "\n")
    data = csv(path=str(path), target="y")
    first, second = notes(data, split(data, seed=0))
    whole, features = copies(data, split(data, seed=0))
    assert whole == features > 0
    assert f"{features} of 68 test rows are in all features a copy of a training row, and so is the target" in first
    assert "code alone decides the target" in second
    assert "type 'dataset.drop=[code]'" in second or "type dataset.drop=[code]" in second
    assert notes(wine(), split(wine(), seed=0)) == []
