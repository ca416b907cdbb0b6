"""Training that goes on from a checkpoint ends with the bits of one that was never interrupted."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from dlrun.engine import lanes
from dlrun.engine.checkpoint import Checkpoint, Keeper
from dlrun.engine.lanes.library import kernel
from dlrun.engine.trainer import Outcome, fit
from dlrun.experiments.cohorts import Planned, plan

SMALL = {"dataset": "moons", "dataset.rows": 80, "model.hidden": [6, 5], "trainer.batch_size": 16, "trainer.epochs": 6}
STEPS = 3  # in an epoch
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "momentum": {"optimizer": "sgd", "optimizer.momentum": 0.9},
    "adamw": {"optimizer": "adamw"},
    "asgd": {"optimizer": "asgd", "optimizer.t0": 3.0},
}
MOMENTS = {"in an epoch": 2, "before the evaluation": STEPS + 1, "at its end": STEPS + 2}  # questions in an epoch and beyond it

Plan = Callable[..., Planned]


class Once(Keeper):
    """Takes one checkpoint, when it is asked for the ``at``-th time whether it is due."""

    def __init__(self, at: int) -> None:
        self.found: list[Checkpoint] = []
        super().__init__(0.0, self.found.append)
        self._left = at

    def due(self) -> bool:
        self._left -= 1
        return self._left <= 0 and not self.found


@pytest.fixture
def planned(spec_of: Callable[..., Any], datasets: Any) -> Plan:
    def make(rows: Sequence[dict[str, Any]], **every: Any) -> Planned:
        (found,) = plan([spec_of(**SMALL | row | every) for row in rows], datasets)
        return found

    return make


@pytest.fixture
def stepwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is asked before every step whether to stop, as torch is."""
    monkeypatch.setattr(lanes, "PRODUCTS", 1)


def check_same(found: Sequence[Outcome], expected: Sequence[Outcome]) -> None:
    """Bit for bit, NaN included."""
    for mine, there in zip(found, expected, strict=True):
        for name in ("status", "reason", "epochs", "steps", "engine", "parameters"):
            assert getattr(mine, name) == getattr(there, name)
        for name in ("metrics", "diagnostics", "history"):
            assert repr(getattr(mine, name)) == repr(getattr(there, name)), name
        for name in ("weights", "predictions"):
            ours, theirs = getattr(mine, name), getattr(there, name)
            assert ours.keys() == theirs.keys()
            for key, value in ours.items():
                assert value.numpy().tobytes() == theirs[key].numpy().tobytes(), key


def check_goes_on(group: Planned, at: int, engine: str) -> Checkpoint:
    """A checkpoint changes nothing for whom it is taken of, and who goes on from it ends where that one ended."""
    whole = fit(group.cohort)
    assert {outcome.engine for outcome in whole} == {engine}
    keeper = Once(at)
    check_same(fit(group.cohort, keeper=keeper), whole)
    (checkpoint,) = keeper.found
    check_same(fit(group.cohort, checkpoint=checkpoint), whole)
    assert 0 < checkpoint.facts["step"] < STEPS * 6
    return checkpoint


EVERY = [
    *itertools.product(OPTIMIZERS, ("constant", "cosine"), ("dropout", "batch_norm", ""), (1, 64), MOMENTS, ("native", "torch"))
]
SAMPLE = [  # each value of each, and each pair of optimizer, regularizer and engine in some of them
    ("momentum", "cosine", "dropout", 64, "in an epoch", "native"),
    ("adamw", "constant", "batch_norm", 64, "in an epoch", "native"),
    ("asgd", "cosine", "", 1, "before the evaluation", "native"),
    ("adamw", "cosine", "dropout", 1, "at its end", "native"),
    ("momentum", "constant", "batch_norm", 1, "in an epoch", "torch"),
    ("adamw", "cosine", "", 64, "in an epoch", "torch"),
    ("asgd", "constant", "dropout", 64, "before the evaluation", "torch"),
    ("asgd", "cosine", "batch_norm", 1, "at its end", "torch"),
]


def check(planned: Plan, case: tuple[str, str, str, int, str, str]) -> None:
    optimizer, scheduler, regularizer, runs, moment, engine = case
    if engine == "native" and kernel() is None:
        pytest.skip("dlrun was built without its kernel")
    how = {**OPTIMIZERS[optimizer], "scheduler": scheduler, "regularizer": [regularizer] if regularizer else []}
    how["trainer.engine"] = "torch" if engine == "torch" else "auto"
    group = planned([{"seed": seed} for seed in range(runs)], **how)
    check_goes_on(group, 2 * (STEPS + 1) + MOMENTS[moment], engine)


@pytest.mark.usefixtures("stepwise")
@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: "-".join(map(str, case)))
def test_goes_on_with_the_same_bits(planned: Plan, case: tuple[str, str, str, int, str, str]) -> None:
    check(planned, case)


@pytest.mark.slow
@pytest.mark.usefixtures("stepwise")
@pytest.mark.parametrize("case", EVERY, ids=lambda case: "-".join(map(str, case)))
def test_everything_goes_on_with_the_same_bits(planned: Plan, case: tuple[str, str, str, int, str, str]) -> None:
    check(planned, case)


@pytest.mark.usefixtures("stepwise")
@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_ended_runs_and_best_weights_are_kept(planned: Plan, engine: str) -> None:
    rows = [{"seed": seed, "optimizer.lr": lr} for seed in range(8) for lr in (1e30, 1e-9, 1e-9, 1e30, 0.1)]
    how = {"regularizer": ["early_stopping"], "regularizer.early_stopping.patience": 2, "optimizer": "sgd"}
    group = planned(rows, **how, **{"trainer.engine": engine})
    there = "native" if engine == "auto" and kernel() is not None else "torch"
    checkpoint = check_goes_on(group, 4 * (STEPS + 1) + 2, there)
    assert len(checkpoint.facts["rows"]) < 40
    assert {status for status, *_ in checkpoint.facts["outcomes"]} >= {"diverged", "stopped", "done"}
    assert "best/theta" in checkpoint.tensors
