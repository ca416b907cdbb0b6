"""Training on a GPU, without one: on tensors that say they lie on cuda:0 and compute on the CPU.

What they show is what does not depend on the hardware: that no operation mixes devices, that training ends where it ends on the
CPU, and that no step waits for the device. Whether the kernels of a real one compute the same, and how fast, they cannot tell.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

from dlrun.config.settings import device_problem
from dlrun.engine import batches as tables
from dlrun.engine.by_torch import stepper
from dlrun.engine.by_torch.process import exact
from dlrun.engine.cohort import Cohort
from dlrun.engine.components import Component
from dlrun.engine.step import pointwise
from dlrun.engine.trainer import Outcome, Training, fit
from dlrun.experiments.planning import cut
from dlrun.experiments.planning.cohorts import Planned, plan

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")
aten = torch.ops.aten

# The emulator

WAITING = {aten._local_scalar_dense, aten.nonzero, aten._unique2, aten.unique_dim, aten.bincount, aten.equal, aten.masked_select}
BY_INDEX = {aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_}


def line() -> str:
    """The innermost line of dlrun that is being carried out."""
    frame = sys._getframe(1)
    while frame.f_back is not None and "/src/dlrun/" not in frame.f_code.co_filename:
        frame = frame.f_back
    return f"{frame.f_code.co_filename.rpartition('/src/dlrun/')[2]}:{frame.f_lineno}"


class OnDevice(Tensor):
    """A tensor on the device; what it holds is an ordinary one."""

    held: Tensor
    waits: ClassVar[Counter[str]] = Counter()  # how often each line has waited for the device

    @staticmethod
    def __new__(cls, held: Tensor) -> "OnDevice":
        assert type(held) is Tensor
        return torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined,no-any-return]
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=CPU
        )

    def __init__(self, held: Tensor) -> None:
        self.held = held

    device = property(lambda self: CUDA)  # type: ignore[assignment]
    is_cpu, is_cuda = property(lambda self: False), property(lambda self: True)  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, operation = kwargs or {}, func.overloadpacket
        here = [leaf for leaf in tree_leaves((args, kwargs)) if type(leaf) is Tensor]
        indices = [i for i in args[1] if i is not None] if operation in BY_INDEX else []
        if operation in WAITING or (operation is aten.copy_ and here):
            cls.waits[line()] += 1
        filled = operation in BY_INDEX and operation is not aten.index and args[2].numel() == 1
        for index in indices:  # a mask has to be counted, unless one number fills it; an index that lies elsewhere to be sent
            cls.waits[line()] += (index.dtype == torch.bool and not filled) or type(index) is Tensor
        # a number on the CPU may meet tensors on the device, and may be an index of them
        strangers = [leaf for leaf in here if leaf.dim() and not any(leaf is index for index in indices)]
        if operation is not aten.copy_ and strangers:
            raise RuntimeError(f"{operation} at {line()} mixes devices")
        found = func(*tree_map(held, args), **tree_map(held, kwargs))
        return return_and_correct_aliasing(func, args, kwargs, tree_map(sent, found))


def held(x: Any) -> Any:
    return x.held if isinstance(x, OnDevice) else x


def sent(x: Any) -> Any:
    return OnDevice(x) if type(x) is Tensor else x


class Device(TorchFunctionMode):
    """Makes tensors on the device where torch is asked for a CUDA one, and counts what crosses."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), getattr(func, "__name__", "")
        mine = isinstance(args[0], OnDevice) if args else False
        if name in ("numpy", "__array__") and mine:
            raise TypeError(f"numpy does not read the device, at {line()}")
        if name == "one_hot":  # on a GPU it does not look at the classes
            return tree_map(sent, func(*tree_map(held, args), **kwargs)) if mine else func(*args, **kwargs)
        if name in ("tolist", "cpu") and mine:
            OnDevice.waits[line()] += 1
            return args[0].held.tolist() if name == "tolist" else args[0].held.clone()
        if name == "data_ptr" and mine:
            return args[0].held.data_ptr()
        if name == "to" and args:
            return self._to(func, args[0], *args[1:], **kwargs)
        if (device := kwargs.get("device")) is not None and torch.device(device).type == "cuda":
            made = func(*args, **kwargs | {"device": CPU})
            OnDevice.waits[line()] += name in ("tensor", "as_tensor")
            return sent(made)
        return func(*args, **kwargs)

    @staticmethod
    def _to(func: Any, x: Tensor, *words: Any, device: Any = None, dtype: Any = None, **kwargs: Any) -> Any:
        for word in words:
            if isinstance(word, torch.dtype):
                dtype = word
            elif isinstance(word, Tensor):
                device, dtype = word.device, word.dtype
            elif isinstance(word, str | torch.device):
                device = word
        place, dtype = torch.device(device or x.device), dtype or x.dtype
        if place.type == x.device.type:
            return func(x, dtype, **kwargs)
        OnDevice.waits[line()] += 1
        moved = held(x).detach().clone().to(dtype)
        return sent(moved) if place.type == "cuda" else moved


