"""dlrun beside its peers on the same work: seconds for a step of one run, on one core each.

    make bench-peers

Every contestant is a process of its own, bound to one core, and what counts is processor time. dlrun is measured before and
after each of them, and a ratio is taken against the mean of the two, so that a slow minute of the machine does not decide. Peers
that train one run after the other cost the same for each, so they are measured with one. Writes results.json, peers.svg and the
tables in README.md.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
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
LIMITS = {  # at R = 256, dlrun's time divided by the peer's: by its kernel, and by torch
    ("notes", "plain"): (1 / 1500, 1 / 100),
    ("notes", "lightning"): (1 / 3000, 1 / 400),
    ("notes", "jax"): (1 / 7, 1.0),
    ("notes", "c fast"): (1.0, 12.0),
    ("mlp", "jax"): (1.0, 2.0),
    ("mlp", "c fast"): (1.0, 2.0),
}
WAYS = ("auto", "torch")  # trainer.engine
Row = dict[str, Any]


def child(*words: str) -> dict[str, float]:
    """What a process prints as its last line, read as JSON."""
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(words, cwd=HERE, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr.strip().splitlines()[-1:]}")
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def dlrun(name: str, runs: int, engine: str) -> float:
    return child(sys.executable, "peers.py", "--dlrun", name, str(runs), engine)["seconds"]


def program(name: str, net: Net, folder: Path, *flags: str) -> Path:
    """The C program, compiled for a network."""
    target = folder / f"{name}{len(flags)}"
    sizes = ",".join(map(str, (10, *net.hidden, 1)))
    defines = (f"-DSIZES={sizes}", f"-DLAYERS={len(net.hidden) + 1}", f"-DBATCH={net.batch}")
    subprocess.run(("gcc", "-O3", "-march=native", *flags, *defines, str(HERE / "step.c"), "-o", str(target), "-lm"), check=True)
    return target


def measure(runs: tuple[int, ...]) -> list[Row]:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, net in NETS.items():
            programs = {"c": program(name, net, Path(scratch)), "c fast": program(name, net, Path(scratch), "-ffast-math")}
            for count in runs:
                for peer in LABELS:
                    if peer in ONE_AFTER_THE_OTHER and count not in (1, 256):
                        continue
                    words = (str(programs[peer]), str(count)) if peer in programs else peer_words(peer, name, count)
                    rows += beside(name, count, peer, words)
    return rows


def peer_words(peer: str, name: str, count: int) -> tuple[str, ...]:
    return str(PEERS_PYTHON), "peer.py", peer, name, str(count)


def beside(name: str, count: int, peer: str, words: tuple[str, ...]) -> list[Row]:
    """A peer, with both ways of dlrun measured before and after it."""
    before = {engine: dlrun(name, count, engine) for engine in WAYS}
    found = child(*words)
    rows = []
    for engine, earlier in before.items():
        ours = (earlier + dlrun(name, count, engine)) / 2
        rows.append({"net": name, "runs": count, "peer": peer, "engine": engine} | found)
        rows[-1] |= {"dlrun": ours, "ratio": ours / found["seconds"]}
        print(
            f"{name:6s} R={count:<5d} {peer:10s} {found['seconds'] * 1e6:10.3f} us, dlrun {engine} {ours * 1e6:8.3f} us",
            flush=True,
        )
    return rows


def whole_processes() -> dict[str, float]:
    """Seconds that whole processes take of processors: one run, 256 seeds, and a job by Hydra's basic launcher (from 8 jobs)."""
    command = str(Path(sys.executable).with_name("dlrun"))

    def timed(words: tuple[str, ...], folder: str) -> float:
        before = os.times()
        subprocess.run(words, cwd=folder, check=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(HERE)})
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    with tempfile.TemporaryDirectory() as folder:
        base = (command, "experiment=notes_diabetes", "logger=none", f"output_dir={folder}")
        one = min(timed((*base, f"seed={1000 + i}"), folder) for i in range(3))
        many = min(timed((*base, "-m", f"seed=range({i},{i + 256})"), folder) for i in (2000, 3000))
        jobs = [timed((str(PEERS_PYTHON), str(HERE / "job.py"), "-m", f"+seed=range(0,{n})"), folder) for n in (2, 10)]
    return {"one": one, "many": many, "basic launcher, a job": (jobs[1] - jobs[0]) / 8}


