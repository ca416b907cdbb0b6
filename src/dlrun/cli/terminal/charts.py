"""Charts as characters: curves and points in braille, tables of counts, a plane of letters."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dlrun.cli.plot import KINDS, nothing
from dlrun.cli.report import boundaries
from dlrun.cli.terminal.drawing import draw, scatter
from dlrun.cli.terminal.screen import console
from dlrun.comparison.figures import number
from dlrun.comparison.groups import Compared
from dlrun.errors import InputError, printable
from dlrun.report.charts.base import name_of, runs_first
from dlrun.report.evidence import Evidence, Predicted, band
from dlrun.report.predictions import confusion, mean_roc, reliability
from dlrun.report.sections import Section, ranked

WIDE, HIGH = 72, 14
GROUPS = 4  # whose curves are drawn one below the other
PREDICTED = 20  # runs whose predictions are put together
MARKS = "·#%@*+o"  # of classes on a plane

RANKS = "ranks"  # over all sections; all other charts are of one

Drawn = Iterator[Table | Text]


def show(kind: str, sections: Sequence[Section], evidence: Evidence) -> None:
    """Print a chart.

    Raises:
        InputError: there is nothing for it, or it can be drawn to a file alone.
    """
    if kind not in (*_DRAWN, RANKS):
        there = ", ".join((*_DRAWN, RANKS))
        raise InputError(f"{kind}: is drawn to a file; type -o {kind}.svg. In the terminal there are {there}")
    out = console()
    drawn = [*_ranks(sections)] if kind == RANKS else [each for part in sections for each in _DRAWN[kind](part, evidence, out)]
    if not drawn:
        raise InputError(f"{kind}: {nothing(kind)}")
    for each in drawn:
        out.print(each)


def _curves(section: Section, evidence: Evidence, out: Console) -> Drawn:
    from dlrun.report.charts.training import curves_of

    for item in runs_first(section.compared, section.metric, GROUPS):
        for name, (epochs, several, n) in curves_of(evidence, item.group).items():
            mean = band(several)[0].tolist()
            title = f"{name_of(item.group)}: {name}" + (f", mean of {n} runs" if n > 1 else "") + f", at last {mean[-1]:.4g}"
            yield (
                _titled(title, draw(epochs.tolist(), mean, unicode=_unicode(), width=_width(out), height=HIGH))
                if len(mean) > 1
                else Text(title)
            )


def _confusion(section: Section, evidence: Evidence, out: Console) -> Drawn:
    several, whose = _predicted(section, evidence)
    if not several or not (several[0].task.exclusive or several[0].task.two_classes):
        return
    table = Table(box=None, padding=(0, 2, 0, 0), title=printable(f"{whose}: true below, predicted across"), title_justify="left")
    table.add_column("")
    for name in several[0].names:
        table.add_column(Text(printable(name)), justify="right")
    for name, counts in zip(several[0].names, confusion(several).tolist(), strict=True):
        table.add_row(Text(printable(name)), *(f"{count:,}" for count in counts))
    yield table


def _reliability(section: Section, evidence: Evidence, out: Console) -> Drawn:
    several, whose = _predicted(section, evidence)
    if not several or not several[0].task.classes:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), title=printable(f"{whose}: predicted and observed"), title_justify="left")
    for name in ("predicted", "came true", "95% CI", "predictions"):
        table.add_column(name, justify="right")
    for each in reliability(several):
        table.add_row(f"{each.predicted:.3f}", f"{each.observed:.3f}", f"{each.low:.3f} to {each.high:.3f}", f"{each.count:,}")
    yield table


def _roc(section: Section, evidence: Evidence, out: Console) -> Drawn:
    several, whose = _predicted(section, evidence)
    if not several or not several[0].task.classes or several[0].task.pixels:
        return
    for name, (grid, runs) in mean_roc(several).items():
        mean = band(runs)[0]
        yield _titled(
            f"{whose}: ROC of {name}", draw(grid.tolist(), mean.tolist(), unicode=_unicode(), width=_width(out), height=HIGH)
        )


def _values(residual: bool) -> Callable[[Section, Evidence, Console], Drawn]:
    def drawn(section: Section, evidence: Evidence, out: Console) -> Drawn:
        several, whose = _predicted(section, evidence)
        if not several or several[0].task.classes or several[0].levels:
            return
        for place, name in enumerate(several[0].names):
            pairs = [pair for each in several for pair in zip(each.true[:, place], each.value[:, place], strict=True)]
            true, said = [float(t) for t, _ in pairs], [float(p) for _, p in pairs]
            title = f"{whose}: {'true minus predicted' if residual else 'predicted'} {name} (up) against "
            if residual:
                lines = scatter(
                    said, [t - p for t, p in zip(true, said, strict=True)], unicode=_unicode(), width=_width(out), height=HIGH
                )
                yield _titled(f"{title}predicted", lines)
            else:
                ends = min(*true, *said), max(*true, *said)
                yield _titled(
                    f"{title}true", scatter(true, said, unicode=_unicode(), width=_width(out), height=HIGH, within=ends)
                )

    return drawn


def _boundary(section: Section, evidence: Evidence, out: Console) -> Drawn:
    from dlrun.report.build import planes

    flat = planes(section.compared, section.metric, evidence)
    for each in boundaries(evidence, flat) if flat else ():
        width = _width(out)
        rows = []
        for line in range(HIGH):
            j = len(each.ys) - 1 - round(line * (len(each.ys) - 1) / (HIGH - 1))
            row = Text()
            for column in range(width):
                value = each.value[j, round(column * (len(each.xs) - 1) / (width - 1))]
                row.append(*_mark(value, len(each.classes), each.value.min(), each.value.max()))
            rows.append(row)
        names = ", ".join(f"{MARKS[i % len(MARKS)]} {name}" for i, name in enumerate(each.classes)) or "the darker, the larger"
        head = f"{each.name}: {each.features[1]} (up) against {each.features[0]}; {names}"
        yield Text("\n").join([Text(printable(head), style="bold"), *rows])


def _mark(value: float, classes: int, low: float, high: float) -> tuple[str, str]:
    """A character and its colour: of the class, or of how large a value is."""
    if not classes:
        return " .:-=+*#%@"[min(9, int(10 * (value - low) / max(high - low, 1e-9)))], ""
    label = int(value > 0.5) if classes == 2 else int(value)
    return MARKS[label % len(MARKS)], ("blue", "yellow", "green", "magenta", "cyan", "red", "white")[label % 7]


def _gradients(section: Section, evidence: Evidence, out: Console) -> Drawn:
    kept = runs_first(section.compared, section.metric, 20)
    table = Table(box=None, padding=(0, 2, 0, 0), title="gradient norm of each layer, median of the runs", title_justify="left")
    rows = [(item, _norms(item, evidence)) for item in kept]
    layers = max((len(norms) for _, norms in rows), default=0)
    for name in ("", *(f"layer {layer + 1}" for layer in range(layers))):
        table.add_column(name, justify="right" if name else "left")
    for item, norms in rows:
        table.add_row(Text(printable(name_of(item.group))), *map(number, norms))
    if layers:
        yield table


def _norms(item: Compared, evidence: Evidence) -> list[float]:
    from statistics import median

    runs = [evidence.records[row.id].diagnostics.get("gradient_norm") for row in item.group.rows if row.id in evidence.records]
    return [median(v for v in values if v is not None) for values in zip(*(r for r in runs if isinstance(r, list)), strict=False)]


def _results(section: Section, evidence: Evidence, out: Console) -> Drawn:
    from dlrun.cli.terminal.sweep_table import show_section

    show_section(section, out)
    yield Text()


def _sensitivity(section: Section, evidence: Evidence, out: Console) -> Drawn:
    groups = [item.group for item in section.compared if not item.group.is_baseline]
    for key in groups[0].factors if groups else ():
        found: dict[float, list[float]] = {}
        for group in groups:
            value = group.factors[key]
            if isinstance(value, int | float) and not isinstance(value, bool):
                found.setdefault(float(value), []).extend(v for v in group.values(section.metric).values() if math.isfinite(v))
        xs = sorted(x for x, values in found.items() if values)
        if len(xs) > 2:
            log = xs[0] > 0 and xs[-1] / xs[0] > 9
            ys = [sum(found[x]) / len(found[x]) for x in xs]
            title = f"mean {section.metric} against {'log10 of ' if log else ''}{key}"
            yield _titled(
                title, draw([math.log10(x) if log else x for x in xs], ys, unicode=_unicode(), width=_width(out), height=HIGH)
            )


def _ranks(sections: Sequence[Section]) -> Drawn:
    """Average ranks over datasets; a column of strokes joins groups that are not told apart."""
    from dlrun.comparison.across import described

    found = ranked(sections)
    if found is None:
        return
    bars = found.joined()
    stroke = "│" if _unicode() else "|"
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for label, rank in found.ranks.items():
        strokes = " ".join(stroke if label in bar else " " for bar in bars)
        table.add_row(Text(printable(label)), f"{rank:.2f}", Text(strokes))
    first, *rest = described(found)
    yield Text(printable(first.partition(":")[0]), style="bold")
    yield table
    rest += ["a column of strokes joins groups that are not told apart"] if bars else []
    yield from (Text(printable(line)) for line in rest)


def _predicted(section: Section, evidence: Evidence) -> tuple[list[Predicted], str]:
    first = runs_first(section.compared, section.metric, 1)
    if not first:
        return [], ""
    several = evidence.predicted((row.id for row in first[0].group.rows), PREDICTED)
    runs = f" ({len(several)} runs)" if len(several) > 1 else ""
    return several, f"{name_of(first[0].group)}{runs}"


def _titled(title: str, lines: Sequence[str]) -> Text:
    return Text("\n").join([Text(printable(title), style="bold"), *map(Text, lines)])


def _width(out: Console) -> int:
    return min(out.width, WIDE)


def _unicode() -> bool:
    return (sys.stdout.encoding or "").lower().startswith("utf")


_DRAWN: dict[str, Callable[[Section, Evidence, Console], Drawn]] = {
    "curves": _curves,
    "confusion": _confusion,
    "boundary": _boundary,
    "reliability": _reliability,
    "roc": _roc,
    "predicted": _values(False),
    "residuals": _values(True),
    "gradients": _gradients,
    "results": _results,
    "sensitivity": _sensitivity,
}
assert _DRAWN.keys() <= KINDS.keys()
