"""Forecasts over several horizons: what the windows are, the split in time, and what stands beside the runs."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dlrun.baselines.rows import Fold, beside
from dlrun.data.dataset import Data
from dlrun.data.preprocessing import fit
from dlrun.data.sources.curves import forecasting
from dlrun.data.splits import splits
from dlrun.errors import DataError


def errors(names: list[str], data: Data) -> dict[str, float]:
    """The mean squared error of baselines on test rows."""
    (split,) = splits(data, [0])
    rows, notes = beside(names, {(0, None): Fold(data, split, fit(data, split.train))}, "mse", {})
    assert notes == []
    return {name: row.metrics["test/mse"] or 0.0 for name, row in zip(names, rows, strict=True)}


def test_targets_are_the_steps_behind_the_window() -> None:
    several, one = forecasting(rows=40, horizon=4, horizons=3, noise=0.0), forecasting(rows=40, horizon=4, noise=0.0)
    assert several.targets == ("in 2", "in 3", "in 4")
    assert one.targets == ("in 4",)
    assert np.array_equal(several.x, one.x)
    assert np.array_equal(several.y[:, 2:], one.y)
    series = np.concatenate([forecasting(rows=40, horizon=4, horizons=4, noise=0.0).x, several.y], 1)
    assert float(np.abs(series[1:, 0] - series[:-1, -1]).max()) < 0.2, "windows follow one another"
    with pytest.raises(DataError, match=r"dataset.horizons=5: at most dataset.horizon=4 steps"):
        forecasting(horizon=4, horizons=5)


def test_training_lies_before_testing() -> None:
    data = forecasting(rows=50, in_time=True)
    for split in splits(data, [0, 1]):
        assert int(split.train.max()) < int(split.validation.min())
        assert int(split.validation.max()) < int(split.test.min())
    forward = [splits(data, [0], folds=4, fold=[fold])[0] for fold in range(4)]
    assert [int(split.test.min()) for split in forward] == sorted(int(split.test.min()) for split in forward)
    assert all(int(split.train.max()) < int(split.test.min()) for split in forward)


@pytest.mark.parametrize("season", [3, 7])
def test_the_seasonal_forecast_is_the_value_a_season_before(season: int) -> None:
    """Of a series that is nothing but its season it is exact; by hand where there is more."""
    series = np.sin(2 * np.pi * (np.arange(60 * 14) % season) / season) + np.arange(60 * 14) % season
    windows = series.reshape(60, 14)
    names = tuple(f"lag {lag}" for lag in range(8, -1, -1))
    targets = tuple(f"in {step}" for step in range(1, 6))
    data = Data("waves", windows[:, :9], windows[:, 9:], "regression", 5, names, targets)
    assert errors(["seasonal"], data)["seasonal"] == pytest.approx(0, abs=1e-20)
    noisy = forecasting(rows=300, lags=9, horizon=5, horizons=5, season=season, noise=0.1)
    (split,) = splits(noisy, [0])
    x, y = noisy.x, noisy.y
    each = {
        length: np.stack([x[:, 8 - (-step % length)] for step in range(1, 6)], 1) - y for length in range(1, 10)
    }  # lag 0 is the last column
    best = min(each, key=lambda length: float((each[length][split.train] ** 2).mean()))
    found = errors(["naive", "seasonal"], noisy)
    assert found["seasonal"] == pytest.approx(float((each[best][split.test] ** 2).mean()))
    assert found["naive"] == pytest.approx(float(((x[:, 8:] - y)[split.test] ** 2).mean()))
    assert best == season


def test_networks_beat_the_baselines_over_all_horizons(spec_of: Callable[..., Any], train_all: Callable[..., Any]) -> None:
    """Two seeds in one cohort, on a season and what the chaotic series adds to it, tested on what comes later."""
    more: dict[str, Any] = {"dataset.horizons": 6, "dataset.season": 8, "dataset.in_time": True}
    more |= {"optimizer.lr": 0.01, "model.hidden": [64], "trainer.epochs": 60, "trainer.max_steps": None}
    specs = [spec_of(seed=seed, dataset="forecasting", **more) for seed in (0, 1)]
    data = forecasting(horizons=6, season=8, in_time=True)
    beaten = errors(["mean", "naive", "seasonal", "linear"], data)
    for outcome in train_all(specs):
        assert outcome.metrics["test/mse"] < min(beaten.values()), (outcome.metrics["test/mse"], beaten)
