"""--import MODULE: which names it opens to configs, where the module is looked for, and every verb that takes it."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dlrun import own_modules
from dlrun.cli.arguments import parse, split_imports
from dlrun.cli.main import main
from dlrun.config import resolver
from dlrun.errors import InputError

SOURCE = '''"""Components."""
from torch import nn

from dlrun.components.hyperparameters import Positive


def mine(x, *, sharpness: Positive = 1.0):
    """f(x) = x * tanh(sharpness * x)."""
    return x * (sharpness * x).tanh()


class Net(nn.Module):
    """One hidden layer."""

    def __init__(self, *, inputs, outputs, activation, hidden: int = 4):
        super().__init__()
        self.first, self.last = nn.Linear(inputs[0], hidden), nn.Linear(hidden, outputs)
        self.activation = activation

    def forward(self, x):
        return self.last(self.activation(self.first(x)))
'''


@pytest.fixture
def project(own_folder: Path) -> Path:
    (own_folder / "mymodule.py").write_text(SOURCE)
    for option, text in {
        "activation/mine": "# Mine.\n# sharpness: the slope at 0\n_target_: mymodule.mine\nsharpness: 1.5\n",
        "model/net": "# A net.\n_target_: mymodule.Net\nhidden: 3\nhead: auto\n",
    }.items():
        path = own_folder / "conf" / f"{option}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return own_folder


@pytest.fixture
def call(project: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], tuple[int, str, str]]:
    def command(line: str) -> tuple[int, str, str]:
        code = main(line.split())
        return code, *capsys.readouterr()

    return command


def test_words() -> None:
    found = parse(["seed=1", "--import", "a", "-m", "--import=b.c"])
    assert found.imports == ["a", "b.c"]
    assert found.words() == ["--multirun", "seed=1"]
    assert parse(found.command()) == found
    assert split_imports(["latest", "--import", "a", "--retry-failed", "--import=b"]) == (
        ["a", "b"],
        ["latest", "--retry-failed"],
    )
    for line, said in (
        ("--import", "takes the name of a module, as in Python's import, such as mymodule"),
        ("--import seed=1", "takes the name of a module"),
        ("--import ./parts/mine.py", "type --import parts.mine"),
        ("--improt a", "did you mean '--import'?"),
    ):
        with pytest.raises(InputError) as caught:
            parse(line.split())
        assert said in str(caught.value)


def test_not_imported_is_refused_with_the_line_to_type(call: Callable[[str], tuple[int, str, str]], project: Path) -> None:
    for line in (
        "--config-dir conf activation=mine",
        "-m --config-dir conf activation=relu,mine",
        "plan -cd conf activation=mine",
    ):
        code, out, err = call(line)
        assert (code, out) == (2, "")
        assert err == (
            "error: activation._target_=mymodule.mine: mymodule was not imported; "
            "if it is yours or you trust it, type --import mymodule\n"
        )
    assert not (project / "outputs").exists()


def test_run_sweep_plan_resume(call: Callable[[str], tuple[int, str, str]], project: Path) -> None:
    own = "--import mymodule --config-dir conf"
    common = "trainer=smoke dataset=xor logger=none"
    assert call(f"{own} activation=mine model=net {common}") == (0, "", "")
    code, out, err = call(f"plan {own} activation=mine,relu model=net,mlp seed=0,1 trainer=smoke dataset=xor")
    assert code == 0, err
    assert "8 runs" in out
    code, out, err = call(f"-m {own} activation=mine,relu model=net,mlp seed=0,1 {common}")
    assert code == 0, err
    assert "8 runs: 8 done" in out
    code, _, err = call("resume")
    assert code == 2
    assert "imported mymodule; if you trust that, type dlrun resume " in err
    code, out, err = call("resume --import mymodule")
    assert code == 0, err
    assert "8 runs: 8 done" in out


def test_show_explains_and_draws(call: Callable[[str], tuple[int, str, str]]) -> None:
    code, out, _ = call("show -cd conf activation/mine")
    assert code == 0
    assert "derivative" not in out
    code, out, err = call("show --import mymodule -cd conf activation/mine model/net")
    assert (code, err) == (0, "")
    assert "derivative" in out
    assert "a number above 0" in out
    assert "a whole number" in out
    code, out, _ = call("ls -cd conf activation")
    assert "activation=mine" in out


def test_what_cannot_be_imported(call: Callable[[str], tuple[int, str, str]], project: Path) -> None:
    (project / "broken.py").write_text("x = 1\nraise ValueError('no luck')\n")
    (project / "needs.py").write_text("import no_such_package\n")
    (project / "leaves.py").write_text("raise SystemExit(0)\n")
    for module, said in {
        "mymodul": f"there is no such module; it is a file mymodul.py in the working folder ({project}), or an installed package",
        "mymodule.sub": "there is no such module; it is a file mymodule/sub.py",
        "broken": f"raised ValueError: no luck ({project / 'broken.py'}, line 2) while it was imported",
        "needs": "raised ModuleNotFoundError: No module named 'no_such_package'",
        "leaves": "raised SystemExit: 0",
    }.items():
        code, _, err = call(f"--import {module} trainer=smoke dataset=xor")
        assert code == 2
        assert err.startswith(f"error: --import {module}: ")
        assert said in err
        assert len(err.splitlines()) == 1


def test_the_folder_comes_last_on_the_path(project: Path) -> None:
    """So that a file of the folder cannot stand in for a library that is imported later."""
    before = list(sys.path)
    own_modules.trust("mymodule")
    assert sys.path == [*before, str(project)]
    own_modules.trust("mymodule")
    assert sys.path == [*before, str(project)]


def test_packages_and_their_parts(project: Path) -> None:
    (project / "pack").mkdir()
    (project / "pack" / "__init__.py").write_text("from pack.inner import deep\n")
    (project / "pack" / "inner.py").write_text("def deep(x):\n    return x\n")
    own_modules.trust("pack")
    assert resolver.resolve("pack.deep", "activation") is resolver.resolve("pack.inner.deep", "activation")
    with pytest.raises(InputError, match=r"packet was not imported; .* type --import packet"):
        resolver.resolve("packet.deep", "activation")
    with pytest.raises(InputError, match="has no component 'dep'; did you mean 'deep'"):
        resolver.resolve("pack.inner.dep", "activation")
