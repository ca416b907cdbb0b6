"""dlrun init writes a folder whose commands work as they are printed."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dlrun import own_modules
from dlrun.cli.init import COMMAND, TEMPLATES
from dlrun.cli.templates.components import Gated, asymmetric, snake

Call = Callable[..., tuple[int, str, str]]


def commands(text: str) -> list[list[str]]:
    return [line.split()[1:] for line in text.splitlines() if line.startswith("    dlrun ")]


def test_every_printed_command_works(call: Call, own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, out, err = call("init", "demo")
    assert (code, err) == (0, "")
    assert out.splitlines()[-2:] == ["  cd demo", f"  {COMMAND}"]
    written = {str(path.relative_to(own_folder / "demo")) for path in (own_folder / "demo").rglob("*") if path.is_file()}
    assert written == {
        "README.md",
        "components.py",
        *(f"conf/{group}/mine.yaml" for group in ("activation", "loss", "model", "experiment")),
    }
    monkeypatch.chdir("demo")
    readme = commands(Path("README.md").read_text())
    assert COMMAND.split()[1:] in readme
    assert len(Path("README.md").read_text().splitlines()) <= 12
    for words in readme:
        code, out, err = call(*words, *(["trainer=smoke"] if words[0] not in ("show", "ls") else []))
        assert code == 0, (words, err)
        if "-m" in words:
            assert "8 runs: 8 done" in out
            assert "warning" not in err
        if words[0] == "show":
            assert "derivative" in out
    assert not list(Path().glob("**/*.egg-info"))
    monkeypatch.setattr(own_modules, "_imported", set())
    code, _, err = call(*(word for word in COMMAND.split()[1:] if word not in ("--import", "components")))
    assert code == 2
    assert "components was not imported; if it is yours or you trust it, type --import components" in err


@pytest.mark.slow
def test_as_a_user_calls_it(own_folder: Path) -> None:
    """In processes of their own, without the working folder on the path, as the installed command runs; workers import too."""
    dlrun = [sys.executable, "-P", "-m", "dlrun"]
    assert subprocess.run([*dlrun, "init", "demo"], check=False, capture_output=True).returncode == 0
    words = [*COMMAND.split()[1:], "trainer=smoke", "hydra.launcher.processes=1"]
    done = subprocess.run([*dlrun, *words], cwd="demo", check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "8 runs: 8 done" in done.stdout


def test_only_into_an_empty_folder(call: Call, own_folder: Path) -> None:
    (own_folder / "full").mkdir()
    (own_folder / "full" / "notes.txt").write_text("mine")
    (own_folder / "file").write_text("mine")
    (own_folder / "repository" / ".git").mkdir(parents=True)
    for words, said in (
        (["full"], "full: is not empty (notes.txt); name a new folder"),
        (["file"], "file: is a file"),
        (["file/below"], "cannot be written"),
        (["a", "b"], "takes one folder"),
        (["--force"], "takes one folder"),
        ([], ".: is not empty"),
    ):
        code, out, err = call("init", *words)
        assert (code, out) == (2, "")
        assert said in err
        assert len(err.splitlines()) == 1
    assert [path.name for path in (own_folder / "full").iterdir()] == ["notes.txt"]
    assert call("init", "repository")[0] == 0
    assert call("init", "deep/er")[0] == 0


def test_into_this_folder(call: Call, own_folder: Path) -> None:
    code, out, _ = call("init")
    assert code == 0
    assert "  cd " not in out
    assert (own_folder / "components.py").read_text() == (TEMPLATES / "components.py").read_text()


def test_the_formulas_of_the_templates() -> None:
    x = torch.linspace(-3, 3, 11, dtype=torch.float64)
    torch.testing.assert_close(snake(x, frequency=2.0), x + torch.sin(2 * x) ** 2 / 2)
    output, target = torch.tensor([[[1.0], [5.0]]]), torch.tensor([[[2.0], [3.0]]])
    torch.testing.assert_close(asymmetric(output, target, under=3.0), torch.tensor([(3 * 1 + 4) / 2]))
    net = Gated(inputs=(2, 3), outputs=4, activation=torch.relu, hidden=5)
    rows = torch.randn(7, 2, 3)
    value, gate = net.value(rows.flatten(1)), net.gate(rows.flatten(1))
    torch.testing.assert_close(net(rows), net.output(value.relu() * gate.sigmoid()))
