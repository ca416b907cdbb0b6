"""Preprocessing: fitted on training rows alone, finite everywhere, inverted exactly, kept as JSON."""

import json
import math
import pickle
from dataclasses import replace
from itertools import zip_longest

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from dlrun.data import preprocessing
from dlrun.data.dataset import Data
from dlrun.data.preprocessing import Preprocessing, fit, fit_each, total
from dlrun.data.sources.real import breast_cancer, diabetes, digits
from dlrun.data.splits import split, splits
from dlrun.errors import DataError

NAN = math.nan
Floats = NDArray[np.float64]


def table(x: Floats, y: Floats | None = None) -> Data:
    y = np.arange(float(len(x)))[:, None] if y is None else y
    return Data("toy", x, y, "regression", y.shape[1], tuple(f"x{i}" for i in range(x.shape[1])), ("y",) * y.shape[1])


def numbers(fitted: Preprocessing) -> list[Floats]:
    return [fitted.fill, fitted.shift, fitted.factor, fitted.y_shift, fitted.y_factor]


@pytest.mark.parametrize("together", [1, 1000, 1 << 22])
def test_equals_scikit_learn(together: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preprocessing, "_TOGETHER", together)
    data = breast_cancer()
    x = data.x.copy()
    x[np.arange(0, 569, 7), np.arange(0, 569, 7) % 29] = NAN
    data = replace(data, x=x)
    train = split(data, seed=0).train
    filled = SimpleImputer(strategy="median").fit(x[train])
    scaler = StandardScaler().fit(filled.transform(x[train]))
    expected = scaler.transform(filled.transform(x))
    assert np.allclose(fit(data, train).inputs(x), expected, rtol=1e-9, atol=1e-11)


def test_training_rows_have_mean_0_and_deviation_1() -> None:
    data = diabetes()
    train = split(data, seed=0).train
    fitted = fit(data, train)
    for values in (fitted.inputs(data.x[train]), fitted.targets(data.y[train])):
        assert np.abs(values.mean(0)).max() < 1e-12
        assert np.abs(values.std(0) - 1).max() < 1e-12


@pytest.mark.parametrize("value", [1e9, NAN])
def test_other_rows_change_nothing(value: float) -> None:
    data = diabetes()
    part = split(data, seed=0)
    x, y = data.x.copy(), data.y.copy()
    x[part.test] = value
    x[part.validation] = value
    y[part.test] = 1e9
    y[part.validation] = -1e9
    before, after = fit(data, part.train), fit(replace(data, x=x, y=y), part.train)
    assert all(np.array_equal(one, other) for one, other in zip(numbers(before), numbers(after), strict=True))


def test_a_constant_feature_has_no_effect() -> None:
    x = np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 3.0], [7.0, 4.0]])
    fitted = fit(table(x), np.arange(3))
    assert fitted.factor[0] == 0
    assert fitted.inputs(x)[:, 0].tolist() == [0, 0, 0, 0]


def test_missing_values_become_the_training_median() -> None:
    x = np.array([[1.0], [NAN], [3.0], [10.0], [NAN]])
    fitted = fit(table(x), np.arange(4), standardize=False)
    assert fitted.fill.item() == 3.0
    assert fitted.inputs(x)[:, 0].tolist() == [1.0, 3.0, 3.0, 10.0, 3.0]
    even = np.array([[1.0], [2.0], [4.0], [50.0]])
    assert fit(table(even), np.arange(4)).fill.item() == 3.0


@pytest.mark.parametrize("standardize", [True, False])
def test_a_feature_that_is_all_missing_in_training_has_no_effect(standardize: bool) -> None:
    x = np.array([[NAN, 1.0], [NAN, 2.0], [5.0, 3.0]])
    fitted = fit(table(x), np.arange(2), standardize=standardize)
    assert fitted.inputs(x)[:, 0].tolist() == [0, 0, 0]
    assert all(np.isfinite(value).all() for value in numbers(fitted))


def test_without_scaling_nothing_changes() -> None:
    data = diabetes()
    fitted = fit(data, np.arange(300), standardize=False, standardize_target=False)
    assert np.array_equal(fitted.inputs(data.x), data.x)
    assert np.array_equal(fitted.targets(data.y), data.y)


def test_targets_invert() -> None:
    data = diabetes()
    fitted = fit(data, np.arange(300))
    assert np.allclose(fitted.original(fitted.targets(data.y)), data.y, rtol=1e-12)
    quantiles = np.zeros((4, 7, 3), dtype=np.float32)  # runs, rows, three outputs for the one target
    assert np.allclose(fitted.original(quantiles), fitted.y_shift.astype(np.float32))


def test_several_targets_are_scaled_one_by_one() -> None:
    y = np.stack((np.arange(8.0), 100 * np.arange(8.0), np.full(8, 3.0)), 1)
    fitted = fit(table(np.zeros((8, 1)), y), np.arange(8))
    assert np.allclose(fitted.targets(y)[:, 0], fitted.targets(y)[:, 1])
    assert not fitted.targets(y)[:, 2].any()
    assert np.allclose(fitted.original(fitted.targets(y)), y)


