"""A run trains the same whatever trains beside it: alone, among 64 others, next to a NaN, and after rows were cut away."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dlrun import streams
from dlrun.components.arrays import Array
from dlrun.data.splits import NONE, Splits
from dlrun.engine.by_torch.stepper import TorchWay
from dlrun.engine.cohort import Cohort
from dlrun.engine.state import State
from dlrun.engine.step import TrainStep
from dlrun.engine.trainer import Outcome, Training, fit
from dlrun.experiments.planning.cohorts import plan

ACTIVATIONS = ["relu", "tanh", "leaky_relu", "swish", "elu", "gelu", "sigmoid", "softplus", "mish"]
OPTIMIZERS = ["sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "nadam", "asgd", "radam", "adamax", "lion"]
SCHEDULERS = ["constant", "cosine", "step", "one_cycle", "warmup_cosine"]
LOSSES = {
    "moons": ["bce_with_logits", "bce", "hinge", "focal"],
    "diabetes": ["mse", "mae", "huber", "log_cosh", "quantile"],
    "iris": ["cross_entropy", "nll", "focal", "sparsemax"],
}
RUNS = 64


def pick(options: Sequence[Any], row: int, step: int) -> Any:
    return options[(row * step) % len(options)]


def mixed(dataset: str, row: int) -> dict[str, Any]:
    """Row after row another combination, with numbers of its own; only the structure of the regularizers is shared."""
    activation, optimizer = pick(ACTIVATIONS, row, 1), pick(OPTIMIZERS, row, 5)
    given: dict[str, Any] = {
        "dataset": dataset,
        "seed": 100 + row // 2,
        "activation": activation,
        "optimizer": optimizer,
        "scheduler": pick(SCHEDULERS, row, 3),
        "loss": pick(LOSSES[dataset], row, 1),
        "regularizer": ["dropout", "l2", "l1", "max_norm"],
        "model.init": pick(["default", "xavier", "kaiming", "orthogonal", "lecun"], row, 2),
        "regularizer.dropout.p": 0.05 * (row % 7),
        "regularizer.l2.weight": 1e-4 * (row % 5),
        "regularizer.l1.weight": 1e-4 * (row % 3),
        "regularizer.max_norm.max_norm": 1.0 + row % 4,
        "trainer.clip_norm": [None, 0.5, 2.0][row % 3],
        "trainer.clip_value": [None, 0.1][row % 2],
        "trainer.dtype": "float64",
        "trainer.epochs": 3,
        "trainer.max_steps": None,
        "trainer.batch_size": 13,
    }
    if optimizer == "sgd":
        given |= {"optimizer.lr": 0.01 + 0.001 * row, "optimizer.momentum": 0.1 * (row % 9)}
    elif optimizer != "adadelta":
        given |= {"optimizer.lr": 1e-3 + 1e-4 * row}
    if optimizer in ("adam", "adamw", "nadam"):
        given |= {"optimizer.weight_decay": 1e-3 * (row % 4), "optimizer.betas": [0.9 - 0.01 * (row % 3), 0.99]}
    if activation == "leaky_relu":
        given |= {"activation.negative_slope": 0.01 * (1 + row % 6)}
    if activation == "swish":
        given |= {"activation.beta": 1.0 + 0.25 * (row % 4)}
    if given["loss"] == "huber":
        given |= {"loss.delta": 0.5 + 0.1 * (row % 5)}
    if given["loss"] == "quantile":
        given |= {"loss.tau": 0.3 + 0.1 * (row % 4)}
    return given


@pytest.fixture(scope="session")
def one_cohort(spec_of: Callable[..., Any], datasets: Any) -> Callable[..., Cohort]:
    """The only cohort that some runs make up, rows in the order given."""

    def make(rows: Sequence[dict[str, Any]]) -> Cohort:
        specs = [spec_of(**row) for row in rows]
        (planned,) = plan(specs, datasets)
        assert list(planned.specs) == specs
        return planned.cohort

    return make


def vector(outcome: Outcome) -> Array:
    return np.concatenate([value.ravel() for value in outcome.weights.values()])


def same(a: Outcome, b: Outcome, tolerance: float) -> None:
    """Everything about two outcomes agrees."""
    assert (a.status, a.epochs, a.steps, a.parameters) == (b.status, b.epochs, b.steps, b.parameters)
    for kind in ("metrics", "diagnostics", "history"):
        mine, theirs = getattr(a, kind), getattr(b, kind)
        assert list(mine) == list(theirs)
        for name, value in mine.items():
            assert value == pytest.approx(theirs[name], rel=tolerance, abs=tolerance, nan_ok=True), name
    assert list(a.weights) == list(b.weights)
    if tolerance == 0:
        np.testing.assert_array_equal(vector(a), vector(b), strict=True)
    else:
        np.testing.assert_allclose(vector(a), vector(b), rtol=tolerance, atol=tolerance, equal_nan=False, strict=True)


@pytest.mark.parametrize("dataset", LOSSES)
def test_a_run_alone_is_the_run_in_a_cohort_of_64(dataset: str, one_cohort: Callable[..., Cohort]) -> None:
    rows = [mixed(dataset, row) for row in range(RUNS)]
    together = one_cohort(rows)
    training = Training(together)
    train_step, order = training.train_step, training.order
    (start, _), batch_order = training.way.parameters(), train_step.keys().order(1)
    dropout = train_step.keys().epoch(1)(4).dropout
    outcomes = fit(together)
    assert {outcome.status for outcome in outcomes} == {"done"}
    for row in range(0, RUNS, 7):
        alone = one_cohort(rows[row : row + 1])
        own, place = Training(alone), order.index(row)
        assert np.array_equal(own.way.parameters()[0][0], start[place]), "initial parameters"
        assert torch.equal(own.train_step.keys().order(1)[0], batch_order[place]), "batch order"
        assert dropout is not None
        assert torch.equal(own.train_step.keys().epoch(1)(4).dropout[0], dropout[place]), "dropout masks"  # type: ignore[index]
        (outcome,) = fit(alone)
        np.testing.assert_allclose(vector(outcome), vector(outcomes[row]), rtol=1e-9, atol=1e-9, equal_nan=False, strict=True)
        same(outcome, outcomes[row], 1e-7)
    kinds = {g.part.name for g, _ in train_step.optimizers}
    assert kinds == set(OPTIMIZERS)


def test_dropout_masks_are_the_same_alone_and_together(
    one_cohort: Callable[..., Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The masks themselves, as drawn in training, in float32, where p stands in a column."""
    seen: list[Tensor] = []
    draw = streams.bernoulli

    def record(keys: Tensor, n: int, probability: float | Tensor) -> Tensor:
        mask = draw(keys, n, probability)
        seen.append(mask)
        return mask

    monkeypatch.setattr(streams, "bernoulli", record)
    small = {"trainer.dtype": "float32", "trainer.epochs": 1, "trainer.engine": "torch"}
    rows = [mixed("moons", row) | small for row in range(6)]
    cohort = one_cohort(rows)
    training = Training(cohort)
    seen.clear()
    training.epoch(0)
    together = list(seen)
    for row in range(6):
        own = Training(one_cohort(rows[row : row + 1]))
        seen.clear()
        own.epoch(0)
        assert len(seen) == len(together) > 20
        place = training.order.index(row)
        assert all(torch.equal(mine[0], all_[place]) for mine, all_ in zip(seen, together, strict=True))


