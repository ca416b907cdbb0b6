"""The kernel's optimizers beside those of components/optimizers: eight runs with hyperparameters and schedules of their own."""

import ctypes
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from dlrun.components.optimizers import ROWWISE
from dlrun.engine.components import Component, group
from dlrun.engine.lanes.updates import Update, Updates
from vectors import V, aligned, lanes, pointer

STEPS, P = 50, 13
TINY = float(np.finfo(np.float32).eps)

LR = (0.01, 0.003, 0.02, 0.1, 1e-4, 0.01, 0.5, 0.03)
DECAY = (0.1, 0.0, 0.5, 0.0, 0.01, 1e-4, 0.2, 0.0)
BETAS = ((0.9, 0.999), (0.8, 0.95), (0.0, 0.6), (0.5, 0.5), (0.99, 0.0), (0.3, 0.9), (0.9, 0.99), (0.95, 0.9999))
EPS = (1e-8, 1e-3, 1e-1, 1e-6, 1e-8, 1e-10, 1e-4, 1e-8)
MOMENTUM = (0.9, 0.1, 0.5, 0.99, 0.3, 0.7, 0.9, 1.0)
ALPHA = (0.99, 0.9, 0.0, 1.0, 0.5, 0.7, 0.999, 0.3)

# A tuple of eight holds one value for each lane; everything else is the same for all lanes.
CASES: dict[str, list[dict[str, Any]]] = {
    "SGD": [
        {"lr": LR},
        {"lr": LR, "weight_decay": DECAY, "dampening": 0.5},
        {"lr": LR, "momentum": MOMENTUM, "dampening": (0.1, 0.7, 0.3, 0.0, 1.0, 0.5, 0.0, 0.2), "weight_decay": DECAY},
        {"lr": LR, "momentum": MOMENTUM, "weight_decay": DECAY, "nesterov": True},
    ],
    "ASGD": [
        {"lr": LR},
        {
            "lr": LR,
            "lambd": (1e-4, 0.0, 0.1, 1.0, 1e-2, 0.5, 0.3, 1e-4),
            "alpha": (0.75, 0.0, 1.0, 0.3, 2.0, 0.5, 10.0, 0.75),
            "t0": (1e6, 0.0, 20.0, 10.5, 49.0, 48.0, 1.0, 30.0),
            "weight_decay": DECAY,
        },
    ],
    "Adam": [
        {"lr": LR},
        {"lr": LR, "betas": BETAS, "eps": EPS, "weight_decay": DECAY},
        {"lr": LR, "betas": BETAS, "eps": EPS, "weight_decay": DECAY, "amsgrad": True},
        {"lr": LR, "betas": BETAS, "weight_decay": DECAY, "decoupled_weight_decay": True},
    ],
    "AdamW": [
        {"lr": LR},
        {"lr": LR, "betas": BETAS, "eps": EPS, "weight_decay": DECAY, "amsgrad": True},
    ],
    "NAdam": [
        {"lr": LR},
        {
            "lr": LR,
            "betas": BETAS,
            "eps": EPS,
            "weight_decay": DECAY,
            "momentum_decay": (4e-3, 0.0, 0.1, 1.0, 30.0, 1e-3, 4e-3, 500.0),
        },
        {"lr": LR, "weight_decay": DECAY, "decoupled_weight_decay": True},
    ],
    "RAdam": [
        {"lr": LR},
        {"lr": LR, "betas": BETAS, "eps": EPS, "weight_decay": DECAY},
        {"lr": LR, "betas": BETAS, "weight_decay": DECAY, "decoupled_weight_decay": True},
    ],
    "Adamax": [{"lr": LR}, {"lr": LR, "betas": BETAS, "eps": EPS, "weight_decay": DECAY}],
    "RMSprop": [
        {"lr": LR},
        {"lr": LR, "alpha": ALPHA, "eps": EPS, "weight_decay": DECAY},
        {"lr": LR, "eps": EPS, "weight_decay": DECAY, "momentum": MOMENTUM},
        {"lr": LR, "alpha": (0.99, 0.9, 0.7, 0.95, 0.5, 0.7, 0.999, 0.8), "eps": EPS, "centered": True},
        {"lr": LR, "eps": EPS, "weight_decay": DECAY, "momentum": MOMENTUM, "centered": True},
    ],
    "Adagrad": [
        {"lr": LR},
        {
            "lr": LR,
            "lr_decay": (0.0, 0.1, 1.0, 1e-3, 0.0, 0.5, 0.2, 0.01),
            "weight_decay": DECAY,
            "initial_accumulator_value": (0.0, 1.0, 0.1, 1e-3, 10.0, 0.0, 0.5, 2.0),
            "eps": EPS,
        },
    ],
    "Adadelta": [{}, {"lr": LR, "rho": ALPHA, "eps": EPS, "weight_decay": DECAY}],
    "Lion": [{"lr": LR}, {"lr": LR, "betas": BETAS, "weight_decay": DECAY}],
}
EACH = [pytest.param(name, values, id=f"{name}-{place}") for name, cases in CASES.items() for place, values in enumerate(cases)]


