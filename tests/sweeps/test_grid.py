"""From a sweep's words to its jobs."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from dlrun import registry
from dlrun.config.composing.grammar import LIMIT
from dlrun.config.composing.grid import expand
from dlrun.errors import InputError

Work = Callable[[Callable[[], object]], int]

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def loader() -> Any:
    with initialize_config_dir(str(registry.root()), version_base="1.3"):
        return GlobalHydra.instance().config_loader()


@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        ("", [[]]),
        ("seed=3", [["seed=3"]]),
        (
            "seed=0,1 name=a,b",
            [["seed=0", "name=a"], ["seed=0", "name=b"], ["seed=1", "name=a"], ["seed=1", "name=b"]],
        ),
        ("seed=0,0,1", [["seed=0"], ["seed=1"]]),
        ("seed=range(0,3)", [["seed=0"], ["seed=1"], ["seed=2"]]),
        ("seed=0,1 optimizer=sgd seed=5", [["seed=5", "optimizer=sgd"]]),
        ("activation=relu activation=tanh,gelu", [["activation=tanh"], ["activation=gelu"]]),
        ("optimizer=glob(*a*,exclude=[*grad,r*,n*,*x,*delta,ada*])", [["optimizer=asgd"]]),
        ("regularizer=[],[l1,dropout]", [["regularizer=[]"], ["regularizer=[l1,dropout]"]]),
        ("name='a,b','c d'", [["name='a,b'"], ["name='c d'"]]),
        ("model.hidden=[1],[2,3]", [["model.hidden=[1]"], ["model.hidden=[2,3]"]]),
        ("+x.y=choice(1,2)", [["+x.y=1"], ["+x.y=2"]]),
    ],
)
def test_jobs(loader: Any, words: str, jobs: list[list[str]]) -> None:
    assert expand(words.split() if "'" not in words else [words], loader) == jobs


@pytest.mark.parametrize(
    ("zipped", "jobs"),
    [
        (
            ["name", "seed"],
            ["name=a seed=0 loss=mse", "name=a seed=0 loss=mae", "name=a seed=1 loss=mse", "name=a seed=1 loss=mae"],
        ),
        (
            [["name", "loss"]],
            ["name=a seed=0 loss=mse", "name=a seed=1 loss=mse", "name=a seed=0 loss=mae", "name=a seed=1 loss=mae"],
        ),
        (["name", "seed", "loss"], ["name=a seed=0 loss=mse", "name=a seed=1 loss=mae"]),
    ],
)
def test_zipped_settings_go_together(loader: Any, zipped: Any, jobs: list[str]) -> None:
    found = expand(["name=a,a", "seed=0,1", "loss=mse,mae"], loader, zipped=zipped)
    assert [" ".join(job) for job in found] == jobs


@pytest.mark.parametrize(
    ("zipped", "said"),
    [
        (["seed", "name"], "zip=[seed,name]: seed has 3, name has 2 values; give each as many"),
        (["seed", "nam"], "zip=[seed,nam]: the sweep does not vary nam; it varies seed, name; did you mean 'name'?"),
        (["seed", "loss"], "zip=[seed,loss]: the sweep does not vary loss"),
        (["seed"], "zip=[seed]: seed stands alone"),
        ([["seed", "name"], ["name", "loss"]], "zip=[[seed,name],[name,loss]]: name is named twice"),
    ],
)
def test_what_cannot_be_zipped_is_told(loader: Any, zipped: Any, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        expand(["seed=0,1,2", "name=a,b", "loss=mse"], loader, zipped=zipped)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer=glob(zz*)"], "optimizer=glob(zz*): matches nothing; optimizer takes adadelta, "),
        (["seed=range(3,3)"], "seed=range(3,3): holds no value"),
        (["optimizer.lr=interval(0,1)"], "optimizer.lr=interval(0,1): has no end; list the values"),
        (
            ["seed=range(0,1000)", "optimizer.lr=range(1,102)", "name=x"],
            "the sweep has 1000 x 101 = 101,000 runs, and at most 100,000 are allowed; sweep over fewer values",
        ),
        ([f"seed=range(0,{LIMIT + 1})"], "the sweep has more than 100,000 runs, and at most 100,000 are allowed"),
    ],
)
def test_refused(loader: Any, words: list[str], said: str) -> None:
    with pytest.raises(InputError) as raised:
        expand(words, loader)
    assert str(raised.value).startswith(said)


def test_all_problems_at_once(loader: Any) -> None:
    with pytest.raises(InputError) as raised:
        expand(["optimizer=glob(zz*)", "seed=range(3,3)", "name=interval(0,1)"], loader)
    assert len(raised.value.problems) == 3


def test_the_limit_itself_is_allowed(loader: Any) -> None:
    assert len(expand([f"seed=range(0,{LIMIT})"], loader)) == LIMIT


def test_a_huge_sweep_is_refused_before_its_values_are_listed(loader: Any, work: Work) -> None:
    def refused(values: int) -> None:
        with pytest.raises(
            InputError, match="the sweep has more than 10 runs, and at most 10 are allowed; sweep over fewer values"
        ):
            expand([f"seed=range(0,{values})", f"trainer.epochs=range(0,{values})"], loader, limit=10)

    refused(20)
    assert work(lambda: refused(2000)) <= 1.5 * work(lambda: refused(20))


def test_a_huge_sweep_writes_nothing(call: Call, folder: Path) -> None:
    code, out, err = call("-m", "seed=range(0,1000)", "trainer.epochs=range(0,101)")
    assert (code, out) == (2, "")
    assert err.startswith(
        "error: the sweep has 1000 x 101 = 101,000 runs, and at most 100,000 are allowed; sweep over fewer values"
    )
    assert not list(folder.iterdir())
