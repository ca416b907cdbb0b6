"""The forms of a check, on runs that are made up."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from dlrun.claims.checks import rank_correlation
from dlrun.claims.finding import Evidence, Finding
from dlrun.claims.forms import check_of
from dlrun.comparison.power import ALPHA
from dlrun.comparison.table import Row
from dlrun.errors import InputError

NOISE = (0.3, -0.2, 0.1, -0.4, 0.2, 0.0, 0.15, -0.15)


def rows(means: Mapping[str, Sequence[float]], factor: str = "activation") -> list[Row]:
    """A run for each value: option -> its values, seed by seed."""
    return [
        Row(f"{name} {seed}", "done" if math.isfinite(value) else "diverged", seed, None, {factor: name}, {"test/loss": value})
        for name, values in means.items()
        for seed, value in enumerate(values)
    ]


def finding(check: Mapping[str, Any], **datasets: list[Row]) -> Finding:
    weights = {"a": np.zeros(3), "b": np.array([0.0, 1e-7, 0.0]), "c": np.array([0.0, 1.0, 0.0])}
    functions = {"third": (1 / 3, 0.0, 0.5, 0), "large": (2.0, 0.0, 0.5, 0)}
    evidence = Evidence(datasets or {"moons": []}, functions.__getitem__, lambda run: weights[run.split()[0]])
    return check_of(check).finding(evidence, ALPHA)


@pytest.mark.parametrize(
    ("check", "word"),
    [
        ({"less": "low", "than": "high"}, "supported"),
        ({"more": "high", "than": "low"}, "supported"),
        ({"more": "low", "than": "high"}, "refuted"),
        ({"less": "low", "than": "near"}, "inconclusive"),
        ({"less": "low", "than": "near", "margin": 1.0}, "refuted"),
        ({"less": "low", "than": "high", "margin": 1.0}, "supported"),
        ({"more": "lost", "than": "low"}, "inconclusive"),
    ],
)
def test_a_difference_is_decided_by_paired_seeds(check: dict[str, Any], word: str) -> None:
    base = [1 + noise for noise in NOISE]
    values = {
        "low": base,
        "high": [value + 3 + noise for value, noise in zip(base, NOISE, strict=True)],
        "near": [value + noise for value, noise in zip(base, reversed(NOISE), strict=True)],
        "lost": [*[value + 3 for value in base[:-1]], math.nan],
    }
    found = finding({**check, "of": "test/loss"}, moons=rows(values))
    assert found.word == word
    if word != "inconclusive" and "margin" not in check:
        assert found.n == len(NOISE)
        assert found.low < found.figure < found.high
        assert "means" in found.text


@pytest.mark.parametrize(("form", "word"), [("rising", "supported"), ("falling", "refuted")])
def test_a_trend_is_a_rank_correlation_in_each_seed(form: str, word: str) -> None:
    table = [
        Row(f"{width} {seed}", "done", seed, None, {"model.width": width, "model": "mlp"}, {"test/loss": width + 3 * noise})
        for width in (1, 2, 4, 8)
        for seed, noise in enumerate(NOISE)
    ]
    found = finding({form: "test/loss", "along": "model.width"}, moons=table)
    assert found.word == word
    assert 0.5 < found.figure <= 1
    with pytest.raises(InputError, match="needs a number in three groups"):
        finding({form: "test/loss", "along": "model.width", "among": "cnn"}, moons=table)


def test_a_trend_that_is_none_is_refuted_and_a_weak_one_is_not_decided() -> None:
    flat = [
        Row(f"{width} {seed}", "done", seed, None, {"model.width": width}, {"test/loss": -width if seed % 2 else width})
        for width in (1, 2, 4, 8)
        for seed in range(8)
    ]
    assert finding({"rising": "test/loss", "along": "model.width"}, moons=flat).word == "inconclusive"
    none = [Row(row.id, "done", row.seed, None, row.factors, {"test/loss": 1.0}) for row in flat]
    assert finding({"rising": "test/loss", "along": "model.width"}, moons=none).word == "refuted"


@pytest.mark.parametrize(
    ("bounds", "word"), [([0.5, 1.5], "supported"), ([2, 3], "refuted"), ([1.0, 2.0], "inconclusive"), ([-9, 9], "supported")]
)
def test_a_mean_lies_within_bounds(bounds: list[float], word: str) -> None:
    table = rows({"low": [1 + noise for noise in NOISE], "high": [9.0] * len(NOISE)})
    assert finding({"within": bounds, "of": "test/loss", "among": "low"}, moons=table).word == word


@pytest.mark.parametrize(("up_to", "other", "word"), [(1e-6, "b", "supported"), (1e-6, "c", "refuted"), (2.0, "c", "supported")])
def test_weights_are_the_same_in_every_pair(up_to: float, other: str, word: str) -> None:
    table = rows({name: [0.0] * 5 for name in "abc"})
    for row in table:
        row.metrics["epochs"] = 1.0  # type: ignore[index]
    found = finding({"same": "a", "as": other, "of": "weights", "up_to": up_to}, moons=table)
    assert (found.word, found.n) == (word, 5)


@pytest.mark.parametrize(("name", "word"), [("third", "supported"), ("large", "refuted")])
def test_a_function_holds_between_its_bounds(name: str, word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlrun.claims.functions.described", lambda name: name)
    assert finding({"holds": name}, moons=[]).word == word


def test_one_of_several_datasets_is_named() -> None:
    low, high = [1 + noise for noise in NOISE], [4 + 2 * noise for noise in NOISE]
    tables = {"moons": rows({"a": low, "b": high}), "iris": rows({"a": high, "b": low})}
    check = {"less": "a", "than": "b", "of": "test/loss"}
    assert finding({**check, "data": "moons"}, **tables).word == "supported"
    assert finding({**check, "data": "iris"}, **tables).word == "refuted"
    for data in ("", "irs"):
        with pytest.raises(InputError, match="takes one of moons, iris"):
            finding({**check, "data": data}, **tables)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"better": "relu"}, "a check has one of the keys more, less"),
        ("relu", "a check has one of the keys"),
        ({"more": "relu", "than": "elu"}, "of: is missing beside more"),
        (
            {"more": "relu", "than": "elu", "of": "x", "marginn": 1},
            "marginn: is no key of a check with more; did you mean 'margin'",
        ),
        ({"within": [1], "of": "x"}, "takes two numbers"),
        ({"same": "a", "of": "x", "up_to": 1}, "as: is missing beside same"),
    ],
)
def test_a_check_that_cannot_be_read_is_named(content: Any, said: str) -> None:
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        check_of(content)


def test_rank_correlation_gives_ties_their_mean_rank() -> None:
    xs, ys = [1.0, 2.0, 2.0, 5.0, 7.0], [3.0, 1.0, 4.0, 4.0, 9.0]
    assert rank_correlation(xs, ys) == pytest.approx(0.763157894736842)  # scipy.stats.spearmanr of scipy 1.17
    assert rank_correlation(xs, [2.0] * 5) == 0
