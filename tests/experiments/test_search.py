"""``dlrun tune``: what is proposed, what came of it, and that it goes on where it was."""

import json
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from dlrun import registry
from dlrun.cli.main import main
from dlrun.components.hyperparameters import problems
from dlrun.config.composing.composed import Composed
from dlrun.config.composing.spaces import Dimension, space, split
from dlrun.config.resolver import resolve
from dlrun.errors import InputError
from dlrun.experiments.search import pruning, samplers
from dlrun.experiments.search.samplers import Trial, propose
from dlrun.experiments.search.settings import Search
from dlrun.experiments.tuning import TUNED
from dlrun.registry import load_option
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep, sweep_folders
from kept import stamps
from nursery import Nursery

SMALL = ("dataset=moons", "trainer=smoke", "model.hidden=[5]", "fresh=2", "batch=3", "baseline=none")
SEARCHED = [(group, name) for group in ("optimizer", "regularizer") for name in registry.options(group)]
LR = Dimension("optimizer.lr", 1e-4, 1e-1, log=True)
PATIENCE = Dimension("regularizer.early_stopping.patience", 3, 50, log=True, whole=True)
BETAS = Dimension("optimizer.betas", options=("[0.9,0.99]", "[0.5,0.9]"))


def of_option(group: str, name: str) -> list[Dimension]:
    """The dimensions of a file of conf/search."""
    option = load_option(group, name)
    section = option if group == "optimizer" else {name: option}
    return space(Composed({"optimizer": {}, "regularizer": {}, group: section}, {group: name}, ()), {}, ())


@pytest.mark.parametrize(("group", "name"), SEARCHED, ids=[f"{group}={name}" for group, name in SEARCHED])
def test_each_optimizer_and_regularizer_has_what_to_search_over(group: str, name: str) -> None:
    dimensions, option = of_option(group, name), dict(load_option(group, name))
    component = resolve(option.pop("_target_"), group)
    assert {part.key.rpartition(".")[2] for part in dimensions} == set(registry.content(f"search/{group}", name))
    assert set(registry.content(f"search/{group}", name)) <= set(option)
    for part in dimensions:
        for value in part.points(3):
            setting = part.key.rpartition(".")[2]
            given = {**option, setting: json.loads(value) if isinstance(value, str) else value}
            assert problems(component, given, group) == []
    lines = (registry.root() / "search" / group / f"{name}.yaml").read_text().splitlines()
    assert lines[0] == f"# What to try for {group}={name}."
    assert all(
        any(line.startswith("# ") and key in line.split(":")[0] for line in lines)
        for key in registry.content(f"search/{group}", name)
    )


def test_words_are_parted_into_configurations_and_what_is_searched() -> None:
    words = ["optimizer=sgd,adam", "optimizer.lr=interval(1,2)", "seed=range(0,3)", "model.hidden=choice([1],[2,2])", "loss=mse"]
    rest, searched = split(words)
    assert rest == ["optimizer=sgd,adam", "seed=range(0,3)", "loss=mse"]
    assert searched == {"optimizer.lr": "interval(1,2)", "model.hidden": "choice([1],[2,2])"}
    with pytest.raises(InputError, match=r"options of optimizer .*type optimizer=sgd,adam to tune each"):
        split(["optimizer=choice(sgd,adam)"])


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("interval(1e-3,1)", Dimension("optimizer.lr", 1e-3, 1, log=True)),  # on the scale of conf/search
        ("tag(linear,interval(1e-3,1))", Dimension("optimizer.lr", 1e-3, 1)),
        ("choice(0.1,0.2)", Dimension("optimizer.lr", options=("0.1", "0.2"))),
        ("range(0.1,0.4,0.1)", Dimension("optimizer.lr", options=("0.1", "0.2", "0.3"))),
    ],
)
def test_what_is_typed_replaces_what_the_file_has(text: str, found: Dimension) -> None:
    job = Composed({"optimizer": dict(load_option("optimizer", "adam")), "trainer": {"epochs": 3}}, {"optimizer": "adam"}, ())
    assert space(job, {"optimizer.lr": text}, ["optimizer.betas"]) == [found]
    assert space(job, {"trainer.epochs": "interval(2,9)"}, ["optimizer.lr", "optimizer.betas"]) == [
        Dimension("trainer.epochs", 2, 9, whole=True)
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("interval(1,1)", "takes a lower and a higher number"),
        ("tag(log,interval(0,1))", "begins above 0"),
        ("tag(lgo,interval(1,2))", "tag lgo says nothing here"),
        ("choice(3)", r"two values or more .* type optimizer.lr=3"),
    ],
)
def test_what_cannot_be_searched_over_is_told(text: str, said: str) -> None:
    job = Composed({"optimizer": dict(load_option("optimizer", "adam"))}, {"optimizer": "adam"}, ())
    with pytest.raises(InputError, match=said):
        space(job, {"optimizer.lr": text}, ())


