"""Hydra's flags and overrides in any order.

Hydra's own parser wants all overrides in one place: ``dlrun seed=1 -m optimizer.lr=1,2`` fails there. Here the words are
sorted, flags first, and checked, so that an unknown flag gets an answer in dlrun's words.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from dlrun import registry
from dlrun.errors import nearest, raise_all
from dlrun.suggestions.spelling import stray

INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
VALUED = {  # flags that take a value, and the values when there is a list of them
    "--cfg": ("job", "hydra", "all"),
    "--package": (),
    "--config-path": (),
    "--config-name": (),
    "--config-dir": (),
    "--info": INFO,
}
JSON = "--json"  # dlrun's own: what is printed is one JSON document
SWITCHES = ("--multirun", "--run", "--resolve", "--shell-completion", "--hydra-help", JSON)
SHORT = {
    "-c": "--cfg",
    "-p": "--package",
    "-cp": "--config-path",
    "-cn": "--config-name",
    "-cd": "--config-dir",
    "-i": "--info",
    "-m": "--multirun",
    "-r": "--run",
    "-sc": "--shell-completion",
}
IMPORT = "--import"  # dlrun's own, any number of times
TUNE = "--tune-over"  # the same as tune_over=[...]
ACTIONS = ("--run", "--multirun", "--cfg", "--info", "--shell-completion", "--hydra-help")


@dataclass
class Arguments:
    """A command line taken apart: flags with their values (an empty string for a switch), and overrides."""

    flags: dict[str, str] = field(default_factory=dict)
    overrides: list[str] = field(default_factory=list)  # for a verb other than train: its words
    imports: list[str] = field(default_factory=list)  # modules of the user's own, whose names configs may use

    def words(self) -> list[str]:
        """The command line as Hydra's parser accepts it."""
        given = {flag: value for flag, value in self.flags.items() if flag != JSON}
        flags = [word for flag, value in given.items() for word in ((flag, value) if flag in VALUED else (flag,))]
        return [*flags, *self.overrides]

    def command(self) -> list[str]:
        """All of the command line, as ``parse`` reads it again."""
        return [*(word for module in self.imports for word in (IMPORT, module)), *self.words()]


def parse(words: Sequence[str], takes: Sequence[str] = (IMPORT, TUNE, *VALUED, *SWITCHES)) -> Arguments:
    """Take a command line apart.

    Args:
        words: the command line.
        takes: the flags that the verb knows; all of Hydra's and --import when not given.

    Raises:
        InputError: flags that do not exist, lack their value or exclude each other, and words that are neither flag nor override.
    """
    found = Arguments()
    problems: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            found.overrides.append(word)
            continue
        name, equals, value = word.partition("=")
        flag = SHORT.get(name, name)
        if flag not in takes:
            setting = word.lstrip("-")
            if setting.partition("=")[0].partition(".")[0] in (*registry.groups(), "seed"):
                setting += "" if equals else f"={rest.pop(0) if rest and rest[0][:1] != '-' and '=' not in rest[0] else 'VALUE'}"
                problems.append(f"{word}: settings have no dashes; type {setting}")
                continue
            known = [*takes, "--help", "--version"]
            hint = nearest(name, known)
            if not hint and name.startswith("--"):
                hint = f"; a setting has no dashes, as in {name.lstrip('-')}={value or 'VALUE'}"
            problems.append(f"{name}: no such flag; the flags are {', '.join(known)}{hint}")
        elif flag in SWITCHES:
            found.flags[flag] = ""
            if equals:
                problems.append(f"{word}: {name} takes no value")
        elif flag == TUNE:
            keys = value if equals else _value(flag, rest)
            found.overrides.append(f"tune_over=[{keys}]")
            if not keys:
                problems.append(f"{TUNE}: takes settings that the sweep varies, such as {TUNE} optimizer.lr")
        elif flag == IMPORT:
            module = value if equals else _value(flag, rest)
            found.imports.append(module)
            if module.endswith(".py"):
                problems.append(f"{IMPORT} {module}: takes the name of a module; type {IMPORT} {_module(module)}")
            elif not all(part.isidentifier() for part in module.split(".")):
                problems.append(
                    f"{IMPORT} {module}: takes the name of a module, as in Python's import, such as {_module(module)}"
                )
        else:
            found.flags[flag] = value if equals else _value(flag, rest)
    problems += _problems(found)
    raise_all(problems)
    for flag in ("--config-dir", "--config-path"):
        if flag in found.flags:  # Hydra takes --config-path as relative to its own caller, which is of no use to anybody
            found.flags[flag] = os.path.abspath(found.flags[flag])
    name = found.flags.get("--config-name", "").removesuffix(".yaml")
    folder = found.flags.get("--config-dir", "")
    if name and folder and "--config-path" not in found.flags and os.path.isfile(os.path.join(folder, f"{name}.yaml")):
        found.flags["--config-path"] = found.flags.pop("--config-dir")  # its file is meant, where dlrun has one of that name
    return found


