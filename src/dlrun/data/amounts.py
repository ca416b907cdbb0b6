"""Numbers as people write them: with a mark for decimals, and digits in groups."""

import re
from collections.abc import Sequence
from functools import cache

GROUPINGS = (",", ".", " ", "'")  # what may stand between groups of three digits

_SPELLED = {" ": "[ \u00a0\u2009\u202f]", "'": "['\u2019]"}
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_INFINITE = re.compile(r"([+-]?)inf(?:inity)?", re.ASCII | re.IGNORECASE)


def number(text: str, decimal: str = ".", thousands: str = "") -> float | None:
    """The number that a text is; None when it is none. ``1_000`` and ``0x10`` are none, ``inf`` is one.

    ``1,000`` is one where ``thousands`` is a comma, and so is ``1000``.
    """
    if thousands and (found := _grouped(thousands, decimal).fullmatch(text)):
        text = text.replace(found[1], "")
    if decimal != ".":
        text = "x" if "." in text else text.replace(decimal, ".", 1)
    if _NUMBER.fullmatch(text):
        return float(text)
    infinite = _INFINITE.fullmatch(text)
    return float(f"{infinite[1]}inf") if infinite else None


@cache
def _grouped(thousands: str, decimal: str) -> re.Pattern[str]:
    """Numbers whose digits are in groups of three; group 1 stands between these, group 2 is the decimals."""
    mark = _SPELLED.get(thousands, re.escape(thousands))
    return re.compile(rf"[+-]?[1-9]\d{{0,2}}({mark})\d{{3}}(?:\1\d{{3}})*({re.escape(decimal)}\d*)?", re.ASCII)


@cache
def _divided(thousands: str, decimal: str) -> re.Pattern[str]:
    """Digits with the character between some of them, in groups of any size."""
    mark = _SPELLED.get(thousands, re.escape(thousands))
    return re.compile(rf"[+-]?\d+(?:{mark}\d+)+(?:{re.escape(decimal)}\d*)?", re.ASCII)


def grouping(texts: Sequence[str], decimal: str, among: Sequence[str], *, whole: bool = True, sure: bool = False) -> str:
    """What groups the digits of numbers, as in 1,204,000; an empty text if nothing does, or if it may be something else.

    Every text with the character between digits must have groups of three, none of which begins with 0. A comma or point that
    stands once, in numbers without decimals among others with decimals, may be a decimal mark that was mistyped.

    Args:
        texts: cells of one column.
        decimal: what stands before the decimals of a number.
        among: the characters in question.
        whole: whether the numbers of the column's other cells are whole.
        sure: whether the user says that digits are grouped so.
    """
    for mark in among:
        grouped, divided = _grouped(mark, decimal), _divided(mark, decimal)
        found = [(text, grouped.fullmatch(text)) for text in texts if divided.fullmatch(text)]
        if not found or not all(match for _, match in found):
            continue
        once = mark in ",." and all(match and not match[2] and text.count(mark) == 1 for text, match in found)
        if sure or not once or (whole and not any(decimal in text and number(text, decimal) is not None for text in texts)):
            return mark
    return ""
