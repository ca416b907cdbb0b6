"""What the table of a sweep calls its groups and itself, whoever trained the runs before and under which words."""

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dlrun
from dlrun.errors import InputError
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep

Call = Callable[..., tuple[int, str, str]]
Latest = Callable[..., Sweep]
Rows = list[dict[str, str]]

SHORT = ("trainer=smoke", "baseline=[]")
OPTIONS = {
    "slow": "# @package _global_\nname: slow\noptimizer:\n  lr: 0.001\n",
    "fast": "# @package _global_\nname: fast\noptimizer:\n  lr: 0.1\n",
}


@pytest.fixture
def rows(latest: Latest) -> Callable[[], Rows]:
    """``rows()``: comparison.csv of the latest sweep."""

    def read() -> Rows:
        with (latest().folder / "comparison.csv").open(encoding="utf-8") as file:
            return list(csv.DictReader(file))

    return read


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (("trainer.epochs=3", "logger=none"), ("trainer.epochs=3",)),
        (
            ("experiment=xor", "trainer=smoke"),
            ("dataset=xor", "model=mlp", "activation=tanh", "optimizer=adam", "optimizer.lr=0.01", "trainer=smoke"),
        ),
        (("trainer=notes",), ("trainer.epochs=10", "trainer.batch_size=4")),
        (("name=first", "trainer=smoke"), ("name=second", "trainer=smoke")),
    ],
)
def test_runs_that_compute_the_same_are_one_group(
    call: Call, latest: Latest, rows: Callable[[], Rows], before: tuple[str, ...], words: tuple[str, ...]
) -> None:
    assert call(*before, "seed=0", "baseline=[]")[0] == 0
    code, out, _ = call("-m", *words, "seed=0,1", "baseline=[]")
    assert (code, "2 runs: 2 done, 1 of them taken over" in out) == (0, True)
    (row,) = rows()
    assert (row["model"], row["n"]) == ("mlp", "2")
    assert len(dlrun.compare(latest().folder)) == 1


def test_experiments_that_differ_are_told_by_their_names(call: Call, folder: Path, rows: Callable[[], Rows]) -> None:
    (folder / "options" / "experiment").mkdir(parents=True)
    for name, text in OPTIONS.items():
        (folder / "options" / "experiment" / f"{name}.yaml").write_text(text)
    words = ("--config-dir", "options", "-m", "experiment=slow,fast", "seed=0,1", *SHORT)
    assert call(*words)[0] == 0
    found = rows()
    assert {(row["experiment"], row["n"]) for row in found} == {("slow", "2"), ("fast", "2")}


def test_experiments_on_different_data_keep_their_names(call: Call, folder: Path, rows: Callable[[], Rows]) -> None:
    (folder / "options" / "experiment").mkdir(parents=True)
    for name, data in (("first", "xor"), ("second", "moons")):
        text = f"# @package _global_\ndefaults:\n  - override /dataset: {data}\n"
        (folder / "options" / "experiment" / f"{name}.yaml").write_text(text)
    code, out, _ = call("--config-dir", "options", "-m", "experiment=first,second", "seed=0,1", "trainer=smoke", "baseline=none")
    assert code == 0
    assert "xor, experiment=first: test rows" in out
    assert "moons, experiment=second: test rows" in out
    assert {(row["dataset"], row["experiment"]) for row in rows()} == {("xor", "first"), ("moons", "second")}


def test_nothing_varied_has_the_models_name(call: Call, rows: Callable[[], Rows]) -> None:
    code, out, _ = call("-m", "seed=0,1", "trainer=smoke", "baseline=[mean]", "model=linear")
    assert code == 0
    assert [(row["model"], row["baseline"]) for row in rows()] in (
        [("linear", ""), ("", "mean")],
        [("", "mean"), ("linear", "")],
    )
    assert re.search(r"^linear +2 ", out, re.MULTILINE)


