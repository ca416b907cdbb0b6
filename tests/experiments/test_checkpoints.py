"""Training that goes on from a checkpoint ends with the bits of one that was never interrupted."""

import itertools
import os
import shutil
import signal
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dlrun.cli.main import main
from dlrun.engine import checkpoint as checkpoints
from dlrun.engine import lanes
from dlrun.engine.checkpoint import Checkpoint, Keeper, UnfitCheckpointError
from dlrun.engine.components import Component
from dlrun.engine.lanes.library import kernel
from dlrun.engine.trainer import Outcome, fit
from dlrun.errors import StoreError
from dlrun.experiments.checkpoints import saved
from dlrun.experiments.planning.cohorts import Planned, plan
from dlrun.experiments.train import train
from dlrun.results.checkpoints import SavedCheckpoint
from dlrun.results.store import Store
from kept import results, stamps

SMALL = {"dataset": "moons", "dataset.rows": 80, "model.hidden": [6, 5], "trainer.batch_size": 16, "trainer.epochs": 6}
STEPS = 3  # in an epoch
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "momentum": {"optimizer": "sgd", "optimizer.momentum": 0.9},
    "adamw": {"optimizer": "adamw"},
    "asgd": {"optimizer": "asgd", "optimizer.t0": 3.0},
}
MOMENTS = {"in an epoch": 2, "before the evaluation": STEPS + 1, "at its end": STEPS + 2}  # questions in an epoch and beyond it

Plan = Callable[..., Planned]


class Once(Keeper):
    """Takes one checkpoint, when it is asked for the ``at``-th time whether it is due."""

    def __init__(self, at: int) -> None:
        self.found: list[Checkpoint] = []
        super().__init__(0.0, self.found.append)
        self._left = at

    def due(self, step: int) -> bool:
        self._left -= 1
        return self._left <= 0 and not self.found


@pytest.fixture
def planned(spec_of: Callable[..., Any], datasets: Any) -> Plan:
    def make(rows: Sequence[dict[str, Any]], **every: Any) -> Planned:
        (found,) = plan([spec_of(**SMALL | row | every) for row in rows], datasets)
        return found

    return make


