"""The critical-difference diagram: whom its bars join, and where they stand."""

import jsonschema
import pytest

from dlrun.comparison.across import Across, across, described
from dlrun.report.charts.ranks import CRITICAL, ranks_chart, stacked

DEMSAR = {"C4.5+m+cf": 1.964, "C4.5+m": 2.0, "C4.5+cf": 2.893, "C4.5": 3.143}  # Demsar 2006, table 6, over 14 datasets


@pytest.mark.parametrize(
    ("critical", "bars"),
    [
        (1.12, [("C4.5+m+cf", "C4.5+m", "C4.5+cf"), ("C4.5+cf", "C4.5")]),  # 10% level: figure 1 (a)
        (1.25, [("C4.5+m+cf", "C4.5+m", "C4.5+cf", "C4.5")]),  # 5% level: no difference is found
        (0.01, []),
    ],
)
def test_bars_join_those_of_demsars_example(critical: float, bars: list[tuple[str, ...]]) -> None:
    assert Across(DEMSAR, 14, 0.02, critical).joined() == bars


def test_bars_in_one_row_never_meet() -> None:
    ranks = {name: float(place) for place, name in enumerate("abcdefg")}
    found = Across(ranks, 9, 0.0, 2.0)
    assert found.joined() == [tuple("abc"), tuple("bcd"), tuple("cde"), tuple("def"), tuple("efg")]
    assert stacked(found.joined(), ranks) == [[tuple("abc"), tuple("def")], [tuple("bcd"), tuple("efg")], [tuple("cde")]]


def test_who_is_not_on_every_dataset_is_named() -> None:
    found = across([{"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 1.0, "b": 2.0}, {"b": 1.0, "a": 2.0, "d": 0.0}], [True] * 3)
    assert found is not None
    assert found.left_out == ("c", "d")
    assert "not ranked, since some dataset has no mean of it: c, d" in described(found)


def test_the_chart_has_the_axis_marks_names_and_bars(validator: jsonschema.protocols.Validator) -> None:
    names = {label: f"<b>{label}" for label in DEMSAR}
    chart = ranks_chart(Across(DEMSAR, 14, 0.02, 1.12), names)
    assert not [*validator.iter_errors({**chart.spec, "datasets": {}})]
    points, critical, bars = chart.spec["datasets"].values()
    assert {row["row"]: row["x"] for row in points} == {names[label]: rank for label, rank in DEMSAR.items()}
    assert critical == [{"row": CRITICAL, "x": 1.0, "x2": 2.12}]
    assert [(row["x"], row["x2"]) for row in bars] == [(1.964, 2.893), (2.893, 3.143)]
    assert len({row["row"] for row in bars}) == 2, "they meet at C4.5+cf, so each has its own row"
    rows = chart.spec["layer"][0]["encoding"]["y"]["scale"]["domain"]
    assert [row.strip() for row in rows] == ["", "", *(names[label] for label in DEMSAR), CRITICAL]
    assert "<b>C4.5+m+cf 1.96, <b>C4.5+m 2.00" in chart.alt
    assert "Not told apart: <b>C4.5+m+cf, <b>C4.5+m, <b>C4.5+cf; <b>C4.5+cf, <b>C4.5." in chart.alt


def test_the_chart_has_the_first_of_many_groups() -> None:
    ranks = {f"g{place}": float(place) for place in range(1, 51)}
    chart = ranks_chart(Across(ranks, 9, 0.0, 25.0), {label: label for label in ranks})
    assert "The first 30 of 50 groups are shown." in chart.caption
    points, _, bars = chart.spec["datasets"].values()
    assert len(points) == 30
    assert max(row["x2"] for row in bars) == 30.0
    told = ranks_chart(Across({"a": 1.0, "b": 2.0}, 20, 0.0, 0.44), {"a": "a", "b": "b"})
    assert told.alt.endswith("Every two groups are told apart.")
    assert len(told.spec["datasets"]) == 2
