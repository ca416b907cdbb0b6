"""Numbers as people write them: with a mark for decimals, digits in groups, a currency or a percent sign.

1,204,000.5      digits in groups of three
$65,806.58       a currency in front, behind (1.234,50 €, 99 kr) or as a code (USD 5)
(1,234.50), 5-   negative amounts of accounts
12%              the number 12
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

GROUPINGS = (",", ".", " ", "'")  # what may stand between groups of three digits

_SPELLED = {" ": "[ \u00a0\u2009\u202f]", "'": "['\u2019]"}
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_CODE = re.compile(r"0\d+|\d+[eE]\d+|\+\d{7,}|\d{16,400}", re.ASCII)
_INFINITE = re.compile(r"([+-]?)inf(?:inity)?", re.ASCII | re.IGNORECASE)
_CODES = (
    "AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KRW|MXN|MYR|NOK|NZD|PHP|PLN|RMB|RON|RUB|SEK|SGD|THB|TRY|TWD|UAH|"
    "USD|VND|ZAR"
)
_WORDS = ("US$", "C$", "CA$", "A$", "AU$", "NZ$", "HK$", "S$", "R$", "Rs.", "Rs", "kr.", "kr", "zł", "Kč", "Ft", "Fr.", "лв.")
_SIGN = "|".join([*map(re.escape, _WORDS), _CODES, "[%‰$€£¥₩₹₽₺₫₴₦₱฿₪₡₲₵₸₼₾]"])
_AMOUNT = re.compile(
    rf"(?P<open>\()?(?P<plus>[+\-\u2212])?\s?(?P<before>{_SIGN})?\s?(?P<minus>[+\-\u2212])?"
    rf"(?P<digits>\d[\d.,'\u2019 \u00a0\u2009\u202f]*?|[.,]\d+)\s?(?P<after>{_SIGN})?(?P<last>-)?(?(open)\))",
    re.ASCII,
)
_PARTS = ("%", "‰")


@dataclass(frozen=True)
class Form:
    """How the numbers of one column are written, where it is otherwise than in the rest of the file.

    Attributes:
        decimal: what stands before the decimals; an empty text for the file's own mark.
        thousands: what groups the digits; an empty text for nothing.
        amounts: whether a sign may stand beside the digits, and parentheses or a last ``-`` for a negative number.
        sign: the currency, or % or ‰; an empty text for none.
    """

    decimal: str = ""
    thousands: str = ""
    amounts: bool = False
    sign: str = ""

    def number(self, text: str, decimal: str = ".") -> float | None:
        """The number that a text is, None when it is none; ``decimal`` is the file's mark."""
        found = number(text, self.decimal or decimal, self.thousands)
        return amount(text, self, decimal) if found is None and self.amounts else found


PLAIN = Form()


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


def is_code(text: str) -> bool:
    """Whether a number is written as names are: 007, 1e3, +491234567, or more digits than a float has."""
    if not _CODE.fullmatch(text):
        return False
    return not text.isdigit() or text[0] == "0" or int(float(text)) != int(text)


def codes_in(text: str, separator: str) -> Iterator[tuple[int, str]]:
    """The column and the text of each cell that is written as codes are (see ``is_code``), but for numbers of many digits.

    Args:
        text: rows of delimited text without quoted separators.
    """
    rows = f"\n{text}"
    there = {character: character in rows for character in ' "0+eE'}  # far faster than to look for two characters
    for needed, form in _forms(separator):
        if all(there[character] for character in needed):
            for found in form.finditer(rows):
                row = rows.rfind("\n", 0, found.end()) + 1
                start = max(rows.rfind(separator, 0, found.end()) + 1, row)
                cell = rows[start : found.end()].strip(' "')
                if is_code(cell):
                    yield rows.count(separator, row, start), cell


