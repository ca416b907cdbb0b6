"""How much memory a large table takes while a command trains on it, beyond what the same command takes for a small one."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROWS, NUMBERS = 200_000, 21
COLOURS = np.array(["red", "green", "blue", "black", "white"])


def table(path: Path, rows: int) -> None:
    """Numbers, a time, a group, a text, and a target that depends on two of the numbers."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(rows, NUMBERS - 1))
    y = 2 * x[:, 0] + x[:, 1] + draw.normal(size=rows)
    groups, colours = draw.integers(0, 5000, rows), COLOURS[draw.integers(0, len(COLOURS), rows)]
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join([*(f"x{place}" for place in range(NUMBERS - 1)), "group", "day", "colour", "y"]) + "\n")
        for row in range(rows):
            numbers = ",".join(f"{value:.6g}" for value in x[row])
            file.write(f"{numbers},g{groups[row]},{row},{colours[row]},{y[row]:.6g}\n")


PEAK = """
import resource, sys
from dlrun.cli.main import main
code = main(sys.argv[1:])
sys.exit(code or print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr))
"""


def peak(folder: Path, rows: int, *split: str) -> int:
    """Bytes of the process that trains, at its peak."""
    table(folder / "table.csv", rows)
    words = ("dataset=csv", "dataset.path=table.csv", "dataset.target=y", *split, "trainer.epochs=1", "trainer.batch_size=1000")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PEAK, *words]
    said = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stderr
    return int(said.splitlines()[-1]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="bytes of ru_maxrss")
@pytest.mark.parametrize("split", ["dataset.group=group", "dataset.time=day"])
def test_a_large_table_takes_two_and_a_half_times_its_numbers(tmp_path: Path, split: str) -> None:
    beyond = peak(tmp_path, ROWS, split) - peak(tmp_path, 2000, split)
    assert beyond / (ROWS * (NUMBERS + 1) * 8) < 2.5  # the target is a number too
