"""The compiled step computes what the step computes; where there is no compiler, training goes on without.

Compiling takes seconds: one small cohort always does, and ``make slow`` goes through every kind.
"""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch

from dlrun.engine import stepper
from dlrun.engine.cohort import Cohort
from dlrun.engine.compiled import CannotCompileError, CompiledStep
from dlrun.engine.components import Component
from dlrun.engine.state import State
from dlrun.engine.stepper import TorchWay
from dlrun.engine.trainer import Outcome, Training, fit
from dlrun.experiments.cohorts import plan

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
quiet = pytest.mark.filterwarnings("ignore")  # torch's own, while it traces and compiles


@pytest.fixture
def cohort_of(spec_of: Callable[..., Any], datasets: Any) -> Callable[..., Cohort]:
    def make(rows: Sequence[dict[str, Any]], compile: bool | str) -> Cohort:
        specs = [spec_of(**({"trainer.epochs": 3, "trainer.max_steps": None} | row)) for row in rows]
        (planned,) = plan(specs, datasets)
        return replace(planned.cohort, settings=replace(planned.cohort.settings, engine="torch", compile=compile))

    return make


@pytest.fixture(autouse=True)
def first_word() -> Iterator[None]:
    """What is said once is said once a test."""
    stepper._tell.cache_clear()
    yield
    stepper._tell.cache_clear()


def vector(outcome: Outcome) -> torch.Tensor:
    return torch.cat([value.flatten() for value in outcome.weights.values()])


def agree(together: list[Outcome], plain: list[Outcome], tolerance: float) -> None:
    for a, b in zip(together, plain, strict=True):
        assert (a.status, a.epochs, a.steps) == (b.status, b.epochs, b.steps)
        torch.testing.assert_close(vector(a), vector(b), rtol=tolerance, atol=tolerance)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The steps that were taken by a compiled program."""
    taken: list[int] = []
    step = CompiledStep.step

    def counted(self: CompiledStep, state: Any, *rest: Any) -> None:
        step(self, state, *rest)
        taken.append(state.step)

    monkeypatch.setattr(CompiledStep, "step", counted)
    return taken


@needs_compiler
@quiet
def test_a_compiled_step_is_the_step(cohort_of: Callable[..., Cohort], steps: list[int]) -> None:
    """Rows side by side in memory, an epoch whose last batch is smaller, a schedule, and a row with a rate of its own."""
    rows = [
        {
            "dataset": "diabetes",
            "seed": seed,
            "optimizer.lr": 0.01 if seed else 0.002,
            "scheduler": "cosine",
            "trainer.batch_size": 16,
            "trainer.dtype": "float64",
        }
        for seed in range(40)
    ]
    found = fit(cohort_of(rows, True))
    assert len(steps) == 1 + 3 * (266 // 16)  # one is tried beforehand
    agree(found, fit(cohort_of(rows, False)), 1e-9)


def test_no_compiler_costs_a_word(
    cohort_of: Callable[..., Cohort], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("No working C++ compiler found\nand many more lines")

    monkeypatch.setattr(CompiledStep, "_build", fail)
    rows = [{"dataset": "moons", "seed": seed} for seed in range(2)]
    with caplog.at_level(logging.WARNING, logger="dlrun"):
        found = fit(cohort_of(rows, True))
        fit(cohort_of(rows, True))
    agree(found, fit(cohort_of(rows, False)), 0.0)
    assert caplog.messages == [
        "trainer.compile: the step is not compiled: RuntimeError: No working C++ compiler found",
    ]


def test_a_program_that_computes_something_else_is_not_used(
    cohort_of: Callable[..., Cohort], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(self: CompiledStep, timed: list[Any], drawn: list[Any], state: State, *_: Any) -> None:
        def program(theta: torch.Tensor, buffers: torch.Tensor, *rest: torch.Tensor) -> None:
            for slot in rest[:-2]:
                slot += 1e-3

        def nothing(*_: Any) -> tuple[()]:
            return ()

        self._rates, self._masks, self._program = nothing, nothing, program  # type: ignore[assignment]

    monkeypatch.setattr(CompiledStep, "_build", wrong)
    rows = [{"dataset": "moons", "seed": seed} for seed in range(2)]
    with caplog.at_level(logging.WARNING, logger="dlrun"):
        agree(fit(cohort_of(rows, True)), fit(cohort_of(rows, False)), 0.0)
    (said,) = caplog.messages
    assert "100% of the numbers otherwise" in said


def test_what_cannot_be_compiled_is_not_tried(cohort_of: Callable[..., Cohort], caplog: pytest.LogCaptureFixture) -> None:
    cohort = cohort_of([{"dataset": "moons"}], True)
    stock = Component("rprop", "torch.optim.Rprop", torch.optim.Rprop, {"lr": 0.01})
    with caplog.at_level(logging.WARNING, logger="dlrun"):
        (found,) = fit(replace(cohort, runs=[replace(cohort.runs[0], optimizer=stock)]))
    assert found.status == "done"
    (said,) = caplog.messages
    assert "torch's own" in said


@pytest.mark.parametrize(("repays", "compiles"), [(0.0, 1), (1e9, 0)])
def test_auto_compiles_when_it_repays(
    repays: float, compiles: int, cohort_of: Callable[..., Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps on the clock are few, and the decision falls once."""
    tried: list[int] = []

    def fail(self: CompiledStep, runs: Any, cohort: Any, state: Any, *_: Any) -> None:
        tried.append(state.step)
        raise CannotCompileError("not here")

    monkeypatch.setattr(CompiledStep, "__init__", fail)
    monkeypatch.setattr(stepper, "REPAYS", repays)
    fit(cohort_of([{"dataset": "diabetes", "trainer.batch_size": 4}], "auto"))
    assert tried == [stepper.WARMING + stepper.TIMED] * compiles


