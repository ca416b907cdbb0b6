"""MNIST-1D: the published rows with their split, and the published accuracies."""

import sys
import types

import numpy as np
import pytest

import dlrun
from dlrun.data.sources.mnist1d import LENGTH, mnist1d
from dlrun.data.splits import splits


def test_the_rows_are_the_published_ones() -> None:
    """mnist1d_data.pkl of the authors' repository: first and last values, labels, and sums of all."""
    data = mnist1d()
    x = data.x[:, 0]
    assert x[0, :4].tolist() == pytest.approx([-0.33200567, -0.47191037, -0.77869708, -1.00974083], abs=1e-8)
    assert x[-1, -4:].tolist() == pytest.approx([0.44723289, 0.65987565, 0.87773435, 1.19315184], abs=1e-8)
    assert float(x[:4000].sum()) == pytest.approx(-51.78746787, abs=1e-6)
    assert float(np.abs(x[:4000]).sum()) == pytest.approx(118338.29510720, abs=1e-5)
    assert data.y[:10].tolist() == [2, 6, 4, 5, 6, 6, 6, 0, 3, 1]
    assert data.y[-10:].tolist() == [8, 3, 3, 6, 1, 2, 5, 9, 6, 4]
    assert np.bincount(data.y[4000:]).tolist() == [102, 104, 89, 106, 106, 98, 99, 96, 98, 102]
    assert np.array_equal(data.subset == 2, np.arange(5000) >= 4000)


def test_the_split_is_the_official_one_for_every_seed() -> None:
    for split in splits(mnist1d(rows=200), [0, 1], validation=0.0):
        assert split.sizes == (160, 0, 40)
        assert split.test.tolist() == [*range(160, 200)]
    first, second = splits(mnist1d(rows=200), [0, 1], validation=0.2)
    assert first.sizes == (128, 32, 40)
    assert np.array_equal(first.test, second.test)
    assert not np.array_equal(first.validation, second.validation)


def test_shuffled_values_are_the_same_values_in_one_order_for_all_rows() -> None:
    plain, shuffled = mnist1d(rows=50).x[:, 0], mnist1d(rows=50, shuffled=True).x[:, 0]
    order = [next(place for place in range(LENGTH) if np.allclose(plain[:, place], column)) for column in shuffled.T]
    assert sorted(order) == [*range(LENGTH)]
    assert order != [*range(LENGTH)]


@pytest.mark.slow
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("seed", [42, 7])
def test_the_package_makes_the_same_rows(seed: int, shuffled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """``pip install --no-deps mnist1d``; it imports what draws and downloads, which is not needed here."""
    for name in ("matplotlib", "matplotlib.pyplot", "requests"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    published = pytest.importorskip("mnist1d.data")
    settings = published.get_dataset_args()
    settings.seed, settings.shuffle_seq = seed, shuffled
    found, data = published.make_dataset(settings), mnist1d(seed=seed, shuffled=shuffled)
    x = np.concatenate([found["x"], found["x_test"]])
    assert np.abs(data.x[:, 0] - x).max() < 1e-9
    assert data.y.tolist() == [*found["y"], *found["y_test"]]


PUBLISHED = {"linear": (32, 32), "mlp": (68, 68), "cnn": (94, 56), "gru": (91, 57)}
"""Test accuracy in percent of the values in their order and shuffled: Greydanus & Kobak 2020, table 1."""


@pytest.mark.slow
@pytest.mark.parametrize("model", PUBLISHED)
def test_accuracies_are_the_published_ones(model: str, tmp_path: object) -> None:
    """Within two points of the published figure, as a mean of five seeds."""
    words = [f"experiment=mnist1d_{model}", "seed=range(0,5)", "baseline=none", f"output_dir={tmp_path}"]
    table = dlrun.sweep(*words, progress=False)
    assert 100 * table["test/accuracy"].mean() == pytest.approx(PUBLISHED[model][0], abs=2)
