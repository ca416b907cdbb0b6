"""Intervals of means for metrics of every shape, the best of several, and runs that are stuck."""

import csv
import io
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from dlrun.comparison.groups import comparison
from dlrun.comparison.summary import Stuck, stuck, summarize
from dlrun.comparison.table import Row, groups
from dlrun.report.columns import columns, legend
from dlrun.report.tables import full_table, to_csv

Draw = Callable[[np.random.Generator, tuple[int, int]], NDArray[np.float64]]
SHAPES: dict[str, tuple[tuple[float, float], float, Draw]] = {
    "normal": ((-math.inf, math.inf), 0.0, lambda rng, size: rng.standard_normal(size)),
    "lognormal": ((0.0, math.inf), math.exp(0.5), lambda rng, size: np.exp(rng.standard_normal(size))),
    "1 - lognormal": ((-math.inf, 1.0), 1 - math.exp(0.5), lambda rng, size: 1 - np.exp(rng.standard_normal(size))),
    "of 40 rows": ((0.0, 1.0), 0.95, lambda rng, size: rng.binomial(40, 0.95, size) / 40),
    "of 400 rows": ((0.0, 1.0), 0.99, lambda rng, size: rng.binomial(400, 0.99, size) / 400),
    "heavy tails": ((-math.inf, math.inf), 0.0, lambda rng, size: rng.standard_t(3, size)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("n", [5, 10, 20])
def test_intervals_cover_the_mean(shape: str, n: int) -> None:
    """In 93 to 97% of all cases; 800 of them here, so two standard errors are 1.5%."""
    within, mean, draw = SHAPES[shape]
    rounds = 800
    found = [summarize(values, within) for values in draw(np.random.default_rng(n), (rounds, n)).tolist()]
    covered = np.mean([one is not None and not (one.low > mean or one.high < mean) for one in found])
    assert 0.93 - 0.015 < covered < 0.97 + 0.015


def test_an_interval_far_from_its_bounds_is_students() -> None:
    values = (0.5 + 0.001 * np.random.default_rng(0).standard_normal(12)).tolist()
    plain = summarize(values)
    assert plain is not None
    for within in ((0.0, 1.0), (0.0, math.inf), (-math.inf, 1.0)):
        found = summarize(values, within)
        assert found is not None
        assert (found.low, found.high) == (pytest.approx(plain.low, abs=2e-6), pytest.approx(plain.high, abs=2e-6))


def test_the_intervals_by_hand() -> None:
    values = [1.0, 2.0, 4.0, 3.0, 9.0]
    found = summarize(values, (0.0, math.inf))
    logs = np.log(values)
    middle, variance = logs.mean() + logs.var(ddof=1) / 2, logs.var(ddof=1)
    half = 2.7764451 * math.sqrt(variance / 5 + variance**2 / 8)  # Student's t, 4 degrees of freedom
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(math.exp(middle - half)), pytest.approx(math.exp(middle + half)))
    shares = [0.9, 0.95, 1.0, 0.85, 0.95]
    bounded = summarize(shares, (0.0, 1.0))
    mean, error = np.mean(shares), np.std(shares, ddof=1) / math.sqrt(5)
    odds = math.log(mean / (1 - mean)) + 2.7764451 * error / (mean * (1 - mean))
    assert bounded is not None
    assert bounded.high == pytest.approx(1 / (1 + math.exp(-odds)))
    wider = summarize(values, ratio=0.25)
    assert wider is not None
    assert wider.high - wider.mean == pytest.approx(2.7764451 * wider.sd * math.sqrt(1 / 5 + 0.25))


def test_equal_accuracies_have_no_interval() -> None:
    """That five runs were right on all of 30 rows does not show that the next one will be."""
    found = summarize([1.0] * 5, (0.0, 1.0))
    assert found is not None
    assert math.isnan(found.low)
    epochs = summarize([5.0] * 5)
    assert epochs is not None
    assert (epochs.low, epochs.high) == (5.0, 5.0)


def test_a_metric_is_positive_where_all_of_the_table_is() -> None:
    def low(*values: list[float]) -> float:
        rows = [
            Row(f"{group}{seed}", "done", seed, None, {"a": str(group)}, {"test/loss": value})
            for group, mine in enumerate(values)
            for seed, value in enumerate(mine)
        ]
        return (
            next(group for group in groups(rows, "test/loss", higher_is_better=False) if group.factors.get("a", "0") == "0")
            .summaries["test/loss"]
            .low
        )

    skewed = [0.1, 0.2, 0.1, 0.3, 2.0]
    assert low(skewed, skewed) > 0
    assert low(skewed, [-1.0, *skewed[1:]]) < 0


@pytest.mark.parametrize("side", ["low", "high"])
def test_the_interval_of_the_best_allows_for_its_choice(side: str) -> None:
    rng = np.random.default_rng(0)
    plain = wide = 0
    rounds = 80
    for values in rng.standard_normal((rounds, 10, 8)):
        rows = [
            Row(f"{group} {seed}", "done", seed, None, {"a": str(group)}, {"test/score": value})
            for group, mine in enumerate(values.tolist())
            for seed, value in enumerate(mine)
        ]
        found = comparison(rows, "test/score", higher_is_better=side == "low")[0]
        its = found.group.summaries["test/score"]
        before = summarize(found.group.finite("test/score"))
        assert before is not None
        assert found.chosen == 10
        plain += before.low <= 0 <= before.high
        wide += its.low <= 0 <= its.high
    assert wide / rounds > 0.95 - 2 * (0.05 * 0.95 / rounds) ** 0.5
    assert plain / rounds < 0.9


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ([0.95, 0.96, 0.94, 0.95, 0.5], Stuck(1, 5, 0.5)),
        ([0.95, 0.96, 0.94, 0.95, 0.95, 0.96, 0.5, 0.52], Stuck(2, 8, 0.51)),
        ([0.5, 0.52, 0.5, 0.51, 0.95], None),
        ([0.95, 0.96, 0.94, 0.93, 0.91], None),
        ([1.0, 1.0, 1.0, 1.0, 0.95], None),
        ([0.95, 0.96, 0.5], None),
    ],
)
def test_runs_that_are_stuck(values: list[float], found: Stuck | None) -> None:
    assert stuck(values, higher_is_better=True) == found
    assert stuck([-value for value in values], higher_is_better=False) == (found and Stuck(found.count, found.runs, -found.near))


def test_normal_runs_are_seldom_called_stuck() -> None:
    rng = np.random.default_rng(0)
    for n, most in ((5, 0.05), (10, 0.01), (20, 0.005)):
        assert (
            np.mean([stuck(values, higher_is_better=True) is not None for values in rng.standard_normal((1000, n)).tolist()])
            <= most
        )


def test_the_row_says_how_many_runs_are_stuck() -> None:
    values = {"steady": [0.9, 0.91, 0.9, 0.92, 0.91], "sticky": [0.95, 0.96, 0.5, 0.95, 0.94]}
    rows = [
        Row(f"{name}{seed}", "done", seed, None, {"a": name}, {"test/accuracy": value})
        for name, mine in values.items()
        for seed, value in enumerate(mine)
    ]
    found = comparison(rows, "test/accuracy", higher_is_better=True)
    every = columns(found, "test/accuracy")
    assert {column.name: column.cells for column in every}["stuck"] == ("", "1 of 5 near 0.5")
    assert any(line.startswith("stuck runs are far worse") for line in legend(found, every))
    read = list(csv.DictReader(io.StringIO(to_csv(full_table(found, "test/accuracy")))))
    assert [line["stuck"] for line in read] == ["", "1 of 5 near 0.5"]
