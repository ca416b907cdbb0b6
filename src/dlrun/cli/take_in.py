"""``dlrun import``: take run folders, and output folders of an older dlrun, into the store."""

import sys
from collections.abc import Sequence
from pathlib import Path

from dlrun.cli.stored import JSON, split
from dlrun.cli.terminal.screen import show_json
from dlrun.errors import InputError, plural, printable
from dlrun.results.takein import take_in

USAGE = """\
usage: dlrun import FOLDER ... [--json] [output_dir=PATH]

Takes runs into the store: FOLDER is a run's folder, an output folder of an older dlrun (with runs/ and sweeps/), or that of
another store. Files whose digests do not fit are reported, and their runs left out; runs that are there already stay as they are.

Examples:
  dlrun import outputs
  dlrun import ~/Downloads/8bc176b3d366
"""


def run(words: Sequence[str]) -> int:
    """Import folders. Returns the exit code: 1 when something was damaged."""
    store, rest, flags = split(words, "import", switches=(JSON,))
    if not rest:
        raise InputError("import: takes a folder, such as dlrun import outputs")
    damaged: list[str] = []
    taken = []
    for word in rest:
        runs, sweeps = take_in(store, Path(word).expanduser(), damaged.append)
        taken.append({"folder": word, "runs": runs, "sweeps": sweeps})
        if JSON not in flags:
            print(printable(f"{word}: {plural(runs, 'run')} and {plural(sweeps, 'sweep')} taken in"))
    if JSON in flags:
        show_json({"taken": taken, "damaged": damaged})
    for line in damaged:
        print(f"warning: {printable(line)}", file=sys.stderr)
    return 1 if damaged else 0
