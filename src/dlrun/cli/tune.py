"""``dlrun tune``: search settings for each configuration, and report the best with seeds that chose nothing."""

import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from dlrun import registry
from dlrun.cli.arguments import JSON, parse
from dlrun.cli.stored import flags_of
from dlrun.cli.terminal.screen import show_json
from dlrun.cli.train import start
from dlrun.errors import nearest, plural, printable, raise_all

if TYPE_CHECKING:
    from dlrun.experiments.experiment import How
    from dlrun.experiments.search.tuned import Tuned, Tuning

USAGE = """\
usage: dlrun tune [group=option,option ...] [key=value ...] [key=interval(a,b) ...] [budget=32] [sampler=tpe]
                  [pruner=none] [--json] [flags]

Searches settings for each configuration with the same number of trials, on validation rows; then trains the best settings, and
the defaults, with new seeds, and compares them on test rows. Values with commas are configurations, each of which is tuned. What
is searched over stands in the files of conf/search; words add to that or replace it:

  optimizer.lr=interval(1e-4,1e-1)            between two numbers; on the scale that conf/search has for the setting
  optimizer.lr=tag(log,interval(1e-4,1e-1))   on a logarithmic scale; tag(linear,...) on a linear one
  trainer.batch_size=range(8,65,8)            8, 16, ... 64
  activation=choice(relu,tanh)                one of several; model.hidden=choice([16],[32,32])
  optimizer.momentum=0.9                      a value that stays: not searched over

  budget=N         trials of each configuration; with a pruner as many more as train the epochs of N trials
  batch=N          trials of a configuration that are proposed, and trained, at once (8; 16 with a pruner or another sampler)
  sampler=S        tpe (Optuna's, multivariate), random, or grid
  sampler_seed=N   of what is drawn (0)
  pruner=P         none; halving: of the trials of a batch the better third go on after some epochs, of these the better third
                   after three times as many, and so on; hyperband: some trials of a batch begin at each of these rungs
  eta=N            one of N goes on, to N times the epochs (3)
  min_epochs=N     epochs of the lowest rung (as many as leave one trial of a batch)
  fresh=N          new seeds that report (10)
  storage=URL      an Optuna storage for the trials (optuna.sqlite in the output folder)
  seed=0,1,2       seeds that each trial trains with; it is as good as their mean
  --json           print the result as JSON

The command goes on where it was when it is given again, with the same trials. It needs pip install 'dlrun[tune]'.

Examples:
  dlrun tune dataset=moons
  dlrun tune 'optimizer=glob(*)' budget=64 dataset=digits
  dlrun tune dataset=digits pruner=halving budget=16
  dlrun tune 'regularizer=[],[l2],[dropout]' 'optimizer.lr=tag(log,interval(1e-3,1))' optimizer=sgd
"""
SHARES = (16, 4, 1)  # the best is shown after a 16th, a quarter and all of the trials


def run(words: Sequence[str]) -> int:
    """Tune. Returns the exit code."""
    rest, flags = flags_of(words, valued=(), switches=(JSON,))
    arguments = parse(rest)
    arguments.overrides, asked = _asked(arguments.overrides)
    arguments.flags["--multirun"] = ""

    from dlrun.config.composing.names import exact
    from dlrun.config.composing.spaces import split

    arguments.overrides, searched = split([exact(word) for word in arguments.overrides])

    def tune(jobs: Sequence[Sequence[str]], compose: Any, how: "How") -> int:
        from dlrun.cli.terminal.experiment import TuneDisplay
        from dlrun.experiments.search.settings import Search
        from dlrun.experiments.search.tune import TuneExperiment

        how = replace(how, command=["tune", *words])
        display = TuneDisplay({"table": JSON not in flags})
        experiment = TuneExperiment(jobs, compose, how, [display], searched=searched, search=Search(**asked))
        found = experiment.run()
        if JSON in flags:
            show_json(found.content())
        else:
            _show(found, [flag for flag in replace(arguments, overrides=[]).command() if flag != "--multirun"])
        return found.code

    return start(arguments, settle=tune)