@pytest.fixture
def stepwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is asked before every step whether to stop, as torch is."""
    monkeypatch.setattr(lanes, "PRODUCTS", 1)


def check_same(found: Sequence[Outcome], expected: Sequence[Outcome]) -> None:
    """Bit for bit, NaN included."""
    for mine, there in zip(found, expected, strict=True):
        for name in ("status", "reason", "epochs", "steps", "engine", "parameters"):
            assert getattr(mine, name) == getattr(there, name)
        for name in ("metrics", "diagnostics", "history"):
            assert repr(getattr(mine, name)) == repr(getattr(there, name)), name
        for name in ("weights", "predictions"):
            ours, theirs = getattr(mine, name), getattr(there, name)
            assert ours.keys() == theirs.keys()
            for key, value in ours.items():
                assert np.asarray(value).tobytes() == np.asarray(theirs[key]).tobytes(), key


def check_goes_on(group: Planned, at: int, engine: str) -> Checkpoint:
    """A checkpoint changes nothing for whom it is taken of, and who goes on from it ends where that one ended."""
    whole = fit(group.cohort)
    assert {outcome.engine for outcome in whole} == {engine}
    keeper = Once(at)
    check_same(fit(group.cohort, keeper=keeper), whole)
    (checkpoint,) = keeper.found
    check_same(fit(group.cohort, checkpoint=checkpoint), whole)
    assert 0 < checkpoint.facts["step"] < STEPS * 6
    return checkpoint


EVERY = [
    *itertools.product(OPTIMIZERS, ("constant", "cosine"), ("dropout", "batch_norm", ""), (1, 64), MOMENTS, ("native", "torch"))
]
SAMPLE = [  # each value of each, and each pair of optimizer, regularizer and engine in some of them
    ("momentum", "cosine", "dropout", 64, "in an epoch", "native"),
    ("adamw", "constant", "batch_norm", 64, "in an epoch", "native"),
    ("asgd", "cosine", "", 1, "before the evaluation", "native"),
    ("adamw", "cosine", "dropout", 1, "at its end", "native"),
    ("momentum", "constant", "batch_norm", 1, "in an epoch", "torch"),
    ("adamw", "cosine", "", 64, "in an epoch", "torch"),
    ("asgd", "constant", "dropout", 64, "before the evaluation", "torch"),
    ("asgd", "cosine", "batch_norm", 1, "at its end", "torch"),
]


def check(planned: Plan, case: tuple[str, str, str, int, str, str]) -> None:
    optimizer, scheduler, regularizer, runs, moment, engine = case
    if engine == "native" and kernel() is None:
        pytest.skip("dlrun was built without its kernel")
    how = {**OPTIMIZERS[optimizer], "scheduler": scheduler, "regularizer": [regularizer] if regularizer else []}
    how["trainer.engine"] = "torch" if engine == "torch" else "auto"
    group = planned([{"seed": seed} for seed in range(runs)], **how)
    check_goes_on(group, 2 * (STEPS + 1) + MOMENTS[moment], engine)


@pytest.mark.usefixtures("stepwise")
@pytest.mark.parametrize("case", SAMPLE, ids=lambda case: "-".join(map(str, case)))
def test_goes_on_with_the_same_bits(planned: Plan, case: tuple[str, str, str, int, str, str]) -> None:
    check(planned, case)


@pytest.mark.slow
@pytest.mark.usefixtures("stepwise")
@pytest.mark.parametrize("case", EVERY, ids=lambda case: "-".join(map(str, case)))
def test_everything_goes_on_with_the_same_bits(planned: Plan, case: tuple[str, str, str, int, str, str]) -> None:
    check(planned, case)


OTHERS: list[dict[str, Any]] = [
    {"regularizer": ["l1", "max_norm"], "trainer.evaluate_every": 2, "trainer.max_steps": 14},
    {"regularizer": ["l1", "augmentation"], "optimizer": "adadelta"},
    {"trainer.dtype": "float64", "optimizer": "lion"},
    {"activation": "prelu", "activation.learnable": True, "optimizer": "nadam"},
]


@pytest.mark.slow
@pytest.mark.usefixtures("stepwise")
@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize("how", OTHERS, ids=range(len(OTHERS)))
def test_other_settings_go_on_with_the_same_bits(planned: Plan, how: dict[str, Any], engine: str) -> None:
    rows = [{"seed": seed, "optimizer.lr": lr} for seed in range(3) for lr in (0.01, 0.03)]
    group = planned(rows, **{"trainer.engine": engine}, **how)
    check_goes_on(group, 2 * (STEPS + 1) + 2, fit(group.cohort)[0].engine)


@pytest.mark.slow
def test_optimizers_of_torch_go_on_with_the_same_bits(planned: Plan) -> None:
    rprop = Component("rprop", "torch.optim.Rprop", torch.optim.Rprop, {"lr": 0.01})
    group = planned([{"seed": seed} for seed in range(3)], scheduler="cosine")
    runs = [replace(run, optimizer=rprop) for run in group.cohort.runs]
    check_goes_on(replace(group, cohort=replace(group.cohort, runs=runs)), 2 * (STEPS + 1) + 2, "torch")


@pytest.mark.usefixtures("stepwise")
@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_ended_runs_and_best_weights_are_kept(planned: Plan, engine: str) -> None:
    rows = [{"seed": seed, "optimizer.lr": lr} for seed in range(8) for lr in (1e30, 1e-9, 1e-9, 1e30, 0.1)]
    how = {"regularizer": ["early_stopping"], "regularizer.early_stopping.patience": 2, "optimizer": "sgd"}
    group = planned(rows, **how, **{"trainer.engine": engine})
    there = "native" if engine == "auto" and kernel() is not None else "torch"
    checkpoint = check_goes_on(group, 4 * (STEPS + 1) + 2, there)
    assert len(checkpoint.facts["rows"]) < 40
    assert {status for status, *_ in checkpoint.facts["outcomes"]} >= {"diverged", "stopped", "done"}
    assert "best/theta" in checkpoint.arrays


@pytest.mark.fault("a checkpoint of another model")
@pytest.mark.usefixtures("stepwise")
@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_the_last_epoch_is_evaluated_where_its_steps_were_all_taken(planned: Plan, engine: str) -> None:
    rows = [{"seed": seed, "regularizer": ["early_stopping"], "regularizer.early_stopping.patience": 5} for seed in range(3)]
    group = planned(rows, **{"trainer.engine": engine})
    whole, keeper = fit(group.cohort), Once(6 * (STEPS + 1))
    check_same(fit(group.cohort, keeper=keeper), whole)
    (checkpoint,) = keeper.found
    assert (checkpoint.facts["step"], checkpoint.facts["epoch"]) == (STEPS * 6, 5)
    check_same(fit(group.cohort, checkpoint=checkpoint), whole)
    stopped = fit(group.cohort, checkpoint=checkpoint, interrupted=lambda: True)
    assert {(outcome.status, outcome.epochs) for outcome in stopped} == {("interrupted", 5)}


def test_a_checkpoint_that_does_not_fit_costs_its_time_alone(planned: Plan) -> None:
    group, wider = (planned([{"seed": seed} for seed in range(2)], **{"model.hidden": hidden}) for hidden in ([6, 5], [7, 5]))
    keeper = Once(STEPS)
    fit(group.cohort, keeper=keeper)
    with pytest.raises(UnfitCheckpointError, match="numbers of shape"):
        fit(wider.cohort, checkpoint=keeper.found[0])
    found = train(replace(wider, checkpoint=saved(group.cohort, ["a", "b"], keeper.found[0])))
    for mine, expected in zip(found, train(wider), strict=True):
        assert (
            [line for line in mine.log if line not in expected.log]
            == [
                line
                for line in mine.log
                if line.startswith("warning: training began anew, since its checkpoint does not fit: it has")
            ]
            != []
        )
        assert mine.record.metrics == expected.record.metrics


# Commands

RUNS = 4
WORDS = (
    "trainer=smoke",
    "model.hidden=[5]",
    "dataset=moons",
    "dataset.rows=80",
    "trainer.max_steps=null",
    "trainer.epochs=6",
    "baseline=[]",
)
SWEEP = ("-m", f"seed=range(0,{RUNS})", *WORDS)
OFTEN = "trainer.checkpoint_s=1e-9"


@dataclass(frozen=True)
class Called:
    """A command that has ended."""

    code: int
    out: str
    err: str


Call = Callable[..., Called]


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command in this process."""

    def command(*words: str) -> Called:
        code = main(words)
        return Called(code, *capsys.readouterr())

    return command


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """``stop(3, how)``: call ``how`` once, when the third checkpoint has been written; they are written before every step."""
    monkeypatch.setattr(checkpoints, "MOST_COST", float("inf"))
    monkeypatch.setattr(lanes, "PRODUCTS", 1)

    def at(number: int, how: Callable[[], object]) -> None:
        written = 0
        keep = Store.keep_checkpoint

        def counted(store: Store, checkpoint: SavedCheckpoint) -> None:
            nonlocal written
            keep(store, checkpoint)
            written += 1
            if written == number:
                how()

        monkeypatch.setattr(Store, "keep_checkpoint", counted)

    return at


