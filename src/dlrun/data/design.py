"""Splits that the data dictates: rows of a group stay together, or the future is predicted from the past.

    by_groups    no group on two sides; sizes and proportions of classes as near to those asked for as groups allow
    in_time      training rows before validation rows before test rows, equal times together; folds move forward

Groups are dealt one by one, large ones first and otherwise in random order. Each goes to the part for which the sum over parts j
and classes c of (n_jc - f_j N_c)^2 / (f_j N_c) grows least, with n_jc the rows that part j has and f_j the share that it is to
have: parts of any size come near to it, and to the proportions of the classes. Where groups are few, several orders are tried,
and the one with the least sum is taken; where they are very many, all but the last are dealt by their shares alone.

Shapes: R splits, T tries for each, N rows, G groups, J parts, C classes (1 when the split is not stratified).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dlrun import streams
from dlrun.data.dataset import TEST, TRAIN, VALIDATION
from dlrun.errors import DataError, plural

Subsets = NDArray[np.int8]

_NONE = 3  # of rows behind a fold in time
_TRIED = 1 << 11  # groups of all tries together
_MOST_TRIES = 16
_WEIGHED = 1 << 11  # groups that are weighed one by one: many more leave nothing to mend
_TOGETHER = 1 << 22  # rows of all splits held at once
_MOST_VALIDATION = 0.9  # of the rows that are not tested, where one group is most of the others


class Shares(NamedTuple):
    """How the rows are to be shared out, as in ``splits``."""

    validation: float
    test: float
    folds: int


def by_groups(
    name: str,
    groups: NDArray[np.int64],
    labels: NDArray[np.int64] | None,
    how: Shares,
    keys_R: NDArray[np.int64],
    fold: Sequence[int],
) -> Subsets:
    """Splits that leave groups whole: int8 [R, N].

    With folds each group is tested in one of them, and validation rows are dealt from the other groups.

    Args:
        groups: of each row, any numbers.
        labels: the class of each row; None where proportions do not count.
        keys_R: of the "split" stream.
        fold: which fold each split tests on.

    Raises:
        DataError: there are fewer groups than subsets, or than folds.
    """
    names, place = np.unique(groups, return_inverse=True)
    subsets = 1 + (how.validation > 0) + (how.test > 0 or how.folds > 1)
    if len(names) < max(subsets, how.folds):
        folds = how.folds > 1
        what = f"dataset.folds={how.folds} needs" if folds else "training, validation and test rows need"
        raise DataError(
            f"dataset {name}: has {plural(len(names), 'group')}, and {what} {max(subsets, how.folds)}, since no group is split; "
            f"{'take fewer folds, or ' * folds}name a column with more groups"
        )
    kinds = np.zeros(len(groups), dtype=np.int64) if labels is None else labels
    count = int(kinds.max()) + 1
    sizes_GC = np.bincount(place * count + kinds, minlength=len(names) * count).reshape(len(names), count)
    together, found = max(1, _TOGETHER // len(groups)), []
    for start in range(0, len(keys_R), together):
        some = slice(start, start + together)
        found.append(_subsets_of_groups(sizes_GC, how, keys_R[some], fold[some])[:, place])
    return np.concatenate(found)


def _subsets_of_groups(sizes_GC: NDArray[np.int64], how: Shares, keys_R: NDArray[np.int64], fold: Sequence[int]) -> Subsets:
    """The subset of each group: int8 [R, G]."""
    if how.folds == 1:
        wanted = {TRAIN: 1 - how.validation - how.test, VALIDATION: how.validation, TEST: how.test}
        used = {subset: share for subset, share in wanted.items() if share > 0}
        dealt = _deal(sizes_GC, [*used.values()], keys_R)
        return np.array([*used], dtype=np.int8)[dealt]
    dealt = _deal(sizes_GC, [1 / how.folds] * how.folds, keys_R)
    subsets = np.full(dealt.shape, TRAIN, dtype=np.int8)
    for number, (mine, k) in enumerate(zip(dealt, fold, strict=True)):
        subsets[number, mine == k] = TEST
        rest = np.flatnonzero(mine != k)
        if how.validation > 0 and len(rest) > 1:
            share = min(how.validation * sizes_GC.sum() / sizes_GC[rest].sum(), _MOST_VALIDATION)
            inner = _deal(sizes_GC[rest], [1 - share, share], streams.derive(keys_R[number : number + 1], k + 1))[0]
            subsets[number, rest[inner == 1]] = VALIDATION
    return subsets


def _deal(sizes_GC: NDArray[np.int64], shares: Sequence[float], keys_R: NDArray[np.int64]) -> NDArray[np.int64]:
    """The part of each group, with no part empty: int64 [R, G]."""
    count, sizes_GC = len(sizes_GC), sizes_GC[:, sizes_GC.any(0)]
    tries = max(1, min(_MOST_TRIES, _TRIED // count))
    keys = np.stack([streams.derive(keys_R, number) for number in range(tries)], 1).ravel()
    order = streams.permutations(keys, count)
    large = np.log2(sizes_GC.sum(1) + np.ptp(sizes_GC, axis=1)).round()  # the hardest to place, with those of about their size
    order = np.take_along_axis(order, np.argsort(-large[order], axis=1, kind="stable"), 1)
    target_JC = np.array(shares)[:, None] * sizes_GC.sum(0)
    part, held_QJC = _by_share(sizes_GC, order, np.array(shares))
    rows = np.arange(len(order))
    for number in range(max(0, count - _WEIGHED), count):
        group = order[:, number]
        size = sizes_GC[group][:, None]  # [Q, 1, C]
        cost = (size * (2 * held_QJC + size) / target_JC).sum(2)
        empty = ~held_QJC.any(2)
        cost[(empty.sum(1) >= count - number)[:, None] & ~empty] = np.inf
        chosen = cost.argmin(1)
        part[rows, group] = chosen
        held_QJC[rows, chosen] += size[:, 0]
    off = ((held_QJC - target_JC) ** 2 / target_JC).sum((1, 2)).reshape(-1, tries)
    best: NDArray[np.int64] = part[np.arange(len(off)) * tries + off.argmin(1)]
    return best


def _by_share(
    sizes_GC: NDArray[np.int64], order: NDArray[np.int64], shares: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The part of the groups that are not weighed, [Q, G], and what each part then has: [Q, J, C]."""
    first = max(0, len(sizes_GC) - _WEIGHED)
    part = np.zeros(order.shape, dtype=np.int64)
    held = np.zeros((len(order), len(shares), sizes_GC.shape[1]), dtype=np.int64)
    ends = np.cumsum(shares)[:-1]
    for number, mine in enumerate(order[:, :first] if first else ()):
        sizes = sizes_GC[mine].sum(1)
        here = np.searchsorted(ends, (np.cumsum(sizes) - sizes / 2) / sizes.sum())
        part[number, mine] = here
        np.add.at(held[number], here, sizes_GC[mine])
    return part, held


