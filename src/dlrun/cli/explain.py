"""Hydra's and OmegaConf's errors in dlrun's words: what was received, what is allowed, what to type instead.

Hydra stops at the first problem. Here the override at fault is taken out and the rest composed again, until nothing more turns
up, so that a user sees every problem at once. It costs a tenth of a second a problem, and only when there is one.
"""

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException
from yaml import YAMLError

from dlrun import registry
from dlrun.cli.arguments import Arguments
from dlrun.errors import DlrunError, InputError, RunError, nearest, raise_all
from dlrun.experiments.names import GROUP, ONE

_AT_MOST = 12  # problems told at once
_ORDER = ["optimizer", "trainer", "model", "dataset"]  # where a key is looked for first
_WANTED = {"path": "FILE", "target": "COLUMN"}  # what no table can do without
_NEUTRAL = {"activation": "identity", "scheduler": "constant"}  # the option that changes nothing


@dataclass(frozen=True)
class Problem:
    """A line for the user, and the override that it blames: an empty string when that is unknown."""

    line: str
    override: str = ""


def refuse(overrides: Sequence[str]) -> None:
    """Refuse what Hydra would accept and do wrongly: a pattern that matches nothing, and several options where one can stand.

    Raises:
        InputError: naming each of them.
    """
    suspects = [override for override in overrides if "glob(" in override or re.match(r"[\w/]+=\[", override)]
    if not suspects:
        return
    problems = []
    for parsed in _parsed(suspects):
        known = registry.options(parsed.key_or_group)
        value: object = parsed.value()
        if known and isinstance(value, Glob) and not value.filter(known):
            problems.append(f"{parsed.input_line}: matches nothing; {_takes(parsed.key_or_group)}")
        elif known and isinstance(value, list) and not registry.is_set(parsed.key_or_group):
            wish = ",".join(map(str, value))
            problems.append(f"{parsed.input_line}: takes one option; -m {parsed.key_or_group}={wish} runs each of them")
    raise_all(problems)


def explain(error: Exception, arguments: Arguments) -> DlrunError:
    """The error to show for an exception that Hydra raised while it composed the settings.

    Args:
        error: what Hydra raised.
        arguments: the command line, for the override at fault.

    Returns:
        An InputError with every problem that the command line has, or a RunError when the exception is no user's fault.
    """
    overrides = arguments.overrides
    problems = list(_option_problems(overrides))
    if not problems:
        first = _problem(error, overrides)
        if first is None:
            return RunError(f"{type(error).__name__}: {error} (HYDRA_FULL_ERROR=1 shows where)")
        problems.append(first)
    while problems[-1].override and len(problems) < _AT_MOST:
        blamed = {problem.override for problem in problems}
        following = _compose([override for override in overrides if override not in blamed], arguments)
        found = _problem(following, overrides) if following else None
        if found is None or found.override in blamed:
            break
        problems.append(found)
    return InputError(*dict.fromkeys(problem.line for problem in problems))


def _parsed(overrides: Iterable[str]) -> Iterator[Override]:
    """The overrides that can be parsed; Hydra speaks up for the others."""
    parser = OverridesParser.create()
    for override in overrides:
        try:
            yield parser.parse_override(override)
        except HydraException:
            continue


def _values(parsed: Override) -> Iterator[object]:
    """Every value that an override gives: the items of a sweep, and of a list."""
    values = parsed.sweep_iterator() if parsed.is_discrete_sweep() and not isinstance(parsed.value(), Glob) else [parsed.value()]
    for value in values:
        if isinstance(value, list):
            yield from value
        else:
            yield value


def _option_problems(overrides: Sequence[str]) -> Iterator[Problem]:
    """Names in ``group=name`` that are no option of the group."""
    for parsed in _parsed(overrides):
        group = parsed.key_or_group
        known = registry.options(group)
        if not known or parsed.is_delete():
            continue
        line = parsed.input_line or ""
        for value in _values(parsed):
            if value is None:
                yield Problem(f"{group}=null: {_without(group)}", line)
            elif isinstance(value, str) and value not in known:
                yield Problem(f"{group}={value}: no such option; {_instead(group, value, known)}", line)
            elif not isinstance(value, str | Glob):
                yield Problem(f"{group}={value}: no such option; {_takes(group)}", line)


