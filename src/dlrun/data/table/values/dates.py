"""Dates and times of day as people write them.

    2024-01-31, 2024/1/31, 31.1.2024, 1/31/2024, each with a time behind it (14:05, 3:04 PM, 06:00:00+02:00) or without
    31 Jan 2024, January 31, 2024, 31-Jan-24, Sat Jan 31 14:05:00 2024, Jan 2024          names of months in English
    1/31/16                                   two digits for the year, 1969 to 2068, where the values leave one way to read them
    14:05, 14:05:30.5, 3:04 PM                times of day

Whether the day or the month stands first in 3/4/2024 the values tell, or the user. Times with a zone are turned into UTC.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import date
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DATE_PARTS = ("days", "month", "weekday", "hour")

_TIME = r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2}(?:\.\d*)?))?\s*(?P<half>[AaPp]\.?[Mm]\.?)?"
_HOUR = re.compile(rf"{_TIME}|(?P<whole>\d{{1,2}})\s?(?P<noon>[AaPp]\.?[Mm]\.?)", re.ASCII)
_CLOCK = rf"(?:(?:T|,?\s+){_TIME}\s*(?:Z|UTC|GMT|(?P<zone>[+-]\d{{2}}):?(?P<zone_minute>\d{{2}})?)?)?"
_MONTHS: tuple[str, ...] = ("january", "february", "march", "april", "may", "june")
_MONTHS += ("july", "august", "september", "october", "november", "december")
_NUMBERS = {name[:size]: place for place, name in enumerate(_MONTHS, 1) for size in (3, len(name))} | {"sept": 9}
_MONTH = "(?P<name>" + "|".join(sorted(_NUMBERS, key=len, reverse=True)) + r")\.?"
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+)?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>\d{4}|(?<=[-/ ])\d{2})"

_YEAR_FIRST = re.compile(r"(?P<year>\d{4})([-/.])(?P<month>\d{1,2})\2(?P<day>\d{1,2})" + _CLOCK, re.ASCII)
_YEAR_LAST = re.compile(r"(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second_of>\d{1,2})(?P=mark)(?P<year>\d{4})" + _CLOCK, re.ASCII)
_SHORT = re.compile(r"(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second_of>\d{1,2})(?P=mark)(?P<year>\d{2})" + _CLOCK, re.ASCII)
_NAMED = tuple(
    re.compile(form, re.ASCII | re.IGNORECASE)
    for form in (
        rf"{_WEEKDAY}{_DAY}[-/. ]\s*(?:of\s+)?{_MONTH},?[-/ ]\s*{_YEAR}{_CLOCK}",
        rf"{_WEEKDAY}{_MONTH}[-/ ]\s*{_DAY},?[-/ ]\s*(?P<year>\d{{4}}){_CLOCK}",
        rf"{_WEEKDAY}{_MONTH}\s+{_DAY}\s+{_TIME}\s+(?:(?:UTC|GMT|Z)\s+)?(?P<year>\d{{4}})",
        rf"{_MONTH},?[-/ ]\s*(?P<year>\d{{4}})",
        rf"(?P<year>\d{{4}})[-/ ]\s*{_MONTH}[-/ ]\s*{_DAY}{_CLOCK}",
    )
)
_EPOCH = date(1970, 1, 1).toordinal()
_MILLISECONDS = 86_400_000  # of a day
_PIVOT = 69  # two digits from here on are years of the last century, as in POSIX


def is_date(text: str) -> bool:
    """Whether a text has the form of a date that says which part is the year."""
    return _match(text, short=False) is not None


def is_short(text: str) -> bool:
    """Whether a text has the form of a date in digits whose year has two, such as 1/31/16."""
    return _SHORT.fullmatch(text) is not None


def is_time(text: str) -> bool:
    """Whether a text is a time of day."""
    return hour(text) is not None


@lru_cache(maxsize=1 << 16)  # the pieces of a file have the same days
def day(text: str, day_first: bool) -> float | None:
    """Days since 1970-01-01, UTC, with the time of day as a fraction; None for what is no date.

    Args:
        day_first: which of the two numbers before the year is the day, where a date ends with the year.
    """
    found = _match(text, short=True)
    if found is None:
        return None
    parts = found.groupdict()
    year = int(parts["year"])
    if len(parts["year"]) == 2:
        year += 1900 if year >= _PIVOT else 2000
    if "first" in parts:
        first, second = int(parts["first"]), int(parts["second_of"])
        month, of_month = (second, first) if day_first else (first, second)
    else:
        month = int(parts["month"]) if "month" in parts else _NUMBERS[parts["name"].lower()]
        of_month = int(parts.get("day") or 1)
    clock = _seconds(parts)
    zone = parts.get("zone") or ""
    offset = int(zone or 0) * 3600 + (-1 if zone.startswith("-") else 1) * int(parts.get("zone_minute") or 0) * 60
    try:
        whole = date(year, month, of_month).toordinal() - _EPOCH
    except ValueError:
        return None
    return None if clock is None else whole + (clock - offset) / 86400


def hour(text: str) -> float | None:
    """The hours since midnight that a time of day says, in [0, 24); None for what is none."""
    found = _HOUR.fullmatch(text)
    if found is None:
        return None
    parts = found.groupdict()
    if parts["whole"]:
        parts |= {"hour": parts["whole"], "half": parts["noon"]}
    clock = _seconds(parts)
    return None if clock is None or clock >= 86400 else clock / 3600


def _seconds(parts: dict[str, str | None]) -> float | None:
    """Seconds since midnight; None for an hour, minute or second that no clock shows. 23:59:60 is a leap second."""
    hours, minutes, seconds = int(parts.get("hour") or 0), int(parts.get("minute") or 0), float(parts.get("second") or 0)
    if half := parts.get("half"):
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + (12 if half[0] in "pP" else 0)
    return hours * 3600 + minutes * 60 + seconds if hours <= 24 and minutes < 60 and seconds < 61 else None


def _match(text: str, *, short: bool) -> re.Match[str] | None:
    if found := _YEAR_FIRST.fullmatch(text):
        return found
    forms: Sequence[re.Pattern[str]] = (_YEAR_LAST, *([_SHORT] if short else []))
    if any(map(str.isalpha, text)):
        forms = (*forms, *_NAMED)
    return next((found for form in forms if (found := form.fullmatch(text))), None)


def days_first(texts: Sequence[str]) -> bool | None:
    """Whether dates that end with the year begin with the day, as their values tell; None when they can be read either way."""
    found = list(_numbered(texts))
    if any(first > 12 for first, _, _ in found):
        return True
    if any(second > 12 for _, second, _ in found):
        return False
    return True if all(mark == "." for _, _, mark in found) else None  # 3.4.2024 is written where the day stands first


def _numbered(texts: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    for text in texts:
        if match := _YEAR_LAST.fullmatch(text) or _SHORT.fullmatch(text):
            yield int(match["first"]), int(match["second_of"]), match["mark"]


def short_years(texts: Sequence[str], day_first: bool | None) -> bool | None:
    """Whether the day stands first in dates whose years have two digits; None where they may be read in several ways.

    With ``-`` between them the year may stand first too, and 1.2.16 may be a version: dates are those with two digits each.

    Args:
        texts: cells of one column; those that are no such dates have no say.
        day_first: what the user says.
    """
    found = [match for text in texts if (match := _SHORT.fullmatch(text))]
    if day_first is not None or not found:
        return day_first
    parts = [(match["first"], match["second_of"], match["year"], match["mark"]) for match in found]
    if all(mark == "." for *_, mark in parts):
        padded = all(len(first) == len(second) == 2 for first, second, _, _ in parts)
        return True if padded and all(1 <= int(first) <= 31 and 1 <= int(second) <= 12 for first, second, _, _ in parts) else None
    ways = {
        "day": all(int(first) <= 31 and int(second) <= 12 for first, second, _, _ in parts),
        "month": all(int(first) <= 12 and int(second) <= 31 for first, second, _, _ in parts),
        "year": all(len(first) == 2 and int(second) <= 12 and int(last) <= 31 for first, second, last, _ in parts),
    }
    if all(mark == "/" for *_, mark in parts) and (ways["day"] or ways["month"]):
        ways["year"] = False
    possible = [way for way, fits in ways.items() if fits]
    return possible == ["day"] if len(possible) == 1 and possible != ["year"] else None


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
