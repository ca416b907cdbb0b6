"""``tune_over``: chosen on validation rows, reported on test rows with seeds that chose nothing."""

import statistics
from collections.abc import Callable
from typing import Any

import pytest

import dlrun
from dlrun.experiments import tuning
from dlrun.results.store import Store

Call = Callable[..., Any]
WORDS = ("-m", "dataset=moons", "optimizer=adam,sgd", "optimizer.lr=0.001,0.02,0.5", "seed=range(0,3)", "trainer.max_steps=40")


def rows_of(called: Any) -> list[dict[str, str]]:
    return [row for row in called.table if not row["baseline"]]


def test_what_is_best_on_validation_rows_is_reported_with_new_seeds(call: Call) -> None:
    called = call(*WORDS, "--tune-over", "optimizer.lr")
    assert called.code == 0
    cells = called.sweep.cells
    chosen_by = {cell.seed for cell in cells if tuning.TUNED not in cell.factors}
    reported_by = {cell.seed for cell in cells if tuning.TUNED in cell.factors}
    assert (chosen_by, reported_by) == ({0, 1, 2}, {3, 4, 5})
    records = {record.id: record for record in called.records}
    for curve in called.sweep.settings[tuning.CURVES]:
        optimizer, best = curve["factors"]["optimizer"], max(curve["curve"], key=lambda pair: pair[1])
        assert curve["chosen"] == best[0]
        for (lr,), mean in curve["curve"]:
            mine = [
                records[cell.id].metrics["validation/accuracy"]
                for cell in cells
                if tuning.TUNED not in cell.factors
                and cell.factors["optimizer"] == optimizer
                and f"optimizer.lr={lr}" in cell.overrides
            ]
            assert mean == pytest.approx(statistics.fmean(mine))
        (row,) = [row for row in rows_of(called) if row["optimizer"] == optimizer and row["tuned"] == "True"]
        assert float(row["optimizer.lr"]) == curve["chosen"][0]
        assert row["n"] == "3"
    defaults = [row for row in rows_of(called) if row["tuned"] == "False"]
    assert {row["optimizer"]: float(row["optimizer.lr"]) for row in defaults} == {"adam": 0.001, "sgd": 0.01}


def test_luck_that_chose_a_value_is_not_in_its_figures(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = tuning._validated

    def lucky(record: Any, metric: str) -> float:
        return 2.0 if record.factors.get("optimizer.lr") == 0.5 else honest(record, metric)

    monkeypatch.setattr(tuning, "_validated", lucky)
    called = call(*WORDS, "tune_over=optimizer.lr", "optimizer=sgd")
    (row,) = [row for row in rows_of(called) if row["tuned"] == "True"]
    assert row["optimizer.lr"] == "0.5"
    records = {record.id: record for record in called.records}
    of_seeds: dict[bool, list[float]] = {True: [], False: []}
    for cell in called.sweep.cells:
        if "optimizer.lr=0.5" in cell.overrides:
            of_seeds[tuning.TUNED in cell.factors].append(records[cell.id].metrics["test/accuracy"])
    assert float(row["test/accuracy mean"]) == pytest.approx(statistics.fmean(of_seeds[True]))
    assert statistics.fmean(of_seeds[True]) != pytest.approx(statistics.fmean(of_seeds[False]))


def test_a_best_value_at_the_edge_is_said(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    called = call(*WORDS, "tune_over=[optimizer.lr]", "optimizer=sgd", "trainer.max_steps=3")
    assert "optimizer.lr=0.5 is the largest that was tried; try larger ones" in called.out


def test_values_that_lost_runs_are_not_chosen(call: Call) -> None:
    called = call("-m", "dataset=diabetes", "optimizer=sgd", "optimizer.lr=0.01,1e30", "seed=0,1", "tune_over=[optimizer.lr]")
    assert called.code == 0
    assert "optimizer.lr=0.01 of 2 values by validation r2" in called.out
    assert "1 of them lost runs, and was not considered" in called.out
    called = call("-m", "dataset=diabetes", "optimizer=sgd", "optimizer.lr=1e30,2e30", "seed=0,1", "tune_over=[optimizer.lr]")
    assert called.code == 1


def test_compared_again_and_resumed_it_says_the_same(call: Call) -> None:
    first = call(*WORDS, "tune_over=[optimizer.lr]")
    table = dlrun.compare("latest", output_dir="outputs")
    assert set(table.loc[table["tuned"] != "", "n"]) == {3}
    store = Store(first.store.root)
    gone = [cell.id for cell in first.sweep.cells if cell.factors.get(tuning.TUNED) and cell.seed == 4]
    store.delete(gone)
    again = call(*WORDS, "tune_over=[optimizer.lr]")
    assert again.table == first.table
    assert f"{len(first.sweep.cells)} runs" in again.out


def test_beside_a_tuned_sweep_another_keeps_its_runs(call: Call) -> None:
    call(*WORDS, "tune_over=[optimizer.lr]", "optimizer=adam", "name=tuned")
    call("-m", "dataset=moons", "optimizer=rmsprop", "seed=range(0,3)", "trainer.max_steps=40", "name=plain")
    table = dlrun.compare(["tuned", "plain"], output_dir="outputs")
    assert set(table["optimizer"]) - {""} == {"adam", "rmsprop"}
    assert list(table.loc[table["optimizer"] == "rmsprop", "n"]) == [3]


def test_a_single_run_is_not_tuned(call: Call) -> None:
    called = call("dataset=iris", "--tune-over", "optimizer.lr")
    assert called.code == 2
    assert "tune_over=[optimizer.lr]: chooses among the runs of a sweep; type -m and the values to try" in called.err
    with pytest.raises(dlrun.errors.InputError, match="chooses among the runs of a sweep"):
        dlrun.run("dataset=iris", "tune_over=[optimizer.lr]", progress=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tune_over=[optimizer.ir]",), "tune_over=optimizer.ir: the sweep does not vary it; it varies optimizer, optimizer.lr"),
        (
            ("tune_over=[optimizer.lr]", "dataset.validation=0"),
            "chooses on validation rows, and dataset.validation=0 leaves none",
        ),
        (("tune_over=[optimizer.lr]", "optimizer.eps=${seed}", "optimizer=adam"), "a setting refers to the seed"),
        (("tune_over=3",), "tune_over=3: must be"),
        (("--tune-over",), "--tune-over: takes settings that the sweep varies, such as --tune-over optimizer.lr"),
    ],
)
def test_refused(words: tuple[str, ...], said: str, call: Call) -> None:
    called = call(*WORDS, *words)
    assert called.code == 2
    assert said in called.err
    assert called.sweep is None
