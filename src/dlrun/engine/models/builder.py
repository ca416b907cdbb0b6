"""What a training step is made of: the model, regularizers, losses and optimizers of R runs, in groups that are computed at once.

The model and the groups are made at once. What only torch computes with is made when it is asked for, so that runs which the
kernel trains need no torch.

Shapes: R runs, G rows of one group.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from dlrun.components import activations
from dlrun.components.activations import Activation
from dlrun.components.losses import GRADIENTS, SMOOTHED
from dlrun.components.losses.shapes import laid_out
from dlrun.components.optimizers import Optimizer, TorchOptimizer
from dlrun.components.regularizers import (
    AfterStep,
    AroundActivation,
    BatchTransform,
    EarlyStopping,
    LabelSmoothing,
    Penalty,
    Regularizer,
    Stop,
    Weights,
)
from dlrun.components.tasks import TASKS
from dlrun.data.dataset import Data
from dlrun.engine.cohort import CohortRun, Settings
from dlrun.engine.components import Component, Group, group, rowwise
from dlrun.engine.layers import AROUND, Around, Layer, Pointwise, Sample
from dlrun.engine.models import module
from dlrun.engine.models.layout import Shape
from dlrun.engine.models.model import Model, build
from dlrun.errors import InputError
from dlrun.lazy import Tensor, torch

_HEADS: dict[str, str | None] = {
    "value": None,
    "logit": None,
    "embedding": None,
    "probability": "torch.nn.Sigmoid",
    "softmax": "torch.nn.Softmax",
    "log_probability": "torch.nn.LogSoftmax",
}
_OF_PIXELS = {  # the class axis of [R, B, K, height, width] is not the last
    "torch.nn.Softmax": Activation(lambda x: torch.softmax(x, 2), elementwise=False),
    "torch.nn.LogSoftmax": Activation(lambda x: torch.log_softmax(x, 2), elementwise=False),
}


class Builder:
    """The components of a step for these runs, in the order of its rows. Creating one allocates nothing that grows with P."""

    def __init__(self, runs: Sequence[CohortRun], data: Data, settings: Settings) -> None:
        self._runs, self._data, self._settings = runs, data, settings
        self._task = TASKS[data.task]
        around, self._rest = self._around()
        self.model = self._model(around)

    @cached_property
    def weight_places(self) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
        """Where in theta the weights lie; see ``Weights``."""
        return tuple((s.start, s.stop, _place(s.spec)) for s in self.model.layout.slots if s.spec.role == "weight")

    @cached_property
    def weights(self) -> Weights:
        """Which columns of theta are weights."""
        return Weights(self._mask(), self.weight_places)

    @cached_property
    def stops(self) -> list[Stop]:
        """What ends runs early. It is given no tensors to compute with."""
        shared = [_one(self._groups(parts)) for parts in self._rest if issubclass(_class(parts[0]), Stop)]
        return [EarlyStopping(**g.columns) if g.part.function is EarlyStopping else _OwnStop(g) for g in shared]

    @cached_property
    def regularizers(self) -> list[Regularizer]:
        """What acts on a step, in the order of its application."""
        return [self._regularizer(parts) for parts in self._rest if not issubclass(_class(parts[0]), Stop)]

    @cached_property
    def loss_groups(self) -> list[Group]:
        """The rows of each loss."""
        return self._groups([run.loss for run in self._runs])

    def losses(self) -> list[tuple[Group, dict[str, Any]]]:
        """The losses, each with its hyperparameters."""
        return [(g, self._loss_values(g)) for g in self.loss_groups]

    @cached_property
    def optimizer_groups(self) -> list[Group]:
        """The rows of each optimizer; hyperparameters are float64 where rows differ."""
        return self._groups([run.optimizer for run in self._runs], "float64")

    def optimizers(self) -> list[tuple[Group, Optimizer]]:
        """The optimizers."""
        return [(g, _construct(g)) for g in self.optimizer_groups]

    def column(self, values: Sequence[float]) -> float | Tensor:
        """One number for each run: a float where all agree, else a column [R, 1] in float64."""
        if len(set(values)) == 1:
            return values[0]
        return torch.tensor(values, dtype=torch.float64, device=self._settings.device).unsqueeze(1)

    def limit(self, values: Sequence[float | None]) -> float | Tensor | None:
        """The same for limits, of which a run may have none, in the type of the cohort."""
        if all(value is None for value in values):
            return None
        column = self.column([float("inf") if value is None else value for value in values])
        return column.to(self._settings.dtype) if isinstance(column, Tensor) else column

    def _model(self, around: Around) -> Model:
        data, settings = self._data, self._settings
        if settings.module is not None:
            plan = blueprint_of(settings, data, self._runs[0].activation)
            return module.model(plan, len(self._runs), self._head())
        model = build(
            settings.layers,
            inputs=Sample(data.sample, words=data.words, users=data.users),
            outputs=settings.outputs,
            activation=self._activation,
            around=around,
            head=self._head(),
        )
        _check_output(model.output_shape, data, settings)
        return model

    def _mask(self) -> Tensor:
        mask = torch.from_numpy(self.model.layout.weight_mask()).unsqueeze(0)
        return mask.to(self._settings.device, self._settings.dtype)

    def _groups(self, parts: Sequence[Component], floats: str | None = None) -> list[Group]:
        return group(parts, floats=floats or self._settings.floats, place=self._settings.place)

    @cached_property
    def _activations(self) -> list[tuple[Group, Activation]]:
        return [(g, pointwise(g.part, self._settings)) for g in self._groups([run.activation for run in self._runs])]

    def _activation(self) -> Pointwise:
        pairs = self._activations
        if not self._runs[0].learnable:
            return Pointwise(pairs)
        names = sorted(self._runs[0].activation.values)
        start = np.array([[float(run.activation.values[name]) for name in names] for run in self._runs])
        return Pointwise(pairs, names, start)

    def _head(self) -> Pointwise | None:
        targets = [_HEADS[run.head] or "torch.nn.Identity" for run in self._runs]
        if set(targets) == {"torch.nn.Identity"}:
            return None
        table = activations.ROWWISE | (_OF_PIXELS if self._task.pixels else {})
        parts = [Component(target, target, table[target].forward) for target in targets]
        return Pointwise([(g, table[g.part.target]) for g in self._groups(parts)])

    def _around(self) -> tuple[Around, list[list[Component]]]:
        """Layers that regularizers put at every activation, and the other regularizers, each as the parts of all runs."""
        before: list[Callable[[tuple[int, ...], int], Layer]] = []
        after: list[Callable[[tuple[int, ...], int], Layer]] = []
        rest = []
        for parts in zip(*(run.regularizers for run in self._runs), strict=True):
            if not issubclass(_class(parts[0]), AroundActivation):
                rest.append(list(parts))
                continue
            shared = _one(self._groups(parts))
            regularizer: AroundActivation = shared.part.function(**shared.columns)
            make = AROUND[regularizer.kind](regularizer.values)
            (before if regularizer.place == "before" else after).append(make)
        return Around(tuple(before), tuple(after)), rest

    def _regularizer(self, parts: Sequence[Component]) -> Regularizer:
        shared = _one(self._groups(parts))
        function = _class(shared.part)
        make = cast(Callable[..., Regularizer], function)
        if issubclass(function, Penalty | AfterStep):
            return make(self.weights, **shared.values)
        if issubclass(function, BatchTransform):
            return make(self._task.exclusive_classes(self._settings.outputs), **shared.values)
        return make(**shared.values)

    def _loss_values(self, g: Group) -> dict[str, Any]:
        """A loss's hyperparameters in the shapes that broadcast against the output; dlrun's own losses take lists as tensors."""
        dimensions = 2 + len(self.model.output_shape) + bool(self._task.members)
        values = g.shaped(dimensions)
        if g.part.function in GRADIENTS:
            dtype, device = self._settings.dtype, self._settings.device
            lists = {name: value for name, value in values.items() if isinstance(value, list)}
            values |= {name: laid_out(value, dimensions, dtype, device) for name, value in lists.items()}
        smoothed = next((r for r in self.regularizers if isinstance(r, LabelSmoothing)), None)
        if smoothed is not None and g.part.function in SMOOTHED:
            values["smoothing"] = self._column_of(g, smoothed.smoothing, dimensions)
        return values | {"task": self._data.task} if "task" in rowwise(g.part.function) else values

    @staticmethod
    def _column_of(g: Group, value: float | Tensor, dimensions: int) -> float | Tensor:
        """What a regularizer's number is for the rows of a group: a float, or a column [G, 1, ..., 1]."""
        return g.rows.take(value).view(-1, *[1] * (dimensions - 1)) if isinstance(value, Tensor) else value


