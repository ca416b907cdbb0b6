"""What takes the steps of a cohort and computes what is measured of it: the torch way (stepper.py), or the native one (lanes/).

Shapes: R runs, P parameters, Q buffers, K outputs, E numbers of a code, n rows.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

from dlrun.components.arrays import Array
from dlrun.engine.batches import Batches
from dlrun.engine.state import State
from dlrun.engine.step import TrainStep
from dlrun.lazy import Tensor

Outputs = tuple[Tensor, Tensor]
"""Outputs of the models and what stands before the head, [R, n, K, ...]."""

Evaluation = tuple[Tensor | None, Outputs | None]
"""The loss of every run [R], and outputs. Of these two at most one is None: outputs that nobody wants, or a loss that is to be
computed from them.
"""

Diagnostics = dict[str, Tensor]
"""By name (see diagnostics.py), a number of every run [R], or one for each of some layers [R, L]."""

UNITS = ("mean_activation", "dead_units", "saturation")
"""The diagnostics of each activation."""

Here = Tensor | slice
"""Places of rows in every run's split."""


def array(values: Tensor) -> Array:
    """What torch has computed, as metrics take it: an array, which shares the memory of a tensor on the CPU."""
    found: Array = values.cpu().numpy()
    return found


class Way(Protocol):
    """One way of taking steps, for the present rows of a cohort.

    Between epochs the buffers and the step are in ``State``, and theta is what ``evaluated`` makes of it.
    """

    name: str

    def load(self, state: State) -> None:
        """Begin with a fresh state, whose parameters are evaluated until ``evaluated`` or ``use`` says otherwise."""

    def epoch(self, state: State, number: int, steps: range, factors: Tensor | None, interrupted: Callable[[], bool]) -> None:
        """Take ``steps`` of epoch ``number``, both counted from 0, or the first of them where ``interrupted`` says so.

        ``factors`` [steps.stop, R] is what the schedules multiply the learning rates with, on the CPU; None for 1.
        """

    def tensors(self, state: State) -> dict[str, Tensor]:
        """By name, the tensors that the steps change: what is written into them is where the next step begins."""

    def evaluated(self, state: State) -> Tensor:
        """The parameters to evaluate and to keep [R, P], with which is evaluated from now on."""

    def use(self, theta: Tensor, buffers: Tensor) -> None:
        """Evaluate with these parameters [R, P] and buffers [R, Q] from now on. No step is taken after that."""

    def evaluate(self, here: Here, outputs: bool) -> Evaluation:
        """What the runs make of the rows ``here``; without ``outputs`` the losses alone, where the way computes those."""

    def codes(self, here: Here) -> Tensor:
        """The codes of the rows ``here`` [R, n, E], see ``TrainStep.codes``."""

    def scores(self, x: Tensor) -> Tensor:
        """The outputs for other rows, prepared for each run: [R, n, *shape] to [R, n, K]."""

    def inside(self, here: Here) -> Diagnostics:
        """What goes on inside when the rows ``here`` are a batch, of which the loss alone counts and nothing is dropped.

        ``gradient_norm``, and where there are activations ``mean_activation``, ``dead_units`` and ``saturation`` (see
        diagnostics.py). Running statistics stay as they are.
        """

    def of(self, train_step: TrainStep, table: Batches) -> "Way":
        """The same for any of the cohort's runs, which are those of ``train_step`` and ``table``, before anything is loaded."""

    def select(self, train_step: TrainStep, table: Batches, keep: Sequence[int], state: State) -> "Way":
        """The same for some of the rows, which are those of ``train_step`` and ``table``, by their present places.

        ``state`` is already theirs.
        """
