"""Hydra's and OmegaConf's errors in dlrun's words: what was received, what is allowed, what to type instead.

Hydra stops at the first problem. Here every override is looked at: whether it is in the grammar, whether it names options that
exist, then, in the config that the chosen options make, whether its key is there and takes the value. So a user sees every
problem at once. It costs some tenths of a second, and only when there is a problem.
"""

import itertools
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from dlrun import registry
from dlrun.cli.arguments import Arguments
from dlrun.config import hydra_settings
from dlrun.config.grammar import parse, plain, values
from dlrun.config.names import GROUP, ONE
from dlrun.errors import DlrunError, InputError, RunError, nearest, raise_all
from dlrun.suggestions import keys, options, spelling

if TYPE_CHECKING:
    from dlrun.config.composed import Composed

_AT_MOST = 12  # problems told at once


@dataclass(frozen=True)
class Problem:
    """A line for the user, and the override that it blames: an empty string when that is unknown."""

    line: str
    override: str = ""


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


def caller_of(arguments: Arguments) -> Caller:
    """The caller that a command line is."""
    return Caller("--multirun" in arguments.flags)


def refuse(overrides: Sequence[str], caller: Caller) -> None:
    """Refuse what Hydra would accept and do wrongly, or not at all.

    A pattern that matches nothing, several options where one can stand, a name twice in a set, settings of Hydra's own that would
    do nothing, and an experiment whose settings would not reach the top of the config.

    Raises:
        InputError: naming each of them.
    """
    problems = [line for _, line in hydra_settings.problems(overrides)]
    for parsed in _parsed(word for word in overrides if "glob(" in word or "=[" in word or "experiment" in word):
        problems += _of_a_group(parsed, caller)
    raise_all(problems)


def _of_a_group(parsed: Override, caller: Caller) -> Iterator[str]:
    group = parsed.key_or_group
    value: Any = parsed.value()
    known = registry.options(group)
    if not known or isinstance(value, dict):
        return
    line = parsed.input_line
    if isinstance(value, Glob) and not value.filter(known):
        yield f"{line}: matches nothing; {options.takes(group)}"
    elif isinstance(value, list) and not registry.is_set(group):
        word = f"{group}={','.join(map(str, value)) or 'NAME'}"
        yield f"{line}: takes one option; {caller.each(word) if len(value) > 1 else f'type {word}'}"
    elif isinstance(value, list) and len({*map(str, value)}) < len(value):
        yield f"{line}: names an option twice; type {group}=[{','.join(dict.fromkeys(map(str, value)))}]"
    if group == "experiment":
        for name in _names(parsed):
            if name in known and not _is_global(registry.path(group, name)):
                yield options.not_global(name)


