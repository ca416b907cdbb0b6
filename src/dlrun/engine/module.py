"""A user's own torch.nn.Module as the model of every run of a cohort.

    class Net(nn.Module):
        def __init__(self, *, inputs: tuple[int, ...], outputs: int, hidden: int = 32): ...
        def forward(self, x): ...        x [B, *inputs] -> [B, outputs], as in any torch program: one run, no run axis

``inputs`` is the shape of one row, (D,) or (C, H, W); ``outputs`` is how many numbers a row gets, or a pixel: [B, outputs, H, W].
A constructor that has a parameter ``activation`` is given the selected activation, a function from tensor to tensor. Everything
else is a hyperparameter and stands in the YAML.

The module's parameters become columns of theta, so optimizers, penalties, clipping and freezing treat them like any others:
parameters of two or more dimensions are weights, the rest are biases. ``torch.func.functional_call`` runs one module with the
parameters of any run, and ``torch.func.vmap`` does that for all runs at once. Buffers that the module changes in place, such as
running statistics, are kept for each run. What cannot be stacked (control flow that looks at values, random numbers) trains one
run at a time, with torch's generator seeded from the run's own dropout stream in every step: the same numbers in any company.

Shapes: R runs, B batch rows, K outputs, S seeds.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from dlrun import streams
from dlrun.components.hyperparameters import hyperparameters
from dlrun.engine.layers import Layer, Pass, Pointwise
from dlrun.engine.layout import Shape
from dlrun.engine.model import Model
from dlrun.engine.parts import Part
from dlrun.errors import InputError

SUPPLIED = ("inputs", "outputs", "activation")  # what the engine gives to a module's constructor
_TRIED = 3  # rows of the batch on which a module is tried
_REASONS = {"control flow": "its control flow depends on values", ".item()": "it reads values with .item()"}  # vmap's, in short


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

    def make(self, seed: int) -> nn.Module:
        """A fresh module, whose initial values are those of a torch generator with this seed."""
        given: dict[str, Any] = json.loads(self.values) | {"inputs": self.inputs, "outputs": self.output_shape[0]}
        if self.activation is not None:
            given["activation"] = self._activation(**json.loads(self.activation_values))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = self.function(**given)
        if not isinstance(made, nn.Module):
            raise TypeError(f"a {type(made).__name__} is no torch.nn.Module")
        return made.to(self.dtype)

    def _activation(self, **values: Any) -> Callable[[Tensor], Tensor]:
        assert self.activation is not None
        return self.activation(**values) if isinstance(self.activation, type) else partial(self.activation, **values)


@dataclass(frozen=True)
class Findings:
    """What a trial has shown. ``inner`` counts the numbers that a row leaves behind inside the module."""

    random: bool
    alone: str  # why runs have to be computed one by one; empty when they can be stacked
    inner: int


def takes_activation(part: Part) -> bool:
    """Whether a module's constructor asks for the selected activation."""
    return "activation" in hyperparameters(part.function)


def blueprint(
    part: Part, activation: Part, *, inputs: tuple[int, ...], output_shape: tuple[int, ...], dtype: torch.dtype
) -> Blueprint:
    """The blueprint of the module that ``part`` names."""
    taken: dict[str, Any] = {}
    if takes_activation(part):
        taken = {"activation": activation.function, "activation_values": json.dumps(dict(activation.values))}
    where = f"model._target_={part.target}"
    return Blueprint(where, part.function, json.dumps(dict(part.values)), inputs, output_shape, dtype, **taken)