@settings(max_examples=30, deadline=None)
@given(st.floats(1e-8, 1e3), st.floats(1.001, 1e6), st.booleans(), st.floats(0, 1))
def test_rounded_values_are_short_and_between_the_bounds(low: float, ratio: float, log: bool, share: float) -> None:
    low, high = float(f"{low:.6g}"), float(f"{low * ratio:.7g}")
    part = Dimension("optimizer.lr", low, high, log=log)
    value = part.rounded(low + share * (high - low))
    assert part.low <= float(value) <= part.high
    assert float(f"{value:.4g}") == value or value in (part.low, part.high)
    found = space(Composed({"optimizer": {"lr": 1.0}}, {}, ()), {"optimizer.lr": part.text().partition("=")[2]}, ())
    assert found == [part]  # as one types it


def tried(sampler: str, budget: int, batch: int = 8, seed: int = 0) -> list[Trial]:
    """A search for lr=0.003 and a patience of 10."""
    trials: list[Trial] = []
    parts = [LR, BETAS, PATIENCE]
    while values := propose(parts, trials, budget, batch=batch, sampler=sampler, seed=seed, maximize=False):
        trials += [
            Trial(each, abs(each[0] - 0.003) / 0.003 + abs(each[2] - 10) / 10 + (each[1] == "[0.5,0.9]")) for each in values
        ]  # type: ignore[operator]
    return trials


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_smaller_budget_is_the_beginning_of_a_larger_one(sampler: str) -> None:
    longer = tried(sampler, 20)
    assert tried(sampler, 11) == longer[:11]
    assert len({trial.values for trial in longer}) == 20
    assert tried(sampler, 8, seed=1) != longer[:8]


def test_where_trials_learn_from_those_before_fewer_are_proposed_at_once() -> None:
    assert Search().at_once == 8
    assert Search(sampler="random").at_once == Search(sampler="grid").at_once == Search(pruner="halving").at_once == 16
    assert Search(batch=3).at_once == Search(batch=3, pruner="hyperband").at_once == 3
    with pytest.raises(InputError, match="batch=0: must be at least 1"):
        Search(batch=0)


def test_tpe_looks_at_what_came_before() -> None:
    later = {
        name: [trial.quality or 0 for seed in range(3) for trial in tried(name, 40, seed=seed)[16:]] for name in ("tpe", "random")
    }
    assert sum(later["tpe"]) < 0.7 * sum(later["random"])


def test_a_grid_has_both_ends_and_no_more_than_the_budget() -> None:
    values = [trial.values for trial in tried("grid", 32)]
    assert len(values) == len(set(values)) == 32  # 4 x 2 x 4
    assert sorted({value[0] for value in values}) == [1e-4, 1e-3, 1e-2, 1e-1]
    assert sorted({value[2] for value in values}) == [3, 8, 20, 50]


def test_what_has_no_value_is_worse_than_all_that_have_one() -> None:
    states = samplers.optuna().trial.TrialState
    trials = [Trial((0.01,), 0.5), Trial((0.1,), None, "diverged"), Trial((0.02,), None, "failed", "why")]
    assert [trial.state for trial in samplers.frozen([LR], trials)] == [states.COMPLETE, states.PRUNED, states.FAIL]


def test_a_pruned_trial_counts_by_its_last_rung() -> None:
    mine, theirs = samplers.frozen(
        [LR], [Trial((0.01,), None, "pruned", rungs={3: 0.7, 9: 0.8}), Trial((0.1,), 0.9, rungs={3: 0.6})]
    )
    assert (mine.state.name, mine.last_step, mine.intermediate_values) == ("PRUNED", 9, {3: 0.7, 9: 0.8})
    assert (theirs.state.name, theirs.value) == ("COMPLETE", 0.9)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"epochs": 100, "batch": 16}, (11, 33, 100)),
        ({"epochs": 81, "batch": 27}, (3, 9, 27, 81)),
        ({"epochs": 100, "batch": 16, "least": 1}, (1, 3, 9, 27, 100)),
        ({"epochs": 100, "batch": 16, "every": 10}, (20, 100)),
        ({"epochs": 100, "batch": 2}, (100,)),
        ({"epochs": 2, "batch": 27}, (2,)),
    ],
)
def test_rungs_are_multiples_that_leave_room_for_one_more(given: dict[str, int], found: tuple[int, ...]) -> None:
    assert pruning.rungs(eta=3, **given) == found


