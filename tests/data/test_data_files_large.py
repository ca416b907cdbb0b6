"""A million rows: read, split and swept within the memory that was promised. Minutes: ``make slow``."""

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
