"""What make dist wrote, installed in an empty environment of every Python that is here. It downloads torch: make try-dist."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from dlrun import __version__
from dlrun.native import build

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
SOURCE = DIST / f"dlrun-{__version__}.tar.gz"
TRAIN = ("dataset=moons", "trainer=smoke", "regularizer=[dropout,l2]", "activation=gelu", "name=same", "output_dir=same")

pytestmark = pytest.mark.dist


class Place:
    """An empty environment of a Python, and a folder without anything of dlrun's source."""

    def __init__(self, python: str, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "venv" / "bin"
        subprocess.run([python, "-m", "venv", folder / "venv"], check=True)
        self.pip(*os.environ.get("DLRUN_PINS", "").split(), f"{SOURCE}[tune]", CC="no-such-compiler")

    def run(self, name: str, *words: str, **more: str) -> str:
        """What a command of the environment prints; it ends with 0."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "DLRUN_", "CC"))}
        command = [str(self.bin / name), *words]
        done = subprocess.run(command, cwd=self.folder, env=environment | more, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def pip(self, *words: str, **more: str) -> None:
        """Install something."""
        self.run("python", "-m", "pip", "install", "--quiet", *words, **more)

    def trained(self, engine: str) -> bytes:
        """The weights of a run, which that engine trained."""
        shutil.rmtree(self.folder / "same", ignore_errors=True)
        self.run("dlrun", *TRAIN)
        (result,) = (self.folder / "same").rglob("result.json")
        assert json.loads(result.read_text())["cohort"]["engine"] == engine
        return (result.parent / "model.safetensors").read_bytes()


@pytest.fixture(scope="module", params=["3.11", "3.12", "3.13"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    python = f"python{request.param}"
    if shutil.which(python) is None or subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode:
        pytest.skip(f"{python} is not installed")
    made = Place(python, tmp_path_factory.mktemp(python))
    yield made
    shutil.rmtree(made.folder)  # gigabytes, where torch is a build for CUDA


def test_without_a_compiler_the_source_trains_on_torch(place: Place) -> None:
    assert "torch alone" in place.run("dlrun", "--version")
    place.trained("torch")
    out = place.run("dlrun", "-m", "dataset=xor", "activation=relu,tanh", "seed=range(0,3)", "trainer=smoke", "--json")
    assert json.loads(out)["sweep"]["statuses"] == {"done": 6}


def test_a_wheel_has_the_bits_of_the_source_and_runs_what_the_readme_types(place: Place) -> None:
    if build.compiler() is None:
        pytest.skip("no C compiler")
    place.pip("--no-deps", "--force-reinstall", str(SOURCE))
    here = place.trained("native")
    choose = ("--no-index", "--only-binary=:all:", "--find-links", str(DIST))
    place.pip("--no-deps", "--force-reinstall", *choose, f"dlrun=={__version__}")
    assert place.run("dlrun", "--version").strip() == f"dlrun {__version__} (trains with its kernel and torch)"
    assert place.trained("native") == here
    section = (ROOT / "README.md").read_text(encoding="utf-8").split("## What to type")[1].split("\n## ")[0]
    commands = [shlex.split(line, comments=True)[1:] for line in section.splitlines() if line.startswith("$ dlrun")][:10]
    assert len(commands) == 10
    for name, *words in commands:
        assert place.run(name, *words).strip(), words


def test_the_platforms() -> None:
    kinds = sorted(re.sub(r"^dlrun-[^-]+-py3-none-", "", path.stem) for path in DIST.glob("*.whl"))
    assert kinds == ["any", "manylinux_2_17_aarch64", "manylinux_2_17_x86_64"]
