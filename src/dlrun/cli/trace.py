"""``dlrun trace``: one step of training with its numbers."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from dlrun import own_modules
from dlrun.cli.arguments import IMPORT, parse
from dlrun.cli.stored import JSON, flags_of, format_of
from dlrun.cli.terminal.screen import write_line
from dlrun.errors import InputError, check_working_folder, printable
from dlrun.results.files import write_named

USAGE = """\
usage: dlrun trace [group=option ...] [key=value ...] [--row N] [--steps K] [--format text|html|json] [--json] [-o FILE]
                   [--config-dir FOLDER] [--import MODULE]

Shows the first step of a run with its numbers: the batch; what each layer is given and puts out; the head, threshold or
softmax and the one-hot target; the loss, its formula filled in; the gradient of every layer; each parameter before and after,
with what w - lr * gradient would make of it; the loss of the same batch afterwards. Small models are written in full. The
settings are those of dlrun, and the numbers those of the run that they describe. Nothing is kept.

  --row N       the row of the batch that is looked at closely, from 0
  --steps K     how many steps
  --format F    text; html, one page with the network as a graph; or json (--json, for short), with every number
  -o FILE       where it is written; trace.html for html, else stdout

dataset=inline takes numbers that are typed, and model.init=eye passes them on as they are.

Examples:
  dlrun trace
  dlrun trace dataset=iris activation=tanh optimizer=sgd --row 2 --steps 3
  dlrun trace experiment=notes_diabetes --format html
  dlrun trace dataset=inline 'dataset.x=[[-5.2,4.6,0.8]]' 'dataset.y=[0]' dataset.task=multiclass dataset.classes=3 \\
      model=linear model.init=eye trainer.batch_size=1
"""
FORMATS = ("text", "html", "json")
MOST_STEPS = 100


def run(words: Sequence[str]) -> int:
    """Show the first steps of a run. Returns the exit code.

    Raises:
        InputError: the settings cannot work, or a flag has a value that it cannot have.
    """
    check_working_folder()
    rest, flags = flags_of(words, valued=("--row", "--steps", "--format", "-o", "--output"), switches=(JSON,))
    form = format_of(flags, FORMATS)
    row, steps = _whole("--row", flags.get("--row", "0"), 0), _whole("--steps", flags.get("--steps", "1"), 1)
    if steps > MOST_STEPS:
        raise InputError(f"--steps {steps}: at most {MOST_STEPS} are shown")
    arguments = parse(rest, takes=("--config-dir", IMPORT))
    for module in arguments.imports:
        own_modules.trust(module)
    from dlrun.config.composing.from_python import single
    from dlrun.config.composing.from_python import words as settings
    from dlrun.experiments.experiment import RunExperiment
    from dlrun.experiments.trace import check, trace
    from dlrun.report.trace.blocks import blocks
    from dlrun.report.trace.page import as_page
    from dlrun.report.trace.steps import plain
    from dlrun.report.trace.text import as_text

    folder = arguments.flags.get("--config-dir")
    experiment = RunExperiment(single(settings(arguments.overrides, {}), None if folder is None else Path(folder)))
    check(experiment.planned, row)
    for warning in experiment.warnings:
        write_line(warning, mark="warning: ")
    found = trace(experiment.planned, steps)
    if form == "text":
        text = as_text(blocks(found, row))
    elif form == "json":
        text = json.dumps(plain(found), indent=1, allow_nan=False) + "\n"
    else:
        text = as_page(found, row, ["dlrun trace", *words])
    target = flags.get("-o") or flags.get("--output") or ("trace.html" if form == "html" else None)
    if target is None:
        sys.stdout.write(text)
    else:
        write_named(Path(target), text.encode(errors="backslashreplace"))
        print(printable(target))
    return 0


def _whole(flag: str, text: str, least: int) -> int:
    if not text.isdecimal() or int(text) < least:
        raise InputError(f"{flag} {text}: takes a whole number from {least}")
    return int(text)
