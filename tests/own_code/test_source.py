"""A run is known by the code of its own components too."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import dlrun
from dlrun import own_modules
from dlrun.config import own_code
from dlrun.results.store import Store

Call = Callable[..., tuple[int, str, str]]

MINE = """
import torch
import parts

def mine(x: torch.Tensor) -> torch.Tensor:
    return parts.bend(x)
"""
PARTS = """
import torch
def bend(x):
    return torch.tanh(x) * {factor}
"""
CONFIG = {"activation": {"_target_": "code_of_mine.mine"}, "regularizer": {"own": {"weight": 0.1}}}
SWEEP = ("-m", "--import", "code_of_mine", "--config-dir", "conf", "activation=mine", "seed=0,1", "trainer=smoke", "baseline=[]")


@pytest.fixture
def project(own_folder: Path) -> Path:
    (own_folder / "conf" / "activation").mkdir(parents=True)
    (own_folder / "conf" / "activation" / "mine.yaml").write_text("_target_: code_of_mine.mine\n")
    (own_folder / "code_of_mine.py").write_text(MINE)
    (own_folder / "parts.py").write_text(PARTS.format(factor="1.0"))
    return own_folder


def load_again() -> None:
    """As in a new process."""
    for name in ("parts", "code_of_mine"):
        sys.modules.pop(name, None)
    own_modules._imported.clear()
    importlib.invalidate_caches()
    own_modules.trust("code_of_mine")


def test_the_digest_is_that_of_the_files_that_take_part(project: Path) -> None:
    assert own_code.digest(CONFIG) == ""
    (project / "other.py").write_text("import torch\n")
    own_modules.trust("other")
    own_modules.trust("code_of_mine")
    first = own_code.digest(CONFIG)
    assert len(first) == 12
    assert own_code.digest({"activation": {"_target_": "torch.nn.ReLU"}}) == ""
    (project / "other.py").write_text("import torch, math\n")
    (project / "parts.py").write_text(PARTS.format(factor="22.0"))
    assert own_code.digest(CONFIG) == first, "what was loaded is what runs"
    load_again()
    second = own_code.digest(CONFIG)
    assert second not in ("", first)
    (project / "parts.py").write_text(PARTS.format(factor="1.0"))
    load_again()
    assert own_code.digest(CONFIG) == first


def test_a_library_of_another_environment_is_not_the_users_code(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a virtual environment that sees the packages of another."""
    library = project / "elsewhere" / "site-packages" / "a_library.py"
    library.parent.mkdir(parents=True)
    library.write_text("def bend(x):\n    return x\n")
    monkeypatch.syspath_prepend(str(library.parent))
    (project / "parts.py").write_text("from a_library import bend\n")
    own_modules.trust("code_of_mine")
    first = own_code.digest(CONFIG)
    library.write_text("def bend(x):\n    return x + 0\n")
    monkeypatch.delitem(sys.modules, "a_library")
    monkeypatch.setattr(own_code, "_known", {})
    load_again()
    assert own_code.digest(CONFIG) == first


def test_changed_code_is_trained_anew(call: Call, project: Path) -> None:
    assert call(*SWEEP)[0] == 0
    assert "2 of them taken over, none trained" in call(*SWEEP)[1]
    (project / "parts.py").write_text(PARTS.format(factor="22.0"))
    load_again()
    code, out, _ = call(*SWEEP)
    assert code == 0
    assert "taken over" not in out
    assert len(Store.at(project / "outputs").ids()) == 4
    _, out, _ = call("-m", "--import", "code_of_mine", "activation=relu", "seed=0,1", "trainer=smoke", "baseline=[]")
    assert "2 runs: 2 done" in out
    assert "2 of them taken over" in call("-m", "activation=relu", "seed=0,1", "trainer=smoke", "baseline=[]")[1]


def test_predicting_with_other_code_is_told(project: Path) -> None:
    given = {"imports": ["code_of_mine"], "config_dir": "conf", "progress": False}
    run = dlrun.run("activation=mine", "dataset=iris", "trainer=smoke", **given)
    rows = [[5.1, 3.5, 1.4, 0.2]]
    before = dlrun.load(run.folder).predict(rows)
    (project / "parts.py").write_text(PARTS.format(factor="22.0"))
    load_again()
    with pytest.warns(UserWarning, match="its components have changed since it was trained"):
        after = dlrun.load(run.folder).predict(rows)
    assert (before != after).any()


def test_workers_and_their_parent_agree(call: Call, project: Path) -> None:
    code, out, err = call(*SWEEP, "model.hidden=[3],[4]", "hydra.launcher.processes=2")
    assert (code, "4 runs: 4 done" in out) == (0, True), err
    assert "4 of them taken over" in call(*SWEEP, "model.hidden=[3],[4]")[1]