def test_epochs_of_a_batch_by_hand() -> None:
    rungs = (3, 9, 27, 81)
    halving = pruning.paths("halving", 27, rungs, eta=3)
    assert pruning.cost(halving, eta=3) == 27 * 3 + 9 * 9 + 3 * 27 + 1 * 81
    hyperband = pruning.paths("hyperband", 27, rungs, eta=3)
    assert [hyperband.count(rungs[start:]) for start in range(4)] == [15, 6, 4, 2]
    first, second = 15 * 3 + 5 * 9 + 81, 6 * 9 + 2 * 27 + 81  # where one goes on, it trains to its end
    assert pruning.cost(hyperband, eta=3) == first + second + (4 * 27 + 81) + 2 * 81
    assert pruning.cost(pruning.paths("none", 27, rungs, eta=3), eta=3) == 27 * 81


def test_the_better_third_goes_on() -> None:
    qualities = [0.1, None, 0.7, 0.7, 0.3, 0.9]
    assert pruning.kept(qualities, eta=3, maximize=True) == [2, 5]
    assert pruning.kept(qualities, eta=3, maximize=False) == [0, 4]
    assert pruning.kept([None, None], eta=3, maximize=True) == []
    assert pruning.kept([None, 0.5], eta=3, maximize=True) == [1]


