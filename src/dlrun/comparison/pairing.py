"""Which runs of several groups can be paired: the seeds and folds that groups share, and those at which one lost its run.

A key is (seed, fold). A group *has* a key when a run was asked for there, however it ended, and *loses* it when that run has no
value of the metric although the run of another group has one. What is lost depends on the group then, and the runs that are left
are no fair sample of it. Where no group has a value (a fold in which the metric is not defined), nothing is lost.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

Key = tuple[int, int | None]
Values = Mapping[Key, float]

_MOST = 64  # different sets of keys of which each two are looked at


@dataclass(frozen=True)
class Lost:
    """The runs that a group lost.

    Args:
        how: how they ended -> their number.
        runs: how many runs the group has.
    """

    how: Mapping[str, int]
    runs: int

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(self.how.values())

    @property
    def diverged(self) -> bool:
        """Whether all of them diverged, so that each is worse than any run with a value."""
        return set(self.how) == {"diverged"}

    def said(self, whose: str = "") -> str:
        """``10 of 20 runs diverged``; with ``whose``, such as ``of the reference``, between the runs and how they ended."""
        runs = " ".join(filter(None, (f"{self.count:,} of {self.runs:,} runs", whose)))
        if len(self.how) == 1:
            return f"{runs} {_ended(next(iter(self.how)))}"
        return f"{runs} lost ({', '.join(f'{count:,} {_ended(status)}' for status, count in self.how.items())})"


def defined(values: Values) -> frozenset[Key]:
    """Where a group has a value."""
    return frozenset(key for key, value in values.items() if math.isfinite(value))


def lost(values: Values, elsewhere: Collection[Key], endings: Mapping[Key, str]) -> Lost | None:
    """What a group lost of which others have a value; None when it is nothing.

    Args:
        values: (seed, fold) -> value of the group, not finite where there is none.
        elsewhere: where others have a value.
        endings: (seed, fold) -> how the group's run ended.
    """
    how = Counter(endings[key] for key, value in values.items() if not math.isfinite(value) and key in elsewhere)
    return Lost(dict(how), len(values)) if how else None


def common(keys: Sequence[frozenset[Key]]) -> frozenset[Key]:
    """The keys on which most pairs of runs can be compared, by groups that all have all of them.

    With m groups that have all of a set of k keys there are (m - 1) k pairs with the best one. The sets that are considered are
    those of the groups and what they have in common. Empty where no two groups share a key.
    """
    counted = Counter(keys)
    if len(counted) < 2:
        return next(iter(counted), frozenset())
    distinct = list(counted)
    shared = [one & other for one, other in combinations(distinct, 2)] if len(distinct) <= _MOST else []
    candidates = dict.fromkeys([*distinct, *shared, frozenset.intersection(*distinct)])
    members = {found: sum(count for mine, count in counted.items() if found <= mine) for found in candidates}
    best = max(candidates, key=lambda found: ((members[found] - 1) * len(found), members[found]))
    return best if members[best] > 1 else frozenset()


def _ended(status: str) -> str:
    return {"undefined": "without a value", "pending": "not trained"}.get(status, status)
