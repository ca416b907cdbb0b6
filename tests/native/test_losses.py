"""Losses of the kernel against dlrun's own on torch, a run a lane: other hyperparameters and targets in every lane."""

import ctypes
import math
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlrun import registry
from dlrun.components import losses
from dlrun.components.losses import GRADIENTS, SMOOTHED, per_row, per_run
from dlrun.components.tasks import TASKS
from dlrun.engine.components import Component
from dlrun.engine.lanes.pointwise import Functions
from vectors import V, lanes, pointer

ROWS, WIDTH = 11, 3
Lanes = NDArray[Any]
HARD = (0.0, -0.0, 1e-30, 0.5, -1.0, 1.0, 3.0, -20.5, 30.0, -88.0, 104.0, -1e4)
PER_LANE = {
    "delta": (1.0, 0.1, 2.0, 0.5, 1e-3, 10.0, 1.5, 3.0),
    "tau": (0.5, 0.1, 0.9, 0.25, 0.75, 0.01, 0.99, 0.3),
    "pos_weight": (1.0, 0.0, 2.0, 10.0, 0.5, 3.0, 1.5, 0.1),
    "gamma": (2.0, 0.0, 1.0, 0.5, 5.0, 2.5, 3.0, 1.7),
    "alpha": (0.25, 0.5, 0.75, 1.0, 0.1, 0.9, 0.3, 0.6),
    "smooth": (1.0, 0.0, 0.5, 2.0, 1.0, 10.0, 0.1, 3.0),
    "weight": (0.5, 0.0, 1.0, 0.3, 0.7, 0.9, 0.1, 0.2),
    "margin": (0.0, 0.5, 0.3, 1.0, 0.7, 0.1, 0.2, 0.9),
    "p": (2.0, 1.0, 3.0, 1.5, 2.5, 2.0, 4.0, 1.0),
    "smoothing": (0.1, 0.0, 0.3, 0.5, 1.0, 0.4, 0.05, 0.2),
}


class Case(NamedTuple):
    """A loss: its name, its task, and its hyperparameters, of which those in ``PER_LANE`` may differ by lane."""

    loss: str
    task: str
    values: Mapping[str, Any] = MappingProxyType({})
    lanes: tuple[str, ...] = ()
    smoothed: bool = False

    @property
    def function(self) -> Callable[..., Any]:
        return getattr(losses, self.loss)  # type: ignore[no-any-return]

    def part(self, lane: int) -> Component:
        values = dict(self.values) | {name: PER_LANE[name][lane] for name in self.lanes}
        return Component(self.loss, f"dlrun.components.losses.{self.loss}", self.function, values)

    def smoothing(self, lane: int) -> float:
        return PER_LANE["smoothing"][lane] if self.smoothed else 0.0


CASES = [
    Case("mse", "regression"),
    Case("mae", "regression"),
    Case("log_cosh", "regression"),
    Case("huber", "regression", lanes=("delta",)),
    Case("quantile", "regression", lanes=("tau",)),
    Case("quantile", "regression", {"tau": [0.1, 0.5, 0.9]}),
    Case("bce", "multilabel"),
    Case("bce_with_logits", "multilabel"),
    Case("bce_with_logits", "multilabel", lanes=("pos_weight",)),
    Case("bce_with_logits", "multilabel", {"pos_weight": [0.5, 2.0, 0.0]}),
    Case("hinge", "binary"),
    Case("hinge", "binary", {"squared": True}),
    Case("focal", "multilabel", lanes=("gamma",)),
    Case("focal", "multilabel", lanes=("gamma", "alpha")),
    Case("focal", "multilabel", {"alpha": [0.2, 0.5, 1.0]}, lanes=("gamma",)),
    Case("hinge", "multiclass"),
    Case("hinge", "multiclass", {"squared": True}),
    *(
        Case(loss, "multiclass", values, lanes, smoothed)
        for loss, values, lanes in (
            ("sparsemax_loss", {}, ()),
            ("focal", {}, ("gamma",)),
            ("focal", {}, ("gamma", "alpha")),
            ("focal", {"alpha": [0.2, 0.5, 1.0]}, ("gamma",)),
        )
        for smoothed in (False, True)
    ),
    *(
        Case(loss, "multiclass", {"class_weight": weight} if weight else {}, smoothed=smoothed)
        for loss in ("cross_entropy", "nll")
        for weight in (None, [0.5, 2.0, 0.0])
        for smoothed in (False, True)
    ),
    *(
        Case(loss, "segmentation", values, lanes, smoothed)
        for loss, values, lanes in (
            ("cross_entropy", {}, ()),
            ("cross_entropy", {"class_weight": [0.5, 2.0, 0.0]}, ()),
            ("dice", {}, ("smooth",)),
            ("dice", {"background": True}, ()),
            ("dice_cross_entropy", {}, ("smooth", "weight")),
            ("dice_cross_entropy", {"background": True}, ("weight",)),
        )
        for smoothed in (False, True)
    ),
    Case("cosine_embedding", "similarity", lanes=("margin",)),
    Case("triplet_margin", "metric_learning", lanes=("margin",)),
    Case("triplet_margin", "metric_learning", lanes=("margin", "p")),
]
IDS = [f"{c.loss}-{c.task}-{'-'.join((*c.values, *c.lanes))}{'-smoothed' * c.smoothed}" for c in CASES]