def test_the_order_of_rows_does_not_matter(one_cohort: Callable[..., Cohort]) -> None:
    rows = [mixed("moons", row) for row in range(12)]
    forwards = fit(one_cohort(rows))
    backwards = fit(one_cohort(rows[::-1]))[::-1]
    for a, b in zip(forwards, backwards, strict=True):
        same(a, b, 1e-9)


def test_equal_rows_are_equal_runs(one_cohort: Callable[..., Cohort]) -> None:
    """At the end too, where a tensor's last vector is not whole unless the cohort is filled up (decision 13)."""
    row = mixed("moons", 3) | {"trainer.dtype": "float32", "trainer.engine": "torch"}
    first, *_, last = fit(one_cohort([row, *(row | {"seed": seed} for seed in range(45)), row]))
    same(first, last, 0)


# One run breaks


@pytest.mark.parametrize(("dataset", "dtype"), [*((name, "float32") for name in LOSSES), ("iris", "float64")])
@pytest.mark.fault("NaN and infinity in one run of many")
def test_a_diverging_run_leaves_the_others_bit_for_bit(dataset: str, dtype: str, one_cohort: Callable[..., Cohort]) -> None:
    """Against the same cohort in which that run fares well."""
    rows = [mixed(dataset, row) | {"trainer.dtype": dtype, "trainer.epochs": 2} for row in range(RUNS)]
    for row in rows:
        row["regularizer"] = ["dropout", "l2", "l1"]
        del row["regularizer.max_norm.max_norm"]
    broken = 22
    assert rows[broken]["optimizer"] == "sgd"
    well = fit(one_cohort(rows))
    rows[broken] |= {"optimizer.lr": 1e308}
    found = fit(one_cohort(rows))
    assert (found[broken].status, found[broken].epochs) == ("diverged", 1)
    assert "optimizer.lr (now 1e+308)" in found[broken].reason
    assert not math.isfinite(found[broken].metrics["test/loss"])
    for row in set(range(RUNS)) - {broken}:
        assert found[row].status == "done"
        same(found[row], well[row], 0)


