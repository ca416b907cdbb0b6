"""The synthetic sets with one difficulty each: what they promise in their docstrings."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from dlrun.data.dataset import Data
from dlrun.data.preprocessing import fit
from dlrun.data.sources import relations
from dlrun.data.sources.curves import forecasting, heteroscedastic
from dlrun.data.sources.images import shapes
from dlrun.data.sources.real import digits
from dlrun.data.sources.relations import pairs, triplets
from dlrun.data.sources.tables import imbalanced, multilabel, outliers, sparse_features
from dlrun.data.splits import split


def correlation(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def test_outliers_are_in_training_targets_alone() -> None:
    data = outliers(share=0.1, size=10.0)
    assert data.train_y is not None
    error = (data.train_y - data.y)[:, 0]
    wrong = error != 0
    assert wrong.sum() == 50
    assert np.abs(error[wrong]).min() >= 5.0
    assert np.abs(error[wrong]).max() <= 15.0
    assert 0 < (error > 0).sum() < 50
    residual = data.y - data.x @ np.linalg.lstsq(data.x, data.y)[0]
    assert abs(residual.std() - 0.2) < 0.03
    one_sided = outliers(one_sided=True)
    assert one_sided.train_y is not None
    assert (one_sided.train_y >= one_sided.y).all()
    assert np.array_equal(one_sided.y, data.y)
    assert np.array_equal(outliers(share=0.0).train_y, data.y)


def test_sparse_features_run_from_common_to_rare() -> None:
    data = sparse_features(rows=20000, features=50)
    frequency = data.x.mean(0)
    assert np.unique(data.x).tolist() == [0.0, 1.0]
    assert abs(frequency[0] - 0.5) < 0.02
    assert abs(frequency[-1] - 0.01) < 0.004
    assert 0.4 < data.y.mean() < 0.6
    model = LogisticRegression(C=1.0, max_iter=500).fit(data.x, data.y[:, 0])
    weight = np.abs(model.coef_[0])
    assert weight[-10:].mean() > 2 * weight[:10].mean()


def test_imbalanced_has_its_share_and_its_auroc() -> None:
    data = imbalanced(rows=2000, share=0.05)
    assert data.y.sum() == 100
    large = imbalanced(rows=40000, share=0.5, distance=2.0)
    assert large.y.sum() == 20000
    direction = large.x[large.y[:, 0] == 1].mean(0) - large.x[large.y[:, 0] == 0].mean(0)
    assert abs(np.linalg.norm(direction) - 2.0) < 0.05
    assert abs(roc_auc_score(large.y[:, 0], large.x @ direction) - norm.cdf(2 / 2**0.5)) < 0.01
    assert imbalanced(rows=20, share=0.01).y.sum() == 2


def test_labels_run_from_common_to_rare_and_go_together() -> None:
    data = multilabel(rows=1000, labels=5)
    assert data.y.mean(0).tolist() == pytest.approx([0.5, 0.4, 0.3, 0.2, 0.1])
    assert correlation(data.y[:, 0], data.y[:, 1]) > 0.1
    assert multilabel(rows=4, labels=3).y.sum(0).min() == 1


@pytest.mark.parametrize("foreground", [0.001, 0.05, 0.3])
@pytest.mark.parametrize("size", [8, 16, 33])
def test_shapes_cover_their_share(foreground: float, size: int) -> None:
    data = shapes(rows=600, size=size, foreground=foreground, noise=0.0)
    assert np.array_equal(data.x[:, 0], data.y)
    covered = data.y.sum((1, 2))
    assert covered.min() >= 1
    assert covered.mean() == pytest.approx(max(foreground * size**2, 1.0), rel=0.15)
    assert covered.max() <= 1.5 * foreground * size**2 + 4 * size**0.5 + 4


def test_forecasting_windows_share_no_observation() -> None:
    still = forecasting(rows=50, lags=4, horizon=2, noise=0.0)
    long = forecasting(rows=100, lags=2, horizon=1, noise=0.0)
    series = np.concatenate((long.x, long.y), 1).ravel()
    windows = series.reshape(50, 6)
    assert np.array_equal(still.x, windows[:, :4])
    assert np.array_equal(still.y, windows[:, 5:])
    one_step = forecasting(rows=200, lags=18, horizon=1, noise=0.0)
    past, now = one_step.x[:, 0], one_step.x[:, -1]
    assert np.allclose(one_step.y[:, 0], 0.9 * now + 0.2 * past / (1 + past**10), atol=1e-9)
    assert 0.2 < one_step.y.std() < 0.3


def test_heteroscedastic_quantiles() -> None:
    data = heteroscedastic(rows=20000, noise=0.5)
    x, y = data.x, data.y
    for tau in (0.1, 0.5, 0.9):
        quantile = np.sin(2 * np.pi * x) + 0.5 * (0.1 + 0.9 * x) * norm.ppf(tau)
        for part in (x < 0.3, x > 0.7):
            assert abs((y < quantile)[part].mean() - tau) < 0.02


def images_of(data: Data) -> list[tuple[float, ...]]:
    return [tuple(image.tolist()) for image in data.x.reshape(-1, data.shape[1])]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("source", "rows"), [(pairs, 898), (pairs, 5), (triplets, 599), (triplets, 2)])
def test_relations_hold(source: Callable[..., Data], rows: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original = digits()
    indexed = original.x.copy()
    indexed[:, 0, 0, 0] = np.arange(len(indexed))  # a mark on every image, in a pixel that is always empty
    marked = Data("digits", indexed, original.y, "multiclass", 10, ("ink",), ("digit",), original.classes)
    monkeypatch.setattr(relations, "digits", lambda: marked)
    data = source(rows=rows, seed=seed, light=0.0)
    member = data.x[:, :, 0].astype(np.int64)
    assert len(np.unique(member)) == member.size
    digit = original.y[member]
    if data.task == "similarity":
        same = digit[:, 0] == digit[:, 1]
        assert np.array_equal(same, data.y[:, 0] > 0)
        assert same.sum() == rows // 2
    else:
        assert np.array_equal(digit[:, 0], digit[:, 1])
        assert (digit[:, 0] != digit[:, 2]).all()
        assert np.array_equal(digit[:, 0], data.y)


def test_pairs_are_stratified() -> None:
    data = pairs()
    part = split(data, seed=0)
    assert abs(data.y[part.test].mean()) * len(part.test) <= 1
    assert fit(data, part.train).inputs(data.x).shape == data.x.shape
    assert len(set(images_of(triplets()))) > 1700
