"""A step by the kernel beside the same step by torch, in one process on one core, and the limits that hold it there.

    .venv/bin/python benchmarks/engine.py             a table in Markdown; exits with 1 when a limit is broken
    .venv/bin/python benchmarks/engine.py --seconds 3 longer, for quieter figures
    git worktree add /tmp/earlier bc64056
    .venv/bin/python benchmarks/engine.py --beside /tmp/earlier   beside a build from before the kernel, with the same limits

Both take turns, and the fastest epoch of each counts, in processor time: batches drawn and gathered, evaluation left out.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from dlrun.threads import set_thread_count
from work import one_core, trainings
from works import WORKS, Contestant, Work

HERE = Path(__file__).parent


def contestant(work: Work, engine: str) -> Contestant:
    """One way of training these runs."""
    found = trainings(work.runs, engine=engine)
    names = {training.way.name for training in found}
    assert names == {"torch" if engine == "torch" else "native"}, names
    return Contestant(work, found)


def measured(work: Work, seconds: float) -> tuple[float, float]:
    """Microseconds for a step of one run: by the kernel, by torch."""
    ways = [contestant(work, "auto"), contestant(work, "torch")]
    spent = [0.0, 0.0]
    while min(spent) < seconds or min(way.number for way in ways) < 3:
        least = spent.index(min(spent)) if min(way.number for way in ways) >= 3 else min((0, 1), key=lambda i: ways[i].number)
        spent[least] += ways[least].epoch()
    return ways[0].microseconds, ways[1].microseconds


def beside(work: Work, seconds: float, earlier: Path) -> tuple[float, float]:
    """The same by the kernel and by an earlier build, which has its turn before and after."""
    command = [sys.executable, str(HERE / "earlier.py"), work.name, str(seconds / 2)]
    environment = os.environ | {"PYTHONPATH": f"{earlier / 'src'}{os.pathsep}{HERE}"}

    def before() -> float:
        return float(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)

    first, way = before(), contestant(work, "auto")
    way.train(seconds)
    return way.microseconds, min(first, before())


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--only", default="")
    parser.add_argument("--beside", type=Path, help="a checkout of bc64056, measured instead of torch")
    options = parser.parse_args()
    one_core()
    set_thread_count(1)
    other = "earlier" if options.beside else "torch"
    print(f"| microseconds for a step of one run | kernel | {other} | ratio | at most | |\n|---|---:|---:|---:|---:|---|")
    broken = 0
    for work in WORKS:
        if options.only not in work.name:
            continue
        kernel, plain = (
            beside(work, options.seconds, options.beside.resolve()) if options.beside else measured(work, options.seconds)
        )
        ratio = kernel / plain
        broken += ratio > work.at_most
        said = "holds" if ratio <= work.at_most else "**broken**"
        print(
            f"| {work.name} | {kernel:.3g} | {plain:.3g} | 1/{1 / ratio:.1f} | 1/{1 / work.at_most:.3g} | {said} |",
            flush=True,
        )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
