"""``dlrun compare``: what a sweep's end says, said again from the store, and by what else was measured."""

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep

Call = Callable[..., tuple[int, str, str]]
WORDS = (
    "-m",
    "dataset=moons",
    "trainer=smoke",
    "model.hidden=[4]",
    "activation=relu,tanh",
    "optimizer=adam,sgd",
    "seed=range(0,5)",
)


@pytest.fixture
def sweep(call: Call, folder: Path) -> Sweep:
    assert call(*WORDS)[0] == 0
    return Sweep.find(Store(folder / "outputs"))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_it_says_what_the_sweep_said(call: Call, sweep: Sweep) -> None:
    assert call("compare", "--format", "csv")[1] == (sweep.folder / "comparison.csv").read_text()
    assert call("compare", sweep.folder.name, "--format", "md")[1] == (sweep.folder / "comparison.md").read_text()


def test_all_forms_agree(call: Call, sweep: Sweep) -> None:
    table = rows(call("compare", "--format", "csv")[1])
    (found,) = json.loads(call("compare", "--format", "json")[1])
    assert [row["verdict"] for row in table] == [row["verdict"] for row in found["groups"]]
    assert [float(row["test/accuracy mean"]) for row in table] == [row["test/accuracy mean"] for row in found["groups"]]
    assert [row["activation"] for row in table] == [row["factors"]["activation"] for row in found["groups"]]
    assert sum(row["reference"] for row in found["groups"]) == 1
    assert sum(row["baseline"] for row in found["groups"]) == 2
    means = [f"{float(row['test/accuracy mean']):.4f}" for row in table]
    for form in ("table", "md", "latex", "html"):
        text = call("compare", "--format", form)[1]
        place = 0
        for mean in means:
            assert mean in text[place:], form
            place = text.index(mean, place) + 1


@pytest.mark.parametrize(
    ("words", "column"),
    [
        (("--metric", "log_loss"), "test/log_loss mean"),
        (("--metric", "validation/accuracy"), "validation/accuracy mean"),
        (("--metric", "loss"), "test/loss mean"),
        (("--metric", "seconds"), "seconds mean"),
        (("--metric", "dead_units[0]"), "dead_units[0] mean"),
        (("--metric", "weight_norm", "--lower"), "weight_norm mean"),
    ],
)
def test_any_metric(call: Call, sweep: Sweep, words: tuple[str, ...], column: str) -> None:
    code, out, err = call("compare", *words, "--format", "csv")
    assert (code, err) == (0, "")
    groups = [row for row in rows(out) if not row.get("baseline")]
    assert len(groups) == 4
    means = [float(row[column]) for row in groups]
    assert means == sorted(means, reverse="accuracy" in column)


def test_by_some_factors(call: Call, sweep: Sweep) -> None:
    table = [row for row in rows(call("compare", "--by", "activation", "--format", "csv")[1]) if not row["baseline"]]
    every = [row for row in rows(call("compare", "--format", "csv")[1]) if not row["baseline"]]
    assert [row["n"] for row in table] == ["5", "5"]
    for row in table:
        mine = [float(other["test/accuracy mean"]) for other in every if other["activation"] == row["activation"]]
        assert float(row["test/accuracy mean"]) == pytest.approx(sum(mine) / 2)
        assert "optimizer" not in row


def test_of_runs_with_settings(call: Call, sweep: Sweep) -> None:
    table = rows(call("compare", "activation=tanh", "--format", "csv")[1])
    assert {row["optimizer"] for row in table} == {"adam", "sgd"}
    assert "activation" not in table[0]


def test_of_several_sweeps(call: Call, sweep: Sweep) -> None:
    assert call(*(word.replace("relu,tanh", "gelu") for word in WORDS), "name=more")[0] == 0
    table = list(rows(call("compare", sweep.folder.name, "more", "--format", "csv")[1]))
    assert len([row for row in table if not row["baseline"]]) == 6
    assert [row["baseline"] for row in table if row["baseline"]].count("logistic") == 1


def test_what_is_missing_is_counted(call: Call, sweep: Sweep) -> None:
    store = Store(sweep.folder.parent.parent)
    gone = [cell.id for cell in sweep.cells if "activation=relu" in cell.overrides and cell.seed == 3]
    store.delete(gone)
    table = rows(call("compare", "--format", "csv")[1])
    relu = [row for row in table if row["activation"] == "relu"]
    assert [row["n"] for row in relu] == ["4", "4"]
    assert all("of 5 runs" in row["verdict"] for row in relu), "a group that lost runs says so"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--metric", "acuracy"), "metric=acuracy: no run has it; there are loss, accuracy, "),
        (("--metric", "weight_norm"), "type --higher or --lower"),
        (("--by", "activatoin"), "--by activatoin: is no factor; there are"),
        (("--format", "xlsx"), "--format xlsx: takes one of table, csv, md, latex, html, json"),
        (("--margin", "-1"), "--margin -1: takes a number above 0"),
        (("yesterday",), "sweep 'yesterday': not found"),
        (("activation=celu",), "no run has that"),
        (("latest", "activation=relu"), "takes sweeps, or settings"),
        (("--higher", "--lower"), "give one of the two"),
    ],
)
def test_refused(call: Call, sweep: Sweep, words: tuple[str, ...], said: str) -> None:
    code, out, err = call("compare", *words)
    assert (code, out) == (2, "")
    assert said in err


def test_groups_of_three_datasets_are_ranked_over_them(call: Call) -> None:
    code, out, _ = call("-m", "dataset=moons,circles,xor", "activation=relu,identity", "trainer=smoke", "seed=0,1", "baseline=[]")
    assert code == 0
    lines = [line for line in out.splitlines() if line.startswith("average ranks over 3 datasets, 1 is best: activation=")]
    assert len(lines) == 1
    for form in ("table", "md"):
        text = call("compare", "--format", form)[1]
        assert "".join(lines) in text.replace("\\", ""), form
    assert "average ranks" not in call("compare", "--format", "csv")[1]


def test_a_reference_of_two_groups_is_told_apart_by_the_names_of_factors(call: Call) -> None:
    assert call("-m", "dataset=diabetes", "model=linear,mlp", "trainer=smoke", "seed=0,1")[0] == 0
    code, _, err = call("gate", "--reference", "linear", "--margin", "1%")
    assert code == 2
    assert "names 2 groups" in err
    assert "model=linear" in err
    assert "baseline=linear" in err
    assert call("gate", "--reference", "baseline=linear", "--margin", "1%")[0] == 3


def test_it_needs_no_torch() -> None:
    modules = "dlrun.cli.compare, dlrun.cli.terminal.sweep_table"
    program = f"import sys, {modules}; sys.exit('torch' in sys.modules or 'hydra' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_another_file_of_the_same_path_is_other_data(call: Call, folder: Path) -> None:
    def written(shift: int) -> None:
        lines = [f"{place},{place * shift % 7}" for place in range(40)]
        Path("t.csv").write_text("\n".join(["x,y", *lines]))

    words: Sequence[Any] = (
        "-m",
        "dataset=csv",
        "dataset.path=t.csv",
        "dataset.target=y",
        "dataset.task=regression",
        "trainer=smoke",
        "seed=0,1",
    )
    for shift in (3, 5):
        written(shift)
        assert call(*words, f"name=s{shift}")[0] == 0
    found = json.loads(call("compare", "s3", "s5", "--format", "json")[1])
    assert len({part["settings"]["dataset.data"] for part in found}) == 2
