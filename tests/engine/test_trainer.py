"""What the trainer records, when it stops, and with which weights a run ends."""

import dataclasses
import itertools
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dlrun.components.metrics import METRICS
from dlrun.components.schedules import cosine
from dlrun.engine import trainer
from dlrun.engine.by_torch import stepper
from dlrun.engine.by_torch.schedule import Factors
from dlrun.engine.by_torch.stepper import TorchWay
from dlrun.engine.cohort import Cohort
from dlrun.engine.layers import Pass
from dlrun.engine.measuring import diagnostics, evaluation
from dlrun.engine.measuring.diagnostics import diagnose, inside
from dlrun.engine.measuring.forms import Forms
from dlrun.engine.progress import Progress
from dlrun.engine.state import Parameters
from dlrun.engine.step import TrainStep
from dlrun.engine.tensors import tensor
from dlrun.engine.trainer import Outcome, Training, fit
from dlrun.experiments.planning.cohorts import plan


@pytest.fixture
def cohort_of(spec_of: Callable[..., Any], datasets: Any) -> Callable[..., Cohort]:
    """``cohort_of(runs=3, **given)``: a tuple among the values holds one for each run."""

    def make(runs: int = 1, **given: Any) -> Cohort:
        shared = {"trainer.dtype": "float64", "trainer.max_steps": None} | given
        specs = []
        for row in range(runs):
            mine = {key: value[row] if isinstance(value, tuple) else value for key, value in shared.items()}
            specs.append(spec_of(**({"seed": row} | mine)))
        (planned,) = plan(specs, datasets)
        return planned.cohort

    return make


def ended_with(training: Training, outcomes: list[Outcome]) -> Parameters:
    """Theta and buffers that hold the weights of the outcomes, rows in the training's order."""
    theta, buffers = (
        np.stack(
            [
                np.concatenate([np.empty(0), *(outcomes[row].weights[slot.name].ravel() for slot in layout.slots)])
                for row in training.order
            ]
        )
        for layout in (training.train_step.layout, training.train_step.model.buffers)
    )
    return theta, buffers


# Records


@pytest.mark.parametrize(
    ("epochs", "every", "max_steps", "recorded", "steps"),
    [
        (4, 1, None, [1, 2, 3, 4], 76),
        (5, 2, None, [2, 4, 5], 95),
        (3, 10, None, [3], 57),
        (10, 1, 19, [1], 19),
        (10, 1, 20, [1, 2], 20),
        (10, 3, 45, [3], 45),
        (1, 1, 1, [1], 1),
    ],
)
def test_history_is_written_when_it_is_due(
    epochs: int, every: int, max_steps: int | None, recorded: list[int], steps: int, cohort_of: Callable[..., Cohort]
) -> None:
    """Moons has 300 training rows: 19 steps of 16 in an epoch. The last evaluation always happens."""
    cohort = cohort_of(2, **{"trainer.epochs": epochs, "trainer.evaluate_every": every, "trainer.max_steps": max_steps})
    outcomes = fit(cohort)
    for outcome in outcomes:
        assert outcome.status == "done"
        assert outcome.reason == ""
        assert outcome.history["epoch"] == recorded
        assert set(outcome.history) == {"epoch", "train/loss", "validation/loss", "validation/accuracy"}
        assert all(len(values) == len(recorded) for values in outcome.history.values())
        assert (outcome.epochs, outcome.steps) == (recorded[-1], steps)
        assert outcome.history["validation/loss"][-1] == pytest.approx(outcome.metrics["validation/loss"], rel=1e-12)
        assert outcome.history["train/loss"][-1] == pytest.approx(outcome.metrics["train/loss"], rel=1e-12)


