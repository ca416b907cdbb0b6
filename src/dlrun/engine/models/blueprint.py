"""How a user's module is made, and how it computes with parameters that are not its own.

Both as one run sees it: the layer that holds the modules of all runs is in module.py, what is tried first in module_check.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from dlrun.components.hyperparameters import hyperparameters
from dlrun.data.modality import PADDING
from dlrun.lazy import Tensor, torch


@dataclass(frozen=True)
class Blueprint:
    """How to make a module for one shape of data: hashable, so that it is tried once."""

    name: str
    function: Callable[..., Any]
    values: str  # as JSON
    inputs: tuple[int, ...]
    output_shape: tuple[int, ...]  # what a row must come out as
    dtype: torch.dtype
    activation: Callable[..., Any] | None = None  # a function of tensors, or a class of modules
    activation_values: str = "{}"
    words: int = 0  # how many words there are, where rows are sequences of their numbers

    def make(self, seed: int) -> torch.nn.Module:
        """A fresh module, whose initial values are those of a torch generator with this seed."""
        given: dict[str, Any] = json.loads(self.values) | {"inputs": self.inputs, "outputs": self.output_shape[0]}
        if "vocabulary" in hyperparameters(self.function):
            given["vocabulary"] = self.words
        if self.activation is not None:
            given["activation"] = self._activation(**json.loads(self.activation_values))
        with seeded(seed):
            made = self.function(**given)
        if not isinstance(made, torch.nn.Module):
            raise TypeError(f"a {type(made).__name__} is no torch.nn.Module")
        return made.to(self.dtype)

    def batches(self, runs: int, rows: int) -> Tensor:
        """Batches of such rows, the same every time: [runs, rows, *inputs]."""
        generator, shape = torch.Generator().manual_seed(0), (runs, rows, *self.inputs)
        if self.words:
            x = torch.randint(1, self.words + 1, shape, generator=generator)
            x[:, -1, (self.inputs[0] + 1) // 2 :] = PADDING  # one sequence is short
            return x
        return torch.randn(shape, dtype=self.dtype, generator=generator)

    def _activation(self, **values: Any) -> Callable[[Tensor], Tensor]:
        assert self.activation is not None
        return self.activation(**values) if isinstance(self.activation, type) else partial(self.activation, **values)


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Let torch draw from this seed, on the CPU and on ``device``. Their generators are put back, no other is touched."""
    generators = [torch.default_generator]
    if device is not None and device.type == "cuda":
        generators.append(torch.cuda.default_generators[torch.cuda.current_device() if device.index is None else device.index])
    states = [generator.get_state() for generator in generators]
    for generator in generators:
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def tensors(module: torch.nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What is trained, and what is only kept: buffers and frozen parameters. What a module uses twice is there once."""
    parameters = dict(module.named_parameters())
    frozen = {name: parameter.detach() for name, parameter in parameters.items() if not parameter.requires_grad}
    return {name: p for name, p in parameters.items() if name not in frozen}, frozen | dict(module.named_buffers())


def caller(module: torch.nn.Module) -> Callable[[Mapping[str, Tensor], Mapping[str, Tensor], Tensor], Tensor]:
    """The module as a function: what is trained and what is kept, by the names of ``tensors``, and x [B, ...] to y.

    A tensor goes to every place that it was shared by. A layer that stands in several places is one place: functional_call swaps
    tensors in and out by name, and would leave those of the call in what has two names.
    """
    names = {id(tensor): name for name, tensor in (*module.named_buffers(), *module.named_parameters())}
    places = {
        f"{prefix}.{name}".lstrip("."): names[id(tensor)]
        for prefix, part in module.named_modules()
        for named in (part.named_buffers, part.named_parameters)
        for name, tensor in named(recurse=False, remove_duplicate=False)
    }

    def call(trained: Mapping[str, Tensor], kept: Mapping[str, Tensor], x: Tensor) -> Tensor:
        together = {**kept, **trained}
        given = {place: together[name] for place, name in places.items()}
        y: Tensor = torch.func.functional_call(module, given, (x,), tie_weights=False)
        return y

    return call
