"""``timeout_s``: training ends in time with what it has, exit code 1, and goes on when it is resumed or asked for again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import dlrun
from dlrun.engine import checkpoint, lanes
from dlrun.experiments import signals
from dlrun.results.store import Store
from kept import results

Call = Callable[..., tuple[int, str, str]]
Late = Callable[[int], None]

pytestmark = pytest.mark.fault("time that is over")

SHORT = ("trainer=smoke", "dataset=moons", "dataset.rows=80", "trainer.max_steps=null", "trainer.epochs=3", "baseline=[]")
OFTEN = "trainer.checkpoint_s=1e-9"  # a checkpoint before every step
SECONDS = 60.0
SWEEP = ("model.hidden=[3],[4]", "seed=range(0,4)")
LIMIT = f"timeout_s={SECONDS:g}"
SAID = f"{LIMIT}: the time is over"
FIRST, SECOND = 5, 15  # checkpoints that the first of two cohorts takes, and the second


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Late:
    """``late(3)``: the time is over when the third checkpoint has been written."""
    now, written, at = 0.0, 0, 0
    keep = Store.keep_checkpoint

    def counted(store: Store, kept: Any) -> None:
        nonlocal now, written
        keep(store, kept)
        written += 1
        if written == at:
            now += SECONDS + 1

    def over(number: int) -> None:
        nonlocal at
        at = written + number

    monkeypatch.setattr(checkpoint, "MOST_COST", float("inf"))
    monkeypatch.setattr(lanes, "PRODUCTS", 1)
    monkeypatch.setattr(signals, "monotonic", lambda: now)
    monkeypatch.setattr(Store, "keep_checkpoint", counted)
    return over


def figures(root: Path) -> dict[str, Any]:
    return {run: (record["status"], repr(record["metrics"])) for run, record in results(root).items()}


def test_a_sweep_ends_with_what_it_has(call: Call, late: Late, folder: Path) -> None:
    words = ("-m", *SWEEP, *SHORT)
    assert call(*words, "output_dir=whole")[0] == 0
    whole = figures(folder / "whole")
    late(SECOND)
    code, out, err = call(*words, OFTEN, LIMIT)
    assert (code, SAID in err) == (1, True), err
    assert "8 runs: 4 done, 4 interrupted" in out
    assert "carry on with: dlrun resume" in out
    assert "[3]" in out  # the table of those that are done
    code, out, err = call("resume")  # it has as much time again
    assert (code, "8 runs: 8 done, 4 of them taken over" in out, "goes on at epoch" in err) == (0, True, True), err
    assert SAID not in err
    assert figures(folder / "outputs") == whole


def test_workers_end_in_time(call: Call, late: Late) -> None:
    late(FIRST)
    code, out, err = call(
        "-m", *SWEEP, *SHORT, OFTEN, LIMIT, "trainer.epochs=1000000", "trainer.engine=torch", "hydra.launcher.processes=2"
    )
    assert (code, SAID in err, " interrupted" in out, " done" in out) == (1, True, True, False), err


def test_a_single_run_ends_in_time_and_goes_on(call: Call, late: Late, folder: Path) -> None:
    assert call(*SHORT, "output_dir=whole")[0] == 0
    late(FIRST)
    code, out, err = call(*SHORT, OFTEN, LIMIT)
    assert (code, f"{SAID}; type the same command again to go on" in err, "interrupted, " in out) == (1, True, True)
    code, out, err = call(*SHORT)  # the limit is no part of what a run is
    assert (code, "goes on at epoch 2 of 3 (1 run)" in err) == (0, True), err
    assert figures(folder / "outputs") == figures(folder / "whole")


def test_python_gets_what_there_is(late: Late, folder: Path) -> None:
    late(FIRST)
    run = dlrun.run(*SHORT, OFTEN, timeout_s=SECONDS, progress=False)
    assert (run.status, run.history["epoch"].tolist()) == ("interrupted", [1])
    late(SECOND)
    table = dlrun.sweep(*SWEEP, *SHORT, OFTEN, timeout_s=SECONDS, progress=False, seed=range(1, 5))
    assert table["status"].value_counts().to_dict() == {"done": 4, "interrupted": 4}
    assert (dlrun.sweep(*SWEEP, *SHORT, progress=False, seed=range(1, 5))["status"] == "done").all()


def test_a_settlement_ends_in_time_and_goes_on(call: Call, late: Late) -> None:
    words = ("settle", "activation=relu,identity", *SHORT, OFTEN, "--max-seeds", "30")
    late(FIRST)
    code, out, err = call(*words, LIMIT)
    assert (code, SAID in err, "interrupted; type the same command again" in out, "60 runs, not settled" in out) == (
        1,
        *[True] * 3,
    )
    assert call(*words, "--margin", "1")[0] == 0


@pytest.mark.parametrize("value", ["0", "soon"])
def test_no_time(call: Call, value: str) -> None:
    code, out, err = call("-m", "seed=0,1", *SHORT, f"timeout_s={value}")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: timeout_s={value}: must be a number ")
