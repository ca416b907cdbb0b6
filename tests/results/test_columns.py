"""The table that a person reads: its figures, its verdicts, and what goes where room is short."""

from itertools import pairwise
from typing import Any

import pytest

from dlrun.comparison.groups import Compared, comparison
from dlrun.comparison.table import Row
from dlrun.report.columns import Column, columns, figures, fitting, legend, said


def compared(*groups: list[float], metric: str = "test/accuracy", folds: bool = False, **options: Any) -> list[Compared]:
    """Groups a, b, c, ... of runs with these values, one for each seed or fold."""
    rows = [
        Row(f"{name}{place}", "done", 0 if folds else place, place if folds else None, {"group": name}, {metric: value})
        for name, values in zip("abc", groups, strict=False)
        for place, value in enumerate(values)
    ]
    return comparison(rows, metric, higher_is_better=True, **options)


def shown(found: list[Compared], metric: str = "test/accuracy") -> dict[str, tuple[str, ...]]:
    return {column.name: column.cells for column in columns(found, metric)}


def test_both_ends_of_an_interval_have_the_decimals_of_the_mean():
    found = shown(compared([0.95, 0.9, 0.92], [0.5, 0.1, 0.6]))
    assert found["accuracy"] == ("0.9233", "0.4000")
    assert found["95% CI"] == ("0.8332 to 0.9858", "0.0000 to 1.0000"), "no accuracy is below 0 or above 1"
    found = shown(compared([0.95, 0.9], [-200.0, -1.0], metric="test/r2"), "test/r2")
    assert found["r2"] == ("0.9250", "-100.5")
    assert found["95% CI"] == (" 0.2887 to 1.0000", "-1364.8 to    1.0")


@pytest.mark.parametrize(
    ("values", "cells"),
    [
        ([0.5, -6.781e-08, 0.0], ("0.5000", "0.0000", "0.0000")),
        ([900.0, 0.0012], ("900.0", "0.0012")),
        ([12345.6, 0.5], ("12346", "0.5000")),
        ([2e-5, 1e-7], ("2e-05", "1e-07")),
        ([3e9, 0.25], ("3e+09", "0.2500")),
        ([0.0, float("nan"), None], ("0.0000", "", "")),
    ],
)
def test_numbers_of_which_no_spread_is_known(values: list[float | None], cells: tuple[str, ...]):
    assert figures(values) == cells


@pytest.mark.parametrize(
    ("differences", "options", "words"),
    [
        ([0.1], {}, "not enough evidence (run 5 seeds)"),
        ([0.1, 0.1], {}, "not enough evidence (run 5 seeds)"),
        ([0.1, 0.1, 0.1], {"folds": True, "ratio": 0.5}, "not enough evidence (run 5 folds)"),
        ([0.1] * 5, {}, "not enough evidence (+1 seed)"),
        ([0.1] * 6, {}, "worse by 0.1"),
        ([0.0] * 6, {}, "equivalent"),
        ([0.1, -0.05, 0.02, 0.0, 0.0], {}, "not enough evidence (+117 seeds)"),
        ([0.1, -0.1, 0.1, -0.08, 0.0], {}, "not enough evidence (more than 1,000 seeds)"),
        ([0.1, -0.1, 0.1, -0.1, 0.00001], {}, "not enough evidence (more seeds will not help)"),
        ([0.1, -0.1, 0.1, -0.09, 0.0], {"folds": True, "ratio": 0.25}, "not enough evidence (more folds share the same samples)"),
    ],
)
def test_verdicts_in_a_few_words(differences: list[float], options: dict[str, Any], words: str):
    found = compared([0.5 + d for d in differences], [0.5] * len(differences), **options)
    assert shown(found)["verdict"] == ("best of yours", words)


def test_what_the_verdicts_rest_on():
    a, b, c = [0.5, 0.7, 0.6, 0.5, 0.6], [0.5, 0.6, 0.5, 0.52, 0.6], [0.1, 0.2, 0.1, 0.15, 0.2]

    def legend_of(*groups: list[float], **options: Any) -> list[str]:
        found = compared(*groups, **options)
        return legend(found, columns(found, "test/accuracy"))

    assert legend_of(a, b, c) == [
        "each against the best of yours, seed by seed: paired t-test, 5% level, "
        "Tukey-corrected for 3 comparisons: any group might have been the best",
        "verdicts are about this data, over random splits and initial weights",
        "+N: about so many more seeds would probably settle it, at 80% power; dlrun settle adds and tests them",
        "5 seeds may all miss what fewer than 45% of runs do, such as getting stuck",
        "the best is the best of 3 by these values: its interval allows for that, its mean is likely too good",
    ]
    assert legend_of(a, c) == [
        "each against the best of yours, seed by seed: paired t-test, 5% level",
        "verdicts are about this data, over random splits and initial weights",
        "5 seeds may all miss what fewer than 45% of runs do, such as getting stuck",
        "the best is the best of 2 by these values: its interval allows for that, its mean is likely too good",
    ]
    assert legend_of(a, c, folds=True, ratio=0.25)[0] == (
        "each against the best of yours, fold by fold: paired t-test, 5% level, corrected for the samples that folds share"
    )
    assert legend_of(a) == []


def test_what_is_left_out_first():
    def names(width: float) -> list[str]:
        return [f"{column.name}{len(column.shorter) or ''}" for column in fitting(every, width, 2)]

    found = compared([0.5, 0.7, 0.6, 0.5, 0.6], [0.5, 0.6, 0.5, 0.52, 0.6])
    every = [*columns(found, "test/accuracy"), Column("f1", ("0.5", "0.6"), 4)]
    needed = sum(column.width + 2 for column in every) - 2
    order = [names(float("inf"))]
    for width in range(needed, 0, -1):
        if names(width) != order[-1]:
            order.append(names(width))
    assert order[0] == ["group", "n", "accuracy", "sd", "95% CI", "median", "min", "max", "verdict2", "f1"]
    lost = [next(name for name in before if name not in after) for before, after in pairwise(order)]
    assert lost == ["max", "min", "median", "f1", "verdict2", "verdict1", "sd", "95% CI"], "the aside of a verdict goes before sd"
    assert order[-1] == ["group", "n", "accuracy", "verdict"]
    assert said(found[1])[1].startswith("+")
