"""Train, validation and test rows: seeded, stratified by class, or dealt into folds; or as the data says (design.py).

Where rows are drawn, sizes depend on the number of rows of each class and on the fractions, never on the seed: round(N * test)
test rows, round(N * validation) validation rows, the rest for training. Stratified, each class gets its proportional share of
them by the method of largest remainders, and at least one row of each subset where it has that many.

Shapes: N rows, R splits made together, C classes (1 when the split is not stratified).
"""

from collections.abc import Sequence
from typing import Literal, overload

import numpy as np
from numpy.typing import NDArray

from dlrun import streams
from dlrun.data import design
from dlrun.data.dataset import TEST, TRAIN, VALIDATION, Data
from dlrun.data.table.advice import marking
from dlrun.data.table.values.amounts import number
from dlrun.errors import DataError

Counts = NDArray[np.int64]
Rows = NDArray[np.int64]

NONE = 3  # of a row that is in no subset
_TOGETHER = 1 << 22  # rows of all splits held at once: 32 MB of indices


class Split:
    """The rows of each subset, int64, in ascending order; no row is in two of them, and only folds in time leave rows out.

    Args:
        subset: which subset each row is in (train, validation, test, or NONE of them), int8 [N].
    """

    __slots__ = ("subset",)

    def __init__(self, subset: NDArray[np.int8]) -> None:
        self.subset = subset

    @property
    def train(self) -> Rows:
        """The rows that a run learns from."""
        return _where(self.subset, TRAIN)

    @property
    def validation(self) -> Rows:
        """The rows by which settings are chosen."""
        return _where(self.subset, VALIDATION)

    @property
    def test(self) -> Rows:
        """The rows that are reported."""
        return _where(self.subset, TEST)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """How many rows are for training, validation and testing."""
        train, validation, test = np.bincount(self.subset, minlength=NONE)[:NONE].tolist()
        return train, validation, test


class Splits(Sequence[Split]):
    """Splits of the same rows.

    Args:
        subsets: which subset each row is in, int8 [S, N].
    """

    __slots__ = ("subsets",)

    def __init__(self, subsets: NDArray[np.int8]) -> None:
        self.subsets = subsets

    @staticmethod
    def of(several: Sequence[Split]) -> "Splits":
        """The same splits, held as one array."""
        return several if isinstance(several, Splits) else Splits(np.stack([split.subset for split in several]))

    @staticmethod
    def joined(several: Sequence["Splits"]) -> "Splits":
        """All of them, one after the other."""
        return several[0] if len(several) == 1 else Splits(np.concatenate([each.subsets for each in several]))

    def __len__(self) -> int:
        return len(self.subsets)

    @overload
    def __getitem__(self, place: int) -> Split: ...
    @overload
    def __getitem__(self, place: slice) -> "Splits": ...
    def __getitem__(self, place: int | slice) -> "Split | Splits":
        return Splits(self.subsets[place]) if isinstance(place, slice) else Split(self.subsets[place])

    def select(self, places: Sequence[int]) -> "Splits":
        """Those at some places."""
        return Splits(self.subsets[places])

    def sizes(self) -> tuple[Counts, Counts, Counts]:
        """How many rows each split has for training, validation and testing: int64 [S] each."""
        train, validation, test = ((self.subsets == part).sum(1, dtype=np.int64) for part in (TRAIN, VALIDATION, TEST))
        return train, validation, test

    def rows(self, subset: Literal["train", "validation", "test"]) -> Rows:
        """The rows of a subset, which has the same size in all splits: int64 [S, n]."""
        part = (TRAIN, VALIDATION, TEST)[("train", "validation", "test").index(subset)]
        return np.nonzero(self.subsets == part)[1].reshape(len(self), -1)

    def order(self) -> Rows:
        """All rows that are in a subset, those for training first and those for testing last: int64 [S, N]."""
        used = int((self.subsets != NONE).sum(1).max())
        return np.argsort(self.subsets, axis=1, kind="stable")[:, :used]


def split(
    data: Data,
    *,
    seed: int,
    validation: float = 0.2,
    test: float = 0.2,
    folds: int = 1,
    fold: int = 0,
    stratify: bool = True,
) -> Split:
    """One split of ``data``; see ``splits``."""
    return splits(data, [seed], fold=[fold], validation=validation, test=test, folds=folds, stratify=stratify)[0]


