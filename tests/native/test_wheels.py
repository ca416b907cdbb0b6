"""The package as people install it: with a compiler it has the kernel inside, without one it is pure and trains on torch."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from dlrun.native import build

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["native", "torch"])
def test_a_wheel_trains_as_it_is_unpacked(tmp_path: Path, engine: str) -> None:
    if engine == "native" and build.compiler() is None:
        pytest.skip("no C compiler")
    environment = os.environ | ({} if engine == "native" else {"CC": "no-such-compiler"})
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(wheel, env=environment, check=True)
    (made,) = tmp_path.glob("dlrun-*.whl")
    assert made.name.endswith("-py3-none-any.whl") == (engine == "torch")
    with zipfile.ZipFile(made) as package:
        package.extractall(tmp_path / "unpacked")
    environment |= {"PYTHONPATH": str(tmp_path / "unpacked")}

    def dlrun(*words: str) -> str:
        command = [sys.executable, "-P", "-m", "dlrun", *words]
        return subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    assert ("kernel and torch" in dlrun("--version")) == (engine == "native")
    dlrun("trainer=smoke", "dataset=xor")
    (result,) = (tmp_path / "outputs").rglob("result.json")
    assert json.loads(result.read_text())["cohort"]["engine"] == engine
    dlrun("-m", "trainer=smoke", "dataset=xor", "activation=relu,tanh", "seed=range(0,3)")