def test_two_tables_have_two_titles(call: Call, folder: Path, latest: Latest, rows: Callable[[], Rows]) -> None:
    code, out, _ = call("-m", "dataset=moons", "dataset.noise=0.1,0.4", "seed=0,1", *SHORT)
    assert code == 0
    assert "moons, dataset.noise=0.1: test rows" in out
    assert "moons, dataset.noise=0.4: test rows" in out
    assert {(row["dataset"], row["dataset.noise"]) for row in rows()} == {("moons", "0.1"), ("moons", "0.4")}
    assert "## moons, dataset.noise=0.4: test/accuracy" in (latest().folder / "comparison.md").read_text()
    out = call("-m", "dataset=moons", "dataset.folds=3,5", *SHORT)[1]
    assert [title in out for title in ("moons, dataset.folds=3: test", "moons, dataset.folds=5: test")] == [True, True]
    for name in ("a.csv", "b.csv"):
        (folder / name).write_text(
            f"a,b,target\n{name[0] == 'a':d},1,2\n" + "".join(f"{i},{i * i % 7},{i % 5}.5\n" for i in range(60))
        )
    out = call("-m", "dataset=csv", "dataset.path=a.csv,b.csv", "dataset.target=target", *SHORT)[1]
    assert [title in out for title in ("a.csv: test rows", "b.csv: test rows", "csv, ")] == [True, True, False]
    assert {row["dataset"] for row in rows()} == {"a.csv", "b.csv"}


def test_the_file_has_the_table_that_is_shown(call: Call, latest: Latest) -> None:
    code, out, _ = call("-m", "activation=relu,tanh", "seed=range(0,5)", *SHORT)
    assert code == 0
    text = (latest().folder / "comparison.md").read_text()
    head = re.search(r"^activation .*$", out, re.MULTILINE)
    assert head is not None
    names = [name for name in re.split(r" {2,}", head[0].strip()) if name not in ("median", "min", "max")]
    assert f"| {' | '.join(names)} |" in text
    assert "each against the best of yours, seed by seed: paired t-test, 5% level" in text
    assert "best of yours" in out


def test_a_dataset_whose_name_is_markup(call: Call, folder: Path, latest: Latest) -> None:
    name = "a|b_*c*<i>\x1b[2J.csv"
    (folder / name).write_text("a,b,target\n" + "".join(f"{i},{i * i % 7},{i % 5}.5\n" for i in range(60)))
    code, out, err = call("-m", "dataset=csv", f"dataset.path='{name}'", "dataset.target=target", "seed=0,1", *SHORT)
    assert code == 0, err
    assert r"a|b_*c*<i>\x1b[2J.csv: test rows" in out
    text = (latest().folder / "comparison.md").read_text()
    assert text.startswith(r"## a\|b\_\*c\*\<i\>\\x1b\[2J.csv: test/r2" + "\n")
    assert "\x1b" not in out + err + text + (latest().folder / "comparison.csv").read_text()


