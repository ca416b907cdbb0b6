"""What became of a run, and in words what there is to know about it.

Shapes: R runs, E evaluations.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import NDArray

from dlrun.components.arrays import Array
from dlrun.engine.measuring.diagnostics import jumps

Status = Literal["done", "stopped", "diverged", "interrupted"]


@dataclass
class Outcome:
    """What became of one run."""

    status: Status = "done"
    reason: str = ""
    epochs: int = 0
    steps: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    diagnostics: dict[str, float | list[float]] = field(default_factory=dict)
    history: dict[str, list[float]] = field(default_factory=dict)
    weights: dict[str, Array] = field(default_factory=dict)
    predictions: dict[str, NDArray[Any]] = field(default_factory=dict)  # by subset
    parameters: int = 0
    cut: list[float] | None = None  # log odds of the thresholds; None for p = 0.5
    engine: str = "torch"  # what trained it: native or torch


def add_jumps(outcomes: Sequence[Outcome], losses: Array, epochs: Sequence[float]) -> None:
    """Add to the reason of each run whose training loss had settled, and then jumped.

    Args:
        outcomes: of all runs.
        losses: [R, E], the training loss after each evaluation.
        epochs: of the evaluations.
    """
    for row, at in enumerate(jumps(losses).tolist()):
        outcome = outcomes[row]
        if at >= 0 and epochs[at] <= outcome.epochs and outcome.status != "diverged":
            before, after = losses[row, at - 1 : at + 1].tolist()
            message = (
                f"the training loss had settled and jumped from {before:.3g} to {after:.3g} by epoch {epochs[at]:.0f}; "
                "a smaller optimizer.lr or trainer.clip_norm=1 may help"
            )
            outcome.reason = f"{outcome.reason}; {message}" if outcome.reason else message
