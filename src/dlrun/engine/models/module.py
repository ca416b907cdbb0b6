"""A user's own torch.nn.Module as the model of every run of a cohort.

    class Net(torch.nn.Module):
        def __init__(self, *, inputs: tuple[int, ...], outputs: int, hidden: int = 32): ...
        def forward(self, x): ...        x [B, *inputs] -> [B, outputs], as in any torch program: one run, no run axis

``inputs`` is the shape of one row, (D,), (C, L), (C, H, W), or (T,) for a sequence of words, int64; ``outputs`` is how many
numbers a row gets, or a pixel: [B, outputs, H, W].
A constructor that has a parameter ``activation`` is given the selected activation, a function from tensor to tensor; one that has
``vocabulary`` how many words there are, which are numbered from 1 (0 is the padding). Everything else is a hyperparameter and
stands in the YAML.

The module's parameters become columns of theta, so optimizers, penalties, clipping and freezing treat them like any others:
parameters of two or more dimensions are weights, the rest are biases. ``torch.func.functional_call`` runs one module with the
parameters of any run, and ``torch.func.vmap`` does that for all runs at once. A layer or a weight that stands in several places
has one set of columns, and the gradients of its places add up. Buffers that the module changes in place, such as running
statistics, are kept for each run. What cannot be stacked (control flow that looks at values, random numbers) trains one run at a
time, with torch's generator seeded from the run's own dropout stream in every step: the same numbers in any company.

Shapes: R runs, B batch rows, K outputs, S seeds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import partial
from typing import Any

from numpy.typing import NDArray

from dlrun import streams
from dlrun.components.hyperparameters import hyperparameters
from dlrun.engine.components import Component
from dlrun.engine.layers import Layer, Pass, Pointwise
from dlrun.engine.models.blueprint import Blueprint, caller, seeded, tensors
from dlrun.engine.models.layout import Shape
from dlrun.engine.models.model import Model
from dlrun.engine.models.module_check import tried
from dlrun.lazy import Tensor, torch

__all__ = ["SUPPLIED", "Blueprint", "ModuleLayer", "blueprint", "model", "takes_activation", "tried"]

SUPPLIED = ("inputs", "outputs", "activation", "vocabulary")  # what the engine gives to a module's constructor


def takes_activation(part: Component) -> bool:
    """Whether a module's constructor asks for the selected activation."""
    return "activation" in hyperparameters(part.function)


def blueprint(
    part: Component,
    activation: Component,
    *,
    inputs: tuple[int, ...],
    output_shape: tuple[int, ...],
    dtype: torch.dtype,
    words: int = 0,
) -> Blueprint:
    """The blueprint of the module that ``part`` names."""
    taken: dict[str, Any] = {}
    if takes_activation(part):
        taken = {"activation": activation.function, "activation_values": json.dumps(dict(activation.values))}
    where = f"model._target_={part.target}"
    return Blueprint(where, part.function, json.dumps(dict(part.values)), inputs, output_shape, dtype, words=words, **taken)


def model(plan: Blueprint, runs: int, head: Pointwise | None) -> Model:
    """A model of one layer, the module, and its head."""
    layer = ModuleLayer(plan, runs)
    layers: list[Layer] = [layer] if head is None else [layer, head]
    numbers = math.prod(plan.inputs) + len(layers) * math.prod(plan.output_shape)
    return Model(layers, [plan.inputs, (layer.inner,), plan.output_shape], numbers, head is not None)


class ModuleLayer(Layer):
    """The module of every run.

    Raises:
        InputError: see ``tried``.
    """

    def __init__(self, plan: Blueprint, runs: int) -> None:
        found = tried(plan)
        assert runs == 1 or not found.alone, "a module that cannot be stacked has to be planned as cohorts of one"
        self.plan, self.stacked = plan, runs > 1
        self.random, self.inner = found.random, found.inner
        self.module = plan.make(0)
        self._compute = caller(self.module)
        self._drawn: dict[str, NDArray[Any]] = {}
        self._drawn_for: tuple[int, ...] = ()
        units_first = _units_first(self.module)
        trained, kept = tensors(self.module)
        self.shapes = tuple(
            Shape(
                name,
                tuple(p.shape),
                "weight" if p.dim() > 1 else "bias",
                value=partial(self._take, name),
                units_first=name in units_first,
            )
            for name, p in trained.items()
        )
        self.buffers = tuple(Shape(name, tuple(b.shape), "norm", value=partial(self._take, name)) for name, b in kept.items())
        self._dtypes = [buffer.dtype for buffer in kept.values()]

    def forward(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor, pass_: Pass) -> tuple[Tensor, Any]:
        if self.module.training != pass_.training:
            self.module.train(pass_.training)
        kept = [buffer.to(dtype, copy=True) for buffer, dtype in zip(buffers, self._dtypes, strict=True)]
        if not pass_.training:
            return self._call(parameters, kept, x), None
        with torch.enable_grad():
            leaves = [parameter.detach().requires_grad_() for parameter in parameters]
            y = self._seeded(pass_.keys, leaves, kept, x) if self.random else self._call(leaves, kept, x)
        for buffer, now in zip(buffers, kept, strict=True):
            buffer.copy_(now.detach())
        return y.detach(), (leaves, y)

    def backward(
        self, parameters: Sequence[Tensor], gradients: Sequence[Tensor], grad: Tensor, saved: Any, first: bool
    ) -> Tensor | None:
        leaves, y = saved
        for gradient, found in zip(gradients, torch.autograd.grad(y, leaves, grad, allow_unused=True), strict=True):
            if found is None:
                gradient.zero_()
            else:
                gradient.copy_(found)
        return None

    def _call(self, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor) -> Tensor:
        trained = {shape.name: values for shape, values in zip(self.shapes, parameters, strict=True)}
        kept = {shape.name: values for shape, values in zip(self.buffers, buffers, strict=True)}
        if self.stacked:
            stacked: Tensor = torch.func.vmap(self._compute)(trained, kept, x)
            return stacked
        alone = [{name: values[0] for name, values in each.items()} for each in (trained, kept)]
        return self._compute(alone[0], alone[1], x[0]).unsqueeze(0)

    def _seeded(self, keys: Tensor | None, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor) -> Tensor:
        """A pass with torch's generator seeded by the run's key of this step (of one run: random modules are not stacked)."""
        with seeded(0 if keys is None else int(keys[0]), x.device):
            return self._call(parameters, buffers, x)

    def _take(self, name: str, seeds: Sequence[int]) -> NDArray[Any]:
        """Initial values of one parameter or buffer: [S, *shape]. A module is made for each seed; what it holds is handed out."""
        if self._drawn_for != tuple(seeds) or name not in self._drawn:
            keys = streams.keys(seeds, "init").tolist()
            made = [tensors(self.plan.make(key)) for key in keys]
            together = [trained | kept for trained, kept in made]
            self._drawn = {key: torch.stack([each[key].detach() for each in together]).numpy() for key in together[0]}
            self._drawn_for = tuple(seeds)
        return self._drawn.pop(name)


def _units_first(module: torch.nn.Module) -> set[str]:
    """Matrices whose rows are units: those of torch's own modules. One that a user multiplies with has its units in columns."""
    return {
        f"{prefix}.{name}".lstrip(".")
        for prefix, part in module.named_modules()
        if type(part).__module__.startswith("torch.nn.")
        for name, parameter in part.named_parameters(recurse=False)
        if parameter.dim() == 2
    }