def _asked(words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """The words that are settings of runs, and those that say how to search.

    Raises:
        InputError: a value that is none, or a key that one of these is meant by.
    """
    kinds: dict[str, type] = {"budget": int, "batch": int, "sampler": str, "sampler_seed": int, "fresh": int, "storage": str}
    kinds |= {"pruner": str, "eta": int, "min_epochs": int}
    rest, asked, problems = [], {}, []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or key not in kinds:
            others = {*registry.root_keys(), *registry.groups()}
            if "." not in key and key not in others and (meant := nearest(key, kinds)):
                problems.append(f"{word}: no such key{meant}")
            rest.append(word)
            continue
        try:
            asked[key] = kinds[key](value)
        except ValueError:
            problems.append(f"{word}: must be a whole number, such as {key}=64")
    raise_all(problems)
    return rest, asked


def _show(found: "Tuning", flags: Sequence[str]) -> None:
    from rich.text import Text

    from dlrun.cli.terminal.screen import console
    from dlrun.cli.terminal.sweep_table import notice
    from dlrun.experiments.search.tuned import PRUNED

    out = console()
    for at in dict.fromkeys(each.at for each in found.tuned):
        _table([each for each in found.tuned if each.at == at])
    for name, why in found.skipped.items():
        notice(f"skipped: {name}: {why}", out, style="yellow")
    trials = [trial for each in found.tuned for trial in each.trials]
    reasons = dict.fromkeys(
        f"{trial.status}: {trial.reason}" for trial in trials if trial.status not in ("done", "diverged", PRUNED)
    )
    for reason in [*reasons][:5]:
        notice(reason, out, style="yellow")
    if found.stopped:
        notice("interrupted; type the same command again to go on", out)
    elif line := _settle(found, flags):
        notice(f"to be sure, with as many new seeds as that takes: {line}", out)
    out.print(Text(f"{plural(len(trials), 'trial')} in {printable(found.storage)}"), soft_wrap=True)
    out.print(Text(printable(str(found.folder)), style="bold"), soft_wrap=True)
    sys.stdout.flush()


def _settle(found: "Tuning", flags: Sequence[str]) -> str:
    """The command that settles whether the best of all is better than the next, or than its defaults; empty for several data.

    Args:
        flags: of the command that tuned, which say where configs and modules lie.
    """
    from dlrun.experiments.search.tuned import contest

    known = sorted((each for each in found.tuned if each.best is not None), key=_order)
    if not known or len({each.at for each in known}) > 1:
        return ""
    return shlex.join(["dlrun", "settle", *flags, *contest(known[0], known[1] if len(known) > 1 else None), "--margin", "0.01"])


def _table(tuned: Sequence["Tuned"]) -> None:
    """What each configuration got for its budget: the best after a part of its trials, and the settings of the best."""
    from rich.table import Table
    from rich.text import Text

    from dlrun.cli.terminal.drawing import draw
    from dlrun.cli.terminal.screen import console
    from dlrun.comparison.factors import label
    from dlrun.comparison.figures import number
    from dlrun.experiments.search.tuned import PRUNED

    at, most, out = tuned[0].at, max(len(each.trials) for each in tuned), console()
    marks = [*dict.fromkeys(max(1, most // share) for share in SHARES)]
    title = f"{at.dataset}: best validation {at.metric} after so many trials"
    table = Table(
        title=Text(printable(title), style="bold"), title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False
    )
    pruned = any(PRUNED in each.counts() for each in tuned)
    headings = ("configuration", "trials", *(["pruned", "epochs"] if pruned else []), "lost", *map(str, marks), "best settings")
    for heading in headings:
        left = heading in ("configuration", "best settings")
        table.add_column(Text(heading, style="bold"), justify="left" if left else "right", overflow="fold")
    for each in sorted(tuned, key=lambda each: _order(each)):
        curve, best = each.curve(), each.best
        cells = [number(curve[min(mark, len(curve)) - 1]) if curve else "" for mark in marks]
        spent = [str(each.counts().get(PRUNED, 0)), f"{sum(trial.epochs for trial in each.trials):,}"] if pruned else []
        settings = "" if best is None else " ".join(each.settings(best))
        row = (
            label(each.factors) if each.factors else at.dataset,
            str(len(each.trials)),
            *spent,
            str(each.lost or ""),
            *cells,
            settings,
        )
        table.add_row(*(Text(printable(cell)) for cell in row))
    out.print(table)
    if len(tuned) == 1 and len(curve := tuned[0].curve()) > 2:
        for line in draw([*range(1, len(curve) + 1)], curve, width=60, height=8):
            out.print(Text(line))


def _order(each: "Tuned") -> float:
    """The best first, those without a value last."""
    last = each.curve()[-1] if each.trials else math.nan
    return math.inf if math.isnan(last) else -last if each.maximize else last