def test_a_narrow_terminal_keeps_sd_and_interval(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("-m", "activation=relu,tanh", "seed=0,1", *SHORT)
    monkeypatch.setenv("COLUMNS", "80")
    out = call(*words)[1]
    assert re.search(r"^activation +n +r2 +sd +95% CI +verdict", out, re.MULTILINE)
    assert "more columns in comparison.csv" in out
    monkeypatch.delenv("COLUMNS")
    out = call(*words)[1]
    assert re.search(r"95% CI +median +min +max +rmse +mae +verdict", out), "a pipe has no width"
    assert "more columns" not in out
    assert "4 runs: 4 done, 4 of them taken over, none trained" in out


def test_the_runs_of_another_sweep_are_not_waited_for(call: Call, folder: Path) -> None:
    with Store(folder / "outputs").claim(["0" * 12, "1" * 12]):
        code, out, err = call("-m", "seed=0,1", *SHORT)
    assert (code, "2 runs: 2 done" in out) == (0, True)
    assert "waiting" not in err


def test_sweeps_put_together_have_each_baseline_once(folder: Path) -> None:
    import pandas as pd

    given: dict[str, Any] = {"seed": range(5), "progress": False, "trainer": "smoke"}
    one = dlrun.sweep("dataset=moons", activation="relu", **given)
    two = dlrun.sweep("dataset=moons", activation="tanh", **given)
    found = dlrun.compare(pd.concat([one, two]))
    assert sorted(zip(found["activation"], found["baseline"], found["n"], strict=True)) == [
        ("", "logistic", 5),
        ("", "mean", 5),
        ("relu", "", 5),
        ("tanh", "", 5),
    ]
    assert found["p (corrected)"].notna().sum() == 3
    together = dlrun.compare(dlrun.sweep("dataset=moons", activation=["relu", "tanh"], **given))
    assert found["verdict"].tolist() == together["verdict"].tolist()


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("relu", {"activation": "relu"}),
        ("[relu,1e-2]", {"activation": "relu", "optimizer.lr": "0.01"}),
        ('"optimizer.lr=0.1 activation=relu"', {"activation": "relu", "optimizer.lr": "0.1"}),
        ("linear", {"baseline": "linear"}),
    ],
)
def test_a_reference_that_is_named(call: Call, rows: Callable[[], Rows], reference: str, shown: dict[str, str]) -> None:
    rates = ["optimizer.lr=0.01,0.1"] if "optimizer.lr" in shown else []
    code, out, err = call("-m", "activation=tanh,relu", *rates, "seed=range(0,5)", f"reference={reference}", "trainer=smoke")
    assert code == 0, err
    label = " ".join(f"{key}={value}" for key, value in shown.items())
    assert re.search(
        rf"each against {re.escape(label)}, seed by seed: paired t-test, 5% level, (Holm|Dunnett)-corrected for", out
    )
    assert "might have been the best" not in out
    (found,) = [row for row in rows() if row["verdict"] == "reference"]
    assert shown.items() <= found.items()


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("rellu", "reference=rellu: names no group; type reference=best or one of reference=tanh, reference=relu, "),
        ("logistic", "reference=logistic: names no group; "),  # no baseline of a regression
        ("tree", "reference=tree: names no group; "),  # a baseline that is not asked for
        ("null", "reference=null: must be best, or what names a group, such as relu or [relu,sgd]\n"),
        ("{a:1}", "reference={a:1}: must be best, or what names a group"),
        ("relu,tanh", "reference=relu,tanh: a sweep has one reference; start a sweep for each\n"),
    ],
)
def test_a_reference_that_is_none_is_told_before_anything_trains(call: Call, folder: Path, reference: str, said: str) -> None:
    code, out, err = call("-m", "activation=tanh,relu", f"reference={reference}", "trainer=smoke")
    assert (code, out) == (2, "")
    assert said in err
    assert reference != "rellu" or "; did you mean 'relu'?\n" in err
    assert not list(folder.glob("outputs/runs/[0-9a-f]*"))


def test_a_reference_that_several_groups_answer_to(call: Call) -> None:
    words = ("-m", "activation=tanh,relu", "model.hidden=[3],[4,4]", *SHORT)
    code, _, err = call(*words, "reference=relu")
    assert code == 2
    assert err == (
        "error: reference=relu: names 2 groups; type reference=best or one of "
        """'reference=["activation=relu","model.hidden=[3]"]', 'reference=["activation=relu","model.hidden=[4,4]"]'\n"""
    )
    for typed in ('reference=["activation=relu","model.hidden=[4,4]"]', 'reference=[relu,"model.hidden=[4,4]"]'):
        code, out, _ = call(*words, typed)
        assert code == 0
        assert "the reference" in out


def test_a_reference_without_a_value_gives_way_to_the_best(call: Call) -> None:
    words = ("activation=tanh,relu", "optimizer=sgd", "optimizer.lr=0.01,1e6", "seed=range(0,5)")
    code, out, _ = call("-m", *words, "reference=[relu,1e6]", *SHORT)
    assert code == 1
    assert "reference=relu 1e6: has no finite value of test/r2, so the reference is the best\n" in out
    assert "best of yours" in out


def test_a_margin_on_the_command_line(call: Call) -> None:
    words = ("-m", "activation=tanh,relu", "seed=range(0,5)", *SHORT)
    assert "equivalent within 5" in call(*words, "margin=5")[1]
    assert "taken over, none trained" in call(*words)[1]
    code, _, err = call(*words, "margin=-1")
    assert (code, err) == (2, "error: margin=-1: must be a number above 0 or null\n")


def test_losses_and_quantile_levels_have_tables_of_their_own(call: Call, rows: Callable[[], Rows]) -> None:
    quantiles = ("dataset=heteroscedastic", "loss=quantile", "seed=range(0,5)", "trainer=smoke")
    code, out, _ = call("-m", *quantiles, "loss.tau=0.1,[0.1,0.9]", "metric=pinball")
    assert code == 0
    assert [line.rstrip() for line in out.splitlines() if "test rows" in line] == [
        "heteroscedastic, loss.tau=0.1: test rows",
        "heteroscedastic, loss.tau=[0.1, 0.9]: test rows",
    ]
    assert all(row["verdict"] == "reference" for row in rows())
    code, out, _ = call("-m", "dataset=moons", "loss=bce_with_logits,focal", "metric=loss", "seed=range(0,5)", *SHORT)
    assert code == 0
    assert "moons, loss=bce_with_logits: test rows" in out
    assert "worse" not in out


