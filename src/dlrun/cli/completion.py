"""What the shell may put in for a word that is half typed. Hydra completes settings; verbs and what they take are dlrun's.

The shell asks by ``dlrun -sc query=bash`` with the line in COMP_LINE.
"""

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress

from dlrun import registry
from dlrun.errors import DlrunError

INSTALL = 'eval "$(dlrun -sc install=bash)"'
LINE, POINT = "COMP_LINE", "COMP_POINT"
_SETTINGS = ("train", "plan", "tune", "settle", "trace")  # verbs that take what the command takes without a verb
_OPTIONS = ("show", "ls")
_SWEEPS = ("resume", "status", "compare", "report", "plot", "gate", "predict", "evaluate")
_RUNS = ("show", "compare", "report", "plot", "note", "export", "predict", "evaluate", "runs")
_OUTPUT = "output_dir="


def answer(verbs: Sequence[str]) -> bool:
    """Print what a verb's word may become. Returns whether Hydra has nothing to add.

    Args:
        verbs: those of the command.
    """
    line = os.environ.get(LINE, "")
    command, *words = line.split(" ")
    if len(words) == 1:  # the verb itself, or the first setting
        _print(verb for verb in verbs if words[0] and verb.startswith(words[0]))
        return False
    verb, *others = words or [""]
    if verb in _SETTINGS:
        rest = " ".join([command, *others])
        os.environ.update({LINE: rest, POINT: str(len(rest))})
        return False
    if verb in _OPTIONS:
        groups = registry.groups()
        names = [f"{group}/{name}" for group in groups for name in registry.options(group)] if verb == "show" else groups
        _print(name for name in names if name.startswith(others[-1]))
    if verb in _SWEEPS or verb in _RUNS:
        _print(name for name in _kept(verb, others) if name.startswith(others[-1]))
    return verb in verbs


def _kept(verb: str, words: Sequence[str]) -> list[str]:
    """The sweeps and the runs that the store has, as far as the verb takes them: latest, folders' names, the names given, ids."""
    from dlrun.results.store import Store
    from dlrun.results.sweeps import names

    folder = next((word.removeprefix(_OUTPUT) for word in words if word.startswith(_OUTPUT)), None)
    store = Store.at(folder)
    found = []
    with suppress(DlrunError, OSError):  # nobody asked whether the store is sound
        if verb in _SWEEPS:
            found += names(store)
        if verb in _RUNS and words[-1]:  # of thousands of ids, those that begin so
            found += store.ids()
    return found


def _print(words: Iterable[str]) -> None:
    found = " ".join(words)
    if found:
        print(found)
