"""dlrun beside its peers on the same work: seconds for a step of one run, on one core each.

    make bench-peers

Every contestant is a process of its own, bound to one core. dlrun is measured before and after each of them, and a ratio is
taken against the mean of the two, so that a slow minute of the machine does not decide. Writes results.json, peers.svg and the
tables in README.md.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from work import NETS, Net, dlrun_step, one_core

HERE = Path(__file__).parent
PEERS_PYTHON = HERE.parent / ".venv-peers" / "bin" / "python"
RUNS = (1, 16, 64, 256, 1024)
ONE_AFTER_THE_OTHER = ("plain", "lightning", "skorch", "sklearn")  # their cost a run does not depend on how many there are
LABELS = {
    "plain": "PyTorch + DataLoader",
    "lightning": "Lightning",
    "skorch": "skorch",
    "sklearn": "scikit-learn MLPRegressor",
    "jax": "JAX, vmap of a jitted scan",
    "c": "C, -O3 -march=native",
    "c fast": "C, -O3 -march=native -ffast-math",
}
LIMITS = {  # dlrun's time divided by the peer's, at R = 256
    ("notes", "plain"): 1 / 100,
    ("notes", "lightning"): 1 / 400,
    ("notes", "jax"): 1.0,
    ("mlp", "jax"): 1.0,
    ("notes", "c"): 12.0,
    ("mlp", "c"): 2.0,
}
COMPILED_LIMITS = {("notes", "c"): 8.0, ("mlp", "c"): 1.5}


def child(*words: str) -> dict[str, float]:
    """What a process prints as its last line, read as JSON."""
    environment = os.environ | {"PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, cwd=HERE, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr.strip().splitlines()[-1:]}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def dlrun(name: str, runs: int, compiled: bool) -> dict[str, float]:
    return child(sys.executable, "peers.py", "--dlrun", name, str(runs), "compiled" if compiled else "eager")


def program(name: str, net: Net, folder: Path, *flags: str) -> Path:
    """The C program, compiled for a network."""
    target = folder / f"{name}{len(flags)}"
    sizes = "{" + ",".join(map(str, (10, *net.hidden, 1))) + "}"
    defines = (f"-DSIZES={sizes}", f"-DLAYERS={len(net.hidden) + 1}", f"-DBATCH={net.batch}")
    options = ("-O3", "-march=native", *flags, *defines)
    subprocess.run(("gcc", *options, str(HERE / "step.c"), "-o", str(target), "-lm"), check=True)
    return target


def c_step(path: Path, runs: int) -> dict[str, float]:
    steps = max(4, 20_000 // runs) if "notes" in path.name else max(2, 800 // runs)
    done = subprocess.run(("taskset", "-c", "0", str(path), str(runs), str(steps)), capture_output=True, text=True, check=True)
    words = done.stdout.split()
    return {"seconds": float(words[words.index("best") + 1]) * 1e-6}


def measure(runs: tuple[int, ...]) -> list[dict[str, Any]]:
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, net in NETS.items():
            programs = {"c": program(name, net, Path(scratch)), "c fast": program(name, net, Path(scratch), "-ffast-math")}
            for count in runs:
                ours = dlrun(name, count, False)
                for peer in (*ONE_AFTER_THE_OTHER, "jax", "c", "c fast"):
                    if peer in ONE_AFTER_THE_OTHER and count not in (1, 256):
                        continue  # measured beside R = 1 and R = 256; the cost a run is the same
                    found = (
                        c_step(programs[peer], count)
                        if peer in programs
                        else child(str(PEERS_PYTHON), "peer.py", peer, name, str(count))
                    )
                    again = dlrun(name, count, False)
                    mean = (ours["seconds"] + again["seconds"]) / 2
                    rows.append(
                        {"net": name, "runs": count, "peer": peer, **found, "dlrun": mean, "ratio": mean / found["seconds"]}
                    )
                    print(
                        f"{name:6s} R={count:<5d} {peer:10s} {found['seconds'] * 1e6:10.2f} us, dlrun {mean * 1e6:8.2f} us",
                        flush=True,
                    )
                    ours = again
            limit = c_step(programs["c"], 256)
            compiled = dlrun(name, 256, True)
            mean = (limit["seconds"] + c_step(programs["c"], 256)["seconds"]) / 2
            rows.append(
                {
                    "net": name,
                    "runs": 256,
                    "peer": "c, dlrun compiled",
                    "seconds": mean,
                    "dlrun": compiled["seconds"],
                    "ratio": compiled["seconds"] / mean,
                }
            )
            print(f"{name:6s} R=256   compiled   dlrun {compiled['seconds'] * 1e6:8.2f} us, C {mean * 1e6:8.2f} us", flush=True)
    return rows


def whole_processes() -> dict[str, float]:
    """Seconds of whole processes: one run, 256 seeds, and the same by Hydra's basic launcher (from 8 jobs)."""
    command = str(Path(sys.executable).with_name("dlrun"))

    def timed(words: tuple[str, ...], folder: str) -> float:
        started = time.perf_counter()
        subprocess.run(words, cwd=folder, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(HERE)})
        return time.perf_counter() - started

    with tempfile.TemporaryDirectory() as folder:
        base = (command, "experiment=notes_diabetes", "logger=none", f"output_dir={folder}")
        one = min(timed((*base, f"seed={1000 + i}"), folder) for i in range(3))
        many = timed((*base, "-m", "seed=range(0,256)"), folder)
        jobs = [timed((str(PEERS_PYTHON), str(HERE / "job.py"), "-m", f"+seed=range(0,{n})"), folder) for n in (2, 10)]
    return {"one": one, "many": many, "basic launcher, a job": (jobs[1] - jobs[0]) / 8}


