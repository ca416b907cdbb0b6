"""``dlrun export``: write runs as folders, or in the formats of others."""

from collections.abc import Sequence
from pathlib import Path

from dlrun.cli.report import own_code
from dlrun.cli.stored import JSON, split
from dlrun.cli.terminal.screen import show_json, waiting
from dlrun.errors import InputError, nearest, printable
from dlrun.results.find import one

USAGE = """\
usage: dlrun export RUN ... [--format folder|torch|onnx|torch-export] [--to FOLDER] [--import MODULE] [--json]
                    [output_dir=PATH]

Writes runs that are kept. RUN is an id or its beginning; for formats other than folder, the folder of a run too.

  folder         a folder with its config, history, weights and results, which dlrun.load reads wherever it lies: FOLDER/<id>,
                 or runs/<id> below the output folder
  torch          the weights of a plain nn.Sequential, <id>.pt, and the lines of Python that make it and load them
  onnx           <id>.onnx with the preprocessing inside: columns of numbers and texts in, probabilities or values out;
                 needs pip install 'dlrun[onnx]'
  torch-export   <id>.pt2, a program of torch.export: features in, probabilities or values out

The last three are written to FOLDER, or exports/ below the output folder, once they compute what the run does, to 1e-5; what
cannot be written so is refused with the reason.

Examples:
  dlrun export 8bc176b3
  dlrun export 8bc176b3 0f3a --to talk
  dlrun export 8bc176b3 --format onnx --to service
"""
FOLDER = "folder"
FORMATS = (FOLDER, "torch", "onnx", "torch-export")


def run(words: Sequence[str]) -> int:
    """Export runs. Returns the exit code."""
    store, rest, flags = split(own_code(words), "export", valued=("--to", "--format"), switches=(JSON,))
    form = flags.get("--format", FOLDER)
    if form not in FORMATS:
        raise InputError(f"--format {form}: takes one of {', '.join(FORMATS)}{nearest(form, FORMATS)}")
    if not rest:
        raise InputError("export: takes the id of a run; dlrun runs lists them")
    to = Path(flags["--to"]).absolute() if "--to" in flags else None
    if form == FOLDER:
        written = [
            ([store.export(each.id, None if to is None else to / each.id)], "") for each in [one(store, word) for word in rest]
        ]
    else:
        with waiting("loading torch"):
            from dlrun.trained.chosen import named
            from dlrun.trained.export import export
        written = [export(each, form, to or store.root / "exports") for each in [named(store, word) for word in rest]]
    if JSON in flags:
        show_json([{"files": [str(path) for path in paths], "lines": lines} for paths, lines in written])
        return 0
    for paths, lines in written:
        print("".join(f"{printable(str(path))}\n" for path in paths), end="")
        if lines:
            print(f"\n{printable_lines(lines)}")
    return 0


def printable_lines(text: str) -> str:
    """Lines for a terminal: names of columns may hold anything."""
    return "\n".join(map(printable, text.splitlines()))
