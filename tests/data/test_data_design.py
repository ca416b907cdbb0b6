"""Splits that the data dictates: groups, times, a column, a second file. Nothing of a test row reaches training."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold, TimeSeriesSplit

from dlrun.data.dataset import TEST, TRAIN, VALIDATION, Data
from dlrun.data.preprocessing import fit
from dlrun.data.sources.files import csv
from dlrun.data.splits import split, splits
from dlrun.errors import DataError

Table = dict[str, list[str]]


def numeric(rows: int, **design: torch.Tensor) -> Data:
    return Data("toy", torch.zeros(rows, 1), torch.zeros(rows, 1), "regression", 1, ("x",), ("y",), **design)  # type: ignore[arg-type]


def classified(labels: list[int], groups: list[int]) -> Data:
    classes = tuple(f"c{k}" for k in range(max(labels) + 1))
    y, of = torch.tensor(labels), torch.tensor(groups)
    return Data("toy", torch.zeros(len(y), 1), y, "multiclass", len(classes), ("x",), ("y",), classes, groups=of)


shares = st.sampled_from([0.0, 0.1, 0.2, 0.4])


@given(
    rows=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 11)), min_size=12, max_size=120),
    seed=st.integers(0, 99),
    validation=shares,
    folds=st.sampled_from([1, 1, 2, 3]),
    stratify=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_no_group_is_on_two_sides(rows: list[tuple[int, int]], seed: int, validation: float, folds: int, stratify: bool) -> None:
    labels, groups = [label for label, _ in rows], [group for _, group in rows]
    if len(set(groups)) < 4:
        return
    data = classified(labels, groups)
    found = [split(data, seed=seed, validation=validation, folds=folds, fold=k, stratify=stratify) for k in range(folds)]
    for part in found:
        sides = [{groups[row] for row in side.tolist()} for side in (part.train, part.validation, part.test)]
        assert not sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
        assert sides[0]
        assert sides[2]
        assert bool(sides[1]) == (validation > 0)
        assert sum(part.sizes) == len(rows)
    if folds > 1:
        assert sorted(row for part in found for row in part.test.tolist()) == list(range(len(rows)))


@given(times=st.lists(st.integers(0, 30), min_size=8, max_size=80), validation=shares, folds=st.sampled_from([1, 1, 2, 4]))
@settings(max_examples=60, deadline=None)
def test_the_past_comes_before_the_future(times: list[int], validation: float, folds: int) -> None:
    data = numeric(len(times), time=torch.tensor(times, dtype=torch.float64))
    if len(set(times)) < 3 + folds:
        return
    before = 0
    for k in range(folds):
        part = split(data, seed=0, validation=validation, folds=folds, fold=k)
        train, held, test = ([times[row] for row in side.tolist()] for side in (part.train, part.validation, part.test))
        assert max(train) < min(held or test)
        assert max(held or train) < min(test)
        assert bool(held) == (validation > 0)
        assert len(train) + len(held) > before
        before = len(train) + len(held)


def test_sizes_of_groups_and_of_times() -> None:
    one = split(classified([0, 1] * 50, [row // 5 for row in range(100)]), seed=3)
    assert one.sizes == (60, 20, 20)
    assert split(numeric(50, time=torch.arange(50.0, dtype=torch.float64).flip(0)), seed=3).sizes == (30, 10, 10)


def test_seeds_deal_groups_anew_and_never_move_times() -> None:
    groups, times = classified([0, 1] * 50, [row // 5 for row in range(100)]), numeric(40, time=torch.arange(40.0).double())
    assert len({tuple(part.test.tolist()) for part in splits(groups, range(8))}) > 5
    assert len({tuple(part.train.tolist()) for part in splits(times, range(8))}) == 1
    alone = [split(groups, seed=seed) for seed in range(8)]
    assert all(np.array_equal(one.subset, other.subset) for one, other in zip(alone, splits(groups, range(8)), strict=True))


def test_folds_in_time_are_those_of_scikit_learn() -> None:
    times = torch.randperm(103, generator=torch.Generator().manual_seed(1)).double()
    order = times.argsort()
    for k, (train, test) in enumerate(TimeSeriesSplit(4).split(order)):
        part = split(numeric(103, time=times), seed=0, folds=4, fold=k)
        assert sorted(part.test.tolist()) == sorted(order[test].tolist())
        assert sorted([*part.train.tolist(), *part.validation.tolist()]) == sorted(order[train].tolist())


@pytest.mark.parametrize(("rows", "count"), [(200, 20), (600, 100), (2000, 13)])
def test_groups_are_stratified_at_least_as_well_as_by_scikit_learn(rows: int, count: int) -> None:
    drawn = np.random.default_rng(count)
    groups = drawn.integers(0, count, rows)
    labels = np.where(drawn.random(rows) < 0.3, drawn.integers(0, 3, rows), groups % 3)
    data = classified(labels.tolist(), groups.tolist())

    def unevenness(tests: list[np.ndarray[tuple[int], np.dtype[np.int64]]]) -> float:
        counts = np.array([np.bincount(labels[test], minlength=3) for test in tests])
        return float((counts / counts.sum(0)).std(0).mean())

    mine = [unevenness([part.test for part in splits(data, [s] * 5, folds=5, fold=range(5))]) for s in range(3)]
    cutters = [StratifiedGroupKFold(5, shuffle=True, random_state=seed) for seed in range(3)]
    theirs = [unevenness([test for _, test in cutter.split(labels, labels, groups)]) for cutter in cutters]
    assert np.mean(mine) <= np.mean(theirs) * 1.05


def test_a_fixed_split_stays_and_validation_rows_are_drawn_from_training_rows() -> None:
    subset = torch.tensor([TRAIN] * 60 + [TEST] * 20 + [TRAIN] * 20, dtype=torch.int8)
    found = splits(numeric(100, subset=subset), range(4), validation=0.25)
    assert {part.sizes for part in found} == {(60, 20, 20)}
    assert all(part.test.tolist() == list(range(60, 80)) for part in found)
    assert len({tuple(part.validation.tolist()) for part in found}) == 4
    subset[:10] = VALIDATION
    assert all(part.validation.tolist() == list(range(10)) for part in splits(numeric(100, subset=subset), range(4)))


@pytest.mark.parametrize(
    ("data", "how", "said"),
    [
        (numeric(9, subset=torch.zeros(9, dtype=torch.int8)), {"folds": 3}, "type dataset.folds=1"),
        (numeric(9, groups=torch.zeros(9, dtype=torch.int64)), {}, "has 1 group, and training, validation and test rows need 3"),
        (numeric(9, groups=torch.arange(9)), {"folds": 10}, "dataset.folds=10 needs 10"),
        (numeric(9, time=torch.tensor([1.0, 2.0, 2.0] * 3).double()), {}, "has 2 different times, too few for"),
    ],
)
def test_what_cannot_be_split(data: Data, how: dict[str, int], said: str) -> None:
    with pytest.raises(DataError, match=said):
        split(data, seed=0, **how)  # type: ignore[arg-type]


def test_a_split_follows_one_thing() -> None:
    with pytest.raises(DataError, match="groups and time: each says how rows are split"):
        numeric(4, groups=torch.arange(4), time=torch.arange(4.0).double())
    with pytest.raises(DataError, match="weights must be 0 or more, and more than 0 in some row"):
        numeric(4, weights=torch.zeros(4, dtype=torch.float64))


# Files


def patients(rows: int = 60) -> Table:
    """A table with a column for each kind of split, and one category for each row in ten."""
    return {
        "patient": [f"P{row % 12:03}" for row in range(rows)],
        "day": [f"2024-01-{1 + row % 20:02}" for row in range(rows)],
        "set": [("train", "Training", "dev", "TEST", "train")[row % 5] for row in range(rows)],
        "weight": [str(row % 3) for row in range(rows)],
        "size": [str((row * 37) % 23 / 4) for row in range(rows)],
        "color": [("red", "green", "blue")[row % 3] for row in range(rows)],
        "y": [("ill", "well")[row * 7 % 3 == 0] for row in range(rows)],
    }


def written(table: Table, path: Path) -> str:
    path.write_text("\n".join([",".join(table), *map(",".join, zip(*table.values(), strict=True))]) + "\n")
    return str(path)


def test_columns_that_split_are_no_features(tmp_path: Path) -> None:
    path = written(patients(), tmp_path / "p.csv")
    data = csv(path=path, target="y", group="patient", weight="weight", drop=["set", "day"])
    assert data.features == ("size", "color=blue", "color=green", "color=red")
    assert data.groups is not None
    assert data.groups.tolist() == [row % 12 for row in range(60)]
    assert data.weights is not None
    assert data.weights.tolist() == [row % 3 for row in range(60)]
    assert "split by the 12 groups of patient; weighted" in data.notes[-1].replace(", weighted", "; weighted")
    day = csv(path=path, target="y", time="day", drop=["set", "patient", "weight"])
    assert day.time is not None
    assert (day.time - day.time[0]).tolist() == [row % 20 for row in range(60)]
    fixed = csv(path=path, target="y", split_column="set", drop=["day", "patient", "weight"])
    assert fixed.subset is not None
    assert fixed.subset.tolist() == [TRAIN, TRAIN, VALIDATION, TEST, TRAIN] * 12
    assert "split by set (train: 36, validation: 12, test: 12)" in fixed.notes[-1]
    assert len({data.fingerprint, day.fingerprint, fixed.fingerprint}) == 3


def test_a_test_file_is_read_as_the_first_file_says(tmp_path: Path) -> None:
    table = patients()
    first = written({name: values[:40] for name, values in table.items()}, tmp_path / "a.csv")
    second = {name: values[40:] for name, values in reversed(table.items())}
    second["color"] = ["violet", *second["color"][1:]]
    path = written(second, tmp_path / "b.csv")
    data = csv(path=first, test_path=path, target="y", columns=["size", "color"])
    assert data.subset is not None
    assert data.subset.tolist() == [TRAIN] * 40 + [TEST] * 20
    assert data.features == ("size", "color=blue", "color=green", "color=red")
    assert data.x[40, 1:].tolist() == [0, 0, 0]
    assert (data.x[41:, 1:].sum(1) == 1).all()
    assert data.x[:, 0].tolist() == [float(size) for size in table["size"]]
    assert "20 of the rows from b.csv, for testing" in data.notes[-1]


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("size", ["x"] * 60, "line 2: size holds 'x'"),
        ("color", None, "lacks color, which a.csv has"),
        ("y", [""] * 60, "has no row with a value of the target"),
    ],
)
def test_a_test_file_that_does_not_fit(column: str, values: list[str] | None, said: str, tmp_path: Path) -> None:
    table = patients()
    first = written(table, tmp_path / "a.csv")
    if values is None:
        del table[column]
    else:
        table[column] = values
    with pytest.raises(DataError, match=said):
        csv(path=first, test_path=written(table, tmp_path / "b.csv"), target="y", columns=["size", "color"])


def test_a_test_file_without_the_target_is_not_helped_by_leaving_it_out(tmp_path: Path) -> None:
    table = patients()
    first = written(table, tmp_path / "a.csv")
    del table["y"]
    with pytest.raises(DataError, match=r"lacks y, which a.csv has.*give a file with the same columns$"):
        csv(path=first, test_path=written(table, tmp_path / "b.csv"), target="y", columns=["size", "color"])


@pytest.mark.parametrize(
    ("column", "value", "how", "said"),
    [
        ("patient", "", {"group": "patient"}, "line 7: patient is empty, and each row needs a value, as dataset.group names"),
        ("set", "half", {"split_column": "set"}, "line 7: set holds 'half', and a row is for train, validation"),
        ("weight", "-1", {"weight": "weight"}, "line 7: weight is negative, and a weight is 0 or more"),
        ("weight", "x", {"weight": "weight"}, "line 7: weight holds 'x', and the others are numbers"),
        ("day", "", {"time": "day"}, "line 7: day is empty"),
        ("day", "", {"time": "color"}, "dataset.time=color: holds texts, and has to hold numbers, dates or times of day"),
        ("day", "", {"group": "patients"}, "dataset.group=patients: no such column.*; type dataset.group=patient"),
        ("day", "", {"group": "y"}, "dataset.group=y: is the target"),
        ("day", "", {"group": "size", "columns": ["size"]}, "dataset.group=size: is no feature; leave it out of dataset.columns"),
        ("day", "", {"group": "weight", "weight": "weight"}, "dataset.group=weight: is dataset.weight too"),
    ],
)
def test_mistakes_in_such_columns(column: str, value: str, how: dict[str, str], said: str, tmp_path: Path) -> None:
    table = patients()
    table[column][5] = value
    with pytest.raises(DataError, match=said):
        csv(path=written(table, tmp_path / "p.csv"), target="y", **how)  # type: ignore[arg-type]


GARBAGE = st.tuples(st.sampled_from(["0", "-7e5", "1e30", ""]), st.sampled_from(["red", "violet", "", "zzz"]))


@given(garbage=st.lists(GARBAGE, min_size=60, max_size=60), where=st.sampled_from(["column", "file"]))
@settings(max_examples=15, deadline=None)
def test_garbage_in_test_rows_of_a_file_changes_no_training_row(
    garbage: list[tuple[str, str]], where: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, table = tmp_path_factory.mktemp("g"), patients()
    spoilt = {name: list(values) for name, values in table.items()}
    for row, (size, color) in enumerate(garbage):
        if row % 5 == 3:
            spoilt["size"][row], spoilt["color"][row] = size, color
            spoilt["y"][row] = "ill" if row % 2 else "well"
    found = []
    for each in (table, spoilt):
        if where == "column":
            found.append(csv(path=written(each, folder / "p.csv"), target="y", split_column="set", columns=["size", "color"]))
            (folder / "p.csv").unlink()
            continue
        halves = [
            {name: [v for row, v in enumerate(values) if (row % 5 == 3) == test] for name, values in each.items()}
            for test in (0, 1)
        ]
        paths = [written(half, folder / f"{test}.csv") for test, half in enumerate(halves)]
        found.append(csv(path=paths[0], test_path=paths[1], target="y", columns=["size", "color"]))
        for path in paths:
            Path(path).unlink()
    one, other = (split(data, seed=1) for data in found)
    assert np.array_equal(one.train, other.train)
    assert np.array_equal(one.validation, other.validation)
    rows = np.concatenate([one.train, one.validation])
    assert found[0].features == found[1].features
    assert np.array_equal(found[0].x[rows], found[1].x[rows])
    assert np.array_equal(found[0].y[rows], found[1].y[rows])
    numbers = [fit(data, one.train).to_json() for data in found]
    assert numbers[0] == numbers[1]