def table(rows: list[dict[str, Any]], name: str) -> str:
    lines = ["| peer | R | peer, us | dlrun, us | dlrun / peer |", "|---|---:|---:|---:|---:|"]
    for row in rows:
        if row["net"] == name:
            ratio = f"{row['ratio']:.2f}" if row["ratio"] > 0.1 else f"1/{1 / row['ratio']:.0f}"
            label = LABELS.get(row["peer"], row["peer"])
            compiling = f" (+ {row['compile']:.1f} s to compile)" if "compile" in row else ""
            lines.append(
                f"| {label}{compiling} | {row['runs']} | {row['seconds'] * 1e6:.2f} | {row['dlrun'] * 1e6:.2f} | {ratio} |"
            )
    return "\n".join(lines)


def verdicts(rows: list[dict[str, Any]], whole: dict[str, float]) -> str:
    lines = ["| limit | measured | at most | |", "|---|---:|---:|---|"]
    found = {(row["net"], row["peer"]): row["ratio"] for row in rows if row["runs"] == 256}
    for (net, peer), limit in LIMITS.items():
        lines.append(_verdict(f"{net}: {LABELS[peer]}", found[net, peer], limit))
    for (net, peer), limit in COMPILED_LIMITS.items():
        lines.append(_verdict(f"{net}: {LABELS[peer]}, dlrun compiled", found[net, f"{peer}, dlrun compiled"], limit))
    lines.append(_verdict("whole process: 256 seeds / one run", whole["many"] / whole["one"], 3.0))
    return "\n".join(lines)


def _verdict(name: str, ratio: float, limit: float) -> str:
    def shown(value: float) -> str:
        return f"{value:.2f}" if value >= 0.1 else f"1/{1 / value:.0f}"

    return f"| {name} | {shown(ratio)} | {shown(limit)} | {'holds' if ratio <= limit else '**missed**'} |"


def plot(rows: list[dict[str, Any]]) -> None:
    import altair as alt

    points = []
    for row in rows:
        if "compiled" in row["peer"] or row["peer"] == "c fast":
            continue
        spread = RUNS if row["peer"] in ONE_AFTER_THE_OTHER and row["runs"] == 256 else (row["runs"],)
        if row["peer"] in ONE_AFTER_THE_OTHER and row["runs"] == 1:
            continue
        points += [{"network": row["net"], "runs": r, "us": row["seconds"] * 1e6, "who": LABELS[row["peer"]]} for r in spread]
        if row["peer"] == "c":
            points.append({"network": row["net"], "runs": row["runs"], "us": row["dlrun"] * 1e6, "who": "dlrun"})
    chart = (
        alt.Chart(alt.Data(values=points))
        .mark_line(point=True)
        .encode(
            alt.X("runs:Q", scale=alt.Scale(type="log", base=4), title="runs trained together"),
            alt.Y("us:Q", scale=alt.Scale(type="log"), title="us for a step of one run, one core"),
            alt.Color("who:N", title=None),
        )
    )
    chart.properties(width=330, height=300).facet("network:N", columns=2).save(HERE / "peers.svg")


def write(rows: list[dict[str, Any]], whole: dict[str, float]) -> None:
    processor = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    where = f"{datetime.now(UTC):%Y-%m-%d}, {processor}, {os.cpu_count()} cores, Python {platform.python_version()}"
    (HERE / "results.json").write_text(json.dumps({"where": where, "steps": rows, "whole processes": whole}, indent=1) + "\n")
    plot(rows)
    text = (HERE / "README.md").read_text(encoding="utf-8")
    head, _, rest = text.partition("<!-- figures -->")
    _, _, tail = rest.partition("<!-- end of figures -->")
    by_hand = whole["basic launcher, a job"]
    figures = [
        f"Measured by `make bench-peers` on {where}.",
        verdicts(rows, whole),
        "![seconds for a step of one run](peers.svg)",
        "### The notes' network: 10-5-1, batch 4",
        table(rows, "notes"),
        "### 10-64-64-1, batch 32",
        table(rows, "mlp"),
        "### Whole processes",
        f"One run of the notes' job takes {whole['one']:.2f} s as a whole process, 256 seeds {whole['many']:.2f} s; a job of "
        f"Hydra's basic launcher with the plain loop {by_hand:.2f} s, so 256 of them {256 * by_hand:.0f} s.",
    ]
    body = "\n\n".join(figures)
    (HERE / "README.md").write_text(f"{head}<!-- figures -->\n\n{body}\n\n<!-- end of figures -->{tail}", encoding="utf-8")
    print(verdicts(rows, whole))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dlrun", nargs=3, metavar=("NET", "RUNS", "HOW"), help="measure dlrun alone, as a child process does")
    parser.add_argument("--runs", type=int, nargs="+", default=RUNS)
    chosen = parser.parse_args()
    if chosen.dlrun:
        name, runs, how = chosen.dlrun
        one_core()
        print(json.dumps({"seconds": dlrun_step(NETS[name], int(runs), 1.5, compile=how == "compiled")}))
        return
    write(measure(tuple(chosen.runs)), whole_processes())


if __name__ == "__main__":
    main()