def in_time(name: str, time: NDArray[np.float64], validation: float, test: float, folds: int, fold: int) -> Subsets:
    """The rows in the order of their time, cut into training, validation and test rows: int8 [N].

    A cut lies between two different times, the nearest to where the share of rows would have it. With folds, N // (folds + 1)
    rows are tested at a time, later ones in later folds, and what lies before them is for training and validation, as in
    scikit-learn's TimeSeriesSplit; later rows are in no subset.

    Raises:
        DataError: there are too few different times.
    """
    rows = len(time)
    order = np.argsort(time, kind="stable")
    cuts = np.flatnonzero(np.diff(time[order]) > 0) + 1  # a subset may begin at these places of the order
    ends = [rows]
    if folds > 1:
        size = max(1, rows // (folds + 1))
        ends = [rows - (folds - k) * size for k in range(folds)] + [rows]
    elif test > 0:
        ends = [rows - max(1, int(rows * test + 0.5)), rows]
    problem = DataError(
        f"dataset {name}: has {plural(len(cuts) + 1, 'different time')}, too few for "
        + (f"dataset.folds={folds}" if folds > 1 else "training, validation and test rows")
        + ", since rows of one time stay together; "
        + ("take fewer folds, or " if folds > 1 else "")
        + "name a column with more times"
    )
    ends = _between(cuts, ends, problem)
    begins = ends[fold] if len(ends) > 1 else rows
    subset = np.full(rows, _NONE, dtype=np.int8)
    subset[order[begins : ends[fold + 1] if len(ends) > 1 else rows]] = TEST
    share = validation if folds == 1 else validation * begins / rows
    validated = max(1, int(rows * share + 0.5)) if validation > 0 else 0
    learnt = _between(cuts[cuts < begins], [begins - validated, begins], problem)[0] if validated else begins
    subset[order[:learnt]], subset[order[learnt:begins]] = TRAIN, VALIDATION
    return subset


def _between(cuts: NDArray[np.int64], wanted: Sequence[int], problem: DataError) -> list[int]:
    """The cut nearest to each wanted place but the last, which stays; those before it leave each a cut of its own."""
    found = [wanted[-1]]
    for number in range(len(wanted) - 2, -1, -1):
        free = cuts[number : np.searchsorted(cuts, found[0])]
        if not len(free):
            raise problem
        found.insert(0, int(free[np.abs(free - wanted[number]).argmin()]))
    return found
