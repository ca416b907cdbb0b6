"""The chart of a search: what each configuration of ``dlrun tune`` got for its budget."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dlrun.comparison.factors import shown
from dlrun.comparison.measures import best_so_far, lower_is_better
from dlrun.comparison.summary import summarize
from dlrun.comparison.table import Group
from dlrun.report.charts.base import COLOURS, Chart, alt, beyond, data, name_of, spec, tips, usual
from dlrun.report.tables import clean

DASHES = ([1, 0], [4, 3], [1, 2])  # each goes through all colours
EARLY = 8  # values of the first eighth of the trials do not stretch the axis
MOST = len(COLOURS) * len(DASHES)


@dataclass(frozen=True)
class Searched:
    """The search of one configuration.

    Args:
        metric: on validation rows, such as ``validation/accuracy``.
        curve: the best after each trial; NaN while there is none.
        pruned: how many of the trials ended early.
    """

    name: str
    metric: str
    curve: Sequence[float]
    pruned: int


def searches(contents: Mapping[str, Mapping[str, Any]], dataset: str, settings: Mapping[str, str]) -> list[Searched]:
    """The searches on one dataset that found something, the best first.

    Args:
        contents: the name of a sweep -> what it keeps of its trials.
        settings: of the dataset, where several sections have it.
    """
    found = []
    for sweep, content in contents.items():
        for each in content["configurations"]:
            factors = dict(each["factors"])
            here = all(shown(factors.pop(key, value)) == value for key, value in settings.items())
            curve = best_so_far((trial["quality"] for trial in each["trials"]), each["metric"])
            if here and each["dataset"] == dataset and curve and not math.isnan(curve[-1]):
                name = name_of(Group(factors, (), {})) if factors else clean(dataset)
                pruned = sum(trial["status"] == "pruned" for trial in each["trials"])
                found.append(Searched(f"{clean(sweep)}: {name}" if len(contents) > 1 else name, each["metric"], curve, pruned))
    first = [each for each in found if each.metric == found[0].metric]
    return sorted(first, key=lambda each: each.curve[-1], reverse=bool(first) and not lower_is_better(first[0].metric))


def search_chart(found: Sequence[Searched]) -> Chart:
    """The best value on validation rows after each trial, a line for each configuration."""
    kept, title = found[:MOST], f"best {clean(found[0].metric.replace('/', ' '))}"
    low, high = usual([s for each in kept if (s := summarize([value for value in each.curve if not math.isnan(value)]))])
    far = {each.name: each.curve[-1] for each in kept if not low <= each.curve[-1] <= high}
    kept = [each for each in kept if each.name not in far]
    rows: list[dict[str, Any]] = [
        {"group": each.name, "x": at + 1, "value": each.curve[at]} for each in kept for at in _steps(each.curve)
    ]
    later = [value for each in kept for value in each.curve[len(each.curve) // EARLY :] if low <= value <= high]
    cut = any(not min(later) <= row["value"] <= max(later) for row in rows)
    names, most = [each.name for each in kept], max(len(each.curve) for each in kept)
    colours = [COLOURS[number % len(COLOURS)] for number in range(len(names))]
    dashes = [DASHES[number // len(COLOURS)] for number in range(len(names))]
    a = alt()
    scale = a.Scale(domain=[min(later), max(later)], nice=True) if len({*later}) > 1 else a.Scale(zero=False)
    legend = a.Legend() if len(names) > 1 else None
    chart = (
        a.Chart(data(rows))
        .mark_line(interpolate="step-after", point=True, size=2, clip=True)
        .encode(
            a.X("x:Q", title="trials", axis=a.Axis(tickMinStep=1), scale=a.Scale(domain=[1, max(most, 2)], nice=False)),
            a.Y("value:Q", title=title, scale=scale),
            a.Color("group:N", title=None, sort=names, legend=legend, scale=a.Scale(domain=names, range=colours)),
            a.StrokeDash("group:N", sort=names, legend=legend, scale=a.Scale(domain=names, range=dashes)),
            tooltip=tips("group:N", ("x:Q", "trials"), ("value:Q", title)),
        )
    )
    pruned = sum(each.pruned for each in found)
    return Chart(
        "budget",
        f"{title[0].upper()}{title[1:]} against trials",
        f"Line chart of the {title} after each of {most} trials for {', '.join(names)}.",
        "The best value on validation rows so far, which is partly luck with the rows and seeds that chose it; the table is of "
        "new seeds. Where a line still rises in the end, a larger budget may find better settings."
        + (f" {pruned:,} trials that ended early count as trials, and have no value." if pruned else "")
        + (f" The first {MOST} of {len(found)} configurations are shown." if len(found) > MOST else "")
        + (" The axis is for what was reached after an eighth of the trials." if cut else "")
        + beyond(far),
        spec(chart.properties(width="container", height=280)),
    )


def _steps(curve: Sequence[float]) -> list[int]:
    """Where a curve changes, and its end."""
    known = [at for at, value in enumerate(curve) if not math.isnan(value)]
    return [at for at in known if at == known[0] or curve[at] != curve[at - 1] or at == len(curve) - 1]
