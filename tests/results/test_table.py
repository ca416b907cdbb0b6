import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from dlrun.comparison.factors import label, shown
from dlrun.comparison.measures import bounds
from dlrun.comparison.summary import summarize
from dlrun.comparison.table import Row, factors_that_vary, frame, groups
from dlrun.errors import InputError
from dlrun.results.record import RunRecord

Work = Callable[[Callable[[], object]], int]


def row(seed: int, value: float | None, status: str = "done", **factors: str) -> Row:
    return Row(f"{seed}{factors}{status}", status, seed, None, factors, {"test/r2": value, "epochs": 5.0})


def test_runs_are_grouped_by_what_varies_except_seed_and_fold():
    rows = [
        row(seed, 0.1 * seed + shift, activation=name, model="mlp")
        for name, shift in (("relu", 0), ("tanh", 1))
        for seed in range(3)
    ]
    found = groups(rows, "test/r2", higher_is_better=True, metrics=["epochs"])
    assert [group.label for group in found] == ["activation=tanh", "activation=relu"]
    assert found[0].factors == {"activation": "tanh"}
    assert found[0].summaries["test/r2"].n == 3
    assert found[0].summaries["epochs"].mean == 5.0
    assert [group.label for group in groups(rows, "test/r2", higher_is_better=False)] == ["activation=relu", "activation=tanh"]


def test_the_summary_against_scipy():
    values = np.random.default_rng(0).standard_normal(7).tolist()
    found = summarize(values)
    assert found is not None
    low, high = stats.t.interval(0.95, 6, np.mean(values), stats.sem(values))
    np.testing.assert_allclose(
        [found.mean, found.sd, found.low, found.high, found.median, found.minimum, found.maximum],
        [np.mean(values), np.std(values, ddof=1), low, high, np.median(values), min(values), max(values)],
        rtol=1e-12,
    )
    assert summarize([]) is None
    single = summarize([1.0])
    assert single is not None
    assert (single.n, single.mean) == (1, 1.0)
    assert math.isnan(single.sd)
    assert math.isnan(single.low)


def test_an_interval_ends_where_the_metric_does():
    found = summarize([0.9, 1.0], bounds("test/accuracy"))
    assert found is not None
    assert (found.low, found.high) == (pytest.approx(0.3147, abs=1e-4), 1.0)
    worse = summarize([-2.0, 0.5], bounds("test/r2"))
    assert worse is not None
    assert worse.low < -2
    assert worse.high == 1.0
    assert bounds("test/loss") == (-math.inf, math.inf)


def test_every_metric_of_dlrun_has_bounds():
    from dlrun.components.metrics import METRICS

    assert [name for metrics in METRICS.values() for name in metrics if not any(map(math.isfinite, bounds(name)))] == []


def test_baselines_depend_on_the_data_alone():
    rows = [
        replace(
            row(seed, 0.5, activation=activation, baseline=baseline, dataset="moons"),
            id="" if baseline else f"{activation}{seed}",
        )
        for activation in ("relu", "tanh")
        for baseline in ("", "mean")
        for seed in range(3)
    ]
    found = groups(rows, "test/r2", higher_is_better=True)
    assert [(group.label, group.summaries["test/r2"].n) for group in found] == [
        ("activation=relu", 3),
        ("baseline=mean", 3),
        ("activation=tanh", 3),
    ]


def test_what_failed_is_counted_and_never_best():
    rows = [
        *(row(seed, 0.5, activation="relu") for seed in range(3)),
        *(row(seed, 0.9, activation="tanh") for seed in range(2)),
        row(2, 1e9, "diverged", activation="tanh"),
        row(0, None, "failed", activation="elu"),
        row(1, 1e9, "interrupted", activation="elu"),
        row(0, None, "skipped", activation="gelu"),
    ]
    found = groups(rows, "test/r2", higher_is_better=True)
    assert [group.factors["activation"] for group in found] == ["relu", "tanh", "elu", "gelu"]
    assert found[1].statuses == {"done": 2, "diverged": 1}
    assert found[1].summaries["test/r2"].maximum == 0.9
    assert found[2].statuses == {"failed": 1, "interrupted": 1}
    assert found[2].summaries == {}


def test_missing_and_infinite_values_are_left_out_of_the_summary():
    found = groups([row(0, 0.5), row(1, None), row(2, math.nan), row(3, math.inf)], "test/r2", higher_is_better=True)
    assert found[0].summaries["test/r2"].n == 1
    assert len(found[0].rows) == 4
    assert found[0].label == "all runs"


def test_a_run_that_the_table_has_twice_counts_once():
    found = groups([row(0, 0.5), row(0, 0.5)], "test/r2", higher_is_better=True)
    assert found[0].summaries["test/r2"].n == 1


def test_a_metric_that_no_run_has_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"metric=test/r3: no run has it; there are test/r2, epochs; did you mean 'test/r2'"):
        groups([row(0, 0.5)], "test/r3", higher_is_better=True)
    assert len(groups([row(0, None, "failed")], "test/r3", higher_is_better=True)) == 1
    assert groups([], "test/r2", higher_is_better=True) == []