def parts(name: str, values: dict[str, Any]) -> list[Component]:
    """The optimizer of each lane."""
    target = "dlrun.components.optimizers.Lion" if name == "Lion" else f"torch.optim.{name}"
    return [
        Component(
            name.lower(),
            target,
            ROWWISE[target],
            {key: value[lane] if isinstance(value, tuple) and len(value) == V else value for key, value in values.items()},
        )
        for lane in range(V)
    ]


@dataclass
class Course:
    """What the optimizers are given: theta [P, V], gradients [STEPS, P, V], factors [STEPS, V] in double."""

    theta: np.ndarray
    grads: np.ndarray
    factors: np.ndarray


@cache
def course(seed: int = 0) -> Course:
    """Random gradients of very different sizes, of which some are 0, and factors that a schedule could give."""
    random = np.random.default_rng(seed)
    grads = random.normal(size=(STEPS, P, V)) * np.exp2(random.integers(-6, 6, size=(1, P, V)))
    grads[random.random(grads.shape) < 0.1] = 0
    return Course(
        random.normal(size=(P, V)).astype(np.float32),
        grads.astype(np.float32),
        np.linspace(1, random.random(V), STEPS) * random.uniform(0.5, 1, size=(STEPS, V)),
    )


def same(rows: list[Update]) -> tuple[int, int]:
    """The kind and the flags of a block."""
    (found,) = {(row.kind, row.flags) for row in rows}
    return found


class Native:
    """A block of eight runs and the kernel's optimizers for it, each for as many of its lanes. Components are given in turn."""

    def __init__(self, kernel: ctypes.CDLL, components: list[Component], theta: np.ndarray, optimizers: int = 1) -> None:
        rows = [Updates(kernel).optimizer(part) for part in components]
        assert all(rows)
        self.kernel, self.lanes = kernel, V // optimizers
        self.kinds = [same(rows[first : first + self.lanes]) for first in range(0, V, self.lanes)]
        self.numbers = lanes(np.array([row.numbers for row in rows]).T, np.float64)
        self.theta, self.evaluated = lanes(theta), aligned(len(theta))
        self.slots = aligned(max(kernel.dlrun_optimizer_slots(*kind) for kind in self.kinds), len(theta))
        self.t = 0

    def steps(self, grads: np.ndarray, factors: np.ndarray) -> "Native":
        """Go on from where it is, with a pace that is begun anew."""
        grads, factors = lanes(grads), lanes(factors, np.float64)
        self.kernel.dlrun_optimize(
            pointer(np.array(self.kinds, np.int32)),
            *map(ctypes.c_int64, (len(self.kinds), self.lanes)),
            pointer(self.numbers),
            ctypes.c_int64(self.t),
            ctypes.c_int64(len(grads)),
            *map(pointer, (factors, self.theta, grads, self.slots, self.evaluated)),
            ctypes.c_long(self.theta.shape[0]),
        )
        self.t += len(grads)
        return self

    def bits(self) -> bytes:
        """All that it holds."""
        return self.theta.tobytes() + self.slots.tobytes() + self.evaluated.tobytes()

    def of(self, lane: int) -> bytes:
        """What it holds of one run."""
        return b"".join(array[..., lane].tobytes() for array in (self.theta, self.slots, self.evaluated))


