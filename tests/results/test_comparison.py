import csv
import io
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dlrun.comparison.figures import number
from dlrun.comparison.groups import comparison
from dlrun.comparison.table import Row
from dlrun.errors import InputError
from dlrun.report.columns import columns
from dlrun.report.tables import Table, clean, full_table, said, to_csv, to_markdown

Work = Callable[[Callable[[], object]], int]


def rows(seeds: int = 8, **means: float) -> list[Row]:
    rng = np.random.default_rng(0)
    shared = rng.standard_normal(seeds)  # what a seed does to all groups alike: pairing takes it out
    return [
        Row(
            f"{name}{seed}",
            "done",
            seed,
            None,
            {"activation": name},
            {"test/r2": mean + shared[seed] + 0.01 * rng.standard_normal(), "epochs": 5.0},
        )
        for name, mean in means.items()
        for seed in range(seeds)
    ]


def test_every_group_is_compared_with_the_best_seed_by_seed():
    found = comparison(rows(relu=1.0, tanh=1.2, elu=1.0), "test/r2", higher_is_better=True)
    assert [said(item).split(" by")[0] for item in found] == ["reference", "worse", "worse"]
    assert found[0].group.label == "activation=tanh"
    assert found[1].difference is not None
    assert found[1].difference.mean == pytest.approx(-0.2, abs=0.02)
    assert found[1].p is not None
    assert found[1].p < 1e-6
    assert (found[1].method, found[1].tests) == ("Tukey", 3)


@pytest.mark.parametrize("groups", [2, 3, 10])
def test_of_equal_groups_one_is_seldom_called_worse_than_the_best(groups: int):
    """In a twentieth of all sweeps at most, though the best is the best that was seen."""
    rng = np.random.default_rng(0)
    wrong = 0
    for values in rng.standard_normal((150, groups, 8)):
        table = [
            Row(f"{group}-{seed}", "done", seed, None, {"activation": str(group)}, {"test/r2": float(value)})
            for group, row in enumerate(values)
            for seed, value in enumerate(row)
        ]
        found = comparison(table, "test/r2", higher_is_better=True)
        wrong += any(item.verdict and item.verdict.word == "worse" for item in found)
    assert wrong / 150 < 0.05 + 2 * (0.05 * 0.95 / 150) ** 0.5


def test_the_comparisons_are_those_in_which_any_group_might_have_been_the_best():
    table = rows(relu=1.0, tanh=1.2, elu=1.0)
    assert {item.tests for item in comparison(table, "test/r2", higher_is_better=True)} == {3}
    assert {item.tests for item in comparison(table, "test/r2", higher_is_better=True, reference="activation=elu")} == {2}


def test_baselines_are_a_family_of_their_own_and_cost_the_others_nothing():
    table = rows(relu=1.0, tanh=1.002, elu=0.995)
    fitted = [
        replace(row, id="", factors={"baseline": name})
        for name in ("mean", "linear")
        for row in rows(**{name: 0.5, "other": 0.5})[:8]
    ]
    alone, beside = (
        comparison(table, "test/r2", higher_is_better=True),
        comparison([*table, *fitted], "test/r2", higher_is_better=True),
    )
    assert {item.tests for item in beside if item.group.is_baseline} == {6}, (
        "each of 3 groups might have been the best, with 2 each"
    )
    assert {item.method for item in beside if item.group.is_baseline} == {"Holm"}
    assert [(item.p, item.tests) for item in beside if not item.group.is_baseline] == [(item.p, item.tests) for item in alone]
    against = comparison([*table, *fitted], "test/r2", higher_is_better=True, reference="linear")
    assert {item.tests for item in against if item.group.is_baseline and not item.reference} == {1}
    assert {(item.tests, item.method) for item in against if not item.group.is_baseline} == {(3, "Holm")}


def test_another_reference():
    table = rows(relu=1.0, tanh=1.2)
    found = comparison(table, "test/r2", higher_is_better=False, reference="activation=tanh")
    assert [said(item).split(" by")[0] for item in found] == ["better", "reference"]
    with pytest.raises(
        InputError,
        match=r"reference=activation=tnah: names no group; type .* one of reference=tanh, .*did you mean 'activation=tanh'",
    ):
        comparison(table, "test/r2", higher_is_better=True, reference="activation=tnah")


def test_a_margin_makes_equivalence():
    found = comparison(rows(relu=1.0, tanh=1.001), "test/r2", higher_is_better=True, margin=0.1)
    assert said(found[1]) == "equivalent within 0.1"