def test_records_become_rows():
    record = RunRecord(
        "a" * 12,
        "done",
        overrides=("optimizer.lr=0.1", "seed=4"),
        seed=4,
        metrics={"test/r2": 0.5},
        diagnostics={"zeros": 0.1, "grad": [1.0]},
        parameters=61,
        epochs=5,
        choices={"optimizer": "adam", "activation": "relu", "logger": "none"},
        factors={"optimizer": "adam", "activation": "relu", "optimizer.lr": 0.1},
    )
    found = Row.of(record)
    assert found.factors == {"optimizer": "adam", "activation": "relu", "optimizer.lr": 0.1}
    assert found.metrics == {"parameters": 61.0, "epochs": 5.0, "seconds": 0.0, "zeros": 0.1, "test/r2": 0.5}


def test_a_flat_mapping_becomes_a_row():
    found = Row.of({"id": "x", "seed": 1, "activation": "relu", "optimizer.lr": 0.1, "test/r2": 0.5, "epochs": 3})
    assert found == Row("x", "done", 1, None, {"activation": "relu", "optimizer.lr": 0.1}, {"test/r2": 0.5, "epochs": 3})


def test_a_factor_that_applies_to_some_groups_only_is_not_in_the_label_of_others():
    rows = [row(0, 0.1, regularizer="l1", weight="0.1"), row(0, 0.2, regularizer="dropout")]
    assert factors_that_vary(rows) == ["regularizer", "weight"]
    assert [group.label for group in groups(rows, "test/r2", higher_is_better=True)] == [
        "regularizer=dropout",
        "regularizer=l1 weight=0.1",
    ]
    assert label({}) == "all runs"


def test_the_long_table_as_a_frame():
    table = frame([row(0, 0.5, activation="relu"), row(1, None, "failed")])
    assert list(table.columns) == ["id", "status", "seed", "fold", "reason", "activation", "test/r2", "epochs"]
    assert table["test/r2"].dtype == np.float64
    assert table["activation"].tolist() == ["relu", ""]


def test_numbers_stay_numbers_in_the_long_table() -> None:
    rows = [
        Row("a", "done", 0, None, {"optimizer": "sgd", "optimizer.lr": 0.1, "optimizer.nesterov": True, "model.hidden": "[8]"}),
        Row("b", "done", 0, None, {"optimizer": "adam", "optimizer.lr": 1}),
        Row("c", "done", 0, None, {"optimizer": "adam"}),
    ]
    table = frame(rows)
    assert table["optimizer.lr"].dtype == np.float64
    assert table.sort_values("optimizer.lr")["id"].tolist() == ["c", "a", "b"], "c has the default"
    assert table["optimizer.nesterov"].tolist() == [True, "", ""]
    assert [shown(value) for value in (True, 1.0, 0.1, 1e-05, 16, "[8]")] == ["true", "1", "0.1", "1e-05", "16", "[8]"]


def test_true_is_not_one() -> None:
    rows = [Row(str(seed), "done", seed, None, {"x": value}, {"test/r2": 0.5}) for seed, value in enumerate((True, 1, 1.0))]
    found = groups(rows, "test/r2", higher_is_better=True)
    assert [(group.label, len(group.rows)) for group in found] == [("x=true", 1), ("x=1", 2)]


def test_five_thousand_rows_are_grouped_at_once(work: Work):
    rng = np.random.default_rng(0)
    rows = [
        Row(
            str(index),
            "done",
            index % 10,
            None,
            {"a": str(index // 10 % 20), "b": str(index // 200)},
            {f"test/{m}": rng.random() for m in "vwxyz"},
        )
        for index in range(5000)
    ]

    def grouped(count: int) -> None:
        found = groups(rows[:count], "test/v", higher_is_better=True, metrics=[f"test/{m}" for m in "wxyz"])
        assert len(found) == count // 10

    grouped(100)
    few = work(lambda: grouped(500))
    assert few < 500 * 100
    assert work(lambda: grouped(5000)) < 11 * few, "more than in proportion"


def test_every_metric_has_its_bounds() -> None:
    from dlrun.components.metrics import METRICS

    for named in METRICS.values():
        for name in named:
            assert bounds(f"test/{name}") != bounds("no metric"), name


def test_a_setting_that_follows_from_its_option_is_not_told() -> None:
    rows = [
        Row("a", "done", 0, None, {"model": "mlp", "model.hidden": "[32]"}, {"test/r2": 0.5}),
        Row("b", "done", 0, None, {"model": "linear", "model.hidden": "[]"}, {"test/r2": 0.4}),
    ]
    assert factors_that_vary(rows) == ["model"]
    rows.append(Row("c", "done", 0, None, {"model": "mlp", "model.hidden": "[8]"}, {"test/r2": 0.3}))
    assert factors_that_vary(rows) == ["model", "model.hidden"]


def test_a_group_that_a_model_has_no_use_for_is_told_by_the_model() -> None:
    rows = [
        Row("a", "done", 0, None, {"model": "mlp", "activation": "relu"}, {"test/r2": 0.5}),
        Row("b", "done", 0, None, {"model": "linear"}, {"test/r2": 0.4}),
    ]
    assert factors_that_vary(rows) == ["model"]
    rows.append(Row("c", "done", 0, None, {"model": "mlp", "activation": "tanh"}, {"test/r2": 0.3}))
    assert factors_that_vary(rows) == ["model", "activation"]