def pointwise(part: Component, settings: Settings | None = None) -> Activation:
    """The activation that a part names: dlrun's own form where it has one, torch's module, or a user's function.

    A module's buffers follow the device and the type of the settings.
    """
    known = activations.ROWWISE.get(part.target)
    if known is not None:
        return known
    if isinstance(part.function, type) and issubclass(part.function, torch.nn.Module):
        module = part.function(**part.values)
        if settings is not None:
            module.to(settings.device, settings.dtype)
        return Activation(lambda x, **_: module(x))
    return Activation(cast(Callable[..., Tensor], part.function))


def blueprint_of(settings: Settings, data: Data, activation: Component) -> module.Blueprint:
    """The blueprint of the user's module that the settings name, for rows of the data."""
    assert settings.module is not None
    output_shape = (settings.outputs, *TASKS[data.task].pixels_of(data.shape))
    return module.blueprint(
        settings.module,
        activation,
        inputs=data.sample,
        output_shape=output_shape,
        dtype=settings.dtype,
        words=data.words,
    )


def _place(spec: Shape) -> tuple[int, ...]:
    """A weight's shape as regularizers read it: [in, out], or [out, in, ...] with more axes, as a convolution has them."""
    return (*spec.shape, 1, 1) if spec.units_first else spec.shape