def splits(
    data: Data,
    seeds: Sequence[int],
    *,
    fold: Sequence[int] = (),
    validation: float = 0.2,
    test: float = 0.2,
    folds: int = 1,
    stratify: bool = True,
) -> Splits:
    """Many splits of ``data`` at once, one for each seed; each equals what ``split`` gives alone.

    With ``folds`` above 1 the rows of a seed are dealt into folds as equal as possible: fold k is the test set of split k
    (``test`` plays no part), and its validation rows come from the folds that follow it. Where a fold is a row shorter than
    others, that row is one more for validation, so that all folds train on the same number of rows.

    Where the data has a ``subset``, ``groups`` or ``time``, the split follows that, and ``design`` says how.

    Args:
        seeds: seeds of the "split" stream, R of them.
        fold: which fold each split tests on, R of them; 0 for all when empty.
        validation: share of all rows for validation, in [0, 1); in a fixed split and in folds in time, share of the rows that are
            for training or validation.
        test: share of all rows for testing, in [0, 1); it plays no part in a fixed split.
        stratify: keep the proportions of the classes (binary, multiclass, similarity and metric_learning; no effect elsewhere).

    Returns:
        R splits.

    Raises:
        DataError: when there are too few rows, or a class has a single one and ``stratify`` is set; or folds are asked for
            of data with a fixed split.
    """
    fold = list(fold) or [0] * len(seeds)
    if data.subset is not None:
        return Splits(_fixed(data, data.subset, seeds, validation, folds, stratify))
    if data.time is not None:
        each = {k: design.in_time(data.name, data.time, validation, test, folds, k) for k in sorted(set(fold))}
        return Splits(np.stack([each[k] for k in fold]))
    if data.groups is not None:
        labels = data.labels if stratify else None
        how = design.Shares(validation, test, folds)
        return Splits(design.by_groups(data.name, data.groups, labels, how, streams.keys(seeds, "split"), fold))
    members = _members(data, stratify)
    codes = {k: _codes(data.name, members, validation, test, folds, k) for k in sorted(set(fold))}
    return Splits(_dealt(members, seeds, [codes[k] for k in fold], np.zeros(len(data), dtype=np.int8)))


def is_drawn(data: Data, subset: str) -> bool:
    """Whether a seed decides which rows a subset has; else they are the same for all seeds."""
    if data.subset is not None:
        return subset != "test" and VALIDATION not in data.subset
    return data.time is None


def _fixed(
    data: Data, subset: NDArray[np.int8], seeds: Sequence[int], validation: float, folds: int, stratify: bool
) -> NDArray[np.int8]:
    """The split that the data has, int8 [R, N]; where it has no validation rows, these are drawn from the training rows."""
    if folds > 1:
        raise DataError(
            f"dataset {data.name}: folds={folds} would deal the rows anew, and the data says which are for testing; "
            "type dataset.folds=1"
        )
    learnt = np.flatnonzero(subset == TRAIN)
    if not len(learnt):
        raise DataError(f"dataset {data.name}: none of its {len(data):,} rows is for training; mark some as such")
    if (subset == VALIDATION).any() or validation == 0:
        return np.repeat(subset[None], len(seeds), 0)
    labels = data.labels if stratify else None
    kinds = np.zeros(len(learnt), dtype=np.int64) if labels is None else labels[learnt]
    members = [learnt[places] for places in _by_class(kinds)]
    codes = _codes(data.name, members, validation, 0.0, 1, 0)
    return _dealt(members, seeds, [codes] * len(seeds), subset)


