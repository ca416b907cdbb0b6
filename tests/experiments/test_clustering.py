"""Clustering: k-means of codes, against scikit-learn's on the same codes; the classes take no part in training."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from dlrun import streams
from dlrun.baselines.rows import Fold, beside
from dlrun.data.clustering import for_task, without_classes
from dlrun.data.kmeans import STARTS, centres, nearest
from dlrun.data.preprocessing import fit
from dlrun.data.sources.clusters import clusters
from dlrun.data.sources.real import digits, iris
from dlrun.data.sources.sequences import sentences
from dlrun.data.sources.tables import multilabel
from dlrun.data.splits import split
from dlrun.engine.trainer import fit as train
from dlrun.errors import DataError, InputError
from dlrun.experiments.planning.cohorts import plan

SMALL = {"dataset": "clusters", "dataset.rows": 240, "model": "autoencoder", "trainer.max_steps": None, "trainer.epochs": 4}


def state_of(seed: int) -> int:
    return int(streams.keys([seed], "cluster")[0]) & 0xFFFFFFFF


def figures(train_codes: Any, codes: Any, known: Any, count: int, seed: int) -> tuple[float, float]:
    """scikit-learn's k-means of training codes, and its agreement with classes on others."""
    found = KMeans(count, n_init=STARTS, random_state=state_of(seed)).fit(train_codes).predict(codes)
    return adjusted_rand_score(known, found), normalized_mutual_info_score(known, found)


def test_figures_of_a_run_are_those_of_k_means_of_its_codes(spec_of: Callable[..., Any], datasets: Any) -> None:
    """By hand, from the weights: the code is what the narrow linear layer puts out."""
    (planned,) = plan([spec_of(seed=seed, **SMALL) for seed in (0, 1, 2)], datasets)
    cohort = planned.cohort
    assert cohort.data.known is not None
    for run, outcome in zip(cohort.runs, train(cohort), strict=True):
        part = cohort.splits[run.split]
        w = {name: torch.from_numpy(value).double() for name, value in outcome.weights.items()}
        x = torch.from_numpy(cohort.preprocessing[run.split].inputs(cohort.data.x)).float().double()
        codes = ((x @ w["0.weight"] + w["0.bias"]).relu() @ w["2.weight"] + w["2.bias"]).numpy()
        assert codes.shape[1] == 8
        for subset in ("train", "test"):
            rows = getattr(part, subset)
            ari, nmi = figures(codes[part.train], codes[rows], cohort.data.known[rows], 6, run.seed)
            assert outcome.metrics[f"{subset}/ari"] == pytest.approx(ari, abs=0.02)
            assert outcome.metrics[f"{subset}/nmi"] == pytest.approx(nmi, abs=0.02)
        assert list(outcome.history) == ["epoch", "train/loss", "validation/loss"], "k-means waits for the end"


def test_classes_take_no_part_in_training(spec_of: Callable[..., Any], datasets: Any) -> None:
    """With other classes, on the same rows, every weight has the same bits."""
    (planned,) = plan([spec_of(seed=3, **SMALL)], datasets)
    cohort = planned.cohort
    assert cohort.data.known is not None
    other = replace(cohort, data=replace(cohort.data, known=np.arange(240) % 5))
    (first,), (second,) = train(cohort), train(other)
    assert first.weights.keys() == second.weights.keys()
    assert all(np.array_equal(value, second.weights[name]) for name, value in first.weights.items())
    assert first.history == second.history
    assert first.metrics["test/loss"] == second.metrics["test/loss"]
    assert first.metrics["test/ari"] != second.metrics["test/ari"]


def test_a_run_has_the_same_figures_in_any_company(spec_of: Callable[..., Any], train_all: Callable[..., Any]) -> None:
    specs = [spec_of(seed=seed, optimizer=optimizer, **SMALL) for seed in (0, 1) for optimizer in ("adam", "sgd")]
    for spec, outcome in zip(specs, train_all(specs), strict=True):
        (alone,) = train_all([spec])
        assert alone.metrics == pytest.approx(outcome.metrics)


def test_baselines_are_k_means_of_features_and_of_principal_components() -> None:
    data = clusters(rows=240)
    assert data.known is not None
    part = split(data, seed=4)
    scaling = fit(data, part.train)
    rows, notes = beside(["auto"], {(4, None): Fold(data, part, scaling)}, "ari", {})
    assert notes == []
    x = scaling.inputs(data.x)
    components = PCA(5).fit(x[part.train]).transform(x)
    for row, codes in zip(rows, (x, components), strict=True):
        ari, nmi = figures(codes[part.train], codes[part.test], data.known[part.test], 6, 4)
        assert row.metrics["test/ari"] == pytest.approx(ari, abs=0.02), row.factors
        assert row.metrics["test/nmi"] == pytest.approx(nmi, abs=0.02)
    assert [row.factors["baseline"] for row in rows] == ["raw", "pca"]


def test_any_data_with_classes_is_taken(spec_of: Callable[..., Any], datasets: Any) -> None:
    for name, count in (("digits", 10), ("breast_cancer", 2)):
        (planned,) = plan([spec_of(dataset=name, model="autoencoder", **{"dataset.task": "clustering"})], datasets)
        data = planned.cohort.data
        assert (data.task, data.clusters, data.classes) == ("clustering", count, ())
        assert np.array_equal(data.y, data.x.reshape(len(data), -1))
        assert data.known is not None
        assert len(np.unique(data.known)) == count
        assert data.labels is data.known, "subsets have equal shares of each class"


