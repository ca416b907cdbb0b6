"""Columns of texts that may be something else, and what to type then."""

from collections.abc import Sequence

from dlrun.data.table.advice import setting
from dlrun.data.table.values.amounts import GROUPINGS, grouping, matched, number, sign_of
from dlrun.data.table.values.cells import Marks, is_missing
from dlrun.data.table.values.dates import is_short

Hint = tuple[str, str]  # one of the texts, and what to do


def as_dates(texts: Sequence[str], marks: Marks) -> Hint | None:
    """A text of a column that may hold dates for the most part, and how they become dates; None for other columns."""
    present = [text for text in texts if not is_missing(text, marks)]
    found = [text for text in present if is_short(text)]
    if not found or 2 * len(found) < len(present):
        return None
    return found[0], (
        "for dates that end with the year, type dataset.day_first=true if the day stands first, and false if the month does"
    )


def as_amounts(texts: Sequence[str], decimal: str, marks: Marks) -> Hint | None:
    """A text of a column that holds amounts for the most part, and how they become numbers; None for other columns."""
    present = [text for text in texts if not is_missing(text, marks)]
    found = [(text, match) for text in present if (match := matched(text)) and number(text, decimal) is None]
    plain = sum(number(text, decimal) is not None for text in present)
    if not found or 2 * (len(found) + plain) < len(present):
        return None
    signs = [*dict.fromkeys(sign for _, match in found if (sign := sign_of(match)))]
    if len(signs) > 1:
        return found[0][0], f"write all of them with one sign instead of {', '.join(map(repr, signs))}, to have numbers"
    other = "," if decimal == "." else "."
    digits = [match["digits"].strip() for _, match in found]
    for mark in GROUPINGS:
        if grouping(digits, other if mark == decimal else decimal, (mark,), sure=True):
            message = f"type {setting('thousands', mark)} if that groups the digits"
            return found[0][0], message + (
                f", or {setting('decimal', mark)} if it is the decimal mark" if signs and mark == decimal else ""
            )
    if signs:
        return found[0][0], f"write {signs[0]!r} in all of them or in none, to have numbers"
    commas = sum(number(text, other, decimal) is not None for text, _ in found)
    if 2 * commas >= len(found):
        return found[0][0], f"type {setting('decimal', other)} if that is the decimal mark"
    return None
