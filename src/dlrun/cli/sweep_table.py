"""The comparison of a sweep on the terminal: as many columns as fit, the most telling ones first. The files have all of them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dlrun.results.comparison import Compared
from dlrun.results.render import clean, number
from dlrun.results.statistics import Verdict
from dlrun.results.table import Summary

if TYPE_CHECKING:
    from dlrun.experiments.sections import Section

ROWS = 40  # rows on the terminal
GAP = 2  # characters between two columns


@dataclass(frozen=True)
class Column:
    """A column and its cells; when room is short, the one with the highest ``rank`` goes first, and rank 0 stays."""

    name: str
    cells: Sequence[str]
    rank: int = 0
    right: bool = True
    style: str = ""

    @property
    def width(self) -> int:
        """Characters that it takes, with the gap before the next one."""
        return max(map(len, (self.name, *self.cells))) + GAP


def show_section(section: "Section", out: Console) -> None:
    """Print the comparison of one dataset: runs, and baselines in italics; of a long one the first rows and every baseline."""
    shown = [item for place, item in enumerate(section.compared) if place < ROWS or item.group.is_baseline]
    subset = section.metric.partition("/")[0]
    columns = fitting(_columns(section, shown), out.width)
    order = ", best first" if len(section.compared) > 1 else ""
    dataset = clean(section.dataset.partition("\0")[0])
    table = Table(title=Text(f"{dataset}: {subset} rows{order}", style="bold"), title_justify="left", box=None)
    for column in columns:
        table.add_column(
            Text(column.name, style="bold"), justify="right" if column.right else "left", style=column.style, overflow="fold"
        )
    for item, *cells in zip(shown, *(column.cells for column in columns), strict=True):
        table.add_row(*(Text(str(cell)) for cell in cells), style="dim italic" if item.group.is_baseline else "")
    table.padding = (0, GAP, 0, 0)
    table.pad_edge = False
    out.print(table)
    if len(section.compared) > len(shown):
        out.print(Text(f"and {len(section.compared) - len(shown)} more rows in comparison.csv", style="dim"))
    tests = sum(item.p is not None for item in section.compared)
    if tests:
        corrected = f", corrected for {tests} comparisons" if tests > 1 else ""
        out.print(Text(f"each against the best run, seed by seed: paired t-test, 5% level{corrected}", style="dim"))
    for note in section.notes:
        out.print(Text(note, style="dim"), soft_wrap=True)


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """The columns that fit: the least important ones are left out, one by one."""
    kept = list(columns)
    while sum(column.width for column in kept) - GAP > width and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    return kept


def said(item: Compared) -> str:
    """The verdict in a few words: ``best run``, ``worse by 0.012``, ``not enough evidence (+18 seeds)``."""
    if item.is_reference:
        return "best run"
    return _short(item.verdict) if item.verdict else "no result"


def _short(verdict: Verdict) -> str:
    if verdict.word != "not enough evidence":
        return verdict.text.partition(":")[0]
    if verdict.more is None:
        return f"{verdict.word} ({'no seeds in common' if 'in common' in verdict.text else 'too close for more seeds to tell'})"
    return f"{verdict.word} (+{verdict.more:,} seed{'s' * (verdict.more != 1)})"


def _columns(section: "Section", compared: Sequence[Compared]) -> list[Column]:
    subset = section.metric.partition("/")[0]
    main = [item.group.summaries.get(section.metric) for item in compared]
    several = any(summary and summary.n > 1 for summary in main)
    columns = [
        Column(clean(name), [clean(item.group.factors[name]) for item in compared], right=False)
        for name in compared[0].group.factors
    ]
    columns.append(Column("n", [str(summary.n if summary else 0) for summary in main]))
    lost = [_not_counted(item) for item in compared]
    if any(lost):
        columns.append(Column("not counted", lost, right=False))
    columns.append(_figures(_bare(section.metric, subset), _each(main, "mean"), 0, "bold"))
    if several:
        columns.append(_figures("sd", _each(main, "sd"), 2))
        low, high = (_figures("", _each(main, end)).cells for end in ("low", "high"))
        interval = [f"{start} to {end}" if start else "" for start, end in zip(low, high, strict=True)]
        columns.append(Column("95% CI", interval, 1))
        columns += [
            _figures(name, _each(main, part), rank)
            for rank, name, part in ((100, "median", "median"), (101, "min", "minimum"), (102, "max", "maximum"))
        ]
    columns += [
        _figures(_bare(name, subset), _each([item.group.summaries.get(name) for item in compared], "mean"), 3 + place)
        for place, name in enumerate(section.metrics)
    ]
    if len(section.compared) > 1:
        columns.append(Column("against the best run", [said(item) for item in compared], right=False))
    return columns


def _each(summaries: Sequence[Summary | None], part: str) -> list[float | None]:
    return [None if summary is None else getattr(summary, part) for summary in summaries]


def _figures(name: str, values: Sequence[float | None], rank: int = 0, style: str = "") -> Column:
    """A column of numbers with as many decimals as give the largest four digits, so that points stand below each other."""
    known = [abs(value) for value in values if value is not None and math.isfinite(value)]
    largest = max(known, default=0.0)
    decimals = 3 - math.floor(math.log10(largest)) if 1e-3 <= largest < 1e6 else -1

    def cell(value: float | None) -> str:
        if value is None or not math.isfinite(value):
            return ""
        text = f"{value:.{max(decimals, 0)}f}"
        return text if decimals >= 0 and (value == 0 or float(text) != 0) else number(value)

    return Column(name, [cell(value) for value in values], rank, style=style)


def _not_counted(item: Compared) -> str:
    return ", ".join(f"{count} {status}" for status, count in item.group.statuses.items() if status not in ("done", "stopped"))


def _bare(metric: str, subset: str) -> str:
    return metric.removeprefix(f"{subset}/")
