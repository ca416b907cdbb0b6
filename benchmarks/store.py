"""What a sweep of many small runs costs with its results: whole processes, beside a checkout of an earlier build.

    git worktree add /tmp/earlier d05048c
    python benchmarks/store.py --beside /tmp/earlier --runs 10000

Prints seconds and bytes on disk of each build, their ratio, and how long it takes to list the runs, to tell the status of the
sweep, and to compare it again.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parents[1]


def timed(source: Path, out: Path, *words: str) -> float:
    environment = os.environ | {"PYTHONPATH": str(source / "src"), "DLRUN_OUTPUT_DIR": str(out), "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "dlrun", *words], env=environment, check=True, capture_output=True, cwd=source)
    return time.perf_counter() - started


def disk_bytes(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in (folder, *folder.rglob("*")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--beside", type=Path, help="a checkout of the build to compare with")
    parser.add_argument("--runs", type=int, default=10_000)
    asked = parser.parse_args()
    words = ("-m", "experiment=notes_diabetes", f"seed=range(0,{asked.runs})", "baseline=[]")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, source in (("earlier", asked.beside), ("this", HERE)):
            if source is None:
                continue
            out = Path(folder, name)
            seconds, kept = timed(source, out, *words), disk_bytes(out)
            found[name] = seconds, kept
            print(f"{name:8} {seconds:8.1f} s {kept / 2**20:8.1f} MiB on disk, {kept / asked.runs:.0f} bytes a run", flush=True)
        if len(found) == 2:
            (before, most), (now, least) = found["earlier"], found["this"]
            print(f"ratio    {now / before:8.0%}   {least / most:8.0%}", flush=True)
        for again in (("runs",), ("status",), ("compare",), words):
            print(f"dlrun {again[0]:8} {timed(HERE, Path(folder, 'this'), *again):.1f} s", flush=True)


if __name__ == "__main__":
    main()