def die() -> None:
    """What is written is all that there will be."""
    raise KeyboardInterrupt


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def figures(root: Path) -> dict[str, Any]:
    """Run id -> all that is known of it, weights and history included, but for what is never the same."""
    store = Store(root)
    found = results(root)
    for run, record in found.items():
        record["history"] = {name: values.tobytes() for name, values in store.history(run).items()}
        record["digests"] = store.read_record(run).digests
        record["metrics"] = repr(record["metrics"])
        for name in ("seconds", "finished", "cohort", "overrides"):
            del record[name]
    return found


def kept(root: Path) -> int:
    with sqlite3.connect(root / "dlrun.sqlite") as connection:
        return int(connection.execute("SELECT count(*) FROM checkpoints").fetchone()[0])


DAMAGES = {  # what happens to the file -> the epoch at which training goes on
    "": 4,
    "UPDATE blobs SET content = zeroblob(length(content)) WHERE id = (SELECT max(blob) FROM checkpoints)": 3,
}


@pytest.mark.fault("SIGKILL of a sweep between two checkpoints")
def test_a_killed_sweep_goes_on(call: Call, stop: Any, tmp_path: Path) -> None:
    assert call(*SWEEP, f"output_dir={tmp_path / 'whole'}").code == 0
    assert kept(tmp_path / "whole") == 0
    whole, killed = figures(tmp_path / "whole"), Path("outputs").absolute()
    stop(3 * STEPS + 1, die)  # after the first step of the fourth epoch
    assert call(*SWEEP, OFTEN).code == 130
    assert (kept(killed), results(killed)) == (2, {})
    assert f"{RUNS} runs kept in epoch 4 (checkpoint of 20" in call("status").out
    for number, (damage, epoch) in enumerate(DAMAGES.items()):
        root = tmp_path / str(number)
        shutil.copytree(killed, root)
        if damage:
            with sqlite3.connect(root / "dlrun.sqlite") as connection:
                connection.execute(damage)
        found = call(*SWEEP, f"output_dir={root}")
        said = f"goes on at epoch {epoch} of 6 ({RUNS} runs)" in found.err
        assert (found.code, said, "a checkpoint is damaged" in found.err) == (0, True, damage != ""), found.err
        assert figures(root) == whole
        assert kept(root) == 0
    found = call("-m", f"seed=range(0,{RUNS + 2})", *WORDS)  # a wider sweep
    assert (found.code, f"goes on at epoch 4 of 6 ({RUNS} runs)" in found.err) == (0, True)
    there = figures(killed)
    assert len(there) == RUNS + 2
    assert {run: there[run] for run in whole} == whole


