"""``dlrun settle``: add seeds to a sweep until its comparisons are settled."""

import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dlrun.cli.arguments import JSON, parse
from dlrun.cli.stored import flags_of
from dlrun.cli.terminal.screen import show_json
from dlrun.cli.train import start
from dlrun.errors import InputError, plural, printable

if TYPE_CHECKING:
    from dlrun.comparison.race import Race, Standing
    from dlrun.experiments.experiment import How
    from dlrun.experiments.settle import Settlement

USAGE = """\
usage: dlrun settle [group=option,option ...] [key=value,value ...] [--margin X] [--alpha 0.05] [--max-seeds 1000]
                    [--reference R] [--metric M] [--json] [flags]

Trains the configurations of a sweep (the words of dlrun -m, without seeds or with the first ones) and adds seeds in batches,
until each configuration is better than, worse than or equivalent to the best so far. Whoever is worse gets no more seeds. The
inference allows for looking after every seed: with probability alpha at most, any of all verdicts is false. Nothing is settled
with fewer than 30 seeds. The command goes on where it was when it is given again.

  --margin X      the largest difference that does not matter, in the metric's unit; without it nothing is equivalent
  --alpha A       the probability that any verdict is false
  --max-seeds N   the most seeds of a configuration
  --reference R   compare each with this one instead of the best, such as relu or [relu,sgd]
  --metric M      what is compared; the task's main metric when not given
  --json          print the result as JSON

Exit codes: 0 settled, 4 not settled, 1 a run failed or timeout_s is over, 2 bad input, 130 and 143 interrupted.

Examples:
  dlrun settle dataset=moons activation=relu,tanh,gelu --margin 0.005
  dlrun settle loss=mse,huber --reference mse --max-seeds 200
  dlrun settle 'optimizer=glob(*)' dataset=iris --margin 0.01 --json
"""
SETTINGS = {"--margin": "margin", "--reference": "reference", "--metric": "metric"}  # flags that are settings of every sweep
NUMBERS: dict[str, tuple[Callable[[str], float], str]] = {
    "--alpha": (float, "a number between 0 and 0.5, such as 0.05"),
    "--max-seeds": (int, "a whole number, such as 1000"),
}
ARGUMENTS = {"--alpha": "alpha", "--max-seeds": "most"}  # of the experiment
_PLAIN = re.compile(r"[\w.+-]+|\[.*\]|[\"'].*[\"']")  # a value that needs no quotation marks


def run(words: Sequence[str]) -> int:
    """Train until it is settled. Returns the exit code."""
    rest, asked, shows_json = _taken_apart(words)
    arguments = parse(rest)
    arguments.flags["--multirun"] = ""

    def settle(jobs: Sequence[Sequence[str]], compose: Any, how: "How") -> int:
        from dlrun.cli.terminal.experiment import SettleDisplay
        from dlrun.experiments.settle import SettleExperiment

        how = replace(how, command=["settle", *words])
        found = SettleExperiment(jobs, compose, how, [SettleDisplay({"table": False})], **asked).run()
        if shows_json:
            show_json(found.content())
        else:
            _show(found)
        return found.code

    return start(arguments, settle=settle)


def _taken_apart(words: Sequence[str]) -> tuple[list[str], dict[str, Any], bool]:
    """The words of the sweep, with those flags that are settings of it; what else was asked; whether JSON is wanted."""
    rest, flags = flags_of(words, valued=(*SETTINGS, *NUMBERS), switches=(JSON,))
    settings = {SETTINGS[name]: value for name, value in flags.items() if name in SETTINGS}
    rest += [f"{key}={value if _PLAIN.fullmatch(value) else json.dumps(value)}" for key, value in settings.items()]
    asked = {ARGUMENTS[name]: _number(name, value) for name, value in flags.items() if name in NUMBERS}
    return rest, asked, JSON in flags


def _number(name: str, value: str) -> float:
    kind, takes = NUMBERS[name]
    try:
        return kind(value)
    except ValueError:
        raise InputError(f"{name} {value}: takes {takes}") from None


def _show(found: "Settlement") -> None:
    from rich.text import Text

    from dlrun.cli.terminal.screen import console
    from dlrun.cli.terminal.sweep_table import notice

    out = console()
    for title, race in found.races.items():
        _table(title, race)
    notice(
        f"each interval holds the true difference on these rows at every look; with probability {found.alpha:g} at most, any of "
        f"{plural(found.pairs, 'comparison')} errs",
        out,
        style="dim",
    )
    racing = [standing for race in found.races.values() for standing in race.standings if standing.open]
    if found.stopped:
        notice("interrupted; type the same command again to go on", out)
    elif racing:
        margin = (
            "" if any(race.rules.margin for race in found.races.values()) else ", or --margin X to call small differences none"
        )
        notice(f"not settled with {plural(found.most, 'seed')}: type --max-seeds {10 * found.most} to go on{margin}", out)
    out.print(Text(f"{plural(found.runs, 'run')}, {'settled' if found.settled else 'not settled'}"))
    out.print(Text(printable(str(found.folder)), style="bold"), soft_wrap=True)
    sys.stdout.flush()


def _table(title: str, race: "Race") -> None:
    from rich.table import Table
    from rich.text import Text

    from dlrun.cli.terminal.screen import console
    from dlrun.comparison.figures import number

    metric = race.rules.metric
    table = Table(
        title=Text(printable(f"{title}: {metric}"), style="bold"),
        title_justify="left",
        box=None,
        padding=(0, 2, 0, 0),
        pad_edge=False,
    )
    for heading in ("configuration", "runs", "mean", "difference", "interval", "seeds", "verdict"):
        side = "left" if heading in ("configuration", "verdict") else "right"
        table.add_column(Text(heading, style="bold"), justify=side, overflow="fold")  # type: ignore[arg-type]
    reference = next((standing.group for standing in race.standings if standing.found is None), None)
    for standing in race.standings:
        summary = standing.group.summaries.get(metric)
        cells = (standing.group.label, str(len(standing.group.rows)), number(summary.mean if summary else None))
        table.add_row(*(Text(printable(cell)) for cell in (*cells, *_verdict(standing, reference, best=race.rules.best))))
    console().print(table)


def _verdict(standing: "Standing", reference: Any, *, best: bool) -> tuple[str, str, str, str]:
    from dlrun.comparison.figures import number

    found = standing.found
    if found is None:
        return "", "", "", "best of yours" if best else "reference"
    interval = f"{number(found.low)} to {number(found.high)}" if math.isfinite(found.low + found.high) else ""
    than = f", than {standing.against.label}" if standing.against is not None and standing.against is not reference else ""
    return number(found.mean), interval, str(found.n), standing.text + than
