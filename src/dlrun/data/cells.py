"""What the cells of a table mean: numbers, truth values, dates or texts.

A column is worked on by its distinct texts, each read once. An empty text is a missing value in every column; spellings such as
NA are missing among numbers, truth values and dates, and an ordinary text in a column of texts, where NA may be a label.

    1, 2.5, 17, unknown                mostly numbers, and so numeric: the word is told as a mistake
    2024-01-31, 2024-02-01, soon       mostly dates, likewise
    A1, 17, B3, 18, C5                 texts: codes, of which some happen to be digits

Shapes: n rows, u distinct texts.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dlrun.data.amounts import grouping, number

Floats = NDArray[np.float64]
Kind = Literal["numeric", "boolean", "date", "categorical"]
Marks = frozenset[str]

MISSING: Marks = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "-", "--", "?", "."})
SPELLINGS = tuple(sorted({*MISSING, *map(str.upper, MISSING), *map(str.capitalize, MISSING), "NaN"}))


_TRUTH = ({"false": 0.0, "true": 1.0}, {"no": 0.0, "yes": 1.0}, {"f": 0.0, "t": 1.0}, {"n": 0.0, "y": 1.0})
_CLOCK = r"(?:[T ]\s*(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d*)?))?\s*(?:Z|UTC|([+-]\d{2}):?(\d{2})?)?)?"
_YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})" + _CLOCK, re.ASCII)
_YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4})" + _CLOCK, re.ASCII)
_EPOCH = date(1970, 1, 1).toordinal()
_LARGEST_WHOLE = 2.0**53  # beyond it a float no longer stands for one whole number
_MILLISECONDS = 86_400_000  # of a day
_PER_WORD = 10  # different numbers for each different text among them; where there are fewer, all of them may be codes


@dataclass(frozen=True, eq=False)
class Texts:
    """Cells as texts, stripped: row i holds ``distinct[codes[i]]``."""

    codes: NDArray[np.int64]  # [n]
    distinct: list[str]  # u of them

    def __len__(self) -> int:
        return len(self.codes)


Cells = Floats | Texts


def is_missing(text: str, marks: Marks = frozenset()) -> bool:
    """Whether a text among numbers, truth values or dates stands for a missing value."""
    return text in marks or text.casefold() in MISSING


def read(texts: Texts, parse: Callable[[str], float | None], marks: Marks) -> tuple[Floats, NDArray[np.bool_]]:
    """Every cell as a number, NaN where it is missing or odd, and a mask of the odd ones, which ``parse`` cannot read: [n]."""
    values = np.full(len(texts.distinct), np.nan)
    odd = np.zeros(len(texts.distinct), dtype=np.bool_)
    for place, text in enumerate(texts.distinct):
        value = None if text in marks else parse(text)  # other spellings of a mark that is a number are the caller's
        if value is not None:
            values[place] = value
        else:
            odd[place] = not is_missing(text, marks)
    return values[texts.codes], odd[texts.codes]


def truth(text: str) -> float | None:
    """1 or 0 for true/false, yes/no, t/f, y/n in any case; None for another text."""
    return next((pair[text.casefold()] for pair in _TRUTH if text.casefold() in pair), None)


def is_date(text: str) -> bool:
    """Whether a text has the form of a date, with or without a time."""
    return _YEAR_FIRST.fullmatch(text) is not None or _YEAR_LAST.fullmatch(text) is not None


def day(text: str, day_first: bool) -> float | None:
    """Days since 1970-01-01, UTC, with the time of day as a fraction; None for what is no date.

    Dates begin with the year (2024-01-31, with - / or .) or end with it; ``day_first`` then says which of the others is the day.
    """
    found = _YEAR_FIRST.fullmatch(text)
    if found:
        year, month, of_month = int(found[1]), int(found[3]), int(found[4])
    else:
        found = _YEAR_LAST.fullmatch(text)
        if not found:
            return None
        year, month, of_month = int(found[4]), *(int(found[k]) for k in ((3, 1) if day_first else (1, 3)))
    hour, minute, second, zone, zone_minute = found.groups()[-5:]
    clock = int(hour or 0) * 3600 + int(minute or 0) * 60 + float(second or 0)
    offset = int(zone or 0) * 3600 + (-1 if (zone or "").startswith("-") else 1) * int(zone_minute or 0) * 60
    try:
        return date(year, month, of_month).toordinal() - _EPOCH + (clock - offset) / 86400 if clock < 86401 else None
    except ValueError:
        return None


def days_first(texts: Sequence[str]) -> bool | None:
    """Whether dates that end with the year begin with the day, as their values tell; None when they can be read either way."""
    found = [match for text in texts if (match := _YEAR_LAST.fullmatch(text))]
    if any(int(match[1]) > 12 for match in found):
        return True
    if any(int(match[3]) > 12 for match in found):
        return False
    return True if all(match[2] == "." for match in found) else None  # 3.4.2024 is written where the day stands first


DATE_PARTS = ("days", "month", "weekday", "hour")


def date_parts(days: Floats) -> Floats:
    """Days since 1970-01-01 [n] -> days, month 1-12, weekday 0-6 from Monday, hour 0-24: [n, 4], NaN where missing.

    The hour is that of whole milliseconds: what days leave behind the point is exact to a few microseconds, so that the same
    time of two days would differ.
    """
    whole = np.floor(days)
    months = np.where(np.isnan(whole), 0, whole).astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12 + 1
    missing = np.where(np.isnan(days), np.nan, 0.0)
    hours = np.round((days - whole) * _MILLISECONDS) * 24 / _MILLISECONDS
    return np.stack((days, months + missing, (whole + 3) % 7, hours), axis=1)


def kind_of(texts: Texts, decimal: str, marks: Marks, thousands: str = "") -> Kind | None:
    """What most of the cells are: numeric or date if ``mostly`` says so, boolean if all of those present are, else text.

    None when no cell is present.
    """
    counts = np.bincount(texts.codes, minlength=len(texts.distinct))
    present = {text: int(count) for text, count in zip(texts.distinct, counts, strict=True) if not is_missing(text, marks)}
    if not present:
        return None
    if mostly(present, lambda text: number(text, decimal, thousands) is not None):
        return "numeric"
    words = {text.casefold() for text in present}
    if any(words <= pair.keys() for pair in _TRUTH):
        return "boolean"
    return "date" if mostly(present, is_date) else "categorical"


def mostly(counts: Mapping[str, int], fits: Callable[[str], bool]) -> bool:
    """Whether half of the cells fit, or far more different ones than there are others: a word in most cells may mean missing.

    Args:
        counts: how often each text occurs.
        fits: whether a text is of the kind in question.
    """
    fitting = [count for text, count in counts.items() if fits(text)]
    return 2 * sum(fitting) >= sum(counts.values()) or outnumber(len(fitting), len(counts) - len(fitting))


def outnumber(fitting: int, others: int) -> bool:
    """Whether so many different numbers or dates make the different texts among them words for what is missing, or mistakes."""
    return fitting >= _PER_WORD * others


def recognized(texts: Texts, decimal: str, marks: Marks, among: Sequence[str], *, sure: bool) -> tuple[Kind | None, str]:
    """What most of the cells are, and what groups the digits of numbers that would be texts otherwise (see ``grouping``)."""
    kind = kind_of(texts, decimal, marks)
    if kind == "categorical":
        thousands = grouping(texts.distinct, decimal, among, sure=sure)
        if thousands and kind_of(texts, decimal, marks, thousands) == "numeric":
            return "numeric", thousands
    return kind, ""


def text_of(value: object) -> str:
    """A typed value as the text that a CSV file would hold: 3 for 3.0, an empty text for None and NaN."""
    if value is None or value != value:
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer() and abs(float(value)) < _LARGEST_WHOLE:
        return str(int(value))
    return str(value).strip()


def texts_of(values: Sequence[object] | NDArray[Any]) -> Texts:
    """Values of any type as texts."""
    places: dict[tuple[type, object], int] = {}
    plain = values.tolist() if isinstance(values, np.ndarray) else values
    codes = [places.setdefault((type(value), value if value == value else None), len(places)) for value in plain]
    return merged(np.array(codes, dtype=np.int64), [text_of(value) for _, value in places])


def merged(codes: NDArray[np.int64], texts: Sequence[str]) -> Texts:
    """Texts with the blanks around them removed, equal ones made one."""
    places: dict[str, int] = {}
    table = np.array([places.setdefault(text.strip(), len(places)) for text in texts], dtype=np.int64)
    return Texts(table[codes], list(places))


def shown(text: object, longest: int = 40) -> str:
    """Foreign text for a message: control characters spelled out, cut to ``longest`` characters."""
    plain = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))
    return plain if len(plain) <= longest else f"{plain[: longest - 3]}..."


def listed(names: Sequence[str], most: int = 8) -> str:
    """Names for a message: the first ones, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(shown(name) for name in names[:most]) + more
