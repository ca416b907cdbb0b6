"""The kernel's penalties and clipping beside the regularizers in Python: eight runs with weights and limits of their own."""

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from dlrun.components.regularizers import L1, L2, AfterStep, Dropout, Kink, MaxNorm, Penalty, Weights
from dlrun.engine.components import Component, group
from dlrun.engine.lanes.updates import Updates, weight_table
from vectors import V, aligned, lanes, pointer

STEPS = 30
TINY = float(np.finfo(np.float32).eps)
# A linear layer [in, out] of 11 units, its biases, a convolution [out, in, k, k], its biases, a layer with units first
PLACES = ((0, 55, (5, 11)), (66, 138, (4, 2, 3, 3)), (142, 154, (3, 4, 1, 1)))
P = 157

L1_WEIGHTS = (0.3, 0.0, 0.1, 1.0, 0.05, 0.5, 0.01, 0.2)
L2_WEIGHTS = (0.1, 0.01, 0.0, 0.5, 1.0, 1e-3, 0.3, 0.2)
NORMS = (0.5, 1.0, 100.0, 0.1, 2.0, 0.7, 0.3, 1.5)

CASES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "l1": {"l1": {"weight": L1_WEIGHTS}},
    "l1 by subgradients": {"l1": {"weight": L1_WEIGHTS, "method": "subgradient"}},
    "l2": {"l2": {"weight": L2_WEIGHTS}},
    "max_norm": {"max_norm": {"max_norm": NORMS}},
    "clip_norm": {"clip_norm": (0.5, None, 10.0, 1e-3, 3.0, None, 1.0, 1e6)},
    "clip_value": {"clip_value": (0.5, None, 10.0, 1e-3, 0.1, None, 1.0, 1e6)},
    "all": {
        "l1": {"weight": L1_WEIGHTS},
        "l2": {"weight": L2_WEIGHTS},
        "max_norm": {"max_norm": NORMS},
        "clip_norm": (5.0, None, 10.0, 1.0, 3.0, None, 1.0, 1e6),
        "clip_value": (0.5, 0.1, None, 1.0, None, 0.2, 1.0, 0.3),
    },
    "all by subgradients": {
        "l1": {"weight": L1_WEIGHTS, "method": "subgradient"},
        "l2": {"weight": L2_WEIGHTS},
        "max_norm": {"max_norm": NORMS},
        "clip_norm": 2.0,
    },
    "the classes' own numbers": {"l1": {}, "l2": {}, "max_norm": {}},
}
KINDS = {"l1": L1, "l2": L2, "max_norm": MaxNorm}


def of_lane(value: Any, lane: int) -> Any:
    """A tuple holds one value for each lane; everything else is the same for all."""
    return value[lane] if isinstance(value, tuple) else value


def parts(case: dict[str, Any], lane: int) -> list[Component]:
    """The regularizers of one lane."""
    return [
        Component(
            name, f"dlrun.components.regularizers.{kind.__name__}", kind, {k: of_lane(v, lane) for k, v in case[name].items()}
        )
        for name, kind in KINDS.items()
        if name in case
    ]


