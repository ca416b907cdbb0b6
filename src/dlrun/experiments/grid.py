"""From a sweep's words to its jobs: the product of everything that is swept."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob

from dlrun.errors import InputError
from dlrun.experiments.names import exact

LIMIT = 100_000  # runs in one sweep; more are a mistake more often than a wish


def expand(words: Sequence[str], loader: Any, limit: int = LIMIT) -> list[list[str]]:
    """Every combination of the values that ``words`` sweep over, in Hydra's grammar: choices, ranges, globs, lists.

    A later word for the same key replaces an earlier one, so the command line has the last word over an experiment's own sweep.
    A value that is listed twice counts once: a run has no second result.

    Returns:
        For each job its overrides; the last swept key changes fastest.

    Raises:
        InputError: a sweep that names nothing, cannot be enumerated, or has more than ``limit`` combinations.
    """
    axes: dict[str, list[str]] = {}
    problems = []
    for override in OverridesParser.create(config_loader=loader).parse_overrides([exact(word) for word in words]):
        key = override.get_key_element()
        if not override.is_sweep_override():
            axes[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            values = itertools.islice(override.sweep_string_iterator(), limit + 1)  # a range may be endless for all purposes
            axes[key] = list(dict.fromkeys(f"{key}={value}" for value in values))
            if not axes[key]:
                known = f"; dlrun ls {key} lists the names" if isinstance(override.value(), Glob) else ""
                problems.append(f"{override.input_line}: holds no value{known}")
        else:
            problems.append(f"{override.input_line}: has no end; list the values, such as {key}=0.1,0.01")
    if problems:
        raise InputError(*problems)
    sizes = [len(values) for values in axes.values() if len(values) > 1]
    if math.prod(sizes) > limit:
        if max(sizes) > limit:
            said = f"more than {limit:,}"
        else:
            said = f"{' x '.join(map(str, sizes))} = {math.prod(sizes):,}"
        raise InputError(f"the sweep has {said} runs, and at most {limit:,} are allowed; sweep over fewer values")
    return [list(job) for job in itertools.product(*axes.values())]
