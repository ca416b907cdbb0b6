"""What a user is told of a table: its columns, how they were read, and what to type where that may be wrong."""

from collections.abc import Mapping, Sequence

import numpy as np

from dlrun.data.table.advice import naming
from dlrun.data.table.builder import TableBuilder
from dlrun.data.table.columns import Column
from dlrun.data.table.encoding import Encoding
from dlrun.data.table.hints import Hint
from dlrun.data.table.values.cells import Kind, is_missing, listed, shown

_EXACT = 2.0**53  # beyond it a float no longer stands for one whole number
_WORDS: Mapping[Kind, str] = {
    "numeric": "numeric",
    "boolean": "true or false",
    "categorical": "categorical",
    "date": "date",
    "time": "time of day",
}


def named(targets: Sequence[str]) -> str:
    """The targets in words."""
    return f"target{'s' * (len(targets) > 1)} {listed(targets)}"


def notes_of(
    builder: TableBuilder,
    kept: Sequence[Column],
    encoding: Encoding,
    reasons: Mapping[str, str],
    learnt: str,
    remarks: Sequence[str],
    hints: Mapping[str, Hint],
) -> tuple[str, ...]:
    """What was found out about a table, a line each.

    Args:
        builder: the table.
        kept: its columns that are features.
        encoding: how they become features.
        reasons: of columns that are left out, why.
        learnt: what is said of the target.
        remarks: what else to say of the file.
        hints: of columns of texts that may be something else, one of these and what to do.
    """
    targets = [target.name for target in builder.targets]
    kinds = []
    for kind, word in _WORDS.items():
        some = [code for code in encoding.columns if code.kind == kind]
        sizes = [f"{code.name}: {sum(map(bool, code.categories))}{' and missing' * ('' in code.categories)}" for code in some]
        if some:
            kinds.append(f"{len(some):,} {word}" + (f" ({listed(sizes, 6)})" if kind == "categorical" else ""))
    judged = builder.learnt()
    count = builder.rows if isinstance(judged, slice) else int(judged.sum())
    missing = sum(count - column.present for column in kept)
    kinds += [f"{missing:,} missing"] if missing else []
    notes = [f"dataset {builder.file}: {builder.rows:,} rows, {named(targets)}: {learnt}; {', '.join(kinds)}"]
    if reasons:
        notes.append(f"dataset {builder.file}: left out: {left_out(reasons)}")
    notes += [f"dataset {builder.file}: {message}" for message in hinted(hints)]
    more = list(remarks)
    more += _written([*kept, *builder.targets])
    more += _coded([*kept, *builder.targets], builder.rows)
    more += _labels_like_missing([*kept, *builder.targets])
    if builder.untargeted:
        rows = (
            "1 row without a value of {} is"
            if builder.untargeted == 1
            else f"{builder.untargeted:,} rows without a value of {{}} are"
        )
        more.append(f"{rows.format(listed(targets).replace(', ', ' or '))} left out")
    if more:
        notes.append(f"dataset {builder.file}: {', '.join(more)}")
    return tuple(notes)


def _coded(columns: Sequence[Column], rows: int) -> list[str]:
    """Columns of numbers that may be names, each with what it shows, and what to type then."""
    found: dict[str, list[str]] = {}
    for column in columns:
        if column.kind != "numeric":
            continue
        largest = np.abs(column.high + column.offset).max(initial=0) if column.numbers is None else _largest(column, rows)
        if column.whole and largest > _EXACT:
            found.setdefault("whole numbers beyond 2^53 are rounded in", []).append(column.name)
        elif column.code:
            found.setdefault(f"codes such as {shown(column.code)} are read as numbers in", []).append(column.name)
        elif column.alike:
            found.setdefault(f"{' and '.join(column.alike)} are one number in", []).append(column.name)
    return [
        f"{message} {listed(names)} (if they are names, type {naming('categorical', *names, several=True)})"
        for message, names in found.items()
    ]


def _largest(target: Column, rows: int) -> float:
    assert target.numbers is not None
    return float(np.abs(target.numbers[:rows]).max(initial=0))


def _labels_like_missing(columns: Sequence[Column]) -> list[str]:
    """Columns of texts with a category such as NA, and what to type if that means a missing value. None is a label too often."""
    found: dict[str, list[str]] = {}
    for column in columns:
        if column.kind == "categorical":
            for text in column.texts:
                if text and is_missing(text) and text.casefold() != "none":
                    found.setdefault(text, []).append(column.name)
    message = [(repr(shown(text)), listed(names), naming("missing", text, several=True)) for text, names in found.items()]
    return [f"{text} is a category of {names} (if it means a missing value, type {remedy})" for text, names, remedy in message]


def _written(columns: Sequence[Column]) -> list[str]:
    """How numbers and dates are written that need not be read so, each way with its columns."""
    found: dict[str, list[str]] = {}
    for column in columns:
        form = column.form
        words = [f"thousands separator {form.thousands!r}"] * bool(form.thousands)
        words += [f"decimal mark {form.decimal!r}"] * bool(form.decimal)
        words += [f"sign {form.sign!r}"] * bool(form.sign)
        words += ["negative numbers in parentheses"] * (form.amounts and not form.sign)
        if column.short_years:
            words.append(f"{'day' if column.day_first else 'month'} first and years of two digits from 1969 on")
        if words:
            found.setdefault(" and ".join(words), []).append(column.name)
    return [f"{words} in {listed(names)}" for words, names in found.items()]


def hinted(hints: Mapping[str, tuple[str, str]]) -> list[str]:
    """Hints in words, one for each remedy."""
    by_remedy: dict[str, dict[str, str]] = {}
    for name, (text, remedy) in hints.items():
        by_remedy.setdefault(remedy, {})[name] = text
    return [
        f"{listed(list(holding))} taken as texts, such as {shown(next(iter(holding.values())))!r}: {remedy}"
        for remedy, holding in by_remedy.items()
    ]


def left_out(reasons: Mapping[str, str]) -> str:
    """Columns that are left out, with the reason of each."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(name)
    return "; ".join(f"{listed(names)} ({reason})" for reason, names in by_reason.items())
