"""Which trials of a batch are trained to their end: successive halving, and Hyperband.

    rungs    epochs r, r eta, r eta^2, ... and at last all of them
    bracket  trials that begin at the same rung; at each, the best of n // eta of its n trials go on to the next

``halving`` is one bracket that begins at the lowest rung. ``hyperband`` shares a batch out among brackets that begin at each of
the rungs, for settings that are slow at first and best in the end (Li et al. 2018, https://jmlr.org/papers/v18/16-558.html).
"""

import math
from collections import Counter
from collections.abc import Sequence

PRUNERS = ("none", "halving", "hyperband")


def rungs(epochs: int, *, batch: int, eta: int, least: int | None = None, every: int = 1) -> tuple[int, ...]:
    """The epochs at which trials are compared, and at last ``epochs``; no rung where less than eta times as many are left.

    Args:
        epochs: of a trial that is trained to its end.
        batch: trials that are compared; without ``least``, there are as many rungs as it takes to choose one of them.
        least: epochs of the lowest rung.
        every: epochs from one evaluation to the next: rungs are multiples of it.
    """
    if least is None:
        halvings = 0
        while eta ** (halvings + 1) <= batch:
            halvings += 1
        least = max(1, epochs // eta**halvings)
    at, found = math.ceil(least / every) * every, []
    while at * eta <= epochs:
        found.append(at)
        at *= eta
    return (*found, epochs)


def paths(pruner: str, count: int, rungs: Sequence[int], *, eta: int) -> list[tuple[int, ...]]:
    """The rungs of each of ``count`` trials of a batch, in their order: those of a bracket have the same ones.

    Hyperband's brackets have trials in the ratio of eta^s (K + 1) / (s + 1), where s + 1 is the number of a bracket's rungs and
    K + 1 that of all: about as many epochs for each bracket.
    """
    if pruner != "hyperband":
        return [tuple(rungs if pruner == "halving" else rungs[-1:])] * count
    shares = [eta ** (left - 1) / left for left in range(len(rungs), 0, -1)]
    ends = [round(count * math.fsum(shares[: number + 1]) / math.fsum(shares)) for number in range(len(shares))]
    return [tuple(rungs[sum(end <= number for end in ends) :]) for number in range(count)]


def kept(qualities: Sequence[float | None], *, eta: int, maximize: bool) -> list[int]:
    """The places of those of a bracket that go on: the best n // eta of n, at least one; of equal ones the first.

    None is a trial without a value, which does not go on.
    """
    sign = -1 if maximize else 1
    known = [(sign * quality, place) for place, quality in enumerate(qualities) if quality is not None]
    return sorted(place for _, place in sorted(known)[: max(1, len(qualities) // eta)])


def ahead(path: Sequence[int], count: int) -> tuple[int, ...]:
    """The rungs ahead of a bracket of ``count`` trials: one alone has nothing to be compared with, and trains to its end."""
    return tuple(path if count > 1 else path[-1:])


def cost(batch: Sequence[tuple[int, ...]], *, eta: int) -> int:
    """The epochs that the trials of a batch train, from their paths. From rung to rung training begins anew, which is counted."""
    total = 0
    for path, count in Counter(batch).items():
        left = ahead(path, count)
        while left:
            total += count * left[0]
            count = max(1, count // eta)
            left = ahead(left[1:], count)
    return total
