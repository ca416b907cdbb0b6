"""What a verdict is about: these rows, or rows that are still to come. Twin features make two learners that are equal in law."""

import csv
import io

import numpy as np
import pytest

from dlrun.comparison.groups import Compared, comparison
from dlrun.comparison.statistics import paired
from dlrun.comparison.table import Row, resplit, shared_rows
from dlrun.report.columns import columns, fitting, legend
from dlrun.report.tables import full_table, to_csv

METRIC = "test/r2"
ROWS, TESTED = 150, 30
SIZES = {"test/rows": float(TESTED), "train/rows": float(ROWS - TESTED)}


def twins(rng: np.random.Generator, seeds: int, folds: int = 1) -> list[Row]:
    """Ridge regression on one of two features that are equally good, on ``seeds`` splits of the same 150 rows."""
    signal = rng.standard_normal(ROWS)
    x = signal[:, None] + 0.7 * rng.standard_normal((ROWS, 2))
    y = signal + 0.5 * rng.standard_normal(ROWS)
    rows = []
    for seed in range(seeds):
        order = rng.permutation(ROWS)
        for fold, test in enumerate(np.array_split(order, folds) if folds > 1 else [order[:TESTED]]):
            train = np.setdiff1d(order, test)
            mx, my = x[train].mean(0), y[train].mean()
            weight = ((x[train] - mx) * (y[train] - my)[:, None]).sum(0) / (((x[train] - mx) ** 2).sum(0) + 1)
            errors = y[test, None] - my - weight * (x[test] - mx)
            r2 = 1 - (errors**2).mean(0) / y[test].var()
            sizes = {"test/rows": float(len(test)), "train/rows": float(len(train))}
            rows += [
                Row(
                    f"{name}{seed}-{fold}", "done", seed, fold if folds > 1 else None, {"feature": name}, {METRIC: value, **sizes}
                )
                for name, value in zip("ab", r2.tolist(), strict=True)
            ]
    return rows


def compare(rows: list[Row], **options: float) -> list[Compared]:
    given = {"ratio": shared_rows(rows, "test"), "new_rows": resplit(rows, "test"), **options}
    return comparison(rows, METRIC, higher_is_better=True, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize(("seeds", "folds"), [(5, 1), (20, 1), (4, 5)])
def test_learners_that_are_equal_in_law_are_seldom_told_apart_on_new_rows(seeds: int, folds: int) -> None:
    """And often on these rows, where one of them is better indeed."""
    rng = np.random.default_rng(0)
    rounds, here, beyond = 100, 0, 0
    for _ in range(rounds):
        found = compare(twins(rng, seeds, folds))[1]
        assert found.verdict is not None
        assert found.on_new_rows is not None
        here += found.verdict.word == "worse"
        beyond += found.on_new_rows.verdict.word == "worse"
    assert beyond / rounds <= 0.05 + 2 * (0.05 * 0.95 / rounds) ** 0.5
    assert here == beyond if folds > 1 else here / rounds > 0.1


def test_what_a_statement_about_new_rows_needs_to_know() -> None:
    rows = twins(np.random.default_rng(0), 2)
    assert resplit(rows, "test") == 0.25
    assert shared_rows(rows, "test") == 0, "seeds are independent, given these rows"
    assert resplit(rows, "train") is None
    assert resplit([Row("a", "done", 0, None, {}, {METRIC: 0.5})], "test") is None, "the table does not say"
    assert resplit([Row(str(fold), "done", 0, fold, {}, {METRIC: 0.5}) for fold in range(5)], "test") == 0.25
    assert resplit([Row("a", "done", 0, None, {}, {"seconds": 0.5, **SIZES})], "seconds") is None


def test_the_corrected_error_by_hand() -> None:
    differences = [0.3, 0.1, 0.2, 0.4, 0.25, 0.15]
    rows = [
        Row(f"{name}{seed}", "done", seed, None, {"a": name}, {METRIC: value, **SIZES})
        for name, values in (("x", differences), ("y", [0.0] * 6))
        for seed, value in enumerate(values)
    ]
    found = compare(rows)[1]
    assert found.on_new_rows is not None
    assert found.on_new_rows.difference.error == pytest.approx(np.std(differences, ddof=1) * (1 / 6 + 1 / 4) ** 0.5)
    assert found.on_new_rows.difference.wilcoxon_p is None
    assert found.difference is not None
    assert found.difference.wilcoxon_p is not None
    afresh = compare(rows, new_rows=0.0)[1]
    assert afresh.on_new_rows is not None
    assert afresh.on_new_rows.difference == afresh.difference, "rows that each seed drew for itself"
    again = paired(dict(enumerate(differences)), dict.fromkeys(range(6), 0.0), ratio=0.25)
    assert again == paired(dict(enumerate(differences)), dict.fromkeys(range(6), 0.0)).at(0.25)


def test_both_statements_stand_in_the_table_and_one_goes_where_room_is_short() -> None:
    rng = np.random.default_rng(1)
    differences = 0.05 + 0.11 * rng.standard_normal(20)
    rows = [
        Row(f"{name}{seed}", "done", seed, None, {"a": name}, {METRIC: 0.5 + value, **SIZES})
        for name, values in (("x", differences), ("y", np.zeros(20)))
        for seed, value in enumerate(values.tolist())
    ]
    found = compare(rows)
    every = columns(found, METRIC)
    cells = {column.name: column.cells for column in every}
    assert cells["verdict"][1].startswith("worse by")
    assert cells["on new rows"] == ("", "not enough evidence (more seeds share the same samples)")
    lines = legend(found, every)
    assert "verdict: about these rows, over random splits and initial weights" in lines
    assert any(line.startswith("on new rows: what to expect of further rows from the same source") for line in lines)
    names = [column.name for column in fitting(every, 56, 2)]
    assert "on new rows" not in names
    assert {"r2", "verdict", "95% CI"} <= {*names}, "what people need most stays"
    assert not any(line.startswith("on new rows") for line in legend(found, fitting(every, 56, 2)))
    read = list(csv.DictReader(io.StringIO(to_csv(full_table(found, METRIC)))))[1]
    assert read["verdict"].startswith("worse by")
    assert read["new rows verdict"] == "not enough evidence: more seeds share the same samples, dataset.folds=10 shares fewer"
    assert float(read["new rows ci low (corrected)"]) < float(read["difference ci low (corrected)"]) < 0
    assert float(read["new rows ci high (corrected)"]) > 0 > float(read["difference ci high (corrected)"])
    assert float(read["new rows p (corrected)"]) > 0.05 > float(read["p (corrected)"])


def test_folds_have_one_verdict_about_both() -> None:
    found = compare(twins(np.random.default_rng(0), 2, 5))
    every = columns(found, METRIC)
    assert "on new rows" not in {column.name for column in every}
    assert any(line.startswith("verdicts are about these rows and about further rows") for line in legend(found, every))


def test_lost_runs_forbid_both_statements() -> None:
    rows = twins(np.random.default_rng(0), 8)
    best = str(compare(rows)[0].group.factors["feature"])
    rows = [
        Row(row.id, "diverged", row.seed, None, row.factors, {}) if row.seed == 3 and row.factors["feature"] != best else row
        for row in rows
    ]
    found = compare(rows)[1]
    assert found.on_new_rows is not None
    assert found.on_new_rows.verdict.text == "not enough evidence: 1 of 8 runs diverged"
    assert (found.on_new_rows.p, found.on_new_rows.interval, found.interval) == (None, None, None)
