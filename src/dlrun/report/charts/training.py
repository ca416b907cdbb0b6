"""Charts of training: learning curves and gradient norms by layer."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from dlrun.comparison.groups import Compared
from dlrun.comparison.table import Group
from dlrun.report.charts.base import (
    INTERVAL,
    MOST_CURVES,
    MOST_POINTS,
    PANEL,
    Chart,
    alt,
    axis,
    data,
    left_out,
    log_scale,
    name_of,
    runs_first,
    spec,
    tips,
)
from dlrun.report.evidence import Evidence, Floats, band
from dlrun.report.tables import clean
from dlrun.results.record import MEASURED

EPOCHS = 100  # points of a curve
MOST_LAYERS = 40


def curves_of(evidence: Evidence, group: Group) -> dict[str, tuple[Floats, list[Floats], int]]:
    """What was recorded during training -> epochs [E], curves [E] of the group's runs, and their number."""
    histories = evidence.histories(row.id for row in group.rows[:MOST_POINTS])
    names = dict.fromkeys(name for history in histories for name in history if name != "epoch")
    found = {}
    for name in names:
        mine = [history for history in histories if name in history and len(history[name])]
        if mine:
            epochs = max((history["epoch"] for history in mine), key=len)
            found[name] = epochs, [history[name] for history in mine], len(mine)
    return found


def training_charts(evidence: Evidence, compared: Sequence[Compared], metric: str) -> Iterator[Chart]:
    """All charts of training that there is something for."""
    kept = runs_first(compared, metric, MOST_CURVES)
    drawn = {name_of(item.group): curves_of(evidence, item.group) for item in kept}
    drawn = {name: curves for name, curves in drawn.items() if curves}
    most = max((len(item.group.rows) for item in kept), default=0)
    first = f" Curves are of the first {MOST_POINTS} of {most:,} runs." if most > MOST_POINTS else ""
    if drawn:
        yield curves(drawn, first + left_out(compared, kept))
    yield from gradients(evidence, kept, left_out(compared, kept))


def curves(drawn: Mapping[str, Mapping[str, tuple[Floats, list[Floats], int]]], left: str = "") -> Chart:
    """The means of what was recorded after each epoch, with intervals over runs.

    Args:
        drawn: group -> what was recorded -> epochs, curves and how many.
        left: a sentence on groups that are left out.
    """
    rows: list[dict[str, Any]] = []
    for group, recorded in drawn.items():
        for name, (epochs, several, n) in recorded.items():
            rows += _points(group, name, epochs, several, n)
    single = len(drawn) == 1
    if single:  # training beside validation, a panel for each measure
        for row in rows:
            row["measure"] = row["measure"].partition(" ")[2]
    panels = [*dict.fromkeys(row["measure"] for row in rows)]
    a = alt()
    log = log_scale([row["low"] for row in rows if "loss" in row["measure"]])
    charts = []
    for panel in panels:
        mine = [row for row in rows if row["measure"] == panel]
        colour = a.Color("split:N", title=None) if single else a.Color("group:N", title=None, sort=[*drawn])
        base = a.Chart(data(mine)).encode(a.X("epoch:Q", title="epoch", axis=a.Axis(tickMinStep=1)), color=colour)
        y = a.Y("value:Q", title=panel, scale=axis(log and "loss" in panel))
        line = base.mark_line(size=2).encode(
            y, tooltip=tips("group:N", "split:N", "epoch:Q", ("value:Q", panel), *INTERVAL, ("n:Q", "runs"))
        )
        interval = base.mark_area(opacity=0.18).encode(a.Y("low:Q", title=panel), a.Y2("high:Q"))
        charts.append((interval + line).properties(width=PANEL, height=220))
    chart = a.concat(*charts, columns=3) if len(charts) > 1 else charts[0].properties(width="container")
    n = max(n for recorded in drawn.values() for _, _, n in recorded.values())
    what = "The mean of the runs and its 95% interval" if n > 1 else "What was recorded after each epoch"
    stopped = "; a run that stopped early keeps its last value" if n > 1 else ""
    return Chart(
        "curves",
        "Learning curves",
        f"Line charts of {', '.join(panels)} over epochs for {', '.join(drawn)}.",
        f"{what}{stopped}. Training loss is measured without dropout at the end of an epoch.{left}",
        spec(chart),
    )


def _points(group: str, name: str, epochs: Floats, several: list[Floats], n: int) -> list[dict[str, Any]]:
    mean, low, high = band(several)
    about = {
        "group": group,
        "split": "training" if name.startswith("train/") else name.partition("/")[0],
        "measure": clean(name.replace("train/", "training ").replace("/", " ")),
        "n": n,
    }
    kept = np.unique(np.linspace(0, len(epochs) - 1, min(len(epochs), EPOCHS)).astype(int))
    return [
        {"epoch": int(epochs[at]), "value": float(mean[at]), "low": float(low[at]), "high": float(high[at]), **about}
        for at in kept
    ]


def gradients(evidence: Evidence, kept: Sequence[Compared], left: str = "") -> Iterator[Chart]:
    """The norm of the loss gradient with respect to each layer's weights, at the start and at the end of training."""
    rows: list[dict[str, Any]] = []
    for item in kept:
        for name, when in (("gradient_norm_at_start", "at the start"), ("gradient_norm", "at the end")):
            table = [
                record.diagnostics.get(name)
                for row in item.group.rows
                if (record := evidence.records.get(row.id)) and record.status in MEASURED
            ]
            norms = [each for each in table if isinstance(each, list)]
            for layer, values in enumerate(zip(*norms, strict=False), 1):
                known = [value for value in values if value is not None and math.isfinite(value) and value > 0]
                if known and layer <= MOST_LAYERS:
                    low, middle, high = np.quantile(known, [0.25, 0.5, 0.75]).tolist()
                    rows.append(
                        {"layer": layer, "when": when, "group": name_of(item.group), "value": middle, "low": low, "high": high}
                    )
    if not rows or max(row["layer"] for row in rows) < 2:
        return
    a = alt()
    names = dict.fromkeys(row["group"] for row in rows)
    x = a.X("layer:O", title="layer, from the input", axis=a.Axis(labelAngle=0))
    base = a.Chart().encode(
        x,
        color=a.Color("group:N", title=None, sort=[*names], **({} if len(names) > 1 else {"legend": None})),
        tooltip=tips(
            "group:N", "layer:O", ("value:Q", "gradient norm"), ("low:Q", "lower quartile"), ("high:Q", "upper quartile")
        ),
    )
    line = base.mark_line(point=True).encode(a.Y("value:Q", title="gradient norm", scale=axis(True)))
    interval = base.mark_rule(opacity=0.4).encode(a.Y("low:Q"), a.Y2("high:Q"))
    chart = a.layer(interval, line, data=data(rows)).properties(width=PANEL, height=220)
    yield Chart(
        "gradients",
        "Gradient norms by layer",
        f"Line charts of the gradient norm of each of {max(row['layer'] for row in rows)} layers, at the start and at the end.",
        f"The norm of the loss gradient with respect to a layer's weights: the median over runs and its quartiles.{left}",
        spec(chart.facet(a.Facet("when:N", title=None, sort=["at the start", "at the end"]), columns=2)),
    )