def reference(components: list[Component], given: Course, dtype: torch.dtype) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Theta, the slots and what is evaluated after all steps of the class in Python, each [P, V]."""
    (shared,) = group(components, floats="float64")
    optimizer = shared.part.function(**shared.values)
    theta = torch.tensor(given.theta.T, dtype=dtype)
    state = optimizer.state(theta)
    for t, (grad, factor) in enumerate(zip(given.grads, given.factors, strict=True), start=1):
        optimizer.step(theta, torch.tensor(grad.T, dtype=dtype), state, t, torch.tensor(factor).unsqueeze(1))
    slots = [value.T.numpy() for value in state.values() if value.shape == theta.shape]
    return theta.T.numpy(), slots, optimizer.evaluation(theta, state).T.numpy()


def worst(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference of [P, V], in units of float32's precision of the largest number in the lane."""
    size = np.maximum(np.abs(wanted).max(0), 1e-30)
    return float(np.max(np.abs(found.astype(np.float64) - wanted) / (TINY * size)))


def test_every_optimizer_and_every_flag_is_here() -> None:
    assert {target.rpartition(".")[2] for target in ROWWISE} == set(CASES)
    for target, kind in ROWWISE.items():
        cases = CASES[target.rpartition(".")[2]]
        assert set(inspect.signature(kind).parameters) == {key for case in cases for key in case}, target


@pytest.mark.parametrize(("name", "values"), EACH)
def test_fifty_steps_are_those_of_the_class_in_python(kernel: ctypes.CDLL, name: str, values: dict[str, Any]) -> None:
    """In units of float32's precision of the largest number in a lane. Seen: 2.2 and 12.3 for theta, 4.2 and 17.6 for slots."""
    given, components = course(), parts(name, values)
    native = Native(kernel, components, given.theta).steps(given.grads, given.factors)
    for dtype, near, slots_near in ((torch.float32, 4.0, 8.0), (torch.float64, 20.0, 30.0)):
        theta, slots, evaluated = reference(components, given, dtype)
        assert worst(native.theta, theta) <= near
        assert worst(native.evaluated, evaluated) <= near
        assert len(slots) == len(native.slots)
        assert max((worst(*pair) for pair in zip(native.slots, slots, strict=True)), default=0.0) <= slots_near


