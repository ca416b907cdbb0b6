"""A chart: a Vega-Lite specification made by altair, with its words; and the two styles in which it is shown.

A specification names its columns ``group``, ``value``, ``x`` and so on: names that come from data stand in values and titles
alone, where Vega-Lite takes them as they are.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Any

from dlrun.comparison.factors import shown
from dlrun.comparison.groups import Compared
from dlrun.comparison.longtable import TUNED
from dlrun.comparison.summary import Summary
from dlrun.comparison.table import BASELINE, Group
from dlrun.errors import InputError
from dlrun.report.tables import clean

MOST_GROUPS = 30  # in a chart with a line of text for each
MOST_CURVES = 8  # in a chart with a colour for each
MOST_POINTS = 100  # runs of a group that are drawn one by one
WIDTH, HEIGHT = 560, 280
SMALL = 400
MANY = 3  # groups from which on one of them may be far from most
INTERVAL = (("low:Q", "from"), ("high:Q", "to"))  # the ends of a 95% interval, for ``tips``
PANEL = 230  # width of a panel where a chart has several

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8B6F47", "#7F7F7F")  # Okabe and Ito 2008


@dataclass(frozen=True)
class Chart:
    """A chart and its words.

    Args:
        name: what it is called on the command line and as a file.
        title: what it shows.
        alt: the same for those who do not see it.
        caption: how to read it, and what is left out.
        spec: Vega-Lite, without a style.
    """

    name: str
    title: str
    alt: str
    caption: str
    spec: Mapping[str, Any]

    @property
    def small(self) -> bool:
        """Whether another one fits beside it."""
        width = self.spec.get("width")
        return isinstance(width, int | float) and width <= SMALL


@cache
def alt() -> Any:
    """The library of charts.

    Raises:
        InputError: it is not installed.
    """
    try:
        import altair
        import vl_convert  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"charts need {error.name or 'altair'}, which is not installed; run: pip install 'dlrun[report]'"
        ) from error
    return altair


class _Named(str):
    """The name of rows, which altair passes on: it would check every number of the rows themselves, and copy them."""

    rows: list[Mapping[str, Any]]

    def __deepcopy__(self, memo: Any) -> "_Named":
        return self


_numbers = count(1)


def data(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Rows of a chart; numbers that are not finite are left out of their rows, and others have five digits."""
    name = _Named(f"rows{next(_numbers)}")
    name.rows = [{key: item for key, value in row.items() if (item := _short(value)) is not None} for row in rows]
    return alt().NamedData(name=name)


def spec(chart: Any) -> Mapping[str, Any]:
    """The Vega-Lite of an altair chart, with its rows and without altair's own style."""
    found: dict[str, Any] = chart.to_dict(validate=False)  # tests validate: it takes longer than all else
    found.pop("config", None)
    tables: dict[str, _Named] = {}
    named = _renamed(found, tables)
    return {**named, "datasets": {name: table.rows for name, table in zip(_names(tables), tables.values(), strict=True)}}


def _renamed(part: Any, tables: dict[str, _Named]) -> Any:
    """A part of a specification, in which rows are numbered from 1 as they are met."""
    if isinstance(part, _Named):
        tables.setdefault(part, part)
        return _names(tables)[[*tables].index(part)]
    if isinstance(part, dict):
        return {key: _renamed(value, tables) for key, value in part.items()}
    return [_renamed(value, tables) for value in part] if isinstance(part, list) else part


def _names(tables: Mapping[str, _Named]) -> list[str]:
    return [f"rows{number}" for number in range(1, len(tables) + 1)]


def layered(rows: Iterable[Mapping[str, Any]], **layers: Any) -> Any:
    """Layers in their order, without those whose field has no finite value in any row: Vega warns of such."""
    known = {key for row in rows for key, value in row.items() if _short(value) is not None}
    return alt().layer(*(layer for field, layer in layers.items() if field in known))


