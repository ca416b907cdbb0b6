"""Cells of new rows as the categories of training: a text letter by letter, a number as the category that has its value."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dlrun.data.table.values.amounts import exactly
from dlrun.data.table.values.cells import Cells, Kind, Texts, is_missing, listed, merged, shown, text_of
from dlrun.data.table.values.typed import counted, mark_numbers, parser, written

if TYPE_CHECKING:
    from dlrun.data.table.encoding import ColumnCode, Encoding

_KNOWN_SHARE = 0.1  # of the cells; with fewer, categories are spelled otherwise than in the file


def matched(column: "ColumnCode", kind: Kind, cells: Cells, values: Any, encoding: "Encoding") -> tuple[Texts, list[str]]:
    """The cells of a categorical column as its categories are spelled, and what to say of them.

    Args:
        kind, cells: what the values are, from ``typed``.
        values: as they were given.
    """
    if kind == "numeric":
        texts, message = _numbered(column, values, encoding)
    else:
        texts, message = _spelled(column, kind, cells, encoding)
    return texts, message or _strangers(column, texts)


def _spelled(column: "ColumnCode", kind: Kind, cells: Cells, encoding: "Encoding") -> tuple[Texts, list[str]]:
    """The cells of a categorical column as its categories are spelled, and what to say of them.

    A text is a category letter by letter: 1, 01 and 1.0 are three. True means True or yes, and a date the text of that date. A
    missing value means NA or the like where the table had no empty cell: pandas reads such texts as missing.
    """
    absent = missing_category(column)
    if isinstance(cells, Texts):
        distinct = ["" if text in encoding.missing else text for text in cells.distinct]
        return merged(cells.codes, [text or absent for text in distinct]), _misspelled(column, distinct)
    meant = _meanings(column.categories, kind, parser(kind, encoding.decimal, day_first=column.day_first))
    if kind == "boolean" and not meant:  # the categories are 0 and 1
        meant = _meanings(column.categories, kind, parser("numeric", encoding.decimal, day_first=column.day_first))
    values, codes = np.unique(np.where(np.isin(cells, mark_numbers(encoding.missing)), np.nan, cells), return_inverse=True)
    return merged(codes, [meant.get(value, written(kind, value)) or absent for value in values.tolist()]), []


def _numbered(column: "ColumnCode", values: Any, encoding: "Encoding") -> tuple[Texts, list[str]]:
    """The numbers of a categorical column as its categories are spelled, and what to say of them.

    Who reads a table with pandas has 7 where the file had 007: a number means the only category of that value, and a warning says
    so where it is spelled otherwise than a number is.
    """
    meant: dict[float, list[str]] = {}
    for category in column.categories:
        if (value := exactly(category.replace(encoding.decimal, "."))) is not None:
            meant.setdefault(value, []).append(category)
    marks, absent = mark_numbers(encoding.missing), missing_category(column)
    codes, numbers = counted(values)
    texts, renamed = [], {}
    for item in numbers:
        text = "" if item is None or item in marks else text_of(item)
        alike = meant.get(item, []) if item is not None and text else []
        if alike and text not in alike:
            if alike != [repr(float(item))]:  # 1.0 for 1, as pandas writes whole numbers of which some are missing
                renamed[text] = " or ".join(alike)
            text = alike[0] if len(alike) == 1 else text
        texts.append(text or absent)
    message = [f"{number} for {category}" for number, category in renamed.items()]
    warned = f"column {shown(column.name)}: numbers stand for codes of the training, {listed(message, 3)}"
    unsure = " (which has no effect, since it may be either)" if any(" or " in codes_of for codes_of in renamed.values()) else ""
    return merged(codes, texts), [f"{warned}{unsure}; give the column as texts, to be sure"] if message else []


def missing_category(column: "ColumnCode") -> str:
    """The category of a missing value: NA or the like where the table had it, and no empty cell."""
    named = [category for category in column.categories if category and is_missing(category)]
    return named[0] if len(named) == 1 and "" not in column.categories else ""


def _misspelled(column: "ColumnCode", texts: Sequence[str]) -> list[str]:
    """What to say of texts that are the numbers of categories, and other texts."""
    known = {value: category for category in column.categories if (value := exactly(category)) is not None}
    found = {text: known[value] for text in texts if text not in column.categories and (value := exactly(text)) in known}
    if not found:
        return []
    text, category = next(iter(found.items()))
    return [
        f"column {shown(column.name)}: {listed(list(found), 3)}: none of the categories of the training, and without effect; "
        f"spell them as there, {shown(category)} instead of {shown(text)}"
    ]


def _meanings(categories: Sequence[str], kind: Kind, parse: Any) -> dict[float, str]:
    """The category that a number, truth value or date means: the only one, or the one of several that is spelled plainly."""
    found: dict[float, list[str]] = {}
    for category in categories:
        if (value := parse(category)) is not None:
            found.setdefault(value, []).append(category)
    plain = {value: written(kind, value) for value in found}
    return {
        value: plain[value] if plain[value] in spelled else spelled[0]
        for value, spelled in found.items()
        if len(spelled) == 1 or plain[value] in spelled
    }


def _strangers(column: "ColumnCode", texts: Texts) -> list[str]:
    """What to say of a column in which hardly a row has a known category; nothing where it has a single new one."""
    counts = np.bincount(texts.codes, minlength=len(texts.distinct)).tolist()
    present = {text: count for text, count in zip(texts.distinct, counts, strict=True) if text and count}
    new = {text: count for text, count in present.items() if text not in column.categories}
    rows, without = sum(present.values()), sum(new.values())
    if len(new) < 2 or rows - without > _KNOWN_SHARE * rows:
        return []
    known = [category for category in column.categories if category]
    return [
        f"column {shown(column.name)}: {without:,} of {rows:,} values are none of the categories of the training, "
        f"{listed(known, 3)}, and have no effect: {listed(list(new), 3)}; spell them as there"
    ]
