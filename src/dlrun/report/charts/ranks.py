"""The critical-difference diagram of Demsar 2006 (JMLR 7, figure 1): average ranks over datasets, and who is not told apart."""

from collections.abc import Mapping, Sequence

from dlrun.comparison.across import ALPHA, Across
from dlrun.report.charts.base import MOST_GROUPS, Chart, alt, data, spec, tips

ROW = 24  # height of a line of text
BESIDE = 36  # pixels on each side of the ranks, for the number beside the first point
CRITICAL = "critical difference"


def ranks_chart(found: Across, names: Mapping[str, str]) -> Chart:
    """The axis of ranks on top, a line from it to each group, and bars across these lines.

    Best first, every group has a row, so that no line crosses a name however many there are.

    Args:
        names: label of a group -> what it is called in charts.
    """
    kept = [*found.ranks][:MOST_GROUPS]
    points = [{"row": names[label], "x": found.ranks[label], "text": f"{found.ranks[label]:.2f}"} for label in kept]
    lowest = found.ranks[kept[-1]]
    bars = [
        {"row": "\u00a0" * (1 + height), "x": found.ranks[bar[0]], "x2": min(found.ranks[bar[-1]], lowest)}
        for height, row in enumerate(stacked([bar for bar in found.joined() if bar[0] in kept], found.ranks))
        for bar in row
    ]
    a = alt()
    last = max(len(found.ranks), 1 + found.critical)
    rows = [*dict.fromkeys(bar["row"] for bar in bars), *(point["row"] for point in points), CRITICAL]
    y = a.Y("row:N", sort=rows, title=None, scale=a.Scale(domain=rows), axis=a.Axis(domain=False, ticks=False, grid=False))
    scale = a.Scale(domain=[1, last], nice=False, zero=False, padding=BESIDE)
    axis = a.Axis(orient="top", values=_ticks(len(found.ranks)), format="d", grid=False)
    x = a.X("x:Q", title=f"average rank over {found.datasets} datasets, 1 is best", scale=scale, axis=axis)
    group = a.Chart(data(points)).encode(y=y, tooltip=tips(("row:N", "group"), ("x:Q", "average rank")))
    layers = [
        group.mark_rule(opacity=0.4).encode(x, y2=a.value(0)),
        group.mark_rule(opacity=0.4).encode(x, x2=a.value(0)),
        group.mark_circle(size=70, opacity=1).encode(x),
        group.mark_text(align="right", dx=-6, dy=-7).encode(x, text=a.Text("text:N")),
        a.Chart(data([{"row": CRITICAL, "x": 1.0, "x2": 1 + found.critical}])).mark_rule(size=3).encode(x, a.X2("x2:Q"), y),
    ]
    layers += [a.Chart(data(bars)).mark_rule(size=6).encode(x, a.X2("x2:Q"), y)] if bars else []
    shown = f" The first {len(kept)} of {len(found.ranks)} groups are shown." if len(kept) < len(found.ranks) else ""
    return Chart(
        "ranks",
        f"Average ranks over {found.datasets} datasets",
        f"Critical-difference diagram of {len(found.ranks)} groups over {found.datasets} datasets: "
        f"{', '.join(f'{names[label]} {found.ranks[label]:.2f}' for label in kept)}. {_alike(found, names)}",
        f"A thick bar joins groups whose average ranks differ by no more than the critical difference, {found.critical:.2f} "
        f"(Nemenyi, {ALPHA:.0%} level; Demsar 2006). Friedman's test that all groups rank alike: p {found.p:.2g}.{shown}",
        spec(a.layer(*layers).properties(width="container", height=ROW * len(rows))),
    )


def stacked(bars: Sequence[tuple[str, ...]], ranks: Mapping[str, float]) -> list[list[tuple[str, ...]]]:
    """Bars in as few rows as keep them apart, each in the first row in which it meets none.

    Args:
        bars: labels of the joined groups, the best first; in the order of their first one.
        ranks: label -> average rank.
    """
    rows: list[list[tuple[str, ...]]] = []
    for bar in bars:
        free = next((row for row in rows if ranks[row[-1][-1]] < ranks[bar[0]]), None)
        if free is None:
            rows.append([bar])
        else:
            free.append(bar)
    return rows


def _ticks(groups: int) -> list[int]:
    step = 1 + (groups - 1) // 10
    return [*range(1, groups + 1, step)]


def _alike(found: Across, names: Mapping[str, str]) -> str:
    """Who is joined by bars, in a sentence for those who do not see them."""
    sets = "; ".join(", ".join(names[label] for label in bar) for bar in found.joined())
    return f"Not told apart: {sets}." if sets else "Every two groups are told apart."