def test_corrupted_training_targets_are_what_is_fitted() -> None:
    data = diabetes()
    fitted = fit(replace(data, train_y=data.y + 1000), np.arange(100))
    assert np.allclose(fitted.y_shift, data.y[:100].mean(0) + 1000)


def test_class_numbers_stay() -> None:
    data = digits()
    assert np.array_equal(fit(data, np.arange(100)).targets(data.y), data.y)
    binary = breast_cancer()
    assert np.array_equal(fit(binary, np.arange(100)).targets(binary.y), binary.y)


def test_pixels_of_a_channel_share_their_numbers() -> None:
    draw = np.random.default_rng(0)
    x = np.stack((draw.random((20, 4, 4)), 50 + 9 * draw.random((20, 4, 4))), 1)
    data = Data("toy", x, np.arange(20) % 2, "multiclass", 2, ("a", "b"), ("y",))
    fitted = fit(data, np.arange(12))
    assert fitted.factor.shape == (2, 1, 1)
    scaled = fitted.inputs(x)[:12]
    assert np.abs(scaled.mean((0, 2, 3))).max() < 1e-12
    assert np.abs(scaled.std((0, 2, 3)) - 1).max() < 1e-12
    assert fit(digits(), np.arange(500)).inputs(digits().x).shape == (1797, 1, 8, 8)


def test_members_of_a_pair_share_their_numbers() -> None:
    x = np.random.default_rng(0).random((30, 2, 5))
    y = np.ones((30, 1))
    data = Data("toy", x, y, "similarity", 1, ("x",) * 5, ("same",))
    fitted = fit(data, np.arange(30))
    assert np.allclose(fitted.shift, x.mean((0, 1)))


def test_dtype_of_the_data_is_kept() -> None:
    fitted = fit(diabetes(), np.arange(100))
    assert fitted.inputs(np.zeros((3, 10), dtype=np.float32)).dtype == np.float32
    assert fitted.shift.dtype == np.float64


def test_far_from_zero_is_no_matter() -> None:
    x = (1e12 + np.arange(10.0))[:, None]
    fitted = fit(table(x), np.arange(10))
    assert math.isclose(fitted.factor.item(), 1 / np.std(np.arange(10.0)), rel_tol=1e-6)
    tiny = np.array([[0.0], [5e-324]])
    assert fit(table(tiny), np.arange(2)).factor.item() == 0.0


def test_json_round_trip() -> None:
    for data in (diabetes(), digits()):
        fitted = fit(data, np.arange(200))
        text = json.dumps(fitted.to_json(), allow_nan=False)
        again = Preprocessing.from_json(json.loads(text))
        assert all(np.array_equal(one, other) for one, other in zip(numbers(fitted), numbers(again), strict=True))


@pytest.mark.parametrize("damage", [None, "words", [], [NAN], [[1.0], [2.0, 3.0]]])
def test_damaged_json(damage: object) -> None:
    content = fit(diabetes(), np.arange(100)).to_json()
    content["shift"] = damage
    with pytest.raises(DataError, match=r"preprocessing\.shift"):
        Preprocessing.from_json(content)
    del content["shift"]
    with pytest.raises(DataError, match=r"preprocessing\.shift"):
        Preprocessing.from_json(content)


@pytest.mark.parametrize("together", [1, 100, 1 << 22])
@pytest.mark.parametrize("features", [1, 2, 9])
@pytest.mark.parametrize("targets", [1, 3])
def test_many_splits_have_the_bits_of_each_alone(
    together: int, features: int, targets: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(features)
    x = draw.standard_normal((50, features))
    x[::6, 0] = NAN
    data = table(x, draw.standard_normal((50, targets)))
    made = splits(data, range(7), validation=0.2, test=0.2)
    monkeypatch.setattr(preprocessing, "_TOGETHER", together)
    alone = [fit(data, part.train) for part in made]
    for one, other in zip(fit_each(data, made), alone, strict=True):
        assert all(map(np.array_equal, numbers(one), numbers(other)))
        again = pickle.loads(pickle.dumps(one))
        assert all(number.base is None for number in numbers(again)), "pickled without the others"


def test_sums_are_taken_in_an_order_of_their_own() -> None:
    """By Python's floats, one after the other: no library chooses the order, and no processor."""

    def folded(numbers: list[float]) -> float:
        while len(numbers) > 1:
            half = (len(numbers) + 1) // 2
            numbers = [a + b for a, b in zip_longest(numbers[:half], numbers[half:], fillvalue=0.0)]
        return numbers[0]

    for count in (1, 2, 3, 7, 8, 100, 1001):
        values = np.random.default_rng(count).standard_cauchy((3, count))
        before = values.copy()
        assert total(values).tolist() == [folded(row) for row in values.tolist()]
        assert np.array_equal(values, before)
        assert total(values).tolist() == pytest.approx([math.fsum(row) for row in values.tolist()], rel=1e-12)