@pytest.mark.parametrize(
    ("dataset", "model"),
    [
        ("diabetes", "mlp"),
        ("moons", "mlp"),
        ("iris", "mlp"),
        ("multilabel", "mlp"),
        ("shapes", "segmenter"),
        ("pairs", "embedder"),
        ("triplets", "embedder"),
    ],
)
def test_metrics_are_those_of_the_final_weights(
    dataset: str, model: str, cohort_of: Callable[..., Cohort], monkeypatch: Any
) -> None:
    """Every figure is the metric's function of predictions, also when rows are measured in small chunks."""
    small = {"dataset.rows": 80} if dataset == "shapes" else {}
    cohort = cohort_of(2, dataset=dataset, model=model, **small)
    outcomes = fit(cohort)
    training = Training(cohort)
    train_step, ended = training.train_step, ended_with(training, outcomes)
    train_step.bind(train_step.fresh(ended))
    task = cohort.data.task
    defaults = {
        name
        for name, metric in METRICS[task].items()
        if not metric.takes_taus and (not metric.fact or metric.fact in cohort.data.facts)
    }
    for subset in ("train", "validation", "test"):
        x, y = training.table.subset(subset)
        facts = training.table.facts(subset)
        found, _ = train_step.forward(tensor(x), Pass())
        loss = train_step.loss(found, tensor(y))
        output, true = found.numpy(), y
        if task == "regression":
            output = training.table.original(output)
            true = training.table.true(training.table.sample(subset, len(cohort.data)))
        link = {"multiclass": "softmax", "segmentation": "softmax", "binary": "sigmoid", "multilabel": "sigmoid"}
        forms = Forms([("logit", link.get(task, "identity"))] * len(output), output, output)
        assert {name for name in outcomes[0].metrics if name.startswith(subset)} == {f"{subset}/{m}" for m in {"loss", *defaults}}
        for place, row in enumerate(training.order):
            measured = outcomes[row].metrics
            assert measured[f"{subset}/loss"] == pytest.approx(float(loss[place]))
            for name in defaults:
                value = float(evaluation.figure(METRICS[task][name], forms, true, facts)[place])
                assert measured[f"{subset}/{name}"] == pytest.approx(value, rel=1e-9), name
    monkeypatch.setattr(stepper, "CHUNK_NUMBERS", 1)
    again = evaluation.measure(train_step, training.table, TorchWay(train_step, training.table, ended), "test", sorted(defaults))
    for name, values in again.items():
        for place, row in enumerate(training.order):
            assert float(values[place]) == pytest.approx(outcomes[row].metrics[f"test/{name}"], rel=1e-9)


