"""Sweeps of which runs diverged, were not reached or have no value of the metric: what their tables say."""

import csv
import re
from collections.abc import Callable

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
    assert (first["verdict"], second["p (Holm)"]) == ("reference", "")
    assert (int(second["pairs"]), int(second["pairs dropped"])) == (left, diverged)
    found = dlrun.compare(latest().folder)
    assert found["verdict"].tolist() == [first["verdict"], second["verdict"]]
    assert any(note.startswith("groups that lost runs") for note in found.attrs["notes"])
