"""How much factors matter, and ranks over datasets: exact where the answer is known, none where nothing is there."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from dlrun.comparison.across import across
from dlrun.comparison.effects import SEEDS, Effects, effects
from dlrun.comparison.table import Group, Row, groups
from dlrun.experiments import importance as importance_module
from dlrun.experiments.importance import importance


def table(values: Any, seeds: int = 4, drop: int = 0) -> list[Group]:
    """Groups of a grid: values(activation, optimizer, seed)."""
    rows = [
        Row(f"{a} {b} {seed}", "done", seed, None, {"activation": a, "optimizer": b}, {"test/r2": float(values(i, j, seed))})
        for i, a in enumerate(("relu", "tanh", "gelu"))
        for j, b in enumerate(("sgd", "adam"))
        for seed in range(seeds)
    ]
    return groups(rows[drop:], "test/r2", higher_is_better=True)


def shares(found: Effects | None) -> dict[str, float]:
    assert found is not None
    return {effect.name: effect.share for effect in found.effects}


def test_what_adds_up_is_shared_by_its_variance() -> None:
    found = shares(effects(table(lambda i, j, seed: i + 3 * j + 0.5 * seed), "test/r2"))
    each = {"activation": np.var([0, 1, 2]), "optimizer": np.var([0, 3]), SEEDS: np.var([0, 0.5, 1.0, 1.5])}
    total = sum(each.values())
    for name, variance in each.items():
        assert found[name] == pytest.approx(variance / total), name
    assert found["activation x optimizer"] == pytest.approx(0, abs=1e-12)


def test_what_matters_only_together_is_an_interaction() -> None:
    found = shares(effects(table(lambda i, j, seed: (i - 1) * (2 * j - 1)), "test/r2"))
    assert found["activation x optimizer"] == pytest.approx(1)


def test_noise_has_no_share_on_average_and_p_is_uniform() -> None:
    draw = np.random.default_rng(0)
    found = [effects(table(lambda *where: draw.normal(), seeds=5), "test/r2") for _ in range(300)]
    p = [effect.p for each in found if each for effect in each.effects if effect.name == "activation"]
    assert stats.kstest(p, "uniform").pvalue > 0.01
    squared = [shares(each)["optimizer"] for each in found]
    assert np.mean(squared) < 0.03


def test_the_f_test_is_that_of_scipy() -> None:
    draw = np.random.default_rng(1)
    values = draw.normal(size=(3, 2, 6))
    found = effects(table(lambda i, j, seed: values[i, j, seed], seeds=6), "test/r2")
    assert found is not None
    mine = {effect.name: effect for effect in found.effects}
    mean = values.mean()
    squares = 12 * ((values.mean((1, 2)) - mean) ** 2).sum()
    block = 6 * ((values.mean((0, 1)) - mean) ** 2).sum()
    between = 6 * ((values.mean(2) - mean) ** 2).sum()
    rest = ((values - mean) ** 2).sum() - between - block
    f = squares / 2 / (rest / 25)
    assert mine["activation"].p == pytest.approx(stats.f.sf(f, 2, 25))
    assert mine["activation"].share == pytest.approx(max(0, squares - 2 * rest / 25) / (((values - mean) ** 2).sum() + rest / 25))


def test_what_is_no_grid_is_not_decomposed_but_ranked_by_a_forest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance_module, "_TREES", 10)
    monkeypatch.setattr(importance_module, "_SHUFFLES", 2)
    broken = table(lambda i, j, seed: 5 * j + 0.1 * i + 0.01 * seed, seeds=6, drop=1)
    assert effects(broken, "test/r2") is None
    found = importance(broken, "test/r2")
    assert found is not None
    assert not found.balanced
    assert shares(found)["optimizer"] > 0.9
    assert importance(broken, "test/r2") == found, "the same each time"
    assert importance(table(lambda i, j, seed: 1.0), "test/r2") is None


def test_ranks_over_datasets_are_those_of_friedman() -> None:
    draw = np.random.default_rng(2)
    means = [{name: float(value) for name, value in zip("abcd", draw.normal(size=4), strict=True)} for _ in range(14)]
    found = across(means, [True] * 14)
    assert found is not None
    chi2 = stats.friedmanchisquare(*([table[name] for table in means] for name in "abcd")).statistic
    f = 13 * chi2 / (14 * 3 - chi2)
    assert found.p == pytest.approx(stats.f.sf(f, 3, 39))
    ranks = stats.rankdata([[-table[name] for name in "abcd"] for table in means], axis=1).mean(0)
    assert found.ranks == pytest.approx(dict(zip("abcd", ranks, strict=True)))
    assert [*found.ranks.values()] == sorted(found.ranks.values())
    assert found.critical == pytest.approx(1.25, abs=0.005), "Demsar 2006, section 3.2.2: four classifiers, 14 datasets"


def test_ranks_need_three_datasets_and_follow_the_direction() -> None:
    better = {"a": 1.0, "b": 2.0}
    assert across([better] * 2, [True] * 2) is None
    found = across([better] * 3, [True] * 3)
    assert found is not None
    assert found.ranks == {"b": 1.0, "a": 2.0}
    assert found.p == 0.0
    found = across([better] * 3, [False] * 3)
    assert found is not None
    assert found.ranks == {"a": 1.0, "b": 2.0}
    tied = across([{"a": 1.0, "b": 1.0, "c": 0.0}] * 3, [True] * 3)
    assert tied is not None
    assert tied.ranks == {"a": 1.5, "b": 1.5, "c": 3.0}
    assert across([{"a": 1.0}, {"b": 1.0}, {"c": 1.0}], [True] * 3) is None
    assert math.isfinite(tied.critical)
