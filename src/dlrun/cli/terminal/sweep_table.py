"""The comparison of a sweep on the terminal: as many columns as fit, the most telling ones first. The files have all of them."""

import math
import re
from typing import TYPE_CHECKING

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from dlrun.cli.terminal.screen import asked
from dlrun.errors import printable
from dlrun.report.columns import columns, fitting, legend
from dlrun.report.sections import over_datasets
from dlrun.report.tables import clean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dlrun.report.sections import Section

ROWS = 40  # rows on the terminal
GAP = 2  # characters between two columns
SHORT = 5  # characters of a line of a broken word
_WORDS = re.compile(r"(?<=[.@, ])")  # where a text may be broken: behind these


def show_section(section: "Section", out: Console) -> None:
    """Print the comparison of one dataset: runs, and baselines in italics; of a long one the first rows and every baseline."""
    shown = [item for place, item in enumerate(section.compared) if place < ROWS or item.group.is_baseline]
    every = columns(shown, section.metric, section.metrics)
    kept = fitting(every, width(out), GAP)
    subset, slash, _ = section.metric.rpartition("/")
    what = f"{subset} rows" if slash else section.metric
    order = ", best first" if len(section.compared) > 1 else ""
    title = Text(f"{clean(section.title)}: {what}{order}", style="bold")
    table = Table(title=title, title_justify="left", box=None)
    words = [max(len(word) for text in (column.name, *column.cells) for word in _WORDS.split(text)) for column in kept]
    least = [column.width if column.right else word for column, word in zip(kept, words, strict=True)]
    if sum(least) + GAP * (len(kept) - 1) > width(out):  # words are broken then, and numbers stay whole
        least = [number if column.right else min(number, SHORT) for column, number in zip(kept, least, strict=True)]
    for column, number in zip(kept, least, strict=True):
        style = "bold" if column.strong else ""
        justify: JustifyMethod = "right" if column.right else "left"
        table.add_column(
            Text(printable(column.name), style="bold"), justify=justify, style=style, overflow="fold", min_width=number
        )
    for item, *cells in zip(shown, *(column.cells for column in kept), strict=True):
        table.add_row(*(Text(printable(cell)) for cell in cells), style="dim italic" if item.group.is_baseline else "")
    table.padding = (0, GAP, 0, 0)
    table.pad_edge = False
    before = out.width
    if not math.isfinite(width(out)):
        out.width = max(before, len(title), sum(column.width + GAP for column in kept))
    out.print(table)
    out.width = before
    more = []
    if len(section.compared) > len(shown):
        more.append(f"{len(section.compared) - len(shown)} more rows")
    if section.kept and len(kept) < len(every):
        more.append("more columns")
    lines = legend(section.compared, kept)
    if more and section.kept:
        lines.append(f"{' and '.join(more)} in comparison.csv")
    for line in (*lines, *section.notes):
        notice(line, out, style="dim")


def show_over_datasets(sections: "Sequence[Section]", out: Console) -> None:
    """Print the ranks of groups that several datasets have."""
    for line in over_datasets(sections):
        notice(line, out)


def width(out: Console) -> float:
    """How many characters a line of a table may have: as many as the terminal has, and any number where there is none."""
    return out.width if out.is_terminal or asked("COLUMNS") else math.inf


def notice(line: str, out: Console, style: str = "") -> None:
    """Print a line of words, broken between words on a terminal and whole elsewhere."""
    out.print(Text(printable(line), style=style), soft_wrap=not out.is_terminal)
