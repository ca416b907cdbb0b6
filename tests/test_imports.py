"""What a sweep does not import: each of these libraries would add to the time of every small sweep."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SWEEP = """
import json, sys
from dlrun.cli.main import main
from dlrun.components.optimizers import ROWWISE

words = ["-m", "dataset=moons,diabetes", "trainer=smoke", "seed=0,1", "output_dir=" + sys.argv[1]]
assert main(words) == 0
for optimizer in ROWWISE.values():
    optimizer()
print(json.dumps(list(sys.modules)))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The modules that a process has imported after it has trained, compared with baselines and made every optimizer."""
    folder: Path = tmp_path_factory.mktemp("imports")
    done = subprocess.run([sys.executable, "-c", SWEEP, str(folder)], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("library", ["sklearn", "pandas", "torch._dynamo"])
def test_a_sweep_does_without(imported: set[str], library: str) -> None:
    assert "torch" in imported
    assert library not in imported