@cache
def _forms(separator: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Forms of codes, each beginning with a literal text, by which it is found fast, and the characters that it needs."""
    end = rf'[0-9]+(?= *"?[{re.escape(separator)}\r\n])'
    starts = [(edge, f"{gap}{sign}") for edge in (separator, "\n") for gap in ("", " ", '"') for sign in "0+"]
    return tuple((start, re.compile(re.escape(edge + start) + end)) for edge, start in (*starts, ("", "e"), ("", "E")))


def plainly(text: str) -> bool:
    """Whether a number is written as a program would write it, so that another spelling of it is the same number: -999, 0.5."""
    value = number(text)
    if value is None or value != value or abs(value) == float("inf"):
        return False
    return text in (repr(value), str(int(value)) if value.is_integer() else "")


def exactly(text: str) -> int | float | None:
    """The number that a text is, whole ones with all of their digits; None when it is none."""
    return int(text) if _WHOLE.fullmatch(text) else number(text)


def amount(text: str, form: Form, decimal: str = ".") -> float | None:
    """The number of a text with a sign beside its digits; None when it is none, or has another sign than the form."""
    found = _AMOUNT.fullmatch(text)
    if found is None or sign_of(found) not in ("", form.sign) or (found["before"] and found["after"]):
        return None
    size = number(found["digits"].strip(), form.decimal or decimal, form.thousands)
    minuses = bool(found["open"]) + sum(found[part] in ("-", "\u2212") for part in ("plus", "minus", "last"))
    return None if size is None or minuses > 1 else -size if minuses else size


def sign_of(found: re.Match[str]) -> str:
    """The currency or percent sign of an amount."""
    return found["before"] or found["after"] or ""


def matched(text: str) -> re.Match[str] | None:
    """The parts of a text that may be an amount."""
    return _AMOUNT.fullmatch(text)


def form_of(
    texts: Sequence[str],
    decimal: str,
    among: Sequence[str],
    *,
    whole: bool = True,
    thousands: bool = False,
    decimals: bool = False,
) -> Form | None:
    """How the numbers of a column are written that are none by the file's own rules; None where nothing is sure.

    Args:
        texts: the different cells.
        decimal: the file's mark for decimals.
        among: what may group digits.
        whole: whether the other numbers of the column are whole.
        thousands: whether the user says what groups digits.
        decimals: whether the user says what stands before decimals.
    """
    found = [match for text in texts if (match := _AMOUNT.fullmatch(text)) and number(text, decimal) is None]
    signed = [match for match in found if sign_of(match) or match["open"] or match["last"]]
    signs = {sign_of(match) for match in signed} - {""}
    if not signed:
        mark = grouping(texts, decimal, among, whole=whole, sure=thousands)
        return Form(thousands=mark) if mark else None
    if len(signs) > 1:
        return None
    form = Form(amounts=True, sign=next(iter(signs), ""))
    plain = [text for text in texts if (value := number(text, decimal)) is not None and value != 0]
    if form.sign in _PARTS and (plain or any(not sign_of(match) for match in found)):
        return None  # 12% and 0.12 may be the same or not
    digits = [*(match["digits"].strip() for match in found), *plain]
    other = "," if decimal == "." else "."
    for mark in (decimal,) if thousands or decimals else (decimal, other):  # the file's own mark first
        more = decimal if mark == other else "" if thousands else other
        groups = [*dict.fromkeys(each for each in (*among, more) if each and each != mark)]
        grouped = grouping(digits, mark, groups, whole=whole, sure=True)
        if all(number(each, mark, grouped) is not None for each in digits):
            sure = decimals or form.sign in _PARTS or _are_decimals(digits, mark)
            return replace(form, decimal="" if mark == decimal else mark, thousands=grouped) if sure else None
    return None


def _are_decimals(digits: Sequence[str], mark: str) -> bool:
    """Whether what stands behind a mark are decimals: three in every number that has any may be a group of digits."""
    ends = [len(text.rpartition(mark)[2]) for text in digits if mark in text]
    return not ends or any(size != 3 for size in ends)


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
