"""The plan: what is skipped and why, what is shown, and that it is what then trains."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlrun.results.sweeps import Sweep

Call = Callable[..., tuple[int, str, str]]
Latest = Callable[..., Sweep]
Outputs = Callable[..., dict[str, dict[str, Any]]]

MIXED = ("loss=glob(*)", "dataset=diabetes,iris", "trainer=smoke", "seed=0")


def test_the_plan_is_what_trains(call: Call, folder: Path, outputs: Outputs, latest: Latest) -> None:
    code, plan, _ = call("plan", *MIXED)
    assert code == 0
    assert not list(folder.iterdir())
    total, to_train, finished, skipped = map(
        int, re.findall(r"(\d+) runs: (\d+) to train, (\d+) finished already, (\d+) skipped", plan)[0]
    )
    assert finished == 0

    code, out, err = call("-m", *MIXED)
    assert code == 0
    assert len(outputs()) == to_train
    sweep = latest()
    assert len(sweep.cells) == total
    assert sweep.counts() == {"done": total - skipped, "skipped": skipped}
    assert f"{total} runs: {total - skipped} done, {skipped} skipped" in out
    reasons = sorted(line for line in plan.splitlines() if line.startswith("skipped"))
    assert reasons
    assert sum(int(re.findall(r"^skipped (\d+): ", line)[0]) for line in reasons) == skipped
    assert any(line in err for line in reasons)
    said = [cell.reason for cell in sweep.cells if cell.status == "skipped"]
    assert all("loss=" in reason and "; type loss=" in reason for reason in said)
    assert "loss=mse: does not serve multiclass data, since class labels have no distances; type loss=cross_entropy" in str(said)
    cohorts = [line.split() for line in plan.splitlines() if re.match(r" +\d", line)]
    assert sum(int(words[1]) for words in cohorts) == to_train

    code, plan, _ = call("plan", *MIXED)
    assert f"{total} runs: 0 to train, {to_train} finished already, {skipped} skipped" in plan


def test_what_the_data_rules_out_is_skipped(call: Call, latest: Latest) -> None:
    code, _, err = call("-m", "dataset=digits,iris", "trainer=smoke", "trainer.batch_size=300", "baseline=[]")
    assert code == 0
    assert latest().counts() == {"done": 1, "skipped": 1}
    assert re.search(r"skipped 1: trainer.batch_size=300: there are \d+ training rows; type trainer.batch_size=\d+", err)


def test_class_weights_of_a_wrong_length_spoil_no_other_run(call: Call, latest: Latest) -> None:
    weights = "loss.class_weight=null,[1,2],[1,2,3]"
    code, _, err = call("-m", "dataset=iris", "loss=cross_entropy", weights, "seed=0,1", "trainer=smoke", "baseline=none")
    assert code == 0
    assert latest().counts() == {"done": 4, "skipped": 2}
    assert "skipped 2: loss.class_weight=[1,2]: iris has 3 outputs (setosa, versicolor, virginica); give each one number" in err


def test_nothing_possible_is_bad_input(call: Call, folder: Path) -> None:
    code, out, err = call("-m", "loss=mse,mae", "dataset=iris", "seed=0,1")
    assert (code, out) == (2, "")
    assert [line.split(":")[1] for line in err.splitlines()] == [" loss=mse", " loss=mae"]
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer.lr=-1,0.1", "trainer.epochs=0", "seed=0,-1"], ["optimizer.lr=-1", "trainer.epochs=0", "seed=-1"]),
        (["output_dir=a,b"], ["output_dir=a,b: a sweep has one output_dir"]),
        (["reuse=true,false", "optimizer.lr=fast"], ["reuse=True,False: a sweep has one reuse", "optimizer.lr=fast"]),
        (["activation=relu,rleu"], ["activation=rleu: no such option", "did you mean 'relu'?"]),
        (["optimizer.lr=0.1,0.2", "optimizer.lrr=1"], ["optimizer.lrr=1: no such key", "did you mean 'lr'?"]),
        (["loss.delta=1,2", "loss=mse"], ["loss.delta"]),
    ],
)
def test_bad_values_are_refused_before_anything_trains(call: Call, folder: Path, words: list[str], said: list[str]) -> None:
    code, out, err = call("-m", *words)
    assert (code, out) == (2, "")
    assert all(line.startswith("error: ") for line in err.splitlines())
    for text in said:
        assert text in err
    assert not list(folder.iterdir())


def test_equal_runs_share_a_result(call: Call, outputs: Outputs, latest: Latest) -> None:
    words = ("activation=linear,identity,relu", "seed=0,1", "trainer=smoke", "baseline=[]")
    assert "4 to train, 0 finished already, 0 skipped, 2 the same as another" in call("plan", *words)[1]
    code, out, _ = call("-m", *words)
    assert code == 0
    assert len(outputs()) == 4
    cells = latest().cells
    assert len(cells) == 6
    assert len({cell.id for cell in cells if "activation=relu" not in cell.overrides}) == 2
    assert {cell.status for cell in cells} == {"done"}
    assert re.search(r"^linear +2 ", out, re.MULTILINE)  # the name that was typed first
    assert "identity" not in out
    assert "6 runs: 6 done, 2 of them the same as another" in out
