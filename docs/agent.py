"""A program that tries ideas and keeps those that help.

    python docs/agent.py IDEAS --margin 0.01 --max-seeds 300

IDEAS is a folder with experiment/baseline.yaml and a file for each idea beside it, as for ``dlrun --config-dir IDEAS``. An idea
is kept when it is shown to be better than the baseline, and the measured difference is more than the margin; with probability
alpha at most, any is kept that is not better. docs/agents.md explains each step.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

BASELINE = "baseline"
SETTLED, BAD_INPUT, NOT_SETTLED = 0, 2, 4  # exit codes of dlrun that are met here; others end the program

Answer = tuple[int, Any]
Ask = Callable[[Sequence[str]], Answer]


def ask(words: Sequence[str]) -> Answer:
    """The exit code of a command, and the document that it printed; None where it printed none."""
    done = subprocess.run([sys.executable, "-m", "dlrun", *words, "--json"], stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else None


def working(ideas: Path, dlrun: Ask) -> list[str]:
    """The names of the experiments that train at all."""
    _, tried = dlrun(["smoke", "--config-dir", str(ideas)])
    if tried is None:
        raise SystemExit(BAD_INPUT)
    for one in tried["experiments"]:
        if not one["passed"]:
            print(f"{one['experiment']}: does not work: {one['reason']}", file=sys.stderr)
    names = [one["experiment"] for one in tried["experiments"] if one["passed"]]
    if BASELINE not in names:
        raise SystemExit(f"{ideas}: needs experiment/{BASELINE}.yaml, which works")
    return names


def better(settled: Any) -> list[str]:
    """The experiments that are shown to be better than the baseline, with a measured difference of more than the margin."""
    (dataset,) = settled["datasets"]  # ideas that change the data cannot be compared
    return [
        one["factors"]["experiment"]
        for one in dataset["configurations"]
        if one["verdict"] == "better" and abs(one["difference"]) > dataset["margin"]
    ]


def keep(ideas: Path, margin: float, alpha: float, most: int, settings: Sequence[str] = (), dlrun: Ask = ask) -> list[str]:
    """The ideas to keep. All compete at once: they share seeds, and the error of any wrong verdict is bounded for all of them.

    Args:
        ideas: the folder of options.
        margin: the smallest difference that matters, in the metric's unit.
        alpha: the probability that any verdict is false.
        most: seeds for each; an idea that is not settled by then is not kept.
        settings: further settings of all.
        dlrun: what carries a command out.
    """
    names = ",".join(working(ideas, dlrun))
    words = ["settle", f"experiment={names}", "--config-dir", str(ideas), "--reference", BASELINE, *settings]
    code, settled = dlrun([*words, "--margin", str(margin), "--alpha", str(alpha), "--max-seeds", str(most)])
    if code not in (SETTLED, NOT_SETTLED):
        raise SystemExit(code)
    return better(settled)


def main() -> None:
    """Print the names of the ideas to keep, a line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ideas", type=Path, help="the folder of options")
    parser.add_argument("--margin", type=float, required=True, help="the smallest difference that matters")
    parser.add_argument("--alpha", type=float, default=0.05, help="the probability that any verdict is false")
    parser.add_argument("--max-seeds", type=int, default=300, help="seeds for each idea")
    parser.add_argument("settings", nargs="*", help="settings of all, such as timeout_s=600")
    given = parser.parse_args()
    for name in keep(given.ideas, given.margin, given.alpha, given.max_seeds, given.settings):
        print(name)


if __name__ == "__main__":
    main()
