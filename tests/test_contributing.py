"""What docs/contributing.md says is enough to add a component: its code is applied to a copy, and what it adds is used."""

import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- (?P<file>[\w/.]+)(?:: (?P<where>at the end|after: .+?))? -->\n```\w+\n(?P<code>.*?)```\n", re.DOTALL)
KINDS = ("activation", "loss", "metric", "layer", "dataset", "logger", "verb", "executor")

USES = """
import pathlib
from dlrun.cli.main import main

quiet = ("trainer=smoke", "baseline=none")
assert main(["dataset=diabetes", "activation=squareplus", "activation.b=2", "loss=cauchy", "metric=max_error", *quiet]) == 0
assert main(["dataset=rings", "model.layers=[flatten,{linear: 4},scale,activation,output]", *quiet]) == 0
assert main(["-m", "dataset=rings", "seed=0,1", "logger=count", *quiet]) == 0
assert pathlib.Path("count.txt").read_text() == "done 2\\n"
assert main(["-m", "dataset=rings", "seed=2,3,4", "hydra.launcher.executor=noted", "logger=none", *quiet]) == 0
assert pathlib.Path("cohorts.txt").read_text() == "3\\n"
assert main(["groups"]) == 0
assert main(["show", "activation/squareplus", "loss/cauchy", "dataset/rings", "logger/count"]) == 0
"""


def test_every_kind_touches_three_files_at_most() -> None:
    sections = re.split(r"^## An? ", PAGE, flags=re.MULTILINE)[1:]
    files = {section.split("\n")[0]: {found["file"] for found in BLOCK.finditer(section)} for section in sections}
    assert tuple(files) == KINDS
    assert {kind: len(touched) for kind, touched in files.items() if not 1 <= len(touched) <= 3} == {}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copy")
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    applied: dict[str, int] = defaultdict(int)
    for found in BLOCK.finditer(PAGE):
        file, where, code = folder / found["file"], found["where"], found["code"]
        applied[found["file"]] += 1
        if where is None:
            assert not file.exists(), f"{file} is there already"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(code, encoding="utf-8")
            continue
        text = file.read_text(encoding="utf-8")
        if where == "at the end":
            file.write_text(f"{text}\n\n{code}", encoding="utf-8")
        else:
            line = where.removeprefix("after: ").strip()
            assert text.count(line) == 1, f"{found['file']}: has {text.count(line)} lines {line}"
            file.write_text(text.replace(line, f"{line}\n{code.rstrip()}"), encoding="utf-8")
    assert len(applied) >= len(KINDS)
    return folder


def test_what_the_page_adds_works(copy: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(copy / 'src')!r})\n{USES}"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "max_error" in done.stdout
    assert "logger\nloss\n" in done.stdout
    assert "Barron 2021" in done.stdout