def test_an_epochs_training_loss_is_that_of_a_fair_sample(
    cohort_of: Callable[..., Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Iris is sorted by class; the loss of a few rows must not be that of one class."""
    cohort = cohort_of(2, dataset="iris", **{"dataset.validation": 0.0, "dataset.test": 0.0, "trainer.epochs": 1})
    monkeypatch.setattr(trainer, "EPOCH_ROWS", 60)
    training = Training(cohort)
    here = training.table.sample("train", 60)
    y = training.table.at(here)[1]
    assert np.bincount(y[0]).min() > 10
    for outcome in fit(cohort):
        assert outcome.history["train/loss"][0] == pytest.approx(outcome.metrics["train/loss"], rel=0.2)
        assert outcome.history["train/loss"][0] != outcome.metrics["train/loss"]


def test_regression_is_reported_in_the_units_of_the_data(cohort_of: Callable[..., Cohort]) -> None:
    """Diabetes has targets from 25 to 346: an untrained model is off by tens, not by ones."""
    (outcome,) = fit(cohort_of(dataset="diabetes", **{"trainer.max_steps": 1}))
    assert 40 < outcome.metrics["test/rmse"] < 200
    assert outcome.metrics["test/loss"] < 5


def test_quantiles_have_their_own_metrics(cohort_of: Callable[..., Cohort]) -> None:
    cohort = cohort_of(
        2, dataset="heteroscedastic", loss="quantile", **{"loss.tau": [0.1, 0.5, 0.9], "trainer.epochs": 10, "model.hidden": [5]}
    )
    for outcome in fit(cohort):
        assert outcome.weights["2.weight"].shape == (5, 3)
        assert 0 <= outcome.metrics["test/coverage"] <= 1
        assert outcome.metrics["test/pinball"] == pytest.approx(outcome.metrics["test/loss"] * 0.6, rel=0.5)
        assert outcome.metrics["test/r2"] < 1


def test_runs_with_and_without_quantiles_in_one_cohort(cohort_of: Callable[..., Cohort]) -> None:
    first, second, third = fit(cohort_of(3, dataset="diabetes", loss=("mse", "quantile", "quantile"), seed=(0, 0, 1)))
    assert "test/pinball" not in first.metrics
    assert "test/pinball" in second.metrics
    assert set(second.metrics) == set(third.metrics)
    assert "test/r2" in second.metrics


# Early stopping


def test_early_stopping_restores_the_best_weights(cohort_of: Callable[..., Cohort]) -> None:
    cohort = cohort_of(
        6,
        dataset="diabetes",
        regularizer=["early_stopping", "batch_norm"],
        **{
            "model.hidden": [64],
            "optimizer.lr": (0.1, 0.03, 0.01, 0.1, 0.03, 0.01),
            "regularizer.early_stopping.patience": 3,
            "trainer.epochs": 25,
        },
    )
    outcomes = fit(cohort)
    assert {outcome.status for outcome in outcomes} <= {"stopped", "done"}
    stopped = [outcome for outcome in outcomes if outcome.status == "stopped"]
    assert len(stopped) >= 3
    for outcome in outcomes:
        history = outcome.history["validation/loss"]
        best = min(range(len(history)), key=history.__getitem__)
        assert outcome.metrics["validation/loss"] == pytest.approx(history[best], rel=1e-9)
        assert outcome.metrics["train/loss"] == pytest.approx(outcome.history["train/loss"][best], rel=1e-9)
        assert len(history) == outcome.epochs
        if outcome.status == "stopped":
            assert len(history) - 1 - best == 3, "it stopped three epochs after its best"
            assert "validation/loss stopped improving" in outcome.reason
    assert len({outcome.epochs for outcome in outcomes}) > 1


def test_early_stopping_watches_a_metric_that_is_better_when_higher(cohort_of: Callable[..., Cohort]) -> None:
    cohort = cohort_of(
        3,
        dataset="moons",
        regularizer=["early_stopping"],
        **{
            "regularizer.early_stopping.patience": 4,
            "regularizer.early_stopping.metric": "auroc",
            "optimizer.lr": 0.05,
            "trainer.epochs": 40,
        },
    )
    for outcome in fit(cohort):
        history = outcome.history["validation/auroc"]
        assert max(history) == pytest.approx(outcome.metrics["validation/auroc"])
        assert outcome.status == "stopped"
        assert "validation/auroc" in outcome.reason


def test_early_stopping_counts_evaluations(cohort_of: Callable[..., Cohort]) -> None:
    cohort = cohort_of(
        dataset="diabetes",
        regularizer=["early_stopping"],
        **{
            "model.hidden": [64],
            "optimizer.lr": 0.1,
            "regularizer.early_stopping.patience": 1,
            "trainer.epochs": 200,
            "trainer.evaluate_every": 5,
        },
    )
    (outcome,) = fit(cohort)
    assert outcome.status == "stopped"
    assert outcome.epochs % 5 == 0
    assert outcome.history["epoch"] == [float(epoch) for epoch in range(5, outcome.epochs + 1, 5)]


def test_a_diverged_run_has_no_best(cohort_of: Callable[..., Cohort], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its earlier best weights are not restored: a run that broke is not to look well."""
    train = Training.epoch

    def poisoned(self: Training, number: int) -> None:
        train(self, number)
        if number == 3:
            changed = self.way.arrays()
            changed["theta"][0, 0] = math.inf
            self.way.restore(changed, self.step)

    monkeypatch.setattr(Training, "epoch", poisoned)
    cohort = cohort_of(dataset="diabetes", regularizer=["early_stopping"], **{"trainer.epochs": 10})
    (outcome,) = fit(cohort)
    assert (outcome.status, outcome.epochs) == ("diverged", 4)
    assert not math.isfinite(outcome.metrics["validation/loss"])
    assert not all(np.isfinite(value).all() for value in outcome.weights.values())


def test_best_weights_start_where_the_watched_metric_is_defined(cohort_of: Callable[..., Cohort]) -> None:
    training = Training(cohort_of(2, regularizer=["early_stopping"]))
    theta, buffers = training.way.parameters()
    for number, values in enumerate(([math.nan, 0.5], [0.9, math.nan], [1.0, 0.4], [0.8, 0.6])):
        training.way.use(np.full_like(theta, number), buffers)
        training._keep_best(np.array(values))
    assert training.best is not None
    assert training.best.theta[:, 0].tolist() == [3, 2]
    assert training.best.value.tolist() == pytest.approx([0.8, 0.4])


# Interruption and reports


def test_an_interrupted_cohort_ends_with_what_it_has(cohort_of: Callable[..., Cohort]) -> None:
    reports: list[Progress] = []
    outcomes = fit(cohort_of(2, **{"trainer.epochs": 10}), report=reports.append, interrupted=lambda: len(reports) >= 3)
    whole = fit(cohort_of(2, **{"trainer.epochs": 10}))
    for outcome, done in zip(outcomes, whole, strict=True):
        assert (outcome.status, outcome.epochs) == ("interrupted", 3)
        assert outcome.history["train/loss"] == done.history["train/loss"][:3]
        assert outcome.metrics == {}
        assert outcome.weights.keys() == done.weights.keys()


def test_an_interrupted_run_alone_is_measured(cohort_of: Callable[..., Cohort]) -> None:
    reports: list[Progress] = []
    (outcome,) = fit(cohort_of(1, **{"trainer.epochs": 10}), report=reports.append, interrupted=lambda: len(reports) >= 3)
    (done,) = fit(cohort_of(1, **{"trainer.epochs": 10}))
    assert (outcome.status, outcome.epochs) == ("interrupted", 3)
    assert outcome.metrics["train/loss"] == pytest.approx(done.history["train/loss"][2])
    assert outcome.metrics.keys() == done.metrics.keys()


def test_what_ended_before_an_interruption_is_measured(cohort_of: Callable[..., Cohort]) -> None:
    reports: list[Progress] = []
    cohort = cohort_of(2, regularizer=["early_stopping"], **{"trainer.epochs": 10})
    first, second = cohort.runs
    optimizer = dataclasses.replace(first.optimizer, values=first.optimizer.values | {"lr": 1e300})
    lost = dataclasses.replace(first, optimizer=optimizer)
    cohort = dataclasses.replace(cohort, runs=[lost, second])
    diverged, cut = fit(cohort, report=reports.append, interrupted=lambda: len(reports) >= 3)
    assert (diverged.status, cut.status) == ("diverged", "interrupted")
    assert "test/loss" in diverged.metrics
    assert cut.metrics == {}


def test_an_interruption_is_heeded_within_an_epoch(cohort_of: Callable[..., Cohort]) -> None:
    asked = []

    def interrupted() -> bool:
        asked.append(True)
        return len(asked) > 3  # asked before the first epoch, and before each step

    (outcome,) = fit(cohort_of(), interrupted=interrupted)
    assert (outcome.status, outcome.epochs, outcome.steps) == ("interrupted", 0, 2)


def test_interrupted_before_the_first_step(cohort_of: Callable[..., Cohort]) -> None:
    (outcome,) = fit(cohort_of(), interrupted=lambda: True)
    assert (outcome.status, outcome.epochs, outcome.steps) == ("interrupted", 0, 0)
    assert outcome.history == {"epoch": []}
    assert math.isfinite(outcome.metrics["test/loss"])


@pytest.mark.parametrize("given", [{}, {"trainer.dtype": "float32"}], ids=["torch", "native"])
def test_runs_that_end_before_others_change_no_bits(given: dict[str, Any], cohort_of: Callable[..., Cohort]) -> None:
    shared = {"trainer.epochs": 6, "trainer.evaluate_every": 2, "scheduler": "cosine"} | given
    together = fit(cohort_of(3, **shared, **{"trainer.until": (2, None, 4)}))
    assert [(outcome.status, outcome.epochs) for outcome in together] == [("done", 2), ("done", 6), ("done", 4)]
    whole = fit(cohort_of(3, **shared))
    alone = fit(cohort_of(1, **shared, **{"trainer.until": 2}))[0]
    for name, weights in whole[1].weights.items():
        assert np.array_equal(together[1].weights[name], weights)
        assert np.array_equal(together[0].weights[name], alone.weights[name])
    for mine, full in zip(together, whole, strict=True):  # the beginning of the whole training, with its schedule
        assert mine.history["validation/loss"] == full.history["validation/loss"][: mine.epochs // 2]
    assert together[0].metrics["validation/loss"] == whole[0].history["validation/loss"][0]


def test_reports_count_runs_steps_and_epochs(cohort_of: Callable[..., Cohort]) -> None:
    seen: list[Progress] = []
    cohort = cohort_of(3, optimizer="sgd", **{"optimizer.lr": (0.01, 1e308, 0.01), "trainer.epochs": 3})
    outcomes = fit(cohort, report=seen.append)
    assert [(p.epoch, p.step, p.steps, p.epochs, p.runs) for p in seen] == [(e, 19 * e, 57, 3, 3) for e in (1, 2, 3)]
    assert seen[0].diverged == seen[-1].diverged == 1
    assert seen[0].finished == 1
    assert seen[-1].metric_name == "validation/accuracy"
    well = [outcomes[0], outcomes[2]]
    assert seen[-1].loss == pytest.approx(sum(o.history["train/loss"][-1] for o in well) / 2)
    assert seen[-1].metric == pytest.approx(sum(o.metrics["validation/accuracy"] for o in well) / 2)
    assert seen[0].seconds <= seen[-1].seconds


# Schedules, clipping, averaging


def test_schedules_apply_row_by_row(cohort_of: Callable[..., Cohort]) -> None:
    cohort = cohort_of(4, scheduler=("constant", "cosine", "cosine", "step"), **{"trainer.epochs": 4})
    train_step = TrainStep(cohort.runs, cohort.data, cohort.settings)
    factors = train_step.factors(10, 5, 19, 76)
    assert factors is not None
    expected = cosine(np.arange(10, 15)[:, None], epoch_steps=19, total_steps=76)[:, 0]
    assert factors.dtype == np.float64
    assert np.array_equal(factors[:, 0], np.ones(5))
    np.testing.assert_allclose(factors[:, 1], expected)
    np.testing.assert_allclose(factors[:, 2], expected)
    assert np.array_equal(factors[:, 3], np.ones(5))


def test_an_optimizer_whose_rows_agree_is_given_a_float(cohort_of: Callable[..., Cohort]) -> None:
    cohort = cohort_of(
        4, optimizer=("sgd", "sgd", "adam", "adam"), scheduler=("cosine", "cosine", "constant", "cosine"), **{"trainer.epochs": 4}
    )
    train_step = TrainStep(cohort.runs, cohort.data, cohort.settings)
    matrix = train_step.factors(0, 3, 19, 76)
    assert matrix is not None
    factors = Factors(torch.from_numpy(matrix), train_step.optimizers, cohort.settings.device)
    assert factors.at(0).each == [1.0, 1.0]  # a cosine starts at 1, as the constant does
    sgd, adam = factors.at(2).each
    assert sgd == float(matrix[2, 0])
    assert isinstance(adam, Tensor)
    assert torch.equal(adam, torch.from_numpy(matrix[2, 2:, None]))
    column = factors.at(2).column
    assert column is not None
    assert torch.equal(column, torch.from_numpy(matrix[2, :, None]))


def test_schedules_with_columns(cohort_of: Callable[..., Cohort]) -> None:
    cohort = cohort_of(3, scheduler="cosine", **{"scheduler.min_factor": (0.0, 0.5, 1.0)})
    factors = TrainStep(cohort.runs, cohort.data, cohort.settings).factors(37, 2, 19, 38)
    assert factors is not None
    assert factors[0].tolist() == pytest.approx([0.0017, 0.5009, 1.0], abs=1e-4)
    assert factors[1].tolist() == pytest.approx([0.0, 0.5, 1.0])


def test_a_constant_rate_costs_nothing(cohort_of: Callable[..., Cohort]) -> None:
    cohort = cohort_of(2)
    assert TrainStep(cohort.runs, cohort.data, cohort.settings).factors(0, 5, 19, 76) is None


def test_the_step_limit_ends_the_schedule_too(cohort_of: Callable[..., Cohort]) -> None:
    training = Training(cohort_of(scheduler="cosine", **{"trainer.epochs": 100, "trainer.max_steps": 25}))
    factors = training.train_step.factors(24, 1, training.steps_per_epoch, training.total_steps)
    assert factors is not None
    assert float(factors[0, 0]) == pytest.approx(0.5 * (1 + math.cos(math.pi * 24 / 25)))


@pytest.mark.parametrize("limits", [(0.5, 0.5, 0.5), (0.5, None, 2.0), (None, None, 1e-3)])
def test_clipping_by_norm_is_torchs_run_by_run(limits: tuple[float | None, ...], cohort_of: Callable[..., Cohort]) -> None:
    cohort = cohort_of(3, **{"trainer.clip_norm": limits})
    train_step = TrainStep(cohort.runs, cohort.data, cohort.settings)
    grad = torch.randn(3, train_step.layout.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    grad[2] *= 1e-3
    clipped = grad.clone()
    train_step._clip(clipped)
    for row, limit in enumerate(limits):
        parameter = nn.Parameter(torch.zeros(train_step.layout.size, dtype=torch.float64))
        parameter.grad = grad[row].clone()
        if limit is not None:
            nn.utils.clip_grad_norm_([parameter], limit)
        torch.testing.assert_close(clipped[row], parameter.grad, rtol=1e-12, atol=0)


@pytest.mark.parametrize("limits", [(0.5, 0.5, 0.5), (0.5, None, 2.0)])
def test_clipping_by_value_is_run_by_run(limits: tuple[float | None, ...], cohort_of: Callable[..., Cohort]) -> None:
    cohort = cohort_of(3, **{"trainer.clip_value": limits})
    train_step = TrainStep(cohort.runs, cohort.data, cohort.settings)
    grad = torch.randn(3, train_step.layout.size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    clipped = grad.clone()
    train_step._clip(clipped)
    for row, limit in enumerate(limits):
        assert torch.equal(clipped[row], grad[row] if limit is None else grad[row].clamp(-limit, limit))


def test_asgd_is_evaluated_with_its_average(cohort_of: Callable[..., Cohort]) -> None:
    """Beside another optimizer, whose rows are evaluated as they are."""
    cohort = cohort_of(3, optimizer=("sgd", "asgd", "asgd"), **{"optimizer.lr": 0.1, "trainer.epochs": 3})
    cohort = Cohort(cohort.data, cohort.splits, cohort.preprocessing, [*cohort.runs], cohort.settings)
    for run in cohort.runs[1:]:
        dict.update(run.optimizer.values, t0=5.0)  # type: ignore[arg-type]
    training = Training(cohort)
    training.epoch(0)
    training.way.evaluated(training.step)
    evaluated, _ = training.way.parameters()
    for place, row in enumerate(training.order):
        assert np.array_equal(evaluated[place], training.way.arrays()["theta"][place]) == (row == 0)
    outcomes = fit(cohort)
    for outcome in outcomes:
        assert outcome.history["validation/loss"][-1] == pytest.approx(outcome.metrics["validation/loss"], rel=1e-12)


@pytest.mark.parametrize("t0", [1e6, 5.0])
def test_what_acts_behind_a_step_is_averaged_too(t0: float, cohort_of: Callable[..., Cohort]) -> None:
    """asgd with l1 and max_norm: before averaging begins, weights are exactly 0 and short; averages of such stay short."""
    cohort = cohort_of(
        2,
        dataset="diabetes",
        optimizer="asgd",
        regularizer=["l1", "max_norm"],
        **{
            "optimizer.lr": 0.05,
            "optimizer.t0": t0,
            "regularizer.l1.weight": 0.05,
            "regularizer.max_norm.max_norm": 0.3,
            "model.hidden": [20],
        },
    )
    for outcome in fit(cohort):
        assert np.linalg.norm(outcome.weights["0.weight"], axis=0).max() <= 0.3 + 1e-9
        if t0 > 5:
            assert 0.05 < outcome.diagnostics["zero_weights"] < 1  # type: ignore[operator]


def test_l1_makes_zeros_and_the_diagnostics_count_them(cohort_of: Callable[..., Cohort]) -> None:
    given = {"regularizer.l1.weight": (0.0, 0.05, 10.0), "trainer.epochs": 10, "optimizer.lr": 0.05}
    cohort = cohort_of(3, dataset="diabetes", optimizer="sgd", regularizer=["l1"], **given)
    shares = [outcome.diagnostics["zero_weights"] for outcome in fit(cohort)]
    assert shares[0] == 0
    assert 0 < shares[1] < 1  # type: ignore[operator]
    assert shares[2] == 1


# What ended well and still deserves a remark


def test_a_loss_that_had_settled_and_jumps_is_reported(cohort_of: Callable[..., Cohort]) -> None:
    """The second run's learning rate rises a thousandfold at epoch 8, for one epoch of a step."""
    given = {"dataset": "diabetes", "model": "linear", "optimizer": "sgd", "optimizer.momentum": 0.0, "optimizer.lr": 0.05}
    given |= {"scheduler": "step", "scheduler.step_size": 8, "trainer.batch_size": 266, "trainer.epochs": 10}
    steady, jumping = fit(cohort_of(2, **given, **{"scheduler.gamma": (0.1, 1000.0)}))
    assert (steady.status, steady.reason, jumping.status) == ("done", "", "done")
    found = re.match(
        r"the training loss had settled and jumped from (\S+) to (\S+) by epoch 9; a smaller optimizer.lr", jumping.reason
    )
    assert found, jumping.reason
    assert float(found[1]) == pytest.approx(jumping.history["train/loss"][7], rel=1e-2)
    assert float(found[2]) == pytest.approx(jumping.history["train/loss"][8], rel=1e-2)


@pytest.mark.parametrize(
    ("losses", "where"),
    [
        ([9, 1, 1, 1, 1, 1, 200, 1], 6),
        ([9, 1, 1, 1, 1, 1, 90], -1),  # less than a hundredfold
        ([9, 1, 1, 3, 1, 1, 900], -1),  # not settled
        ([9, 1e-9, 1e-9, 1e-9, 1e-9, 1e-9, 1e-3], -1),  # small as it ever was: rounding
        ([1, 1, 1, 1, 200], -1),  # too early to say
        ([9, 1, 1, 1, 1, 1, math.nan], -1),  # diverged, or cut
    ],
)
def test_what_a_jump_is(losses: list[float], where: int) -> None:
    assert diagnostics.jumps(np.array([losses])).tolist() == [where]


# Diagnostics


def test_diagnostics_tell_what_is_inside(cohort_of: Callable[..., Cohort]) -> None:
    """One hidden layer of relu, all of it computed again by hand."""
    cohort = cohort_of(2, dataset="iris", **{"model.hidden": [6], "trainer.epochs": 3})
    outcomes = fit(cohort)
    for row, outcome in enumerate(outcomes):
        split, scaling = cohort.splits[cohort.runs[row].split], cohort.preprocessing[cohort.runs[row].split]
        x, y = map(torch.from_numpy, (scaling.inputs(cohort.data.x[split.train]), cohort.data.y[split.train]))
        weights = {name: torch.tensor(value, requires_grad=True) for name, value in outcome.weights.items()}
        hidden = torch.relu(x @ weights["0.weight"] + weights["0.bias"])
        loss = nn.functional.cross_entropy(hidden @ weights["2.weight"] + weights["2.bias"], y)
        loss.backward()
        found: dict[str, Any] = outcome.diagnostics
        norms = [float(weights[name].grad.norm()) for name in ("0.weight", "2.weight")]  # type: ignore[union-attr]
        assert found["gradient_norm"] == pytest.approx(norms)
        assert found["mean_activation"] == pytest.approx([float(hidden.detach().mean())])
        dead = (hidden == hidden[:1]).all(0).double().mean()
        assert found["dead_units"] == pytest.approx([float(dead)])
        assert found["saturation"] == pytest.approx([float((hidden == 0).double().mean())])
        flat = torch.cat([weights[name].detach().flatten() for name in ("0.weight", "2.weight")])
        assert found["weight_norm"] == pytest.approx(float(flat.norm()))
        assert found["zero_weights"] == 0
        assert found["loss_gap"] == pytest.approx(outcome.metrics["test/loss"] - outcome.metrics["train/loss"])
        assert 1 / 3 <= found["mean_top_probability"] <= 1
        assert len(found["gradient_norm_at_start"]) == 2


@pytest.mark.parametrize("dtype", ["float32", "float64"])  # the first by the kernel
def test_dead_units_are_seen(dtype: str, cohort_of: Callable[..., Cohort]) -> None:
    """Units that a large negative bias has switched off."""
    cohort = cohort_of(2, dataset="iris", activation=("relu", "tanh"), **{"model.hidden": [4], "trainer.dtype": dtype})
    training = Training(cohort)
    bias = next(slot for slot in training.train_step.layout.slots if slot.name == "0.bias")
    theta, buffers = training.way.parameters()
    bias.view(theta)[:, 0, :3] = -100.0
    training.way.use(theta, buffers)
    found = inside(training.way, training.train_step, training.table)
    assert found["dead_units"][:, 0].tolist() == [0.75, 0.75]
    assert float(found["saturation"][0, 0]) >= 0.75


def test_what_is_kept_of_wide_models_for_diagnostics_is_bounded(
    cohort_of: Callable[..., Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [diagnostics.rows_of(left) for left in (1, 16384, 16385, 1 << 17, 1 << 40)] == [256, 256, 255, 32, 16]
    training = Training(cohort_of(dataset="iris", **{"trainer.dtype": "float32"}))
    monkeypatch.setattr(diagnostics, "LEFT", 40 * training.train_step.model.left_by(0))
    found = inside(training.way, training.train_step, training.table)
    here = training.table.sample("train", 40)
    assert len(here) == 40
    assert np.array_equal(found["gradient_norm"], training.way.inside(here)["gradient_norm"])
    assert not np.array_equal(found["gradient_norm"], training.start)


@pytest.mark.parametrize("dtype", ["float32", "float64"])  # the first by the kernel
def test_diagnostics_change_nothing(dtype: str, cohort_of: Callable[..., Cohort]) -> None:
    training = Training(cohort_of(2, regularizer=["batch_norm", "dropout"], **{"trainer.dtype": dtype}))
    before = {name: values.copy() for name, values in training.way.arrays().items()}
    diagnose(training.way, training.train_step, training.table, training.way.parameters()[0])
    for name, values in training.way.arrays().items():
        assert np.array_equal(values, before[name])


# Shapes at the edge


@pytest.mark.parametrize(
    ("regularizer", "batch_size"), [([], 1), *itertools.product(([], ["batch_norm", "dropout"]), (7, 299, 300))]
)
def test_batches_of_any_size(batch_size: int, regularizer: list[str], cohort_of: Callable[..., Cohort]) -> None:
    cohort = cohort_of(2, regularizer=regularizer, **{"trainer.batch_size": batch_size, "trainer.epochs": 1})
    for outcome in fit(cohort):
        assert outcome.steps == math.ceil(300 / batch_size)
        assert all(np.isfinite(value).all() for value in outcome.weights.values())
        assert math.isfinite(outcome.metrics["test/loss"])


def test_no_validation_and_no_test_rows(cohort_of: Callable[..., Cohort]) -> None:
    (outcome,) = fit(cohort_of(**{"dataset.validation": 0.0, "dataset.test": 0.0}))
    assert {name.split("/")[0] for name in outcome.metrics} == {"train"}
    assert set(outcome.history) == {"epoch", "train/loss"}
    assert "loss_gap" not in outcome.diagnostics


def test_weights_are_named_by_layer_and_are_the_runs_own(cohort_of: Callable[..., Cohort]) -> None:
    outcomes = fit(cohort_of(3, regularizer=["batch_norm"], **{"model.hidden": [5]}))
    names = ["0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias", "1.running_mean", "1.running_var"]
    assert [list(outcome.weights) for outcome in outcomes] == [names] * 3
    stacked = np.stack([outcome.weights["0.weight"] for outcome in outcomes])
    assert len(np.unique(stacked, axis=0)) == 3
    assert outcomes[0].parameters == sum(v.size for n, v in outcomes[0].weights.items() if "running" not in n)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_types_train(dtype: str, cohort_of: Callable[..., Cohort]) -> None:
    outcomes = fit(
        cohort_of(
            3,
            dataset="iris",
            activation=("relu", "leaky_relu", "leaky_relu"),
            regularizer=["l1", "l2", "max_norm", "dropout", "batch_norm", "label_smoothing", "early_stopping", "augmentation"],
            **{
                "seed": (0, 1, 2),
                "trainer.dtype": dtype,
                "optimizer.lr": (0.01, 0.02, 0.03),
                "regularizer.l1.weight": (1e-4, 2e-4, 3e-4),
                "regularizer.batch_norm.momentum": (0.1, 0.2, 0.3),
                "regularizer.label_smoothing.smoothing": (0.0, 0.1, 0.2),
                "regularizer.early_stopping.min_delta": (0.0, 0.1, 0.2),
                "regularizer.augmentation.strength": (0.0, 0.1, 0.2),
                "trainer.clip_norm": (1.0, None, 2.0),
                "trainer.clip_value": (None, 1.0, 2.0),
                "trainer.epochs": 3,
            },
        )
    )
    assert {value.dtype for outcome in outcomes for value in outcome.weights.values()} == {np.dtype(dtype)}
    assert all(math.isfinite(value) for outcome in outcomes for value in outcome.metrics.values())


def test_training_leaves_torchs_generator_and_the_data_alone(cohort_of: Callable[..., Cohort]) -> None:
    """All random numbers come from the streams, and what a batch shows is a copy or stays as it is."""
    cohort = cohort_of(
        2,
        dataset="iris",
        regularizer=["dropout", "augmentation", "label_smoothing", "batch_norm"],
        **{"model.init": ("orthogonal", "kaiming")},
    )
    x, y = cohort.data.x.copy(), cohort.data.y.copy()
    generator = torch.random.get_rng_state()
    first = fit(cohort)
    assert torch.equal(torch.random.get_rng_state(), generator)
    assert np.array_equal(cohort.data.x, x)
    assert np.array_equal(cohort.data.y, y)
    torch.rand(7)
    for one, other in zip(first, fit(cohort), strict=True):
        assert one.metrics == other.metrics
        assert all(np.array_equal(value, other.weights[name]) for name, value in one.weights.items())


def test_batches_do_not_change_the_table(cohort_of: Callable[..., Cohort]) -> None:
    """Identity activations and in-place optimizers work on views; none of them may reach the data."""
    training = Training(cohort_of(2, activation="identity", regularizer=["batch_norm"], **{"trainer.batch_size": 300}))
    before = [part.copy() for part in training.table.subset("train")]
    training.epoch(0)
    training.evaluate(1)
    assert all(np.array_equal(a, b) for a, b in zip(before, training.table.subset("train"), strict=True))
