"""Checkpoints: a cohort between two steps, from which its training goes on with the same bits.

    checkpoint = take(training, epoch, seconds)     copies of all that training has changed
    restore(training, checkpoint)                   a fresh training of the same cohort stands where the other one stood

Random numbers need not be kept: each is a function of seed, epoch and step (see streams).

Shapes: R runs of the cohort, r rows present in theta, E evaluations, P parameters, Q buffers.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dlrun.components.arrays import Array
from dlrun.engine.state import Best

if TYPE_CHECKING:
    from dlrun.engine.trainer import Training

MOST_COST = 0.01  # of the training time that checkpoints may take, however long one of them takes


class UnfitCheckpointError(Exception):
    """The checkpoint is not one of this cohort, trained in this way."""


@dataclass(frozen=True)
class Checkpoint:
    """What training has changed.

    Args:
        facts: what can be written as JSON: the step, the epochs completed, the rows present, what became of each run.
        arrays: by name.
    """

    facts: Mapping[str, Any]
    arrays: Mapping[str, Array]

    @property
    def seconds(self) -> float:
        """That training had taken."""
        found = self.facts.get("seconds")
        return found if isinstance(found, float) else 0.0


def take(training: "Training", epoch: int, seconds: float) -> Checkpoint:
    """The state of ``training`` between two steps.

    Args:
        epoch: how many epochs were completed and evaluated.
        seconds: that training took so far.
    """
    ended = ~training.alive[training.order]
    arrays = {f"way/{name}": value for name, value in training.way.arrays().items()}
    arrays |= {"alive": training.alive, "final/theta": training.final[0][ended], "final/buffers": training.final[1][ended]}
    arrays |= {f"seen/{number}": seen[: len(training.records)] for number, seen in enumerate(training.seen)}
    best = training.best
    if best is not None:
        arrays |= {"best/value": best.value, "best/theta": best.theta, "best/buffers": best.buffers}
    for name in training.records[0][1] if training.records else ():
        arrays[f"records/{name}"] = np.stack([found[name] for _, found in training.records])  # [E, R]
    facts = {
        "engine": training.way.name,
        "epoch": epoch,
        "step": training.step,
        "seconds": seconds,
        "rows": list(training.active),
        "evaluated": [at for at, _ in training.records],
        "outcomes": [[outcome.status, outcome.reason, outcome.epochs, outcome.steps] for outcome in training.outcomes],
    }
    return Checkpoint(facts, {name: np.array(value) for name, value in arrays.items()})


def restore(training: "Training", checkpoint: Checkpoint) -> tuple[int, float]:
    """Let ``training``, which is fresh, stand where the one stood that the checkpoint was taken of.

    Returns:
        How many epochs it had completed, and the seconds that this took.

    Raises:
        UnfitCheckpointError: it is of another cohort, or was trained in another way; ``training`` is not to be used then.
    """
    facts, arrays = checkpoint.facts, checkpoint.arrays
    try:
        if facts["engine"] != training.way.name:
            raise UnfitCheckpointError(f"it was trained by {facts['engine']}, and goes by {training.way.name} here")
        place_of = {row: place for place, row in enumerate(training.order)}
        places = [place_of[row] for row in facts["rows"]]
        if places != sorted(set(places)):
            raise UnfitCheckpointError("its runs are in another order")
        if len(places) < len(training.order):
            training.cut(places)
        training.step = facts["step"]
        kept = {name.removeprefix("way/"): value for name, value in arrays.items() if name.startswith("way/")}
        mine = training.way.arrays()
        if kept.keys() != mine.keys():
            raise UnfitCheckpointError(f"it holds {', '.join(sorted(kept))}")
        for name, value in mine.items():
            _check(value, kept[name])
        training.way.restore(kept, training.step)
        _overwrite(training.alive, arrays["alive"])
        ended = ~training.alive[training.order]
        for matrix, name in zip(training.final, ("theta", "buffers"), strict=True):
            _check(matrix[ended], arrays[f"final/{name}"])
            matrix[ended] = arrays[f"final/{name}"]
        for number, seen in enumerate(training.seen):
            _overwrite(seen[: len(facts["evaluated"])], arrays[f"seen/{number}"])
        if "best/value" in arrays:
            training.best = Best(np.empty(len(training.active)), *training.way.parameters())
            for name in ("value", "theta", "buffers"):
                _overwrite(getattr(training.best, name), arrays[f"best/{name}"])
        columns = {name.removeprefix("records/"): value for name, value in arrays.items() if name.startswith("records/")}
        training.records = [
            (at, {name: column[n] for name, column in columns.items()}) for n, at in enumerate(facts["evaluated"])
        ]
        for outcome, found in zip(training.outcomes, facts["outcomes"], strict=True):
            outcome.status, outcome.reason, outcome.epochs, outcome.steps = found
        return int(facts["epoch"]), checkpoint.seconds
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UnfitCheckpointError(f"it lacks {error}") from error


def _check(mine: Array, kept: Array) -> None:
    if mine.shape != kept.shape or mine.dtype != kept.dtype:
        raise UnfitCheckpointError(f"it has numbers of shape {[*kept.shape]} where {[*mine.shape]} are expected")


def _overwrite(mine: Array, kept: Array) -> None:
    _check(mine, kept)
    mine[...] = kept


class Keeper:
    """Takes checkpoints when it is time.

    Args:
        seconds: from one to the next, and from the beginning to the first.
        keep: what gets them.
    """

    def __init__(self, seconds: float, keep: Callable[[Checkpoint], None]) -> None:
        self._seconds, self._keep, self._step = seconds, keep, 0
        self._next = time.perf_counter() + seconds

    def due(self, step: int) -> bool:
        """Whether it is time; never twice at the same step."""
        return step > self._step and time.perf_counter() >= self._next

    def take(self, training: "Training", epoch: int, seconds: float) -> None:
        """Take one, unless there is one of this step, and hand it on. The next is due later where this one took long."""
        began, before, self._step = time.perf_counter(), self._step, training.step
        if before == self._step:
            return
        self._keep(take(training, epoch, seconds))
        now = time.perf_counter()
        self._next = now + self.pause(self._seconds, now - began)

    @staticmethod
    def pause(seconds: float, taken: float) -> float:
        """Seconds until the next is due, after one that took so long."""
        return max(seconds, taken / MOST_COST)
