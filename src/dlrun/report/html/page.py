"""The page of a report: what is said of each comparison, with its charts, put into the template.

Names, labels and commands may come from a file that somebody sent. So Jinja escapes every value; data for the charts is JSON in
which no tag can begin; and the page's own policy lets no script run but those whose hashes it has, and loads nothing.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from dlrun import __version__
from dlrun.report.charts.base import Chart, config
from dlrun.report.columns import columns, legend
from dlrun.report.predictions import HardRow
from dlrun.report.sections import Section
from dlrun.report.tables import clean
from dlrun.report.words import answer, command, methods, question
from dlrun.results.record import RunRecord

MOST_ROWS = 500  # rows of a table
MOST_SHOWN = 100  # of them at first: a page with thousands of cells opens slowly
OTHERS = 4  # the rank of columns that stand behind the verdict: other metrics, median and range
MOST_ELEMENTS = 200_000  # bytes of a specification that is drawn as elements
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Part:
    """A comparison as the page has it.

    Args:
        charts: in the order in which they stand.
        whose: the group that predictions are of.
        hardest: the rows on which it is wrong.
        facts: what there is to know of a single run, by name; empty for a comparison.
    """

    section: Section
    records: Mapping[str, RunRecord]
    charts: Sequence[Chart]
    whose: str = ""
    hardest: Sequence[HardRow] = ()
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class OverDatasets:
    """What is said of groups over several comparisons, in lines, and their ranks as a chart."""

    lines: Sequence[str]
    chart: Chart


def render(title: str, parts: Sequence[Part], over: OverDatasets | None, about: Mapping[str, str], programs: str) -> str:
    """The whole page.

    Args:
        over: where the parts are of several datasets.
        about: where it comes from, by name: sweeps, commands, versions.
        programs: the JavaScript that draws Vega-Lite.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    scripts = [_script(programs), _script((_HERE / "page.js").read_text(encoding="utf-8"))]
    charts = [chart for part in parts for chart in part.charts] + ([over.chart] if over else [])
    numbers = count()  # of the charts, in their order
    return environment.get_template("page.html").render(
        title=clean(title),
        version=__version__,
        most_shown=MOST_SHOWN,
        parts=[_shown(part, numbers) for part in parts],
        over={"lines": [*map(clean, over.lines)], "figure": (next(numbers), over.chart)} if over else None,
        about={clean(name): clean(value) for name, value in about.items() if value},
        style=Markup((_HERE / "page.css").read_text(encoding="utf-8")),
        scripts=[Markup(script) for script in scripts],
        hashes=" ".join(f"'sha256-{_hash(script)}'" for script in scripts),
        data=Markup(to_json({"charts": [_drawing(chart) for chart in charts], "light": config(False), "dark": config(True)})),
    )


def _drawing(chart: Chart) -> dict[str, Any]:
    """What draws a chart: one of thousands of marks is drawn as pixels, since the page would be slow with them as elements."""
    return {"spec": chart.spec, "renderer": "canvas" if len(to_json(chart.spec)) > MOST_ELEMENTS else "svg"}


def to_json(value: Any) -> str:
    """Strict JSON that may stand in a script element: no tag can begin in it."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _script(text: str) -> str:
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--").replace("\r", "\n")


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _shown(part: Part, numbers: Iterator[int]) -> dict[str, Any]:
    """What the template takes of a part; its charts take their numbers from ``numbers``."""
    section = part.section
    kept = [item for place, item in enumerate(section.compared) if place < MOST_ROWS or item.group.is_baseline]
    several = sorted(columns(kept, section.metric, section.metrics), key=lambda column: column.rank >= OTHERS)
    left = len(section.compared) - len(kept)
    return {
        "title": clean(section.title),
        "metric": clean(section.metric),
        "question": question(section),
        "answer": answer(section),
        "columns": [
            {"name": column.name, "right": column.right, "strong": column.strong, "words": bool(column.shorter)}
            for column in several
        ],
        "rows": [
            {
                "cells": cells,
                "baseline": item.group.is_baseline,
                "reference": bool(item.reference),
                "command": command(item.group, part.records),
            }
            for item, *cells in zip(kept, *(column.cells for column in several), strict=True)
        ],
        "left": f"{left:,} more rows are in comparison.csv of the sweep." if left else "",
        "legend": [*legend(section.compared, several), *section.notes],
        "charts": [(next(numbers), chart) for chart in part.charts],
        "whose": part.whose,
        "hardest": part.hardest,
        "named": any(row.true for row in part.hardest),
        "facts": {clean(name): clean(value) for name, value in part.facts.items()},
        "methods": methods(section, part.records),
    }
