"""A user's module is tried on a few rows before anything trains: what cannot work is told, what cannot be stacked is found.

Shapes: B batch rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from dlrun.engine.models.blueprint import Blueprint, caller, seeded, tensors
from dlrun.errors import InputError
from dlrun.lazy import Tensor, torch

_TRIED = 3  # rows of the batch on which a module is tried
_REASONS = {"control flow": "its control flow depends on values", ".item()": "it reads values with .item()"}  # vmap's, in short


@dataclass(frozen=True)
class Findings:
    """What a trial has shown. ``inner`` counts the numbers that a row leaves behind inside the module."""

    random: bool
    alone: str  # why runs have to be computed one by one; empty when they can be stacked
    inner: int


@cache
def tried(plan: Blueprint) -> Findings:
    """Make a module and pass a few rows through it, alone and stacked.

    Raises:
        InputError: it cannot be made, cannot be run or trained, or gives rows another shape than the task wants.
    """
    first, second = _made(plan, 0), _made(plan, 1)
    trained, _ = tensors(first)
    problems = [
        f"parameter {name} is {p.dtype}; parameters must be real numbers" for name, p in trained.items() if p.is_complex()
    ]
    if not trained:
        problems = ["has no parameters to train"]
    if problems:
        raise InputError(*(f"{plan.name}: {problem}" for problem in problems))
    x = plan.batches(2, _TRIED)
    inner = _inner(plan, first, x[0])
    random = _draws(plan, first.train(), x[0])
    if _draws(plan, first.eval(), x[0]):
        raise InputError(
            f"{plan.name}: draws random numbers when it is evaluated, so that no figure could be repeated; "
            "use torch.nn.Dropout, or F.dropout(x, p, training=self.training)"
        )
    _check_gradient(plan, first.train(), x[0])
    _check_buffers(plan, x[0])
    return Findings(random, "it draws random numbers" if random else _unstackable(plan, first, second, x), inner)


def _made(plan: Blueprint, seed: int) -> torch.nn.Module:
    try:
        made = plan.make(seed)
    except Exception as error:
        given = ", ".join(f"{name}={value!r}" for name, value in (("inputs", plan.inputs), ("outputs", plan.output_shape[0])))
        raise InputError(
            f"{plan.name}: {_line(error)}, when it was made with {given}; its constructor has to take these keywords"
        ) from error
    return made


def _passed(plan: Blueprint, module: torch.nn.Module, x: Tensor, kept: Mapping[str, Tensor] | None = None) -> Tensor:
    """The output for a batch of one run, checked. What the module changes in place is ``kept``, or a copy that is dropped."""
    trained, buffers = tensors(module)
    try:
        y = caller(module)(trained, {name: value.clone() for name, value in buffers.items()} if kept is None else kept, x)
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


def _inner(plan: Blueprint, module: torch.nn.Module, x: Tensor) -> int:
    """The numbers that one row leaves behind in the parts of a module."""
    total = 0

    def count(part: torch.nn.Module, given: Any, y: Any) -> None:
        nonlocal total
        total += y.numel() if isinstance(y, Tensor) else 0

    handles = [part.register_forward_hook(count) for part in module.modules()]
    with torch.no_grad():
        _passed(plan, module.eval(), x)
    for handle in handles:
        handle.remove()
    return math.ceil(total / len(x))


def _draws(plan: Blueprint, module: torch.nn.Module, x: Tensor) -> bool:
    """Whether a pass moves torch's generator on."""
    with torch.no_grad():
        with seeded(0):
            before = torch.get_rng_state()
            first = _passed(plan, module, x)
            moved = not torch.equal(before, torch.get_rng_state())
        with seeded(0):
            again = _passed(plan, module, x)
        if not torch.equal(first, again):
            raise InputError(
                f"{plan.name}: gives other numbers each time it is called; what is random has to come from torch, such as "
                "torch.rand, and what it remembers has to lie in registered buffers"
            )
        return moved


