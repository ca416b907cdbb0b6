"""What checkpoints cost: taken, packed and written to the store, against the training between two of them.

    .venv/bin/python benchmarks/checkpoints.py     a table in Markdown; exits with 1 when the default costs more than MOST

Wall clock, the mean of REPEATS checkpoints of cohorts that have trained an epoch. The share is that of the time from one to the
next at trainer.checkpoint_s=30; a checkpoint that takes more than 0.3 s delays the next one.
"""

import sys
import tempfile
import time
from pathlib import Path

import torch

from dlrun.engine.checkpoint import Keeper, take
from dlrun.experiments.checkpoints import saved
from dlrun.results.record import utc_now
from dlrun.results.store import Store
from dlrun.threads import set_thread_count
from work import NETS, seeds, trainings

MOST = 0.02
REPEATS = 5
SECONDS = 30.0
COHORTS = {
    "notes 10-5-1, adam, 256 runs": (256, NETS["notes"].settings),
    "diabetes 10-64-64-1, adam, 64 runs": (64, NETS["mlp"].settings),
    "cnn on digits, adam, 32 runs": (32, {"dataset": "digits", "model": "cnn", "batch_size": 16}),
    "diabetes 10-1024-1024-1, adam, 16 runs": (16, {"dataset": "diabetes", "hidden": (1024, 1024), "batch_size": 32}),
}


def main() -> int:
    set_thread_count(1)
    print("| cohort | MB | ms | share of training |\n|---|---:|---:|---:|")
    worst = 0.0
    for name, (count, given) in COHORTS.items():
        runs = [f"{number:012x}" for number in range(count)]
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder))
            store.prepare()
            (training,) = trainings(seeds(count, **given))
            training.epoch(0)
            training.evaluate(1)
            started = time.perf_counter()
            for _ in range(REPEATS):
                checkpoint = saved(training.cohort, runs, take(training, 1, 0.0))
                store.keep_checkpoint(checkpoint)
            each = (time.perf_counter() - started) / REPEATS
        share = each / (each + Keeper.pause(SECONDS, each))
        worst = max(worst, share)
        print(f"| {name} | {len(checkpoint.content) / 1e6:.1f} | {each * 1e3:.0f} | {share:.2%} |", flush=True)
    print(f"\n{utc_now()[:10]}, torch {torch.__version__}")
    return int(worst > MOST)


if __name__ == "__main__":
    sys.exit(main())