def _instead(group: str, value: str, known: Sequence[str]) -> str:
    """What to type instead of an option that does not exist."""
    if value.lower() in ("none", "no", "off"):
        if group in _NEUTRAL:
            return f"type {group}={_NEUTRAL[group]}"
        if registry.is_set(group) or group in ("loss", "experiment"):
            return _without(group)
    for folder in (Path.cwd() / "conf", Path.cwd()):
        if (folder / group / f"{value}.yaml").is_file():
            name = folder.relative_to(Path.cwd())
            return f"{name / group / value}.yaml is not searched; add --config-dir {name}"
    return f"{_takes(group)}{nearest(value, known)}"


def _takes(group: str) -> str:
    return f"{group} takes {', '.join(registry.options(group))}"


def _without(group: str) -> str:
    if registry.is_set(group):
        return f"for none of them, type {group}=[]; {_takes(group)}"
    if group in ("loss", "experiment"):  # null by default
        return f"leave it out, or type ~{group} to take it out of an experiment; {_takes(group)}"
    if group in _NEUTRAL:
        return f"cannot be left out; type {group}={_NEUTRAL[group]}"
    return f"cannot be left out; {_takes(group)}"


def _compose(overrides: Sequence[str], arguments: Arguments) -> Exception | None:
    """What goes wrong when ``overrides`` are composed, a sweep by its first value; None when nothing does."""
    from hydra import compose, initialize_config_dir

    from dlrun.experiments.received import guarded

    single = []
    for parsed in _parsed(overrides):
        line = parsed.input_line or ""
        if not parsed.is_sweep_override():
            single.append(line)
        elif parsed.is_discrete_sweep() and not isinstance(parsed.value(), Glob):
            single.append(f"{parsed.get_key_element()}={next(parsed.sweep_string_iterator())}")
    if "--config-dir" in arguments.flags:
        single.append(f"hydra.searchpath=['{arguments.flags['--config-dir']}']")
    try:
        with (
            guarded(single, acts=False),
            initialize_config_dir(arguments.flags.get("--config-path", str(registry.root())), version_base="1.3"),
        ):
            compose(arguments.flags.get("--config-name", "config"), overrides=single)
    except Exception as error:
        return error
    return None


def _problem(error: Exception, overrides: Sequence[str]) -> Problem | None:
    """One exception as a line; None when it does not come from the settings."""
    text = str(error)
    if isinstance(error, OverrideParseException):
        override = next((o for o in overrides if o == error.override or o in text), error.override)
        return Problem(f"{override}: cannot be read as key=value; {_quoted(override)}", override)
    if isinstance(error, MissingConfigException):
        return _missing(error)
    for pattern, said in (
        (r"Ambiguous value for argument '(.+)'", "holds several values; -m runs each of them, and [a,b] is a list"),
        (r"Sweep parameters '(.+)' requires --multirun", "holds several values; -m runs each of them"),
        (r"Sweeping over Hydra's configuration is not supported : '(.+)'", "a setting of Hydra's own cannot be swept"),
    ):
        if match := re.search(pattern, text):
            as_one = _as_one_name(match[1]) if "several values" in said else ""
            return Problem(f"{match[1]}: {said}{as_one and f'; if it is one name, {as_one}'}", match[1])
    if match := re.search(r"Could not (?:override|delete from config\.) '([^']+)'", text):
        return _unknown_key(match[1], error.__cause__, overrides)
    if "does not support sweep type" in text:
        override = next(
            (p.input_line or "" for p in _parsed(overrides) if p.is_sweep_override() and not p.is_discrete_sweep()), ""
        )
        return Problem(f"{override}: has no list of values to run; give some, such as 1,2,3 or range(1,4)", override)
    if match := re.search(r"An item is already at '([^']+)'", text):
        override = _blamed(f"+{match[1]}", overrides)
        return Problem(f"{override}: the key exists; type {override.lstrip('+')}", override)
    if isinstance(error, OmegaConfBaseException) or isinstance(error.__cause__, OmegaConfBaseException):
        cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
        override = text.removeprefix("Error merging override ") if text.startswith("Error merging override ") else ""
        assert isinstance(cause, OmegaConfBaseException)
        return Problem(in_config(cause, overrides, override), override)
    if isinstance(error, HydraException | YAMLError | ValueError | OSError):
        return Problem(" ".join(text.split()))
    return None