def split_imports(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The modules that a command line imports, and its other words: for verbs whose words are no settings."""
    imports, others, rest = [], [], list(words)
    while rest:
        word = rest.pop(0)
        name, equals, _ = word.partition("=")
        if name == IMPORT:
            imports += parse([word] if equals else [word, _value(IMPORT, rest)], takes=(IMPORT,)).imports
        else:
            others.append(word)
    return imports, others


def _value(flag: str, rest: list[str]) -> str:
    if flag == "--info":  # its value may be left out
        return rest.pop(0) if rest and rest[0] in INFO else "all"
    if not rest or rest[0].startswith("-") or ((flag in (IMPORT, TUNE) or VALUED[flag]) and "=" in rest[0]):
        return ""
    return rest.pop(0)


def _module(path: str) -> str:
    """The module that somebody may mean who gave a file's path."""
    return os.path.normpath(path).removesuffix(".py").strip("/.").replace("/", ".") or "mymodule"


def _problems(found: Arguments) -> list[str]:
    problems = []
    for flag, value in found.flags.items():
        choices = VALUED.get(flag, ())
        if flag in VALUED and (not value or (choices and value not in choices)):
            takes = f"one of {', '.join(choices)}" if choices else "a value"
            problems.append(f"{flag}{' ' * bool(value)}{value}: takes {takes}{nearest(value, choices) if value else ''}")
    actions = [flag for flag in ACTIONS if flag in found.flags]
    if len(actions) > 1:
        problems.append(f"{' '.join(actions)}: only one of these at a time")
    if JSON in found.flags and (prints := [flag for flag in ("--cfg", "--info", "--shell-completion") if flag in found.flags]):
        problems.append(f"{prints[0]} {JSON}: only one of these at a time")
    if "--resolve" in found.flags and "--cfg" not in found.flags:
        problems.append("--resolve: goes with --cfg, such as --cfg job --resolve")
    for flag in ("--config-dir", "--config-path"):
        folder = found.flags.get(flag)
        if folder and not os.path.isdir(folder):
            problems.append(f"{flag} {folder}: is not a folder")
    folder = found.flags.get("--config-dir", "")
    if folder and "--config-name" not in found.flags and os.path.isfile(os.path.join(folder, "result.json")):
        problems.append(
            f"--config-dir {folder}: is the folder of a run; type --config-name config as well to train that run again, "
            "or give a folder of options"
        )
    return problems


def check_settings(arguments: Arguments) -> None:
    """Refuse words that are no settings.

    Raises:
        InputError: naming each of them.
    """
    problems = []
    rest = list(arguments.overrides)
    before = ""
    while rest:
        word = rest.pop(0)
        if "=" in word and word.endswith(",") and rest and "=" not in rest[0]:
            whole = word
            while rest and whole.endswith(",") and "=" not in rest[0]:
                whole += rest.pop(0)
            problems.append(f"{word}: no spaces after commas; type {whole}")
        elif "=" not in word and not word.startswith("~"):
            problems.append(stray(word, rest, before=before))
        before = word
    raise_all(problems)