@pytest.mark.parametrize("key", ["metric", "regularizer.early_stopping.metric"])
def test_a_metric_without_a_direction_selects_nothing(call: Call, key: str) -> None:
    words = ("dataset=heteroscedastic", "loss=quantile", "regularizer=[early_stopping]", *SHORT)
    code, _, err = call(*words, f"{key}=coverage")
    assert (code, err) == (2, f"error: {key}=coverage: is best at its nominal level, neither high nor low; type {key}=pinball\n")


def test_baselines_are_those_of_their_file(folder: Path) -> None:
    import pandas as pd

    for name, factor in (("A", 1.0), ("B", 100.0)):
        x = [float(row % 17) for row in range(60)]
        pd.DataFrame({"x": x, "y": [factor * value + value**2 for value in x]}).to_csv(f"{name}.csv", index=False)
    given: dict[str, Any] = {"seed": range(5), "progress": False, "trainer": "smoke", "activation": ["relu", "tanh"]}
    table = dlrun.sweep("dataset=csv", "dataset.target=y", **{"dataset.path": ["A.csv", "B.csv"]}, **given)
    fitted = table[table["baseline"] == "mean"]
    spread = fitted.groupby("dataset.path")["test/rmse"].mean()
    assert sorted(spread.index) == ["A.csv", "B.csv"]
    assert spread["B.csv"] > 4 * spread["A.csv"]
    found = dlrun.compare(table, metric="rmse")
    assert found.groupby("dataset.path").size().to_dict() == {"A.csv": 4, "B.csv": 4}
    assert (found["verdict"] == "reference").sum() == 2
    alone = dlrun.compare(table[table["dataset.path"] == "B.csv"], metric="rmse")
    assert alone["test/rmse mean"].tolist() == found[found["dataset.path"] == "B.csv"]["test/rmse mean"].tolist()


def test_tasks_and_settings_are_compared_apart(folder: Path) -> None:
    given: dict[str, Any] = {"seed": range(5), "progress": False, "trainer": "smoke", "activation": ["relu", "tanh"]}
    found = dlrun.compare(dlrun.sweep("dataset=moons", **{"dataset.noise": [0.05, 0.5]}, **given))
    assert found.groupby("dataset.noise")["verdict"].apply(lambda told: (told == "reference").sum()).tolist() == [1, 1]
    with pytest.raises(InputError, match="margin=-1: must be a number above 0"):
        dlrun.compare("latest", margin=-1)
    with pytest.raises(InputError, match="metric=test/coverage: is best at its nominal level"):
        dlrun.compare(pd_of_coverage(), metric="coverage")


def pd_of_coverage() -> Any:
    import pandas as pd

    return pd.DataFrame({"seed": [0, 1], "activation": ["relu", "tanh"], "test/coverage": [0.8, 0.9]})


def test_tables_put_together_know_which_rows_their_folds_share(folder: Path) -> None:
    import pandas as pd

    given: dict[str, Any] = {"seed": range(2), "progress": False, "trainer": "smoke", "baseline": "none", "dataset.folds": 5}
    one, two = (dlrun.sweep("dataset=iris", activation=name, **given) for name in ("relu", "tanh"))
    apart = dlrun.compare(pd.concat([one, two]))
    together = dlrun.compare(dlrun.sweep("dataset=iris", activation=["relu", "tanh"], **given))
    columns = ["difference ci low (corrected)", "difference ci high (corrected)"]
    assert apart[columns].iloc[1].tolist() == together[columns].iloc[1].tolist()
    assert (one["test/rows"] == 30).all()


@pytest.mark.parametrize("columns", [60, pytest.param(72, marks=pytest.mark.slow), 80])
def test_numbers_stay_whole_on_a_narrow_terminal(call: Call, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    words = ("optimizer=sgd,adam", "optimizer.lr=1000,0.01", "activation=identity,relu", "seed=0,1", "trainer.epochs=1")
    out = call("-m", *words)[1]
    table = out[: out.index("each against")]
    assert max(map(len, table.splitlines())) <= columns
    assert len(re.findall(r"-?\d\.\d+(?:e[+]\d+)?  ", table)) >= 8
    assert "0.0\n" not in table
    heading = "activation" if columns > 60 else "activa"
    assert heading in table
