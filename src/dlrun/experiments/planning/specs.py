"""From the composed jobs of a sweep to the specs of its runs, or to why a job has none.

A configuration is checked once, however many seeds repeat it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from dlrun import registry
from dlrun.comparison.factors import Factor
from dlrun.config.composing.composed import Composed
from dlrun.config.factors import factors
from dlrun.config.resolver import UntrustedError
from dlrun.config.spec import RunSpec, from_config
from dlrun.errors import InputError, MismatchError, UnusableError, raise_all
from dlrun.isolation import reason
from dlrun.results.identity import OF_A_SWEEP
from dlrun.results.seeded import SEED, Seeded, base_of

MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Without:
    """Why a job has no run: its components do not fit together (skipped), or something that it names is broken (failed)."""

    reason: str
    status: Literal["skipped", "failed"] = "skipped"
    factors: Mapping[str, Factor] = field(default_factory=dict)


def specs_of(jobs: Sequence[Composed]) -> list[RunSpec | Without]:
    """The spec of each job, or why it has none.

    Raises:
        InputError: a value was typed that no run can have, or the jobs disagree on what a sweep has one of; with every distinct
            problem.
    """
    problems: dict[str, None] = dict.fromkeys(_said_twice(distinct([job for job in jobs if not job.error])))
    known: dict[int, RunSpec | Without] = {}
    specs = []
    for job in jobs:
        place = id(base_of(job.config)) if _is_repeat(job) else id(job)
        first = known.get(place)
        if first is None:
            first = known[place] = _checked(job, problems)
            specs.append(first)
        else:
            specs.append(first.repeat(job.config[SEED], job.overrides) if isinstance(first, RunSpec) else first)
    raise_some(list(problems))
    return specs


def _is_repeat(job: Composed) -> bool:
    """Whether a job may differ from others in its seed alone."""
    return isinstance(job.config, Seeded) and type(job.config.seed) is int and 0 <= job.config.seed < 1 << 63 and not job.error


def distinct(jobs: Sequence[Composed]) -> list[Composed]:
    """One job of those that differ in their seed alone."""
    return [*{id(base_of(job.config)): job for job in jobs}.values()]


def _checked(job: Composed, problems: dict[str, None]) -> RunSpec | Without:
    """The spec of a job, or why it has none; what was typed wrongly is added to ``problems``."""
    if job.error:
        return Without(_in_files(job.error, job), "failed", _asked(job))
    try:
        return from_config(job.config, job.choices, job.overrides, job.mentioned)
    except MismatchError as error:
        return Without("; ".join(error.problems), "skipped", _asked(job))
    except UnusableError as error:
        return Without("; ".join(error.problems), "failed", _asked(job))
    except InputError as error:
        if isinstance(error, UntrustedError) or _typed(error.problems, job):
            problems |= dict.fromkeys(error.problems)
            return Without(str(error), "failed")
        return Without(_in_files(error, job), "failed", _asked(job))


def _asked(job: Composed) -> dict[str, Factor]:
    """The factors of a job that is no run; of one whose files are broken the options that it names."""
    if job.config:
        return factors(job.config, job.choices)
    words = [word.lstrip("+").partition("=") for word in job.overrides]
    return {group: name for group, _, name in words if group in registry.groups()}


def raise_some(problems: Sequence[str]) -> None:
    """Raise an InputError for problems, of many for the first ones; do nothing when there are none."""
    more = [f"and {len(problems) - MOST_PROBLEMS} more problems"] if len(problems) > MOST_PROBLEMS else []
    raise_all([*problems[:MOST_PROBLEMS], *more])


def _in_files(error: Exception, job: Composed) -> str:
    """What is wrong with a job, and in which of the user's files: those of the options that its words choose."""
    said = "; ".join(error.problems) if isinstance(error, InputError) else reason(error)
    words = [word.lstrip("+").partition("=") for word in job.overrides]
    chosen = [registry.path(group, name) for group, _, name in words if name in registry.options(group)]
    files = [str(path) for path in chosen if registry.root() not in path.parents]
    return said if not files or any(file in said for file in files) else f"{said} (in {' or '.join(files)})"


def _typed(problems: Sequence[str], job: Composed) -> bool:
    """Whether any of a job's problems is of a value that was typed, and not of one that stands in an option's file."""
    keys = [word.lstrip("+~").partition("=")[0] for word in job.overrides]
    typed = tuple(key for key in keys if key not in registry.groups())
    return any(problem.lstrip("+~").startswith(typed) for problem in problems) or not job.choices


def left_out(jobs: Sequence[Composed]) -> Iterator[str]:
    """Settings that some jobs have no component for."""
    found: dict[str, list[str]] = {}
    for job in jobs:
        for key in dict.fromkeys(word.partition("=")[0] for word in job.left_out):
            found.setdefault(key, []).append(job.choices.get(key.split(".")[0], "null"))
    for key, options in found.items():
        group, name, *_ = key.split(".")
        why = f"which do not select {name}" if registry.is_set(group) else f"since {_has(group, options)} no {name}"
        yield f"{key}: left out of {len(options):,} of {len(jobs):,} runs, {why}"


def _has(group: str, options: Sequence[str]) -> str:
    names = [*dict.fromkeys(options)]
    *others, last = names if len(names) <= 4 else [*names[:3], f"{len(names) - 3} others"]
    return f"{group}={', '.join(others)} and {last} have" if others else f"{group}={last} has"


def _said_twice(jobs: Sequence[Composed]) -> Iterator[str]:
    """Settings of the sweep as a whole that its jobs do not agree on."""
    for key in OF_A_SWEEP:
        values = dict.fromkeys(str(job.config.get(key)) for job in jobs)
        if len(values) > 1:
            yield f"{key}={','.join(values)}: a sweep has one {key}; start a sweep for each"
