"""A table while it is read: numbers go straight into one matrix, texts become codes, and each column gathers what it is.

A column begins as what its first rows show. When later rows show otherwise (a text among numbers), the reader is told to begin
again with what is known now; a file is rarely read more than once, and numbers are never held twice.

Shapes: n rows of a piece, N rows in all, W columns of the matrix.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.data.dataset import TEST, TRAIN
from dlrun.data.table import aside
from dlrun.data.table.advice import marking, naming
from dlrun.data.table.columns import MOST_CATEGORIES, Column
from dlrun.data.table.hints import as_amounts
from dlrun.data.table.values.amounts import PLAIN, Form, form_of
from dlrun.data.table.values.cells import Cells, Floats, Marks, Texts, outnumber, read, recognized, shown, texts_of
from dlrun.data.table.values.dates import date_parts, days_first, is_short
from dlrun.data.table.values.typed import WANTS, mark_numbers, parser
from dlrun.errors import DataError

DOUBLE = 1 << 22  # numbers up to which a table is kept in float64; larger ones are in float32, which training uses anyway
ODD_SHARE = 0.1  # of the cells; fewer of another kind are taken for mistakes, more only among many different numbers or dates
_MOST_MARKS = 5  # different texts that may all mean a missing value
_UNKNOWN = -1  # the code of a text that only rows for testing have
_CANCELS = 1e3  # a level so many times the spread takes too many of float32's digits


class TableBuilder:
    """The columns of a table, filled piece by piece.

    Args:
        file: what the table is called in messages.
        columns: the features; targets: the columns to be predicted; beside: those that say how rows are split and count.
        most_rows: at least as many as there will be. What is not used of it is never touched, and costs no memory.
        marks: texts that mean a missing value, beside the usual ones.
        decimal: what stands before the decimals of a number.
        groups: what may group the digits of a number; nothing in tables whose columns have types.
        thousands: the one of these that the user names.
        decimals: whether the user names the mark for decimals.

    Attributes:
        subset: of each row [N], where a column says so or another file is for testing. What a column is follows from the rows
            that are not for testing.
        testing: whether the rows that are added are all for testing, whatever the table says.
    """

    def __init__(
        self,
        file: str,
        columns: Sequence[Column],
        targets: Sequence[Column],
        most_rows: int,
        marks: Sequence[str] = (),
        decimal: str = ".",
        groups: Sequence[str] = (),
        thousands: str = "",
        *,
        decimals: bool = False,
        beside: Sequence[Column] = (),
    ) -> None:
        self.file, self.columns, self.targets, self.beside = file, list(columns), list(targets), list(beside)
        self.marks: Marks = frozenset(marks)
        self.mark_numbers = mark_numbers(marks)
        self.decimal, self.groups, self.thousands, self.decimals = decimal, tuple(groups), thousands, decimals
        self.rows = self.untargeted = 0
        self.again = False
        width = 0
        for column in self.columns:
            if column.kind == "categorical":
                column.codes = np.empty(most_rows, dtype=np.int32)
            else:
                column.place = width
                column.low, column.high = np.full(column.width, np.nan), np.full(column.width, np.nan)
                width += column.width
        single = most_rows * width > DOUBLE
        check_memory(file, most_rows, width, 4 if single else 8)
        self.matrix: NDArray[Any] = np.empty((most_rows, width), dtype=np.float32 if single else np.float64)
        for target in self.targets:
            if target.kind == "categorical":
                target.codes = np.empty(most_rows, dtype=np.int32)
            else:
                target.numbers = np.empty(most_rows)
        self.subset: NDArray[np.int8] | None = None
        self.testing = False
        for column in self.beside:
            if column.role == aside.GROUP:
                column.labels = np.empty(most_rows, dtype=np.int64)
            elif column.role == aside.SPLIT:
                self.subset = np.full(most_rows, TRAIN, dtype=np.int8)
            else:
                column.numbers = np.empty(most_rows)

    def learnt(self) -> NDArray[np.bool_] | slice:
        """The rows that are not for testing."""
        return slice(0, self.rows) if self.subset is None else self.subset[: self.rows] != TEST

    def test_from(self, file: str) -> None:
        """Take all rows that follow, of a file of this name, for testing: every column is what it is by now."""
        self.file, self.testing = file, True
        self.subset = np.full(len(self.matrix), TRAIN, dtype=np.int8)

    def add(self, cells: Mapping[str, Cells], lines: Sequence[int]) -> None:
        """The next rows: the cells of each column by name, and the line on which each row begins.

        Rows without all of the targets are left out.
        """
        present = self._add_targets(cells, lines)
        keep = None if present.all() else np.flatnonzero(present)
        rows = len(present) if keep is None else len(keep)
        here = slice(self.rows, self.rows + rows)
        learnt = self._add_beside(cells, lines, present, here)
        for column in self.columns:
            mine = cells[column.name]
            if column.kind is None and self.testing:  # no row that is not for testing has a value
                self.matrix[here, column.place : column.place + column.width] = np.nan
                continue
            if column.kind is None and isinstance(mine, Texts):
                self._recognize(column, mine)
            if column.kind != "categorical":
                values = self._numbers(column, mine, lines, learnt)
                kept = learnt if keep is None else learnt[keep]
                values = values if keep is None else values[keep]
                column.present += int(np.count_nonzero(~np.isnan(values[kept])))
                values = self._parts(column, values, kept)
                if column.place >= 0 and not self.again:
                    self.matrix[here, column.place : column.place + column.width] = values
            elif column.codes is not None:
                codes = self._codes(column, _as_texts(mine))
                kept = learnt if keep is None else learnt[keep]
                codes = codes if keep is None else codes[keep]
                column.present += int(np.count_nonzero(codes[kept] != column.texts.get("", -1)))
                column.codes[here] = codes
                if len(column.texts) > MOST_CATEGORIES + 1:
                    column.codes = None
        self.rows += rows
        self.untargeted += len(present) - rows

    def _add_beside(
        self, cells: Mapping[str, Cells], lines: Sequence[int], present: NDArray[np.bool_], here: slice
    ) -> NDArray[np.bool_]:
        """Store what is neither feature nor target, of the rows that are kept; which rows are not for testing: [n].

        Raises:
            DataError: a row has no value, or one that means nothing.
        """
        learnt = np.full(len(present), not self.testing)
        if self.testing and self.subset is not None:
            self.subset[here] = TEST
        for column in self.beside:
            mine = cells[column.name]
            message = f"{shown(column.name)} is empty, and each row needs a value, as dataset.{column.role} names the column"
            if column.role in aside.LABELS:
                texts = _as_texts(mine)
                empty = np.array([not text or text in self.marks for text in texts.distinct])[texts.codes]
                if column.role == aside.GROUP:
                    assert column.labels is not None
                    column.labels[here] = aside.coded(texts)[present]
                else:
                    assert self.subset is not None
                    subsets, empty, message = aside.subsets(column.name, texts)
                    self.subset[here], learnt = subsets[present], subsets != TEST
            else:
                if column.kind is None and isinstance(mine, Texts):
                    self._recognize(column, mine)
                aside.refuse_kind(self.file, column.role, column.name, column.kind)
                values = self._numbers(column, mine, lines, learnt)
                assert column.numbers is not None
                column.numbers[here] = values[present]
                column.present += int(np.count_nonzero(~np.isnan(values)))
                empty = np.isnan(values) & (column.odd == 0)
                if column.role == aside.WEIGHT and bool((values < 0).any()):
                    empty, message = values < 0, f"{shown(column.name)} is negative, and a weight is 0 or more"
            if (empty & present).any():
                line = lines[int((empty & present).argmax())]
                raise DataError(f"{self.file} line {line:,}: {message}; correct it, or leave the row out")
        return learnt

    def _add_targets(self, cells: Mapping[str, Cells], lines: Sequence[int]) -> NDArray[np.bool_]:
        """Store the targets of the rows that have all of them; which rows these are: [n]."""
        present: NDArray[np.bool_] = np.ones(len(lines), dtype=np.bool_)
        found: list[NDArray[Any]] = []
        for target in self.targets:
            mine = cells[target.name]
            if target.kind is None and isinstance(mine, Texts):
                self._recognize(target, mine)
            if target.kind == "categorical":
                found.append(self._codes(target, _as_texts(mine)))
                present &= found[-1] != target.texts.get("", -1)
            else:
                found.append(self._numbers(target, mine, lines, np.full(len(lines), True)))
                present &= ~np.isnan(found[-1])
        rows = int(np.count_nonzero(present))
        for target, values in zip(self.targets, found, strict=True):
            target.present += rows
            store = target.codes if target.kind == "categorical" else target.numbers
            if store is not None:
                store[self.rows : self.rows + rows] = values[present]
        return present

    def _recognize(self, column: Column, cells: Texts) -> None:
        """Say what a column is that had nothing but missing values so far."""
        before = column.width
        column.kind, column.form = recognized(
            cells,
            self.decimal,
            self.marks,
            self.groups,
            thousands=bool(self.thousands),
            decimals=self.decimals,
            day_first=column.day_first,
            learnt=column in self.targets,
        )
        self.again = self.again or column.width != before

    def _numbers(self, column: Column, cells: Cells, lines: Sequence[int], learnt: NDArray[np.bool_]) -> Floats:
        """The cells of a column that is not categorical, as numbers [n], NaN where missing; what is wrong with them is noted.

        ``learnt`` says which rows show what the column is.
        """
        values = self._read(column, cells, lines) if isinstance(cells, Texts) else cells
        if self.mark_numbers.size:
            values = np.where(np.isin(values, self.mark_numbers), np.nan, values)
        large = np.abs(values) > np.finfo(self.matrix.dtype if column.numbers is None else np.float64).max
        if large.any():
            column.infinite = column.infinite or lines[int(large.argmax())]
            values = np.where(large, np.nan, values)
        if column.whole:
            column.whole = bool((np.isnan(values) | (values == np.floor(values)) | ~learnt).all())
        return values

    def _read(self, column: Column, cells: Texts, lines: Sequence[int]) -> Floats:
        kind = column.kind or "numeric"
        column.spelled(cells.distinct)
        if kind == "date" and not column.short_years:
            column.short_years = any(map(is_short, cells.distinct))
        if kind == "date" and column.day_first is None:
            column.day_first = days_first(cells.distinct)
            self.again = self.again or (column.day_first is False and column.present > 0)  # those before were read the other way
        if column in self.targets and kind == "boolean":
            column.texts |= dict.fromkeys(cells.distinct, 0)  # the user's own words for true and false
        day_first = column.day_first is not False
        values, odd = read(cells, parser(kind, self.decimal, day_first=day_first, form=column.form), self.marks)
        if odd.any() and kind == "numeric" and (form := self._form(column, cells)):
            # the numbers before had no sign and no groups, and are what they were taken for
            column.form = form
            values, odd = read(cells, parser(kind, self.decimal, day_first=day_first, form=form), self.marks)
        if odd.any():
            place = int(odd.argmax())
            column.first_odd = column.first_odd if column.odd else (lines[place], cells.distinct[cells.codes[place]])
            column.odd += int(odd.sum())
            if len(column.odd_texts) <= MOST_CATEGORIES:
                column.odd_texts |= dict.fromkeys(cells.distinct[code] for code in np.unique(cells.codes[odd]))
        return values

    def _form(self, column: Column, cells: Texts) -> Form | None:
        """Another way to write the numbers of a column, as more of its cells show; None where they show none."""
        message = {"thousands": bool(self.thousands), "decimals": self.decimals}
        found = form_of(cells.distinct, self.decimal, self.groups, whole=column.whole, **message) if self.groups else None
        if found is None or column.form == PLAIN:
            return found
        fits = found.sign == column.form.sign and not column.form.thousands and column.form.decimal in ("", found.decimal)
        return found if fits and found != column.form else None

    def _parts(self, column: Column, values: Floats, learnt: NDArray[np.bool_]) -> Floats:
        """The columns of the matrix that the numbers of a column take: [n] -> [n, width]; ``learnt`` as in ``_numbers``."""
        if not len(values) or np.isnan(values).all():
            return np.full((len(values), column.width), np.nan)
        telling = values[learnt]
        if np.isnan(column.high).all() and self.matrix.dtype == np.float32 and not np.isnan(telling).all():
            low, high = np.fmin.reduce(telling), np.fmax.reduce(telling)
            column.offset = float(low) if abs(low) > _CANCELS * (high - low) > 0 else 0.0
            if column.offset and column.place >= 0:  # of rows for testing that came before
                self.matrix[: self.rows, column.place] -= column.offset
        parts = date_parts(values) if column.kind == "date" else values[:, None]
        if column.offset:
            parts = parts - np.array([column.offset, *[0.0] * (column.width - 1)])
        if learnt.any():
            column.low = np.fmin(column.low, np.fmin.reduce(parts[learnt], axis=0))
            column.high = np.fmax(column.high, np.fmax.reduce(parts[learnt], axis=0))
        return parts

    def _codes(self, column: Column, cells: Texts) -> NDArray[np.int32]:
        distinct = ["" if text in self.marks else text for text in cells.distinct]
        if self.testing and column not in self.targets:
            table = np.array([column.texts.get(text, _UNKNOWN) for text in distinct], dtype=np.int32)
        else:
            table = np.array([column.texts.setdefault(text, len(column.texts)) for text in distinct], dtype=np.int32)
        codes: NDArray[np.int32] = table[cells.codes]
        return codes

    def settle(self) -> list[Column] | None:
        """When all rows are in: None if every column is what it was taken for, or else the columns to begin again with.

        Raises:
            DataError: cells that are mistakes; one line for each column.
        """
        problems = []
        filled = not self.again  # otherwise the matrix lacks rows, and the next reading tells
        for column in (*self.columns, *self.targets, *self.beside):
            if column.odd and (filled or column.numbers is not None or column.kind == "boolean"):
                if not self._are_mistakes(column):
                    column.kind, self.again = "categorical", True
                    continue
                problems.append(self._mistake(column))
            if column.infinite:
                problems.append(
                    f"{self.file} line {column.infinite:,}: {shown(column.name)} is infinite or too large; "
                    "correct it, or leave the cell empty"
                )
        if problems:
            raise DataError(*problems)
        for column in (*self.columns, *self.targets, *self.beside):
            if column.kind == "date" and column.day_first is None and not column.odd:
                raise DataError(
                    f"{self.file}: the dates of {shown(column.name)} can be read with the day or the month first; "
                    "type dataset.day_first=true or false"
                )
        return [column.afresh() for column in (*self.columns, *self.targets, *self.beside)] if self.again else None

    def _are_mistakes(self, column: Column) -> bool:
        """Whether the cells of another kind are mistakes or words for what is missing, and not texts like all the others."""
        if column.role or self.testing:
            return True
        if column.kind == "boolean":
            return False
        if column.odd <= ODD_SHARE * (column.odd + column.present) or (column in self.targets and column.kind == "numeric"):
            return True
        values = self.matrix[: self.rows, column.place] if column.numbers is None else column.numbers[: self.rows]
        different = len(np.unique(values[~np.isnan(values)]))
        return len(column.odd_texts) <= MOST_CATEGORIES and outnumber(different, len(column.odd_texts))

    def _mistake(self, column: Column) -> str:
        line, text = column.first_odd
        fraction = column.odd / (column.odd + column.present)
        of_all = f", {fraction:.0%} of all" if fraction > ODD_SHARE else ""
        more = f" (and {column.odd - 1:,} more such cells{of_all})" if column.odd > 1 else ""
        message = f"{self.file} line {line:,}: {shown(column.name)} holds {shown(text)!r}{more}, and the others are"
        remedies = ["correct it", "leave the cell empty"]
        hinted = column.kind == "numeric" and self.groups and not column.form.thousands
        if hinted and (amount := as_amounts((text,), self.decimal, self.marks)):
            remedies.append(amount[1])
        else:
            words = column.odd > len(column.odd_texts) or not any(map(str.isdigit, "".join(column.odd_texts)))  # no slips
            if words and len(column.odd_texts) <= _MOST_MARKS and (marks := marking([*sorted(self.marks), *column.odd_texts])):
                remedies.append(f"type {marks} if that means a missing value")
            if column not in self.targets and not column.role and not self.testing:
                remedies.append(f"type {naming('categorical', column.name, several=True)} to take all of them as texts")
        return f"{message} {WANTS[column.kind or 'numeric']}; {', '.join(remedies[:-1])}, or {remedies[-1]}"


def _as_texts(cells: Cells) -> Texts:
    return cells if isinstance(cells, Texts) else texts_of(cells)


def check_memory(file: str, rows: int, width: int, size: int) -> None:
    """Raise DataError when a table of numbers would take more than half of this machine's memory."""
    needed = rows * width * size
    if hasattr(os, "sysconf") and needed > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2:
        raise DataError(
            f"{file}: {rows:,} rows of {width:,} numbers take {needed / 2**30:,.1f} GB, more than half of this machine's memory; "
            "take fewer columns with dataset.columns=[...], or fewer rows"
        )
