"""What tells runs apart: typed leaves of the resolved config, however they were asked for; and what is no part of a run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import dlrun
from dlrun import registry
from dlrun.errors import DlrunError

SMOKE = ("dataset=moons", "trainer=smoke", "baseline=none")


@pytest.fixture
def sweep(folder: Path) -> Callable[..., pd.DataFrame]:
    return lambda *words, **settings: dlrun.sweep(*SMOKE, *words, progress=False, **settings)


def test_equal_runs_are_one_group_however_they_were_asked_for(sweep: Any, folder: Path) -> None:
    """The default, the same number typed, written otherwise, and out of an experiment's file."""
    (folder / "mine" / "experiment").mkdir(parents=True)
    (folder / "mine" / "experiment" / "usual.yaml").write_text("# @package _global_\noptimizer:\n  lr: 0.001\n")
    tables = [
        sweep(seed=[0, 1]),
        sweep("optimizer.lr=1e-3", seed=[1, 2]),
        sweep("optimizer=adam", "optimizer.lr=0.0010", seed=[3]),
        sweep("experiment=usual", seed=[4], config_dir="mine"),
    ]
    assert registry.load_option("optimizer", "adam")["lr"] == 0.001
    compared = dlrun.compare(pd.concat(tables, ignore_index=True))
    assert compared["n"].tolist() == [5]


def test_a_setting_of_an_experiment_is_a_factor(sweep: Any, folder: Path) -> None:
    (folder / "mine" / "experiment").mkdir(parents=True)
    for name, rate in (("slow", 0.001), ("fast", 0.1)):
        (folder / "mine" / "experiment" / f"{name}.yaml").write_text(f"# @package _global_\noptimizer:\n  lr: {rate}\n")
    table = sweep("experiment=slow,fast", seed=[0, 1], config_dir="mine")
    assert table["optimizer.lr"].tolist() == [0.001, 0.001, 0.1, 0.1]
    both = pd.concat([table, sweep("optimizer.lr=0.1", seed=[1, 2])], ignore_index=True)
    assert sorted(dlrun.compare(both)["n"]) == [2, 3]


def test_numbers_stay_numbers(sweep: Any) -> None:
    table = sweep("optimizer.lr=0.1,1e-3,10")
    assert table["optimizer.lr"].dtype == np.float64
    assert table.sort_values("optimizer.lr")["optimizer.lr"].tolist() == [0.001, 0.1, 10]


@pytest.mark.filterwarnings("ignore:activation. has no effect", "ignore:model.hidden. has no effect")
def test_a_width_makes_no_twins_of_a_model_that_has_none(sweep: Any) -> None:
    table = sweep("model=linear,mlp", "model.hidden=[4],[8]", "activation=relu,tanh")
    linear, mlp = table[table["model"] == "linear"], table[table["model"] == "mlp"]
    assert (linear["id"].nunique(), mlp["id"].nunique()) == (1, 4)
    compared = dlrun.compare(table)
    assert sorted(zip(compared["model"], compared["model.hidden"], compared["activation"], strict=True)) == [
        ("linear", "[]", ""),
        *(("mlp", hidden, activation) for hidden in ("[4]", "[8]") for activation in ("relu", "tanh")),
    ]


def test_sizes_are_one_group_with_those_that_the_data_suggests(sweep: Any) -> None:
    typed, suggested = sweep("model.hidden=[32,32]"), sweep()
    assert typed["id"].tolist() == suggested["id"].tolist()
    assert "model.hidden" not in suggested or suggested["model.hidden"].tolist() == typed["model.hidden"].tolist()


@pytest.mark.parametrize(
    ("asked", "how"),
    [
        (["metric=rmse", "metric=mae"], ["dataset=diabetes"]),
        (["reference=best", "reference=relu"], ["activation=relu,tanh"]),
        (["margin=0.1", "margin=0.2"], []),
        (["logger=none", "logger=console"], []),
        (["strict=true", "strict=false"], []),
    ],
)
def test_what_only_looks_at_results_trains_nothing_again(folder: Path, asked: list[str], how: list[str]) -> None:
    first, second = (dlrun.sweep(*SMOKE, *how, word, seed=[0, 1], progress=False) for word in asked)
    assert first["id"].tolist() == second["id"].tolist()
    trained = [dlrun.load(run).record.finished for run in first["id"]]
    again = dlrun.sweep(*SMOKE, *how, asked[0], seed=[0, 1], progress=False)
    assert [dlrun.load(run).record.finished for run in again["id"]] == trained


def test_another_metric_after_the_fact(folder: Path, call: Callable[..., Any]) -> None:
    words = ("-m", *SMOKE, "dataset=diabetes", "seed=0,1")
    assert call(*words, "metric=rmse").code == 0
    for metric in ("mae", "mse"):
        again = call(*words, f"metric={metric}")
        assert again.code == 0
        assert "2 runs: 2 done, 2 of them taken over, none trained" in again.out


def test_what_early_stopping_watches_is_part_of_the_run(folder: Path) -> None:
    words = [*SMOKE, "regularizer=[early_stopping]"]
    ids = {dlrun.run(*words, f"regularizer.early_stopping.metric={name}", progress=False).id for name in ("loss", "accuracy")}
    assert len(ids) == 2


def test_a_run_says_its_factors(folder: Path) -> None:
    run = dlrun.run(*SMOKE, "optimizer.lr=1e-1", "regularizer=[l1]", "regularizer.l1.weight=0.5", "seed=3", progress=False)
    told = dlrun.load(run.id).record.factors
    assert told["optimizer"] == "adam"
    assert told["optimizer.lr"] == 0.1
    assert told["regularizer"] == "[l1]"
    assert told["regularizer.l1.weight"] == 0.5
    assert {"seed", "metric", "baseline", "output_dir", "logger"}.isdisjoint(told)


def test_a_removed_and_an_odd_metric(folder: Path) -> None:
    """A metric that is measured only where it is asked for makes another run: there is nothing to take it from."""
    plain, odd = (dlrun.run(*SMOKE, "dataset=diabetes", *more, progress=False) for more in ([], ["metric=pinball"]))
    assert plain.id != odd.id
    assert "test/pinball" in odd.metrics
    with pytest.raises(DlrunError):
        dlrun.run(*SMOKE, "metric=nonsense", progress=False)
