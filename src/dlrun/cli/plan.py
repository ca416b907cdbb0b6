"""``dlrun plan``: lay a sweep out and show it, train nothing."""

from collections.abc import Sequence

from dlrun.cli.arguments import parse
from dlrun.cli.train import start

USAGE = """\
usage: dlrun plan [-m] [group=option,option ...] [key=value,value ...] [--json] [flags]

Shows what a sweep would train: how many runs, in which cohorts, what is skipped and why, what is finished already, and an
estimate of time and memory. Takes the words of dlrun -m, and trains nothing.

Examples:
  dlrun plan 'activation=glob(*)' 'optimizer=glob(*)' 'seed=range(0,10)' dataset=moons
  dlrun plan loss=mse,mae,cross_entropy dataset=diabetes,iris
"""


def run(words: Sequence[str]) -> int:
    """Show the plan of a sweep. Returns the exit code."""
    arguments = parse(words)
    arguments.flags["--multirun"] = ""
    return start(arguments, plan_only=True)
