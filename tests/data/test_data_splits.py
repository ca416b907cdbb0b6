"""Splits: sizes, cover, proportions, folds, independence of company, errors."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dlrun.data.dataset import Data
from dlrun.data.sources.points import xor
from dlrun.data.sources.real import diabetes, digits
from dlrun.data.splits import NONE, Split, Splits, split, splits
from dlrun.errors import DataError

Work = Callable[[Callable[[], object]], int]


def classified(labels: list[int]) -> Data:
    y = np.array(labels)
    classes = tuple(f"c{k}" for k in range(int(y.max()) + 1))
    return Data("toy", np.zeros((len(y), 1)), y, "multiclass", len(classes), ("x",), ("y",), classes)


def numeric(rows: int) -> Data:
    return Data("toy", np.zeros((rows, 1)), np.zeros((rows, 1)), "regression", 1, ("x",), ("y",))


def sizes(part: Split) -> tuple[int, int, int]:
    return len(part.train), len(part.validation), len(part.test)


def assert_covers(part: Split, rows: int) -> None:
    subsets = (part.train, part.validation, part.test)
    assert np.array_equal(np.sort(np.concatenate(subsets)), np.arange(rows))
    assert all(subset.dtype == np.int64 and (np.diff(subset) > 0).all() for subset in subsets)


def same(one: Split, other: Split) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("train", "validation", "test"))


def test_sizes_of_diabetes() -> None:
    assert sizes(split(diabetes(), seed=0)) == (266, 88, 88)


@given(rows=st.integers(8, 300), validation=st.sampled_from([0.0, 0.1, 0.2, 0.33]), test=st.sampled_from([0.0, 0.2, 0.5]))
@settings(max_examples=60, deadline=None)
def test_sizes_do_not_depend_on_the_seed(rows: int, validation: float, test: float) -> None:
    found = splits(numeric(rows), range(5), validation=validation, test=test)
    assert len({sizes(part) for part in found}) == 1
    for part in found:
        assert_covers(part, rows)
    assert abs(len(found[0].test) - rows * test) <= 0.5
    assert abs(len(found[0].validation) - rows * validation) <= (1 if 0 < rows * validation < 0.5 else 0.5)


@given(
    counts=st.lists(st.integers(2, 60), min_size=2, max_size=6),
    validation=st.sampled_from([0.0, 0.1, 0.2]),
    test=st.sampled_from([0.1, 0.2, 0.4]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=150, deadline=None)
def test_stratified_shares_are_proportional(counts: list[int], validation: float, test: float, seed: int) -> None:
    labels = [k for k, count in enumerate(counts) for _ in range(count)]
    data = classified(labels)
    rows = len(labels)
    try:
        part, other = splits(data, [seed, seed + 1], validation=validation, test=test)
    except DataError:
        assert rows - max(1, int(rows * test + 0.5)) - int(rows * validation + 1) <= len(counts)
        return
    assert_covers(part, rows)
    assert sizes(part) == sizes(other)
    y = np.array(labels)
    found = {
        name: np.bincount(y[getattr(part, name)], minlength=len(counts)).tolist() for name in ("train", "validation", "test")
    }
    assert found["test"] == np.bincount(y[other.test], minlength=len(counts)).tolist()
    for k, count in enumerate(counts):
        assert found["train"][k] >= 1
        if count >= 3 and len(part.test) >= len(counts):
            assert found["test"][k] >= 1
        if count >= 3 and len(part.validation) >= len(counts) and min(counts) >= 3:
            assert found["validation"][k] >= 1
        if all(c * test >= 1 and c * validation >= 1 and c >= 5 for c in counts):  # nothing is forced: proportions rule
            assert abs(found["test"][k] - count * len(part.test) / rows) < 1
            assert abs(found["validation"][k] - count * len(part.validation) / rows) < 1


def test_largest_remainders_by_hand() -> None:
    # 10 of 33 rows: exact shares 3.03, 3.33, 3.64; the largest remainder gets the tenth.
    data = classified([0] * 10 + [1] * 11 + [2] * 12)
    part = split(data, seed=3, validation=0.0, test=0.3)
    assert np.bincount(data.y[part.test]).tolist() == [3, 3, 4]


def test_a_pair_of_rows_is_tested_and_trained_on() -> None:
    data = classified([0] * 20 + [1] * 2)
    part = split(data, seed=0)
    assert data.y[part.test].tolist().count(1) == 1
    assert data.y[part.train].tolist().count(1) == 1


def test_xor_is_balanced_exactly() -> None:
    data = xor()
    for part in splits(data, range(20)):
        assert all(data.y[rows].mean() == 0.5 for rows in (part.train, part.validation, part.test))


@given(rows=st.integers(10, 120), folds=st.integers(2, 9), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_folds_partition_the_rows(rows: int, folds: int, seed: int) -> None:
    found = splits(numeric(rows), [seed] * folds, fold=range(folds), folds=folds, validation=0.1)
    assert np.array_equal(np.sort(np.concatenate([part.test for part in found])), np.arange(rows))
    tested = [len(part.test) for part in found]
    assert max(tested) - min(tested) <= 1
    assert len({len(part.train) for part in found}) == 1  # what a shorter fold does not test on, it validates on
    for part in found:
        assert_covers(part, rows)


def test_folds_without_validation_rows_train_on_all_the_rest() -> None:
    found = splits(numeric(11), [0] * 3, fold=range(3), folds=3, validation=0.0)
    assert [sizes(part) for part in found] == [(7, 0, 4), (7, 0, 4), (8, 0, 3)]


@given(counts=st.lists(st.integers(4, 40), min_size=2, max_size=5), folds=st.integers(2, 5))
@settings(max_examples=60, deadline=None)
def test_stratified_folds_hold_equal_shares(counts: list[int], folds: int) -> None:
    data = classified([k for k, count in enumerate(counts) for _ in range(count)])
    found = splits(data, [7] * folds, fold=range(folds), folds=folds, validation=0.1)
    tested = [len(part.test) for part in found]
    assert max(tested) - min(tested) <= 1
    by_class = np.stack([np.bincount(data.y[part.test], minlength=len(counts)) for part in found])
    assert (np.ptp(by_class, 0) <= 1).all()


def test_validation_rows_follow_the_test_fold() -> None:
    data = numeric(100)
    found = splits(data, [1] * 5, fold=range(5), folds=5, validation=0.2)
    for k, part in enumerate(found):
        assert np.array_equal(part.validation, found[(k + 1) % 5].test)


def test_a_split_is_the_same_alone_and_in_company() -> None:
    data = digits()
    together = splits(data, [5, 6, 7], fold=[0, 2, 1], folds=3)
    assert same(together[1], split(data, seed=6, folds=3, fold=2))
    assert same(split(data, seed=6), split(data, seed=6))
    assert not same(split(data, seed=6), split(data, seed=7))


def test_no_global_generator_is_touched() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002
    split(digits(), seed=1)
    assert torch.get_rng_state().equal(before)
    assert (np.random.get_state()[1] == numpy_before).all()  # noqa: NPY002


def test_every_row_is_tested_about_equally_often() -> None:
    tested = np.zeros(50)
    for part in splits(numeric(50), range(2000)):
        tested[part.test] += 1
    assert np.abs(tested / 2000 - 0.2).max() < 0.04  # 4.5 standard errors


@pytest.mark.parametrize(
    ("data", "arguments", "said"),
    [
        (numeric(1), {}, "leave 0 for training"),
        (numeric(2), {}, "give more rows"),
        (numeric(10), {"validation": 0.5, "test": 0.5}, "leave 0 for training"),
        (classified([0, 0, 0, 0, 1]), {}, "'c1'"),
        (classified([0, 0, 0, 0, 1]), {"folds": 2}, "dataset.stratify=false"),
        (classified([0, 0, 1, 1, 2, 2]), {"test": 0.5}, "one for each class"),
        (numeric(4), {"folds": 5}, "as many folds as rows"),
        (numeric(10), {"folds": 5, "fold": 5}, "fold goes from 0"),
        (numeric(10), {"folds": 2, "validation": 0.5}, "folds=2 leave 0"),
    ],
)
def test_what_cannot_be_split(data: Data, arguments: dict[str, float], said: str) -> None:
    with pytest.raises(DataError, match=said):
        split(data, seed=0, **arguments)


def test_a_lonely_class_splits_without_stratification() -> None:
    assert_covers(split(classified([0, 0, 0, 0, 1]), seed=0, stratify=False), 5)


def test_a_thousand_splits_and_a_million_rows_are_quick(work: Work) -> None:
    data, small, large = diabetes(), numeric(100), numeric(1_000_000)
    split(data, seed=0)
    ten, thousand = (work(lambda seeds=seeds: splits(data, range(seeds))) for seeds in (10, 1000))
    assert thousand < 1000 * 100
    assert thousand < 105 * ten, "more than in proportion"
    assert work(lambda: split(large, seed=0)) <= 1.5 * work(lambda: split(small, seed=0)), "something is done for every row"


@pytest.mark.parametrize("folds", [1, 4])
def test_splits_together_are_those_one_by_one(folds: int) -> None:
    several = splits(numeric(42), range(6), fold=[number % folds for number in range(6)], folds=folds)
    again = Splits.of([*several])
    assert np.array_equal(again.subsets, several.subsets)
    assert [*zip(*(sizes.tolist() for sizes in several.sizes()), strict=True)] == [part.sizes for part in several]
    for row, part in zip(several.order(), several, strict=True):
        assert np.array_equal(row, np.concatenate([part.train, part.validation, part.test]))
    for row, part in zip(several.rows("train"), several, strict=True):
        assert np.array_equal(row, part.train)
    for part, place in zip(several.select([4, 1]), (4, 1), strict=True):
        assert np.array_equal(part.test, several[place].test)


def test_rows_that_are_in_no_subset_are_left_out() -> None:
    subset = split(numeric(20), seed=0).subset.copy()
    subset[:5] = NONE
    part = Split(subset)
    assert part.sizes == (len(part.train), len(part.validation), len(part.test))
    assert sum(part.sizes) == 15
    (row,) = Splits.of([part]).order()
    assert np.array_equal(row, np.concatenate([part.train, part.validation, part.test]))
