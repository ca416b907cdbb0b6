"""Charts of stored predictions: confusion, reliability, ROC, predicted against true, residuals, masks."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from dlrun.report.charts.base import INTERVAL, MOST_CURVES, PANEL, Chart, alt, data, spec, tips
from dlrun.report.evidence import Predicted, band
from dlrun.report.predictions import confusion, mean_roc, reliability

MOST_CLASSES = 30
MOST_ROWS = 1000  # points of a scatter plot
MASKS = 6
LETTERS = 6  # that a column of the confusion matrix has room for


def predicted_charts(several: Sequence[Predicted], whose: str) -> Iterator[Chart]:
    """All charts that the predictions of some runs of one group have something for.

    Args:
        whose: what they are called.
    """
    if not several:
        return
    task = several[0].task
    runs = f"{len(several)} runs" if len(several) > 1 else "one run"
    about = f"{several[0].subset} rows of {runs} of {whose}"
    if task.pixels:
        yield masks(several[0], f"{several[0].subset} rows of a run of {whose}")
    if (task.exclusive or task.two_classes) and several[0].value.shape[1] <= MOST_CLASSES:
        yield confusion_chart(several, about)
    if task.classes:
        yield reliability_chart(several, about)
    if task.classes and not task.pixels:
        yield from roc_chart(several, about)
    if not task.classes:
        yield from values(several, about)


def confusion_chart(several: Sequence[Predicted], about: str) -> Chart:
    """Counts of true and predicted classes, coloured by their share of the true class."""
    names, counts = several[0].names, confusion(several)
    totals = np.maximum(counts.sum(1), 1)
    rows = [
        {
            "true": names[i],
            "predicted": names[j],
            "count": int(counts[i, j]),
            "share": float(counts[i, j] / totals[i]),
            "bright": bool(counts[i, j] / totals[i] < 0.5),
        }
        for i in range(len(names))
        for j in range(len(names))
    ]
    a = alt()
    angle = -40 if max(map(len, names)) > LETTERS else 0
    base = a.Chart(data(rows)).encode(
        a.X("predicted:N", sort=[*names], title="predicted", axis=a.Axis(labelAngle=angle, grid=False)),
        a.Y("true:N", sort=[*names], title="true", axis=a.Axis(grid=False)),
        tooltip=[*tips("true:N", "predicted:N", "count:Q"), a.Tooltip("share:Q", format=".1%")],
    )
    tiles = base.mark_rect().encode(
        a.Color("share:Q", title="share of the true class", scale=a.Scale(scheme="blues", domain=[0, 1]))
    )
    text = base.mark_text(fontSize=12).encode(
        text=a.Text("count:Q"), color=a.condition(a.datum.bright, a.value("#000000"), a.value("#ffffff"))
    )
    unit = "pixels" if several[0].task.pixels else "rows"
    right = float(np.trace(counts) / max(counts.sum(), 1))
    side = max(160, 40 * len(names))
    return Chart(
        "confusion",
        "Confusion matrix",
        f"Confusion matrix of {len(names)} classes: {right:.1%} of {int(counts.sum()):,} {unit} are right.",
        f"Numbers of {unit}: {about}.",
        spec((tiles + text).properties(width=min(side, 520), height=min(side, 520))),
    )


def reliability_chart(several: Sequence[Predicted], about: str) -> Chart:
    """How often predictions of each confidence came true."""
    bins = reliability(several)
    rows = [{"x": b.predicted, "y": b.observed, "low": b.low, "high": b.high, "count": b.count} for b in bins]
    a = alt()
    scale = a.Scale(domain=[0, 1])
    diagonal = a.Chart(data([{"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 1.0}])).mark_line(strokeDash=[4, 3], color="#7F7F7F", size=1)
    diagonal = diagonal.encode(
        a.X("x:Q", scale=scale, title="predicted probability"), a.Y("y:Q", scale=scale, title="share that came true")
    )
    base = a.Chart(data(rows)).encode(
        a.X("x:Q"), tooltip=tips(("x:Q", "predicted"), ("y:Q", "came true"), *INTERVAL, ("count:Q", "predictions"))
    )
    interval = base.mark_rule().encode(a.Y("low:Q"), a.Y2("high:Q"))
    line = base.mark_line(size=2).encode(a.Y("y:Q"))
    point = base.mark_circle(opacity=1).encode(a.Y("y:Q"), a.Size("count:Q", legend=None, scale=a.Scale(range=[25, 260])))
    worst = max(bins, key=lambda b: abs(b.predicted - b.observed))
    return Chart(
        "reliability",
        "Reliability",
        f"Reliability curve: the largest gap is at {worst.predicted:.2f}, where {worst.observed:.2f} came true.",
        "Ten bins of predicted probability, with Wilson's 95% intervals; on the line they are calibrated; a larger point is more "
        f"predictions. {about.capitalize()}.",
        spec((diagonal + interval + line + point).properties(width=300, height=300)),
    )


def roc_chart(several: Sequence[Predicted], about: str) -> Iterator[Chart]:
    """The mean ROC curve of the runs, for each class against the rest."""
    found = mean_roc(several)
    if not found:
        return
    classes = [*found][:MOST_CURVES]
    rows: list[dict[str, Any]] = []
    for name in classes:
        grid, curves = found[name]
        for x, y, low, high in zip(grid.tolist(), *(each.clip(0, 1).tolist() for each in band(curves)), strict=True):
            rows.append({"x": x, "y": y, "low": low, "high": high, "class": name})
    a = alt()
    diagonal = a.Chart(data([{"x": 0.0, "y": 0.0}, {"x": 1.0, "y": 1.0}])).mark_line(strokeDash=[4, 3], color="#7F7F7F", size=1)
    base = a.Chart(data(rows)).encode(
        a.X("x:Q", title="false positive rate"),
        tooltip=tips("class:N", ("x:Q", "false positive rate"), ("y:Q", "true positive rate")),
    )
    base = base.encode(color=a.Color("class:N", sort=classes, title=None))
    line = base.mark_line(size=2).encode(a.Y("y:Q", title="true positive rate"))
    interval = base.mark_area(opacity=0.15).encode(a.Y("low:Q"), a.Y2("high:Q"))
    more = f" The first {len(classes)} of {len(found)} classes are shown." if len(found) > len(classes) else ""
    yield Chart(
        "roc",
        "ROC curves",
        f"ROC curves of {', '.join(classes)} against the rest.",
        f"Means of the runs' curves at each false positive rate, with 95% intervals over runs. {about.capitalize()}.{more}",
        spec((diagonal.encode(a.X("x:Q"), a.Y("y:Q")) + interval + line).properties(width=300, height=300)),
    )


def values(several: Sequence[Predicted], about: str) -> Iterator[Chart]:
    """Predicted against true values, and residuals, of a regression."""
    first = several[0]
    if first.levels or not first.names:
        return
    for place, name in enumerate(first.names[:3]):
        true = np.concatenate([each.true[:, place] for each in several])
        said = np.concatenate([each.value[:, place] for each in several])
        kept = np.unique(np.linspace(0, len(true) - 1, min(len(true), MOST_ROWS)).astype(int))
        where = np.concatenate([each.rows for each in several])
        rows = [
            {"row": int(where[at]), "true": float(true[at]), "predicted": float(said[at]), "residual": float(true[at] - said[at])}
            for at in kept
        ]
        low, high = (float(each) for each in (min(true.min(), said.min()), max(true.max(), said.max())))
        more = f" {len(rows):,} of {len(true):,} points are shown." if len(rows) < len(true) else ""
        a = alt()
        told = tips("row:O", "true:Q", "predicted:Q", "residual:Q")
        diagonal = a.Chart(data([{"x": low, "y": low}, {"x": high, "y": high}])).mark_line(
            strokeDash=[4, 3], color="#7F7F7F", size=1
        )
        scale = a.Scale(zero=False)
        dots = a.Chart(data(rows)).mark_circle(size=24, opacity=0.5).encode(a.X("true:Q"), a.Y("predicted:Q"), tooltip=told)
        axes = a.X("x:Q", scale=scale, title=f"true {name}"), a.Y("y:Q", scale=scale, title=f"predicted {name}")
        yield Chart(
            "predicted",
            f"Predicted against true {name}",
            f"Scatter plot of predicted against true {name} for {len(rows)} predictions.",
            f"{about.capitalize()}; on the line they are equal.{more}",
            spec((diagonal.encode(*axes) + dots).properties(width=300, height=300)),
        )
        zero = a.Chart(data([{"y": 0.0}])).mark_rule(strokeDash=[4, 3]).encode(a.Y("y:Q", title="true minus predicted"))
        left = a.Chart(data(rows)).mark_circle(size=24, opacity=0.5)
        left = left.encode(a.X("predicted:Q", title=f"predicted {name}", scale=scale), a.Y("residual:Q"), tooltip=told)
        right = (
            a.Chart(data(rows))
            .mark_bar()
            .encode(a.X("residual:Q", bin=a.Bin(maxbins=30), title="true minus predicted"), a.Y("count():Q", title="predictions"))
        )
        spread = float(np.std(true - said))
        yield Chart(
            "residuals",
            f"Residuals of {name}",
            f"Scatter plot and histogram of residuals of {name}, with a standard deviation of {spread:.3g}.",
            f"{about.capitalize()}.{more}",
            spec(
                a.concat((zero + left).properties(width=PANEL, height=230), right.properties(width=PANEL, height=230), columns=2)
            ),
        )


def masks(each: Predicted, about: str) -> Chart:
    """What is true and what was predicted for each pixel of some images, the worst and others."""
    wrong = each.errors()
    order = np.argsort(-wrong)
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(MASKS, len(order))).astype(int))]
    said = each.value.argmax(1)
    rows = []
    for number in chosen.tolist():
        for kind, mask in (("true", each.true[number]), ("predicted", said[number])):
            rows += [
                {"x": x, "y": y, "class": each.names[mask[y, x]], "kind": kind, "image": f"row {each.rows[number]}"}
                for y in range(mask.shape[0])
                for x in range(mask.shape[1])
                if mask[y, x]
            ]
    height, width = each.true.shape[1:]
    a = alt()
    side = 90
    chart = (
        a.Chart(data(rows))
        .mark_rect(stroke=None)
        .encode(
            a.X("x:O", axis=None, scale=a.Scale(domain=[*range(width)])),
            a.Y("y:O", axis=None, scale=a.Scale(domain=[*range(height)])),
            a.Color("class:N", title=None, sort=[*each.names[1:]]),
            tooltip=tips("image:N", "kind:N", "class:N", "x:O", "y:O"),
        )
        .properties(width=side, height=round(side * height / width), view=a.ViewConfig(stroke="#7F7F7F"))
        .facet(
            row=a.Row("kind:N", title=None, sort=["true", "predicted"]),
            column=a.Column("image:N", title=None, sort=[f"row {each.rows[number]}" for number in chosen]),
            spacing=6,
        )
    )
    return Chart(
        "masks",
        "Images, true and predicted",
        f"Masks of {len(chosen)} images: true above, predicted below.",
        f"From the image with the largest error to that with the least: {about}. Pixels of {each.names[0]} are empty.",
        spec(chart),
    )
