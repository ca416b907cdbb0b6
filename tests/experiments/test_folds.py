"""Cross-validation: all folds at once, on the rows they should be on, and compared as what they are."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dlrun.comparison.table import Row, shared_rows
from dlrun.config.composing.compose import Composed
from dlrun.data.preprocessing import fit
from dlrun.data.sources.real import diabetes
from dlrun.data.splits import splits
from dlrun.engine.batches import Batches
from dlrun.errors import InputError
from dlrun.experiments.planning import folds as folds_module
from dlrun.experiments.planning.folds import every_fold
from dlrun.experiments.sections import Reported, compare
from dlrun.experiments.sweep import lay_out
from dlrun.results.record import RunRecord
from kept import stamps

Compose = Callable[..., Any]


def jobs_of(compose: Compose, seeds: int, **given: Any) -> list[Composed]:
    """One sweep over seeds, as it leaves the composer: jobs share the sections of their configs."""
    config, choices = compose(dataset="diabetes", **given)
    return [Composed(config | {"seed": seed}, choices, (f"seed={seed}",)) for seed in range(seeds)]


def test_folds_that_are_not_named_are_all_meant(compose: Compose) -> None:
    jobs = jobs_of(compose, 2, **{"dataset.folds": 3})
    found = every_fold(jobs)
    assert [(job.config["seed"], job.config["dataset"]["fold"]) for job in found] == [(s, k) for s in (0, 1) for k in (0, 1, 2)]
    assert found[4].overrides == ("seed=1", "dataset.fold=1")
    assert found[1].config["dataset"] is found[4].config["dataset"], "put into words once"
    assert jobs[0].config["dataset"]["fold"] is None, "the jobs stay as they were"
    for given in ({}, {"dataset.folds": 1}, {"dataset.folds": 3, "dataset.fold": 0}):
        jobs = jobs_of(compose, 2, **given)
        assert every_fold(jobs) == jobs


def test_too_many_runs_are_refused(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds_module, "LIMIT", 100)
    with pytest.raises(InputError, match=r"dataset.folds=51: gives 102 runs, and at most 100 are allowed; take fewer folds"):
        every_fold(jobs_of(compose, 2, **{"dataset.folds": 51}))


@pytest.mark.parametrize(
    ("folds", "fold", "said"),
    [
        (3, 3, r"dataset.fold=3: must be a whole number in \[0, 2\]"),
        (3, None, "dataset.folds=3: a run tests on one fold"),
        (1, 2, "there is one split while dataset.folds=1"),
        ("x", None, "dataset.folds=x: must be a whole number"),
        (3, "x", "dataset.fold=x: must be"),
    ],
)
def test_a_run_is_one_fold(folds: Any, fold: Any, said: str, spec_of: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=said):
        spec_of(**{"dataset.folds": folds, "dataset.fold": fold})


def test_all_folds_of_all_seeds_are_one_cohort(compose: Compose) -> None:
    """442 rows do not divide by 5: test sets differ by a row, and yet everything trains at once, in as many steps."""
    grid = lay_out(jobs_of(compose, 4, **{"dataset.folds": 5}))
    (planned,) = grid.cohorts
    assert len(planned.specs) == 20
    made = planned.cohort.splits
    assert sorted({(len(part.train), len(part.validation), len(part.test)) for part in made}) == [(265, 88, 89), (265, 89, 88)]
    for seed in range(4):
        mine = [made[run.split] for run, spec in zip(planned.cohort.runs, planned.specs, strict=True) if spec.seed == seed]
        assert np.array_equal(np.sort(np.concatenate([part.test for part in mine])), np.arange(442)), "each row is tested on once"


def test_a_named_fold_is_the_same_run(compose: Compose) -> None:
    every = lay_out(jobs_of(compose, 1, **{"dataset.folds": 5}))
    one = lay_out(jobs_of(compose, 1, **{"dataset.folds": 5, "dataset.fold": 3}))
    assert list(one.specs) == [every.cells[3].id]
    assert [cell.fold for cell in every.cells] == [0, 1, 2, 3, 4]
    assert one.cells[0].fold == 3


@pytest.mark.parametrize("dataset", ["diabetes", "wine"])
def test_folds_train_and_measure_as_they_do_alone(
    dataset: str, spec_of: Callable[..., Any], train_all: Callable[..., Any]
) -> None:
    """Whatever the sizes of the other folds, each run is measured on its own rows."""
    given = {"dataset": dataset, "dataset.folds": 4, "trainer.dtype": "float64"}
    specs = [spec_of(seed=seed, **given, **{"dataset.fold": fold}) for seed in (0, 1) for fold in range(4)]
    together = train_all(specs)
    for spec, outcome in zip(specs, together, strict=True):
        (alone,) = train_all([spec])
        assert outcome.metrics == pytest.approx(alone.metrics, rel=1e-9)
        assert outcome.history == {name: pytest.approx(values, rel=1e-9) for name, values in alone.history.items()}
        for name in ("loss_gap", "mean_top_probability"):
            assert outcome.diagnostics.get(name, 0.0) == pytest.approx(alone.diagnostics.get(name, 0.0), rel=1e-9)


def test_a_table_knows_which_rows_are_whose() -> None:
    data = diabetes()
    made = splits(data, [7] * 5, fold=range(5), folds=5)
    scaling = [fit(data, part.train) for part in made]
    table = Batches(data, made, scaling, range(5), floats="float64")
    for subset in ("train", "validation", "test"):
        x, _ = table.subset(subset)
        seen = {}
        for rows, runs in table.spans(subset):
            for run in runs or range(5):
                expected = scaling[run].inputs(data.x[getattr(made[run], subset)])
                assert np.array_equal(x[run, rows], expected)
                seen[run] = len(expected)
        assert len(seen) == 5
    assert len(table.spans("train")) == 1
    assert len(table.spans("test")) == len(table.spans("validation")) == 2
    some = table.select([0, 1])  # both have 89 rows for testing
    assert [runs for _, runs in some.spans("test")] == [[0, 1]]
    assert np.array_equal(some.subset("test")[0][0, some.spans("test")[0][0]], scaling[0].inputs(data.x[made[0].test]))


def test_folds_share_training_rows_and_seeds_do_not() -> None:
    def row(fold: int | None, **sizes: int) -> Row:
        sizes = sizes or {"train": 60, "validation": 20, "test": 20}
        return Row.of(RunRecord("x", "done", fold=fold, data={"sizes": sizes}))

    assert shared_rows([row(0), row(1)], "test") == pytest.approx(1 / 3)
    assert shared_rows([row(0), row(1)], "train") == 0
    assert shared_rows([row(2), row(2)], "test") == 0, "one fold of several seeds is a split of each"
    assert shared_rows([row(None)], "test") == 0
    assert shared_rows([Row("", "done", fold=fold) for fold in range(5)], "test") == 1 / 4


def test_a_sweep_compares_over_folds_and_seeds(call: Callable[..., Any]) -> None:
    found = call("-m", "dataset.folds=5", "seed=0,1", "activation=relu,tanh")
    assert found.code == 0
    assert len(found.records) == 20
    assert {(record.seed, record.fold) for record in found.records} == {(s, k) for s in (0, 1) for k in range(5)}
    assert all("dataset.fold" not in row for row in found.table), "a fold is no choice"
    assert {(row["activation"], row["baseline"]): (row["n"], row["pairs"] or row["n"]) for row in found.table} == dict.fromkeys(
        [("relu", ""), ("tanh", ""), ("", "mean"), ("", "linear")], ("10", "10")
    )
    assert [cell.overrides[-1] for cell in found.sweep.cells[:5]] == [f"dataset.fold={fold}" for fold in range(5)]
    again = call("-m", "dataset.folds=5", "dataset.fold=range(0,5)", "seed=0,1", "activation=relu,tanh")
    assert {record.id for record in again.records} == {record.id for record in found.records}, "the same runs, swept by hand"


def test_the_comparison_is_corrected_for_what_folds_share(compose: Compose, tmp_path: Any) -> None:
    """Nadeau & Bengio: the standard error is that of 1/n + test rows / training rows."""
    from dlrun.experiments.train import train
    from dlrun.results.store import Store
    from dlrun.results.sweeps import Sweep

    jobs = []
    for activation in ("relu", "tanh"):
        config, choices = compose(dataset="diabetes", activation=activation, **{"dataset.folds": 5})
        jobs.append(Composed(config, choices, (f"activation={activation}",)))
    grid = lay_out(jobs)
    store = Store(tmp_path)
    store.prepare()
    for planned in grid.cohorts:
        store.write_cohort(train(planned))
    (section,) = compare(Reported(grid, {record.id: record for record in store.records()}), Sweep.create(store, "x", grid.cells))
    difference = section.compared[1].difference
    assert difference is not None
    ratio = (2 * 89 + 3 * 88) / 5 / 265
    assert difference.ratio == pytest.approx(ratio)
    assert difference.error == pytest.approx(difference.sd * (1 / 5 + ratio) ** 0.5)


def test_one_configuration_is_cross_validated(call: Callable[..., Any]) -> None:
    """``dlrun dataset.folds=3`` trains three runs and shows what they come to."""
    found = call("dataset=iris", "dataset.folds=3")
    assert found.code == 0
    assert len(found.records) == 3
    assert [(row["baseline"], row["n"]) for row in found.table if not row["baseline"]] == [("", "3")]
    assert "--multirun" in found.sweep.command
    assert "dataset.folds=3" in found.sweep.command
    before = stamps(found.store.root)
    call("dataset=iris", "dataset.folds=3")
    after = stamps(found.store.root)
    assert all(after[run] != stamp for run, stamp in before.items()), "without -m runs are always trained"
    single = call("dataset=iris", "dataset.folds=3", "dataset.fold=1")
    assert single.out.count("loss ") >= 1
    assert "best of yours" not in single.out


def test_folds_of_a_plan(compose: Compose) -> None:
    """Without validation rows, the row that is left over trains: two cohorts."""
    config, choices = compose(dataset="diabetes", **{"dataset.folds": 5, "dataset.validation": 0.0})
    grid = lay_out([Composed(config, choices, ())])
    assert sorted(len(group.specs) for group in grid.cohorts) == [2, 3]
    assert [len(group.cohort.splits[0].validation) for group in grid.cohorts] == [0, 0]
