"""The short dose of benchmarks/simulate.py: error, coverage and power as docs/statistics.md has them, by fewer simulations."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROUNDS = 60


@pytest.fixture(scope="module")
def simulate() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("simulate", Path(__file__).parents[2] / "benchmarks" / "simulate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["simulate"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["simulate"]


def most(fraction: float, rounds: int = ROUNDS) -> float:
    """What a fraction of so many simulations hardly ever exceeds."""
    return float(fraction + 2.5 * (fraction * (1 - fraction) / rounds) ** 0.5)


@pytest.mark.parametrize("shape", ["normal", "lognormal", "accuracy, 40 rows", "accuracy, 400 rows", "heavy tails (t, 3 df)"])
def test_equal_groups_are_seldom_called_different(simulate: ModuleType, shape: str) -> None:
    assert simulate.false_verdicts(shape, 10, ROUNDS) <= most(0.05)


def test_intervals_hold_the_truth(simulate: ModuleType) -> None:
    mean, difference = simulate.coverage("normal", 10, ROUNDS)
    assert 1 - mean <= most(0.05)
    assert 1 - difference <= most(0.05)


def test_a_lead_is_found_as_far_as_the_seeds_allow(simulate: ModuleType) -> None:
    assert simulate.power("normal", 20, 20)[0] > 0.7
    assert simulate.power("normal", 5, 20)[0] < 0.9


def test_folds_that_share_rows(simulate: ModuleType) -> None:
    assert simulate.folds(True, 2, ROUNDS) <= most(0.05)


def test_more_splits_of_the_same_rows_say_nothing_on_new_rows(simulate: ModuleType) -> None:
    here, beyond = simulate.twins(30, 1, 25)
    assert here > 0.2, "the learners do differ on these rows"
    assert beyond <= most(0.05, 25)


def test_testing_again_one_seed_at_a_time_finds_what_is_not_there(simulate: ModuleType) -> None:
    _, single = simulate.repeated(40, 2, most=16)
    assert single > 0.05


@pytest.mark.parametrize("shape", ["A/A normal", "A/A lognormal", "A/A accuracy, 40 rows", "A/A heavy tails (t, 3 df)"])
def test_settle_errs_seldom_though_it_looks_after_every_seed(simulate: ModuleType, shape: str) -> None:
    assert simulate.settled_falsely(shape, 200, most=500) <= most(0.05, 200)


@pytest.mark.parametrize("shape", ["skewed: lognormal, sd of the log 1", "one run of ten sticks, the other group is steady"])
def test_settle_where_differences_are_far_from_normal(simulate: ModuleType, shape: str) -> None:
    assert simulate.settled_falsely(shape, 200, most=500) <= most(0.055, 200), "about 5%, see docs/statistics.md"


def test_settle_needs_no_more_than_thirty_seeds_for_a_difference_of_one_sd(simulate: ModuleType) -> None:
    seeds, rightly = simulate.seeds_needed(1.0, 200, most=200)
    assert seeds <= 30
    assert rightly == 1.0
    assert simulate.seeds_needed(1.0, 200, pairs=10, most=200)[0] <= 30
    assert simulate.equivalent_falsely(200, 0.4) <= most(0.05, 200)
