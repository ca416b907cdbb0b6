"""What is written down of the steps of a run, as the reader of a trace sees it.

Shapes: B batch rows, K outputs or classes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """A component of the run.

    Attributes:
        group, option: where it stands in the catalogue, such as loss and mse.
        formula: in lines; empty where its option has none.
        values: its hyperparameters.
    """

    group: str
    option: str
    formula: Sequence[str]
    values: Mapping[str, Any]


@dataclass(frozen=True)
class Layer:
    """One layer in one step.

    Attributes:
        name: such as ``linear 10 -> 5``.
        kind: linear, activation, head, or the layer's own name.
        input, output: [B, ...].
        gradient: of the loss with respect to the output [B, ...]; None where nothing below is trained.
        parameters: the names of its parameters.
    """

    name: str
    kind: str
    input: Numbers
    output: Numbers
    gradient: Numbers | None
    parameters: Sequence[str]


@dataclass(frozen=True)
class Parameter:
    """One parameter in one step; arrays of its shape.

    Attributes:
        gradient: of the loss.
        taken: what the optimizer was given: with the gradients of penalties, clipped.
        remembered: what the optimizer keeps of it, by name, after the step.
    """

    name: str
    before: Numbers
    gradient: Numbers
    taken: Numbers
    after: Numbers
    remembered: Mapping[str, Numbers]


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        number, epoch: from 1.
        rows: of the data, [B].
        x: inputs, scaled [B, ...].
        targets: as the data has them [B, ...]; ``y`` as the loss is given them.
        layers: in their order.
        scores: what stands before the head [B, ...], and ``output`` behind it; ``prediction`` in the units of the data.
        probability: of classes [B, ...]; None where there are none.
        values: the loss of each entry [B, ...]; None where it has none.
        row_losses: of each row [B]; NaN where the loss has none.
        loss: of the batch; ``after`` with the new parameters.
        unclipped, norm: of the gradient, before clipping and after.
    """

    number: int
    epoch: int
    rows: NDArray[np.int64]
    lr: float
    x: Numbers
    targets: Numbers
    y: Numbers
    layers: Sequence[Layer]
    parameters: Sequence[Parameter]
    scores: Numbers
    output: Numbers
    prediction: Numbers
    probability: Numbers | None
    values: Numbers | None
    row_losses: Numbers
    loss: float
    after: float
    unclipped: float
    norm: float


@dataclass(frozen=True)
class Trace:
    """Steps of a run.

    Attributes:
        title: what was typed.
        facts: of data, model and training, by name.
        parts: the components that take part.
        features, targets, classes: names; no classes of a regression.
        exclusive: whether a row has one class of several.
    """

    title: str
    facts: Mapping[str, str]
    parts: Sequence[Part]
    features: Sequence[str]
    targets: Sequence[str]
    classes: Sequence[str]
    exclusive: bool
    steps: Sequence[Step]

    def part(self, group: str) -> Part:
        """The one component of a group."""
        return next(part for part in self.parts if part.group == group)


def plain(value: Any) -> Any:
    """A trace, or a part of one, in mappings, lists, texts and numbers, for JSON; what is not finite is None."""
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value
