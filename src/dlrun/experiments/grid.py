"""From a sweep's words to its jobs: the product of everything that is swept."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser

from dlrun.errors import InputError

LIMIT = 100_000  # runs in one sweep; more are a mistake more often than a wish


def expand(words: Sequence[str], loader: Any, limit: int = LIMIT) -> list[list[str]]:
    """Every combination of the values that ``words`` sweep over, in Hydra's grammar: choices, ranges, globs, lists.

    A later word for the same key replaces an earlier one, so the command line has the last word over an experiment's own sweep.

    Returns:
        For each job its overrides; the last swept key changes fastest.

    Raises:
        InputError: a sweep that names nothing, cannot be enumerated, or has more than ``limit`` combinations.
    """
    axes: dict[str, list[str]] = {}
    problems = []
    for override in OverridesParser.create(config_loader=loader).parse_overrides(list(words)):
        key = override.get_key_element()
        if not override.is_sweep_override():
            axes[key] = [f"{key}={override.get_value_element_as_str()}"]
        elif override.is_discrete_sweep():
            axes[key] = [f"{key}={value}" for value in override.sweep_string_iterator()]
            if not axes[key]:
                problems.append(f"{override.input_line}: matches nothing; dlrun ls {key} lists the names")
        else:
            problems.append(f"{override.input_line}: has no end; list the values, such as {key}=0.1,0.01")
    if problems:
        raise InputError(*problems)
    count = math.prod(map(len, axes.values()))
    if count > limit:
        factors = " x ".join(str(len(values)) for values in axes.values() if len(values) > 1)
        raise InputError(f"the sweep has {factors} = {count:,} runs, and at most {limit:,} are allowed; sweep over fewer values")
    return [list(job) for job in itertools.product(*axes.values())]
