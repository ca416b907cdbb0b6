"""Large tables: read, split and trained on within the memory that was promised. Minutes: ``make slow``."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROWS, COLUMNS = 1_000_000, 30
NUMBERS = ROWS * COLUMNS * 4  # bytes of the file's numbers in float32

READ = """
import json, resource, sys
import pandas, torch
from dlrun.data.sources.files import csv
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
data = csv(path=sys.argv[1], target="price")
print(json.dumps({"taken": peak() - before, "shape": data.x.shape, "dtype": str(data.x.dtype), "notes": data.notes}))
"""


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "million.csv"
    rng = np.random.default_rng(0)
    weight = rng.normal(size=COLUMNS - 1)
    with path.open("w") as file:
        file.write(",".join([*(f"x{i}" for i in range(COLUMNS - 1)), "price"]) + "\n")
        for _ in range(ROWS // 50_000):
            x = rng.normal(size=(50_000, COLUMNS - 1))
            np.savetxt(file, np.c_[x, x @ weight + rng.normal(size=50_000)], fmt="%.6g", delimiter=",")
    return path


def test_reading_takes_little_more_than_the_numbers(million: Path) -> None:
    done = subprocess.run([sys.executable, "-c", READ, str(million)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["shape"] == [ROWS, COLUMNS - 1]
    assert found["dtype"] == "torch.float32"
    assert "1,000,000 rows, target price: regression" in found["notes"][0]
    assert found["taken"] < 2.5 * NUMBERS


def test_a_sweep_fits_into_six_gigabytes(million: Path, tmp_path: Path) -> None:
    words = ["-m", "dataset=csv", f"dataset.path={million}", "dataset.target=price", "model=linear,mlp", "seed=range(0,10)"]
    words += ["trainer.epochs=1", "trainer.batch_size=1024", f"output_dir={tmp_path}"]
    environment = {name: value for name, value in os.environ.items() if name != "DLRUN_OUTPUT_DIR"}
    done = subprocess.run([sys.executable, "-m", "dlrun", *words], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert "1,000,000 rows, target price: regression" in done.stderr
    assert "20 done" in done.stdout
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 < 6e9


MIXED = 21  # numbers, the time among them, beside a group and a text
COLOURS = np.array(["red", "green", "blue", "black", "white"])


def table(path: Path, rows: int) -> None:
    """Numbers, a time, a group, a text, and a target that depends on two of the numbers."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, MIXED - 1))
    y = 2 * x[:, 0] + x[:, 1] + rng.normal(size=rows)
    groups, colours = rng.integers(0, 5000, rows), COLOURS[rng.integers(0, len(COLOURS), rows)]
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join([*(f"x{place}" for place in range(MIXED - 1)), "group", "day", "colour", "y"]) + "\n")
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


@pytest.mark.parametrize("split", ["dataset.group=group", "dataset.time=day"])
def test_training_takes_two_and_a_half_times_the_numbers(tmp_path: Path, split: str) -> None:
    beyond = peak(tmp_path, 200_000, split) - peak(tmp_path, 2000, split)
    assert beyond < 2.5 * 200_000 * (MIXED + 1) * 8  # numbers in float64, the target among them