def test_an_interrupted_sweep_keeps_who_has_ended(call: Call, stop: Any, tmp_path: Path) -> None:
    words = (
        "optimizer=sgd",
        "optimizer.lr=0.1,1e-9,1e30",
        *SWEEP,
        "+regularizer=early_stopping",
        "regularizer.early_stopping.patience=2",
    )
    assert call(*words, f"output_dir={tmp_path / 'whole'}").code == 1
    stop(4 * STEPS + 1, interrupt)
    found = call(*words, OFTEN)
    root = Path("outputs").absolute()
    assert (found.code, "carry on with: dlrun resume" in found.out) == (130, True)
    ended = {run: stamp for run, stamp in stamps(root).items() if results(root)[run]["status"] != "interrupted"}
    assert 0 < len(ended) < 3 * RUNS
    found = call("resume")
    assert f"goes on at epoch 5 of 6 ({3 * RUNS - len(ended)} runs)" in found.err
    assert figures(root) == figures(tmp_path / "whole")
    assert {run: stamps(root)[run] for run in ended} == ended
    assert kept(root) == 0


def test_a_single_run_goes_on(call: Call, stop: Any, tmp_path: Path) -> None:
    assert call(*WORDS, f"output_dir={tmp_path / 'whole'}").code == 0
    stop(7, interrupt)
    assert call(*WORDS, OFTEN).code == 130
    for words, said in (
        (("trainer.engine=torch",), "begin anew" if kernel() else "goes on"),
        ((), "goes on at epoch 3 of 6 (1 run)"),
    ):
        root = tmp_path / "copy" / str(len(words))
        root.mkdir(parents=True)
        (root / "dlrun.sqlite").write_bytes(Path("outputs/dlrun.sqlite").read_bytes())
        found = call(*WORDS, *words, f"output_dir={root}")
        assert (found.code, said in found.err) == (0, True), found.err
        assert kept(root) == 0
    assert figures(root) == figures(tmp_path / "whole")
    assert "goes on" not in call(*WORDS, "reuse=false").err


def test_a_checkpoint_that_cannot_be_written_is_reported(call: Call, stop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise StoreError("outputs: cannot be written (No space left on device)")

    monkeypatch.setattr(Store, "keep_checkpoint", full)
    found = call(*SWEEP, OFTEN)
    assert (found.code, found.err.count("a checkpoint could not be written, training continues")) == (0, 1)


def test_no_checkpoints_are_taken_where_none_are_wanted(call: Call, stop: Any) -> None:
    stop(1, die)
    assert call(*SWEEP, "trainer.checkpoint_s=0").code == 0
    assert "trainer.checkpoint_s=-1" in call(*SWEEP, "trainer.checkpoint_s=-1").err
