"""``dlrun resume``: carry on with a sweep that was interrupted, killed, or had failures."""

from collections.abc import Sequence

from dlrun.cli.arguments import parse
from dlrun.cli.train import start
from dlrun.errors import InputError
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep

USAGE = """\
usage: dlrun resume [SWEEP] [--retry-failed] [output_dir=PATH]

Trains the runs of a sweep that have not ended yet, and writes its comparison anew. SWEEP is a folder, its name, the name that
the sweep was given, or latest (also when left out). Runs that have ended are not trained again; --retry-failed makes an
exception for those that failed.

Examples:
  dlrun resume
  dlrun resume 2026-01-31_120000_sweep --retry-failed
"""


def run(words: Sequence[str]) -> int:
    """Resume a sweep. Returns the exit code."""
    sweep, retry = chosen(words, "resume", ("--retry-failed",))
    command = [str(word) for word in sweep.settings.get("words", [])]
    if not command:
        raise InputError(f"sweep {sweep.folder.name}: does not say which command started it, so it cannot be resumed")
    return start(parse(command), resume=sweep.folder, retry_failed=bool(retry))


def chosen(words: Sequence[str], verb: str, switches: Sequence[str] = ()) -> tuple[Sweep, list[str]]:
    """The sweep that the words of a verb name, and the switches among them.

    Raises:
        InputError: words that are neither.
    """
    flags = [word for word in words if word.startswith("-")]
    unknown = [flag for flag in flags if flag not in switches]
    folders = [word.partition("=")[2] for word in words if word.startswith("output_dir=")]
    names = [word for word in words if not word.startswith("-") and not word.startswith("output_dir=")]
    if unknown or len(names) > 1:
        takes = "".join(f" [{switch}]" for switch in switches)
        raise InputError(f"{' '.join(unknown or names[1:])}: dlrun {verb} takes [SWEEP]{takes} [output_dir=PATH]")
    return Sweep.find(Store.at(folders[-1] if folders else None), names[0] if names else "latest"), flags
