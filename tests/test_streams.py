"""Random streams: pure functions of (seed, stream, epoch, step, part, index), uniform and independent."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from dlrun import streams

SEEDS = [0, 1, 2, 12345, (1 << 63) - 1]
# Output of SplitMix64 with seed 1234567: the test vector of https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64
GOLDEN = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]


def unsigned(words: Tensor) -> list[int]:
    return [int(word) % (1 << 64) for word in words.flatten()]


def test_bits_are_splitmix64_at_random_access() -> None:
    assert unsigned(streams.bits(torch.tensor([1234567]), 5)) == GOLDEN


def test_derive_is_the_generators_output_too() -> None:
    key = torch.tensor([1234567])
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
    assert torch.equal(whole, path)


def test_values_are_pinned() -> None:
    """Numbers drawn today are drawn for ever: stored results depend on them."""
    key = streams.keys([42], "order", epoch=1, step=2, part=3)
    assert unsigned(key) == [3679599537145089556]
    assert streams.permutations(key, 8).tolist() == [[7, 6, 1, 4, 3, 2, 5, 0]]
    torch.testing.assert_close(
        streams.uniform(key, 2, torch.float64), torch.tensor([[0.3194699939686144, 0.9251292675842896]], dtype=torch.float64)
    )


DRAWS = {
    "bits": lambda keys: streams.bits(keys, 37),
    "uniform": lambda keys: streams.uniform(keys, 37),
    "uniform64": lambda keys: streams.uniform(keys, 37, torch.float64),
    "normal": lambda keys: streams.normal(keys, 37, torch.float64),
    "bernoulli": lambda keys: streams.bernoulli(keys, 37, 0.3),
    "permutations": lambda keys: streams.permutations(keys, 37),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_row_does_not_depend_on_its_neighbours(draw: Callable[[Tensor], Tensor]) -> None:
    seeds = list(range(100, 164))
    together = draw(streams.keys(seeds, "dropout", epoch=2, step=5))
    again = draw(streams.keys(list(reversed(seeds)), "dropout", epoch=2, step=5)).flip(0)
    assert torch.equal(together, again)
    for row in (0, 17, 63):
        assert torch.equal(draw(streams.keys([seeds[row]], "dropout", epoch=2, step=5))[0], together[row])


@pytest.mark.parametrize("p", [0.0, 0.1, 0.25, 0.5, 0.999, 1.0])
def test_bernoulli_of_a_column_equals_that_of_a_number(p: float) -> None:
    keys = streams.keys([0, 1, 2], "dropout")
    column = torch.tensor([p, 0.7, p], dtype=torch.float64)
    mixed = streams.bernoulli(keys, 1001, column)
    assert torch.equal(mixed[[0, 2]], streams.bernoulli(keys, 1001, p)[[0, 2]])
    assert torch.equal(mixed[1], streams.bernoulli(keys, 1001, 0.7)[1])


def test_all_places_have_their_own_key() -> None:
    """Seeds, streams, epochs, steps and parts never meet: 2,000 keys are 2,000 numbers."""
    found = torch.cat(
        [
            streams.keys(range(5), stream, epoch=epoch, step=step, part=part)  # type: ignore[arg-type]
            for stream in streams.STREAMS
            for epoch, step, part in itertools.product(range(5), range(5), range(3))
        ]
    )
    assert len(found.unique()) == len(found) == 5 * len(streams.STREAMS) * 75


def neighbours() -> dict[str, tuple[Tensor, Tensor]]:
    n = 4096
    base = {"epoch": 0, "step": 0, "part": 0}

    def draw(seed: int = 0, stream: str = "order", **place: int) -> Tensor:
        return streams.uniform(streams.keys([seed], stream, **(base | place)), n, torch.float64)[0]  # type: ignore[arg-type]

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
def test_neighbouring_streams_are_independent(a: Tensor, b: Tensor) -> None:
    correlation = float(torch.corrcoef(torch.stack((a, b)))[0, 1])
    assert abs(correlation) < 4.5 / math.sqrt(len(a))
    # also beyond the linear: the pairs fill an 8 x 8 grid evenly
    cells = np.histogram2d(a.numpy(), b.numpy(), bins=8, range=[[0, 1], [0, 1]])[0]
    assert stats.chisquare(cells.flatten()).pvalue > 1e-5


def test_one_number_a_seed_is_uniform_over_seeds() -> None:
    """The first draw of each of many consecutive seeds: what initial weights of a sweep are made of."""
    first = streams.uniform(streams.keys(range(20_000), "init"), 1, torch.float64).flatten()
    assert stats.kstest(first.numpy(), "uniform").pvalue > 1e-4


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform(dtype: torch.dtype) -> None:
    drawn = streams.uniform(streams.keys([7, 8], "augment"), 50_000, dtype)
    assert drawn.shape == (2, 50_000)
    assert drawn.dtype == dtype
    assert float(drawn.min()) >= 0
    assert float(drawn.max()) < 1
    for row in drawn:
        assert stats.kstest(row.double().numpy(), "uniform").pvalue > 1e-4


def test_uniform_float32_is_float64_rounded_down() -> None:
    keys = streams.keys([7], "augment")
    exact, rounded = streams.uniform(keys, 1000, torch.float64), streams.uniform(keys, 1000).double()
    assert (rounded <= exact).all()
    assert (exact - rounded < 2.0**-24).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("n", [1, 50_001])
def test_normal(dtype: torch.dtype, n: int) -> None:
    drawn = streams.normal(streams.keys([7, 8], "init"), n, dtype)
    assert drawn.shape == (2, n)
    assert drawn.dtype == dtype
    assert drawn.isfinite().all()
    if n > 1:
        for row in drawn.double().numpy():
            assert stats.kstest(row, "norm").pvalue > 1e-4
            # radius and angle come from different halves: no trace of the pair is left
            half = len(row) // 2
            assert abs(np.corrcoef(np.abs(row[:half]), np.abs(row[half : 2 * half]))[0, 1]) < 0.03


@pytest.mark.parametrize("p", [0.0, 0.05, 0.5, 0.8, 1.0])
def test_bernoulli_share(p: float) -> None:
    n = 100_000
    share = streams.bernoulli(streams.keys([3], "dropout"), n, p).double().mean()
    assert abs(float(share) - p) <= 4.5 * math.sqrt(p * (1 - p) / n)


def test_bernoulli_neighbours_within_a_word_are_independent() -> None:
    """Four numbers share a hash."""
    mask = streams.bernoulli(streams.keys([3], "dropout"), 100_000, 0.5).view(-1, 4).double()
    correlation = torch.corrcoef(mask.T) - torch.eye(4)
    assert float(correlation.abs().max()) < 4.5 / math.sqrt(len(mask))


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 100, 1 << 12, (1 << 12) + 1])
def test_permutations_hold_each_number_once(n: int) -> None:
    orders = streams.permutations(streams.keys(range(8), "order"), n)
    assert orders.dtype == torch.int64
    assert torch.equal(orders.sort(1).values, torch.arange(n).expand(8, n))
    if n >= 100:
        assert len({tuple(order.tolist()) for order in orders}) == 8


def test_permutations_are_uniform() -> None:
    """All 24 orders of four, and every number equally often at every place."""
    orders = streams.permutations(streams.keys(range(24_000), "order", epoch=5), 4)
    codes = (orders * torch.tensor([64, 16, 4, 1])).sum(1)
    counts = torch.unique(codes, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts.numpy()).pvalue > 1e-5
    orders = streams.permutations(streams.keys(range(20_000), "order"), 10)
    for place in range(10):
        assert stats.chisquare(torch.bincount(orders[:, place], minlength=10).numpy()).pvalue > 1e-6


def test_permutations_of_equal_words_would_still_be_permutations() -> None:
    """The index in the low bits keeps words apart, at the cost of few random bits: also for numbers not a power of two."""
    orders = streams.permutations(streams.keys([0], "order"), 100_003)
    assert len(orders.unique()) == 100_003
    # no trend: place and number are uncorrelated
    assert abs(float(torch.corrcoef(torch.stack((orders[0].double(), torch.arange(100_003.0).double())))[0, 1])) < 0.02
