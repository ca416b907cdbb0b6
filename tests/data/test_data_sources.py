"""Sources: what scikit-learn loads, what is drawn, and the YAML of every dataset, by discovery."""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import sklearn.datasets
import torch
import yaml

from dlrun.components.hyperparameters import hyperparameters, problems
from dlrun.data.dataset import Data
from dlrun.data.preparation import COMMON_KEYS, preparation_problems
from dlrun.data.preprocessing import fit
from dlrun.data.sources import curves, images, points, real, relations, tables
from dlrun.data.splits import split
from dlrun.errors import DataError

CONF = Path(__file__).parents[2] / "conf" / "dataset"
NEEDS_A_FILE = {"csv", "parquet", "openml", "inline", "images", "text"}  # or rows
NAMES = sorted(path.stem for path in CONF.glob("*.yaml") if path.stem not in NEEDS_A_FILE)


def configured(name: str) -> tuple[Callable[..., Data], dict[str, Any], dict[str, Any]]:
    """The source of a dataset, its own keys, and the common keys, as its YAML has them."""
    content = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    module, _, function = content.pop("_target_").rpartition(".")
    common = {key: content.pop(key) for key in COMMON_KEYS if key in content}
    return getattr(importlib.import_module(module), function), content, common


@pytest.mark.parametrize("name", NAMES)
def test_every_yaml_builds_what_it_says(name: str) -> None:
    source, own, common = configured(name)
    assert problems(source, own, "dataset") == []
    assert preparation_problems(common) == []
    assert own == {key: parameter.default for key, parameter in hyperparameters(source).items()}
    data = source(**own)
    assert data.name == name
    assert data.task == common["task"]
    assert data.x.dtype == (np.int64 if data.vocabulary else np.float64)
    assert data.y.dtype in (np.float64, np.int64)
    assert len(set(data.features)) == len(data.features)
    part = split(data, seed=0)
    fitted = fit(data, part.train)
    assert np.isfinite(fitted.inputs(data.x)).all()
    assert fitted.targets(data.y).shape == data.y.shape


@pytest.mark.parametrize("name", NAMES)
def test_every_yaml_says_what_it_is(name: str) -> None:
    first = (CONF / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_every_source_is_drawn_the_same_again(name: str) -> None:
    source, own, _ = configured(name)
    assert source(**own).fingerprint == source(**own).fingerprint
    if "seed" in own:
        assert source(**own | {"seed": 1}).fingerprint != source(**own).fingerprint
    if "rows" in own:
        assert len(source(**own | {"rows": 101})) == 101


@pytest.mark.parametrize("name", ["diabetes", "iris", "wine", "breast_cancer", "digits"])
def test_real_data_equals_scikit_learn(name: str) -> None:
    data = getattr(real, name)()
    expected = getattr(sklearn.datasets, f"load_{name}")()
    assert np.array_equal(data.x.reshape(len(data), -1), expected.data)
    assert np.array_equal(data.y.ravel(), expected.target)
    if name != "digits":
        assert list(data.features) == list(expected.feature_names)
    if name in ("iris", "wine", "breast_cancer"):
        assert list(data.classes) == list(expected.target_names)


def test_raw_diabetes_equals_scikit_learn() -> None:
    assert np.array_equal(real.diabetes(scaled=False).x, sklearn.datasets.load_diabetes(scaled=False).data)


def test_without_scikit_learn_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="pip install scikit-learn"):
        real.iris()
    missing = type("Spec", (), {"origin": "/nowhere/sklearn/__init__.py"})
    monkeypatch.setattr(real, "find_spec", lambda name: missing)
    with pytest.raises(DataError, match="reinstall"):
        real.iris()


def test_xor_is_xor() -> None:
    data = points.xor(noise=0.0)
    signs = np.sign(data.x)
    assert np.array_equal(data.y[:, 0], signs[:, 0] != signs[:, 1])
    assert np.array_equal(np.abs(data.x), np.ones((400, 2)))
    assert abs(np.abs(points.xor(rows=20000, noise=0.3).x).std() - 0.3) < 0.01


