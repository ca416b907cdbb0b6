"""Exceptions of Hydra, OmegaConf and YAML that no check foresaw, as an error of dlrun's.

Words are checked before they are composed, and keys where they are set. What is left is about files: one that is missing or
damaged, values that refer to what is not there; and choices of options that the defaults list has no place for.
"""

import os
from collections.abc import Callable, Sequence

from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException
from yaml import MarkedYAMLError, YAMLError

from dlrun import registry
from dlrun.config.checks.words import as_one_name, parsed
from dlrun.errors import DlrunError, InputError, RunError, nearest

Composes = Callable[[Sequence[str]], bool]
UNREADABLE = (
    *(HydraException, OmegaConfBaseException, YAMLError, InputError, OSError),
    *(ValueError, TypeError, AttributeError, KeyError, AssertionError),
)
"""What Hydra raises for words and files that it cannot compose: its own exceptions, and whatever its code runs into."""


def cause(error: Exception) -> Exception | None:
    """What to raise an explained error from: nothing, unless a full error is asked for; Hydra's tracebacks say less."""
    return error if os.environ.get("HYDRA_FULL_ERROR") == "1" else None


def explain(error: Exception, words: Sequence[str] = ()) -> DlrunError:
    """The error to show for an exception that was raised while settings were composed.

    Args:
        error: the exception.
        words: the overrides, for the one at fault.

    Returns:
        An InputError, or a RunError when the exception does not come from the settings.
    """
    if isinstance(error, DlrunError):
        return error
    if isinstance(error, MissingConfigException):
        return InputError(_missing(error))
    line = _in_a_line(error, words)
    return InputError(line) if line else RunError(f"{type(error).__name__}: {error} (HYDRA_FULL_ERROR=1 shows where)")


def of_choices(error: Exception, choices: Sequence[Override], composes: Composes) -> DlrunError:
    """The error to show when chosen options cannot be composed together.

    Args:
        error: what was raised.
        choices: the overrides that choose.
        composes: whether words can be composed.
    """
    if isinstance(error, DlrunError | MissingConfigException | YAMLError):
        return explain(error)
    for guilty in choices:
        others = [str(each.input_line) for each in choices if each is not guilty]
        if composes(others):
            return InputError(f"{guilty.input_line}: {_misplaced(guilty, others, error, composes)}")
    return explain(error)


def _misplaced(guilty: Override, others: Sequence[str], error: Exception, composes: Composes) -> str:
    """What to type instead of a choice that the defaults list has no place for."""
    word = guilty.input_line or ""
    key, _, value = word.lstrip("+~").partition("=")
    if guilty.is_delete():
        return "there is nothing to take out; leave it out"
    for other in (f"+{key}={value}", f"{key}={value}", f"{key.partition('@')[0]}={value}"):
        if other != word and parsed([other]) and composes([*others, other]):
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


def in_config(error: OmegaConfBaseException, words: Sequence[str]) -> str:
    """What OmegaConf says of a value: which override it is, or else which key."""
    key = error.full_key or "settings"
    line = f"{key}: {str(error).splitlines()[0]}"
    named = next((word for word in words if word.lstrip("+").partition("=")[0] == key), "")
    name = as_one_name(named) if isinstance(error, InterpolationResolutionError) else ""
    return f"{line}; if it is a name, {name}" if name else line


def _in_a_line(error: BaseException, words: Sequence[str] = ()) -> str | None:
    """One exception as a line; None when it does not come from the settings."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(cause, OmegaConfBaseException):
        return in_config(cause, words)
    if isinstance(cause, MarkedYAMLError) and cause.problem_mark is not None:
        mark = cause.problem_mark
        return f"{mark.name}, line {mark.line + 1}: cannot be read as YAML ({cause.problem})"
    if isinstance(cause, HydraException | YAMLError | ValueError | OSError | AttributeError | TypeError):
        return " ".join(str(cause).split())[:300] or type(cause).__name__
    return None
