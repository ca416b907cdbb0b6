"""What tests share: one thread, the command called in this process, and configs composed from the YAML files without Hydra."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from dlrun import registry
from nursery import Nursery

pytest_plugins = ["doses"]

# The same examples every time: a test that fails by chance holds up whoever did not cause it. DLRUN_EXPLORE=1 draws new ones.
hypothesis.settings.register_profile("steady", derandomize="DLRUN_EXPLORE" not in os.environ)
hypothesis.settings.load_profile("steady")

DEFAULTS = {
    "dataset": "moons",
    "model": "mlp",
    "activation": "relu",
    "loss": None,
    "optimizer": "adam",
    "scheduler": "constant",
    "trainer": "smoke",
}


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """The networks are small, and test processes share the cores."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def interposer(tmp_path_factory: pytest.TempPathFactory) -> str | None:
    """The library of faults/interpose.c, loaded in all that the nursery forks; None where there is no Linux or no compiler."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        return None
    library = tmp_path_factory.mktemp("interpose") / "interpose.so"
    source = Path(__file__).parent / "faults" / "interpose.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", source, "-o", library, "-ldl"], check=True)
    return str(library)


@pytest.fixture(scope="session")
def nursery(interposer: str | None) -> Iterator[Callable[[], Nursery]]:
    """Forks workers and commands; it is made when a test first needs one."""
    made: list[Nursery] = []

    def get() -> Nursery:
        if not made:
            made.append(Nursery(interposer))
        return made[0]

    yield get
    for each in made:
        each.close()


@pytest.fixture(autouse=True)
def forked_workers(request: pytest.FixtureRequest, nursery: Callable[[], Nursery], monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are forked, but for the tests that are marked ``starts_workers``."""
    if sys.platform == "linux" and request.node.get_closest_marker("starts_workers") is None:
        monkeypatch.setattr("dlrun.isolation.worker.start_python", lambda kept: nursery().start(kept))


@pytest.fixture
def work() -> Callable[[Callable[[], object]], int]:
    """``work(function)``: how many calls, of Python and of C, ``function()`` makes: work that no busy machine changes."""

    def count(function: Callable[[], object]) -> int:
        calls = 0

        def look(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(look)
        try:
            function()
        finally:
            sys.setprofile(before)
        return calls

    return count


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, without settings from outside."""
    for name in ("DLRUN_OUTPUT_DIR", "HYDRA_FULL_ERROR", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(registry, "_added", [])
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """``call("-m", "seed=0,1")``: the command in this process -> exit code, stdout, stderr."""
    from dlrun.cli.main import main

    def command(*words: str) -> tuple[int, str, str]:
        code = main(words)
        return code, *capsys.readouterr()

    return command


@pytest.fixture(scope="session")
def compose() -> Callable[..., tuple[dict[str, Any], dict[str, str]]]:
    """``compose(dataset="iris", regularizer=["l1"], **{"optimizer.lr": 0.1})``: a resolved config and the chosen options.

    Groups that are not named have the option of ``DEFAULTS``. Keys with a dot set single values; a key without one that is no
    group is a root key such as seed.
    """
    from omegaconf import OmegaConf

    load = cache(registry.load_option)

    def make(regularizer: Sequence[str] = (), **given: Any) -> tuple[dict[str, Any], dict[str, str]]:
        if given.get("model", "mlp") == "mlp":
            given = {"model.hidden": [5]} | given
        choices = {group: given.pop(group, name) for group, name in DEFAULTS.items()}
        config: dict[str, Any] = {"seed": 0}
        config |= {group: deepcopy(load(group, name)) for group, name in choices.items() if name is not None}
        config["regularizer"] = {name: deepcopy(load("regularizer", name)) for name in regularizer}
        for key, value in given.items():
            place = config
            *folders, last = key.split(".")
            for folder in folders:
                place = place[folder]
            place[last] = value
        # models alone have interpolations
        resolved = OmegaConf.to_container(OmegaConf.create({"model": config["model"]}), resolve=True)
        assert isinstance(resolved, dict)
        return config | {"model": resolved["model"]}, {k: v for k, v in choices.items() if v is not None}

    return make


@pytest.fixture(scope="session")
def spec_of(compose: Callable[..., Any]) -> Callable[..., Any]:
    """The RunSpec of what ``compose`` composes."""
    from dlrun.config.spec import from_config

    def make(regularizer: Sequence[str] = (), **given: Any) -> Any:
        return from_config(*compose(regularizer, **given))

    return make


@pytest.fixture(scope="session")
def datasets() -> Any:
    """Datasets that are made once for all tests."""
    from dlrun.experiments.planning.cohorts import Datasets

    return Datasets()


@pytest.fixture(scope="session")
def train_all(datasets: Any) -> Callable[..., Any]:
    """Plan and train specs; their outcomes in the order of the specs."""
    from dlrun.engine.trainer import Outcome, fit
    from dlrun.experiments.planning.cohorts import plan

    def train(specs: Sequence[Any]) -> list[Outcome]:
        place = {id(spec): number for number, spec in enumerate(specs)}
        found: Mapping[int, Outcome] = {
            place[id(spec)]: outcome
            for planned in plan(specs, datasets)
            for spec, outcome in zip(planned.specs, fit(planned.cohort), strict=True)
        }
        assert len(found) == len(specs)
        return [found[number] for number in range(len(specs))]

    return train