@pytest.fixture(scope="module", autouse=True)
def denormals_are_zeros() -> Iterator[None]:
    """As where the kernel trains."""
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


def data(case: Case, seed: int = 0) -> tuple[Lanes, Lanes]:
    """Outputs, of which some are hard to get right, and targets of a case: [rows, ..., V]."""
    draw = np.random.default_rng(seed)
    middle = {"segmentation": (WIDTH, 2, 3), "similarity": (2, WIDTH), "metric_learning": (3, WIDTH)}.get(case.task, (WIDTH,))
    output = draw.standard_normal((ROWS, *middle, V)) * 2
    if not TASKS[case.task].members:
        output.reshape(-1)[: len(HARD) * V] = np.repeat(draw.permutation(HARD), V)
    if case.loss == "bce":
        output = 1 / (1 + np.exp(-output.clip(-700, 700)))
    if case.loss == "nll":
        output = torch.tensor(output).log_softmax(1).clamp(min=-1e4).numpy()
    return lanes(output), targets(case, draw)


def targets(case: Case, draw: np.random.Generator) -> Lanes:
    if TASKS[case.task].exclusive:
        pixels = (2, 3) if case.task == "segmentation" else ()
        classes = draw.integers(0, WIDTH, (ROWS, *pixels, V))
        if not case.smoothed:
            return lanes(classes, np.int32)
        amount = np.array(PER_LANE["smoothing"])
        return lanes(np.moveaxis(np.eye(WIDTH)[classes], -1, 1) * (1 - amount) + amount / WIDTH)
    if case.task == "regression":
        return lanes(draw.standard_normal((ROWS, 1 if isinstance(case.values.get("tau"), list) else WIDTH, V)))
    if TASKS[case.task].members:
        return lanes(draw.choice([-1.0, 1.0], (ROWS, 1, V)))
    target = draw.integers(0, 2, (ROWS, WIDTH, V)).astype(float)
    if case.loss != "hinge":
        target[::3] = draw.random(target[::3].shape)
    return lanes(target)


class Native:
    """The kernel's loss of a case."""

    def __init__(self, kernel: ctypes.CDLL, case: Case) -> None:
        functions = Functions(kernel)
        kinds = [
            functions.loss(case.part(lane), case.task, WIDTH, soft=case.smoothed, smoothing=case.smoothing(lane))
            for lane in range(V)
        ]
        numbers = [kind.numbers for kind in kinds if kind is not None]
        (self.kind,) = {kind.number for kind in kinds if kind is not None}
        assert len(numbers) == V
        self._kernel, self._numbers = kernel, lanes(np.array(numbers).T.reshape(-1, V))

    def _call(self, verb: str, output: Lanes, target: Lanes, *out: Lanes) -> None:
        sizes = map(ctypes.c_long, (len(output), WIDTH, 6 if output.ndim == 5 else 1))
        arguments = map(pointer, (self._numbers, output, target, *out))
        getattr(self._kernel, f"dlrun_loss_{verb}")(self.kind, *arguments, *sizes)

    def gradient(self, output: Lanes, target: Lanes) -> Lanes:
        out = lanes(np.full_like(output, math.nan))
        self._call("gradient", output, target, out)
        return out

    def values(self, output: Lanes, target: Lanes) -> tuple[Lanes, Lanes]:
        value, weight = lanes(np.full((len(output), V), math.nan)), lanes(np.full((len(output), V), math.nan))
        self._call("values", output, target, value, weight)
        return value, weight


def run(array: Lanes, lane: int) -> Tensor:
    """A lane as a cohort of one run, in float64."""
    mine = np.ascontiguousarray(array[..., lane])
    return torch.from_numpy(mine.astype(np.int64 if mine.dtype == np.int32 else np.float64)).unsqueeze(0)


def arguments(case: Case, lane: int) -> dict[str, Any]:
    """The hyperparameters of a lane as dlrun's function takes them, with what the engine supplies."""
    values = {name: _single(value) for name, value in case.part(lane).values.items()}
    if case.smoothed and case.function in SMOOTHED:
        values["smoothing"] = _single(PER_LANE["smoothing"][lane])
    return values | ({"task": case.task} if case.loss == "focal" else {})


