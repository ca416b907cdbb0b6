"""A sweep's configs are those that Hydra composes, one by one."""

import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from dlrun.config.composing.compose import Composed, Composer
from dlrun.config.composing.grid import expand
from dlrun.config.composing.loader import Loader
from dlrun.config.composing.session import apart, search_path
from dlrun.errors import InputError

T = TypeVar("T")

SWEPT = [
    "activation=relu,tanh,gelu",
    "activation=sloped,sloped2,relu",
    "activation=glob(*,exclude=s*)",
    "optimizer=sgd,adam",
    "optimizer=mine,nested,sgd",
    "optimizer=glob(a*)",
    "model=rated,rated2",
    "model=mlp,deep",
    "loss=mse,mae",
    "dataset=moons,iris,diabetes",
    "scheduler=far,constant",
    "trainer=packaged,smoke",
    "trainer=smoke,notes,default",
    "experiment=xor,notes_diabetes",
    "experiment=big,fast,slow",
    "regularizer=[],[l1],[l1,dropout],[dropout,l1]",
    "seed=range(0,4)",
    "seed=choice(1,2)",
    "optimizer.lr=0.1,1e-3,3e-05",
    "model.hidden=[3],[4,5],[]",
    "trainer.epochs=1,2",
    "trainer.batch_size=choice(4,8)",
    "dataset.validation=0.1,0.2",
    "name=a,'b c','x,y',null",
    "name='m_${seed}',n",
    "metric=r2,null",
    "++optimizer.weight_decay=0.1,0.2",
    "+extra=1,2,hello",
    "+tags=[a,b],{x:1}",
]
FIXED = [
    "model=rated",
    "activation=sloped2",
    "optimizer=mine",
    "trainer=smoke",
    "dataset=iris",
    "regularizer=[l2]",
    "experiment=xor",
    "experiment=big",
    "~scheduler",
    "~metric",
    "+extra.y=3",
    "++optimizer.lr=0.5",
    "++model.rate=0.9",
    "optimizer.lr=0.25",
    "optimizer.lr=${model.dropout}",
    "name='a b'",
    "name=${seed}",
    "allow_mismatch=true",
    "model.init=xavier_normal",
    "trainer.epochs=7",
    "seed=5",
]
AWKWARD = [
    "optimizer=sgd,mine model=rated,rated2 seed=range(0,4)",  # an option refers to another that is swept too
    "optimizer=sgd,mine model=rated,rated2 model.rate=1,2",
    "experiment=fast,slow optimizer=sgd,adam",  # an experiment changes what an option says
    "experiment=fast optimizer=sgd,nested",
    "experiment=referring,xor model=rated,rated2 seed=1,2",
    "experiment=asking optimizer=sgd,adam seed=1,2",
    "optimizer.lr=0.1,0.5 ++optimizer.lr=2",  # one key twice
    "++optimizer.lr=2 optimizer.lr=0.1,0.5",
    "optimizer.lr=0.1,0.5 ~optimizer.lr",
    "activation=empty,relu seed=1,2",
    "+head=a,b model=rated,mlp",
    "+head=a model=rated,mlp +model.head.z=1,2",
    "regularizer=[l1,twice],[twice]",
    "regularizer=[l1,everywhere],[l1],[]",
    "regularizer=[l1,dropout],[dropout,l1] regularizer.dropout.p=0.1,0.2",
    "dataset=referring,iris optimizer=sgd,adam optimizer.lr=0.1,0.3",
    "optimizer={lr:1},{lr:2}",
    "optimizer.lr={a:1},3",
    "~scheduler optimizer=sgd,adam activation=relu,tanh",
    "name='${optimizer.lr}_x','${seed}' optimizer.lr=1,2",
    "name='null','1','true' metric=null",
    "trainer=packaged,smoke optimizer=sgd,adam trainer.epochs=1,2",
    "++new.deep.key=1,2 seed=1,2",
    "seed=choice(1,2) seed=range(3,5)",
    "optimizer.lr=1e-3,.5,5.,1_000,inf",
    "loss=null,mse",  # Hydra refuses it
    "inner.lr=1,2 model=mlp,deep",
]


@pytest.fixture(scope="module")
def loader(own_options: Path) -> Iterator[Loader]:
    """The config loader that ``dlrun --config-dir`` sets up."""
    with apart():
        yield Loader(search_path(added=own_options))


def by_hydra(loader: Loader, master: Any, job: Sequence[str], number: int) -> Composed:
    """What Hydra's own launcher and loader would give to the job."""
    composed = ConfigLoaderImpl(loader.config_search_path).load_sweep_config(master, list(job))
    with open_dict(composed):
        composed.hydra.job.num = number
    HydraConfig.instance().set_config(composed)
    choices = {group: str(name) for group, name in composed.hydra.runtime.choices.items() if not group.startswith("hydra/")}
    with open_dict(composed):
        del composed["hydra"]
    config = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(config, dict)
    return Composed({str(key): value for key, value in config.items()}, choices, tuple(job))


def attempt(compose: Callable[[], T]) -> T | Exception:
    """What comes of composing, or why nothing does."""
    try:
        return compose()
    except (HydraException, OmegaConfBaseException, InputError, ValueError) as error:
        return error