def _check_output(shape: tuple[int, ...], data: Data, settings: Settings) -> None:
    """Raise InputError unless the model gives each row what the task wants: numbers, or numbers for each pixel."""
    pixels = TASKS[data.task].pixels_of(data.shape)
    if shape == (settings.outputs, *pixels):
        return
    if pixels:
        wanted, advice = f"{settings.outputs} numbers for each of {pixels[0]} x {pixels[1]} pixels", "type model=segmenter"
    else:
        wanted, advice = f"{settings.outputs} numbers", "put flatten before output, and nothing with a size behind it"
    raise InputError(f"model.layers: end in shape {list(shape)} for a row, and {data.task} data wants {wanted}; {advice}")


class _OwnStop(Stop):
    """A stop of the user's own, which computes with tensors."""

    def __init__(self, group: Group) -> None:
        self._own: Stop = _class(group.part)(**group.values)
        self.metric = self._own.metric

    def stop(self, history: NDArray[np.float64]) -> NDArray[np.bool_]:
        """See ``Stop.stop``."""
        return np.asarray(self._own.stop(torch.from_numpy(history)))


def _one(groups: Sequence[Group]) -> Group:
    """The group of rows that cannot differ but in numbers."""
    (shared,) = groups
    return shared


def _class(part: Component) -> type[Any]:
    """The class that a part names: regularizers are classes."""
    return cast(type[Any], part.function)


def _construct(g: Group) -> Optimizer:
    function = g.part.function
    if isinstance(function, type) and issubclass(function, Optimizer):
        return function(**g.values)
    return TorchOptimizer(cast(type[torch.optim.Optimizer], function), **g.values)
