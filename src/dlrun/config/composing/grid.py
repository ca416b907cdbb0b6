"""From a sweep's words to its jobs: the product of everything that is swept."""

import itertools
import math
from collections.abc import Sequence
from typing import Any

from dlrun.config.composing.grammar import LIMIT, parse, values
from dlrun.config.composing.names import exact
from dlrun.errors import InputError


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
    problems: list[str] = []
    for override in parse([exact(word) for word in words], loader):
        key = override.get_key_element()
        if not override.is_sweep_override():
            axes[key] = [f"{key}={override.get_value_element_as_str()}"]
            continue
        try:
            found = itertools.islice(values(override), limit + 1)  # a range may be endless for all purposes
            axes[key] = list(dict.fromkeys(f"{key}={value}" for value in found))
        except InputError as error:
            problems += error.problems
            continue
        if not axes[key]:
            problems.append(f"{override.input_line}: holds no value; give some, such as 0,1,2 or range(0,3)")
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