def model(plan: Blueprint, runs: int, head: Pointwise | None) -> Model:
    """A model of one layer, the module, and its head."""
    layer = ModuleLayer(plan, runs)
    layers: list[Layer] = [layer] if head is None else [layer, head]
    return Model(layers, ["module", "head"][: len(layers)], [plan.inputs, (layer.inner,), plan.output_shape])


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
        self._drawn: dict[str, Tensor] = {}
        self._drawn_for: tuple[int, ...] = ()
        units_first = _units_first(self.module)
        trained, kept = _tensors(self.module)
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
            stacked: Tensor = torch.func.vmap(partial(_run, self.module))(trained, kept, x)
            return stacked
        alone = [{name: values[0] for name, values in each.items()} for each in (trained, kept)]
        return _run(self.module, alone[0], alone[1], x[0]).unsqueeze(0)

    def _seeded(self, keys: Tensor | None, parameters: Sequence[Tensor], buffers: Sequence[Tensor], x: Tensor) -> Tensor:
        """A pass with torch's generator seeded by the run's key of this step (of one run: random modules are not stacked)."""
        with torch.random.fork_rng(devices=[x.device] if x.device.type == "cuda" else []):
            torch.manual_seed(0 if keys is None else int(keys[0]))
            return self._call(parameters, buffers, x)

    def _take(self, name: str, seeds: Sequence[int]) -> Tensor:
        """Initial values of one parameter or buffer: [S, *shape]. A module is made for each seed; what it holds is handed out."""
        if self._drawn_for != tuple(seeds) or name not in self._drawn:
            keys = streams.keys(seeds, "init").tolist()
            made = [_tensors(self.plan.make(key)) for key in keys]
            together = [trained | kept for trained, kept in made]
            self._drawn = {key: torch.stack([each[key].detach() for each in together]) for key in together[0]}
            self._drawn_for = tuple(seeds)
        return self._drawn.pop(name)


def _run(module: nn.Module, parameters: Mapping[str, Tensor], buffers: Mapping[str, Tensor], x: Tensor) -> Tensor:
    y: Tensor = functional_call(module, (dict(parameters), dict(buffers)), (x,))
    return y


