"""What takes the steps of a cohort and computes what is measured of it: the torch way (by_torch/), or the native one (lanes/).

Shapes: R runs, P parameters, Q buffers, K outputs, E numbers of a code, n rows.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dlrun.components.arrays import Array
from dlrun.engine.batches import Batches, Here
from dlrun.engine.state import Parameters
from dlrun.engine.step import TrainStep

Outputs = tuple[Array, Array]
"""Outputs of the models and what stands before the head, [R, n, K, ...]."""

Evaluation = tuple[Array | None, Outputs | None]
"""The loss of every run [R], and outputs. Of these two at most one is None: outputs that nobody wants, or a loss that is left to
``Way.loss`` where there are outputs.
"""

Diagnostics = dict[str, Array]
"""By name (measuring/diagnostics.py), a number of every run [R], or one for each of some layers [R, L]."""

UNITS = ("mean_activation", "dead_units", "saturation")
"""The diagnostics of each activation."""


class Way(Protocol):
    """One way of taking steps, for the present rows of a cohort. It has all that the steps change.

    Begun with theta and buffers before the first step, which are evaluated until ``evaluated`` or ``use`` says otherwise.
    """

    name: str

    def epoch(
        self, number: int, step: int, steps: range, factors: NDArray[np.float64] | None, interrupted: Callable[[int], bool]
    ) -> int:
        """Take ``steps`` of epoch ``number``, both counted from 0, or the first of them where ``interrupted`` says so.

        Args:
            step: how many steps were taken before, in all epochs.
            factors: [steps.stop, R], what the schedules multiply the learning rates with; None for 1.
            interrupted: is told how many steps are taken by then.

        Returns:
            How many steps are taken now.
        """

    def arrays(self) -> dict[str, Array]:
        """By name, what the steps have changed."""

    def restore(self, arrays: Mapping[str, Array], step: int) -> None:
        """Stand where ``arrays``, of the same shapes, were taken, after ``step`` steps."""

    def evaluated(self, step: int) -> None:
        """Evaluate from now on with the parameters that ``step`` steps have led to."""

    def use(self, theta: Array, buffers: Array) -> None:
        """Evaluate with these parameters [R, P] and buffers [R, Q] from now on. No step is taken after that."""

    def finite(self) -> NDArray[np.bool_]:
        """Whether the parameters of each run that are evaluated are finite: [R]."""

    def parameters(self, rows: NDArray[np.int64] | None = None) -> Parameters:
        """Copies of the parameters and buffers that are evaluated, of some rows."""

    def evaluate(self, here: Here, outputs: bool) -> Evaluation:
        """What the runs make of the rows ``here``; without ``outputs`` the losses alone."""

    def loss(self, here: Here, outputs: Outputs) -> Array:
        """The loss of every run on the rows ``here`` [R], of which it makes these outputs."""

    def codes(self, here: Here) -> Array:
        """The codes of the rows ``here`` [R, n, E], see ``TrainStep.codes``."""

    def scores(self, x: Array) -> Array:
        """The outputs for other rows [n, *shape], which are prepared for each run: [R, n, K]."""

    def inside(self, here: Here) -> Diagnostics:
        """What goes on inside when the rows ``here`` are a batch, of which the loss alone counts and nothing is dropped.

        ``gradient_norm``, and where there are activations ``mean_activation``, ``dead_units`` and ``saturation`` (see
        measuring/diagnostics.py). Running statistics stay as they are.
        """

    def of(self, train_step: TrainStep, table: Batches, initial: Parameters) -> "Way":
        """The same for any of the cohort's runs, which are those of ``train_step`` and ``table``."""

    def select(self, train_step: TrainStep, table: Batches, keep: Sequence[int]) -> "Way":
        """The same for some of the rows, which are those of ``train_step`` and ``table``, by their present places."""