def _dealt(
    members: list[Rows], seeds: Sequence[int], codes: Sequence[NDArray[np.int8]], others: NDArray[np.int8]
) -> NDArray[np.int8]:
    """The rows of each class in random order, with ``codes`` [n] for their places: int8 [R, N].

    Args:
        members: rows of each class, n in all.
        others: what rows that are none of these are, int8 [N].
    """
    found: list[NDArray[np.int8]] = []
    together = max(1, _TOGETHER // len(others))
    for start in range(0, len(seeds), together):
        stop = min(start + together, len(seeds))
        order_RN = _order(members, streams.keys(seeds[start:stop], "split"))
        subset_RN = np.repeat(others[None], stop - start, 0)
        np.put_along_axis(subset_RN, order_RN, np.stack(codes[start:stop]), 1)
        found.append(subset_RN)
    return np.concatenate(found)


def _where(subset: NDArray[np.int8], part: int) -> Rows:
    return np.flatnonzero(subset == part)


def _members(data: Data, stratify: bool) -> list[Rows]:
    """The rows of each class that has any, C arrays; all rows as one class when the split is not stratified."""
    labels = data.labels if stratify else None
    if labels is None:
        return [np.arange(len(data))]
    lonely = np.flatnonzero(np.bincount(labels) == 1).tolist()
    if lonely:
        named = [data.classes[label] if label < len(data.classes) else str(label) for label in lonely[:8]]
        message = (
            f"{len(lonely)} of the classes {'has' if len(lonely) == 1 else 'have'} a single row ({', '.join(map(repr, named))})"
        )
        leave = ", leave it out" if len(lonely) == 1 else ", leave them out"
        if data.encoding is not None and len(lonely) == len(named) and (marks := marking([*data.encoding.missing, *named])):
            leave += f" with {marks}"
        if data.encoding is not None and all(number(name) is not None for name in data.classes):
            leave += ", type dataset.task=regression if they are amounts"
        raise DataError(
            f"dataset {data.name}: {message}, and a stratified split needs at least 2 rows of each; "
            f"add rows{leave}, or set dataset.stratify=false"
        )
    return _by_class(labels)


def _by_class(labels: NDArray[np.int64]) -> list[Rows]:
    """The places of each class that has any."""
    ends = np.bincount(labels).cumsum()[:-1]
    return [part for part in np.split(np.argsort(labels, kind="stable"), ends) if len(part)]


def _order(members: list[Rows], keys_R: NDArray[np.int64]) -> Rows:
    """All rows, class after class, each class in random order: int64 [R, N]."""
    shuffled = [rows[streams.permutations(streams.derive(keys_R, number), len(rows))] for number, rows in enumerate(members)]
    return np.concatenate(shuffled, axis=1)


def _codes(name: str, members: list[Rows], validation: float, test: float, folds: int, fold: int) -> NDArray[np.int8]:
    """Which subset each place of the order belongs to: int8 [N]."""
    counts = np.array([len(rows) for rows in members], dtype=np.int64)
    rows = int(counts.sum())
    starts = np.cumsum(counts) - counts
    place = np.arange(rows)
    if folds > 1:
        if not 0 <= fold < folds <= rows:
            raise DataError(
                f"dataset {name}: folds={folds}, fold={fold} with {rows} rows; "
                "there can be as many folds as rows, and fold goes from 0 to folds-1"
            )
        tested = place % folds == fold
        rank = (place - fold - 1) % folds * rows + place
        wanted = int(tested.sum())
    else:
        wanted = _round(rows, test)
        rank = place
    validated = _round(rows, validation)
    if folds > 1 and validated:
        validated += -(-rows // folds) - wanted
    _check_sizes(name, counts, wanted, validated, f"validation={validation:g}, {f'{folds=}' if folds > 1 else f'test={test:g}'}")
    if folds > 1:
        left = counts - np.add.reduceat(tested, starts, dtype=np.int64)
    else:
        test_rows = _allocate(counts, wanted, np.maximum(counts - 2, 1), counts - 1)
        tested = place - np.repeat(starts, counts) < np.repeat(test_rows, counts)
        left = counts - test_rows
    codes = np.full(rows, TRAIN, dtype=np.int8)
    codes[tested] = TEST
    for start, count, size in zip(starts, counts, _allocate(counts, validated, left - 1, left - 1), strict=True):
        free = start + np.flatnonzero(~tested[start : start + count])
        codes[free[np.argsort(rank[free], kind="stable")[:size]]] = VALIDATION
    return codes


def _round(rows: int, fraction: float) -> int:
    return max(1, int(rows * fraction + 0.5)) if fraction > 0 else 0


def _check_sizes(name: str, counts: Counts, tested: int, validated: int, asked: str) -> None:
    rows, classes = int(counts.sum()), len(counts)
    left = rows - tested - validated
    if left < classes:
        need = "at least 1" if classes == 1 else f"{classes}, one for each class"
        remedy = "give more rows, or lower dataset.validation or dataset.test"
        remedy += ", or set dataset.stratify=false" if classes > 1 else ""
        raise DataError(f"dataset {name}: {rows} rows with {asked} leave {max(0, left)} for training, not {need}; {remedy}")


def _allocate(counts: Counts, total: int, gentle: Counts, limit: Counts) -> Counts:
    """Share ``total`` rows among classes in proportion to ``counts``, by largest remainders: int64 [C].

    Every class gets at least one while there are enough. No class gets more than ``gentle``, which leaves rows for the other
    subsets, unless the total cannot be reached without; then no more than ``limit``, whose sum must reach it.
    """
    cap = gentle if gentle.sum() >= total else limit
    least = np.minimum(cap, 1)
    if least.sum() > total:
        least = np.zeros_like(counts)
    exact = counts * total / counts.sum()
    given: Counts = np.clip(counts * total // counts.sum(), least, cap)
    # Ties go to the first class, so that sizes follow from the counts alone.
    while (missing := total - int(given.sum())) != 0:
        step = 1 if missing > 0 else -1
        movable = given < cap if step > 0 else given > least
        short = np.where(movable, (exact - given) * step, -np.inf)
        given[np.argsort(-short, kind="stable")[: min(abs(missing), int(movable.sum()))]] += step
    return given
