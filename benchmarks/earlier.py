"""Steps of a build from before the kernel (bc64056), in a process of its own: what engine.py --beside measures.

    PYTHONPATH=/tmp/earlier/src python benchmarks/earlier.py "moons 2-32-32-1, batch 16, 100 runs" 2

Prints the microseconds for a step of one run: the fastest epoch of so many seconds.
"""

import sys

import torch
from dlrun.engine.process import at_speed  # type: ignore[import-not-found]
from dlrun.experiments.cohorts import Datasets, plan  # type: ignore[import-not-found]
from dlrun.experiments.cut import cut  # type: ignore[import-not-found]

from dlrun.engine.trainer import Training
from work import one_core, specs
from works import WORKS, Contestant


def main(name: str, seconds: float) -> None:
    one_core()
    torch.set_num_threads(1)
    (work,) = (work for work in WORKS if work.name == name)
    with torch.no_grad(), at_speed():
        planned = plan(specs(work.runs), Datasets())
        found = Contestant(work, [Training(piece.cohort) for each in planned for piece in cut(each, 1 << 40)])
        found.train(seconds)
    print(found.microseconds)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
