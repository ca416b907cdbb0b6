"""From a sweep's words to its jobs: the product of everything that is swept, settings that are zipped counting as one."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from dlrun.config.composing.grammar import LIMIT, parse, values
from dlrun.config.composing.names import exact
from dlrun.errors import InputError, nearest

ZIP = "zip"  # the setting that names settings whose values go together


def expand(words: Sequence[str], loader: Any, limit: int = LIMIT, zipped: Any = ()) -> list[list[str]]:
    """Every combination of the values that ``words`` sweep over, in Hydra's grammar: choices, ranges, globs, lists.

    A later word for the same key replaces an earlier one, so the command line has the last word over an experiment's own sweep.
    A value that is listed twice counts once: a run has no second result.

    Args:
        zipped: keys whose values go together, the first of each, the second of each; or lists of such keys.

    Returns:
        For each job its overrides; the last swept key changes fastest.

    Raises:
        InputError: a sweep that names nothing, cannot be enumerated, or has more than ``limit`` combinations; zipped keys that it
            does not vary, or that have different numbers of values.
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
            axes[key] = [f"{key}={value}" for value in found]
        except InputError as error:
            problems += error.problems
            continue
        if not axes[key]:
            problems.append(f"{override.input_line}: holds no value; give some, such as 0,1,2 or range(0,3)")
    if problems:
        raise InputError(*problems)
    together = _together(axes, _groups(zipped))
    strands = [[*dict.fromkeys(zip(*(axes[key] for key in keys), strict=True))] for keys in together]
    sizes = [len(strand) for strand in strands if len(strand) > 1]
    if math.prod(sizes) > limit:
        if max(sizes) > limit:
            said = f"more than {limit:,}"
        else:
            said = f"{' x '.join(map(str, sizes))} = {math.prod(sizes):,}"
        raise InputError(f"the sweep has {said} runs, and at most {limit:,} are allowed; sweep over fewer values")
    jobs = ([*itertools.chain(*job)] for job in itertools.product(*strands))
    place = {key: number for number, key in enumerate(itertools.chain(*together))}
    order = [place[key] for key in axes]  # words stay where they were typed
    return [[job[number] for number in order] for job in jobs] if len(together) < len(axes) else [*jobs]


def _groups(zipped: Any) -> list[list[str]]:
    """The keys of each group that is zipped.

    Raises:
        InputError: it is no list of keys, or a key is in it twice.
    """
    asked = [] if zipped is None else [zipped] if isinstance(zipped, str) else list(zipped)
    groups = [[str(key) for key in group] for group in asked] if asked and not isinstance(asked[0], str) else [[*map(str, asked)]]
    keys = [key for group in groups for key in group]
    twice = next((key for key in keys if keys.count(key) > 1), "")
    if twice:
        raise InputError(f"zip={_shown(groups)}: {twice} is named twice; name it once")
    alone = next((group[0] for group in groups if len(group) == 1), "")
    if alone:
        raise InputError(
            f"zip={_shown(groups)}: {alone} stands alone; name two settings or more, such as [optimizer,optimizer.lr]"
        )
    return [group for group in groups if group]


def _together(axes: Mapping[str, list[str]], groups: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """The keys that the product is made of: each alone, or with those that it is zipped with, where the first of them stands.

    Raises:
        InputError: zipped keys that the sweep does not vary, or that have different numbers of values.
    """
    varied = [key for key, words in axes.items() if len(words) > 1]
    of_key = {key: group for group in groups for key in group}
    problems = [
        f"zip={_shown(groups)}: the sweep does not vary {key}; it varies {', '.join(varied) or 'nothing'}{nearest(key, varied)}"
        for key in of_key
        if key not in varied
    ]
    for group in groups:
        counts = {key: len(axes[key]) for key in group if key in varied}
        if len(counts) == len(group) and len(set(counts.values())) > 1:
            said = ", ".join(f"{key} has {count}" for key, count in counts.items())
            problems.append(f"zip={_shown(groups)}: {said} values; give each as many, so that they go together")
    if problems:
        raise InputError(*problems)
    firsts = {min(group, key=[*axes].index): group for group in groups}
    return [firsts.get(key, [key]) for key in axes if key in firsts or key not in of_key]


def _shown(groups: Sequence[Sequence[str]]) -> str:
    """Zipped keys as one types them."""
    found = [f"[{','.join(group)}]" for group in groups]
    return found[0] if len(found) == 1 else f"[{','.join(found)}]"
