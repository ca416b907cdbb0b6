"""``dlrun resume``: carry on with a sweep that was interrupted, killed, or had failures."""

import shlex
from collections.abc import Sequence

from dlrun.cli.arguments import IMPORT, JSON, Arguments, parse, split_imports
from dlrun.cli.train import start
from dlrun.errors import InputError
from dlrun.results.store import Store
from dlrun.results.sweeps import Sweep

USAGE = """\
usage: dlrun resume [SWEEP] [--retry-failed] [--import MODULE] [--json] [output_dir=PATH]

Trains the runs of a sweep that have not ended yet, on from their last checkpoint if there is one, and writes its comparison
anew. SWEEP is a folder, its name, the name that the sweep was given, or latest (also when left out). Runs that have ended are
not trained again; --retry-failed makes an exception for those that failed. Modules that the sweep imported have to be named
again, since a folder may come from anybody.

Examples:
  dlrun resume
  dlrun resume 2026-01-31_120000_sweep --retry-failed
"""
_HARMLESS = (
    "hydra.launcher.processes=",
    "hydra.launcher.memory_share=",
    "hydra.launcher.executor=",
    "hydra.mode=",
    "hydra.sweeper.params.",
)


def run(words: Sequence[str]) -> int:
    """Resume a sweep. Returns the exit code."""
    imports, others = split_imports(words)
    sweep, switches = chosen(others, "resume", ("--retry-failed", JSON))
    command = [str(word) for word in sweep.settings.get("words", [])]
    if not command:
        raise InputError(f"sweep {sweep.folder.name}: does not say which command started it, so it cannot be resumed")
    if command[0] in ("settle", "tune"):
        raise InputError(f"sweep {sweep.folder.name}: type its command again, and it goes on: {shlex.join(['dlrun', *command])}")
    arguments = parse(command)
    _distrust(arguments, imports, sweep.folder.name)
    if JSON in switches:
        arguments.flags[JSON] = ""
    return start(arguments, resume=sweep.folder, retry_failed="--retry-failed" in switches)


def _distrust(arguments: Arguments, imports: Sequence[str], sweep: str) -> None:
    """Refuse what only somebody's own command line may ask for: code to import, settings of Hydra's own that can name code."""
    from dlrun.config.composing.hydra_settings import is_hydras

    missing = [module for module in arguments.imports if module not in imports]
    if missing:
        again = " ".join(f"{IMPORT} {module}" for module in arguments.imports)
        raise InputError(f"sweep {sweep}: imported {', '.join(missing)}; if you trust that, type dlrun resume {sweep} {again}")
    refused = [word for word in arguments.overrides if is_hydras(word) and not word.startswith(_HARMLESS)]
    if refused:
        raise InputError(
            f"sweep {sweep}: was started with {' '.join(refused)}, which a folder cannot ask for; "
            "type its command again, and finished runs are taken over"
        )


def chosen(words: Sequence[str], verb: str, switches: Sequence[str] = ()) -> tuple[Sweep, list[str]]:
    """The sweep that the words of a verb name, and the switches among them.

    Raises:
        InputError: words that are neither.
    """
    flags = [word for word in words if word.startswith("-")]
    unknown = [flag for flag in flags if flag not in switches]
    folders = [word.partition("=")[2] for word in words if word.startswith("output_dir=")]
    names = [word for word in words if not word.startswith("-") and not word.startswith("output_dir=")]
    settings = [name for name in names if "=" in name]
    if settings:
        raise InputError(f"{' '.join(settings)}: {verb} takes no settings but output_dir=PATH; a sweep keeps those it began with")
    if unknown or len(names) > 1:
        takes = "".join(f" [{switch}]" for switch in switches)
        raise InputError(f"{' '.join(unknown or names[1:])}: dlrun {verb} takes [SWEEP]{takes} [output_dir=PATH]")
    return Sweep.find(Store.at(folders[-1] if folders else None), names[0] if names else "latest"), flags