def test_shapes_without_noise() -> None:
    circles = points.circles(noise=0.0, factor=0.3)
    assert np.allclose(np.linalg.norm(circles.x, axis=1), 1.0 - 0.7 * circles.y[:, 0])
    moons = points.moons(noise=0.0)
    upper = moons.x[moons.y[:, 0] == 0]
    lower = moons.x[moons.y[:, 0] == 1]
    assert np.allclose(np.linalg.norm(upper, axis=1), 1)
    assert (upper[:, 1] >= 0).all()
    assert (lower[:, 1] <= 0.5).all()
    spirals = points.spirals(noise=0.0, arms=4, turns=0.5)
    x1, x2 = spirals.x.T
    turned = np.arctan2(x2, x1) / (2 * np.pi) - 0.5 * np.hypot(x1, x2) - spirals.y / 4
    assert np.allclose(turned, turned.round(), atol=1e-8)
    clouds = points.multiclass(noise=0.0, classes=3, features=4)
    assert len(np.unique(clouds.x, axis=0)) == 3


def test_noise_does_not_move_the_points() -> None:
    calm, loud = points.moons(noise=0.1), points.moons(noise=0.2)
    still = points.moons(noise=0.0)
    assert np.allclose((loud.x - still.x), 2 * (calm.x - still.x), atol=1e-8)


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_classes_have_equal_numbers_of_rows(classes: int) -> None:
    counts = np.bincount(points.multiclass(rows=100, classes=classes).y)
    assert counts.max() - counts.min() <= 1


def test_every_curve_has_its_name_and_its_noise() -> None:
    assert set(curves.CURVES) == set(get_args(curves.Curve))
    for name, formula in curves.CURVES.items():
        still = curves.function(function=name, noise=0.0)
        assert np.allclose(still.y, formula(still.x), atol=1e-6)
        assert np.abs(still.y).max() <= 1.001
        assert still.y.std() > 0.05
        loud = curves.function(function=name, noise=0.5, rows=5000)
        assert abs((loud.y - formula(loud.x)).std() - 0.5) < 0.02


def test_known_values_of_curves() -> None:
    quarter = np.array([0.25])
    expected = {"sine": 1.0, "step": 1.0, "bump": 0.2096, "abs": -0.5, "polynomial": -0.6875, "square_wave": 1.0, "sinc": 0.0}
    for name, value in expected.items():
        assert curves.CURVES[name](quarter).item() == pytest.approx(value, abs=1e-4)


def test_the_fingerprint_sees_everything() -> None:
    data = real.iris()
    x, y = data.x.copy(), data.y.copy()
    x[149, 3] += 1e-12
    y[0] = 1
    changed = [
        replace(data, x=x),
        replace(data, y=y),
        replace(data, x=data.x.astype(np.float32)),
        replace(data, x=data.x.reshape(150, 4, 1, 1)),
        replace(data, features=("a", "b", "c", "d")),
        replace(data, targets=("kind",)),
        replace(data, classes=("a", "b", "c")),
        replace(data, train_y=y),
    ]
    prints = [data.fingerprint] + [one.fingerprint for one in changed]
    assert len(set(prints)) == len(prints)
    assert all(len(one) == 16 for one in prints)
    assert replace(data, x=np.asfortranarray(data.x)).fingerprint == data.fingerprint


