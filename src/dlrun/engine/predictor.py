"""A trained run, rebuilt from what was kept of it, applied to new rows.

Shapes: n rows, D features, K outputs, M members of a pair or triplet, E coordinates of an embedding.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.components.arrays import Array
from dlrun.components.metrics import Form as Reading
from dlrun.components.tasks import Task
from dlrun.data.dataset import Data
from dlrun.data.preprocessing import Preprocessing
from dlrun.engine.by_torch.process import exact
from dlrun.engine.by_torch.stepper import CHUNK_NUMBERS
from dlrun.engine.cohort import CohortRun, Settings
from dlrun.engine.measuring.evaluation import default_metrics, figure_of
from dlrun.engine.measuring.forms import Forms, kind_of
from dlrun.engine.models.layout import Layout
from dlrun.engine.state import State
from dlrun.engine.step import TrainStep
from dlrun.engine.tensors import array, tensor
from dlrun.errors import DataError
from dlrun.lazy import Tensor, torch


@dataclass(frozen=True)
class DataForm:
    """What a model needs to know of its data: the shape of a row, the task, the number of outputs."""

    shape: tuple[int, ...]
    task: Task
    outputs: int
    vocabulary: tuple[str, ...] = ()
    most_words: int = 0
    users: int = 0

    def stand_in(self) -> Data:
        """Data of this form with one row, which means nothing."""
        names = () if self.task.members else tuple(map(str, range(self.shape[0])))
        target = self.task.target(1, self.outputs, self.task.pixels_of(self.shape))
        x = np.ones((1, *self.shape), dtype=np.int64 if self.vocabulary else np.float32)
        if self.users:
            x = np.array([[1, self.users + 1]])
        known = Data("", x, target, self.task.name, self.outputs, names, (), vocabulary=self.vocabulary, users=self.users)
        return replace(known, most_words=self.most_words) if self.most_words else known


class Predictor:
    """One run with its weights.

    Raises:
        DataError: the weights are not those of such a model.
    """

    def __init__(
        self,
        run: CohortRun,
        settings: Settings,
        form: DataForm,
        preprocessing: Preprocessing,
        weights: Mapping[str, Array],
        cut: Array | None = None,
    ) -> None:
        self.cut = cut  # log odds of the thresholds, [K]
        self.run, self.settings, self.form, self.preprocessing = run, settings, form, preprocessing
        self.train_step = TrainStep([run], form.stand_in(), settings)
        layouts = (self.train_step.layout, self.train_step.model.buffers)
        wanted = {slot.name: slot.spec.shape or (1,) for layout in layouts for slot in layout.slots}  # a file has no scalars
        given = {name: tuple(value.shape) for name, value in weights.items()}
        if wanted != given:
            wrong = sorted(name for name in wanted.keys() | given.keys() if wanted.get(name) != given.get(name))
            raise DataError(
                f"model.safetensors: does not fit the run's config ({', '.join(wrong[:3])}); they are of different runs"
            )
        theta, buffers = (self._row(layout, weights) for layout in layouts)
        self.train_step.bind(State(theta, buffers, [], torch.zeros_like(theta)))

    def _row(self, layout: Layout, weights: Mapping[str, Array]) -> Tensor:
        row = torch.zeros(1, layout.size, dtype=self.settings.dtype, device=self.settings.device)
        for slot in layout.slots:
            slot.view(row)[0] = tensor(np.ascontiguousarray(weights[slot.name])).to(row).view(slot.spec.shape)
        return row

    @torch.no_grad()
    def __call__(self, x: Array, *, log: bool = False) -> Array:
        """Predictions for rows [n, *shape] of raw features: values in the units of the data, or probabilities, [n, K, ...].

        Members of pairs and triplets, [n, D] or [n, M, D], give their embeddings, [n, E] or [n, M, E]. With ``log`` classes have
        log probabilities, and log odds where a column is a question of its own (two classes, labels).
        """
        reading: Reading = self.form.task.log_form if log else "probability"
        with exact(self.settings.device):
            return np.concatenate([self._predict(part, reading) for part in self._parts(x)])

    @torch.no_grad()
    def measure(self, x: NDArray[Any], y: NDArray[Any]) -> dict[str, float]:
        """The loss and the metrics of the run's task on rows [n, *shape] of raw features with targets as Data has them."""
        step = self.train_step
        with exact(self.settings.device):
            output, before = (torch.cat(each, 1) for each in zip(*map(self._outputs, self._parts(x)), strict=True))
            scaled = torch.from_numpy(self.preprocessing.targets(y)).to(self.settings.device)
            scaled = scaled.to(self.settings.dtype) if scaled.is_floating_point() else scaled
            loss = {"loss": float(step.loss(output, scaled.unsqueeze(0))[0])}
            if self.form.task.scaled:
                output = before = tensor(self._original(output))
            return loss | self._figures(Forms([kind_of(self.run)], array(output), array(before), self.cut), y)

    def measure_predictions(self, predicted: Array, y: Array) -> dict[str, float]:
        """The metrics of predictions as ``__call__`` gives them, [n, K, ...], which may be means over several runs."""
        output = predicted.astype(np.float64, copy=False)[None]
        return self._figures(Forms([("logit", "identity")], output, output, self.cut), y)

    def _figures(self, forms: Forms, y: Array) -> dict[str, float]:
        metrics, true = self.form.task.metrics, y[None]
        names = default_metrics(self.form.stand_in(), [self.run])
        return {name: float(figure_of(self.train_step, metrics[name], forms, true, {})[0]) for name in names}

    def _parts(self, x: NDArray[Any]) -> list[NDArray[Any]]:
        """The rows, so many at a time as memory is meant to hold."""
        together = max(1, CHUNK_NUMBERS // max(self.train_step.model.widest, math.prod(x.shape[1:])))
        return [x[start : start + together] for start in range(0, max(1, len(x)), together)]

    @torch.no_grad()
    def codes(self, x: Array) -> Array:
        """The code of each row, float64 [n, E]; of pairs and triplets those of their members, one behind the other."""
        with exact(self.settings.device):
            parts = [array(self.train_step.codes(self._scaled(part))[0].flatten(1)) for part in self._parts(x)]
            return np.concatenate(parts, dtype=np.float64)

    def _outputs(self, x: NDArray[Any]) -> tuple[Tensor, Tensor]:
        """The output of the model, and what stands before its head: [1, n, K, ...]."""
        scaled = self._scaled(x)
        single = self.form.task.members and x.ndim == len(self.form.shape)
        return self.train_step.evaluate(scaled.unsqueeze(2) if single else scaled)

    def _scaled(self, x: NDArray[Any]) -> Tensor:
        """Rows as the model takes them, [1, n, ...]."""
        floats = x.dtype.kind == "f"
        found = torch.from_numpy(self.preprocessing.inputs(x.astype(np.float64, copy=False) if floats else x))
        return found.to(self.settings.device, self.settings.dtype if floats else None).unsqueeze(0)

    def _original(self, output: Tensor) -> Array:
        return self.preprocessing.original(array(output.double()))

    def _predict(self, x: Array, reading: Reading) -> Array:
        output, before = self._outputs(x)
        single = self.form.task.members and x.ndim == len(self.form.shape)
        if single:
            return array(output[0, :, 0])
        if self.form.task.members:
            return array(output[0])
        if self.form.task.scaled:
            return self._original(output[0])
        found: Array = Forms([kind_of(self.run)], array(output), array(before))[reading][0]
        return found