# The command


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A storage without studies: making one takes a second."""
    from dlrun.experiments.search.studies import Studies

    path = tmp_path_factory.mktemp("storage") / "optuna.sqlite"
    Studies(f"sqlite:///{path}")
    return path


Tune = Callable[..., "tuple[int, dict[str, Any]]"]


@pytest.fixture
def tune(tmp_path: Path, empty: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tune:
    """``tune("optimizer=sgd")`` in an empty working folder: the exit code and what --json prints."""
    monkeypatch.setattr(registry, "_added", [])
    monkeypatch.delenv("DLRUN_OUTPUT_DIR", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    shutil.copy(empty, tmp_path / "outputs" / "optuna.sqlite")

    def command(*words: str) -> tuple[int, dict[str, Any]]:
        code = main(["tune", *SMALL, *words, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return command


def test_the_same_budget_for_each_and_a_report_of_new_seeds(
    tune: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import optuna

    code, found = tune("optimizer=sgd,adam", "budget=5", "seed=0,1")
    assert code == 0
    sgd, adam = found["configurations"]
    assert [len(each["trials"]) for each in (sgd, adam)] == [5, 5]
    assert sgd["space"] == ["optimizer.lr=tag(log,interval(0.001,1.0))", "optimizer.momentum=interval(0.0,0.99)"]
    store = Store(tmp_path / "outputs")
    sweep = Sweep.open(sweep_folders(store)[-1])
    records = {record.id: record for record in sweep.refresh(store)}
    for each in (sgd, adam):  # as Optuna reads it, and as the runs were measured
        study = optuna.load_study(study_name=each["study"], storage=found["storage"])
        assert [[*trial.params.values()] for trial in study.trials] == [trial["values"] for trial in each["trials"]]
        for trial in study.trials:
            mine = [records[run] for run in trial.user_attrs["runs"]]
            assert [record.seed for record in mine] == [0, 1]
            assert trial.value == pytest.approx(sum(record.metrics["validation/accuracy"] for record in mine) / 2)
        assert study.best_value == max(trial["quality"] for trial in each["trials"])
        assert each["trials"][each["best"]["trial"]]["quality"] == study.best_value
    reported = [cell for cell in sweep.cells if TUNED in cell.factors]
    assert {(cell.factors["optimizer"], cell.factors[TUNED], cell.seed) for cell in reported if "optimizer" in cell.factors} >= {
        ("sgd", True, 2),
        ("sgd", False, 3),
    }
    assert len(reported) == 8  # two optimizers, tuned and not, two seeds
    tuned = [cell for cell in reported if cell.factors[TUNED] and cell.factors.get("optimizer") == "sgd"]
    assert all(set(sgd["best"]["settings"]) <= set(cell.overrides) for cell in tuned)
    assert main(["compare"]) == 0
    assert "tuned" in capsys.readouterr().out

    before = stamps(tmp_path / "outputs")
    assert tune("optimizer=sgd,adam", "budget=5", "seed=0,1")[1]["configurations"] == found["configurations"]
    assert stamps(tmp_path / "outputs") == before  # none was trained again
    wider = tune("optimizer=sgd,adam", "budget=7", "seed=0,1")[1]["configurations"]
    assert [each["trials"][:5] for each in wider] == [each["trials"] for each in found["configurations"]]
    assert len(optuna.load_study(study_name=sgd["study"], storage=found["storage"]).trials) == 7

    capsys.readouterr()
    (tmp_path / "own").mkdir()
    assert main(["tune", "-cd", "own", *SMALL, "optimizer=sgd,adam", "budget=5", "seed=0,1"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "dlrun settle" in line]
    words = shlex.split(line.partition("dlrun settle ")[2])
    assert words[:2] == ["--config-dir", str(tmp_path / "own")]
    assert main(["settle", *words, "--max-seeds", "30"]) in (0, 4)  # each optimizer without the settings of the other
    assert "60 runs" in capsys.readouterr().out


def test_a_killed_search_goes_on_with_the_same_trials(tune: Tune, tmp_path: Path, nursery: Callable[[], Nursery]) -> None:
    words = ("optimizer=sgd", "budget=9", "sampler=random")
    child = nursery().command(["tune", *SMALL, *words], tmp_path, os.environ)
    while "trials" not in child.stderr.readline():  # the first batch is kept
        assert child.poll() is None
    child.kill()
    child.communicate()
    begun = stamps(tmp_path / "outputs")
    code, found = tune(*words)
    assert code == 0
    assert begun.items() <= stamps(tmp_path / "outputs").items()
    import optuna

    (each,) = found["configurations"]
    study = optuna.load_study(study_name=each["study"], storage=found["storage"])
    assert [trial.number for trial in study.trials] == [*range(9)]
    assert [trial.value for trial in study.trials] == [trial["quality"] for trial in each["trials"]]
    parts, trials = of_option("optimizer", "sgd"), list[Trial]()
    while values := propose(parts, trials, 9, batch=3, sampler="random", seed=0, maximize=True):
        trials += [Trial(proposed, 0.0) for proposed in values]
    assert [[*trial.values] for trial in trials] == [trial["values"] for trial in each["trials"]]


def test_trials_that_diverge_are_counted_and_end_nothing(tune: Tune) -> None:
    code, found = tune("dataset=diabetes", "optimizer=sgd", "optimizer.momentum=0", "optimizer.lr=choice(0.001,1e9)", "budget=6")
    assert code == 0
    trials = found["configurations"][0]["trials"]
    statuses = {trial["status"] for trial in trials}
    assert statuses == {"done", "diverged"}
    assert all((trial["quality"] is None) == (trial["status"] == "diverged") for trial in trials)
    code, found = tune("dataset=diabetes", "optimizer=sgd", "optimizer.lr=interval(1e8,1e9)", "budget=2")
    assert code == 1
    assert found["configurations"][0]["best"] is None


LONG = ("trainer.max_steps=null", "trainer.epochs=9", "optimizer=sgd", "optimizer.momentum=0")


def test_the_better_trials_of_a_rung_go_on_whatever_their_cohorts(
    tune: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import optuna

    sizes = "trainer.batch_size=choice(16,32)"  # of which each trains in a cohort of its own
    words = (*LONG, sizes, "batch=9", "pruner=halving", "sampler=random", "metric=log_loss", "seed=0,1")
    code, found = tune(*words, "budget=4")
    assert code == 0
    (each,) = found["configurations"]
    trials = each["trials"]
    assert [trial["status"] for trial in trials].count("done") == 1
    assert {trial["values"][-1] for trial in trials} == {"16", "32"}
    assert sorted(trial["epochs"] for trial in trials) == [2] * 6 + [2 * 4] * 2 + [2 * 13]  # two seeds; 1, then 3, then 9 epochs
    for rung, left in (("1", 3), ("3", 1)):
        there = sorted((trial for trial in trials if rung in trial["rungs"]), key=lambda trial: trial["rungs"][rung])
        ends = [trial["status"] == "pruned" and [*trial["rungs"]][-1] == rung for trial in there]
        assert ends == [False] * left + [True] * (len(there) - left)
    study = optuna.load_study(study_name=each["study"], storage=found["storage"])
    assert [trial.intermediate_values for trial in study.trials] == [
        {int(epoch): value for epoch, value in trial["rungs"].items()} for trial in trials
    ]
    assert [trial.state.name == "PRUNED" for trial in study.trials] == [trial["status"] == "pruned" for trial in trials]

    best = each["trials"][each["best"]["trial"]]
    store = Store(tmp_path / "outputs")
    (run, _) = study.trials[each["best"]["trial"]].user_attrs["runs"]
    values = [f"{part.partition('=')[0]}={value}" for part, value in zip(each["space"], best["values"], strict=True)]
    assert main([*SMALL[:3], *LONG, "baseline=none", "metric=log_loss", *values, "seed=0", "output_dir=alone"]) == 0
    capsys.readouterr()
    (alone,) = Store(tmp_path / "alone").records()
    assert alone.id == run
    for kept in (Store.history, Store.weights):  # the same bits as alone
        mine, theirs = kept(store, run), kept(Store(tmp_path / "alone"), run)
        assert mine.keys() == theirs.keys()
        assert all((mine[name] == theirs[name]).all() for name in mine)

    before = stamps(tmp_path / "outputs")
    assert tune(*words, "budget=4")[1]["configurations"] == found["configurations"]
    assert stamps(tmp_path / "outputs") == before  # none was trained again
    wider = tune(*words, "budget=8")[1]["configurations"][0]["trials"]
    assert wider[:9] == trials
    assert len(wider) == 18


def test_a_killed_search_with_rungs_goes_on_with_the_same_trials(
    tune: Tune, tmp_path: Path, nursery: Callable[[], Nursery]
) -> None:
    words = (*LONG, "batch=9", "pruner=hyperband", "budget=6")
    child = nursery().command(["tune", *SMALL, *words], tmp_path, os.environ)
    while "9/9 runs" not in child.stderr.readline():  # the lowest rungs
        assert child.poll() is None
    child.kill()
    child.communicate()
    begun = stamps(tmp_path / "outputs")
    assert begun
    found = tune(*words)[1]["configurations"]
    assert begun.items() <= stamps(tmp_path / "outputs").items()
    shutil.rmtree(tmp_path / "outputs")
    assert tune(*words)[1]["configurations"] == found


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pruner=halvin"], "pruner=halvin: takes none, halving, hyperband; did you mean 'halving'?"),
        (["pruner=halving"], "trainer.max_steps=20 limits them; type null"),
        ([*LONG, "pruner=halving", "trainer.epochs=interval(2,9)"], "trainer.epochs is searched over"),
        ([*LONG, "pruner=halving", "batch=9", "budget=2"], "trains 27 epochs, more than 2 times trainer.epochs=9; type budget=3"),
        ([*LONG, "pruner=halving", "eta=1"], "eta=1: must be at least 2"),
        ([*LONG, "trainer.until=9"], "trainer.until=9: must be less than trainer.epochs=9"),
        ([*LONG, "trainer.until=3", "trainer.evaluate_every=2"], "type a multiple of trainer.evaluate_every=2"),
        (["sampler=tpee"], "sampler=tpee: takes tpe, random, grid; did you mean 'tpe'?"),
        (["budget=ten"], "budget=ten: must be a whole number"),
        (["budgets=2"], "budgets=2: no such key; did you mean 'budget'?"),
        (["budget=0"], "budget=0: must be at least 1"),
        (["optimizer.lrr=interval(1,2)"], "optimizer.lrr"),
        (["optimizer.lr=0.1", "optimizer.betas=[0.9,0.99]"], "nothing to search over"),
        (["dataset.validation=0"], "chooses on validation rows"),
        (["tune_over=[optimizer.lr]"], "tune_over"),
    ],
)
def test_bad_input_is_told(words: list[str], said: str, tune: Tune, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tune", *SMALL, *words]) == 2
    assert said in capsys.readouterr().err


def test_without_optuna_it_says_what_to_install(
    tune: Tune, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert main(["tune", *SMALL]) == 2
    assert "pip install 'dlrun[tune]'" in capsys.readouterr().err
