"""Sweeps of which runs diverged, were not reached or have no value of the metric: what their tables say."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import dlrun
from dlrun.results.sweeps import Sweep

Call = Callable[..., tuple[int, str, str]]
Latest = Callable[..., Sweep]


def test_survivors_of_a_large_learning_rate_are_not_better(call: Call, latest: Latest) -> None:
    words = ("dataset=function", "optimizer=sgd", "optimizer.momentum=0", "model.hidden=[64]", "optimizer.lr=0.0001,0.3")
    code, out, _ = call("-m", *words, "trainer.epochs=20", "baseline=none", "seed=range(0,20)")
    assert code == 1
    assert re.search(r"^0\.0001 +20 .* best of yours *$", out, re.MULTILINE)
    survivors = re.search(r"^0\.3 +(\d+) +(\d+) diverged .* not enough evidence \((\d+) of 20 runs diverged\)", out, re.MULTILINE)
    assert survivors is not None
    left, diverged, said = map(int, survivors.groups())
    assert (left + diverged, diverged) == (20, said)
    assert diverged > 0
    with (latest().folder / "comparison.csv").open(encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert (first["verdict"], second["p (corrected)"]) == ("reference", "")
    assert (int(second["pairs"]), int(second["pairs dropped"])) == (left, diverged)
    found = dlrun.compare(latest().folder)
    assert found["verdict"].tolist() == [first["verdict"], second["verdict"]]
    assert any(note.startswith("groups that lost runs") for note in found.attrs["notes"])


def test_a_metric_that_is_undefined_is_left_out_for_runs_and_baselines_alike(call: Call, folder: Path) -> None:
    """Folds in which all targets are equal have no r2; whole numbers make the mean of equal ones exact."""
    targets = [1 if row % 6 else 2 for row in range(30)]
    lines = (f"{row * 7 % 30},{row * 11 % 13},{target}.0" for row, target in enumerate(targets))
    (folder / "dose.csv").write_text("weight,age,dose\n" + "\n".join(lines) + "\n")
    data = ("dataset=csv", "dataset.path=dose.csv", "dataset.target=dose", "dataset.task=regression", "dataset.folds=10")
    code, out, err = call("-m", *data, "seed=0,1", "activation=relu,tanh", "baseline=[mean]", "trainer=smoke")
    assert code == 0, err
    counts = [(int(n), int(lost)) for n, lost in re.findall(r"^[a-z ]+? +(\d+) +(\d+) undefined ", out, re.MULTILINE)]
    assert len(counts) == 3
    assert len(set(counts)) == 1, "n is the same for runs and for the baseline"
    n, lost = counts[0]
    assert (n + lost, lost > 0) == (20, True)
    line = f"r2 is not defined in {2 * lost} of 40 runs: all targets of their test samples are equal; type metric=mae instead"
    assert line in out
    code, out, _ = call("-m", *data, "seed=0,1", "activation=relu,tanh", "baseline=[mean]", "trainer=smoke", "metric=mae")
    assert code == 0
    assert len(re.findall(r"^[a-z ]+? +20 ", out, re.MULTILINE)) == 3, "as advised"