@pytest.mark.parametrize(("name", "values"), EACH)
def test_numbers_that_are_infinite_or_not_numbers_are_those_of_the_class(
    kernel: ctypes.CDLL, name: str, values: dict[str, Any]
) -> None:
    """Gradients of 1e30, whose squares are infinite, in lane 2, infinite ones in lane 4, and NaN in lane 6."""
    given, components = course(), parts(name, values)
    spoiled = Course(given.theta, given.grads.copy(), given.factors)
    spoiled.grads[7::9, 2, 2], spoiled.grads[20, 5, 4], spoiled.grads[11, 3, 6] = 1e30, np.inf, np.nan
    native = Native(kernel, components, given.theta).steps(spoiled.grads, spoiled.factors)
    theta, slots, evaluated = reference(components, spoiled, torch.float32)
    for found, wanted in zip((native.theta, native.evaluated, *native.slots), (theta, evaluated, *slots), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    clean = Native(kernel, components, given.theta).steps(given.grads, given.factors)
    for lane in (0, 1, 3, 5, 7):
        assert native.of(lane) == clean.of(lane)


@pytest.mark.parametrize(("name", "values"), EACH)
def test_a_run_goes_on_with_the_same_bits_wherever_it_is_cut(kernel: ctypes.CDLL, name: str, values: dict[str, Any]) -> None:
    """In the middle of a row of powers, and behind the end of one (see STRIDE in powers.h)."""
    given, components = course(), parts(name, values)
    grads, factors = np.tile(given.grads, (3, 1, 1)), np.tile(given.factors, (3, 1))
    through = Native(kernel, components, given.theta).steps(grads, factors)
    cut = Native(kernel, components, given.theta)
    for start, stop in ((0, 1), (1, 25), (25, 64), (64, 100), (100, 150)):
        cut.steps(grads[start:stop], factors[start:stop])
    assert cut.bits() == through.bits()


@pytest.mark.parametrize(("name", "values"), EACH)
def test_the_bits_of_a_lane_do_not_depend_on_its_neighbours(kernel: ctypes.CDLL, name: str, values: dict[str, Any]) -> None:
    given, other, components = course(), course(1), parts(name, values)
    mixed = Native(kernel, components, given.theta).steps(given.grads, given.factors)
    for lane in (0, 3):
        grads, factors, theta = other.grads.copy(), other.factors.copy(), other.theta.copy()
        grads[..., lane], factors[:, lane], theta[:, lane] = given.grads[..., lane], given.factors[:, lane], given.theta[:, lane]
        # itself in every lane, and strangers in the other lanes
        alone = Native(kernel, [components[lane]] * V, given.theta[:, [lane] * V]).steps(
            given.grads[..., [lane] * V], given.factors[:, [lane] * V]
        )
        among = Native(kernel, components, theta).steps(grads, factors)
        assert alone.of(lane) == mixed.of(lane)
        assert among.of(lane) == mixed.of(lane)


@pytest.mark.slow  # test_machines.py holds whole cohorts of both to the same bits
@pytest.mark.parametrize("name", CASES)
def test_compilers_agree_on_every_bit(compiled: Callable[[str], ctypes.CDLL], name: str) -> None:
    given = course()
    for values in CASES[name]:
        first, second = (
            Native(compiled(compiler), parts(name, values), given.theta).steps(given.grads, given.factors).bits()
            for compiler in ("gcc", "clang")
        )
        assert first == second


def test_powers_are_exact_to_13_digits(kernel: ctypes.CDLL) -> None:
    random = np.random.default_rng(0)
    x, a = np.exp2(random.uniform(-20, 60, size=(500, V))), random.uniform(-3, 3, size=(500, V))
    out = aligned(500, dtype=np.float64)
    kernel.dlrun_powers(pointer(lanes(x, np.float64)), pointer(lanes(a, np.float64)), pointer(out), ctypes.c_long(500))
    np.testing.assert_allclose(out, x**a, rtol=1e-13)


def test_an_optimizer_that_only_torch_has_is_left_to_it(kernel: ctypes.CDLL) -> None:
    part = Component("rprop", "torch.optim.Rprop", torch.optim.Rprop, {"lr": 0.1})
    assert Updates(kernel).optimizer(part) is None


@pytest.mark.parametrize("optimizers", [2, 4, 8])
def test_optimizers_that_share_a_block_are_what_they_are_alone(kernel: ctypes.CDLL, optimizers: int) -> None:
    """Every case among others, with more parameters than are dealt out at a time (see DEALT in deal.h)."""
    short, lane_count = course(), V // optimizers
    given = Course(np.tile(short.theta, (11, 1)), np.tile(short.grads, (1, 11, 1)), short.factors)
    cases = [(name, values) for name, each in CASES.items() for values in each]
    for start in range(0, len(cases), optimizers):
        mine = [parts(*cases[(start + number) % len(cases)]) for number in range(optimizers)]
        shared = [mine[lane // lane_count][lane] for lane in range(V)]
        together = Native(kernel, shared, given.theta, optimizers).steps(given.grads, given.factors)
        for number, components in enumerate(mine):
            alone = Native(kernel, components, given.theta).steps(given.grads, given.factors)
            slots = len(alone.slots)
            for lane in range(number * lane_count, (number + 1) * lane_count):
                for name in ("theta", "evaluated"):
                    assert np.array_equal(getattr(together, name)[:, lane], getattr(alone, name)[:, lane]), (number, name)
                assert np.array_equal(together.slots[:slots, :, lane], alone.slots[..., lane]), number
                assert not together.slots[slots:, :, lane].any()


def test_every_optimizer_has_room_for_its_slots(kernel: ctypes.CDLL) -> None:
    """See MOST_SLOTS in deal.h."""
    assert max(kernel.dlrun_optimizer_slots(kind, -1) for kind in range(len(CASES) - 1)) == 3  # AdamW is Adam
