"""What training changes, and nothing else: cut when rows end, replaced as a whole.

Shapes: R runs, P parameters, Q buffers.
"""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class Best:
    """What early stopping goes back to: for each run its best watched value so far, and the parameters it had then."""

    value: Tensor  # [R], smaller is better
    theta: Tensor  # [R, P]
    buffers: Tensor  # [R, Q]


@dataclass
class State:
    """Everything that training changes, for R runs."""

    theta: Tensor  # [R, P]
    buffers: Tensor  # [R, Q], such as running statistics
    optimizers: list[dict[str, Tensor]]  # for each group of rows its state matrices
    grad: Tensor  # [R, P], scratch
    step: int = 0
    best: Best | None = None
    kinks: list[dict[str, Tensor]] = field(default_factory=list)  # for each penalty with a kink what it keeps, [R, P]
