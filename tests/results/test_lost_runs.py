"""Groups that lost runs: what is left of them is no fair sample, so it is neither the best nor better."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dlrun.comparison.groups import Compared, comparison
from dlrun.comparison.pairing import Lost, common
from dlrun.comparison.table import Row, groups
from dlrun.report.columns import columns, legend, undefined
from dlrun.report.tables import full_table, said

LOSSES = ("diverged", "failed", "interrupted", "skipped", "pending", "undefined")
METRIC = "test/r2"


def group(name: str, values: list[float], status: str = "diverged") -> list[Row]:
    """A run for each seed; one whose value is NaN ended with the status, or is done without a value where that is undefined."""
    return [
        Row(
            f"{name}{seed}",
            "done" if status == "undefined" or not math.isnan(value) else status,
            seed,
            None,
            {"group": name},
            {METRIC: None if math.isnan(value) else value, "test/mae": 0.5, "test/loss": value},
        )
        for seed, value in enumerate(values)
    ]


def against_best(*rows: list[Row], **options: object) -> dict[str, Compared]:
    found = comparison([row for mine in rows for row in mine], METRIC, **{"higher_is_better": True, **options})  # type: ignore[arg-type]
    return {item.group.factors["group"]: item for item in found}


@pytest.fixture
def shared() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(20) * 0.1


@pytest.mark.parametrize("status", LOSSES)
def test_survivors_are_neither_best_nor_better(status: str, shared: np.ndarray) -> None:
    noise = np.random.default_rng(1).standard_normal(20) * 0.01
    survivors = np.where(np.arange(20) < 6, shared + 0.5 + noise, math.nan)
    found = against_best(group("lossy", survivors.tolist(), status), group("intact", shared.tolist()))
    assert list(found) == ["intact", "lossy"], "a group that lost runs stands below"
    assert found["intact"].reference == "best"
    item = found["lossy"]
    assert item.verdict is not None
    assert item.verdict.word == "not enough evidence"
    ended = {"pending": "not trained", "undefined": "without a value"}.get(status, status)
    assert item.verdict.text == f"not enough evidence: 14 of 20 runs {ended}"
    assert item.difference is not None
    assert (item.difference.n, item.difference.dropped) == (6, 14)
    assert item.p is None, "a small p of what is left would say the opposite of the verdict"
    assert {column.name: column.cells for column in columns([*found.values()], METRIC)}["not counted"] == ("", f"14 {status}")
    assert any(line.startswith("groups that lost runs") for line in legend([*found.values()], []))


def test_an_intact_group_is_not_worse_than_survivors_that_are_named(shared: np.ndarray) -> None:
    survivors = np.where(np.arange(20) < 6, shared + 0.5 + 0.01 * np.arange(20), math.nan)
    rows = group("lossy", survivors.tolist(), "failed"), group("intact", shared.tolist())
    found = against_best(*rows, reference="lossy")
    assert said(found["intact"]) == "not enough evidence: 14 of 20 runs of the reference failed"
    assert said(found["lossy"]) == "reference; 14 of 20 runs failed"


@pytest.mark.parametrize(("status", "word"), [("diverged", "worse"), ("failed", "not enough evidence")])
def test_only_a_group_that_diverged_is_worse_by_what_is_left(status: str, word: str, shared: np.ndarray) -> None:
    """A run that diverged is worse than any value; of what failed nothing is known."""
    survivors = np.where(np.arange(20) < 15, shared - 0.5 + 0.01 * np.arange(20), math.nan)
    rows = group("lossy", survivors.tolist(), status), group("intact", shared.tolist())
    verdict = against_best(*rows)["lossy"].verdict
    assert verdict is not None
    assert verdict.word == word
    assert verdict.text.endswith(f"5 of 20 runs {status}")
    turned = against_best(*rows, reference="lossy")["intact"].verdict
    assert turned is not None
    assert turned.word == word.replace("worse", "better")


def test_a_metric_that_is_undefined_in_the_same_folds_for_all_decides_by_the_others(shared: np.ndarray) -> None:
    a, b = shared.copy(), shared - 0.5 + 0.01 * np.arange(20)
    a[:5] = b[:5] = math.nan
    found = against_best(group("a", a.tolist(), "undefined"), group("b", b.tolist(), "undefined"))
    assert said(found["b"]).startswith("worse by 0.3")
    assert found["b"].difference is not None
    assert (found["b"].difference.n, found["b"].difference.dropped, found["b"].lost) == (15, 5, None)
    assert undefined([*found.values()], [METRIC]) == [
        "r2 is not defined in 10 of 40 runs: all targets of their test samples are equal; type metric=mae instead"
    ]


def test_groups_that_lose_as_many_runs_at_other_seeds_are_not_compared(shared: np.ndarray) -> None:
    a, b = shared.copy(), shared - 0.5 + 0.01 * np.arange(20)
    a[:5], b[5:10] = math.nan, math.nan
    found = against_best(group("a", a.tolist()), group("b", b.tolist()))
    assert said(found["b"]) == "not enough evidence: 5 of 20 runs diverged, 5 of 20 runs of the reference diverged"
    assert said(found["a"]) == "reference; 5 of 20 runs diverged", "the best of groups that all lost runs says so"
    cells = {column.name: column.cells for column in columns([*found.values()], METRIC)}
    assert cells["verdict"][0] == "best of yours (5 of 20 runs diverged)"
    b[:5], b[5:10] = math.nan, shared[5:10] - 0.5
    assert said(against_best(group("a", a.tolist()), group("b", b.tolist()))["b"]).startswith("worse by"), "the same seeds"


def test_a_group_of_which_all_runs_diverged_has_no_result(shared: np.ndarray) -> None:
    found = against_best(group("gone", [math.nan] * 20), group("a", shared.tolist()))
    assert [said(item) for item in found.values()] == ["reference", "no result"]
    table = full_table([*found.values()], METRIC)
    assert dict(zip(table.columns, table.rows[1], strict=True))["diverged"] == 20


def test_seconds_of_a_run_that_diverged_are_not_the_worst(shared: np.ndarray) -> None:
    rows = [
        Row(f"{name}{seed}", "diverged" if name == "a" and seed < 5 else "done", seed, None, {"group": name}, {"seconds": value})
        for name in "ab"
        for seed, value in enumerate((shared + (1.0 if name == "a" else 0.5) + 0.01 * np.arange(20) * (name == "a")).tolist())
    ]
    found = comparison(rows, "seconds", higher_is_better=False)
    assert said(found[1]) == "not enough evidence: 5 of 20 runs diverged"


def test_a_run_of_which_nothing_is_known_is_lost_and_its_metric_is_not_called_undefined(shared: np.ndarray) -> None:
    rows = [*group("a", shared.tolist()), *group("b", (shared + 1).tolist())]
    rows[-1] = replace(rows[-1], metrics={})
    found = comparison(rows, METRIC, higher_is_better=True)
    assert said(found[1]) == "not enough evidence: 1 of 20 runs without a value"
    assert undefined(found, [METRIC]) == []


def test_how_losses_are_written() -> None:
    assert Lost({"diverged": 1, "undefined": 1200}, 5000).said() == "1,201 of 5,000 runs lost (1 diverged, 1,200 without a value)"


def drop_worst(values: np.ndarray) -> np.ndarray:
    return np.where(values > np.quantile(values, 0.3), values, math.nan)


def drop_best(values: np.ndarray) -> np.ndarray:
    return np.where(values < np.quantile(values, 0.7), values, math.nan)


def drop_some(values: np.ndarray) -> np.ndarray:
    return np.where(np.arange(len(values)) % 3 > 0, values, math.nan)


@pytest.mark.parametrize(
    ("drop", "status"),
    [
        (drop_worst, "diverged"),
        (drop_some, "diverged"),
        (drop_worst, "failed"),
        (drop_best, "interrupted"),
        (drop_best, "undefined"),
    ],
)
def test_equal_groups_of_which_one_loses_runs_are_seldom_told_apart(
    drop: Callable[[np.ndarray], np.ndarray], status: str
) -> None:
    rng = np.random.default_rng(0)
    wrong = 0
    for a, b in rng.standard_normal((400, 2, 12)):
        found = against_best(group("a", drop(a).tolist(), status), group("b", b.tolist()))
        wrong += any(item.verdict is not None and item.verdict.word in ("better", "worse") for item in found.values())
    assert wrong / 400 <= 0.05


# Groups with different seeds


def seeded(name: str, seeds: range, values: Callable[[int], float]) -> list[Row]:
    return [Row(f"{name}{seed}", "done", seed, None, {"group": name}, {METRIC: values(seed)}) for seed in seeds]


def test_groups_with_different_seeds_are_ranked_by_those_they_share() -> None:
    """Late seeds are easy: b has them, so its mean is the higher one, though a is better wherever both ran."""
    a = seeded("a", range(10), lambda seed: 0.1 * seed + 0.05)
    b = seeded("b", range(4, 14), lambda seed: 0.1 * seed + 0.01 * (seed % 2))
    found = against_best(a, b)
    assert list(found) == ["a", "b"]
    assert said(found["b"]).startswith("worse by 0.045")
    assert found["b"].difference is not None
    assert found["b"].difference.n == 6
    assert legend([*found.values()], [])[-1] == (
        "groups have different seeds: those with the 6 that most share are ranked by them, the others stand below"
    )


def test_a_group_that_lacks_seeds_of_the_others_is_not_better_than_the_best() -> None:
    rows = [seeded(name, range(20), lambda seed, shift=shift: seed % 7 + shift) for name, shift in (("a", 0.2), ("b", 0.1))]
    few = seeded("c", range(6), lambda seed: seed % 7 + 1 + 0.01 * seed)
    found = against_best(*rows, few)
    assert list(found) == ["a", "b", "c"]
    assert found["b"].difference is not None
    assert found["b"].difference.n == 20, "one short group does not shorten the others"
    assert said(found["c"]) == "not enough evidence: has 6 of 20 seeds of the best; run the same seeds"
    worse = seeded("c", range(6), lambda seed: seed % 7 - 1 - 0.01 * seed)
    assert said(against_best(*rows, worse)["c"]).startswith("worse by")


def test_groups_without_a_common_seed_are_not_compared() -> None:
    found = against_best(seeded("a", range(5), float), seeded("b", range(5, 10), float))
    assert sorted(map(said, found.values())) == ["not enough evidence: no seeds in common", "reference"]
    assert "no seeds in common" in legend([*found.values()], [])[-1]


def test_the_seeds_on_which_most_pairs_can_be_compared() -> None:
    def keys(*seeds: int) -> frozenset[tuple[int, int | None]]:
        return frozenset((seed, None) for seed in seeds)

    assert common([]) == keys()
    assert common([keys(1, 2), keys(1, 2)]) == keys(1, 2)
    assert common([keys(*range(20))] * 3 + [keys(0, 1)]) == keys(*range(20))
    assert common([keys(0, 1), keys(0, 1), keys(0, 1, 2)]) == keys(0, 1)
    assert common([keys(0, 1, 2), keys(2, 3)]) == keys(2)
    assert common([keys(0), keys(1)]) == keys()
    assert len(common([keys(seed, seed + 1) for seed in range(40)])) == 1


def test_equal_groups_with_different_seeds_are_seldom_told_apart() -> None:
    rng = np.random.default_rng(0)
    wrong, rounds = 0, 400
    for number in range(rounds):
        values = rng.standard_normal((3, 16)) + 3 * rng.standard_normal(16)
        parts = [range(10), range(6, 16), range(3, 13)] if number % 2 else [range(16), range(16), range(5)]
        rows = [seeded(name, seeds, row.__getitem__) for name, seeds, row in zip("abc", parts, values.tolist(), strict=True)]
        found = against_best(*rows)
        words = [item.verdict.word for item in found.values() if item.verdict is not None]
        assert "better" not in words, "no group stands below a best that it beats"
        wrong += "worse" in words
    assert wrong / rounds < 0.05 + 2 * (0.05 * 0.95 / rounds) ** 0.5


def test_the_order_does_not_contradict_the_verdicts_when_runs_are_lost() -> None:
    rng = np.random.default_rng(3)
    for _ in range(100):
        values = np.where(rng.random((4, 10)) < 0.2, math.nan, rng.standard_normal((4, 10)) + np.arange(4)[:, None])
        rows = [row for name, mine in zip("abcd", values, strict=True) for row in group(name, mine.tolist())]
        found = comparison(rows, METRIC, higher_is_better=True)
        assert found[0].reference == "best"
        assert not any(item.verdict is not None and item.verdict.word == "better" for item in found)
        assert [item.group.label for item in found] == [one.label for one in groups(rows, METRIC, higher_is_better=True)]
