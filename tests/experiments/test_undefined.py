"""Metrics that some rows leave undefined: in runs as in baselines, and where early stopping watches them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dlrun.components.metrics import METRICS
from dlrun.components.regularizers import EarlyStopping
from dlrun.data.dataset import Data
from dlrun.engine import trainer
from dlrun.engine.measuring.evaluation import is_defined
from dlrun.experiments.planning import cohorts

DOSES = {4: 0.2, 9: 0.35, 13: 0.35, 22: 0.2, 27: 0.35}  # by row; all others are 0.1


@pytest.fixture
def dose(tmp_path: Path) -> list[str]:
    """A table of 30 rows most of which have the same target, as words of a command."""
    rows = [f"{60 + 7 * i % 31},{20 + 11 * i % 53},{DOSES.get(i, 0.1)}" for i in range(30)]
    (tmp_path / "dose.csv").write_text("\n".join(["weight,age,dose", *rows, ""]))
    return ["dataset=csv", f"dataset.path={tmp_path / 'dose.csv'}", "dataset.target=dose"]


def test_r2_of_folds_of_equal_targets_is_left_out_for_runs_and_baselines(call: Callable[..., Any], dose: list[str]) -> None:
    found = call("-m", *dose, "dataset.folds=10", "seed=0,1", "activation=relu,tanh")
    assert found.code == 0
    of_run: dict[tuple[int, int | None], set[bool]] = {}
    for record in found.records:
        value = record.metrics["test/r2"]
        of_run.setdefault((record.seed, record.fold), set()).add(value is None)
        assert value is None or abs(value) < 100
        assert record.metrics["test/mae"] is not None
    assert all(len(undefined) == 1 for undefined in of_run.values())
    defined = sum(undefined == {False} for undefined in of_run.values())
    assert 0 < defined < 20
    assert {row["n"] for row in found.table} == {str(defined)}, "runs and baselines are means over the same folds"
    assert all(abs(float(row["test/r2 mean"])) < 100 for row in found.table)


def test_early_stopping_refuses_to_watch_what_has_no_value(call: Callable[..., Any], dose: list[str]) -> None:
    watch = [*dose, "regularizer=[early_stopping]", "regularizer.early_stopping.metric=r2"]
    found = call(*watch, "dataset.validation=0.03")
    assert found.code == 2
    assert (
        "regularizer.early_stopping.metric=r2: needs targets that differ, missing from the 1 validation row of seed=0"
        in found.err
    )
    assert "type regularizer.early_stopping.metric=loss" in found.err
    assert call(*watch, "dataset.validation=0.03", "regularizer.early_stopping.metric=loss").code == 0
    assert call(*watch, "dataset.validation=0.4", "trainer.batch_size=4").code == 0
    swept = call("-m", *dose, "dataset.folds=10", "regularizer=[],[early_stopping]", "regularizer.early_stopping.metric=r2")
    assert [cell.status for cell in swept.sweep.cells].count("skipped") == 10
    shown = " ".join(swept.err.split())
    assert "skipped 10: regularizer.early_stopping.metric=r2: needs targets that differ, missing from the" in shown
    assert ", dataset.fold=" in shown


def test_the_best_so_far_of_a_sweep_has_a_value(call: Callable[..., Any], dose: list[str]) -> None:
    found = call("-m", *dose, "dataset.validation=0.1", "seed=range(0,8)", "baseline=none")
    values = [record.metrics["validation/r2"] for record in found.records]
    assert values[0] is None, "the first is the one that nothing would beat"
    best = max(value for value in values if value is not None)
    assert f"best validation/r2 {best:.4f}" in found.err


def test_a_watched_metric_without_a_value_keeps_the_last_weights_and_is_reported(
    spec_of: Callable[..., Any], datasets: Any, dose: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What no rule foresees, such as a loss of a user's own that is NaN on validation rows."""
    monkeypatch.setattr(cohorts, "check_watched", lambda *_: None)
    words = dict(word.split("=", 1) for word in dose)
    given = {**words, "dataset.validation": 0.03, "trainer.epochs": 30, "trainer.max_steps": None, "activation": "tanh"}
    stopping = {"regularizer.early_stopping.metric": "r2", "regularizer.early_stopping.patience": 2}
    (watched,) = trainer.fit(cohorts.plan([spec_of(["early_stopping"], **given, **stopping)], datasets)[0].cohort)
    (alone,) = trainer.fit(cohorts.plan([spec_of(**given)], datasets)[0].cohort)
    assert (watched.status, watched.epochs) == ("done", 30)
    assert "validation/r2 had no finite value in any epoch" in watched.reason
    assert "type regularizer.early_stopping.metric=loss" in watched.reason
    assert alone.reason == ""
    for name, weights in alone.weights.items():
        assert np.array_equal(watched.weights[name], weights)


def test_a_run_without_a_value_so_far_is_not_stopped() -> None:
    nothing, something = torch.full((6,), torch.nan), torch.tensor([torch.nan, 3.0, 3.0, 3.0, 3.0, 3.0])
    late = torch.tensor([torch.nan, torch.nan, torch.nan, torch.nan, 3.0, torch.nan])
    stop = EarlyStopping(patience=2)
    assert stop.stop(torch.stack([nothing, something, late], 1)).tolist() == [False, True, False]


x = torch.zeros(6, 2, dtype=torch.float64)
ONE_CLASS: dict[str, Data] = {
    "regression": Data("d", x, torch.full((6, 1), 0.1).double(), "regression", 1, ("a", "b"), ("y",)),
    "binary": Data("d", x, torch.zeros(6, 1), "binary", 1, ("a", "b"), ("y",), ("no", "yes")),
    "multiclass": Data("d", x, torch.zeros(6, dtype=torch.int64), "multiclass", 3, ("a", "b"), ("y",), ("p", "q", "r")),
    "multilabel": Data("d", x, torch.zeros(6, 2), "multilabel", 2, ("a", "b"), ("p", "q")),
    "similarity": Data("d", torch.zeros(6, 2, 2).double(), -torch.ones(6, 1), "similarity", 1, ("a", "b"), ("y",)),
    "metric_learning": Data("d", torch.zeros(6, 3, 2).double(), torch.arange(6), "metric_learning", 1, ("a", "b"), ("y",)),
}


@pytest.mark.parametrize("task", ONE_CLASS)
def test_which_metrics_have_a_value_on_rows_that_are_all_alike(task: str) -> None:
    without = {name for name in METRICS[task] if not is_defined(name, ONE_CLASS[task], torch.arange(6))}
    facts = {name for name, metric in METRICS[task].items() if metric.fact}  # of data that knows it
    assert without == {name for name, metric in METRICS[task].items() if metric.needs} - facts
