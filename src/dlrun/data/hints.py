"""Columns of texts that may be something else, and what to type then."""

import re
from collections.abc import Sequence

from dlrun.data.advice import setting
from dlrun.data.amounts import GROUPINGS, grouping, number
from dlrun.data.cells import Marks, is_missing

_SIGN = r"(?:[%‰$€£¥₩₹₽]|USD|EUR|GBP|CHF|JPY)"
_AMOUNT = re.compile(rf"[+-]?\s?({_SIGN})?\s?[+-]?(?:[0-9][0-9.,'’\s]*|\.[0-9]+)({_SIGN})?")


def as_amounts(texts: Sequence[str], decimal: str, marks: Marks) -> tuple[str, str] | None:
    """A text of a column that holds amounts for the most part, and how they become numbers; None for other columns."""
    present = [text for text in texts if not is_missing(text, marks)]
    found = [(text, match) for text in present if (match := _AMOUNT.fullmatch(text)) and number(text, decimal) is None]
    plain = sum(number(text, decimal) is not None for text in present)
    if not found or 2 * (len(found) + plain) < len(present):
        return None
    signs = [(text, match[1] or match[2]) for text, match in found if match[1] or match[2]]
    if signs:
        text, sign = signs[0]
        return text, f"take out the {sign!r} to have numbers"
    other = "," if decimal == "." else "."
    for mark in GROUPINGS:
        if grouping([text for text, _ in found], other if mark == decimal else decimal, (mark,), sure=True):
            return found[0][0], f"type {setting('thousands', mark)} if that groups the digits"
    commas = sum(number(text, other, decimal) is not None for text, _ in found)
    if 2 * commas >= len(found):
        return found[0][0], f"type {setting('decimal', other)} if that is the decimal mark"
    return None
