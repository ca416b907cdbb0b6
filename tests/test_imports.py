"""What a sweep does not import: each of these libraries would add to the time of every small sweep."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SWEEP = """
import json, sys
from dlrun.cli.main import main

words = ["-m", "dataset=moons,diabetes", "trainer=smoke", "seed=0,1", "output_dir=" + sys.argv[1]]
assert main([*words, *sys.argv[2:]]) == 0
print(json.dumps(list(sys.modules)))
"""
TORCH = """
import json, sys
from dlrun.cli.main import main
from dlrun.components.optimizers import ROWWISE

assert main(["dataset=moons", "trainer=smoke", "trainer.engine=torch", "output_dir=" + sys.argv[1]]) == 0
for optimizer in ROWWISE.values():
    optimizer()
print(json.dumps(list(sys.modules)))
"""
WORDS = {
    "baselines and a table": (),
    "numbers that differ": ("optimizer.lr=1e-3,1e-2", "regularizer=[dropout,l2,early_stopping]", "regularizer.dropout.p=0.1,0.2"),
    "folds": ("dataset.folds=3", "dataset.fold=0,1"),
    "schedules": ("scheduler=cosine,one_cycle", "activation=leaky_relu", "activation.learnable=true"),
}


def imported(script: str, folder: Path, *words: str) -> set[str]:
    """The modules that a process has imported at its end."""
    done = subprocess.run([sys.executable, "-c", script, str(folder), *words], check=True, capture_output=True, text=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("words", WORDS.values(), ids=WORDS)
def test_a_sweep_that_the_kernel_trains_does_without(words: tuple[str, ...], tmp_path: Path) -> None:
    assert imported(SWEEP, tmp_path, *words) & {"torch", "sklearn", "pandas"} == set()


def test_torch_is_imported_without_its_compiler(tmp_path: Path) -> None:
    found = imported(TORCH, tmp_path)
    assert "torch" in found
    assert "torch._dynamo" not in found
