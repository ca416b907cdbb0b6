"""The comparison table as a person reads it: columns of text, the ones that may be left out marked, and what they mean."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dlrun.results.comparison import Compared
from dlrun.results.record import MEASURED
from dlrun.results.render import clean, number
from dlrun.results.statistics import LEAST, MANY, POWER
from dlrun.results.table import Summary

DETAIL = 100  # the rank from which on a column is for those who look closely: the terminal has it where there is room
_LARGE = 1e6  # from here on a number is written with an exponent


@dataclass(frozen=True)
class Column:
    """A column and its cells.

    Args:
        rank: when room is short, the column with the highest rank goes first, and rank 0 stays.
        right: whether its cells are aligned to the right.
        strong: whether it is the one to look at.
        shorter: cells that say less, one step after the other, taken before columns of a rank below ``shorten`` go.
    """

    name: str
    cells: tuple[str, ...]
    rank: int = 0
    right: bool = True
    strong: bool = False
    shorter: tuple[tuple[str, ...], ...] = ()
    shorten: int = 0

    @property
    def width(self) -> int:
        """Characters that it takes."""
        return max(map(len, (self.name, *self.cells)))


def columns(compared: Sequence[Compared], metric: str, metrics: Sequence[str] = ()) -> list[Column]:
    """What varies, n, the metric with sd and interval, other metrics, and the verdict."""
    if not compared:
        return []
    subset = metric.partition("/")[0] + "/"
    main = [item.group.summaries.get(metric) for item in compared]
    found = [
        Column(clean(name), tuple(clean(item.group.factors[name]) for item in compared), right=False)
        for name in compared[0].group.factors
    ]
    found.append(Column("n", tuple(str(summary.n if summary else 0) for summary in main)))
    lost = tuple(not_counted(item) for item in compared)
    if any(lost):
        found.append(Column("not counted", lost, 1, right=False))
    means = _each(main, "mean")
    found.append(Column(metric.removeprefix(subset), figures(means), strong=True))
    if any(summary and summary.n > 1 for summary in main):
        found.append(Column("sd", figures(_each(main, "sd")), 2))
        found.append(Column("95% CI", _intervals(main, _decimals(means)), 1))
        for place, (name, part) in enumerate((("median", "median"), ("min", "minimum"), ("max", "maximum"))):
            found.append(Column(name, figures(_each(main, part)), DETAIL + place))
    for place, name in enumerate(name for name in metrics if name != metric):
        others = _each([item.group.summaries.get(name) for item in compared], "mean")
        found.append(Column(name.removeprefix(subset), figures(others), 4 + place))
    if len(compared) > 1:
        verdicts = [said(item) for item in compared]
        steps = [
            tuple(f"{word} ({kept})" if (kept := keep(aside)) else word for word, aside in verdicts)
            for keep in (str, _mark, lambda aside: "")
        ]
        found.append(Column("verdict", steps[0], right=False, shorter=tuple(steps[1:]), shorten=3))
    return found


def fitting(given: Sequence[Column], width: float, gap: int) -> list[Column]:
    """The columns that fit, with a ``gap`` between two: what tells least is shortened or left out first."""
    kept = list(given)
    while sum(column.width + gap for column in kept) - gap > width:
        ranks = [max(column.rank, column.shorten if column.shorter else 0) for column in kept]
        place = ranks.index(max(ranks))
        column = kept[place]
        if not ranks[place]:
            break
        if column.shorter and column.shorten == ranks[place]:
            kept[place] = replace(column, cells=column.shorter[0], shorter=column.shorter[1:])
        else:
            del kept[place]
    return kept


def said(item: Compared) -> tuple[str, str]:
    """The verdict in a few words and an aside: ``worse by 0.012``, or ``not enough evidence`` and ``+18 seeds``."""
    if item.reference:
        return "best of yours" if item.reference == "best" else "the reference", ""
    if item.verdict is None or item.difference is None:
        return "no result", ""
    word, _, why = item.verdict.text.partition(": ")
    if item.verdict.word != "not enough evidence":
        return word, ""
    kind = "fold" if item.difference.ratio else "seed"
    if 0 < item.difference.n < LEAST:
        return word, f"run {LEAST} {kind}s"
    if item.verdict.more is None:
        return word, why
    if item.verdict.more > MANY:
        return word, f"more than {MANY:,} {kind}s"
    return word, f"+{item.verdict.more} {kind}{'s' * (item.verdict.more != 1)}"


def _mark(aside: str) -> str:
    """``+18`` of ``+18 seeds``, and nothing of an aside in words."""
    return aside.partition(" ")[0] if aside.startswith("+") else ""


def legend(compared: Sequence[Compared], shown: Sequence[Column]) -> list[str]:
    """What the verdicts that are ``shown`` rest on, in a line or two; nothing where there are none."""
    if all(item.p is None for item in compared):
        return []
    tests = max(item.tests for item in compared)
    folds = any(item.difference and item.difference.ratio for item in compared)
    named = next((clean(item.group.label) for item in compared if item.reference == "named"), "")
    against = named or "the best of yours"
    line = f"each against {against}, {'fold by fold' if folds else 'seed by seed'}: paired t-test, 5% level"
    line += ", corrected for the rows that folds share" if folds else ""
    line += f", Holm-corrected for {tests:,} comparisons" if tests > 1 else ""
    line += ": any group might have been the best" if tests > 1 and not named else ""
    about = "verdicts are about this data, over random splits and initial weights"
    if any("(+" in cell for column in shown if column.name == "verdict" for cell in column.cells):
        kind = "folds, of further seeds," if folds else "seeds"
        about += f"\n+N: about so many more {kind} would probably settle it, at {POWER:.0%} power"
    return [line, *about.split("\n")]


def not_counted(item: Compared) -> str:
    """How many runs of the group ended without a result, and how: ``2 diverged, 1 failed``."""
    return ", ".join(f"{count} {status}" for status, count in item.group.statuses.items() if status not in MEASURED)


def figures(values: Sequence[float | None]) -> tuple[str, ...]:
    """Numbers with as many decimals as give the largest four digits, so that points stand below each other."""
    decimals = _decimals(values)
    return tuple(_figure(value, decimals) for value in values)


def _decimals(values: Iterable[float | None]) -> int | None:
    """How many decimals a column has; None where its numbers are too small for any."""
    known = [abs(value) for value in values if value is not None and abs(value) < _LARGE]
    largest = max(known, default=0.0)
    if largest == 0:
        return 4
    return max(0, 3 - math.floor(math.log10(largest))) if largest >= 1e-3 else None


def _figure(value: float | None, decimals: int | None) -> str:
    if value is None or not math.isfinite(value):
        return ""
    if decimals is None or abs(value) >= _LARGE:
        return number(float(value))
    text = f"{value:.{decimals}f}"
    if float(text) == 0 and decimals < 4:  # beside large numbers
        text = f"{value:.4f}"
    return text.removeprefix("-") if float(text) == 0 else text


def _intervals(summaries: Sequence[Summary | None], decimals: int | None) -> tuple[str, ...]:
    ends = [[_figure(value, decimals) for value in _each(summaries, end)] for end in ("low", "high")]
    widths = [max(map(len, texts)) for texts in ends]
    return tuple(f"{low:>{widths[0]}} to {high:>{widths[1]}}" if low and high else "" for low, high in zip(*ends, strict=True))


def _each(summaries: Sequence[Summary | None], part: str) -> list[float | None]:
    return [None if summary is None else getattr(summary, part) for summary in summaries]