def _tensors(module: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What is trained, and what is only kept: buffers and frozen parameters."""
    parameters = dict(module.named_parameters())
    frozen = {name: parameter.detach() for name, parameter in parameters.items() if not parameter.requires_grad}
    return {name: p for name, p in parameters.items() if name not in frozen}, frozen | dict(module.named_buffers())


def _units_first(module: nn.Module) -> set[str]:
    """Matrices whose rows are units: those of torch's own modules. One that a user multiplies with has its units in columns."""
    return {
        f"{prefix}.{name}".lstrip(".")
        for prefix, part in module.named_modules()
        if type(part).__module__.startswith("torch.nn.")
        for name, parameter in part.named_parameters(recurse=False)
        if parameter.dim() == 2
    }


# The trial


@cache
def tried(plan: Blueprint) -> Findings:
    """Make a module and pass a few rows through it, alone and stacked.

    Raises:
        InputError: it cannot be made, cannot be run or trained, or gives rows another shape than the task wants.
    """
    first, second = _made(plan, 0), _made(plan, 1)
    trained, _ = _tensors(first)
    problems = [
        f"parameter {name} is {p.dtype}; parameters must be real numbers" for name, p in trained.items() if p.is_complex()
    ]
    if not trained:
        problems = ["has no parameters to train"]
    if problems:
        raise InputError(*(f"{plan.name}: {problem}" for problem in problems))
    x = torch.randn(2, _TRIED, *plan.inputs, dtype=plan.dtype, generator=torch.Generator().manual_seed(0))
    inner = _inner(plan, first, x[0])
    random = _draws(plan, first.train(), x[0])
    if _draws(plan, first.eval(), x[0]):
        raise InputError(
            f"{plan.name}: draws random numbers when it is evaluated, so that no figure could be repeated; "
            "use nn.Dropout, or F.dropout(x, p, training=self.training)"
        )
    _check_gradient(plan, first.train(), x[0])
    return Findings(random, "it draws random numbers" if random else _unstackable(plan, first, second, x), inner)


def _made(plan: Blueprint, seed: int) -> nn.Module:
    try:
        made = plan.make(seed)
    except Exception as error:
        given = ", ".join(f"{name}={value!r}" for name, value in (("inputs", plan.inputs), ("outputs", plan.output_shape[0])))
        raise InputError(
            f"{plan.name}: {_line(error)}, when it was made with {given}; its constructor has to take these keywords"
        ) from error
    return made


def _passed(plan: Blueprint, module: nn.Module, x: Tensor, kept: Mapping[str, Tensor] | None = None) -> Tensor:
    """The output for a batch of one run, checked. What the module changes in place is ``kept``, or a copy that is dropped."""
    trained, buffers = _tensors(module)
    try:
        y = _run(module, trained, {name: value.clone() for name, value in buffers.items()} if kept is None else kept, x)
    except Exception as error:
        raise InputError(f"{plan.name}: {_line(error)}, for a batch of shape {list(x.shape)}") from error
    wanted = (len(x), *plan.output_shape)
    if not isinstance(y, Tensor) or tuple(y.shape) != wanted or y.dtype != plan.dtype:
        got = f"{_type(y.dtype)} of shape {list(y.shape)}" if isinstance(y, Tensor) else f"a {type(y).__name__}"
        raise InputError(
            f"{plan.name}: returned {got} for a batch of shape {list(x.shape)}; "
            f"it has to be {_type(plan.dtype)} of shape {list(wanted)}, a row of outputs for each row of the batch"
        )
    return y


def _type(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _inner(plan: Blueprint, module: nn.Module, x: Tensor) -> int:
    """The numbers that one row leaves behind in the parts of a module."""
    total = 0

    def count(part: nn.Module, given: Any, y: Any) -> None:
        nonlocal total
        total += y.numel() if isinstance(y, Tensor) else 0

    handles = [part.register_forward_hook(count) for part in module.modules()]
    with torch.no_grad():
        _passed(plan, module.eval(), x)
    for handle in handles:
        handle.remove()
    return math.ceil(total / len(x))


@torch.no_grad()
def _draws(plan: Blueprint, module: nn.Module, x: Tensor) -> bool:
    """Whether a pass moves torch's generator on."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        before = torch.get_rng_state()
        first = _passed(plan, module, x)
        moved = not torch.equal(before, torch.get_rng_state())
        torch.manual_seed(0)
        again = _passed(plan, module, x)
    if not torch.equal(first, again):
        raise InputError(
            f"{plan.name}: gives other numbers each time it is called; what is random has to come from torch, such as "
            "torch.rand, and what it remembers has to lie in registered buffers"
        )
    return moved


def _check_gradient(plan: Blueprint, module: nn.Module, x: Tensor) -> None:
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        y = _passed(plan, module, x)
        trained, _ = _tensors(module)
        try:
            found = torch.autograd.grad(y.sum(), list(trained.values()), allow_unused=True)
        except RuntimeError as error:
            raise InputError(f"{plan.name}: cannot be differentiated: {_line(error)}") from error
    if all(gradient is None for gradient in found):
        raise InputError(f"{plan.name}: its output does not depend on its parameters; is something detached?")


@torch.no_grad()
def _unstackable(plan: Blueprint, first: nn.Module, second: nn.Module, x: Tensor) -> str:
    """Why two runs cannot be computed at once; an empty string when they can."""
    for training in (True, False):
        modules = [module.train(training) for module in (first, second)]
        (trained, trained_too), (kept, kept_too) = zip(*map(_tensors, modules), strict=True)
        stacked = {name: torch.stack([kept[name], kept_too[name]]) for name in kept}
        apart = [{name: value.clone() for name, value in each.items()} for each in (kept, kept_too)]
        try:
            parameters = {name: torch.stack([trained[name], trained_too[name]]) for name in trained}
            together = torch.func.vmap(partial(_run, first))(parameters, stacked, x)
        except Exception as error:
            return next((said for word, said in _REASONS.items() if word in str(error)), _line(error))
        alone = torch.stack([_passed(plan, *each) for each in zip(modules, x, apart, strict=True)])
        pairs = [(together, alone), *((stacked[name], torch.stack([each[name] for each in apart])) for name in stacked)]
        if not all(torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-5, equal_nan=True) for a, b in pairs):
            return "it gives other numbers when runs are stacked"
    return ""


def _line(error: BaseException) -> str:
    """An exception in one line of moderate length."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}{'...' if len(text) > 200 else ''}"