def in_config(error: OmegaConfBaseException, overrides: Sequence[str], override: str = "") -> str:
    """What OmegaConf says of a value: which override it is, or else which key."""
    key = error.full_key or "settings"
    line = f"{override or key}: {str(error).splitlines()[0]}"
    as_one = _as_one_name(override or _blamed(key, overrides)) if isinstance(error, InterpolationResolutionError) else ""
    return f"{line}; if it is a name, {as_one}" if as_one else line


def _quoted(override: str) -> str:
    """How to type a value with characters that mean something to Hydra."""
    key, _, value = override.partition("=")
    if as_one := _as_one_name(override):
        return as_one
    if re.fullmatch(r"[+]{0,2}[\w.]+", key) and value[:1] not in ("", "=", "[", "{", "(", '"', "'") and '"' not in value:
        word = f'{key}="{value}"'
        if list(_parsed([word])):
            return f"type {shlex.quote(word)}"
    return "quote the whole for the shell, and text inside once more"


def _as_one_name(override: str) -> str:
    """How to type the name of a column with characters that mean something to Hydra; an empty text for other settings."""
    from dlrun.data.advice import naming

    key, _, value = override.lstrip("+").partition("=")
    name = key.removeprefix(f"{GROUP}.")
    return f"type {naming(name, value)}" if name in ONE and key != name else ""


def _missing(error: MissingConfigException) -> Problem:
    """A config file that is not there: named by an experiment or by the user's own config, or the primary one."""
    wanted = (error.missing_cfg_file or "").removesuffix(".yaml")
    group, _, name = wanted.rpartition("/")
    if not group:
        return Problem(f"--config-name {wanted}: no such file; {wanted}.yaml must lie in the folder given with --config-dir")
    known = registry.options(group) or list(error.options or [])
    match = re.match(r"In '([^']+)'", str(error))
    where = f"in {match[1]}: " if match and match[1] not in ("config", "hydra/config") else ""
    takes = f"{group} takes {', '.join(known)}{nearest(name, known)}" if known else f"there is no group {group}"
    return Problem(f"{where}{group}={name}: no such option; {takes}")


def _unknown_key(key: str, cause: BaseException | None, overrides: Sequence[str]) -> Problem:
    override = _blamed(key, overrides)
    group, *rest = key.split(".")
    parent = getattr(cause, "parent_node", None)
    if rest and registry.is_set(group) and rest[0] in registry.options(group):
        selected = parent if isinstance(parent, DictConfig) and parent._key() == group else {}
        names = ",".join([*map(str, selected), rest[0]])
        inside = isinstance(parent, DictConfig) and str(parent._get_full_key("")).startswith(f"{group}.{rest[0]}")
        if rest[0] not in selected and not inside:
            return Problem(f"{key}: {rest[0]} is not selected; add {group}=[{names}]", override)
    if rest and rest[0] in registry.options(group) and not registry.is_set(group):
        setting = f" {'.'.join([group, *rest[1:]])}={(override or key).partition('=')[2]}" if rest[1:] else ""
        return Problem(f"{override or key}: the name of an option is no key; type {group}={rest[0]}{setting}", override)
    if rest and registry.options(group) and _is_root(parent):
        return Problem(f"{key}: no {group} is selected; add {group}=NAME, and {_takes(group)}", override)
    if key in registry.groups():
        return Problem(f"{override}: {key} is not among the defaults; type +{override}", override)
    known = [str(name) for name in parent if not str(name).startswith("_")] if isinstance(parent, DictConfig) else []
    if _is_root(parent):
        known = sorted({*known, *registry.groups()} - {"hydra"})
    at = str(parent._get_full_key("")) if isinstance(parent, DictConfig) else key.rpartition(".")[0]
    wrong = key.removeprefix(at).lstrip(".").partition(".")[0]
    if at == group and (others := [name for name in registry.options(group) if wrong in registry.load_option(group, name)]):
        chosen = _chosen(group, parent)
        some = f"{', '.join(others)} {'have' if len(others) > 1 else 'has'} one"
        return Problem(
            f"{override or key}: {chosen} has no {wrong} ({some}); it takes {', '.join(known) or 'no keys'}, "
            f"or type {_select(group, _likely(group, wrong, others), override or key)}",
            override,
        )
    if _is_root(parent) and (hint := _home(override or key, wrong, parent)):
        return Problem(f"{override or key}: no such key; {hint}", override)
    takes = f"; {at or 'dlrun'} takes {', '.join(known) or 'no keys'}" if at or known else ""
    return Problem(f"{override or key}: no such key{takes}{nearest(wrong, known)}", override)


