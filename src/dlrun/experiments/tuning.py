"""Choosing settings on validation rows, and reporting what was chosen on test rows, with seeds that chose nothing.

    tune_over: [optimizer.lr]

    every value and seed trains -> for each configuration the value with the best mean on validation rows
                                -> that value, and the default, with as many new seeds -> the table, of those alone

The best of several values is partly lucky with the seeds and validation rows that chose it. New seeds split the rows anew and
draw new weights, so that the figures in the table have no part in the choice.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dlrun import registry
from dlrun.comparison.factors import Factor, label, shown, typed
from dlrun.comparison.longtable import TUNED
from dlrun.comparison.measures import lower_is_better
from dlrun.config.composing.compose import set_value
from dlrun.config.composing.composed import Composed
from dlrun.config.repeats import is_seed
from dlrun.errors import InputError, nearest, raise_all
from dlrun.experiments.sections import place
from dlrun.experiments.sweep import Grid
from dlrun.report.sections import Place
from dlrun.results.record import MEASURED, RunRecord
from dlrun.results.seeded import Seeded
from dlrun.suggestions.values import show

CURVES = "curves"  # in the settings of a sweep: the mean on validation rows of each value of each configuration
Values = tuple[Factor, ...]


@dataclass(frozen=True)
class Configuration:
    """Runs that differ in their seeds, folds and tuned settings alone.

    Args:
        factors: what all of them are told by.
        jobs: the values of the tuned settings -> the jobs that have them.
        curve: the values -> the mean on validation rows; NaN where a run was not measured.
        chosen: the values with the best mean; None where there is none.
    """

    place: Place
    factors: Mapping[str, Factor]
    jobs: Mapping[Values, Sequence[Composed]]
    curve: Mapping[Values, float]
    chosen: Values | None


def tuned_keys(jobs: Sequence[Composed]) -> tuple[str, ...]:
    """The settings that are to be tuned, those of the first job.

    Raises:
        InputError: something is no setting that the sweep varies; the seed would not choose alone.
    """
    sound = [job for job in jobs if not job.error]
    asked = sound[0].config.get("tune_over") or ()
    if not isinstance(asked, str | list | tuple):
        raise InputError(f"tune_over={asked}: must be a list of settings that the sweep varies, such as [optimizer.lr]")
    keys = tuple(dict.fromkeys([asked] if isinstance(asked, str) else map(str, asked)))
    if not keys:
        return ()
    names = (word.lstrip("+").partition("=")[0] for job in sound for word in job.overrides)
    varied = [name for name in dict.fromkeys(names) if len({_value(job, name) for job in sound}) > 1 and name != "seed"]
    problems = [
        f"tune_over={key}: the sweep does not vary it; it varies {', '.join(varied) or 'nothing'}{nearest(key, varied)}"
        for key in keys
        if len({_value(job, key) for job in sound}) < 2
    ]
    if any("seed" in job.mentioned for job in sound):
        problems.append("tune_over: a setting refers to the seed, and new seeds would change it; write its value instead")
    if any(not job.config["dataset"].get("validation", 1) for job in sound):
        problems.append("tune_over: chooses on validation rows, and dataset.validation=0 leaves none")
    raise_all(problems)
    return keys


def refuse_alone(job: Composed) -> None:
    """Refuse a single run that is to be tuned, or whose values are to be zipped: there is nothing to choose among.

    Raises:
        InputError: with what to type.
    """
    if asked := job.config.get("tune_over"):
        raise InputError(f"tune_over={show(asked)}: chooses among the runs of a sweep; type -m and the values to try")
    if asked := job.config.get("zip"):
        raise InputError(f"zip={show(asked)}: pairs the values of a sweep; type -m and the values of each")


def choose(keys: Sequence[str], jobs: Sequence[Composed], grid: Grid, records: Mapping[str, RunRecord]) -> list[Configuration]:
    """For each configuration of a sweep that has trained, the values that are best on validation rows.

    Args:
        jobs: one for each cell of ``grid``.
    """
    members: dict[tuple[Place, str], dict[Values, list[tuple[Composed, str]]]] = {}
    for job, cell in zip(jobs, grid.cells, strict=True):
        if cell.id in grid.specs:
            spec = grid.specs[cell.id]
            at = place(spec)[0], label(_rest(spec.factors, keys))
            members.setdefault(at, {}).setdefault(tuple(_value(job, key) for key in keys), []).append((job, cell.id))
    found = []
    for (where, _), by_value in members.items():
        curve = {
            values: _mean([_validated(records.get(run), where.metric) for _, run in pairs]) for values, pairs in by_value.items()
        }
        sign = 1 if lower_is_better(where.metric) else -1
        known = [values for values, mean in curve.items() if math.isfinite(mean)]
        chosen = min(known, key=lambda values: sign * curve[values], default=None)
        first = grid.specs[next(iter(by_value.values()))[0][1]]
        mine = {values: [job for job, _ in pairs] for values, pairs in by_value.items()}
        found.append(Configuration(where, _rest(first.factors, keys), mine, curve, chosen))
    return found


def fresh_jobs(
    keys: Sequence[str], found: Sequence[Configuration], known: Sequence[int]
) -> list[tuple[Composed, dict[str, Factor]]]:
    """The jobs that report: what was chosen, and the default, with as many seeds as chose; each with its further factors.

    Args:
        known: the seeds that chose.
    """
    start = max(known) + 1
    jobs = []
    for each in found:
        if each.chosen is None:
            continue
        count = len({job.config["seed"] for job in each.jobs[each.chosen]})
        wanted = {True: each.jobs[each.chosen]}
        default = _default(keys, each)
        if default is not None and default != each.chosen:
            wanted[False] = each.jobs.get(default) or _set(keys, each, default)
        for tuned, mine in wanted.items():
            folds = {job.config["dataset"].get("fold"): job for job in mine}
            values = each.chosen if tuned else default or ()
            told: dict[str, Factor] = {TUNED: tuned, **dict(zip(keys, values, strict=True))}
            jobs += [(_with_seed(job, seed), told) for seed in range(start, start + count) for job in folds.values()]
    return jobs


def notes(keys: Sequence[str], found: Sequence[Configuration]) -> dict[Place, list[str]]:
    """What was chosen, a line for each configuration of a place; and where the best value is the last that was tried."""
    lines: dict[Place, list[str]] = {}
    for each in found:
        others = [other.factors for other in found if other.place == each.place]
        name = label({key: value for key, value in each.factors.items() if any(other.get(key) != value for other in others)})
        mine = lines.setdefault(each.place, [])
        if each.chosen is None:
            mine.append(
                f"{name}: no value of {', '.join(keys)} has a validation {each.place.metric} of every seed; none is reported"
            )
            continue
        said = " ".join(f"{key}={shown(value)}" for key, value in zip(keys, each.chosen, strict=True))
        lost = sum(not math.isfinite(mean) for mean in each.curve.values())
        mine.append(
            f"{name}: {said} of {len(each.curve)} values by validation {each.place.metric} {each.curve[each.chosen]:.4g}"
            + (f"; {lost} of them lost runs, and {'was' if lost == 1 else 'were'} not considered" if lost else "")
            + "".join(f"; {edge}" for edge in _edges(keys, each))
        )
    return lines


def curves(keys: Sequence[str], found: Sequence[Configuration]) -> list[dict[str, Any]]:
    """The mean on validation rows of every value, in JSON's types."""
    return [
        {
            "dataset": each.place.dataset,
            "metric": f"validation/{each.place.metric}",
            "factors": dict(each.factors),
            "keys": list(keys),
            "chosen": None if each.chosen is None else list(each.chosen),
            "curve": [[list(values), mean if math.isfinite(mean) else None] for values, mean in each.curve.items()],
        }
        for each in found
    ]


