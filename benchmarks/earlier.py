"""Steps of a build from before the kernel (bc64056), in a process of its own: what engine.py --beside measures.

    PYTHONPATH=/tmp/earlier/src python benchmarks/earlier.py "moons 2-32-32-1, batch 16, 100 runs" 2

Prints the microseconds for a step of one run: the fastest epoch of so many seconds.
"""

import sys
import time
from typing import Any

import torch
from dlrun.engine.process import at_speed  # type: ignore[import-not-found]
from dlrun.experiments.cohorts import Datasets, plan  # type: ignore[import-not-found]
from dlrun.experiments.cut import cut  # type: ignore[import-not-found]

from dlrun.engine.trainer import Training
from work import one_core, specs
from works import WORKS


def main(name: str, seconds: float) -> None:
    one_core()
    torch.set_num_threads(1)
    (work,) = (work for work in WORKS if work.name == name)
    with torch.no_grad(), at_speed():
        planned = plan(specs(work.runs), Datasets())
        trainings: list[Any] = [Training(piece.cohort) for each in planned for piece in cut(each, 1 << 40)]
        best, number, end = [float("inf")] * len(trainings), 0, time.perf_counter() + seconds
        while time.perf_counter() < end or number < 3:
            for place, training in enumerate(trainings):
                before = time.process_time()
                training.epoch(number)
                taken = (time.process_time() - before) / training.steps_per_epoch
                best[place] = min(best[place], taken) if number else best[place]
            number += 1
    print(sum(best) / len(work.runs) * 1e6)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
