"""From a table that was read to Data: which columns are features, how they are encoded, and what to tell the user.

Columns that cannot help are left out, and it is said: those with a single value, and those that name the row. A column
that the user asks for by name is kept.

Shapes: N rows, D features, W columns of the builder's matrix.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dlrun.data.dataset import Data
from dlrun.data.table.advice import meant, naming
from dlrun.data.table.aside import GROUP, LABELS, NOTHING, TIME, WEIGHT, Aside, described, groups_of
from dlrun.data.table.builder import DOUBLE, TableBuilder, check_memory
from dlrun.data.table.columns import MOST_CATEGORIES, Column
from dlrun.data.table.encoding import ColumnCode, Encoding
from dlrun.data.table.hints import as_amounts, as_dates
from dlrun.data.table.notes import hinted, left_out, named, notes_of
from dlrun.data.table.positive import with_positive
from dlrun.data.table.target import target_of
from dlrun.data.table.values.cells import Texts, kind_of, listed, merged, shown, text_of, texts_of
from dlrun.data.table.values.dates import DATE_PARTS
from dlrun.data.table.values.typed import counted, typed
from dlrun.errors import DataError

if TYPE_CHECKING:
    from pandas import DataFrame

_NAMES_ROWS = re.compile(
    r"(?i:(.*[\W_])?(id|uuid|guid))|.*[a-z0-9](ID|Id|U[Uu][Ii][Dd]|G[Uu][Ii][Dd])"  # customer_id, customerId, but not paid
    r"|(?i:index|idx|row|row[\W_]*names?|unnamed: \d.*|level_\d+)"  # as pandas and R call it
    r"|(?i:(nr|no)\.?|#|(row|record|serial|sr|sl|s)[\W_]*(nr\.?|no\.?|num|number|#))"
)
_PIECE = 1 << 16  # rows moved at a time within the matrix


def chosen(
    file: str,
    names: Sequence[str],
    targets: Sequence[str],
    columns: Sequence[str] | None,
    drop: Sequence[str],
    categorical: Sequence[str],
    aside: Aside = NOTHING,
) -> list[str]:
    """The names of the features, in the table's order; columns that are named ``aside`` are none.

    Raises:
        DataError: the target is missing, or a name is none of the table's.
    """
    has = f"{file} has {listed(names, 20)}"
    if not targets:
        null = f"; for the column null, type {naming('target', 'null')}" if "null" in names else ""
        raise DataError(f"dataset.target: which column is to be predicted? type dataset.target=NAME; {has}{null}")
    unknown = [target for target in targets if target not in names]
    if unknown:
        raise DataError(
            *(f"dataset.target={shown(target)}: no such column; {has}{meant('target', target, names)}" for target in unknown)
        )
    if len(set(targets)) < len(targets):
        raise DataError(f"dataset.target=[{','.join(map(shown, targets))}]: names a column twice")
    problems = []
    for key, given in (("columns", columns or ()), ("drop", drop), ("categorical", categorical)):
        problems += [
            f"dataset.{key}: {shown(name)}: no such column; {has}{meant(key, name, names)}" for name in given if name not in names
        ]
        if key != "categorical":
            problems += [
                f"dataset.{key}: {shown(target)} is the target, and can be neither a feature nor left out"
                for target in targets
                if target in given
            ]
    problems += aside.problems(has, names, targets, columns)
    if problems:
        raise DataError(*problems)
    left = {*targets, *drop, *(name for _, name in aside)}
    taken = [name for name in names if name not in left and (columns is None or name in columns)]
    if not taken:
        raise DataError(f"{file}: there are no features beside the {named(targets)}; the table has {listed(names, 20)}")
    return taken


def to_data(
    builder: TableBuilder,
    task: str | None,
    *,
    unnamed: Sequence[str] = (),
    categorical: Sequence[str] = (),
    marks: Sequence[str] = (),
    remarks: Sequence[str] = (),
    unread: Mapping[str, str] | None = None,
    positive: str | int | float | None = None,
    aside: Aside = NOTHING,
    tested: str = "",
) -> Data:
    """The finished dataset. The builder's matrix becomes its features, without a copy where all columns are numbers.

    Args:
        builder: the table, settled.
        task: as the user says; None to infer it.
        unnamed: columns whose name is missing in the file.
        categorical: columns that the user says are texts.
        marks: texts that mean a missing value, beside the usual ones.
        remarks: what else to say of the file.
        unread: columns that were not read, and why.
        positive: the name of the class that is number 1; None for the second in alphabetical order.
        aside: the columns that are neither features nor targets.
        tested: the file whose rows are for testing; empty where there is none.

    Raises:
        DataError: there are no rows or no features, or the target allows no task.
    """
    file, rows, targets = builder.file, builder.rows, tuple(target.name for target in builder.targets)
    if not rows:
        values = "a value" if len(targets) == 1 else "all values"
        empty = f"no row has {values} of the {named(targets)}" if builder.untargeted else "it has names and no rows"
        raise DataError(f"{file}: {empty}")
    learnt_rows = builder.learnt()
    if not np.any(learnt_rows if isinstance(learnt_rows, np.ndarray) else True):
        raise DataError(f"{file}: all of its {rows:,} rows are for testing; mark some as train in dataset.split_column")
    hints = _hints(builder, categorical)
    learnt = target_of(file, builder.targets, rows, task, hints)
    reasons = dict(unread or {})
    reasons |= {
        column.name: reason for column in builder.columns if (reason := _useless(column, builder, column.name in unnamed))
    }
    kept = [column for column in builder.columns if column.name not in reasons]
    if not kept:
        message = f"{file}: there are no features beside the {named(targets)}; left out: {left_out(reasons)}"
        raise DataError("; ".join((message, *hinted(hints))))
    encoding = Encoding(tuple(_code(column, builder) for column in kept), builder.decimal, tuple(marks))
    x = _matrix(builder, kept, encoding)
    data = Data(
        name=file,
        x=x,
        y=learnt.y,
        task=learnt.task.name,
        outputs=learnt.outputs,
        features=encoding.features,
        targets=targets,
        classes=learnt.classes,
        encoding=encoding,
    )
    data = replace(data, **_design(builder))  # type: ignore[arg-type]
    data = with_positive(data, positive)
    if learnt.task.two_classes:
        remarks = [*remarks, f"positive class {shown(data.classes[1])}"]
    remarks = [*remarks, *described(data, aside, tested)]
    return replace(data, notes=notes_of(builder, kept, encoding, reasons, learnt.note, remarks, hints))


def _design(builder: TableBuilder) -> dict[str, NDArray[Any]]:
    """How rows are split and how much they count, as Data takes it."""
    rows = builder.rows
    found: dict[str, NDArray[Any]] = {}
    if builder.subset is not None:
        found["subset"] = builder.subset[:rows]
    for column in builder.beside:
        if column.role == GROUP:
            assert column.labels is not None
            found["groups"] = groups_of(column.labels[:rows])
        elif column.numbers is not None:
            found[{TIME: "time", WEIGHT: "weights"}[column.role]] = column.numbers[:rows]
    return found


def of_frame(
    name: str,
    table: "DataFrame",
    *,
    targets: Sequence[str],
    columns: Sequence[str] | None = None,
    drop: Sequence[str] = (),
    categorical: Sequence[str] = (),
    missing: Sequence[str] = (),
    task: str | None = None,
    positive: str | int | float | None = None,
    remarks: Sequence[str] = (),
    aside: Aside = NOTHING,
) -> Data:
    """A table in memory as a dataset. What its columns are, their types say; numbers in ``categorical`` are taken as texts.

    Raises:
        DataError: a column has a type that cannot be used, or is not there; the target allows no task.
    """
    table = table.rename(columns=str)
    roles = {column: key for key, column in aside}
    used = [*chosen(name, list(table.columns), targets, columns, drop, categorical, aside), *roles, *targets]
    problems, cells, forms = [], {}, []
    for key in used:
        try:
            kind, values = typed(table[key])
        except DataError as error:
            problems += [
                f"column {shown(key)}: {message}; leave it out with {naming('drop', key, several=True)}"
                for message in error.problems
            ]
            continue
        named_texts = key in categorical or roles.get(key) in LABELS
        if named_texts and kind == "numeric":
            codes, numbers = counted(table[key])
            kind, values = "categorical", merged(codes, [text_of(value) for value in numbers])
        elif named_texts and not isinstance(values, Texts):
            kind, values = "categorical", texts_of(values)
        elif key not in targets and isinstance(values, Texts) and kind_of(values, ".", frozenset(missing)) == "boolean":
            kind = "boolean"
        cells[key] = values
        wanted = columns is not None or key in categorical
        forms.append(Column(key, kind, wanted, day_first=True, role=roles.get(key, "")))
    if problems:
        raise DataError(*problems)
    features, beside = [form for form in forms[: -len(targets)] if not form.role], [form for form in forms if form.role]
    builder = TableBuilder(name, features, forms[-len(targets) :], len(table), missing, beside=beside)
    builder.add(cells, range(1, len(table) + 1))
    builder.settle()
    return to_data(builder, task, categorical=categorical, marks=missing, remarks=remarks, positive=positive, aside=aside)


def _hints(builder: TableBuilder, categorical: Sequence[str]) -> dict[str, tuple[str, str]]:
    """For each column of texts that may be numbers: one of these, and what to do. Those that the user calls texts are."""
    found = {}
    for column in (*builder.columns, *builder.targets):
        if column.kind == "categorical" and column.name not in categorical:
            hint = as_amounts(list(column.texts), builder.decimal, builder.marks)
            if hint:
                found[column.name] = hint if builder.groups else (hint[0], "store them as numbers")
            elif builder.groups and (hint := as_dates(list(column.texts), builder.marks)):
                found[column.name] = hint
    return found


def _useless(column: Column, builder: TableBuilder, unnamed: bool) -> str:
    """Why a column cannot help; an empty string when it may."""
    learnt = builder.learnt()
    if not column.present:
        return "no values"
    if column.kind == "categorical":
        return _useless_texts(column, builder)
    if (column.low == column.high).all():
        return "a single value"
    if column.kind != "numeric" or column.wanted or not column.whole:
        return ""
    if unnamed or _NAMES_ROWS.fullmatch(column.name):
        numbers = builder.matrix[: builder.rows, column.place][learnt]
        if column.present == len(numbers) == len(np.unique(numbers)):
            return "a number of its own for every row"
    return ""


def _useless_texts(column: Column, builder: TableBuilder) -> str:
    distinct = [text for text in column.texts if text]
    kind = kind_of(Texts(np.arange(len(distinct)), distinct), builder.decimal, builder.marks)
    mostly = {"numeric": ", most of them numbers", "date": ", most of them dates"}.get(kind or "", "")
    if column.codes is None:
        if column.wanted:
            raise DataError(
                f"column {shown(column.name)}: has more than {MOST_CATEGORIES:,} different texts, too many for a feature each; "
                f"leave it out with {naming('drop', column.name, several=True)}"
            )
        return f"more than {MOST_CATEGORIES:,} different texts{mostly}"
    counts = np.bincount(column.codes[: builder.rows][builder.learnt()], minlength=len(column.texts))
    categories = int((counts > 0).sum())
    if categories == 1:
        return "a single value"
    texts = categories - ("" in column.texts and bool(counts[column.texts[""]]))
    if column.wanted or texts < 2:
        return ""
    if texts == column.present:
        return f"a text of its own for every row{mostly}"
    return f"{texts:,} different texts, hardly one twice{mostly}" if texts > 20 and 2 * texts > column.present else ""


def _code(column: Column, builder: TableBuilder) -> ColumnCode:
    if column.kind == "categorical":
        assert column.codes is not None
        counts = np.bincount(column.codes[: builder.rows][builder.learnt()], minlength=len(column.texts))
        return ColumnCode(
            name=column.name, kind="categorical", categories=tuple(sorted(t for t, code in column.texts.items() if counts[code]))
        )
    if column.kind == "date":
        parts = tuple(part for part, low, high in zip(DATE_PARTS, column.low, column.high, strict=True) if low < high)
        return ColumnCode(
            name=column.name, kind="date", parts=parts, day_first=column.day_first is not False, offset=column.offset
        )
    if column.kind != "numeric":
        return ColumnCode(name=column.name, kind=column.kind or "numeric", offset=column.offset)
    form = column.form
    return ColumnCode(
        name=column.name,
        kind="numeric",
        thousands=form.thousands or ("" if form.amounts else builder.thousands),
        decimal=form.decimal,
        amounts=form.amounts,
        sign=form.sign,
        offset=column.offset,
    )


def _matrix(builder: TableBuilder, kept: Sequence[Column], encoding: Encoding) -> NDArray[Any]:
    """The features [N, D]."""
    rows, width = builder.rows, sum(len(code.features) for code in encoding.columns)
    places = [
        column.place + (DATE_PARTS.index(part) if part else 0)
        for column, code in zip(kept, encoding.columns, strict=True)
        if column.kind != "categorical"
        for part in (code.parts or ("",))
    ]
    if len(places) == width:
        return _narrowed(builder.matrix, rows, places)
    dtype = np.float32 if rows * width > DOUBLE else np.float64
    check_memory(builder.file, rows, width, np.dtype(dtype).itemsize)
    x = np.zeros((rows, width), dtype=dtype)
    start = used = 0
    for column, code in zip(kept, encoding.columns, strict=True):
        size = len(code.features)
        if column.kind == "categorical":
            assert column.codes is not None
            place = {category: number for number, category in enumerate(code.categories)}
            # the last place is that of texts which only rows for testing have
            table = np.array([*(place.get(text, -1) for text in column.texts), -1], dtype=np.int64)
            here = table[column.codes[:rows]]
            known = np.flatnonzero(here >= 0)
            x[known, start + here[known]] = 1
            column.codes = None
        else:
            x[:, start : start + size] = builder.matrix[:rows, places[used : used + size]]
            used += size
        start += size
    return x


def _narrowed(matrix: NDArray[Any], rows: int, places: Sequence[int]) -> NDArray[Any]:
    """Some columns of the matrix, moved together within its own memory."""
    if list(places) == list(range(matrix.shape[1])):
        return matrix[:rows]
    flat, width = matrix.reshape(-1), len(places)
    for start in range(0, rows, _PIECE):
        stop = min(start + _PIECE, rows)
        flat[start * width : stop * width] = matrix[start:stop][:, places].reshape(-1)
    return flat[: rows * width].reshape(rows, width)