@pytest.mark.parametrize(
    "given",
    [
        {"dataset": "diabetes", "trainer.batch_size": 4},
        {"dataset": "diabetes", "model.hidden": [33, 7]},
        {"dataset": "moons", "activation": ["relu", "tanh", "gelu", "sigmoid"]},
        {"dataset": "iris", "activation": ["silu", "elu"], "optimizer": ["sgd", "nadam"], "model.hidden": [9]},
        {
            "dataset": "digits",
            "model": "cnn",
            "regularizer": ["batch_norm", "dropout"],
            "dataset.validation": 0.02,
            "dataset.test": 0.95,
            "trainer.max_steps": 3,
        },
        {"dataset": "moons", "model": "residual_mlp", "model.width": 9, "trainer.max_steps": 20},
        {"dataset": "sentences", "dataset.rows": 200, "model": "bag_of_words", "trainer.max_steps": 6},
        {"dataset": "signals", "dataset.rows": 100, "dataset.length": 20, "model": "cnn1d", "trainer.max_steps": 3},
        pytest.param(
            {"dataset": "sentences", "dataset.rows": 60, "model": "gru", "trainer.max_steps": 2}, marks=pytest.mark.slow
        ),
        {"dataset": "sentences", "dataset.rows": 60, "model": "attention", "model.embedding": 4, "trainer.max_steps": 2},
        {"dataset": "signals", "dataset.rows": 60, "dataset.length": 9, "model": "gru1d", "model.units": 3}
        | {"trainer.batch_size": 4, "trainer.max_steps": 3},
    ],
    ids=[
        "notes",
        "odd sizes",
        "activations",
        "optimizers",
        "cnn",
        "residual",
        "words",
        "signals",
        "gru",
        "attention",
        "gru of signals",
    ],
)
@pytest.mark.parametrize("broken", [63, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.fault("NaN and infinity in one run of many")
def test_a_cohort_without_the_diverging_run_is_the_same_bit_for_bit(
    broken: int, given: dict[str, Any], one_cohort: Callable[..., Cohort]
) -> None:
    """Other rows, at other places in memory, in tensors of another size."""
    common = {"trainer.epochs": 2, "trainer.max_steps": None, "trainer.dtype": "float32"}

    def own(row: int) -> dict[str, Any]:
        varied = {name: values[row // 3 % len(values)] for name, values in given.items() if name in ("activation", "optimizer")}
        return common | given | varied | {"seed": row}

    rows = [own(row) for row in range(RUNS)]
    rows[broken] |= {"optimizer": "sgd" if "optimizer" in given else "adam", "optimizer.lr": 1e38}
    whole = fit(small(one_cohort(rows)))
    assert whole[broken].status == "diverged"
    without = fit(small(one_cohort(rows[:broken] + rows[broken + 1 :])))
    assert len(without) == RUNS - 1
    for mine, theirs in zip(whole[:broken] + whole[broken + 1 :], without, strict=True):
        same(mine, theirs, 0)


def small(cohort: Cohort) -> Cohort:
    """The cohort measured on 50 test rows: measuring all would take most of the time."""
    subsets = Splits.of(cohort.splits).subsets.copy()
    for subset, split in zip(subsets, cohort.splits, strict=True):
        subset[split.test[50:]] = NONE
    return replace(cohort, splits=Splits(subsets))


def test_rows_that_were_cut_down_to_are_the_same_bit_for_bit(one_cohort: Callable[..., Cohort]) -> None:
    common = {"dataset": "diabetes", "trainer.epochs": 4, "trainer.max_steps": None}
    rows: list[dict[str, Any]] = [common | {"seed": row, "optimizer.lr": 1e38 if row < 40 else 0.01} for row in range(RUNS)]
    many, few = fit(one_cohort(rows)), fit(one_cohort(rows[40:]))
    for outcome, alone in zip(many[40:], few, strict=True):
        same(outcome, alone, 0)
    assert {outcome.status for outcome in many[:40]} == {"diverged"}


def test_in_a_wild_mixture_only_rounding_differs(one_cohort: Callable[..., Cohort]) -> None:
    """Where nearly every row has components of its own, filling up their groups would double the rows."""
    rows = [mixed("moons", row) | {"trainer.epochs": 2} for row in range(RUNS)]
    whole = fit(one_cohort(rows))
    without = fit(one_cohort(rows[:22] + rows[23:]))
    for mine, theirs in zip(whole[:22] + whole[23:], without, strict=True):
        same(mine, theirs, 1e-9)


@pytest.mark.parametrize(("loss", "epoch"), [("mse", 1), ("huber", 2), ("mae", 4)])
@pytest.mark.fault("NaN and infinity in one run of many")
def test_a_nan_that_comes_at_any_time_stays_in_its_row(
    loss: str, epoch: int, one_cohort: Callable[..., Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A NaN put into one row's parameters in front of an epoch: at the start, in the middle, at the end."""
    rows = [mixed("diabetes", row) | {"loss": loss, "trainer.epochs": 4} for row in range(8)]
    for row in rows:
        row.pop("loss.delta", None), row.pop("loss.tau", None)
    clean = fit(one_cohort(rows))
    train = Training.epoch

    def poisoned(self: Training, number: int) -> None:
        if number == epoch - 1:
            changed = self.way.arrays()
            changed["theta"][self.active.index(5), 0] = math.nan
            self.way.restore(changed, self.step)
        train(self, number)

    monkeypatch.setattr(Training, "epoch", poisoned)
    found = fit(one_cohort(rows))
    assert (found[5].status, found[5].epochs) == ("diverged", epoch)
    assert len(found[5].history["epoch"]) == epoch
    for row in set(range(8)) - {5}:
        same(found[row], clean[row], 0)


@pytest.mark.fault("NaN and infinity in one run of many")
def test_all_runs_diverge(one_cohort: Callable[..., Cohort]) -> None:
    rows = [mixed("moons", 22) | {"seed": seed, "optimizer.lr": 1e300, "trainer.epochs": 50} for seed in range(3)]
    for row in rows:
        row |= {"trainer.clip_norm": None, "trainer.clip_value": None}
    outcomes = fit(one_cohort(rows))
    assert [outcome.status for outcome in outcomes] == ["diverged"] * 3
    assert [outcome.epochs for outcome in outcomes] == [1] * 3


# Rows are cut away


def stopping(dataset: str, row: int) -> dict[str, Any]:
    given = mixed(dataset, row) | {"trainer.epochs": 30, "trainer.batch_size": 32}
    given["regularizer"] = ["early_stopping", "dropout", "l1", "l2", "batch_norm"]
    del given["regularizer.max_norm.max_norm"]
    return given | {"regularizer.early_stopping.patience": 2, "regularizer.early_stopping.min_delta": 0.001 * (row % 4)}


@pytest.fixture
def cuts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The sizes before and after each cut."""
    seen: list[tuple[int, int]] = []
    cut = Training._compact

    def counted(self: Training) -> None:
        before = len(self.active)
        cut(self)
        seen.append((before, len(self.active)))

    monkeypatch.setattr(Training, "_compact", counted)
    return seen


@pytest.mark.parametrize("dataset", [pytest.param(name, marks=[pytest.mark.slow] * (name == "iris")) for name in LOSSES])
def test_cutting_rows_changes_no_result(
    dataset: str, one_cohort: Callable[..., Cohort], monkeypatch: pytest.MonkeyPatch, cuts: list[tuple[int, int]]
) -> None:
    rows = [stopping(dataset, row) for row in range(24)]
    rows[7] |= {"optimizer": "sgd", "optimizer.lr": 1e308, "optimizer.momentum": 0.5}
    rows[7] = {key: value for key, value in rows[7].items() if key not in ("optimizer.betas", "optimizer.weight_decay")}
    cut = fit(one_cohort(rows))
    assert cuts
    assert all(after <= before // 2 for before, after in cuts)
    epochs = {outcome.epochs for outcome in cut}
    assert len(epochs) > 4, "they end at different times"
    assert {"stopped", "diverged"} <= {outcome.status for outcome in cut}
    monkeypatch.setattr(Training, "_compact", lambda self: None)
    whole = fit(one_cohort(rows))
    for row, (a, b) in enumerate(zip(cut, whole, strict=True)):
        if row != 7:
            same(a, b, 1e-7)  # a bias before batch_norm has no gradient but rounding, which adam divides by its own size
        else:
            assert (a.status, a.epochs) == (b.status, b.epochs) == ("diverged", 1)


def test_a_row_that_was_cut_down_to_is_the_run_alone(one_cohort: Callable[..., Cohort], cuts: list[tuple[int, int]]) -> None:
    rows = [stopping("moons", row) for row in range(16)]
    together = fit(one_cohort(rows))
    last = max(range(16), key=lambda row: together[row].epochs)
    assert cuts
    (alone,) = fit(one_cohort(rows[last : last + 1]))
    same(alone, together[last], 1e-9)


def state_of(training: Training) -> State:
    """What the steps by torch change."""
    assert isinstance(training.way, TorchWay)
    return training.way._state


def test_cut_tables_and_machines_belong_to_the_rows_left(one_cohort: Callable[..., Cohort]) -> None:
    """After a cut: views share the new theta, and each row has its own seed, split and optimizer state."""
    training = Training(one_cohort([mixed("moons", row) for row in range(8)]))
    training.epoch(0)
    for row in (0, 2, 3, 5, 6):
        training.alive[row] = False
    state = state_of(training)
    before = {row: state.theta[place].clone() for place, row in enumerate(training.active)}
    moments = {
        row: {name: value[number].clone() for name, value in slots.items()}
        for (g, _), slots in zip(training.train_step.optimizers, state.optimizers, strict=True)
        for number, row in enumerate(training.active[place] for place in g.rows.indices)
    }
    training._compact()
    assert sorted(training.active) == [1, 4, 7]
    train_step, state = training.train_step, state_of(training)
    assert isinstance(train_step, TrainStep)
    for place, row in enumerate(training.active):
        assert train_step.runs[place] is training.cohort.runs[row]
        assert torch.equal(state.theta[place], before[row])
        assert int(training.table.split_of[place]) == training.cohort.runs[row].split
    for (g, _), slots in zip(train_step.optimizers, state.optimizers, strict=True):
        for number, place in enumerate(g.rows.indices):
            for name, value in slots.items():
                assert torch.equal(value[number], moments[training.active[place]][name])
    views = [view for layer in train_step.parameters for view in layer]
    storage = state.theta.untyped_storage().data_ptr()
    assert all(view.untyped_storage().data_ptr() == storage for view in views)
    kept = state.theta.clone()
    training.epoch(1)
    assert (state.theta != kept).any(1).all()
