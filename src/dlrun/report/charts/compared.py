"""Charts of a comparison: results, paired differences, and those of its settings."""

import math
from collections.abc import Iterator, Sequence

from dlrun.comparison.groups import Compared
from dlrun.comparison.longtable import TUNED
from dlrun.report.charts.base import (
    INTERVAL,
    MOST_GROUPS,
    MOST_POINTS,
    Chart,
    alt,
    beyond,
    data,
    layered,
    left_out,
    name_of,
    runs_first,
    spec,
    tips,
    usual,
)
from dlrun.report.charts.factors import heat_maps, marginal_means, sensitivity
from dlrun.report.tables import clean

ROW = 24  # height of a line of text
WORDS = ("better", "worse", "equivalent", "not enough evidence")
WORD_COLOURS = ("#009E73", "#D55E00", "#0072B2", "#7F7F7F")


def comparison_charts(compared: Sequence[Compared], metric: str) -> Iterator[Chart]:
    """All charts that a comparison has something for."""
    if not any(metric in item.group.summaries for item in compared):
        return
    if len(compared) > 1:
        yield results(compared, metric)
    if any(item.difference and item.difference.n for item in compared):
        yield differences(compared, metric)
    if any(TUNED in item.group.factors for item in compared):  # the values that were chosen, and defaults, are no grid
        return
    yield from sensitivity(compared, metric)
    yield from marginal_means(compared, metric)
    yield from heat_maps(compared, metric)


def results(compared: Sequence[Compared], metric: str) -> Chart:
    """Each run, and each group's mean with its interval."""
    kept = [*runs_first(compared, metric, MOST_GROUPS)]
    kept += [item for item in compared if item.group.is_baseline and metric in item.group.summaries][:5]
    kept.sort(key=[*compared].index)
    low, high = usual([item.group.summaries[metric] for item in kept])
    far = {name_of(item.group): mean for item in kept if not low <= (mean := item.group.summaries[metric].mean) <= high}
    kept = [item for item in kept if name_of(item.group) not in far]
    order = [name_of(item.group) for item in kept]
    points = [
        {"group": name_of(item.group), "value": value, "seed": _key(key)}
        for item in kept
        for key, value in [*item.group.values(metric).items()][:MOST_POINTS]
        if math.isfinite(value)
    ]
    means = [
        {"group": name_of(item.group), "value": s.mean, "low": s.low, "high": s.high, "n": s.n}
        for item in kept
        if (s := item.group.summaries.get(metric))
    ]
    a = alt()
    title = clean(metric)
    y = a.Y("group:N", sort=order, title=None)
    x = a.X("value:Q", title=title, scale=a.Scale(zero=False))
    dots = (
        a.Chart(data(points))
        .mark_circle(size=28, opacity=0.35)
        .encode(x, y, tooltip=tips("group:N", ("seed:N", "run"), ("value:Q", title)))
    )
    base = a.Chart(data(means)).encode(y=y, tooltip=tips("group:N", ("n:Q", "runs"), ("value:Q", "mean"), *INTERVAL))
    whisker = base.mark_rule(size=2).encode(a.X("low:Q", title=title), a.X2("high:Q"))
    mean = base.mark_tick(size=16, thickness=3, color="#D55E00").encode(x)
    chart = layered([*points, *means], seed=dots, low=whisker, value=mean).properties(
        width="container", height=ROW * len(order) + 10
    )
    best = f"{order[0]} stands first with a mean of {means[0]['value']:.4g}" if means else ""
    return Chart(
        "results",
        f"{title} of each group",
        f"Dot plot of {title} for {len(order)} groups, best first: {best}.",
        "A dot is a run, the mark is the mean, and the line its 95% interval."
        + _undrawn(kept, metric)
        + left_out(compared, kept, len(far))
        + beyond(far),
        spec(chart),
    )


