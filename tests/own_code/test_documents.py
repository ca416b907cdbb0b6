"""What the documents on own components and on Python say is what happens."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlrun.cli.init import COMMAND
from dlrun.cli.main import main

DOCS = Path(__file__).parents[2] / "docs"


def test_own_code(own_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = (DOCS / "own-code.md").read_text()
    assert COMMAND in text
    files = re.findall(r"`([\w/]+\.(?:py|yaml))`:\n\n```\w+\n(.*?)```", text, re.DOTALL)
    assert len(files) == 5
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            words = line.removeprefix("$ ").split()
            if words[0] == "cd":
                monkeypatch.chdir(words[1])
                for name, content in files:
                    Path(name).parent.mkdir(parents=True, exist_ok=True)
                    Path(name).write_text(content)
                continue
            trains = not {"init", "show"} & set(words)
            assert main([*words[1:], *(["trainer.max_steps=20"] if trains else [])]) == 0, (line, capsys.readouterr().err)
    out, err = capsys.readouterr()
    assert "8 runs: 8 done" in out
    assert "warning" not in err


def test_python(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    shared: dict[str, Any] = {}
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "python.md").read_text(), re.DOTALL)
    assert len(blocks) == 7
    for block in blocks:
        run: Callable[[str, dict[str, Any]], None] = exec
        run(block.replace('"experiment=mine"', '"experiment=mine", "trainer.max_steps=20"'), shared)
    out, _ = capsys.readouterr()
    assert "done" in out
    assert "worse by" in out


def test_settings(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The table of sweeps, the config file and the list of Hydra's settings in docs/settings.md."""
    from dlrun.config.composing.grammar import parse, values
    from dlrun.config.composing.hydra_settings import EFFECTIVE

    text = (DOCS / "settings.md").read_text()
    for typed, said in re.findall(r"^\| `'?(\w+[\w.]*=[^`]*?)'?` \| ([\d., ]+)", text, re.MULTILINE):
        assert [*values(parse([typed])[0])] == [value.strip() for value in said.split(",") if value.strip()]
    (own_folder / "mine" / "experiment").mkdir(parents=True)
    (yaml,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (own_folder / "mine" / "experiment" / "study.yaml").write_text(yaml)
    assert main(["plan", "-cd", "mine", "experiment=study", "dataset=xor", "trainer=smoke"]) == 0
    assert "12 runs: " in capsys.readouterr()[0]
    assert all(f"`hydra.{key}`" in text for key in EFFECTIVE)
