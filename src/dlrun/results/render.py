"""The comparison table as text: CSV, Markdown, and plain cells for a terminal.

Names and labels may come from a file that somebody sent. So cells of a CSV never begin a formula, and nothing that steers a
terminal gets through.
"""

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dlrun.results.comparison import Compared
from dlrun.results.record import MEASURED, STATUSES

Cell = str | int | float | None

_STEERING = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b.?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_FORMULA = ("=", "+", "-", "@")


@dataclass(frozen=True)
class Table:
    """Column names and rows of cells; a None is an empty cell."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def full_table(compared: Sequence[Compared], metric: str, metrics: Sequence[str] = ()) -> Table:
    """Every figure in a column of its own, for comparison.csv."""
    factors = list(compared[0].group.factors) if compared else []
    others = [name for name in metrics if name != metric]
    statuses = [status for status in STATUSES if any(status in item.group.statuses for item in compared)]
    columns = [*factors, "n"]
    for name in (metric, *others):
        columns += [f"{name} {part}" for part in ("mean", "sd", "ci low", "ci high", "median", "min", "max")]
    columns += [
        "difference",
        "difference ci low",
        "difference ci high",
        "effect size",
        "p",
        "p wilcoxon",
        "pairs",
        "pairs dropped",
    ]
    columns += ["verdict", *statuses]
    rows = []
    for item in compared:
        row: list[Cell] = [*item.group.factors.values(), _n(item, metric)]
        for name in (metric, *others):
            s = item.group.summaries.get(name)
            row += [None] * 7 if s is None else [_cell(x) for x in (s.mean, s.sd, s.low, s.high, s.median, s.minimum, s.maximum)]
        d = item.difference
        row += [None] * 4 if d is None else [_cell(d.mean), _cell(d.low), _cell(d.high), d.effect]
        row += [item.p, item.wilcoxon_p, *((None, None) if d is None else (d.n, d.dropped))]
        row += [said(item), *(item.group.statuses.get(status, 0) for status in statuses)]
        rows.append(tuple(row))
    return Table(tuple(columns), tuple(rows))


def short_table(compared: Sequence[Compared], metric: str, metrics: Sequence[str] = ()) -> Table:
    """What fits a terminal or a page: factors, n, mean, sd, interval, median, min, max, other means, unfinished runs, verdict."""
    factors = list(compared[0].group.factors) if compared else []
    others = [name for name in metrics if name != metric]
    columns = [*factors, "n", metric, "sd", "95% CI", "median", "min", "max", *others, "verdict"]
    notes = [_unmeasured(item) for item in compared]
    if any(notes):
        columns.insert(len(factors) + 1, "not counted")
    rows = []
    for item, note in zip(compared, notes, strict=True):
        row: list[Cell] = [*item.group.factors.values(), _n(item, metric), *([note] if any(notes) else [])]
        s = item.group.summaries.get(metric)
        if s is None:
            row += [None] * 6
        else:
            interval = f"{number(s.low)} to {number(s.high)}" if s.n > 1 else None
            row += [s.mean, _cell(s.sd), interval, s.median, s.minimum, s.maximum]
        row += [summary.mean if (summary := item.group.summaries.get(name)) else None for name in others]
        rows.append((*row, said(item)))
    return Table(tuple(columns), tuple(rows))


def said(item: Compared) -> str:
    """The verdict column: ``reference``, a verdict, or ``no result``."""
    if item.is_reference:
        return "reference"
    return item.verdict.text if item.verdict else "no result"


def to_csv(table: Table) -> str:
    """CSV with numbers in full; text that would begin a formula in a spreadsheet is preceded by an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_csv_text(name) for name in table.columns])
    for row in table.rows:
        writer.writerow([_csv_text(cell) if isinstance(cell, str) else cell for cell in row])
    return out.getvalue()


def to_markdown(table: Table) -> str:
    """A Markdown table: numbers to four digits and to the right, pipes and markup escaped."""
    right = [all(cell is None or isinstance(cell, int | float) for cell in column) for column in zip(*table.rows, strict=True)]
    lines = [
        [_markdown_text(name) for name in table.columns],
        ["---:" if aligned else "---" for aligned in right] or ["---"] * len(table.columns),
        *([_markdown_text(cell) for cell in row] for row in to_text(table)),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_text(table: Table) -> list[list[str]]:
    """Cells as clean one-line text, numbers to four digits. Brackets stay: hand a cell to rich as ``Text``, not as markup."""
    return [[clean(cell) if isinstance(cell, str) else number(cell) for cell in row] for row in table.rows]


def number(value: float | None) -> str:
    """A number in four digits, whole ones in full; nothing for None and NaN."""
    if value is None or math.isnan(value):
        return ""
    if isinstance(value, int):
        return str(value)
    return f"{value:.4g}" if abs(value) < 1e4 or abs(value) >= 1e9 else f"{value:.0f}"


def clean(text: str) -> str:
    """``text`` on one line without anything that steers a terminal."""
    return _CONTROL.sub("", _STEERING.sub("", re.sub(r"[\r\n\t]+", " ", text)))


def _csv_text(text: str) -> str:
    cleaned = clean(text)
    return f"'{cleaned}" if cleaned.lstrip().startswith(_FORMULA) and not _is_number(cleaned) else cleaned


def _markdown_text(text: str) -> str:
    return re.sub(r"([\\|`*_<>\[\]])", r"\\\1", clean(text))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _cell(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _n(item: Compared, metric: str) -> int:
    summary = item.group.summaries.get(metric)
    return summary.n if summary else 0


def _unmeasured(item: Compared) -> str:
    return ", ".join(f"{count} {status}" for status, count in item.group.statuses.items() if status not in MEASURED)
