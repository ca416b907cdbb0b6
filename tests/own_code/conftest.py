"""What tests of a user's own code share: a module that was imported with --import, and specs that name what is in it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlrun import own_modules, registry
from dlrun.config import own_code

MODULE = "own_components"


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder; what is imported from it is forgotten afterwards."""
    for name in ("DLRUN_OUTPUT_DIR", "HYDRA_FULL_ERROR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(registry, "_added", [])
    monkeypatch.setattr(own_modules, "_imported", set())
    monkeypatch.setattr(own_code, "_known", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    known = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - known:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def folder(own_folder: Path) -> Path:
    """Where ``call`` works."""
    return own_folder


@pytest.fixture
def own(own_folder: Path) -> Callable[[str], None]:
    """``own(source)``: write a module and import it as ``--import`` does."""

    def write(source: str) -> None:
        (own_folder / f"{MODULE}.py").write_text(source)
        own_modules.trust(MODULE)

    return write


@pytest.fixture
def spec_with(compose: Callable[..., Any]) -> Callable[..., Any]:
    """``spec_with({"activation": {"_target_": "own_components.mine"}}, dataset="iris", ...)``: a spec with own components."""
    from dlrun.config.spec import from_config

    def make(own: dict[str, dict[str, Any]], overrides: tuple[str, ...] = (), regularizer: Any = (), **given: Any) -> Any:
        late = {key: given.pop(key) for key in list(given) if key.split(".")[0] in own}
        config, choices = compose(regularizer, **given)
        for group, content in own.items():
            if group == "regularizer":
                config["regularizer"] = config["regularizer"] | {name: dict(values) for name, values in content.items()}
            else:
                config[group] = dict(content)
                choices = choices | {group: "mine"}
        for key, value in late.items():
            *folders, name = key.split(".")
            place = config
            for folder in folders:
                place = place[folder]
            place[name] = value
        return from_config(config, choices, overrides)

    return make