def differences(compared: Sequence[Compared], metric: str) -> Chart:
    """Differences to the reference in each pair, and their mean with its interval."""
    reference = next(item.group for item in compared if item.reference)
    others = [item for item in compared if item.difference and item.difference.n and not item.reference]
    kept = [item for item in others if not item.group.is_baseline][:MOST_GROUPS]
    kept += [item for item in others if item.group.is_baseline][:5]
    low, high = usual([*(item.group.summaries[metric] for item in kept), reference.summaries[metric]])
    far = {
        name_of(item.group): item.difference.mean
        for item in kept
        if item.difference and not low <= item.group.summaries[metric].mean <= high
    }
    kept = [item for item in kept if name_of(item.group) not in far]
    order = [name_of(item.group) for item in kept]
    base_values = reference.values(metric)
    points, means = [], []
    for item in kept:
        pairs = {key: value - base_values[key] for key, value in item.group.values(metric).items() if key in base_values}
        finite = [(key, value) for key, value in pairs.items() if math.isfinite(value)]
        points += [{"group": name_of(item.group), "value": value, "seed": _key(key)} for key, value in finite[:MOST_POINTS]]
        if item.difference is not None:
            low, high = item.interval or (math.nan, math.nan)
            beyond_low, beyond_high = (item.on_new_rows and item.on_new_rows.interval) or (math.nan, math.nan)
            word = item.verdict.word if item.verdict else WORDS[-1]
            ends = {"low": low, "high": high, "low2": beyond_low, "high2": beyond_high}
            means.append({"group": name_of(item.group), "value": item.difference.mean, "verdict": word, **ends})
    a = alt()
    title = f"difference in {clean(metric)} to {name_of(reference)}"
    y = a.Y("group:N", sort=order, title=None)
    x = a.X("value:Q", title=title)
    colour = a.Color("verdict:N", title=None, scale=a.Scale(domain=[*WORDS], range=[*WORD_COLOURS]))
    zero = a.Chart(data([{"value": 0.0}])).mark_rule(strokeDash=[4, 3]).encode(x)
    dots = (
        a.Chart(data(points))
        .mark_circle(size=22, opacity=0.3, color="#7F7F7F")
        .encode(x, y, tooltip=tips("group:N", ("seed:N", "run"), ("value:Q", title)))
    )
    base = a.Chart(data(means)).encode(
        y=y, color=colour, tooltip=tips("group:N", "verdict:N", ("value:Q", "mean difference"), *INTERVAL)
    )
    whisker = base.mark_rule(size=3).encode(a.X("low:Q", title=title), a.X2("high:Q"))
    mean = base.mark_point(filled=True, size=70).encode(x)
    new = base.mark_rule(size=1).encode(a.X("low2:Q", title=title), a.X2("high2:Q"))
    marks = layered([*points, *means], seed=dots, low2=new, low=whisker, value=mean)
    chart = (zero + marks).properties(width="container", height=ROW * len(order) + 10)
    return Chart(
        "differences",
        f"Paired differences to {name_of(reference)}",
        f"Dot plot of the differences in {clean(metric)} of {len(order)} groups to {name_of(reference)}, run by run.",
        "A dot is a pair of runs with the same seed and fold, the point is their mean. The thick line is the 95% interval on "
        "these rows, the thin one that on new rows, both corrected as the verdicts are; the colour is the verdict on these rows."
        + _undrawn(kept, metric)
        + left_out(others, kept, len(far))
        + beyond(far),
        spec(chart),
    )


def _undrawn(kept: Sequence[Compared], metric: str) -> str:
    """A sentence on runs that are in the mean and have no dot."""
    most = max((len(item.group.values(metric)) for item in kept), default=0)
    return f" Dots are of the first {MOST_POINTS} of {most:,} runs." if most > MOST_POINTS else ""


def _key(key: tuple[int, int | None]) -> str:
    return f"seed {key[0]}" if key[1] is None else f"seed {key[0]}, fold {key[1]}"