def shown(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 0.1 else f"1/{1 / ratio:.0f}"


def table(rows: list[Row], name: str) -> str:
    lines = ["| peer | R | peer, us | dlrun, us | dlrun / peer | by torch, us | by torch / peer |", "|---|" + "---:|" * 6]
    mine = [row for row in rows if row["net"] == name]
    for row, by_torch in zip(mine[::2], mine[1::2], strict=True):
        label = LABELS[row["peer"]] + (f" (+ {row['compile']:.1f} s to compile)" if "compile" in row else "")
        figures = " | ".join(f"{each['dlrun'] * 1e6:.3g} | {shown(each['ratio'])}" for each in (row, by_torch))
        lines.append(f"| {label} | {row['runs']} | {row['seconds'] * 1e6:.3g} | {figures} |")
    return "\n".join(lines)


def verdicts(rows: list[Row], whole: dict[str, float]) -> str:
    lines = ["| limit, at R = 256 | measured | at most | |", "|---|---:|---:|---|"]
    found = {(row["net"], row["peer"], row["engine"]): row["ratio"] for row in rows if row["runs"] == 256}

    def line(name: str, ratio: float, limit: float) -> str:
        return f"| {name} | {shown(ratio)} | {shown(limit)} | {'holds' if ratio <= limit else '**missed**'} |"

    for (net, peer), limits in LIMITS.items():
        for engine, limit in zip(WAYS, limits, strict=True):
            lines.append(
                line(f"{net}: {LABELS[peer]}{', dlrun by torch' * (engine == 'torch')}", found[net, peer, engine], limit)
            )
    if whole:
        lines.append(line("whole process: 256 seeds / one run", whole["many"] / whole["one"], 3.0))
    return "\n".join(lines)


def plot(rows: list[Row]) -> None:
    import altair as alt

    points = []
    for row in rows:
        if row["peer"] in ONE_AFTER_THE_OTHER:
            spread = RUNS if row["runs"] == 256 else ()
        else:
            spread = (row["runs"],) if row["peer"] != "c" and row["engine"] == "auto" else ()
        points += [{"network": row["net"], "runs": r, "us": row["seconds"] * 1e6, "who": LABELS[row["peer"]]} for r in spread]
        if row["peer"] == "c fast":
            who = "dlrun" if row["engine"] == "auto" else "dlrun by torch"
            points.append({"network": row["net"], "runs": row["runs"], "us": row["dlrun"] * 1e6, "who": who})
    chart = (
        alt.Chart(alt.Data(values=points))
        .mark_line(point=True)
        .encode(
            alt.X("runs:Q", scale=alt.Scale(type="log", base=4), title="runs trained together"),
            alt.Y("us:Q", scale=alt.Scale(type="log"), title="us for a step of one run, one core"),
            alt.Color("who:N", title=None),
            alt.StrokeDash("who:N", title=None),
        )
    )
    chart.properties(width=330, height=300).facet("network:N", columns=2).save(HERE / "peers.svg")


def write(rows: list[Row], whole: dict[str, float]) -> None:
    processor = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    where = f"{datetime.now(UTC):%Y-%m-%d}, {processor}, {os.cpu_count()} cores, Python {platform.python_version()}"
    results = {"where": where, "steps": rows, "whole processes": whole}
    (HERE / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    plot(rows)
    text = (HERE / "README.md").read_text(encoding="utf-8")
    head, _, rest = text.partition("<!-- figures -->")
    _, _, tail = rest.partition("<!-- end of figures -->")
    figures = [
        f"Measured by `make bench-peers` on {where}.",
        verdicts(rows, whole),
        "![seconds for a step of one run](peers.svg)",
        "### The notes' network: 10-5-1, batch 4",
        table(rows, "notes"),
        "### 10-64-64-1, batch 32",
        table(rows, "mlp"),
    ]
    if whole:
        by_hand = whole["basic launcher, a job"]
        figures += [
            "### Whole processes",
            f"One run of the notes' job takes {whole['one']:.2f} s of a processor as a whole process, 256 seeds "
            f"{whole['many']:.2f} s; a job of Hydra's basic launcher with the plain loop {by_hand:.2f} s, so 256 of them "
            f"{256 * by_hand:.0f} s.",
        ]
    body = "\n\n".join(figures)
    (HERE / "README.md").write_text(f"{head}<!-- figures -->\n\n{body}\n\n<!-- end of figures -->{tail}", encoding="utf-8")
    print(verdicts(rows, whole))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--dlrun", nargs=3, metavar=("NET", "RUNS", "ENGINE"), help="measure dlrun alone, as a child process does"
    )
    parser.add_argument("--runs", type=int, nargs="+", default=RUNS)
    parser.add_argument("--steps", action="store_true", help="leave the whole processes out")
    chosen = parser.parse_args()
    if chosen.dlrun:
        import torch

        name, runs, engine = chosen.dlrun
        one_core()
        torch.set_num_threads(1)
        seconds = dlrun_step(NETS[name], int(runs), 1.5, engine=engine)
        print(json.dumps({"seconds": seconds}))
        return
    write(measure(tuple(chosen.runs)), {} if chosen.steps else whole_processes())


if __name__ == "__main__":
    main()