def test_tensors_become_arrays() -> None:
    """As a dataset of a user's own may return them: of any memory order, on the way of a gradient, in another type of float."""
    data = real.iris()
    x, y = torch.from_numpy(data.x).t().contiguous().t().requires_grad_(), torch.from_numpy(data.y)
    made = replace(data, x=x, y=y, weights=torch.ones(150, dtype=torch.float64))
    assert isinstance(made.x, np.ndarray)
    assert replace(made, weights=None).fingerprint == data.fingerprint
    assert replace(data, x=x.half()).x.dtype == np.float16
    assert replace(data, x=data.x.astype(">f8")).fingerprint == data.fingerprint


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x": [[1.0]] * 150}, "x is a list; make it an array"),
        ({"y": np.ma.masked_equal(np.zeros(150, dtype=np.int64), 0)}, "y is a MaskedArray; make it an array"),
        ({"x": torch.zeros(150, 4, dtype=torch.bfloat16)}, "x is a tensor of torch.bfloat16, torch.strided, of which no array"),
        ({"x": np.zeros((150, 4), dtype=np.complex128)}, "floating-point with 2 or 3 or 4 axes, not complex128"),
        ({"task": "guessing"}, "one of regression, binary"),
        ({"x": torch.zeros(150, 4, dtype=torch.int64)}, "floating-point"),
        ({"x": torch.zeros(150, 2, 4, 4, 1)}, "2 or 3 or 4 axes"),
        ({"x": torch.zeros(0, 4), "y": torch.zeros(0, dtype=torch.int64)}, "nothing in x"),
        ({"x": torch.full((150, 4), torch.inf)}, "infinite"),
        ({"features": ("a",)}, "4 features, and 1 names were given"),
        ({"y": torch.zeros(150, 1)}, "int64 with 1 axes"),
        ({"y": torch.zeros(149, dtype=torch.int64)}, "149 rows"),
        ({"y": torch.full((150,), 3)}, "outside 0 to 2"),
        ({"train_y": torch.zeros(3, dtype=torch.int64)}, "train_y has 3 rows"),
        ({"task": "binary", "y": torch.full((150, 1), 0.5)}, "0 or 1"),
        ({"task": "similarity", "y": torch.zeros(150, 1), "x": torch.zeros(150, 2, 4)}, "-1 or 1"),
        ({"task": "regression", "y": torch.full((150, 1), torch.nan)}, "missing"),
    ],
)
def test_data_that_does_not_fit_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        replace(real.iris(), **change)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(DataError) as caught:
        replace(real.iris(), features=("a",), y=torch.zeros(3, dtype=torch.int64))
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"validation": 1.0}, "dataset.validation=1.0: must be a number in [0, 1)"),
        ({"test": -0.1}, "dataset.test=-0.1: must be"),
        ({"folds": 0}, "dataset.folds=0: must be a whole number"),
        ({"folds": 2.5}, "dataset.folds=2.5: must be"),
        ({"fold": 5, "folds": 5}, "must be a whole number in [0, 4]"),
        ({"fold": 1}, "dataset.folds=5, for example"),
        ({"stratify": "yes"}, "true or false"),
        ({"validation": 0.5, "test": 0.5}, "leave no rows for training"),
        ({"validation": 0.5, "folds": 2}, "dataset.folds=2: leave no rows"),
        ({"task": "guessing"}, "one of regression"),
    ],
)
def test_common_keys_are_checked(values: dict[str, Any], said: str) -> None:
    found = preparation_problems({"task": "binary", "noise": 3} | values)
    assert len(found) == 1
    assert said in found[0]


@pytest.mark.parametrize(
    "source",
    [
        f
        for m in (points, curves, tables, images, relations, real)
        for _, f in inspect.getmembers(m, inspect.isfunction)
        if f.__module__ == m.__name__ and not f.__name__.startswith("_")
    ],
)
def test_hyperparameters_are_bounded(source: Callable[..., Data]) -> None:
    known = hyperparameters(source)
    for name in set(known) & {
        "rows",
        "noise",
        "seed",
        "classes",
        "features",
        "arms",
        "turns",
        "factor",
        "share",
        "labels",
        "lags",
        "size",
        "light",
    }:
        assert problems(source, {name: -1}, "dataset"), name
        assert problems(source, {name: "many"}, "dataset"), name
