"""What a sweep costs beside training: composing, planning, recording and comparing, for each run.

    python benchmarks/overhead.py [RUNS ...]

Each sweep trains one step a run, as a process of its own. From its wall clock time go the time that the same command takes for
ten runs (start, imports) and the time that the cohorts trained, which the runs' records tell; the rest is divided by the runs.
A third of it or more is the disk: a run is a folder of seven files.

Ends with 1 when a run costs more than LIMIT, or when more runs make each of them dearer.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 5.0  # milliseconds a run
GROWTH = 1.5  # the last row against the first
FEW = 10
SWEEP = ("optimizer.lr=0.1,0.01", "activation=relu,tanh,gelu,selu,elu", "dataset=moons", "trainer.max_steps=1", "logger=none")


def measure(runs: int) -> tuple[float, float]:
    """Seconds that a sweep of ``runs`` runs takes as a whole, and seconds of it that its cohorts trained."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        command = [sys.executable, "-m", "dlrun", "-m", f"seed=range(0,{runs // 10})", *SWEEP, f"output_dir={folder}"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        clock = time.perf_counter() - start
        records = [json.loads(path.read_text()) for path in Path(folder).glob("runs/*/result.json")]
    assert len(records) == runs
    return clock, sum(record["seconds"] for record in records)


def main() -> int:
    """Print a row for each number of runs."""
    os.environ["OMP_NUM_THREADS"] = "1"
    numbers = [int(word) for word in sys.argv[1:]] or [1000, 5000]
    few_clock, few_trained = min(measure(FEW) for _ in range(3))
    print(f"{FEW} runs: {few_clock:.2f} s, the fastest of three, which is taken for the start")
    print(f"{'runs':>6} {'clock':>9} {'trained':>9} {'overhead a run':>16}")
    each = []
    for runs in numbers:
        clock, trained = measure(runs)
        each.append(1e3 * (clock - few_clock - (trained - few_trained)) / (runs - FEW))
        print(f"{runs:>6} {clock:>7.2f} s {trained:>7.2f} s {each[-1]:>13.2f} ms")
    if max(each) > LIMIT or each[-1] > GROWTH * each[0]:
        print(f"above the limits: {LIMIT} ms a run, {GROWTH} times as much with more runs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