@pytest.fixture
def device() -> Iterator[Counter[str]]:
    """While it lasts there is a device; how often each line has waited for it."""
    OnDevice.waits.clear()
    with Device():
        yield OnDevice.waits


# What trains on it


class Bent(nn.Module):
    """A user's activation that holds a tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("bend", torch.tensor([0.25]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, x * self.bend)


class Net(nn.Module):
    """A user's model, with a tensor that counts its steps."""

    def __init__(self, *, inputs: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(*inputs, 4), nn.Tanh(), nn.Linear(4, outputs))
        self.register_buffer("steps", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        y: Tensor = self.layers(x)
        return y / (1 + self.steps)


def rows(key: str, *options: Any, **given: Any) -> list[dict[str, Any]]:
    return [{key: option, "seed": seed} | given for seed, option in enumerate(options)]


OPTIMIZERS = ["sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "nadam", "asgd", "radam", "adamax", "lion"]
SCHEDULERS = ["constant", "linear", "exponential", "step", "cosine", "warmup_cosine", "one_cycle"]
ACTIVATIONS = ["relu", "tanh", "leaky_relu", "prelu", "swish", "elu", "gelu", "sigmoid", "softplus", "mish"]
TAKING = ["batch_norm", "dropout", "l1", "l2", "max_norm", "label_smoothing", "augmentation", "early_stopping"]
MASKS = {"dataset": "shapes", "model": "segmenter", "regularizer": ["augmentation"], "dataset.rows": 60}
PLAIN = {"one run": [{}], "seeds": rows("optimizer", *["adam"] * 3)}
LOSSES = {
    "regression": rows("loss", "mse", "mae", "huber", "quantile", "log_cosh", dataset="diabetes"),
    "taus": rows("loss.tau", [0.1, 0.5, 0.9], [0.2, 0.5, 0.8], dataset="diabetes", loss="quantile"),
    "delta": rows("loss.delta", 0.5, 1.0, dataset="diabetes", loss="huber"),
    "binary": rows("loss", "bce", "bce_with_logits", "focal", "hinge"),
    "classes": rows("loss", "cross_entropy", "nll", "focal", "hinge", "sparsemax", dataset="iris"),
    "class weights": rows("loss", "cross_entropy", "nll", dataset="iris", **{"loss.class_weight": [1, 2, 3]}),
    "soft weights": rows("loss.class_weight", [1, 2, 3], dataset="iris", loss="cross_entropy", regularizer=["label_smoothing"]),
    "alphas": rows("loss.alpha", [1, 2, 3], dataset="iris", loss="focal"),
    "label weights": rows("loss.pos_weight", [1, 2, 3, 4, 5], dataset="multilabel", loss="bce_with_logits"),
}
NUMBERS = {
    "optimizers": [row | {"optimizer.lr": 0.01 + 0.01 * (row["seed"] % 2)} for row in rows("optimizer", *OPTIMIZERS * 2)],
    "schedules": rows("scheduler", *SCHEDULERS, *SCHEDULERS),
    "scheduled optimizers": [row | {"optimizer": OPTIMIZERS[row["seed"] % 11]} for row in rows("scheduler", *SCHEDULERS * 3)],
    "decay": rows("optimizer.weight_decay", 0.0, 0.1, optimizer="nadam", **{"optimizer.decoupled_weight_decay": True}),
    "activations": rows("activation", *ACTIVATIONS),
    "clipping": rows("trainer.clip_norm", 0.5, 2.0, **{"trainer.clip_value": 0.1}),
    "regularizers": rows("regularizer.dropout.p", 0.1, 0.3, dataset="iris", regularizer=TAKING, scheduler="cosine"),
}
SHAPES = {
    "cnn": rows("model", "cnn", "cnn", dataset="digits"),
    "masks": rows("loss", "dice_cross_entropy", "dice", "cross_entropy", **MASKS, **{"regularizer.augmentation.kind": "rotate"}),
    "pairs": rows("model", "embedder", "embedder", dataset="pairs"),
    "triplets": rows("model", "embedder", dataset="triplets"),
    "reconstruction": rows("model", "autoencoder", dataset="reconstruction"),
}
MIXUP = {
    "mixup": rows(
        "regularizer.augmentation.strength", 0.1, 0.4, regularizer=["augmentation"], **{"regularizer.augmentation.kind": "mixup"}
    )
}
NORMS = {"norms": rows("regularizer.batch_norm.momentum", 0.1, 0.3, regularizer=["batch_norm"])}
CASES = PLAIN | LOSSES | NUMBERS | SHAPES | MIXUP | NORMS
STOPPING = [
    {
        "optimizer": optimizer,
        "optimizer.lr": rate,
        "regularizer": ["early_stopping", "dropout"],
        "regularizer.early_stopping.patience": 1,
        "scheduler": "cosine",
        "activation": activation,
        "trainer.epochs": 8,
        "trainer.batch_size": 20,
    }
    for optimizer in ("sgd", "adam")
    for rate in (0.05, 1e200)
    for activation in ("relu", "prelu")
]


@pytest.fixture
def cohorts_of(spec_of: Callable[..., Any], datasets: Any) -> Callable[..., list[Cohort]]:
    def make(given: Sequence[dict[str, Any]], **settings: Any) -> list[Cohort]:
        base = {"trainer.dtype": "float64", "trainer.device": "cpu", "trainer.epochs": 2, "trainer.max_steps": None}
        base |= {"trainer.batch_size": 8} | settings
        return [planned.cohort for planned in plan([spec_of(**base | row) for row in given], datasets)]

    return make


def on_device(cohort: Cohort) -> Cohort:
    return replace(cohort, settings=replace(cohort.settings, place="cuda:0"))


def agree(cohort: Cohort) -> list[Outcome]:
    """Train on the CPU and on the device; both come to the same."""
    outcomes, plain = fit(on_device(cohort)), fit(cohort)
    for outcome, other in zip(outcomes, plain, strict=True):
        assert (outcome.status, outcome.epochs, outcome.steps) == (other.status, other.epochs, other.steps)
        for name, value in outcome.weights.items():
            np.testing.assert_allclose(value, other.weights[name], rtol=1e-6, atol=1e-9)
        assert outcome.metrics == pytest.approx(other.metrics, rel=1e-6, nan_ok=True)
        assert outcome.diagnostics.keys() == other.diagnostics.keys()
    return outcomes


SOME = [pytest.param(case, marks=[pytest.mark.slow] * (place % 2)) for place, case in enumerate(CASES)]  # the others are slow


@pytest.mark.parametrize("case", SOME)
def test_training_ends_where_it_ends_on_the_cpu(case: str, cohorts_of: Callable[..., list[Cohort]], device: Counter[str]) -> None:
    for cohort in cohorts_of(CASES[case], **{"trainer.max_steps": 5, "trainer.batch_size": 24}):
        agree(cohort)


def test_rows_that_end_are_cut_away(cohorts_of: Callable[..., list[Cohort]], device: Counter[str]) -> None:
    statuses = {outcome.status for cohort in cohorts_of(STOPPING) for outcome in agree(cohort)}
    assert statuses >= {"diverged", "stopped"}


def test_rows_that_are_scaled_as_they_are_drawn(
    cohorts_of: Callable[..., list[Cohort]], device: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "MATERIALIZED_BYTES", 0)
    (cohort,) = cohorts_of(rows("dataset", "iris", "iris"))
    agree(cohort)


def test_own_components(cohorts_of: Callable[..., list[Cohort]], device: Counter[str]) -> None:
    (cohort,) = cohorts_of(rows("dataset", "iris", "iris"))
    bent = Component("bent", "mine.Bent", Bent)
    agree(replace(cohort, runs=[replace(run, activation=bent) for run in cohort.runs]))
    agree(replace(cohort, settings=replace(cohort.settings, module=Component("net", "mine.Net", Net))))
    agree(with_rprop(cohorts_of))


def with_rprop(cohorts_of: Callable[..., list[Cohort]]) -> Cohort:
    """Runs of one of torch's own optimizers, with schedules of their own."""
    rprop = Component("rprop", "torch.optim.Rprop", torch.optim.Rprop, {"lr": 0.01})
    (cohort,) = cohorts_of(rows("scheduler", "cosine", "linear", dataset="iris"))
    return replace(cohort, runs=[replace(run, optimizer=rprop) for run in cohort.runs])


def test_a_modules_tensors_follow_the_settings(cohorts_of: Callable[..., list[Cohort]], device: Counter[str]) -> None:
    (cohort,) = cohorts_of([{}])
    x = torch.ones(1, 2, 3, dtype=torch.float64, device=CUDA)
    y = pointwise(Component("bent", "mine.Bent", Bent), on_device(cohort).settings).forward(-x)
    assert (y.device, y.dtype) == (CUDA, torch.float64)


# No step waits


def waits(cohort: Cohort, steps: int, device: Counter[str]) -> Counter[str]:
    """The lines that wait for the device in an epoch of some steps."""
    training = Training(replace(on_device(cohort), settings=replace(cohort.settings, place="cuda:0", max_steps=steps)))
    device.clear()
    training.epoch(0)
    assert training.step == steps
    return device.copy()


@pytest.mark.parametrize("case", CASES)
def test_no_step_waits_for_the_device(case: str, cohorts_of: Callable[..., list[Cohort]], device: Counter[str]) -> None:
    for cohort in cohorts_of(CASES[case], **{"trainer.batch_size": 4}):
        assert waits(cohort, 9, device) - waits(cohort, 3, device) == Counter()


def test_torchs_own_optimizers_do_not_wait_either(cohorts_of: Callable[..., list[Cohort]], device: Counter[str]) -> None:
    cohort = with_rprop(cohorts_of)
    assert waits(cohort, 9, device) - waits(cohort, 3, device) == Counter()


def test_an_evaluation_hands_its_outputs_over_once(
    cohorts_of: Callable[..., list[Cohort]], device: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether they are computed at once or in many pieces."""
    (cohort,) = cohorts_of([{}])
    training, counts = Training(on_device(cohort)), []
    for number, together in enumerate((stepper.CHUNK_ROWS, 8)):
        monkeypatch.setattr(stepper, "CHUNK_ROWS", together)
        device.clear()
        training.evaluate(number)
        counts.append(device.copy())
    assert counts[0] == counts[1] != Counter()


def test_the_emulator_tells_a_wait_and_a_mixture(device: Counter[str]) -> None:
    x = torch.arange(3.0, device=CUDA)
    assert (x.device, (x + 1).device, x.cpu().device) == (CUDA, CUDA, CPU)
    device.clear()
    for wait in (lambda: float(x.sum()), lambda: x[x > 1], lambda: x.tolist(), lambda: torch.tensor([1.0], device=CUDA)):
        before = device.total()
        wait()
        assert device.total() == before + 1
    x += torch.tensor(1.0)
    with pytest.raises(RuntimeError, match="mixes devices"):
        x + torch.ones(3)


# What is for CPUs alone


def test_a_device_needs_no_fillers_and_no_runs_innermost(cohorts_of: Callable[..., list[Cohort]], device: Counter[str]) -> None:
    (cohort,) = cohorts_of(rows("optimizer", *["adam"] * 30))
    assert len(Training(cohort).cohort.runs) == 32
    there = Training(on_device(cohort))
    assert len(there.cohort.runs) == 30
    assert not there.train_step.innermost


def test_sizes_of_cohorts(cohorts_of: Callable[..., list[Cohort]], monkeypatch: pytest.MonkeyPatch, device: Counter[str]) -> None:
    """A CPU's cache limits the rows there; on a GPU its memory does."""
    monkeypatch.setattr(cut, "CACHE_BYTES", 1)
    (cohort,) = cohorts_of(rows("optimizer", *["adam"] * 64))
    specs: list[Any] = [None] * 64
    assert len(cut.cut(Planned(cohort, specs), 1 << 40)) == 2
    assert len(cut.cut(Planned(on_device(cohort), specs), 1 << 40)) == 1
    monkeypatch.undo()
    monkeypatch.setattr(cut, "MOST_ROWS", 16)
    assert [len(piece.specs) for piece in cut.cut(Planned(cohort, specs), 1 << 40)] == [16] * 4


def test_free_memory_is_that_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 300)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 100)
    assert cut.free_bytes("cuda:0") == 1200
    assert cut.free_bytes() > 1 << 20
    assert cut.free_bytes("cpu") > 1 << 20


def test_float32_is_float32_on_a_device_while_it_trains(cohorts_of: Callable[..., list[Cohort]], device: Counter[str]) -> None:
    def settings() -> tuple[bool, bool, bool]:
        cudnn = torch.backends.cudnn
        return cudnn.allow_tf32, cudnn.deterministic, torch.backends.cuda.matmul.allow_tf32

    def watching(x: Tensor) -> Tensor:
        seen.add(settings())
        return torch.relu(x)

    before, seen = settings(), set[tuple[bool, bool, bool]]()
    (cohort,) = cohorts_of([{}])
    watched = Component("watching", "mine.watching", watching)
    fit(on_device(replace(cohort, runs=[replace(run, activation=watched) for run in cohort.runs])))
    assert seen == {(False, True, False)}
    assert settings() == before
    with exact(CPU):
        assert settings() == before
    with exact(CUDA):
        assert settings() == (False, True, False)
    assert settings() == before


@pytest.mark.parametrize("name", ["mps", "meta", "xpu", "cuda0", "cuda:", "cpu:0", "CUDA", ""])
def test_other_devices_are_refused(name: str) -> None:
    assert f"trainer.device={name}: " in device_problem(name)
    assert "type trainer.device=cpu, cuda, cuda:N or auto" in device_problem(name)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there() -> None:
    assert device_problem("cuda:7") == "trainer.device=cuda:7: is not there; on this machine there is auto, cpu"
    assert device_problem("auto") == device_problem("cpu") == ""
