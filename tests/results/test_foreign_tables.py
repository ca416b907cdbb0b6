"""Tables that were put together, read from a file or made elsewhere: what their columns mean, and what is refused."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import dlrun
from dlrun.comparison.foreign import rows_of_frame
from dlrun.comparison.measures import is_measured
from dlrun.errors import InputError

QUALITY = {"metric": "test/r2"}


def frame(**columns: Any) -> pd.DataFrame:
    """Five seeds of the groups 0 and 1, the second better by about 0.2; columns replace or are added."""
    seeds = [*range(5), *range(5)]
    values = [0.5 + 0.01 * seed for seed in range(5)] + [0.7 + 0.013 * seed for seed in range(5)]
    return pd.DataFrame({"seed": seeds, "hidden": [8] * 5 + [16] * 5, "test/r2": values} | columns)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([8] * 5 + [16] * 5, [16, 8]),
        ([8.0] * 5 + [16.0] * 5, [16, 8]),
        ([0.001] * 5 + [0.1] * 5, [0.1, 0.001]),
        ([False] * 5 + [True] * 5, [True, False]),
        ([8] * 5 + [math.nan] * 5, ["", 8]),
        ([None] * 5 + ["relu"] * 5, ["relu", ""]),
        ([[8, 8]] * 5 + [[16]] * 5, ["[16]", "[8, 8]"]),
        ([8, 8.0, "8", "8", 8, 16, "16", 16.0, 16, 16], ["16", "8"]),
        (["8.0", 8, 8, 8.0, "8.0"] + [np.int64(16)] * 5, [16, "8.0"]),
        ([np.array([1, 2])] * 5 + [(3,)] * 5, ["(3,)", "[1, 2]"]),
        (pd.Categorical(["a"] * 5 + ["b"] * 5), ["b", "a"]),
        (pd.array([8] * 5 + [None] * 5, dtype="Int64"), ["", 8]),
    ],
)
def test_a_column_of_any_name_and_type_tells_groups_apart(values: Any, shown: list[Any]) -> None:
    found = dlrun.compare(frame(hidden=values), **QUALITY)
    assert found["hidden"].tolist() == shown
    assert found["n"].tolist() == [5, 5]
    assert found["verdict"].tolist()[1].startswith("worse by 0.2")


@pytest.mark.parametrize("name", ["zero_weights", "loss", "accuracy", "seconds", "test/rows", "Unnamed: 0", "took"])
def test_what_was_measured_tells_no_groups_apart(name: str) -> None:
    values = np.random.default_rng(0).random(10) if name == "took" else [*range(5)] * 2
    found = dlrun.compare(frame(**{name: values}), **QUALITY)
    assert found["n"].tolist() == [5, 5]
    assert name not in found


def test_the_metric_itself_was_measured_whatever_its_name() -> None:
    table = frame(score=[1.0] * 5 + [2.0] * 5)
    found = dlrun.compare(table, metric="score", higher_is_better=True)
    assert found["score mean"].tolist() == [2.0, 1.0]


def test_every_diagnostic_of_a_run_is_known_as_measured(spec_of: Callable[..., Any], train_all: Callable[..., Any]) -> None:
    quantiles = {"loss": "quantile", "loss.tau": [0.1, 0.9]}
    specs = [spec_of(dataset="moons"), spec_of(dataset="iris"), spec_of(dataset="heteroscedastic", **quantiles)]
    names = {name for outcome in train_all(specs) for name in outcome.diagnostics}
    assert {"zero_weights", "zero_probabilities", "quantile_crossing"} <= names
    assert [name for name in names if not is_measured(name)] == []


def test_the_same_run_twice_counts_once() -> None:
    table = frame()
    found = dlrun.compare(pd.concat([table, table.head(3)]), **QUALITY)
    assert found["n"].tolist() == [5, 5]
    assert found["pairs"].tolist()[1] == 5


def test_a_seed_twice_in_a_group_with_other_values_is_refused() -> None:
    table = frame(hidden=["a"] * 5 + ["b"] * 5, seed=[0, 1, 2, 3, 3, *range(5)])
    with pytest.raises(InputError, match=r"^hidden=a: seed 3 is there twice, with test/r2 0.53 and 0.54; keep one of the two"):
        dlrun.compare(table, **QUALITY)
    again = table.assign(of=[*"xxxxyxxxxx"])
    assert sorted(dlrun.compare(again, **QUALITY)["n"]) == [1, 4, 5], "a column of its own, as advised"
    kept = table.drop_duplicates(["hidden", "seed"])
    assert sorted(dlrun.compare(kept, **QUALITY)["n"]) == [4, 5]
    lost = pd.concat([frame(), frame().head(1).assign(**{"test/r2": math.nan, "status": "failed"})])
    with pytest.raises(InputError, match="seed 0 is there twice"):
        dlrun.compare(lost, **QUALITY)


def test_a_run_that_was_resumed_counts_as_it_ended() -> None:
    done = frame(id=[f"run{number}" for number in range(10)], status="done")
    before = done.assign(status="interrupted", **{"test/r2": math.nan})
    for both in (pd.concat([before, done]), pd.concat([done, before])):
        assert dlrun.compare(both, **QUALITY)["n"].tolist() == [5, 5]


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            {"seed": [math.nan, *range(9)]},
            r"^seed: row 0 of the table has nothing; every run needs a whole number there, such as 0$",
        ),
        ({"seed": ["one", *range(9)]}, r"^seed: row 0 of the table has 'one'; every run needs a whole number there, such as 0$"),
        ({"seed": [0.5, *range(9)]}, r"^seed: row 0 of the table has 0.5; every run needs a whole number"),
        ({"fold": ["x"] + [None] * 9}, r"^fold: row 0 of the table has 'x'; every run needs a whole number"),
        ({"status": ["ok"] + ["done"] * 9}, r"^status: row 0 of the table has 'ok'; it must be one of done, stopped, diverged, "),
        ({"test/r2": ["good"] + [0.5] * 9}, r"^test/r2: row 0 of the table has 'good', which is no number; leave it empty$"),
    ],
)
def test_a_cell_that_cannot_be_read_is_named(columns: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        dlrun.compare(frame(**columns), **QUALITY)


def test_cells_that_are_empty_or_whole_are_read() -> None:
    table = frame(seed=pd.Series([*range(5), *range(5)], dtype=float), fold=math.nan, status=[None] * 10, id=[None] * 10)
    assert dlrun.compare(table, **QUALITY)["n"].tolist() == [5, 5]
    assert [row.seed for row in rows_of_frame(pd.DataFrame({"seed": [2**62 + 1]}))] == [2**62 + 1]
    texts = frame(**{"test/r2": [str(value) for value in frame()["test/r2"]]})
    assert dlrun.compare(texts, **QUALITY)["test/r2 mean"].tolist() == dlrun.compare(frame(), **QUALITY)["test/r2 mean"].tolist()


def test_numbers_of_which_each_stands_once_are_a_setting_when_written_as_text() -> None:
    table = frame().drop(columns="seed").groupby("hidden").head(1)
    with pytest.raises(InputError, match=r"seed 0 is there twice, .* or put what tells them apart into a column .* as text$"):
        dlrun.compare(table, **QUALITY)
    assert dlrun.compare(table.astype({"hidden": str}), **QUALITY)["hidden"].tolist() == ["16", "8"]


def test_a_column_name_twice_is_refused() -> None:
    table = pd.concat([frame(), frame()[["hidden"]]], axis=1)
    with pytest.raises(InputError, match=r"^hidden: 2 columns have this name; rename or drop all but one$"):
        dlrun.compare(table, **QUALITY)
    assert dlrun.compare(frame().rename(columns={"hidden": 3}), **QUALITY)["3"].tolist() == [16, 8]


@pytest.mark.parametrize("margin", [math.inf, -math.inf, math.nan, -0.1, 0, 0.0, "0.1", True, [0.1]])
def test_a_margin_is_a_finite_number_above_zero(margin: Any) -> None:
    with pytest.raises(InputError, match=r"^margin=.*: must be a number above 0, and finite, in the metric's unit; or None$"):
        dlrun.compare(frame(), margin=margin, **QUALITY)


@pytest.mark.parametrize("margin", [5, 0.5, np.float32(0.5), np.int64(1)])
def test_any_kind_of_number_is_a_margin(margin: Any) -> None:
    assert dlrun.compare(frame(), margin=margin, **QUALITY)["verdict"][1].startswith("equivalent within")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"reference": "hidden=9"},
            r"^reference=hidden=9: names no group; type reference=best or one of reference=16, reference=8",
        ),
        ({"reference": ""}, r"^reference='': must be best, or what names a group, such as relu or \[relu,sgd\]$"),
        ({"reference": None}, r"^reference=None: must be best"),
        ({"reference": []}, r"^reference=\[\]: must be best"),
        ({"metric": "test/r3"}, r"^metric=test/r3: no run has it; there are r2; did you mean 'test/r2'"),
        ({"metric": 3}, r"^metric=3: must be the name of one metric, such as r2 or test/r2"),
        ({"metric": ["test/r2"]}, r"^metric=\['test/r2'\]: must be the name of one metric"),
    ],
)
def test_what_is_asked_for_is_checked(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        dlrun.compare(frame(), **{**QUALITY, **options})


@pytest.mark.parametrize("reference", [8, 8.0, np.int64(8), "8", "hidden=8", ["8"]])
def test_a_reference_may_be_a_number(reference: Any) -> None:
    assert dlrun.compare(frame(), reference=reference, **QUALITY)["verdict"].tolist()[1] == "reference"


def test_a_reference_that_names_several_groups() -> None:
    table = frame(hidden=[8] * 10, activation=["relu"] * 5 + ["tanh"] * 5)
    with pytest.raises(InputError, match=r"^reference=8: names no group"):
        dlrun.compare(table, reference="8", **QUALITY)
    table = pd.concat([frame(activation="relu"), frame(activation="tanh")])
    with pytest.raises(InputError, match=r"^reference=8: names 2 groups; type reference=best or one of "):
        dlrun.compare(table, reference="8", **QUALITY)


@pytest.mark.parametrize(
    "table",
    [
        pd.DataFrame(),
        frame().head(0),
        frame(status="failed", **{"test/r2": math.nan}),
        pd.DataFrame({"seed": [0], "activation": ["relu"]}),
    ],
)
def test_a_table_without_a_measured_run(table: pd.DataFrame) -> None:
    with pytest.raises(InputError, match=r"^compare: there is no run that was measured$"):
        dlrun.compare(table)


@pytest.mark.parametrize("runs", [3, None, [frame(), 3], {"a": 1}])
def test_what_is_neither_a_table_nor_a_sweep(runs: Any) -> None:
    with pytest.raises(InputError, match=r"^compare: got \w+; give a table, the name of a sweep, or a list of these$"):
        dlrun.compare(runs)


def test_the_notes_of_a_table_come_with_it() -> None:
    table = frame(**{"test/r2": [math.nan, 0.5, 0.6, 0.5, 0.4] * 2, "test/mae": 0.1})
    notes = dlrun.compare(table, **QUALITY).attrs["notes"]
    assert "r2 is not defined in 2 of 10 runs: all targets of their test samples are equal; type metric=mae instead" in notes
    assert dlrun.compare(table, metric="mae")["n"].tolist() == [5, 5], "as advised"
