"""Which configurations get more seeds, from runs that are made up."""

from collections.abc import Callable

import numpy as np
import pytest

from dlrun.comparison.race import Race, Rules, Standing
from dlrun.comparison.table import Row
from dlrun.errors import InputError

METRIC = "test/r2"
Values = Callable[[int], float | None]


def rows(seeds: int, lost: str = "diverged", folds: int = 0, **groups: Values) -> list[Row]:
    """A run for each group and seed; None is a run that was lost. With folds, a value is moved apart by the fold."""
    found = []
    for name, value in groups.items():
        for seed in range(seeds):
            for fold in range(folds) if folds else [None]:
                got = value(seed)
                status = lost if got is None else "done"
                moved = None if got is None else got + 0.1 * (fold or 0)
                metrics = {} if moved is None else {METRIC: moved, "test/mae": 0.0}
                found.append(Row(f"{name}{seed}{fold}", status, seed, fold, {"group": name}, metrics))
    return found


def noise(of: int, at: float) -> Values:
    values = np.random.default_rng(of).standard_normal(2000)
    return lambda seed: at + float(values[seed])


def look(found: list[Row], seeds: int, **rules: object) -> tuple[Race, dict[str, Standing]]:
    race = Race(Rules(METRIC, higher_is_better=True, **rules), 3)  # type: ignore[arg-type]
    race.look(found, range(seeds))
    return race, {str(standing.group.factors["group"]): standing for standing in race.standings}


def test_who_is_worse_than_the_best_gets_no_more_seeds_and_stays_out() -> None:
    groups = {"a": noise(1, 3.0), "b": noise(2, 2.9), "c": noise(3, 0.0)}
    race = Race(Rules(METRIC, higher_is_better=True), 3)
    race.look(rows(30, **groups), range(45))
    racing = {group.factors["group"] for group in race.racing}
    assert racing == {"a", "b"}
    assert not race.settled
    later = [*rows(45, a=groups["a"], b=groups["b"]), *rows(30, c=groups["c"])]
    race.look(later, range(45))
    out = next(standing for standing in race.standings if standing.group.factors["group"] == "c")
    assert out.found is not None
    assert (out.found.word, out.found.n, out.open, out.text[:8]) == ("worse", 30, False, "worse by")


def test_a_reference_is_compared_with_each_and_gets_seeds_while_any_is_open() -> None:
    groups = {"a": noise(1, 3.0), "b": noise(2, 0.1), "ref": noise(3, 0.0)}
    race, by_name = look(rows(30, **groups), 30, reference="ref")
    assert by_name["a"].settled
    assert not by_name["b"].settled
    assert [group.factors["group"] for group in race.racing] in (["b", "ref"], ["ref", "b"])
    with pytest.raises(InputError, match="names no group"):
        look(rows(30, **groups), 30, reference="other")


def test_pairs_are_counted_as_they_may_be_asked_for() -> None:
    assert Rules(METRIC, higher_is_better=True).pairs(5) == 10
    assert Rules(METRIC, higher_is_better=True, reference="a").pairs(5) == 4


def test_equivalent_configurations_go_on_while_the_best_may_change() -> None:
    base = noise(1, 0.0)
    near = {"a": base, "b": lambda seed: (base(seed) or 0.0) + 0.001 * (seed % 3 - 1), "c": noise(5, -0.2)}
    race, by_name = look(rows(30, **near), 30, margin=0.1)
    words = {name: standing.found.word for name, standing in by_name.items() if standing.found is not None}
    assert sorted(words.values()) == ["equivalent", "not settled"]
    assert len(race.racing) == 3
    race, _ = look(rows(30, a=near["a"], b=near["b"]), 30, margin=0.1)
    assert race.settled
    assert race.racing == []


def test_identical_runs_are_equivalent_without_a_margin() -> None:
    race, by_name = look(rows(30, a=noise(1, 0.0), b=noise(1, 0.0)), 30)
    assert race.settled
    assert by_name["b"].text == "equivalent: identical runs"
    other = [
        Row(
            row.id, row.status, row.seed, None, row.factors, {**row.metrics, "test/mae": row.seed * (row.factors["group"] == "b")}
        )
        for row in rows(30, a=noise(1, 0.0), b=noise(1, 0.0))
    ]
    assert not look(other, 30)[0].settled, "equal in one metric by chance"


def test_runs_that_diverged_are_counted_and_only_make_worse() -> None:
    def sometimes(value: Values) -> Values:
        return lambda seed: None if seed % 3 == 0 else value(seed)

    race, by_name = look(rows(60, a=noise(1, 0.0), b=sometimes(noise(2, 3.0))), 60)
    assert by_name["b"].text == "not settled: 20 of 60 runs diverged"
    assert by_name["a"].found is None, "what lost runs is not the best"
    assert race.racing == [], "no number of seeds would settle it"
    _, by_name = look(rows(60, a=noise(1, 0.0), b=sometimes(noise(2, -3.0))), 60)
    assert by_name["b"].text.startswith("worse by 2.7")
    assert by_name["b"].text.endswith("; 20 of 60 runs diverged")
    race, by_name = look(rows(45, a=noise(1, 0.0), b=sometimes(noise(2, -0.3))), 45)
    assert not by_name["b"].settled
    assert len(race.racing) == 2, "it may still be shown to be worse"
    race, by_name = look(rows(60, lost="failed", a=noise(1, 0.0), b=sometimes(noise(2, -3.0))), 60)
    assert by_name["b"].text == "not settled: 20 of 60 runs failed", "one that failed may have been good"
    assert race.racing == []


def test_folds_of_a_seed_are_one_difference() -> None:
    _, by_name = look(rows(30, folds=5, a=noise(1, 3.0), b=noise(2, 0.0)), 30)
    (found,) = [standing.found for standing in by_name.values() if standing.found is not None]
    assert found.n == 30
