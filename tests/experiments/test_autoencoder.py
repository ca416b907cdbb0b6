"""The wider tasks: reconstruction through a narrow code, anomalies by their error, and forecasting against the last value."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from dlrun.baselines.rows import Fold, beside
from dlrun.data.preprocessing import fit
from dlrun.data.sources.curves import forecasting
from dlrun.data.sources.reconstruction import reconstruction
from dlrun.data.splits import split, splits
from dlrun.errors import InputError
from dlrun.experiments.planning.cohorts import plan

REAL = {"dataset": "reconstruction", "model": "autoencoder", "trainer.max_steps": None, "trainer.evaluate_every": 1000}


@pytest.mark.parametrize(
    ("of", "shape"), [("digits", (1797, 48)), ("breast_cancer", (569, 30)), ("wine", (178, 13)), ("iris", (150, 4))]
)
def test_inputs_are_targets_and_anomalies_are_odd_combinations(of: Any, shape: tuple[int, int]) -> None:
    data, clean = reconstruction(of=of), reconstruction(of=of, share=0.0)
    assert data.x.shape == shape
    assert np.array_equal(data.x, data.y)
    assert data.targets == data.features
    assert clean.anomalies is None
    assert data.anomalies is not None
    assert int(data.anomalies.sum()) == round(0.05 * len(data))
    assert np.array_equal(data.x[~data.anomalies], clean.x[~data.anomalies])
    for column in range(shape[1]):
        assert set(data.x[:, column].tolist()) <= set(clean.x[:, column].tolist()), "each value is a usual one"
    known = {tuple(row) for row in clean.x.tolist()}
    assert sum(tuple(row) in known for row in data.x[data.anomalies].tolist()) <= 1
    assert data.fingerprint != clean.fingerprint != reconstruction(of=of, share=0.1).fingerprint


def test_every_subset_has_its_share_of_anomalies() -> None:
    data = reconstruction()
    assert data.anomalies is not None
    for part in splits(data, range(5)):
        counts = [int(data.anomalies[rows].sum()) for rows in (part.train, part.validation, part.test)]
        assert counts == [54, 18, 18]


def test_a_linear_autoencoder_finds_the_principal_components(spec_of: Callable[..., Any], train_all: Callable[..., Any]) -> None:
    """Baldi & Hornik 1989: its optimum is the projection onto them."""
    given = {"dataset.of": "wine", "model.hidden": [], "model.decoder": [], "model.code": 4, "trainer.batch_size": 106}
    given |= {"trainer.epochs": 1500, "optimizer.lr": 0.02, "trainer.dtype": "float64"}
    (outcome,) = train_all([spec_of(**REAL, **given)])
    data = reconstruction(of="wine")
    part = split(data, seed=0)
    z = fit(data, part.train).inputs(data.x[part.train])
    components = PCA(4).fit(z)
    best = float(((components.inverse_transform(components.transform(z)) - z) ** 2).mean())
    assert outcome.metrics["train/loss"] == pytest.approx(best, rel=1e-3)
    assert outcome.metrics["train/loss"] >= best - 1e-12


def test_a_wider_code_keeps_more_and_finds_more_anomalies(spec_of: Callable[..., Any], train_all: Callable[..., Any]) -> None:
    codes = (2, 8)
    specs = [
        spec_of(seed=seed, **REAL, **{"model.code": code, "trainer.epochs": 40, "optimizer.lr": 0.003})
        for code in codes
        for seed in (0, 1)
    ]
    outcomes = train_all(specs)
    narrow, wide = outcomes[:2], outcomes[2:]
    for few, many in zip(narrow, wide, strict=True):
        assert many.metrics["test/r2"] > few.metrics["test/r2"] + 0.1 > 0.3
        assert many.metrics["test/anomaly_auroc"] > max(0.93, few.metrics["test/anomaly_auroc"])


def test_anomalies_decide_only_where_the_data_has_some(spec_of: Callable[..., Any], datasets: Any) -> None:
    with pytest.raises(InputError, match="metric=anomaly_auroc: diabetes does not say which rows are anomalies"):
        plan([spec_of(dataset="diabetes", metric="anomaly_auroc")], datasets)
    with pytest.raises(InputError, match="reconstruction does not say"):
        plan([spec_of(dataset="reconstruction", metric="anomaly_auroc", **{"dataset.share": 0.0})], datasets)


def test_the_distance_to_the_mean_is_the_baseline(call: Callable[..., Any]) -> None:
    found = call("-m", "dataset=reconstruction", "dataset.of=iris", "model=autoencoder", "seed=0,1", "metric=anomaly_auroc")
    assert found.code == 0
    assert [row["baseline"] for row in found.table if row["baseline"]] == ["mean"], "a line gives back any input"
    assert all(0.0 <= float(row["test/anomaly_auroc mean"]) <= 1.0 for row in found.table)


def test_anomalies_in_folds(spec_of: Callable[..., Any], train_all: Callable[..., Any]) -> None:
    """Their marks follow the rows when folds differ in size."""
    given = REAL | {"dataset.of": "iris", "dataset.folds": 4, "trainer.epochs": 2}
    specs = [spec_of(**given, **{"dataset.fold": fold}) for fold in range(4)]
    for spec, outcome in zip(specs, train_all(specs), strict=True):
        (alone,) = train_all([spec])
        assert outcome.metrics["test/anomaly_auroc"] == pytest.approx(alone.metrics["test/anomaly_auroc"], abs=1e-6)


# Forecasting


def test_the_last_value_is_the_naive_forecast() -> None:
    data = forecasting()
    part = split(data, seed=3)
    fold = Fold(data, part, fit(data, part.train))
    (row,), notes = beside(["naive"], {(3, None): fold}, "r2", {})
    assert notes == []
    last, true = data.x[part.test, -1], data.y[part.test, 0]
    assert row.metrics["test/rmse"] == pytest.approx(float(np.sqrt(((last - true) ** 2).mean())))
    assert row.metrics["test/mae"] == pytest.approx(float(np.abs(last - true).mean()))
    raw = Fold(data, part, fit(data, part.train, standardize=False, standardize_target=False))
    (same,), _ = beside(["naive"], {(3, None): raw}, "r2", {})
    assert same.metrics == pytest.approx(dict(row.metrics))


def test_a_network_beats_the_last_value(call: Callable[..., Any]) -> None:
    words = ["dataset=forecasting", "seed=range(0,5)", "trainer=default", "trainer.epochs=60", "model.hidden=[32]"]
    found = call("-m", *words, "optimizer.lr=0.01")
    rows = {row["baseline"]: row for row in found.table}
    assert set(rows) == {"", "mean", "naive", "seasonal", "linear"}
    assert float(rows[""]["test/r2 mean"]) > 0.9 > 0.5 > float(rows["naive"]["test/r2 mean"])
    assert rows["naive"]["verdict"].startswith("worse by")
    assert torch.tensor(float(rows["linear"]["test/r2 mean"])) > 0.2