def course(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Theta [P, V], of which some is 0, and gradients [STEPS, P, V] that pull each parameter to one side, more or less."""
    random = np.random.default_rng(seed)
    theta = random.normal(size=(P, V))
    theta[random.random((P, V)) < 0.3] = 0
    grads = random.normal(size=(STEPS, P, V)) + random.normal(size=(P, V))
    grads[random.random(grads.shape) < 0.05] = 0
    return theta.astype(np.float32), grads.astype(np.float32)


def rate(t: int) -> float:
    """The learning rate of a step. No two are equal, or a clipped gradient would take a weight back to 0, give or take an ulp."""
    return 0.05 / (1 + t / 7)


class Native:
    """A block of eight runs and what the kernel does to them."""

    def __init__(self, kernel: ctypes.CDLL, case: dict[str, Any], theta: np.ndarray, order: list[int] | None = None) -> None:
        limits = ("clip_norm", "clip_value")
        rows = [
            Updates(kernel).penalties(parts(case, lane), *(of_lane(case.get(name), lane) for name in limits))
            for lane in order or range(V)
        ]
        assert all(rows)
        (self.flags,) = {row.flags for row in rows}
        self.kernel = kernel
        self.numbers = lanes(np.array([row.numbers for row in rows]).T, np.float64)
        self.weights = np.array(weight_table(PLACES), np.int64)
        self.theta, self.average, self.sides = lanes(theta), aligned(P), aligned(P)
        self.t = 0

    def steps(self, grads: np.ndarray) -> "Native":
        """Steps of plain gradient descent with these gradients of the loss."""
        for given in grads:
            self.t += 1
            grad = lanes(given)
            self.kernel.dlrun_penalize(
                self.flags,
                pointer(self.numbers),
                pointer(self.weights),
                ctypes.c_long(len(self.weights)),
                ctypes.c_int64(self.t),
                ctypes.c_float(rate(self.t)),
                *map(pointer, (self.theta, grad, self.average, self.sides)),
                ctypes.c_long(P),
            )
        return self

    def of(self, lane: int) -> bytes:
        """What it holds of one run."""
        return self.theta[:, lane].tobytes() + self.average[:, lane].tobytes()


def reference(case: dict[str, Any], theta: np.ndarray, grads: np.ndarray, floats: str) -> np.ndarray:
    """Theta [P, V] after the same steps of TrainStep.advance."""
    dtype = getattr(torch, floats)
    moving = torch.tensor(theta.T, dtype=dtype)
    mask = torch.zeros(1, P, dtype=dtype)
    for start, stop, _ in PLACES:
        mask[:, start:stop] = 1
    regularizers = [
        shared.part.function(Weights(mask, PLACES), **shared.values)
        for alike in zip(*(parts(case, lane) for lane in range(V)), strict=True)
        for shared in group(alike, floats=floats)
    ]
    kinks = [(kink, kink.state(moving)) for kink in regularizers if isinstance(kink, Kink)]
    for t, given in enumerate(grads, start=1):
        grad = torch.tensor(given.T, dtype=dtype)
        for penalty in (r for r in regularizers if isinstance(r, Penalty)):
            penalty.add_gradient(moving, grad)
        sides = [(kink, kink.choose(moving, grad, state, t)) for kink, state in kinks if state]
        clip(case, grad)
        moving -= rate(t) * grad
        for kink, signs in sides:
            kink.project(moving, signs)
        for regularizer in (r for r in regularizers if isinstance(r, AfterStep)):
            regularizer.after_step(moving, rate(t))
    return moving.T.numpy()


def clip(case: dict[str, Any], grad: torch.Tensor) -> None:
    """TrainStep._clip of a run alone, for each row of ``grad`` [V, P]."""
    for lane, row in enumerate(grad):
        norm, limit = of_lane(case.get("clip_norm"), lane), of_lane(case.get("clip_value"), lane)
        if norm is not None:
            row.mul_((norm / (torch.linalg.vector_norm(row) + 1e-6)).clamp_(max=1.0))
        if limit is not None:
            row.clamp_(-limit, limit)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_thirty_steps_are_those_of_the_regularizers(kernel: ctypes.CDLL, case: dict[str, Any]) -> None:
    """Within 4 (float64: 16) units of float32's precision of the run's largest parameter, and with the same weights at 0."""
    theta, grads = course()
    found = Native(kernel, case, theta).steps(grads).theta
    for floats, near in (("float32", 4.0), ("float64", 16.0)):
        wanted = reference(case, theta, grads, floats)
        assert np.max(np.abs(found - wanted) / np.abs(wanted).max(0)) <= near * TINY
        assert ((found == 0) == (wanted == 0)).all()
    assert bool((found == 0).any()) == ("method" not in case.get("l1", {"method": ""}))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.fault("NaN and infinity in one run of many")
def test_what_is_infinite_or_not_a_number_stays_in_its_run(kernel: ctypes.CDLL, case: dict[str, Any]) -> None:
    """Everything is as in torch, where an infinite length of the gradient makes clip_norm set it to 0."""
    theta, grads = course()
    spoiled = grads.copy()
    spoiled[3, 2, 2], spoiled[4, 3, 4], spoiled[5, 7, 6] = 1e30, np.inf, np.nan
    clean, native = Native(kernel, case, theta).steps(grads), Native(kernel, case, theta).steps(spoiled)
    np.testing.assert_allclose(native.theta, reference(case, theta, spoiled, "float32"), rtol=1e-5, atol=1e-5)
    for lane in (0, 1, 3, 5, 7):
        assert native.of(lane) == clean.of(lane)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_the_bits_of_a_run_do_not_depend_on_its_neighbours(kernel: ctypes.CDLL, case: dict[str, Any]) -> None:
    """Each among the others, and alone in every lane: a lane without limits is not touched by those of others."""
    theta, grads = course()
    mixed = Native(kernel, case, theta).steps(grads)
    for lane in range(V):
        places = [lane] * V
        assert Native(kernel, case, theta[:, places], places).steps(grads[..., places]).of(0) == mixed.of(lane)


@pytest.mark.slow  # test_machines.py holds whole cohorts of both to the same bits
def test_compilers_agree_on_every_bit(compiled: Callable[[str], ctypes.CDLL]) -> None:
    theta, grads = course()
    for case in CASES.values():
        first, second = (Native(compiled(name), case, theta).steps(grads) for name in ("gcc", "clang"))
        assert first.theta.tobytes() == second.theta.tobytes()


def test_penalties_of_the_users_own_are_left_to_torch(kernel: ctypes.CDLL) -> None:
    class Own(L2):
        """Another penalty."""

    updates = Updates(kernel)
    assert updates.penalties([Component("own", "mine.Own", Own)]) is None
    assert updates.penalties([Component("dropout", "dlrun.components.regularizers.Dropout", Dropout, {"p": 0.5})]) == (
        updates.penalties([])
    )
