"""What is wrong with overrides, before anything is composed: all problems of all words, each with what to type instead.

A word is parsed in Hydra's grammar; the group that it chooses from, the names that it chooses and the settings of Hydra's own are
looked up in the registry. What only the composed config can tell (whether a key is there) is looked up there (see ``keys``).
"""

import itertools
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException

from dlrun import registry
from dlrun.config.composing import hydra_settings
from dlrun.config.composing.grammar import parse, plain, values
from dlrun.config.composing.names import GROUP, ONE
from dlrun.errors import InputError, nearest
from dlrun.suggestions import options, spelling


@dataclass(frozen=True)
class Problem:
    """A line for the user, and the override that it is about.

    Attributes:
        unless_swept: whether it is a problem only where nothing asks for a sweep: a file may do so.
    """

    line: str
    override: str
    unless_swept: bool = False


@dataclass(frozen=True)
class Caller:
    """Who composes: whether values are swept over, and whether the call is one of Python's."""

    sweeps: bool
    python: bool = False

    def each(self, word: str) -> str:
        """How to have a run for each value of a word."""
        if self.sweeps:
            return f"{word} runs each of them"
        return f"dlrun.sweep({word!r}) runs each of them" if self.python else f"-m {shlex.quote(word)} runs each of them"


def parsed(words: Sequence[str]) -> list[Override]:
    """The overrides that can be parsed."""
    found: list[Override] = []
    for word in words:
        try:
            found += parse([word])
        except (HydraException, InputError):
            continue
    return found


def word_problems(words: Sequence[str], caller: Caller, is_there: Callable[[str], bool]) -> list[Problem]:
    """What can be said of words without composing anything.

    Args:
        words: overrides.
        caller: who composes them.
        is_there: whether the search path has an option, given as ``group/name``: folders that were typed may add some.
    """
    found = [Problem(line, word) for word, line in hydra_settings.problems(words)]
    typed_folders = any(word.lstrip("+").startswith("hydra.searchpath=") for word in words)
    for word in words:
        try:
            override = parse([word])[0]
        except InputError as error:
            found.append(Problem(error.problems[0], word))
        except HydraException:
            found.append(Problem(f"{word}: cannot be read as key=value; {_instead(word, caller)}", word))
        else:
            lines = [*_of_the_group(override, typed_folders=typed_folders)] or [*_of_the_choice(override, caller, is_there)]
            found += [Problem(line, word) for line in lines]
            if not lines and override.is_sweep_override():
                found += _of_the_sweep(override, caller)
    return found


def is_choice(override: Override) -> bool:
    """Whether an override chooses options of a group."""
    key = override.key_or_group
    return not isinstance(override.value(), dict) and (key in registry.groups() or "/" in key or override.package is not None)


def first(override: Override) -> str | None:
    """An override with the first of the values it sweeps over; of sets the longest, under which the most settings have keys.

    None where there is no first value: an interval, say.
    """
    if not override.is_sweep_override():
        return str(override.input_line)
    try:
        several = [*itertools.islice(values(override), 1000)]
    except InputError:
        return None
    chosen = max(several, key=len) if registry.is_set(override.key_or_group) else several[0]
    return f"{override.get_key_element()}={chosen}"


def as_one_name(word: str) -> str:
    """How to type the name of a column with characters that mean something to Hydra; an empty text for other settings."""
    from dlrun.data.table.advice import naming

    key, _, value = word.lstrip("+").partition("=")
    name = key.removeprefix(f"{GROUP}.")
    return f"type {naming(name, value)}" if name in ONE and key != name else ""


# The parts of a word


def _instead(word: str, caller: Caller) -> str:
    """What to type instead of a word that is not in the grammar."""
    if name := as_one_name(word):
        return name
    wrong, mended = spelling.repaired(word, lambda other: bool(parsed([other])))
    if not mended:
        return "quote the whole for the shell, and text inside once more"
    flag = "-m " if parsed([mended])[0].is_sweep_override() and not caller.sweeps and not caller.python else ""
    return f"{wrong}{'; ' * bool(wrong)}type {flag}{shlex.quote(mended)}"