def _edges(keys: Sequence[str], each: Configuration) -> list[str]:
    """Which of the chosen numbers are the least or the largest that were tried, so that a better one may lie beyond."""
    found = []
    for number, key in enumerate(keys):
        tried = {values[number] for values in each.curve}
        value = (each.chosen or ())[number]
        if len(tried) > 2 and all(isinstance(one, int | float) and not isinstance(one, bool) for one in tried):
            if value == max(tried, key=float):
                found.append(f"warning: {key}={shown(value)} is the largest that was tried; try larger ones")
            elif value == min(tried, key=float):
                found.append(f"warning: {key}={shown(value)} is the smallest that was tried; try smaller ones")
    return found


def _default(keys: Sequence[str], each: Configuration) -> Values | None:
    """What the files of the options say; None where they leave it to the data, or a whole option is tuned."""
    job = next(iter(each.jobs.values()))[0]
    values = []
    for key in keys:
        group, _, rest = key.partition(".")
        if group == "regularizer":
            group, _, rest = rest.partition(".")
            content: Any = registry.content("regularizer", group)
        else:
            content = registry.content(group, job.choices.get(group, "")) if rest else None
        value = registry.value_at(content, rest)
        if value is None or "${" in str(value):
            return None
        values.append(typed(value))
    return tuple(values)


def _set(keys: Sequence[str], each: Configuration, values: Values) -> list[Composed]:
    """Jobs of a configuration with values that none of it has; none where settings refer to them."""
    jobs = next(iter(each.jobs.values()))
    if any(part in job.mentioned for job in jobs for key in keys for part in key.split(".")):
        return []
    changed = []
    for job in jobs:
        config = dict(job.config)
        words = [word for word in job.overrides if word.lstrip("+").partition("=")[0] not in keys]
        for key, value in zip(keys, values, strict=True):
            set_value(config, key.split("."), value)
        changed.append(replace(job, config=config, overrides=tuple(words)))
    return changed


def _with_seed(job: Composed, seed: int) -> Composed:
    words = [word for word in job.overrides if not is_seed(word)]
    return replace(job, config=Seeded.of(job.config, seed), overrides=(*words, f"seed={seed}"))


def _value(job: Composed, key: str) -> Factor:
    """The value of a setting, or the option of a group."""
    if "." not in key and key in job.choices:
        return job.choices[key]
    return typed(registry.value_at(job.config, key))


def _rest(factors: Mapping[str, Factor], keys: Sequence[str]) -> dict[str, Factor]:
    """The factors that are not tuned."""
    return {name: value for name, value in factors.items() if not any(name == key or name.startswith(f"{key}.") for key in keys)}


def _validated(record: RunRecord | None, metric: str) -> float:
    """The metric of a run on validation rows; NaN of one that was not measured."""
    value = None if record is None or record.status not in MEASURED else record.metrics.get(f"validation/{metric}")
    return math.nan if value is None else value


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
