"""The comparison table as a person reads it: columns of text, the ones that may be left out marked, and what they mean."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite

from dlrun.comparison.factors import shown
from dlrun.comparison.figures import decimals, figures
from dlrun.comparison.groups import Compared
from dlrun.comparison.measures import not_defined
from dlrun.comparison.pairing import common, defined
from dlrun.comparison.power import LEAST, MANY, POWER
from dlrun.comparison.statistics import BY_CHANCE, Paired, Verdict
from dlrun.comparison.summary import Summary
from dlrun.comparison.table import is_fixed
from dlrun.report.tables import clean
from dlrun.results.record import MEASURED

NEW_ROWS = "on new rows"
ENOUGH = 20  # runs that show most of what runs do
DETAIL = 100  # the rank from which on a column is for those who look closely: the terminal has it where there is room


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
        Column(clean(name), tuple(clean(shown(item.group.factors[name])) for item in compared), right=False)
        for name in compared[0].group.factors
    ]
    found.append(Column("n", tuple(str(summary.n if summary else 0) for summary in main)))
    lost = tuple(not_counted(item, metric) for item in compared)
    if any(lost):
        found.append(Column("not counted", lost, 1, right=False))
    places = _places(main)
    found.append(Column(metric.removeprefix(subset), figures(_each(main, "mean"), places), strong=True))
    if any(summary and summary.n > 1 for summary in main):
        found.append(Column("sd", figures(_each(main, "sd"), places), 2))
        found.append(Column("95% CI", _intervals(main, places), 1))
        for rank, (name, part) in enumerate((("median", "median"), ("min", "minimum"), ("max", "maximum")), DETAIL):
            values = _each(main, part)
            finer = [max(place, decimals(value)) for place, value in zip(places, values, strict=True)]
            found.append(Column(name, figures(values, finer), rank))
    for place, name in enumerate(name for name in metrics if name != metric):
        others = [item.group.summaries.get(name) for item in compared]
        found.append(Column(name.removeprefix(subset), figures(_each(others, "mean"), _places(others)), 4 + place))
    if len(compared) > 1:
        jams = tuple("" if item.stuck is None else item.stuck.short() for item in compared)
        if any(jams):
            found.append(Column("stuck", jams, 1, right=False))
        first, *shorter = _steps([said(item) for item in compared])
        found.append(Column("verdict", first, right=False, shorter=tuple(shorter), shorten=3))
        if _two_statements(compared):
            first, *shorter = _steps([said_on_new_rows(item) for item in compared])
            shorter.append(tuple(cell.replace("not enough evidence", "not enough").partition(" by ")[0] for cell in shorter[-1]))
            found.append(Column(NEW_ROWS, first, 3, right=False, shorter=tuple(shorter), shorten=3))
    return found


def _two_statements(compared: Sequence[Compared]) -> bool:
    """Whether what is said of new rows is another statement than that of these rows."""
    return any(
        item.on_new_rows is not None
        and item.difference is not None
        and item.on_new_rows.difference.ratio != item.difference.ratio
        for item in compared
    )


def _steps(verdicts: Sequence[tuple[str, str]]) -> list[tuple[str, ...]]:
    """The cells of verdicts and their asides, then with shorter asides, then without."""
    return [
        tuple(f"{word} ({kept})" if (kept := keep(aside)) else word for word, aside in verdicts)
        for keep in (str, _mark, lambda aside: "")
    ]


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
        return "best of yours" if item.reference == "best" else "the reference", item.lost.said() if item.lost else ""
    if item.verdict is None or item.difference is None:
        return "no result", ""
    return _briefly(item.verdict, item.difference)


def said_on_new_rows(item: Compared) -> tuple[str, str]:
    """The verdict on new rows, likewise; empty for the reference and where there is none."""
    found = item.on_new_rows
    return ("", "") if found is None else _briefly(found.verdict, found.difference)


def _briefly(verdict: Verdict, difference: Paired) -> tuple[str, str]:
    word, _, why = verdict.text.partition(": ")
    if verdict.word != "not enough evidence":
        word, _, why = word.partition("; ")
        return word, why
    if verdict.lost:
        return word, verdict.lost
    kind = difference.unit
    if 0 < difference.n < LEAST:
        return word, f"run {LEAST} {kind}s"
    if verdict.more is None:
        return word, why.partition(", ")[0]
    if verdict.more > MANY:
        return word, f"more than {MANY:,} {kind}s"
    return word, f"+{verdict.more} {kind}{'s' * (verdict.more != 1)}"


def _mark(aside: str) -> str:
    """``+18`` of ``+18 seeds``, and nothing of an aside in words."""
    return aside.partition(" ")[0] if aside.startswith("+") else ""


def legend(compared: Sequence[Compared], shown: Sequence[Column]) -> list[str]:
    """What the verdicts that are ``shown`` rest on, in a line or two; nothing where there are none."""
    if all(item.difference is None or item.difference.t_p is None for item in compared):
        return _conditions(compared)
    unit = next(item.difference.unit for item in compared if item.difference)
    named = next((clean(item.group.label) for item in compared if item.reference == "named"), "")
    line = f"each against {named or 'the best of yours'}, {unit} by {unit}: paired t-test, 5% level"
    line += (
        ", corrected for the samples that folds share"
        if any(item.difference and item.difference.ratio for item in compared)
        else ""
    )
    families = [[item for item in compared if item.method and item.group.is_baseline == beside] for beside in (False, True)]
    corrections = [
        f"{'- and '.join(dict.fromkeys(item.method for item in mine))}-corrected for {mine[0].tests:,} comparisons"
        for mine in families
        if mine
    ]
    line += f", {corrections[0]}" if corrections else ""
    line += ": any group might have been the best" if corrections and not named else ""
    line += f"; baselines {corrections[1]}" if len(corrections) > 1 else ""
    names = {column.name: column.cells for column in shown}
    about = _about(compared, NEW_ROWS in names)
    if any("(+" in cell for name in ("verdict", NEW_ROWS) for cell in names.get(name, ())):
        kind = "folds, of further seeds," if unit == "fold" else "seeds"
        about.append(
            f"+N: about so many more {kind} would probably settle it, at {POWER:.0%} power; dlrun settle adds and tests them"
        )
    about += _unseen(compared)
    chosen = max(item.chosen for item in compared)
    if chosen > 1 and "95% CI" in names:
        about.append(
            f"the best is the best of {chosen:,} by these values: its interval allows for that, its mean is likely too good"
        )
    return [line, *about, *_conditions(compared)]


def _about(compared: Sequence[Compared], shown: bool) -> list[str]:
    """What the verdicts are about: these rows, and rows that are still to come."""
    fixed = any(is_fixed(item.group.rows, "test") for item in compared)
    splits = "folds that move forward in time" if fixed else "random splits"
    if _two_statements(compared):
        here = [f"verdict: about these rows, over {splits} and initial weights"]
        beyond = f"{NEW_ROWS}: what to expect of further rows from the same source, allowing for the rows that splits share"
        return [*here, beyond] if shown else here
    if any(item.on_new_rows for item in compared):
        return [f"verdicts are about these rows and about further rows from the same source, over {splits} and initial weights"]
    if fixed:
        return [
            "verdicts are about training on this split: its test rows are the same for all seeds, which change initial weights "
            "and the order of batches, and so they tell nothing of other rows"
        ]
    return ["verdicts are about this data, over random splits and initial weights"]


def _unseen(compared: Sequence[Compared]) -> list[str]:
    """What few seeds cannot show, where a verdict rests on them: what a run does with probability q is missed with (1 - q)^n."""
    decided = [
        item.difference for item in compared if item.difference and item.verdict and item.verdict.word in ("better", "worse")
    ]
    n = min((difference.n for difference in decided), default=MANY)
    if n >= ENOUGH:
        return []
    rare = 1 - 0.05 ** (1 / n)
    return [f"{n} {decided[0].unit}s may all miss what fewer than {rare:.0%} of runs do, such as getting stuck"]


def _conditions(compared: Sequence[Compared]) -> list[str]:
    """What keeps groups from being compared as they stand, in a line each."""
    lines = []
    if any(item.lost or (item.verdict and item.verdict.lost) for item in compared):
        lines.append(
            "groups that lost runs of which others have a value stand below and are not called better: what is left of them is "
            "no fair sample"
        )
    if any(item.stuck for item in compared):
        lines.append("stuck runs are far worse than the others of their row: its mean is that of two kinds of runs")
    keys = [item.group.keys for item in compared if item.group.summaries and not item.group.is_baseline]
    if len(set(keys)) > 1:
        number = len(common(keys))
        lines.append(
            f"groups have different seeds: those with the {number} that most share are ranked by them, the others stand below"
            if number
            else "groups have no seeds in common: the order compares different seeds; run the same seeds for each"
        )
    if any(item.verdict and item.verdict.text.endswith(BY_CHANCE) for item in compared):
        lines.append(f"equal in all pairs, {BY_CHANCE}")
    return lines


def not_counted(item: Compared, metric: str) -> str:
    """How many runs of the group have no value of the metric, and why: ``2 diverged, 1 failed, 3 undefined``."""
    lost = {status: count for status, count in item.group.statuses.items() if status not in MEASURED}
    values = item.group.values(metric)
    undefined = len(values) - len(defined(values)) - sum(lost.values())
    return ", ".join(f"{count} {clean(status)}" for status, count in {**lost, "undefined": undefined}.items() if count > 0)


def undefined(compared: Sequence[Compared], metrics: Sequence[str]) -> list[str]:
    """Which of the metrics are not defined in some runs, in a line each: how many, why, and what to type instead of the first."""
    groups = [item.group for item in compared if not item.group.is_baseline]
    runs = [row for group in groups for row in group.rows if row.status in MEASURED and row.metrics]
    lines = []
    for name in metrics:
        without = [row for row in runs if (value := row.metrics.get(name)) is None or not isfinite(value)]
        if without:
            have = set.intersection(*({other for other, value in row.metrics.items() if value is not None} for row in without))
            lines.append(not_defined(name, len(without), len(runs), have if name == metrics[0] else ()))
    return lines


def _intervals(summaries: Sequence[Summary | None], places: Sequence[int]) -> tuple[str, ...]:
    lows, highs = (figures(_each(summaries, end), places) for end in ("low", "high"))
    widths = [max(map(len, texts)) for texts in (lows, highs)]
    return tuple(
        f"{low:>{widths[0]}} to {high:>{widths[1]}}" if low and high else "" for low, high in zip(lows, highs, strict=True)
    )


def _places(summaries: Sequence[Summary | None]) -> list[int]:
    return [0 if summary is None else decimals(summary.mean, summary.sd) for summary in summaries]


def _each(summaries: Sequence[Summary | None], part: str) -> list[float | None]:
    return [None if summary is None else getattr(summary, part) for summary in summaries]