def test_auto_gives_up_a_program_that_is_no_faster(cohort_of: Callable[..., Cohort], monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow:
        def __init__(self, *_: Any) -> None:
            pass

        def takes(self, *_: Any) -> bool:
            return True

        def rates(self, first: int, count: int, factors: Any) -> list[tuple[()]]:
            return [()] * count

        def step(self, state: Any, x: torch.Tensor, y: torch.Tensor, keys: Any, rates: Any) -> None:
            seen.append(state.step)
            torch.linalg.svd(torch.ones(200, 200))  # slower than any step of this network
            training.train_step.step(state, x, y, keys)

    seen: list[int] = []
    monkeypatch.setattr(stepper, "CompiledStep", Slow)
    monkeypatch.setattr(stepper, "REPAYS", 0.0)
    training = Training(cohort_of([{"dataset": "diabetes", "trainer.batch_size": 4}], "auto"))
    with torch.no_grad():
        training.epoch(0)
        training.epoch(1)
    on_the_clock = stepper.WARMING + stepper.TIMED
    assert seen == list(range(on_the_clock, 2 * on_the_clock))
    assert isinstance(training.way, TorchWay)
    assert training.way.stepper.compiled is None


SLOW = {
    "many components": [
        {
            "dataset": "moons",
            "seed": row // 2,
            "activation": ["relu", "tanh", "swish", "gelu", "elu", "softplus"][row % 6],
            "optimizer": ["sgd", "adam", "adamw", "rmsprop", "nadam", "radam", "lion", "adagrad", "adamax", "asgd"][row % 10],
            "optimizer.lr": 1e-3 + 1e-4 * row,
            "loss": ["bce_with_logits", "bce", "hinge", "focal"][row % 4],
            "scheduler": ["constant", "cosine", "one_cycle"][row % 3],
            "trainer.clip_norm": [None, 0.5][row % 2],
        }
        for row in range(60)
    ],
    "regularizers": [
        {
            "dataset": "iris",
            "seed": row,
            "regularizer": ["l1", "l2", "max_norm", "dropout", "batch_norm", "augmentation", "label_smoothing"],
            "regularizer.dropout.p": 0.1 * (row % 5),
        }
        for row in range(24)
    ],
    "convolutions": [{"dataset": "digits", "model": "cnn", "seed": row, "trainer.max_steps": 20} for row in range(3)],
    "pairs": [{"dataset": "pairs", "seed": row} for row in range(4)],
    "learnt activations": [{"dataset": "moons", "activation": "swish", "activation.learnable": True, "seed": s} for s in (1, 2)],
    "one run": [{"dataset": "diabetes", "model.hidden": [64, 64], "trainer.batch_size": 32}],
    "early stopping": [
        {
            "dataset": "diabetes",
            "seed": row,
            "regularizer": ["early_stopping"],
            "regularizer.early_stopping.patience": 1,
            "optimizer.lr": 0.05,
            "trainer.epochs": 12,
            "trainer.batch_size": 16,
        }
        for row in range(40)
    ],
}


@pytest.mark.slow
@needs_compiler
@quiet
@pytest.mark.parametrize("case", SLOW)
def test_every_kind_of_cohort_compiles(case: str, cohort_of: Callable[..., Cohort], steps: list[int]) -> None:
    rows = [{"trainer.dtype": "float64"} | row for row in SLOW[case]]
    found = fit(cohort_of(rows, True))
    assert len(steps) > 4
    agree(found, fit(cohort_of(rows, False)), 1e-6)
