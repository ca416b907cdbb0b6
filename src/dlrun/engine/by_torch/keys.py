"""Random keys while training: for the order of rows, for dropout, for regularizers that change the batch.

Shapes: R runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dlrun import streams
from dlrun.lazy import Tensor, torch


@dataclass(frozen=True)
class StepKeys:
    """Random keys of one step: for dropout, and for each regularizer that changes the batch. [R] each."""

    dropout: Tensor | None
    augment: tuple[Tensor, ...]


class Keys:
    """The random streams of the runs, from which those of an epoch and of a step are derived on the device."""

    def __init__(self, seeds: Sequence[int], *, dropout: bool, transforms: int, device: torch.device) -> None:
        order, of_dropout, augment = (
            torch.from_numpy(streams.seeded(seeds, name)).to(device) for name in ("order", "dropout", "augment")
        )
        self._order, self._dropout, self._augment = order, of_dropout if dropout else None, augment
        self._transforms = transforms

    def order(self, epoch: int) -> Tensor:
        """Keys for the order of an epoch's rows: [R]."""
        return streams.derive(self._order, epoch)

    def epoch(self, epoch: int) -> Callable[[int], StepKeys]:
        """Keys for each step of an epoch, by its number in the epoch."""
        if self._dropout is None and not self._transforms:
            nothing = StepKeys(None, ())
            return lambda step: nothing
        dropout = None if self._dropout is None else streams.derive(self._dropout, epoch)
        augment = streams.derive(self._augment, epoch)

        def at(step: int) -> StepKeys:
            mine = streams.derive(augment, step) if self._transforms else augment
            return StepKeys(
                None if dropout is None else streams.derive(dropout, step),
                tuple(streams.derive(mine, number) for number in range(self._transforms)),
            )

        return at