def _check_gradient(plan: Blueprint, module: torch.nn.Module, x: Tensor) -> None:
    with torch.enable_grad(), seeded(0):
        y = _passed(plan, module, x)
        trained, _ = tensors(module)
        try:
            found = torch.autograd.grad(y.sum(), list(trained.values()), allow_unused=True)
        except RuntimeError as error:
            raise InputError(f"{plan.name}: cannot be differentiated: {_line(error)}") from error
    if all(gradient is None for gradient in found):
        raise InputError(f"{plan.name}: its output does not depend on its parameters; is something detached?")


def _check_buffers(plan: Blueprint, x: Tensor) -> None:
    """What a module keeps is swapped in for a call: a tensor that is put in its place would be swapped out with it."""
    with torch.no_grad():
        module = plan.make(0).train()
        before = dict(module.named_buffers())
        with seeded(0):
            module(x)
        for name, buffer in module.named_buffers():
            if buffer is not before.get(name):
                raise InputError(
                    f"{plan.name}: puts another tensor in the place of its buffer {name}, which would be lost; "
                    f"change it in place, such as self.{name}.copy_(...)"
                )


def _unstackable(plan: Blueprint, first: torch.nn.Module, second: torch.nn.Module, x: Tensor) -> str:
    """Why two runs cannot be computed at once; an empty string when they can."""
    with torch.no_grad():
        for training in (True, False):
            modules = [module.train(training) for module in (first, second)]
            (trained, trained_too), (kept, kept_too) = zip(*map(tensors, modules), strict=True)
            stacked = {name: torch.stack([kept[name], kept_too[name]]) for name in kept}
            apart = [{name: value.clone() for name, value in each.items()} for each in (kept, kept_too)]
            try:
                parameters = {name: torch.stack([trained[name], trained_too[name]]) for name in trained}
                together = torch.func.vmap(caller(first))(parameters, stacked, x)
            except Exception as error:
                return next((message for word, message in _REASONS.items() if word in str(error)), _line(error))
            alone = torch.stack([_passed(plan, *each) for each in zip(modules, x, apart, strict=True)])
            pairs = [(together, alone), *((stacked[name], torch.stack([each[name] for each in apart])) for name in stacked)]
            if not all(torch.allclose(a.double(), b.double(), rtol=1e-3, atol=1e-5, equal_nan=True) for a, b in pairs):
                return "it gives other numbers when runs are stacked"
        return "" if _same_gradients(first, second, x) else "it has other gradients when runs are stacked"


def _same_gradients(first: torch.nn.Module, second: torch.nn.Module, x: Tensor) -> bool:
    """Whether two runs have the gradients together that each has alone: vmap leaves out what some operations do backwards.

    torch 2.13 forgets the ``padding_idx`` of an embedding.
    """
    (trained, trained_too), (kept, kept_too) = zip(*map(tensors, (first.eval(), second.eval())), strict=True)
    together = {name: torch.stack([trained[name], trained_too[name]]).detach().requires_grad_() for name in trained}
    stacked = {name: torch.stack([kept[name], kept_too[name]]) for name in kept}
    with torch.enable_grad():
        y = torch.func.vmap(caller(first))(together, stacked, x)
        found = torch.autograd.grad(y.square().sum(), list(together.values()), allow_unused=True)
        for run, (values, buffers) in enumerate(((trained, kept), (trained_too, kept_too))):
            leaves = {name: value.detach().requires_grad_() for name, value in values.items()}
            y = caller(first)(leaves, buffers, x[run])
            alone = torch.autograd.grad(y.square().sum(), list(leaves.values()), allow_unused=True)
            for mine, theirs in zip(found, alone, strict=True):
                if mine is not None and theirs is not None:
                    size = float(theirs.abs().max())
                    if not torch.allclose(mine[run], theirs, rtol=1e-3, atol=1e-4 * size, equal_nan=True):
                        return False
    return True


def _line(error: BaseException) -> str:
    """An exception in one line of moderate length."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}{'...' if len(text) > 200 else ''}"
