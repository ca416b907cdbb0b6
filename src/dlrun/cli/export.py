"""``dlrun export``: write runs as folders."""

from collections.abc import Sequence
from pathlib import Path

from dlrun.cli.stored import split
from dlrun.errors import InputError, printable
from dlrun.results.find import one

USAGE = """\
usage: dlrun export RUN ... [--to FOLDER] [output_dir=PATH]

Writes each run as a folder with its config, history, weights and results, which dlrun.load reads wherever it lies: FOLDER/<id>,
or runs/<id> below the output folder. RUN is an id or its beginning.

Examples:
  dlrun export 8bc176b3
  dlrun export 8bc176b3 0f3a --to talk
"""


def run(words: Sequence[str]) -> int:
    """Export runs. Returns the exit code."""
    store, rest, flags = split(words, "export", valued=("--to",))
    if not rest:
        raise InputError("export: takes the id of a run; dlrun runs lists them")
    for record in [one(store, word) for word in rest]:
        target = Path(flags["--to"]).absolute() / record.id if "--to" in flags else None
        print(printable(str(store.export(record.id, target))))
    return 0