def _is_global(file: Path) -> bool:
    """Whether a file's settings reach the top of the config: Hydra looks for that above everything else."""
    lines = [line.split() for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    headers = itertools.takewhile(lambda words: "".join(words).startswith("#@"), lines)
    return any(words[-1] == "_global_" for words in headers)


def explain(error: Exception, arguments: Arguments, caller: Caller | None = None) -> DlrunError:
    """The error to show for an exception that Hydra raised while it composed the settings.

    Args:
        error: what Hydra raised.
        arguments: the command line, for the override at fault.
        caller: who composes; the command when None.

    Returns:
        An InputError with every problem that the command line has, or a RunError when the exception is no user's fault.
    """
    overrides, caller = arguments.overrides, caller or caller_of(arguments)
    found = [*_word_problems(overrides, caller)]
    blamed = {problem.override for problem in found}
    parsed = [*_parsed(word for word in overrides if word not in blamed)]
    groups = [each for each in parsed if _is_group(each)]
    config = _compose(_first(groups), arguments) if parsed or not found else None
    if config is None:
        pass  # no word is left to look at
    elif isinstance(config, DictConfig):
        found += _value_problems([each for each in parsed if not _is_group(each)], config, groups)
    else:
        found += _composing(config, groups, arguments)
    if not found:
        last = _in_a_line(error, overrides)
        if last is None:
            return RunError(f"{type(error).__name__}: {error} (HYDRA_FULL_ERROR=1 shows where)")
        found = [Problem(last)]
    return InputError(*list(dict.fromkeys(problem.line for problem in found))[:_AT_MOST])


def explained(jobs: "Iterable[Composed]", arguments: Arguments, caller: Caller | None = None) -> "list[Composed]":
    """Jobs of a sweep; the errors of those whose files are broken in dlrun's words."""
    from dlrun.config.session import composing

    def job_with(job: "Composed", error: Exception) -> "Composed":
        return replace(job, error=explain(error, replace(arguments, overrides=list(job.overrides)), caller))

    with composing():
        return [job_with(job, job.error) if job.error else job for job in jobs]


# Words


def _parsed(words: Iterator[str] | Sequence[str]) -> Iterator[Override]:
    """The overrides that can be parsed."""
    for word in words:
        try:
            yield from parse([word])
        except (HydraException, InputError):
            continue


def _parses(word: str) -> bool:
    return bool([*_parsed([word])])


def _word_problems(overrides: Sequence[str], caller: Caller) -> Iterator[Problem]:
    """What can be said of a word without composing anything."""
    typed_folders = any(word.lstrip("+").startswith("hydra.searchpath=") for word in overrides)
    for word in overrides:
        try:
            parsed = parse([word])[0]
        except InputError as error:
            yield Problem(error.problems[0], word)
            continue
        except HydraException:
            yield Problem(f"{word}: cannot be read as key=value; {_instead(word, caller)}", word)
            continue
        key = word.partition("=")[0]
        if not parsed.key_or_group:
            yield Problem(f"{word}: has no key; a setting is written key=value, such as seed=1", word)
        elif not typed_folders and (group := _no_group(parsed)):
            near = nearest(group, registry.groups())
            yield Problem(f"{word}: there is no group {group}; the groups are {', '.join(registry.groups())}{near}", word)
        elif problems := [*_option_problems(parsed)]:
            yield from problems
        elif not parsed.is_sweep_override():
            continue
        elif parsed.is_delete():
            yield Problem(f"{word}: takes one value; type {key}", word)
        elif hydra_settings.is_hydras(word):
            yield Problem(f"{word}: a setting of Hydra's own cannot be swept", word)
        elif not caller.sweeps:
            one = f"; if it is one name, {as_one}" if (as_one := _as_one_name(word)) else ""
            yield Problem(f"{word}: holds several values; {caller.each(word)}, and [a,b] is a list{one}", word)
        else:
            try:
                next(values(parsed), None)
            except InputError as error:
                yield from (Problem(line, word) for line in error.problems)


def _no_group(parsed: Override) -> str:
    """The group that an override chooses from, where there is none of the name; an empty string elsewhere."""
    group = parsed.key_or_group
    names_one = ("/" in group or parsed.package is not None) and not hydra_settings.is_hydras(parsed.input_line or "")
    return group if names_one and not any((folder / group).is_dir() for folder in registry.folders()) else ""


def _instead(word: str, caller: Caller) -> str:
    """What to type instead of a word that is not in the grammar."""
    if as_one := _as_one_name(word):
        return as_one
    wrong, mended = spelling.repaired(word, _parses)
    if not mended:
        return "quote the whole for the shell, and text inside once more"
    flag = "-m " if next(_parsed([mended])).is_sweep_override() and not caller.sweeps and not caller.python else ""
    return f"{wrong}{'; ' * bool(wrong)}type {flag}{shlex.quote(mended)}"


def _as_one_name(word: str) -> str:
    """How to type the name of a column with characters that mean something to Hydra; an empty text for other settings."""
    from dlrun.data.table.advice import naming

    key, _, value = word.lstrip("+").partition("=")
    name = key.removeprefix(f"{GROUP}.")
    return f"type {naming(name, value)}" if name in ONE and key != name else ""


def in_config(error: OmegaConfBaseException, overrides: Sequence[str], override: str = "") -> str:
    """What OmegaConf says of a value: which override it is, or else which key."""
    key = error.full_key or "settings"
    line = f"{override or key}: {str(error).splitlines()[0]}"
    named = override or next((word for word in overrides if word.lstrip("+").partition("=")[0] == key), "")
    as_one = _as_one_name(named) if isinstance(error, InterpolationResolutionError) else ""
    return f"{line}; if it is a name, {as_one}" if as_one else line


def _names(parsed: Override) -> Iterator[object]:
    """Every value that an override gives: the items of a sweep, and of a list."""
    if isinstance(parsed.value(), Glob) or parsed.is_interval_sweep():
        return
    simple = [*_parsed(_plain(parsed))]
    for value in simple[0].sweep_iterator() if simple and simple[0].is_discrete_sweep() else [parsed.value()]:
        yield from value if isinstance(value, list) else [value]


def _plain(parsed: Override) -> list[str]:
    try:
        return plain([parsed.input_line or ""])
    except InputError:
        return []


def _option_problems(parsed: Override) -> Iterator[Problem]:
    """Names in ``group=name`` that are no option of the group."""
    group, line = parsed.key_or_group, parsed.input_line or ""
    known = registry.options(group)
    if not known or parsed.is_delete():
        return
    for name in _names(parsed):
        value = getattr(name, "text", name)  # of a quoted text
        if value is None:
            yield Problem(f"{group}=null: {options.without(group)}", line)
        elif isinstance(value, dict):
            yield Problem(f"{line}: a group takes the name of an option; set keys one by one, such as {group}.KEY=VALUE", line)
        elif not isinstance(value, str):
            said = str(value).lower() if isinstance(value, bool) else value
            yield Problem(f"{group}={said}: no such option; {options.takes(group)}", line)
        elif value not in known:
            yield Problem(f"{group}={value}: no such option; {options.unknown(group, value, known)}", line)


# What the chosen options make


def _is_group(parsed: Override) -> bool:
    key = parsed.key_or_group
    return not isinstance(parsed.value(), dict) and (key in registry.groups() or "/" in key or parsed.package is not None)


def _first(groups: Sequence[Override]) -> list[str]:
    """Overrides with the first value of each sweep, of sets with the longest: the most settings have their keys there."""
    found = []
    for parsed in groups:
        if not parsed.is_sweep_override():
            found.append(parsed.input_line or "")
        elif not parsed.is_interval_sweep() and not isinstance(parsed.value(), Glob):
            several = [*values(parsed)]
            chosen = max(several, key=len) if registry.is_set(parsed.key_or_group) else several[0]
            found.append(f"{parsed.get_key_element()}={chosen}")
    return found


def _compose(words: Sequence[str], arguments: Arguments) -> DictConfig | Exception:
    """What Hydra composes of these words, or what goes wrong."""
    from dlrun.config.loader import Loader
    from dlrun.config.session import PRIMARY, composing, search_path
    from dlrun.config.untrusted import Rules

    typed = [word for word in arguments.overrides if word.lstrip("+").startswith("hydra.searchpath=")]
    words = [*words, *(word for word in typed if word not in words)]
    path = search_path(arguments.flags.get("--config-path"), arguments.flags.get("--config-dir"))
    try:
        with composing():
            loader = Loader(path, Rules(tuple(words), acts=False))
            return loader.load_configuration(arguments.flags.get("--config-name", PRIMARY), words, RunMode.RUN)
    except Exception as error:
        return error


def _composing(error: Exception, groups: Sequence[Override], arguments: Arguments) -> Iterator[Problem]:
    """What is wrong when the chosen options cannot be composed: a file that is missing or damaged, or a word at fault."""
    if isinstance(error, InputError):
        yield from map(Problem, error.problems)
    elif isinstance(error, MissingConfigException):
        yield Problem(_missing(error))
    elif isinstance(error, YAMLError) and (line := _in_a_line(error)):
        yield Problem(line)
    elif guilty := next(
        (each for each in groups if _composes([other for other in groups if other is not each], arguments)), None
    ):
        others = [each for each in groups if each is not guilty]
        yield Problem(f"{guilty.input_line}: {_misplaced(guilty, others, error, arguments)}", guilty.input_line or "")
    elif line := _in_a_line(error):
        yield Problem(line)


def _composes(groups: Sequence[Override], arguments: Arguments) -> bool:
    return isinstance(_compose(_first(groups), arguments), DictConfig)


def _misplaced(guilty: Override, others: Sequence[Override], error: Exception, arguments: Arguments) -> str:
    """What to type instead of a choice that the defaults list has no place for."""
    word = guilty.input_line or ""
    key, _, value = word.lstrip("+~").partition("=")
    if guilty.is_delete():
        return "there is nothing to take out; leave it out"
    for other in (f"+{key}={value}", f"{key}={value}", f"{key.partition('@')[0]}={value}"):
        if other != word and _composes([*others, *_parsed([other])], arguments):
            return f"{key} {'is not among the defaults' if other.startswith('+') else 'is chosen already'}; type {other}"
    return _in_a_line(error) or type(error).__name__


def _missing(error: MissingConfigException) -> str:
    """A config file that is not there: named by an experiment or by the user's own config, or the primary one."""
    wanted = (error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, name = wanted.rpartition("/")
    if not group:
        return f"--config-name {wanted}: no such file; {wanted}.yaml must lie in the folder given with --config-dir"
    known = registry.options(group) or list(error.options or [])
    takes = f"{group} takes {', '.join(known)}{nearest(name, known)}" if known else f"there is no group {group}"
    return f"{group}={name}: no such option; {takes}"


def _value_problems(parsed: Sequence[Override], config: DictConfig, groups: Sequence[Override]) -> Iterator[Problem]:
    """Keys that are not there, and values that they do not take, in the config of the chosen options."""
    choices = {str(group): name for group, name in config.hydra.runtime.choices.items()}
    for override in parsed:
        word, key = override.input_line or "", override.key_or_group
        content = OmegaConf.to_container(config)
        assert isinstance(content, dict)
        line = _key_problem(override, {str(name): value for name, value in content.items()}, choices)
        if line and not _of_another(key, groups):
            yield Problem(line, word)
        if line or override.is_sweep_override():
            continue
        try:
            if override.is_delete():
                continue
            OmegaConf.update(config, key, override.value(), merge=True, force_add=override.is_add() or override.is_force_add())
        except (OmegaConfBaseException, ValueError, TypeError, AttributeError) as error:
            yield Problem(f"{word}: {str(error).splitlines()[0]}", word)


def _key_problem(override: Override, config: Mapping[str, Any], choices: Mapping[str, Any]) -> str:
    """What is wrong with an override's key; an empty string when nothing is."""
    word, key, value = override.input_line or "", override.key_or_group, override.value()
    there, node = _find(config, key)
    if override.is_force_add():
        return ""
    if override.is_add():
        taken = there and node is not None and not isinstance(value, dict | list)
        return f"{word}: the key exists; type {word.lstrip('+')}" if taken else ""
    if override.is_delete():
        if not there or node is None:
            known = [name for name in config if name != "hydra"]
            return f"{word}: no such key; there is nothing to take out{'' if there else nearest(key, known)}"
        return f"{word}: the value is {node}; type ~{key}" if value is not None and value != node else ""
    if not there:
        return keys.unknown(word, key, config, choices)
    if isinstance(value, dict) and isinstance(node, dict):
        missing = next((str(name) for name in value if name not in node), "")
        return keys.unknown(word, f"{key}.{missing}", config, choices) if missing else ""
    return ""


def _find(config: Any, key: str) -> tuple[bool, Any]:
    """Whether a key is there, and what stands under it."""
    node = config
    for part in key.split("."):
        if isinstance(node, dict) and part in node:
            node = node[part]
        elif isinstance(node, list) and part.isdigit() and int(part) < len(node):
            node = node[int(part)]
        else:
            return False, None
    return True, node


def _of_another(key: str, groups: Sequence[Override]) -> bool:
    """Whether a key is one of another option that the line sweeps over: it applies to the runs that have it."""
    group, _, name = key.partition(".")
    swept = [each for each in groups if each.key_or_group == group and each.is_sweep_override()]
    chosen = [str(getattr(value, "text", value)) for each in swept for value in values(each)]
    names = [part for option in chosen for part in option.strip("[]").split(",")]
    for option in names:
        if option in registry.options(group):
            own = name.removeprefix(f"{option}.") if registry.is_set(group) else name
            if own.split(".")[0] in registry.load_option(group, option):
                return True
    return False


def _in_a_line(error: BaseException, overrides: Sequence[str] = ()) -> str | None:
    """One exception as a line; None when it does not come from the settings."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(cause, OmegaConfBaseException):
        return in_config(cause, overrides)
    if isinstance(cause, MarkedYAMLError) and cause.problem_mark is not None:
        mark = cause.problem_mark
        return f"{mark.name}, line {mark.line + 1}: cannot be read as YAML ({cause.problem})"
    if isinstance(cause, HydraException | YAMLError | ValueError | OSError | AttributeError | TypeError):
        return " ".join(str(cause).split())[:300] or type(cause).__name__
    return None
