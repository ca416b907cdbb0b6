"""Several processes in one folder: every run has one owner, and nobody trains what another is training."""

import os
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

pytestmark = pytest.mark.fault("two processes at once in one folder")

Wait = Callable[..., None]

SEEDS = 20 if "DLRUN_FAULTS" in os.environ else 8
SWEEP = ("-m", "model.hidden=[3],[4],[5]", f"seed=range(0,{SEEDS})", "dataset=moons", "trainer.epochs=40", "baseline=[]")
RUNS = 3 * SEEDS


class Writings:
    """Notes every result that appears: a run that is trained twice has two."""

    def __init__(self, lab: Any) -> None:
        self.seen: dict[str, set[tuple[str, float]]] = defaultdict(set)
        self._lab = lab

    def look(self) -> None:
        with suppress(FileNotFoundError):  # replaced while we looked
            for run, stamp in self._lab.stamps().items():
                self.seen[run].add(stamp)


@pytest.mark.dose(1, of_300=50)
def test_two_sweeps_at_once(lab: Any, number: int) -> None:
    writings = Writings(lab)
    with lab.meanwhile(writings.look):
        children = [lab.start(*SWEEP), lab.start(*SWEEP)]
        ended = [lab.end(child) for child in children]
    for code, out, err in ended:
        assert (code, f"{RUNS} runs: {RUNS} done" in out) == (0, True), err
    assert len(writings.seen) == RUNS
    assert {len(stamps) for stamps in writings.seen.values()} == {1}
    assert len(lab.sweeps()) == 2
    lab.check_clean()


@pytest.mark.dose(1, of_300=50)
def test_overlapping_sweeps_at_once(lab: Any, number: int) -> None:
    wide = (*SWEEP[:2], f"seed=range({SEEDS // 2},{SEEDS // 2 + SEEDS})", *SWEEP[3:])
    writings = Writings(lab)
    with lab.meanwhile(writings.look):
        child = lab.hold(1, SWEEP)
        lab.release()
        ended = [lab.run(*wide), lab.end(child)]
    for code, out, err in ended:
        assert (code, f"{RUNS} runs: {RUNS} done" in out) == (0, True), err
    assert len(writings.seen) == RUNS + RUNS // 2
    assert {len(stamps) for stamps in writings.seen.values()} == {1}


@pytest.mark.dose(1, of_300=50)
def test_what_a_killed_process_held_is_trained_by_the_other(lab: Any, wait: Wait, number: int) -> None:
    first = lab.hold(1, SWEEP)  # however long the other takes to start, it finds this one at work
    second = lab.start(*SWEEP)
    while "waiting for" not in (line := second.stderr.readline()):
        assert line
    lab.kill(first)
    code, out, err = lab.end(second)
    assert (code, f"{RUNS} runs: {RUNS} done" in out) == (0, True), err
    lab.check_clean()


@pytest.mark.dose(1, of_300=50)
def test_one_sweep_is_resumed_by_one_process(lab: Any, wait: Wait, number: int) -> None:
    first = lab.start(*SWEEP, "trainer.epochs=100000")
    wait(lab.claims, first)
    code, out, err = lab.run("resume")
    assert (code, out) == (2, "")
    assert f"is being worked on by process {first.pid}" in err
    assert f"training now: process {first.pid} on" in lab.run("status")[1]
    lab.kill(first)