def _short(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return float(f"{value:.5g}") if math.isfinite(value) else None


def name_of(group: Group) -> str:
    """What a group is called in charts: the options and values that tell it apart, without the names of groups."""
    if group.is_baseline:
        return clean(f"{shown(group.factors[BASELINE])} (baseline)")
    own = {key: value for key, value in group.factors.items() if key not in (BASELINE, TUNED) and value != ""}
    tuned = {True: " (tuned)", False: " (default)"}.get(group.factors.get(TUNED), "")  # type: ignore[call-overload]
    lasts = [key.rpartition(".")[2] for key in own]
    words = []
    for (key, value), last in zip(own.items(), lasts, strict=True):
        said = isinstance(value, bool) or ("." in key and len(own) > 1)
        words.append(f"{key if lasts.count(last) > 1 else last}={shown(value)}" if said else shown(value))
    return clean(" ".join(words) + tuned) or "all runs"


def usual(summaries: Sequence[Summary]) -> tuple[float, float]:
    """Ends of an axis that a group far away from most others does not stretch: the quartiles of the means, and four times
    their distance (or what runs vary by) beyond.
    """
    means = sorted(each.mean for each in summaries)
    spreads = sorted(each.sd for each in summaries if math.isfinite(each.sd))
    if len(means) < MANY:
        return -math.inf, math.inf
    low, high = means[len(means) // 4], means[-1 - len(means) // 4]
    reach = 4 * max(high - low, spreads[len(spreads) // 2] if spreads else 0.0)
    return (low - reach, high + reach) if reach else (-math.inf, math.inf)


def beyond(names: Mapping[str, float]) -> str:
    """A sentence on groups that lie beyond the axis."""
    return f" Beyond the axis: {', '.join(f'{name} ({mean:.3g})' for name, mean in names.items())}." if names else ""


def runs_first(compared: Sequence[Compared], metric: str, most: int) -> list[Compared]:
    """The first groups of runs that have a value, the reference among them."""
    known = [item for item in compared if metric in item.group.summaries and not item.group.is_baseline]
    reference = [item for item in known[most:] if item.reference]
    return [*known[: most - len(reference)], *reference]


def left_out(compared: Sequence[Compared], shown: Sequence[Compared], far: int = 0) -> str:
    """A sentence on groups that a chart has no room for."""
    every = [item for item in compared if item.group.summaries and not item.group.is_baseline]
    drawn = sum(not item.group.is_baseline for item in shown)
    if drawn + far >= len(every):  # those that are far away are named apart
        return ""
    return f" The first {drawn} of {len(every)} groups are shown." if drawn < len(every) else ""


def log_scale(values: Iterable[float], at_least: float = 20.0) -> bool:
    """Whether values are all positive and span so much that a logarithmic axis shows them better."""
    known = [value for value in values if math.isfinite(value)]
    return bool(known) and min(known) > 0 and max(known) / min(known) >= at_least


def axis(log: bool) -> Any:
    """A scale that does not begin at zero, logarithmic (from the least value to the largest) or not."""
    return alt().Scale(type="log", nice=False) if log else alt().Scale(zero=False)


def tips(*fields: str | tuple[str, str]) -> list[Any]:
    """What a mark says where it is pointed at: fields with their types, such as ``value:Q``, or such a field and its title."""
    a = alt()
    return [a.Tooltip(each) if isinstance(each, str) else a.Tooltip(each[0], title=each[1]) for each in fields]


def config(dark: bool) -> dict[str, Any]:
    """The style of all charts."""
    text, faint, ground = ("#e6e6e6", "#4a4f57", "#16181c") if dark else ("#1f2328", "#d0d4da", "#ffffff")
    return {
        "background": ground,
        "aria": False,  # a chart is one image with a text of its own
        "font": "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif",
        "view": {"stroke": None, "continuousWidth": WIDTH, "continuousHeight": HEIGHT},
        "axis": {
            "labelColor": text,
            "titleColor": text,
            "gridColor": faint,
            "domainColor": faint,
            "tickColor": faint,
            "gridOpacity": 0.6,
            "labelFontSize": 12,
            "labelFlush": False,
            "labelSeparation": 6,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "labelLimit": 190,
        },
        "header": {"labelColor": text, "titleColor": text, "labelFontSize": 12, "labelLimit": PANEL},
        "legend": {
            "labelColor": text,
            "titleColor": text,
            "labelFontSize": 12,
            "labelLimit": 240,
            "orient": "bottom",
            "columns": 2,
            "symbolOpacity": 1,
        },
        "title": {"color": text, "anchor": "start", "fontSize": 14},
        "range": {"category": [*COLOURS]},
        "rule": {"color": text},
        "text": {"color": text},
        "bar": {"color": COLOURS[0]},
        "circle": {"color": COLOURS[0]},
        "line": {"color": COLOURS[0]},
    }