def _single(value: Any) -> Any:
    """Numbers as the kernel has them, rounded to float32."""
    return (
        [float(np.float32(each)) for each in value]
        if isinstance(value, list)
        else float(np.float32(value))
        if isinstance(value, float)
        else value
    )


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_gradient_is_torchs(kernel: ctypes.CDLL, case: Case) -> None:
    output, target = data(case)
    found = Native(kernel, case).gradient(output, target)
    for lane in range(V):
        mine, aim = run(output, lane), run(target, lane)
        gradient = GRADIENTS.get(case.function)
        if gradient is not None:
            expected = gradient(mine, aim, **arguments(case, lane))
        else:
            leaf = mine.requires_grad_()
            (expected,) = torch.autograd.grad(per_run(case.function(leaf, aim, **arguments(case, lane))).sum(), leaf)
        scale = expected.abs().amax(2, keepdim=True).clamp(min=1 / expected[0, :, 0].numel())
        error = (run(found, lane) - expected).abs() / scale
        assert error.max() < 32 * 2**-24, (lane, run(found, lane)[error > 2e-6], expected[error > 2e-6])


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_values_are_torchs(kernel: ctypes.CDLL, case: Case) -> None:
    output, target = data(case)
    value, weight = Native(kernel, case).values(output, target)
    for lane in range(V):
        expected = case.function(run(output, lane), run(target, lane), **arguments(case, lane))
        v, w = run(value, lane), run(weight, lane)
        rows = per_row(expected)
        assert rows is not None
        counts = w.abs() > 1e-6  # what smoothing leaves of a weight of 0 is a rounding error here and there
        torch.testing.assert_close((v / w)[counts], rows[counts], rtol=2e-5, atol=2e-7)
        torch.testing.assert_close(v.sum(1) / w.sum(1), per_run(expected), rtol=2e-6, atol=2e-7)


def test_every_loss_is_tested(kernel: ctypes.CDLL) -> None:
    kernel.dlrun_losses.restype = ctypes.c_char_p
    assert {Native(kernel, case).kind for case in CASES} == set(range(len(kernel.dlrun_losses().split())))
    targets = {registry.load_option("loss", option)["_target_"] for option in registry.options("loss")}
    assert {case.part(0).target for case in CASES} == targets


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_rows_are_judged_alone_and_lanes_too(kernel: ctypes.CDLL, case: Case) -> None:
    """Values do not depend on how many rows there are at a time, and no bit of a lane on what the others hold."""
    native = Native(kernel, case)
    output, target = data(case)
    value, weight = native.values(output, target)
    pieces = [native.values(lanes(output[i : i + 4]), lanes(target[i : i + 4], target.dtype.type)) for i in range(0, ROWS, 4)]
    assert np.array_equal(value, np.concatenate([piece[0] for piece in pieces]), equal_nan=True)
    assert np.array_equal(weight, np.concatenate([piece[1] for piece in pieces]), equal_nan=True)
    gradient = native.gradient(output, target)
    output[..., 1::2] = np.where(np.arange(V // 2) % 2, math.nan, math.inf)
    assert np.array_equal(bits(gradient), bits(native.gradient(output, target)))
    assert np.array_equal(bits(value), bits(native.values(output, target)[0]))


def bits(array: Lanes) -> NDArray[np.int32]:
    """Those of every second lane."""
    return np.ascontiguousarray(array[..., ::2]).view(np.int32)


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.fault("NaN and infinity in one run of many")
def test_nan_stays_nan(kernel: ctypes.CDLL, case: Case) -> None:
    """As many values and gradients are NaN as torch's."""
    output, target = data(case)
    output[2, 0] = math.nan
    native, mine, aim = Native(kernel, case), run(output, 0), run(target, 0)
    rows = per_row(case.function(mine, aim, **arguments(case, 0)))
    assert rows is not None
    assert rows.isnan().any() or case.loss == "nll"
    assert torch.equal(run(native.values(output, target)[0], 0).isnan(), rows.isnan())
    gradient = GRADIENTS.get(case.function)
    if gradient is not None:
        expected = gradient(mine, aim, **arguments(case, 0))
        assert torch.equal(run(native.gradient(output, target), 0).isnan(), expected.isnan())


@pytest.mark.slow  # test_machines.py holds whole cohorts of both to the same bits
@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_compilers_agree_to_the_bit(compiled: Callable[[str], ctypes.CDLL], case: Case) -> None:
    output, target = data(case)
    natives = [Native(compiled(compiler), case) for compiler in ("gcc", "clang")]
    for found in zip(*((n.gradient(output, target), *n.values(output, target)) for n in natives), strict=True):
        assert np.array_equal(*(np.nan_to_num(each, nan=7.0).view(np.int32) for each in found))