def _home(override: str, name: str, config: object) -> str:
    """Where a key that stands alone belongs: to what is selected, or to an option that could be; an empty string for neither."""
    key, equals, value = override.lstrip("+").partition("=")
    if key != name or not isinstance(config, DictConfig):
        return ""
    groups = [
        group for group in _ORDER + registry.groups() if group in config and isinstance(config._get_node(group), DictConfig)
    ]
    for group in dict.fromkeys(groups):
        section = config._get_node(group)
        assert isinstance(section, DictConfig)
        if registry.is_set(group):
            places = [f"{group}.{part}" for part in map(str, section) if name in registry.load_option(group, part)]
        else:
            places = [group] * (name in section)
        if places:
            return f"type {places[0]}.{name}{equals}{value}"
    for group in registry.groups():
        if name in registry.options(group):
            return f"type {shlex.quote(f'{group}=[{name}]') if registry.is_set(group) else f'{group}={name}'}"
    for group in dict.fromkeys(_ORDER + registry.groups()):
        homes = [option for option in registry.options(group) if name in registry.load_option(group, option)]
        if homes and group != "experiment":
            option = _likely(group, name, homes)
            at = f"{group}.{option}" if registry.is_set(group) else group
            return f"type {_select(group, option, f'{at}.{name}{equals}{value}')}"
    return ""


def _likely(group: str, key: str, options: Sequence[str]) -> str:
    """Of some options that have a key the one whose summary names it, or else the first."""
    return next((name for name in options if key in registry.summary(group, name)), options[0])


def _select(group: str, option: str, setting: str) -> str:
    """What to type for an option and a setting of it, with what a table needs beside."""
    content = registry.load_option(group, option)
    wanted = [f"{group}.{key}={what}" for key, what in _WANTED.items() if content.get(key, "") is None]
    words = [word for word in wanted if word.partition("=")[0] != setting.partition("=")[0]]
    return " ".join([shlex.quote(f"{group}=[{option}]" if registry.is_set(group) else f"{group}={option}"), *words, setting])


def _chosen(group: str, section: object) -> str:
    """``group=option`` where the option can be told from what it brought into the config."""
    if not isinstance(section, DictConfig):
        return group
    keys = {str(key) for key in section}
    target = section._get_node("_target_")
    fitting = [
        name
        for name in registry.options(group)
        if (content := registry.load_option(group, name)).get("_target_") == (target._value() if target else None)
        and content.keys() == keys
    ]
    return f"{group}={fitting[0]}" if len(fitting) == 1 else group


def _is_root(node: object) -> bool:
    return isinstance(node, DictConfig) and node._get_parent() is None


def _blamed(key: str, overrides: Sequence[str]) -> str:
    """The override that sets ``key``, or an empty string."""
    return next((o for o in overrides if o.partition("=")[0].lstrip("~+").partition("@")[0] == key.lstrip("+")), "")
