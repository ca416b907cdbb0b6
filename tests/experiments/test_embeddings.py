"""Embeddings of pairs and triplets: the raw features as a baseline, and that learning sees past the light on an image."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from sklearn.metrics.pairwise import paired_cosine_distances
from sklearn.neighbors import NearestNeighbors

from dlrun.baselines.rows import Fold, beside
from dlrun.data.dataset import Data
from dlrun.data.preprocessing import fit
from dlrun.data.sources import real, relations
from dlrun.data.splits import splits
from dlrun.engine.components import Component
from dlrun.errors import DataError, InputError
from dlrun.experiments.planning.cohorts import Datasets, plan

SOURCES: dict[str, Callable[..., Data]] = {"pairs": relations.pairs, "triplets": relations.triplets}
MAIN = {"pairs": "auroc", "triplets": "recall@1"}
SEEDS = range(3)


def raw(data: Data) -> list[Any]:
    """The baseline's figures for each seed."""
    made = splits(data, SEEDS)
    folds = {(seed, None): Fold(data, part, fit(data, part.train)) for seed, part in zip(SEEDS, made, strict=True)}
    rows, notes = beside(["raw"], folds, MAIN[data.name], {})
    assert notes == []
    return rows


def recall(vectors: Any, classes: Any, metric: str) -> float:
    found = NearestNeighbors(n_neighbors=2, metric=metric).fit(vectors).kneighbors(return_distance=False)
    return float((classes[found[:, 0]] == classes).mean())


def test_raw_pairs_equal_scikit_learn() -> None:
    data = relations.pairs()
    assert data.members is not None
    for row, part in zip(raw(data), splits(data, SEEDS), strict=True):
        for subset in ("train", "validation", "test"):
            rows = getattr(part, subset)
            x = fit(data, part.train).inputs(data.x[rows])
            alike, score = data.y[rows, 0] > 0, 1 - paired_cosine_distances(x[:, 0], x[:, 1])
            expected = {
                "auroc": sk.roc_auc_score(alike, score),
                "average_precision": sk.average_precision_score(alike, score),
                "recall@1": recall(x.reshape(-1, 64), data.members[rows].ravel(), "cosine"),
            }
            assert {name: row.metrics[f"{subset}/{name}"] for name in expected} == pytest.approx(expected)


def test_raw_triplets_equal_scikit_learn() -> None:
    data = relations.triplets()
    for row, part in zip(raw(data), splits(data, SEEDS), strict=True):
        x = fit(data, part.train).inputs(data.x[part.test])
        distance = np.linalg.norm(x[:, :1] - x[:, 1:], axis=2)
        expected = {
            "recall@1": recall(x[:, 0], data.y[part.test], "euclidean"),
            "triplet_accuracy": (distance[:, 0] < distance[:, 1]).mean(),
        }
        assert {name: row.metrics[f"test/{name}"] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("name", SOURCES)
def test_a_trained_embedder_beats_the_raw_features(name: str, spec_of: Callable[..., Any], train_all: Callable[..., Any]) -> None:
    """With default settings, in each seed: by recall@1 and by everything else that is measured, by a tenth at the least."""
    given = {"dataset": name, "model": "embedder", "trainer": "default", "trainer.device": "cpu"}
    outcomes = train_all([spec_of(seed=seed, **given) for seed in SEEDS])
    for outcome, row in zip(outcomes, raw(SOURCES[name]()), strict=True):
        figures = {
            metric: value for metric, value in outcome.metrics.items() if metric.startswith("test/") and "loss" not in metric
        }
        assert "test/recall@1" in figures
        assert set(figures) <= set(row.metrics)
        for metric, value in figures.items():
            assert value > row.metrics[metric] + 0.1, metric


def test_the_raw_features_stand_in_the_table(call: Callable[..., Any]) -> None:
    found = call("-m", "dataset=pairs,triplets", "model=embedder", "seed=0,1")
    assert found.code == 0
    rows = {(row["dataset"], row["baseline"]): row for row in found.table}
    assert set(rows) == {(name, baseline) for name in SOURCES for baseline in ("", "raw")}
    assert all(0 < float(row["test/recall@1 mean"]) < 1 for row in rows.values())
    assert 0.4 < float(rows["pairs", "raw"]["test/auroc mean"]) < 0.8


def test_light_lies_in_three_directions_and_says_nothing_of_the_digit() -> None:
    digits = real.digits().x.reshape(-1, 64)
    known = {tuple(row): int(label) for row, label in zip(digits.tolist(), real.digits().y, strict=True)}
    for source in SOURCES.values():
        lit, plain = source(light=2.0), source(light=0.0)
        light = (lit.x - plain.x).reshape(-1, 64)
        assert int(np.linalg.matrix_rank(light, tol=1e-6)) == 3
        assert np.square(light).mean() == pytest.approx(3 * 2.0**2, rel=0.1)
        labels = [known[tuple(row)] for row in plain.x.reshape(-1, 64).tolist()]
        spread = np.stack([light[np.array(labels) == digit].mean(0) for digit in range(10)])
        assert np.abs(spread).max() < 1.5  # four standard errors: some 180 images of a digit, and a deviation of 4.8 in a corner
        if lit.members is None:
            assert labels[::3] == lit.y.tolist()
        else:
            assert labels == lit.members.flatten().tolist()


def test_pairs_without_classes_have_no_recall(spec_of: Callable[..., Any]) -> None:
    data = replace(relations.pairs(), members=None)
    assert data.facts == {}
    assert data.fingerprint != relations.pairs().fingerprint
    assert all("test/recall@1" not in row.metrics for row in raw(data))
    spec = spec_of(dataset="pairs", model="embedder", metric="recall@1")

    class Bare(Datasets):
        def load(self, part: Component) -> Data:
            return data

    with pytest.raises(InputError, match="pairs does not say the classes of the members of its pairs"):
        plan([spec], Bare())
    with pytest.raises(DataError, match=r"members must be int64 \[898, 2\], a class for each member, not int64 \[898\]"):
        replace(data, members=torch.zeros(898, dtype=torch.int64))
