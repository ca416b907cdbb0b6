"""How often the verdicts are wrong, by simulation: metrics of few values, and folds that share samples."""

from typing import Any

import numpy as np
import pytest

from dlrun.comparison.groups import Compared, comparison
from dlrun.comparison.statistics import summarize_differences, verdict, wilcoxon
from dlrun.comparison.table import Row
from dlrun.report.columns import columns, legend
from dlrun.report.tables import full_table, said

ROUNDS = 2000
METRIC = "test/accuracy"


def two_groups(a: list[float], b: list[float], *, same: bool = False, size: int = 30, **options: Any) -> list[Compared]:
    """Two groups with these accuracies on ``size`` samples; their losses agree where they are the same runs."""
    rows = [
        Row(
            f"{name}{seed}",
            "done",
            seed,
            None,
            {"group": name},
            {METRIC: value, "test/rows": float(size), "test/loss": 0.1 * seed + (0.0 if same else 0.01) * (name == "b")},
        )
        for name, values in (("a", a), ("b", b))
        for seed, value in enumerate(values)
    ]
    return comparison(rows, METRIC, higher_is_better=True, **options)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("margin", [None, 0.5])
@pytest.mark.parametrize("same", [False, True])
def test_few_pairs_are_never_equivalent(n: int, margin: float | None, same: bool) -> None:
    found = two_groups([0.9] * n, [0.9] * n, same=same, margin=margin)
    pairs = "1 pair" if n == 1 else f"{n} pairs"
    assert said(found[1]) == f"not enough evidence: {pairs}; run at least 5 seeds"


def test_equal_values_of_different_runs_are_equivalent_within_a_margin_alone() -> None:
    values = [0.9, 0.9, 1.0, 0.9, 0.9]
    assert said(two_groups(values, values, same=True)[1]) == "equivalent: identical in all 5 pairs"
    found = two_groups(values, values)
    assert said(found[1]) == (
        "not enough evidence: equal in all 5 pairs, not in other metrics; "
        "type margin=NUMBER, the largest difference that does not matter"
    )
    shown = {column.name: column.cells for column in columns(found, METRIC)}
    assert shown["verdict"][1] == "not enough evidence (equal in all 5 pairs)"
    assert legend(found, [])[-1].startswith("equal in all pairs, not in other metrics; type margin=NUMBER")
    assert said(two_groups(values, values, margin=0.05)[1]) == "equivalent within 0.05", "as advised"
    assert said(two_groups(values, values, margin=0.01)[1]) == "not enough evidence: about 4 more seeds would show equivalence"
    more = values + values[:4]
    assert said(two_groups(more, more, margin=0.01)[1]) == "equivalent within 0.01", "with as many seeds as advised"


def test_classifiers_that_differ_in_one_sample_of_three_pairs_are_not_equivalent() -> None:
    """Two that agree in 66% of pairs and differ by a sample of 30 in the others: 2 pairs are equal in 44% of all cases."""
    rng = np.random.default_rng(0)
    for n in (2, 3, 5):
        wrong = 0
        for disagree in rng.random((300, n)) < 0.34:
            b = 0.9 + disagree / 30
            wrong += "equivalent" in said(two_groups([0.9] * n, b.tolist())[1])
        assert wrong == 0


@pytest.mark.parametrize("n", [5, 6, 10, 20, 40])
@pytest.mark.parametrize("fraction", [0.3, 0.6, 0.9])
def test_a_difference_as_large_as_the_margin_is_seldom_called_equivalent(n: int, fraction: float) -> None:
    """Pairs that differ by one sample with probability ``fraction`` differ by this part of a step on average: the margin here."""
    rng = np.random.default_rng(n)
    step = 1 / 30
    differences = step * (rng.random((ROUNDS, n)) < fraction)
    kinds, counts = np.unique(differences.sum(1).round(9), return_counts=True)  # equal sums are equal samples
    wrong = 0
    for total, count in zip(kinds, counts, strict=True):
        hits = round(total / step)
        result = summarize_differences([step] * hits + [0.0] * (n - hits), scale=1.0, step=step)
        found = verdict(result, higher_is_better=True, margin=fraction * step, same_runs=False)
        wrong += int(count) if found.word == "equivalent" else 0
    assert wrong / ROUNDS <= 0.05 + 2 * (0.05 * 0.95 / ROUNDS) ** 0.5


def test_folds_that_share_samples_are_tested_by_the_corrected_t_test_alone() -> None:
    """Tenfold cross-validation, twice: two pairs correlate by test / (test + training), as Nadeau & Bengio have it.

    The signed-rank test takes them for independent, and calls equal groups different far too often.
    """
    rng = np.random.default_rng(0)
    n, ratio = 20, 1 / 9
    correlation = ratio / (1 + ratio)
    own, common = rng.standard_normal((1000, n)), rng.standard_normal((1000, 1))
    differences = (np.sqrt(1 - correlation) * own + np.sqrt(correlation) * common).tolist()
    results = [summarize_differences(mine, ratio=ratio) for mine in differences]
    assert {result.wilcoxon_p for result in results} == {None}
    assert np.mean([result.t_p is not None and result.t_p < 0.05 for result in results]) < 0.05 + 2 * (0.05 * 0.95 / 1000) ** 0.5
    assert np.mean([wilcoxon(mine) < 0.05 for mine in differences[:400]]) > 0.18


def test_the_column_of_wilcoxon_is_empty_over_folds() -> None:
    rows = [
        Row(f"{name}{fold}", "done", 0, fold, {"group": name}, {METRIC: 0.5 + 0.01 * fold * (name == "a")})
        for name in "ab"
        for fold in range(6)
    ]
    for ratio in (0.0, 0.2):
        table = full_table(comparison(rows, METRIC, higher_is_better=True, ratio=ratio), METRIC)
        cells = dict(zip(table.columns, table.rows[1], strict=True))
        assert cells["p (corrected)"] is not None
        assert (cells["p wilcoxon (Holm)"] is None) == (ratio > 0)