def check(loader: Loader, words: Sequence[str], rng: random.Random, most: int, primary: str = "config") -> None:
    """Compose the sweep that ``words`` span, and ``most`` of its jobs by Hydra too."""
    try:
        master = loader.load_configuration(primary, list(words), RunMode.MULTIRUN)
    except (HydraException, InputError):  # words that do not go together: the sweep does not start
        return
    jobs = expand(words, loader)
    numbers = rng.sample(range(len(jobs)), min(most, len(jobs)))
    references = [attempt(lambda number=number: by_hydra(loader, master, jobs[number], number)) for number in numbers]
    composed = attempt(lambda: Composer(loader, master).compose(jobs))
    if isinstance(composed, Exception):
        assert isinstance(composed, InputError)
        each = (attempt(lambda number=number: by_hydra(loader, master, jobs[number], number)) for number in range(len(jobs)))
        assert any(isinstance(reference, Exception) for reference in (*references, *each))
        return
    assert len(composed) == len(jobs)
    for number, reference in zip(numbers, references, strict=True):
        if isinstance(reference, Exception):  # it costs its own job alone
            assert isinstance(composed[number].error, InputError)
            continue
        assert composed[number].config == reference.config
        assert composed[number].choices == reference.choices
        assert composed[number].overrides == tuple(jobs[number])
        order = list(reference.config.get("regularizer") or {})  # the order of regularizers means something
        assert list(composed[number].config.get("regularizer") or {}) == order


@pytest.mark.parametrize("number", [pytest.param(number, marks=[pytest.mark.slow] * (number > 5)) for number in range(40)])
def test_random_overrides(loader: Loader, number: int) -> None:
    rng = random.Random(number)
    by_key: dict[str, str] = {}
    for word in rng.sample(SWEPT, rng.randint(1, 3)) + rng.sample(FIXED, rng.randint(0, 3)):
        by_key.setdefault(word.split("=")[0].lstrip("+~"), word)
    words = list(by_key.values())
    rng.shuffle(words)
    check(loader, words, rng, 2)


@pytest.mark.parametrize("line", AWKWARD)
def test_awkward_overrides(loader: Loader, line: str) -> None:
    check(loader, line.split(), random.Random(0), 1)


@pytest.mark.parametrize("primary", ["own", "dependent"])
def test_a_users_own_primary_config(loader: Loader, primary: str) -> None:
    words = ["optimizer=sgd,adam", "activation=relu,tanh", "optimizer.lr=1,2"]
    check(loader, words, random.Random(0), 2, primary)


def test_what_is_shared_is_not_changed(loader: Loader) -> None:
    words = ["optimizer=sgd,adam", "optimizer.lr=0.1,0.2", "model.hidden=[1],[2]", "seed=1,2"]
    jobs = expand(words, loader)
    composed = Composer(loader, loader.load_configuration("config", words, RunMode.MULTIRUN)).compose(jobs)
    for job in composed:
        said = dict(word.split("=") for word in job.overrides)
        assert str(job.config["optimizer"]["lr"]) == said["optimizer.lr"]
        assert str(job.config["model"]["hidden"]) == said["model.hidden"]
        assert str(job.config["seed"]) == said["seed"]


def test_options_are_read_and_values_set_without_hydra(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["activation=glob(*,exclude=s*)", "optimizer=sgd,adam,adamw", "optimizer.lr=0.1,0.2", "seed=range(0,20)"]
    words += ["regularizer=[],[l2]", "regularizer.l2.weight=0.1,0.2"]
    master = loader.load_configuration("config", words, RunMode.MULTIRUN)
    calls = []
    compose = loader.load_sweep_config
    monkeypatch.setattr(loader, "load_sweep_config", lambda *given: calls.append(1) or compose(*given))
    assert len(Composer(loader, master).compose(expand(words, loader))) > 600
    assert len(calls) == 2  # one to start from, and one to be sure


LEFT_OUT = [
    "optimizer=sgd,adam,rmsprop optimizer.momentum=0.1,0.5",
    "regularizer=[],[l2],[dropout,l2] regularizer.l2.weight=0.1,0.01 seed=0,1",
    "loss=mse,huber,pinball loss.delta=2 optimizer=sgd,adam optimizer.momentum=0.9",
    "experiment=fast,big optimizer.momentum=0.3,0.4",
    "experiment=asking optimizer=sgd,adam optimizer.momentum=0.3,0.4 seed=1,2",
]


@pytest.mark.parametrize("line", LEFT_OUT)
def test_settings_apply_to_the_jobs_that_have_them(loader: Loader, line: str) -> None:
    words = line.split()
    fixed = ("momentum=0.9", "delta=2")
    master = loader.load_configuration("config", [w for w in words if not w.endswith(fixed)], RunMode.MULTIRUN)
    jobs = expand(words, loader)
    composed = Composer(loader, master).compose(jobs)
    taken = sum(not job.left_out for job in composed)
    some = {bool(job.left_out): number for number, job in enumerate(composed)}.values()  # a job of either sort, and two more
    checked = {*some, *random.Random(0).sample(range(len(jobs)), 2)}
    for number, (job, words) in enumerate(zip(composed, jobs, strict=True)):
        assert sorted([*job.overrides, *job.left_out]) == sorted(words)
        if number not in checked:
            continue
        reference = by_hydra(loader, master, job.overrides, number)
        if "asking" not in line or not job.left_out:  # its name is its number, and equal jobs are composed once
            assert job.config == reference.config
        assert job.choices == reference.choices
        for word in job.left_out:
            with pytest.raises(InputError, match=word.partition("=")[0]):
                loader.load_sweep_config(master, [*job.overrides, word])
    assert 0 < taken < len(jobs)


def test_a_setting_that_no_job_has_is_refused(loader: Loader) -> None:
    words = ["optimizer=adam,adamw", "optimizer.momentum=0.1,0.5"]
    master = loader.load_configuration("config", words, RunMode.MULTIRUN)
    with pytest.raises(InputError, match="momentum"):
        Composer(loader, master).compose(expand(words, loader))
