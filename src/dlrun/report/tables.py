"""The comparison table as text: every figure as CSV, columns as Markdown, and what makes text fit for both.

Names and labels may come from a file that somebody sent. So cells of a CSV never begin a formula, and nothing that steers a
terminal gets through.
"""

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from dlrun.comparison.groups import Compared
from dlrun.errors import printable
from dlrun.results.record import STATUSES

Cell = str | int | float | None

_BREAKS = re.compile(r"[\r\n\t]+")
_MARKUP = re.compile(r"[\\|`*_<>\[\]~&$#]")
_FORMULA = ("=", "+", "-", "@")


_DIFFERENCE = (
    "difference",
    "effect size",
    "difference ci low (corrected)",
    "difference ci high (corrected)",
    "difference ci low (uncorrected)",
    "difference ci high (uncorrected)",
    "p (corrected)",
    "correction",
    "p wilcoxon (Holm)",
    "pairs",
    "pairs dropped",
)
_NEW_ROWS = tuple(f"new rows {name}" for name in ("ci low (corrected)", "ci high (corrected)", "p (corrected)", "verdict"))


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
    columns += [*_DIFFERENCE, "verdict", *_NEW_ROWS, "stuck", *statuses]
    rows = []
    for item in compared:
        row: list[Cell] = [*item.group.factors.values(), _n(item, metric)]
        for name in (metric, *others):
            s = item.group.summaries.get(name)
            row += [None] * 7 if s is None else [_cell(x) for x in (s.mean, s.sd, s.low, s.high, s.median, s.minimum, s.maximum)]
        d = item.difference
        row += [None] * 2 if d is None else [_cell(d.mean), d.effect]
        row += [*_ends(item.interval), *((None, None) if d is None else (_cell(d.low), _cell(d.high)))]
        row += [item.p, f"{item.method} {item.tests}" if item.method else None, item.wilcoxon_p]
        row += [None, None] if d is None else [d.n, d.dropped]
        new = item.on_new_rows
        row += [said(item), *((None,) * 4 if new is None else (*_ends(new.interval), new.p, new.verdict.text))]
        row += [item.stuck.short() if item.stuck else None, *(item.group.statuses.get(status, 0) for status in statuses)]
        rows.append(tuple(row))
    return Table(tuple(columns), tuple(rows))


def _ends(interval: tuple[float, float] | None) -> list[Cell]:
    return [None, None] if interval is None else [_cell(end) for end in interval]


def said(item: Compared) -> str:
    """The verdict column: ``reference`` (with the runs that it lost), a verdict, or ``no result``."""
    if item.reference:
        return f"reference; {item.lost.said()}" if item.lost else "reference"
    return item.verdict.text if item.verdict else "no result"


def to_csv(table: Table) -> str:
    """CSV with numbers in full; text that would begin a formula in a spreadsheet is preceded by an apostrophe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([_csv_text(name) for name in table.columns])
    for row in table.rows:
        writer.writerow([_csv_text(cell) if isinstance(cell, str) else cell for cell in row])
    return out.getvalue()


def to_markdown(columns: Sequence[tuple[str, Sequence[str], bool]]) -> str:
    """A Markdown table of columns (name, cells, whether they stand to the right); pipes and markup are escaped."""
    lines = [
        [markdown_text(name) for name, _, _ in columns],
        ["---:" if right else "---" for _, _, right in columns],
        *([markdown_text(cell) for cell in row] for row in zip(*(cells for _, cells, _ in columns), strict=True)),
    ]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def clean(text: str) -> str:
    """``text`` on one line, control characters spelled out."""
    return printable(_BREAKS.sub(" ", text))


def _csv_text(text: str) -> str:
    cleaned = clean(text)
    return f"'{cleaned}" if cleaned.lstrip().startswith(_FORMULA) and not _is_number(cleaned) else cleaned


def markdown_text(text: str) -> str:
    """``text`` on one line that Markdown shows as it is: whatever has a meaning there is escaped."""
    return _MARKUP.sub(r"\\\g<0>", clean(text))


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
