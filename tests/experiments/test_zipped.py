"""Settings whose values go together instead of in every combination."""

from collections.abc import Callable
from typing import Any

import dlrun
from dlrun.cli.main import main

Call = Callable[..., Any]
WORDS = ("dataset=moons", "zip=[optimizer,optimizer.lr]", "optimizer=sgd,adam,adam", "optimizer.lr=0.1,0.01,0.001", "seed=0,1")


def test_pairs_are_the_runs_of_single_settings(call: Call, capsys: Any) -> None:
    called = call("-m", *WORDS)
    assert called.code == 0
    pairs = [
        (cell.factors.get("optimizer", "adam"), cell.factors.get("optimizer.lr", 0.001), cell.seed) for cell in called.sweep.cells
    ]
    assert pairs == [(*pair, seed) for pair in (("sgd", 0.1), ("adam", 0.01), ("adam", 0.001)) for seed in (0, 1)]
    assert len(called.table) >= 3
    alone = call("-m", "dataset=moons", "optimizer=sgd", "optimizer.lr=0.1", "seed=0,1")
    assert {cell.id for cell in alone.sweep.cells} == {cell.id for cell in called.sweep.cells[:2]}
    again = call("-m", *WORDS)
    assert "6 of them taken over, none trained" in again.out
    assert main(["resume", str(called.sweep.folder)]) == 0
    assert "6 runs: 6 done" in capsys.readouterr().out
    found = dlrun.sweep(*WORDS, "trainer=smoke", "model.hidden=[5]", progress=False)
    assert {*found["id"]} >= {cell.id for cell in called.sweep.cells}


def test_what_does_not_go_together_is_told_before_anything_trains(call: Call) -> None:
    called = call("-m", "zip=[optimizer,optimizer.lr]", "optimizer=sgd,adam", "optimizer.lr=0.1,0.01,0.001")
    assert called.code == 2
    assert "zip=[optimizer,optimizer.lr]: optimizer has 2, optimizer.lr has 3 values; give each as many" in called.err
    called = call("zip=[optimizer,optimizer.lr]")
    assert called.code == 2
    assert "zip=[optimizer,optimizer.lr]: pairs the values of a sweep; type -m" in called.err
