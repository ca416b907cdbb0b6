"""Charts of settings: the metric against a number, by each setting, by two at a time."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from dlrun.comparison.factors import Factor, shown
from dlrun.comparison.groups import Compared
from dlrun.comparison.summary import summarize
from dlrun.comparison.table import BASELINE, Group
from dlrun.report.charts.base import INTERVAL, MOST_CURVES, PANEL, Chart, alt, beyond, data, layered, log_scale, spec, tips, usual
from dlrun.report.tables import clean

MOST_CELLS = 30  # values of a factor in a heat map
MOST_MAPS = 3
FEW = 5  # columns of a heat map that another chart fits beside
MOST_TICKS = 8  # values of a setting that an axis shows, each
BESIDE = 16  # pixels beside the first and the last point
MOST_LEVELS = 40  # of all factors together


def sensitivity(compared: Sequence[Compared], metric: str) -> Iterator[Chart]:
    """The metric against each setting that is a number with three values or more."""
    groups = [item.group for item in compared if not item.group.is_baseline]
    for key in groups[0].factors if groups else ():
        mine = [group for group in groups if _is_number(group.factors.get(key))]
        values = sorted({float(group.factors[key]) for group in mine})
        if len(values) < 3:
            continue
        others = {id(group): _label(group, key) for group in mine}
        names = [*dict.fromkeys(others.values())]
        shown_names = names[:MOST_CURVES]
        rows: list[dict[str, Any]] = [
            {"x": float(group.factors[key]), "group": others[id(group)], "value": s.mean, "low": s.low, "high": s.high, "n": s.n}
            for group in mine
            if others[id(group)] in shown_names and (s := group.summaries.get(metric))
        ]
        if len({row["x"] for row in rows}) < 2:
            continue
        a = alt()
        low, high = usual([s for group in mine if (s := group.summaries.get(metric))])
        far = {f"{row['group']} at {row['x']:g}": row["value"] for row in rows if not low <= row["value"] <= high}
        near = [
            row[end] for row in rows if low <= row["value"] <= high for end in ("low", "value", "high") if math.isfinite(row[end])
        ]
        scale = a.Scale(domain=[max(low, min(near)), min(high, max(near))], nice=True)
        log = log_scale(values, 9.0)
        along = a.Scale(type="log", nice=False, padding=BESIDE) if log else a.Scale(nice=False, zero=False, padding=BESIDE)
        ticks = a.Axis(values=values) if len(values) <= MOST_TICKS else a.Axis()
        x = a.X("x:Q", title=clean(key), scale=along, axis=ticks)
        base = a.Chart(data(rows)).encode(
            x, tooltip=tips("group:N", ("x:Q", clean(key)), ("value:Q", "mean"), *INTERVAL, ("n:Q", "runs"))
        )
        if len(shown_names) > 1:
            base = base.encode(color=a.Color("group:N", sort=shown_names, title=None))
        whole = base.mark_line(point=True, clip=True).encode(a.Y("value:Q", title=clean(metric), scale=scale))
        interval = base.mark_rule(opacity=0.6, clip=True).encode(a.Y("low:Q", title=clean(metric), scale=scale), a.Y2("high:Q"))
        gone = [value for value in values if not any(row["x"] == value for row in rows)]
        more = f" No run was measured at {', '.join(f'{value:g}' for value in gone)}." if gone else ""
        more += f" The first {len(shown_names)} of {len(names)} combinations are shown." if len(names) > len(shown_names) else ""
        yield Chart(
            "sensitivity",
            f"{clean(metric)} against {clean(key)}",
            f"Line chart of the mean {clean(metric)} for {len(values)} values of {clean(key)}, {values[0]:g} to {values[-1]:g}.",
            f"Means over runs with 95% intervals.{more}{beyond(far)}",
            spec(layered(rows, low=interval, value=whole).properties(width="container", height=280)),
        )


def heat_maps(compared: Sequence[Compared], metric: str) -> Iterator[Chart]:
    """The mean of the metric for each pair of values of two settings."""
    groups = [item.group for item in compared if not item.group.is_baseline and metric in item.group.summaries]
    factors = [key for key in (groups[0].factors if groups else ()) if key != BASELINE]
    levels = {key: [*dict.fromkeys(shown(group.factors[key]) for group in groups)] for key in factors}
    several = [key for key in factors if 2 <= len(levels[key]) <= MOST_CELLS]
    for first, second in [*combinations(several, 2)][:MOST_MAPS]:
        yield _heat_map(groups, metric, *sorted((first, second), key=lambda key: -len(levels[key])))


def _heat_map(groups: Sequence[Group], metric: str, across: str, down: str) -> Chart:
    cells: dict[tuple[str, str], list[float]] = {}
    for group in groups:
        place = clean(shown(group.factors[across])), clean(shown(group.factors[down]))
        cells.setdefault(place, []).extend(value for value in group.values(metric).values() if math.isfinite(value))
    means = {place: sum(values) / len(values) for place, values in cells.items()}
    low, high = usual([s for values in cells.values() if (s := summarize(values))])
    near = [mean for mean in means.values() if low <= mean <= high]
    middle = (min(near) + max(near)) / 2
    rows = [
        {"x": x, "y": y, "value": mean, "text": f"{mean:.3g}", "n": len(cells[x, y]), "bright": mean > middle}
        for (x, y), mean in means.items()
    ]
    a = alt()
    orders = [_ordered([group.factors[key] for group in groups]) for key in (across, down)]
    base = a.Chart(data(rows)).encode(
        a.X("x:N", sort=orders[0], title=clean(across), axis=a.Axis(labelAngle=-40 if len(orders[0]) > 6 else 0, grid=False)),
        a.Y("y:N", sort=orders[1], title=clean(down), axis=a.Axis(grid=False)),
        tooltip=tips(("x:N", clean(across)), ("y:N", clean(down)), ("value:Q", "mean"), ("n:Q", "runs")),
    )
    colour = a.Color("value:Q", title=clean(metric), scale=a.Scale(scheme="viridis", domain=[min(near), max(near)], clamp=True))
    tiles = base.mark_rect().encode(colour)
    text = base.mark_text(fontSize=11).encode(
        text=a.Text("text:N"), color=a.condition(a.datum.bright, a.value("#000000"), a.value("#ffffff"))
    )
    width: int | str = 70 * len(orders[0]) if len(orders[0]) <= FEW else "container"
    chart = (tiles + text).properties(width=width, height=max(90, 34 * len(orders[1])))
    others = len(groups) > len(means)
    return Chart(
        "heatmap",
        f"{clean(metric)} by {clean(across)} and {clean(down)}",
        f"Heat map of the mean {clean(metric)}: {len(orders[0])} values of {clean(across)}, {len(orders[1])} of {clean(down)}.",
        f"Means over all runs{' and the other settings' if others else ''}; colours end where most means do.",
        spec(chart),
    )


def marginal_means(compared: Sequence[Compared], metric: str) -> Iterator[Chart]:
    """The mean of the metric for each value of each setting, where several vary and every group has the same runs.

    A seed's mean over all other settings is one value, so the interval is over seeds.
    """
    groups = [item.group for item in compared if not item.group.is_baseline]
    factors = [key for key in (groups[0].factors if groups else ()) if key != BASELINE]
    seeds = {frozenset(key for key, value in group.values(metric).items() if math.isfinite(value)) for group in groups}
    levels = {key: _ordered([group.factors[key] for group in groups]) for key in factors}
    balanced = math.prod(map(len, levels.values())) == len(groups) and len(seeds) == 1
    if len([key for key in factors if len(levels[key]) > 1]) < 2 or not balanced or sum(map(len, levels.values())) > MOST_LEVELS:
        return
    rows: dict[str, list[dict[str, Any]]] = {key: [] for key in factors if len(levels[key]) > 1}
    for key, mine in rows.items():
        for level in levels[key]:
            several = [group.values(metric) for group in groups if clean(shown(group.factors[key])) == level]
            over_seeds = [sum(values[seed] for values in several) / len(several) for seed in several[0]]
            if s := summarize(over_seeds):
                mine.append({"y": level, "value": s.mean, "low": s.low, "high": s.high, "n": s.n})
    every = [row[end] for mine in rows.values() for row in mine for end in ("low", "value", "high") if math.isfinite(row[end])]
    a = alt()
    scale = a.Scale(domain=[min(every), max(every)], nice=True)
    panels = []
    for key, mine in rows.items():
        base = a.Chart(data(mine)).encode(
            a.Y("y:N", title=None, sort=levels[key]),
            tooltip=tips(("y:N", clean(key)), ("value:Q", "mean"), *INTERVAL, ("n:Q", "runs")),
        )
        whisker = base.mark_rule(size=2).encode(a.X("low:Q", title=clean(metric), scale=scale), a.X2("high:Q"))
        point = base.mark_point(filled=True, size=70).encode(a.X("value:Q", title=clean(metric)))
        panels.append(layered(mine, low=whisker, value=point).properties(title=clean(key), width=PANEL, height=24 * len(mine)))
    yield Chart(
        "means",
        f"{clean(metric)} by each setting",
        f"Dot plots of the mean {clean(metric)} for each value of {', '.join(map(clean, factors))}, over all other settings.",
        "Means over all other settings; the interval is over seeds. Where settings interact, the heat map tells more.",
        spec(a.concat(*panels, columns=2)),
    )


def _label(group: Group, without: str) -> str:
    own: Mapping[str, Factor] = {
        key: value for key, value in group.factors.items() if key not in (without, BASELINE) and value != ""
    }
    return clean(" ".join(f"{key}={shown(value)}" if len(own) > 1 else shown(value) for key, value in own.items())) or "all runs"


def _ordered(values: Sequence[Factor]) -> list[str]:
    """Distinct values as texts: numbers by size, others as they come."""
    distinct = [*dict.fromkeys(values)]
    if all(map(_is_number, distinct)):
        distinct.sort(key=float)
    return [clean(shown(value)) for value in distinct]


def _is_number(value: Factor | None) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