def test_the_number_of_clusters_is_a_setting(spec_of: Callable[..., Any], datasets: Any) -> None:
    (planned,) = plan([spec_of(**SMALL, **{"dataset.clusters": 3})], datasets)
    assert planned.cohort.data.clusters == 3
    assert for_task(iris(), "clustering", 7).clusters == 7
    assert for_task(without_classes(iris(), 7), "clustering").clusters == 7
    assert without_classes(iris(), 7).fingerprint != without_classes(iris()).fingerprint
    with pytest.raises(InputError, match=r"dataset\.clusters=200: more than the 144 training rows; take fewer clusters"):
        plan([spec_of(**SMALL, **{"dataset.clusters": 200})], datasets)
    with pytest.raises(InputError, match=r"dataset\.clusters=1: must be a whole number of at least 2|dataset\.clusters=1"):
        spec_of(**SMALL, **{"dataset.clusters": 1})


def test_what_cannot_be_clustered_is_refused(spec_of: Callable[..., Any], datasets: Any) -> None:
    for source in (multilabel, sentences):
        with pytest.raises(DataError, match="clusters are compared with a class for each row of numbers"):
            without_classes(source())
    x = iris().x.copy()
    x[3, 0] = np.nan
    with pytest.raises(DataError, match="1 rows of iris have missing values"):
        without_classes(replace(iris(), x=x))
    with pytest.raises(InputError, match=r"the data is for multiclass; type dataset\.task=multiclass"):
        for_task(iris(), "regression")
    with pytest.raises(InputError, match="loss=cross_entropy: does not serve clustering data"):
        spec_of(loss="cross_entropy", **SMALL)


def test_the_code_is_the_narrow_layer_or_the_last_hidden_one(spec_of: Callable[..., Any], datasets: Any) -> None:
    from dlrun.engine.step import TrainStep

    def width(**given: Any) -> int:
        (planned,) = plan([spec_of(**({"dataset": "clusters"} | given))], datasets)
        step = TrainStep(planned.cohort.runs, planned.cohort.data, planned.cohort.settings)
        step.bind(step.fresh())
        return step.codes(torch.zeros(1, 2, *planned.cohort.data.sample)).shape[2]

    assert width(model="autoencoder", **{"model.code": 3}) == 3
    assert width(model="autoencoder", **{"model.code": 3, "model.hidden": [], "model.decoder": []}) == 3
    assert width(model="mlp", **{"model.hidden": [40, 7]}) == 7
    assert width(model="linear") == 60
    assert width(model="cnn", dataset="digits", **{"dataset.task": "clustering", "model.hidden": [9]}) == 9


def test_codes_that_are_not_finite_are_in_no_cluster() -> None:
    codes = np.random.default_rng(0).normal(size=(3, 30, 2))
    codes[1, 4], codes[2, 7] = np.nan, np.inf
    middle = centres(codes, 3, [0, 1, 2])
    assert np.isfinite(middle[0]).all()
    assert np.isnan(middle[1:]).all()
    found = nearest(codes, middle)
    assert np.unique(found[0]).tolist() == [0, 1, 2]
    assert np.unique(found[1:]).tolist() == [-1]


def test_a_sweep_is_compared_by_it(call: Callable[..., Any]) -> None:
    words = ["dataset=clusters", "dataset.rows=90", "model=autoencoder", "model.code=2,6", "seed=0,1", "trainer.epochs=2"]
    found = call("-m", *words)
    assert found.code == 0, found.err
    assert {row["baseline"] for row in found.table} == {"", "raw", "pca"}
    assert all(-0.5 <= float(row["test/ari mean"]) <= 1.0 for row in found.table)


def test_digits_of_a_csv_and_early_stopping_by_agreement(call: Callable[..., Any], tmp_path: Any) -> None:
    """A user's own table; what stops training early is measured after each epoch."""
    source = digits()
    lines = [",".join([*(f"p{i}" for i in range(64)), "digit"])]
    for x, y in zip(source.x.reshape(-1, 64)[:120].tolist(), source.y[:120].tolist(), strict=True):
        lines.append(",".join([*map(str, map(int, x)), str(y)]))
    (tmp_path / "own.csv").write_text("\n".join(lines) + "\n")
    words = ["dataset=csv", "dataset.path=own.csv", "dataset.target=digit", "dataset.task=clustering", "model=autoencoder"]
    stop = ["regularizer=[early_stopping]", "regularizer.early_stopping.metric=ari", "trainer.epochs=3"]
    found = call(*words, *stop)
    assert found.code == 0, found.err
    assert "10 clusters, and no model is told" in found.out + found.err


def test_an_absolute_loss_finds_groups_behind_gross_errors(spec_of: Callable[..., Any], train_all: Callable[..., Any]) -> None:
    """Where one value in fifty has a gross error, codes of a robust autoencoder are better than features and components."""
    how = {"activation": "tanh", "model.code": 4, "trainer.max_steps": None, "trainer.epochs": 60}
    specs = [
        spec_of(dataset="clusters", model="autoencoder", loss=loss, seed=seed, **how)
        for loss in ("mae", "mse")
        for seed in (0, 1)
    ]
    found = [outcome.metrics["test/ari"] for outcome in train_all(specs)]
    robust, squared = sum(found[:2]) / 2, sum(found[2:]) / 2
    data = clusters()
    folds = {}
    for seed in (0, 1):
        part = split(data, seed=seed)
        folds[seed, None] = Fold(data, part, fit(data, part.train))
    rows, _ = beside(["raw", "pca"], folds, "ari", {})
    best = max(
        sum(float(row.metrics["test/ari"] or 0) for row in rows if row.factors["baseline"] == name) / 2 for name in ("raw", "pca")
    )
    assert robust > best + 0.1 > squared