def _of_the_group(override: Override, *, typed_folders: bool) -> Iterator[str]:
    """A word without a key, or one that chooses from a group that is not there. Typed folders may bring others."""
    group, word = override.key_or_group, str(override.input_line)
    names_group = ("/" in group or override.package is not None) and not hydra_settings.is_hydras(word)
    if group == registry.CLAIM:
        yield f"{word}: a claim is no setting, it is tested; type dlrun claims {' '.join(map(str, _names(override))) or 'NAME'}"
    elif not group:
        yield f"{word}: has no key; a setting is written key=value, such as seed=1"
    elif names_group and not typed_folders and not any((folder / group).is_dir() for folder in registry.folders()):
        near = nearest(group, registry.groups())
        yield f"{word}: there is no group {group}; the groups are {', '.join(registry.groups())}{near}"


def _of_the_choice(override: Override, caller: Caller, is_there: Callable[[str], bool]) -> Iterator[str]:
    """Names that are no option of a group, several where one can stand, and an experiment that does not reach the top."""
    group, word = override.key_or_group, str(override.input_line)
    known = registry.options(group)
    if not known or override.is_delete():
        return
    value: Any = override.value()
    names = [name for name in _names(override) if not (isinstance(name, str) and is_there(f"{group}/{name}"))]
    unknown = [line for name in names if (line := _no_option(name, group, word, known))]
    if isinstance(value, Glob) and not value.filter(known):
        yield f"{word}: matches nothing; {options.takes(group)}"
    elif isinstance(value, list) and not registry.is_set(group):
        other = f"{group}={','.join(map(str, value)) or 'NAME'}"
        yield f"{word}: takes one option; {caller.each(other) if len(value) > 1 else f'type {other}'}"
    elif isinstance(value, list) and len({*map(str, value)}) < len(value):
        yield f"{word}: names an option twice; type {group}=[{','.join(dict.fromkeys(map(str, value)))}]"
    yield from unknown
    if group == "experiment" and not override.is_sweep_override():  # in a sweep it costs its own runs alone
        yield from (options.not_global(str(name)) for name in _names(override) if name in known and not _is_global(str(name)))


def _no_option(name: Any, group: str, word: str, known: Sequence[str]) -> str:
    """What is wrong with a value that is no option of a group; an empty text when it is one."""
    value = getattr(name, "text", name)  # of a quoted text
    if value is None:
        return f"{group}=null: {options.without(group)}"
    if isinstance(value, dict):
        return f"{word}: a group takes the name of an option; set keys one by one, such as {group}.KEY=VALUE"
    if not isinstance(value, str):
        return f"{group}={str(value).lower() if isinstance(value, bool) else value}: no such option; {options.takes(group)}"
    return "" if value in known else f"{group}={value}: no such option; {options.unknown(group, value, known)}"


def _names(override: Override) -> Iterator[object]:
    """Every value that an override gives: the items of a sweep, and of a list."""
    if isinstance(override.value(), Glob) or override.is_interval_sweep():
        return
    try:
        simple = parsed(plain([str(override.input_line)]))
    except InputError:
        return
    for value in simple[0].sweep_iterator() if simple and simple[0].is_discrete_sweep() else [override.value()]:
        yield from value if isinstance(value, list) else [value]


def _is_global(experiment: str) -> bool:
    """Whether the settings of an experiment reach the top of the config: Hydra looks for that above everything else."""
    file: Path = registry.path("experiment", experiment)
    lines = [line.split() for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    headers = itertools.takewhile(lambda words: "".join(words).startswith("#@"), lines)
    return any(words[-1] == "_global_" for words in headers)


def _of_the_sweep(override: Override, caller: Caller) -> Iterator[Problem]:
    """Several values where one can stand, and those that cannot be enumerated."""
    word = str(override.input_line)
    if override.is_delete():
        yield Problem(f"{word}: takes one value; type {word.partition('=')[0]}", word)
    elif hydra_settings.is_hydras(word):
        yield Problem(f"{word}: a setting of Hydra's own cannot be swept", word)
    else:
        try:
            next(values(override), None)
        except InputError as error:
            if caller.sweeps:
                yield from (Problem(line, word) for line in error.problems)
                return
        one = f"; if it is one name, {name}" if (name := as_one_name(word)) else ""
        if not caller.sweeps:
            line = f"{word}: holds several values; {caller.each(word)}, and [a,b] is a list{one}"
            yield Problem(line, word, unless_swept=True)
