"""Digits: those of each figure's own spread, whatever stands above and below it."""

import math

import pytest

from dlrun.comparison.figures import decimals, figures, short
from dlrun.comparison.groups import comparison
from dlrun.comparison.table import Row
from dlrun.report.columns import columns
from dlrun.report.tables import to_markdown

GOOD = [0.9358, 0.9455, 0.9502, 0.9561, 0.9599]
BAD = [-12632.0, 5.0, -310.0, -2.0, -221.0]


def shown(**groups: list[float]) -> dict[str, tuple[str, ...]]:
    rows = [
        Row(f"{name}{seed}", "done", seed, None, {"group": name}, {"test/r2": value, "test/mae": 10 * abs(value)})
        for name, values in groups.items()
        for seed, value in enumerate(values)
    ]
    found = comparison(rows, "test/r2", higher_is_better=True, metrics=["test/mae"])
    return {column.name: column.cells for column in columns(found, "test/r2", ["test/mae"])}


def test_a_group_far_off_takes_no_digits_from_the_others() -> None:
    alone, beside = shown(good=GOOD), shown(good=GOOD, bad=BAD)
    assert alone["r2"] == ("0.9495",)
    assert alone["95% CI"] == ("0.9362 to 0.9598",)
    for name in ("r2", "sd", "median", "min", "max", "mae"):
        assert beside[name][0] == alone[name][0], name
    assert [part.strip() for part in beside["95% CI"][0].split("to")] == ["0.9322", "0.9598"], "it is the best of two"
    assert beside["r2"][1] == "-2632"
    assert beside["sd"][1] == "5592"
    assert (beside["median"][1], beside["min"][1], beside["max"][1]) == ("-221.0", "-12632", "5.000")
    text = to_markdown([(name, cells, True) for name, cells in beside.items()])
    assert "| 0.9495 | 0.0094 |" in text
    assert "| -2632 | 5592 |" in text


def test_a_steady_group_has_the_digits_that_tell_its_runs_apart() -> None:
    found = shown(steady=[0.900010, 0.900012, 0.900018])
    assert (found["r2"], found["sd"]) == (("0.9000133",), ("4.163e-06",))


@pytest.mark.parametrize(
    ("value", "sd", "places"),
    [
        (0.5, math.nan, 4),
        (0.5, 0.1, 4),
        (123.456, math.nan, 1),
        (123.456, 0.05, 3),
        (0.0003, 0.1, 4),
        (3.2, 5000.0, 0),
        (-2632.0, 5000.0, 0),
        (0.0, 0.0, 4),
        (0.9, 1e-12, 7),
        (None, math.nan, 4),
        (math.nan, math.nan, 4),
    ],
)
def test_decimals(value: float | None, sd: float, places: int) -> None:
    assert decimals(value, sd) == places


@pytest.mark.parametrize(("value", "text"), [(0.17234, "0.172"), (-2632.5, "2632"), (123.4, "123"), (1e9, "1e+09"), (0.0, "0")])
def test_the_size_of_a_difference(value: float, text: str) -> None:
    assert short(value) == text


def test_a_figure_that_rounds_to_zero_has_no_sign() -> None:
    assert figures([-0.00001, 0.5], [4, 4]) == ("0.0000", "0.5000")


def test_what_is_left_of_a_perfect_fit_is_nothing() -> None:
    values, spreads = [54.3, 3.1e-15], [0.61, 4.2e-16]
    places = [decimals(value, spread) for value, spread in zip(values, spreads, strict=True)]
    assert figures(values, places) == ("54.30", "0.00000000")
