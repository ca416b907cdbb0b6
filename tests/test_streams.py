"""Random streams: pure functions of (seed, stream, epoch, step, part, index), uniform and independent."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from dlrun import streams

SEEDS = [0, 1, 2, 12345, (1 << 63) - 1]
# Output of SplitMix64 with seed 1234567: the test vector of https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64
GOLDEN = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]


Array = NDArray[Any]


def unsigned(words: Array) -> list[int]:
    return [int(word) % (1 << 64) for word in words.ravel()]


def test_bits_are_splitmix64_at_random_access() -> None:
    assert unsigned(streams.bits(np.array([1234567]), 5)) == GOLDEN


def test_derive_is_the_generators_output_too() -> None:
    key = np.array([1234567])
    assert [unsigned(streams.derive(key, number))[0] for number in range(5)] == GOLDEN


def mixed(word: int) -> int:
    """The finalizer of SplitMix64 in whole numbers."""
    for shift, multiplier in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        word = ((word ^ (word >> shift)) * multiplier) % (1 << 64)
    return word


def test_a_seed_of_any_size_is_hashed_as_a_whole_number() -> None:
    gamma, seeds = 0x9E3779B97F4A7C15, [0, 1, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 70, -1, 0x0123456789ABCDEF]
    hashed = [mixed((mixed((seed + gamma) % (1 << 64)) + 3 * gamma) % (1 << 64)) for seed in seeds]
    assert unsigned(streams.seeded(seeds, "order")) == hashed


def test_keys_are_the_steps_of_a_path() -> None:
    whole = streams.keys(SEEDS, "order", epoch=3, step=7, part=2)
    path = streams.derive(streams.derive(streams.derive(streams.seeded(SEEDS, "order"), 3), 7), 2)
    assert np.array_equal(whole, path)


def test_values_are_pinned() -> None:
    """Numbers drawn today are drawn for ever: stored results depend on them."""
    key = streams.keys([42], "order", epoch=1, step=2, part=3)
    assert unsigned(key) == [3679599537145089556]
    assert streams.permutations(key, 8).tolist() == [[7, 6, 1, 4, 3, 2, 5, 0]]
    assert streams.uniform(key, 2, np.float64).tolist() == [[0.3194699939686144, 0.9251292675842896]]
    assert streams.uniform(key, 2).tolist() == [[0.31946998834609985, 0.925129234790802]]


DRAWS = {
    "bits": lambda keys: streams.bits(keys, 37),
    "uniform": lambda keys: streams.uniform(keys, 37),
    "uniform64": lambda keys: streams.uniform(keys, 37, np.float64),
    "normal": lambda keys: streams.normal(keys, 37, np.float64),
    "bernoulli": lambda keys: streams.bernoulli(keys, 37, 0.3),
    "permutations": lambda keys: streams.permutations(keys, 37),
}


TENSORS = DRAWS | {
    "uniform64": lambda keys: streams.uniform(keys, 37, torch.float64),
    "normal": lambda keys: streams.normal(keys, 37, torch.float64),
}


@pytest.mark.parametrize("name", DRAWS)
def test_keys_that_are_a_tensor_draw_a_tensor_of_the_same_numbers(name: str) -> None:
    keys = streams.keys(SEEDS, "augment", epoch=1)
    drawn, tensor = DRAWS[name](keys), TENSORS[name](torch.from_numpy(keys))
    assert isinstance(tensor, Tensor)
    assert tensor.numpy().dtype == drawn.dtype
    if name == "normal":  # the logarithm and the cosine are the library's
        np.testing.assert_allclose(tensor.numpy(), drawn, rtol=1e-14)
    else:
        assert np.array_equal(tensor.numpy(), drawn)
    assert np.array_equal(streams.derive(torch.from_numpy(keys), 3).numpy(), streams.derive(keys, 3))


def test_a_column_of_probabilities_may_be_a_tensor() -> None:
    keys, column = streams.keys([0, 1, 2], "dropout"), np.array([0.1, 0.7, 0.1])
    drawn = streams.bernoulli(torch.from_numpy(keys), 1001, torch.from_numpy(column))
    assert np.array_equal(drawn.numpy(), streams.bernoulli(keys, 1001, column))


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_row_does_not_depend_on_its_neighbours(draw: Callable[[Array], Array]) -> None:
    seeds = list(range(100, 164))
    together = draw(streams.keys(seeds, "dropout", epoch=2, step=5))
    again = draw(streams.keys(list(reversed(seeds)), "dropout", epoch=2, step=5))[::-1]
    assert np.array_equal(together, again)
    for row in (0, 17, 63):
        assert np.array_equal(draw(streams.keys([seeds[row]], "dropout", epoch=2, step=5))[0], together[row])


@pytest.mark.parametrize("p", [0.0, 0.1, 0.25, 0.5, 0.999, 1.0])
def test_bernoulli_of_a_column_equals_that_of_a_number(p: float) -> None:
    keys = streams.keys([0, 1, 2], "dropout")
    column = np.array([p, 0.7, p])
    mixed = streams.bernoulli(keys, 1001, column)
    assert np.array_equal(mixed[[0, 2]], streams.bernoulli(keys, 1001, p)[[0, 2]])
    assert np.array_equal(mixed[1], streams.bernoulli(keys, 1001, 0.7)[1])


def test_all_places_have_their_own_key() -> None:
    """Seeds, streams, epochs, steps and parts never meet: 2,000 keys are 2,000 numbers."""
    found = np.concatenate(
        [
            streams.keys(range(5), stream, epoch=epoch, step=step, part=part)  # type: ignore[arg-type]
            for stream in streams.STREAMS
            for epoch, step, part in itertools.product(range(5), range(5), range(3))
        ]
    )
    assert len(np.unique(found)) == len(found) == 5 * len(streams.STREAMS) * 75


def neighbours() -> dict[str, tuple[Array, Array]]:
    n = 4096
    base = {"epoch": 0, "step": 0, "part": 0}

    def draw(seed: int = 0, stream: str = "order", **place: int) -> Array:
        found: Array = streams.uniform(streams.keys([seed], stream, **(base | place)), n, np.float64)[0]  # type: ignore[arg-type]
        return found

    zero = draw()
    pairs = {f"stream {stream}": (zero, draw(stream=stream)) for stream in streams.STREAMS if stream != "order"}
    pairs |= {f"{place}={value}": (zero, draw(**{place: value})) for place in ("epoch", "step", "part") for value in (1, 2, 64)}
    pairs |= {f"seed={seed}": (zero, draw(seed=seed)) for seed in (1, 2, 1 << 32)}
    pairs["epoch against step"] = (draw(epoch=1), draw(step=1))
    pairs["step against part"] = (draw(step=1), draw(part=1))
    pairs["lag 1"] = (zero[:-1], zero[1:])
    pairs["lag 64"] = (zero[:-64], zero[64:])
    return pairs


@pytest.mark.parametrize(("a", "b"), neighbours().values(), ids=neighbours())
def test_neighbouring_streams_are_independent(a: Array, b: Array) -> None:
    correlation = float(np.corrcoef(a, b)[0, 1])
    assert abs(correlation) < 4.5 / math.sqrt(len(a))
    # also beyond the linear: the pairs fill an 8 x 8 grid evenly
    cells = np.histogram2d(a, b, bins=8, range=[[0, 1], [0, 1]])[0]
    assert stats.chisquare(cells.ravel()).pvalue > 1e-5


def test_one_number_a_seed_is_uniform_over_seeds() -> None:
    """The first draw of each of many consecutive seeds: what initial weights of a sweep are made of."""
    first = streams.uniform(streams.keys(range(20_000), "init"), 1, np.float64).ravel()
    assert stats.kstest(first, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_uniform(dtype: Any) -> None:
    drawn = streams.uniform(streams.keys([7, 8], "augment"), 50_000, dtype)
    assert drawn.shape == (2, 50_000)
    assert drawn.dtype == dtype
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) < 1
    for row in drawn:
        assert stats.kstest(row.astype(np.float64), "uniform").pvalue > 1e-4


def test_uniform_float32_is_float64_rounded_down() -> None:
    keys = streams.keys([7], "augment")
    exact, rounded = streams.uniform(keys, 1000, np.float64), streams.uniform(keys, 1000).astype(np.float64)
    assert (rounded <= exact).all()
    assert (exact - rounded < 2.0**-24).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 50_001])
def test_normal(dtype: Any, n: int) -> None:
    drawn = streams.normal(streams.keys([7, 8], "init"), n, dtype)
    assert drawn.shape == (2, n)
    assert drawn.dtype == dtype
    assert np.isfinite(drawn).all()
    if n > 1:
        for row in drawn.astype(np.float64):
            assert stats.kstest(row, "norm").pvalue > 1e-4
            # radius and angle come from different halves: no trace of the pair is left
            half = len(row) // 2
            assert abs(np.corrcoef(np.abs(row[:half]), np.abs(row[half : 2 * half]))[0, 1]) < 0.03


@pytest.mark.parametrize("p", [0.0, 0.05, 0.5, 0.8, 1.0])
def test_bernoulli_share(p: float) -> None:
    n = 100_000
    share = streams.bernoulli(streams.keys([3], "dropout"), n, p).mean()
    assert abs(float(share) - p) <= 4.5 * math.sqrt(p * (1 - p) / n)


def test_bernoulli_neighbours_within_a_word_are_independent() -> None:
    """Four numbers share a hash."""
    mask = streams.bernoulli(streams.keys([3], "dropout"), 100_000, 0.5).reshape(-1, 4)
    correlation = np.corrcoef(mask.T) - np.eye(4)
    assert float(np.abs(correlation).max()) < 4.5 / math.sqrt(len(mask))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 100, 1 << 12, (1 << 12) + 1])
def test_permutations_hold_each_number_once(n: int) -> None:
    orders = streams.permutations(streams.keys(range(8), "order"), n)
    assert orders.dtype == np.int64
    assert np.array_equal(np.sort(orders, 1), np.tile(np.arange(n), (8, 1)))
    if n >= 100:
        assert len({tuple(order.tolist()) for order in orders}) == 8


def test_permutations_are_uniform() -> None:
    """All 24 orders of four, and every number equally often at every place."""
    orders = streams.permutations(streams.keys(range(24_000), "order", epoch=5), 4)
    codes = (orders * np.array([64, 16, 4, 1])).sum(1)
    counts = np.unique(codes, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-5
    orders = streams.permutations(streams.keys(range(20_000), "order"), 10)
    for place in range(10):
        assert stats.chisquare(np.bincount(orders[:, place], minlength=10)).pvalue > 1e-6


def test_permutations_of_equal_words_would_still_be_permutations() -> None:
    """The index in the low bits keeps words apart, at the cost of few random bits: also for numbers not a power of two."""
    orders = streams.permutations(streams.keys([0], "order"), 100_003)
    assert len(np.unique(orders)) == 100_003
    # no trend: place and number are uncorrelated
    assert abs(float(np.corrcoef(orders[0], np.arange(100_003))[0, 1])) < 0.02
