"""dlrun's config loader: what it keeps, and where it goes."""

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.types import RunMode
from omegaconf import OmegaConf

from dlrun.config.checks.untrusted import Rules
from dlrun.config.composing import sources
from dlrun.config.composing.loader import Loader
from dlrun.config.composing.session import Application, apart, search_path
from dlrun.errors import InputError

WORDS = ["optimizer=sgd", "optimizer.lr=0.3", "+hydra.job.env_set.A=b", "hydra.mode=MULTIRUN", "+extra.deep=1", "~strict"]


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """Hydra's state stays that of the other tests."""
    with apart():
        yield


@pytest.fixture
def own(folder: Path) -> Path:
    """A folder with an option of the user's own."""
    (folder / "own" / "optimizer").mkdir(parents=True)
    (folder / "own" / "optimizer" / "mine.yaml").write_text("_target_: torch.optim.SGD\nlr: 0.1\n")
    return folder / "own"


def composed(loader: ConfigLoaderImpl, words: list[str]) -> Any:
    """Everything that a loader composes, Hydra's part too."""
    return OmegaConf.to_container(loader.load_configuration("config", words, RunMode.RUN))


@pytest.mark.parametrize("words", [[], WORDS, ["experiment=xor", "name=a", "optimizer=mine"]])
def test_it_composes_what_hydras_does(own: Path, words: list[str]) -> None:
    path = search_path(added=own)
    expected = composed(ConfigLoaderImpl(path), words)
    loader = Loader(path)
    assert composed(loader, words) == composed(loader, words) == expected


def test_a_file_is_read_once_until_it_changes(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    load = sources.Folder.load_config
    monkeypatch.setattr(
        sources.Folder, "load_config", lambda self, config_path: read.append(config_path) or load(self, config_path)
    )
    for _ in range(3):  # as many calls of the command
        assert composed(Loader(search_path(added=own)), ["optimizer=mine"])["optimizer"]["lr"] == 0.1
    assert read.count("optimizer/mine") == 1
    (own / "optimizer" / "mine.yaml").write_text("_target_: torch.optim.SGD\nlr: 0.25\n")
    assert composed(Loader(search_path(added=own)), ["optimizer=mine"])["optimizer"]["lr"] == 0.25


def test_what_is_given_out_is_a_copy() -> None:
    loader = Loader(search_path())
    first = loader.load_configuration("config", ["optimizer=sgd"], RunMode.RUN)
    first.optimizer.lr, first.hydra.job.name = 9, "other"
    second = composed(loader, ["optimizer=sgd"])
    assert (second["optimizer"]["lr"] == 9, second["hydra"]["job"]["name"]) == (False, "dlrun")


def test_it_travels_to_a_worker_with_its_rules(own: Path) -> None:
    loader = pickle.loads(pickle.dumps(Loader(search_path(added=own), Rules(("optimizer=mine",)))))
    assert composed(loader, ["optimizer=mine"])["optimizer"]["lr"] == 0.1
    (own / "optimizer" / "mine.yaml").write_text("_target_: torch.optim.SGD\nlr: ${oc.env:HOME}\n")
    with pytest.raises(InputError, match=r"optimizer\.lr=\$\{oc\.env:HOME\}: stands in a config file"):
        composed(loader, ["optimizer=mine"])


MODES = [(["seed=1"], "run"), (["hydra.mode=MULTIRUN"], "multirun"), (["experiment=sweeping", "seed=1,2"], "multirun")]


@pytest.mark.parametrize(("words", "called"), MODES)
def test_the_mode_is_read_from_what_was_composed(
    own: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], called: str
) -> None:
    (own / "experiment").mkdir()
    (own / "experiment" / "sweeping.yaml").write_text("# @package _global_\nhydra: {mode: MULTIRUN}\n")
    application = Application(search_path(added=own), Rules(tuple(words)))
    calls: list[str] = []
    monkeypatch.setattr(application, "run", lambda *given: calls.append("run"))
    monkeypatch.setattr(application, "multirun", lambda *given: calls.append("multirun"))
    application.begin(words, lambda config: None, sweeps=False)
    assert calls == [called]
