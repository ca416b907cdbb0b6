"""Runs that differ in their seed alone: checked once, and each what it would be alone."""

import pickle
from dataclasses import fields, replace
from typing import Any

import pytest

from dlrun.config.composing.composed import Composed
from dlrun.config.composing.from_python import several
from dlrun.config.repeats import twin
from dlrun.config.spec import RunSpec, from_config
from dlrun.experiments.planning import specs
from dlrun.experiments.planning.folds import every_fold
from dlrun.experiments.sweep import lay_out
from dlrun.experiments.train import identity
from dlrun.results.seeded import Seeded, base_of


def jobs_of(*words: str) -> list[Composed]:
    return every_fold(several(words)[0])


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The configs that were checked."""
    found: list[Any] = []

    def counted(config: Any, *rest: Any) -> RunSpec:
        found.append(config)
        return from_config(config, *rest)

    monkeypatch.setattr(specs, "from_config", counted)
    return found


def test_a_configuration_is_checked_once(checked: list[Any]) -> None:
    jobs = jobs_of("dataset=moons,circles", "optimizer.lr=0.1,0.2", "seed=range(0,20)", "baseline=[]", "model.hidden=[5]")
    grid = lay_out(jobs)
    assert len(grid.specs) == 80
    assert len(checked) == 4


@pytest.mark.parametrize("words", [(), ("dataset.folds=3",), ("optimizer.lr=0.1,0.2", "regularizer=[l1]")])
def test_a_repeat_is_what_it_would_be_alone(words: tuple[str, ...]) -> None:
    jobs = jobs_of("dataset=diabetes", "seed=3,4,7", *words)
    for job, spec in zip(jobs, specs.specs_of(jobs), strict=True):
        alone = from_config(job.config, job.choices, job.overrides, job.mentioned)
        assert isinstance(spec, RunSpec)
        for field in fields(RunSpec):
            assert getattr(spec, field.name) == getattr(alone, field.name) or field.name == "memo"
        assert list(spec.config) == list(alone.config)
        assert identity(spec, "data") == identity(alone, "data")


def test_a_seed_that_others_refer_to_makes_another_configuration(checked: list[Any]) -> None:
    jobs = jobs_of("seed=3,4", "optimizer.lr=${seed}")
    assert [spec.row.optimizer.values["lr"] for spec in specs.specs_of(jobs) if isinstance(spec, RunSpec)] == [3, 4]
    assert len(checked) == 2


def test_what_is_known_stays_with_the_configuration() -> None:
    one, other = specs.specs_of(jobs_of("seed=3,4"))
    assert isinstance(one, RunSpec)
    assert isinstance(other, RunSpec)
    assert one.memo is other.memo
    assert identity(one, "a") != identity(one, "b") != identity(other, "b")
    assert one.memo
    there, also = pickle.loads(pickle.dumps([one, other]))
    assert there.memo is also.memo
    assert not there.memo
    assert identity(there, "a") == identity(one, "a")


@pytest.mark.parametrize("words", [(), ("dataset.folds=3",), ("optimizer=sgd,adam",)])
def test_what_repeats_share_is_one_object(words: tuple[str, ...]) -> None:
    jobs = jobs_of("dataset=diabetes", "seed=range(0,9)", *words)
    bases = {id(base_of(job.config)) for job in jobs}
    assert (
        len(bases) == len(jobs) // 9 == len({id(base_of(run.config)) for run in specs.specs_of(jobs) if isinstance(run, RunSpec)})
    )
    assert {job.config["seed"] for job in jobs} == {*range(9)}


def test_a_seeded_config_is_the_config_that_it_stands_for() -> None:
    config = {"dataset": {"rows": 3}, "seed": 1, "name": None}
    seeded = Seeded.of(Seeded(config, 4), 7)
    assert seeded == config | {"seed": 7}
    assert [*seeded] == [*config]
    assert pickle.loads(pickle.dumps(seeded)) == seeded
    assert seeded.base is config
    assert config["seed"] == 1


def test_a_twin_is_the_same_but_for_what_changes() -> None:
    (job,) = jobs_of("dataset=moons")
    spec = from_config(job.config, job.choices)
    row = twin(spec.row, seed=5, split=2)
    assert row == replace(spec.row, seed=5, split=2)
    assert (spec.row.seed, spec.row.split) != (5, 2)
    other = twin(spec, seed=5)
    assert (other, other.seed) == (replace(spec, seed=5), 5)
    assert other.memo is spec.memo
