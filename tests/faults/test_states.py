"""Whatever is done in whatever order: start, kill, resume, widen, damage, delete, compare. Figures never differ, nothing is lost.

A machine of hypothesis chooses what is done next. The figures of every run are known from a sweep that nothing befell, and which
runs have ended is known from what was done.
"""

import shutil
import sqlite3
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from dlrun.engine.lanes.library import kernel
from dlrun.results.database import problems
from doses import DOSE
from kept import results

EXACT = kernel() is not None  # by torch weights too may be rounded in another way in a cohort of another size
SEEDS = 4
ACTIVATIONS = ("relu", "tanh")
WORDS = ("trainer=smoke", "dataset=moons", "dataset.rows=40", "trainer.max_steps=6", "baseline=[]", "trainer.checkpoint_s=1e-9")
EXAMPLES, STEPS = (max(1, DOSE // 5), 20) if DOSE else (1, 6)

# The process ends in front of or behind the transaction of a number of checkpoints and cohorts.
DEATH = """
import os
from dlrun.engine import checkpoint, lanes
from dlrun.results.store import Store

checkpoint.MOST_COST, lanes.PRODUCTS = float("inf"), 1
left = {number}

def deadly(write):
    def call(*given, **how):
        global left
        left -= 1
        if left == 0 and {early}:
            os._exit(9)
        write(*given, **how)
        if left == 0:
            os._exit(9)
    return call

Store.keep_checkpoint = deadly(Store.keep_checkpoint)
Store.write_cohort = deadly(Store.write_cohort)
"""
DAMAGES = {
    "run": "UPDATE runs SET record = replace(record, '0.', '1.') WHERE id = (SELECT min(id) FROM runs)",
    "part": "UPDATE blobs SET content = zeroblob(9) WHERE id = (SELECT min(blob) FROM parts WHERE name = 'model.safetensors')",
    "checkpoint": "UPDATE blobs SET content = zeroblob(9) WHERE id = (SELECT max(blob) FROM checkpoints)",
}

seeds, activations = st.integers(1, SEEDS), st.sampled_from([ACTIVATIONS, ACTIVATIONS[:1], ACTIVATIONS[1:]])


def figures(root: Path) -> dict[str, Any]:
    """Run id -> what it computed."""
    found = {}
    for run, record in results(root).items():
        weights = record["digests"]["model.safetensors"] if EXACT else ""
        found[run] = record["metrics"], record["status"], record["epochs"], weights
    return found


class Machine(RuleBasedStateMachine):
    """An output root to which things happen."""

    def __init__(self, lab: Any, root: Path, whole: dict[str, Any]) -> None:
        super().__init__()
        self.lab, self.whole = lab, whole
        self.lab.root = root
        self.ended: dict[str, tuple[str, float]] = {}  # run -> the stamp that it keeps

    def words(self, most: int, names: tuple[str, ...]) -> tuple[str, ...]:
        return "-m", f"seed=range(0,{most})", f"activation={','.join(names)}", *WORDS

    def call(self, *words: str) -> tuple[int, str, str]:
        code, out, err = self.lab.run(*words, f"output_dir={self.lab.root}")
        assert "Traceback" not in out + err
        return code, out, err

    @rule(most=seeds, names=activations)
    def start_or_widen(self, most: int, names: tuple[str, ...]) -> None:
        code, out, err = self.call(*self.words(most, names))
        runs = most * len(names)
        assert (code, f"{runs} run{'s' * (runs > 1)}: {runs} done" in out) == (0, True), err

    @rule(most=seeds, names=activations, number=st.integers(1, 8), early=st.booleans())
    def start_and_be_killed(self, most: int, names: tuple[str, ...], number: int, early: bool) -> None:
        hook = self.lab.modules / "sitecustomize.py"
        hook.write_text(DEATH.format(number=number, early=early))
        code, _, err = self.lab.end(self.lab.start(*self.words(most, names)))
        hook.unlink()
        assert code in (0, 9), err

    @precondition(lambda self: self.lab.sweeps())
    @rule()
    def resume(self) -> None:
        code, _, err = self.call("resume")
        assert code == 0, err

    @precondition(lambda self: self.lab.sweeps())
    @rule(what=st.sampled_from([*DAMAGES]))
    def damage(self, what: str) -> None:
        with sqlite3.connect(self.lab.root / "dlrun.sqlite") as connection:
            connection.execute(DAMAGES[what])
        there = self.lab.records()
        self.ended = {run: stamp for run, stamp in self.ended.items() if run in there}

    @precondition(lambda self: self.lab.sweeps())
    @rule(seed=st.integers(0, SEEDS))
    def delete(self, seed: int) -> None:
        code, out, err = self.call("runs", "delete", f"seed={seed}", "--yes")
        assert code in (0, 1), err  # 1: some are damaged
        there = self.lab.records()
        gone = {run for run in self.ended if run not in there}
        assert f"{len(gone)} run{'s' * (len(gone) != 1)} deleted" in out
        self.ended = {run: stamp for run, stamp in self.ended.items() if run in there}

    @precondition(lambda self: self.ended)
    @rule()
    def compare(self) -> None:
        code, _, err = self.call("compare")
        assert code in (0, 1, 2), err

    @invariant()
    def all_is_well(self) -> None:
        found, stamps = figures(self.lab.root), self.lab.stamps()
        for run, (metrics, *ended) in found.items():
            expected, *whole = self.whole[run]
            assert ended == whole
            assert metrics == pytest.approx(expected, rel=1e-6, abs=1e-6)  # torch sums them, of as many runs as there are
        assert all(stamps.get(run) == stamp for run, stamp in self.ended.items()), "a finished run is lost, or was trained again"
        self.ended = {run: stamps[run] for run in found}
        assert not problems(self.lab.root)
        if sweeps := self.lab.sweeps():
            counts = next(
                line for line in self.call("status", str(sweeps[-1]))[1].splitlines() if " runs: " in line or " run: " in line
            )
            total, _, parts = counts.partition(": ")
            assert int(total.split()[0]) == sum(int(part.split()[0]) for part in parts.split(", "))


@pytest.mark.fault("any order of start, kill, resume, widen, damage, delete, compare")
def test_any_order(lab: Any, tmp_path: Path, injected: Callable[[int], None]) -> None:
    whole = tmp_path / "whole"
    assert lab.run("-m", f"seed=range(0,{SEEDS})", f"activation={','.join(ACTIVATIONS)}", *WORDS, f"output_dir={whole}")[0] == 0
    known, roots = figures(whole), (tmp_path / f"root{number}" for number in count())
    shutil.rmtree(whole)
    run_state_machine_as_test(
        lambda: Machine(lab, next(roots), known),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            phases=[Phase.generate],  # to look for a shorter way takes minutes
            deadline=None,
            suppress_health_check=[*HealthCheck],
        ),
    )
    injected(EXAMPLES * STEPS)
