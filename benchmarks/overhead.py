"""What whole commands take, from their start to the end of their table: beside an earlier build, and with more and more runs.

    git worktree add /tmp/earlier bc64056
    python benchmarks/overhead.py --beside /tmp/earlier      this build and that one in turn, each command three times
    python benchmarks/overhead.py --runs 1000 10000 100000   what a run costs of a sweep over so many seeds
    python benchmarks/overhead.py --beside /tmp/earlier --runs 4100   the same in both builds, in processor time

Prints wall clock, processor time and the memory of all processes together at its peak, the least of each, and their ratios. With
--runs also the processor time of the main thread: on a machine with another core to spare and nothing else to do a command takes
little longer. It ends with 1 when more runs make each of them dearer by more than GROWTH.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

HERE = Path(__file__).parents[1]
GROWTH = 1.5
FEW = 10  # runs whose sweep is taken for the start
LOOK = 0.05  # seconds between two looks at the memory
COMMANDS = (
    (),
    ("-m", "seed=range(0,100)"),
    ("-m", "activation=glob(*)", "optimizer=glob(*)", "seed=range(0,10)", "dataset=moons"),
    ("-m", "experiment=notes_diabetes", "seed=range(0,10000)"),
)


class Cost(NamedTuple):
    """Seconds by the clock, of processors, and of a processor for the main thread; bytes."""

    clock: float
    processor: float
    main: float
    memory: float


def measured(source: Path, words: Sequence[str]) -> Cost:
    """What a command takes with the sources of a checkout, and with all of its worker processes."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPATH": str(source / "src"), "DLRUN_OUTPUT_DIR": folder}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed dlrun is compiled once
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "dlrun", *words],
            env=environment,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        seen = [0.0, 0]
        watcher = threading.Thread(target=_watch, args=(process, seen))
        watcher.start()
        _, said = process.communicate()
        clock = time.perf_counter() - started
        watcher.join()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(said.decode())
    return Cost(clock, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, *seen)


def _watch(process: "subprocess.Popen[bytes]", seen: list[float]) -> None:
    """Keep the seconds of a process's main thread, and the most memory that it and its children have at a time."""
    while process.poll() is None:
        found = 0
        try:
            parent = psutil.Process(process.pid)
            for each in (parent, *parent.children(recursive=True)):
                found += each.memory_info().rss
            seen[0] = next(each.user_time + each.system_time for each in parent.threads() if each.id == process.pid)
        except (psutil.Error, StopIteration):  # it has just ended
            pass
        seen[1] = max(seen[1], found)
        time.sleep(LOOK)


def least(several: Sequence[Cost]) -> Cost:
    """The least of each."""
    return Cost(*map(min, zip(*several, strict=True)))


def beside(earlier: Path, repeats: int) -> None:
    """A row for each command."""
    print("| command | seconds | earlier | ratio | processor | earlier | ratio | MiB | earlier |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for words in COMMANDS:
        pairs = [(measured(HERE, words), measured(earlier, words)) for _ in range(repeats)]
        now, then = (least(each) for each in zip(*pairs, strict=True))
        print(
            f"| `{' '.join(('dlrun', *words))}` | {now.clock:.1f} | {then.clock:.1f} | {now.clock / then.clock:.2f} "
            f"| {now.processor:.1f} | {then.processor:.1f} | {now.processor / then.processor:.2f} "
            f"| {now.memory / 2**20:.0f} | {then.memory / 2**20:.0f} |",
            flush=True,
        )


def growing(numbers: Sequence[int], repeats: int) -> int:
    """A row for each number of runs. Returns the exit code."""
    words = ("-m", "experiment=notes_diabetes")
    few = least([measured(HERE, (*words, f"seed=range(0,{FEW})")) for _ in range(repeats)])
    print(f"| runs | seconds | processor | main thread | MiB | milliseconds a run beyond the {few.clock:.1f} s of {FEW} runs |")
    print("|---:|---:|---:|---:|---:|---:|", flush=True)
    each = []
    for runs in numbers:
        cost = measured(HERE, (*words, f"seed=range(0,{runs})"))
        each.append(1e3 * (cost.clock - few.clock) / (runs - FEW))
        times = f"{cost.clock:.1f} | {cost.processor:.1f} | {cost.main:.1f}"
        print(f"| {runs:,} | {times} | {cost.memory / 2**20:.0f} | {each[-1]:.2f} |", flush=True)
    if each[-1] > GROWTH * each[0]:
        print(f"above the limit: {GROWTH} times as much with more runs", file=sys.stderr)
        return 1
    return 0


def growing_beside(earlier: Path, numbers: Sequence[int], repeats: int) -> None:
    """For each number of runs what one of them costs in both builds beyond the start."""
    words, sources = ("-m", "experiment=notes_diabetes"), (HERE, earlier)
    few = [least([measured(source, (*words, f"seed=range(0,{FEW})")) for _ in range(repeats)]) for source in sources]
    print("| runs | ms of processors a run | earlier | ratio | ms of the main thread | earlier | ratio | MiB | earlier |")
    print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for runs in numbers:
        costs = [least([measured(source, (*words, f"seed=range(0,{runs})")) for _ in range(repeats)]) for source in sources]
        found = []
        for kind in ("processor", "main"):
            each = [getattr(cost, kind) - getattr(start, kind) for cost, start in zip(costs, few, strict=True)]
            now, then = (1e3 * seconds / (runs - FEW) for seconds in each)
            found.append(f"{now:.2f} | {then:.2f} | {now / then:.2f}")
        memory = " | ".join(f"{cost.memory / 2**20:.0f}" for cost in costs)
        print(f"| {runs:,} | {' | '.join(found)} | {memory} |", flush=True)


def main() -> int:
    """Print the tables that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=Path, help="a checkout of the build to compare with")
    parser.add_argument("--runs", type=int, nargs="+", default=[], help="numbers of seeds of a sweep")
    parser.add_argument("--repeats", type=int, default=3, help="how often each command runs; the least counts")
    asked = parser.parse_args()
    if asked.beside is not None:
        if asked.runs:
            growing_beside(asked.beside, asked.runs, asked.repeats)
        else:
            beside(asked.beside, asked.repeats)
        return 0
    return growing(asked.runs or [1000, 10_000], asked.repeats)


if __name__ == "__main__":
    sys.exit(main())