def test_groups_without_a_result_stand_at_the_end():
    table = [*rows(relu=1.0), Row("x", "diverged", 0, None, {"activation": "elu"}, {"test/r2": None}, "nan")]
    found = comparison(table, "test/r2", higher_is_better=True)
    assert [said(item) for item in found] == ["reference", "no result"]
    assert [said(item) for item in comparison(table[-1:], "test/r2", higher_is_better=True)] == ["no result"]
    shown = {column.name: column.cells[1] for column in columns(found, "test/r2")}
    assert shown == {"activation": "elu", "n": "0", "not counted": "1 diverged", "verdict": "no result"} | dict.fromkeys(
        ("r2", "sd", "95% CI", "median", "min", "max"), ""
    )


def test_folds_are_pairs_too():
    table = [
        Row(f"{name}{seed}{fold}", "done", seed, fold, {"a": name}, {"test/r2": shift + 0.1 * fold + 0.01 * seed * (name == "x")})
        for name, shift in (("x", 0.0), ("y", 1.0))
        for seed in range(2)
        for fold in range(5)
    ]
    found = comparison(table, "test/r2", higher_is_better=True, ratio=0.25)
    assert found[1].difference is not None
    assert found[1].difference.n == 10
    assert found[1].difference.ratio == 0.25


def test_the_full_table_has_every_figure():
    table = full_table(
        comparison(rows(relu=1.0, tanh=1.2), "test/r2", higher_is_better=True, metrics=["epochs"]), "test/r2", ["epochs"]
    )
    read = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert [line["activation"] for line in read] == ["tanh", "relu"]
    assert read[0]["verdict"] == "reference"
    assert float(read[1]["test/r2 ci low"]) < float(read[1]["test/r2 mean"]) < float(read[1]["test/r2 ci high"])
    assert read[1]["epochs mean"] == "5.0"
    assert read[1]["done"] == "8"
    assert float(read[1]["p (corrected)"]) < 1e-6
    assert all(len(row) == len(table.columns) for row in table.rows)


def test_an_empty_table():
    table = full_table(comparison([], "test/r2", higher_is_better=True), "test/r2")
    assert table.rows == ()
    assert to_csv(table).startswith("n,")
    assert columns([], "test/r2") == []


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ('=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        ("+1+1", "'+1+1"),
        ("-x", "'-x"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "' =1"),
        ("\x00=1", r"\x00=1"),
        ("\x1b[31m=1", r"\x1b[31m=1"),
        ("-0.5", "-0.5"),
        ("+1e-3", "+1e-3"),
        ("a,b", "a,b"),
        ("two\nlines", "two lines"),
    ],
)
def test_a_cell_never_begins_a_formula(text: str, cell: str):
    read = list(csv.reader(io.StringIO(to_csv(Table((text,), ((text,),))))))
    assert read == [[cell], [cell]]


def test_markdown_is_escaped():
    table = [("a|b", ["<b>`x`|[y](z)\x1b[2J", "two\nlines"], False), ("n", ["1", "2.5"], True)]
    assert to_markdown(table) == (
        "| a\\|b | n |\n| --- | ---: |\n| \\<b\\>\\`x\\`\\|\\[y\\](z)\\\\x1b\\[2J | 1 |\n| two lines | 2.5 |\n"
    )


@pytest.mark.parametrize(
    "text",
    ["\x1b[31mred\x1b[0m", "\x1b]0;title\x07red", "\x9b31mred\x85", "r\u202ee\u200ed", "\x1bcred", "red\ud800", "r\x00\x08ed"],
)
def test_nothing_acts_on_the_terminal(text: str):
    shown = clean(text)
    assert shown.isprintable()
    assert re.sub(r"\\(x..|u....)", lambda match: chr(int(match[1][1:], 16)), shown) == text, "nothing is lost"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.1235"),
        (0.00001234, "1.234e-05"),
        (12345.678, "12346"),
        (1e12, "1e+12"),
        (3, "3"),
        (100000, "100000"),
        (None, ""),
        (float("nan"), ""),
        (-0.5, "-0.5"),
    ],
)
def test_numbers_have_four_digits(value: float | None, text: str):
    assert number(value) == text


def test_the_work_of_a_table_grows_with_its_groups_alone(work: Work):
    table = rows(20, **{f"a{index}": index % 7 * 0.001 for index in range(200)})

    def tables(groups: int) -> None:
        found = comparison(table[: 20 * groups], "test/r2", higher_is_better=True, margin=0.01)
        to_csv(full_table(found, "test/r2")), columns(found, "test/r2")
        assert len(found) == groups

    tables(10)
    few = work(lambda: tables(20))
    assert few < 20 * 3000
    assert work(lambda: tables(200)) < 11 * few, "more than in proportion"
