"""What the cells of a table mean: numbers, truth values, dates, times of day or texts.

A column is worked on by its distinct texts, each read once. An empty text is a missing value in every column; spellings such as
NA are missing among numbers, truth values and dates, and an ordinary text in a column of texts, where NA may be a label.

    1, 2.5, 17, unknown                mostly numbers, and so numeric: the word is told as a mistake
    2024-01-31, 2024-02-01, soon       mostly dates, likewise
    A1, 17, B3, 18, C5                 texts: codes, of which some happen to be digits

Shapes: n rows, u distinct texts.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dlrun.data.table.values.amounts import PLAIN, Form, form_of
from dlrun.data.table.values.dates import is_date, is_short, is_time, short_years

Floats = NDArray[np.float64]
Kind = Literal["numeric", "boolean", "date", "time", "categorical"]
Marks = frozenset[str]

MISSING: Marks = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "-", "--", "?", "."})
SPELLINGS = tuple(sorted({*MISSING, *map(str.upper, MISSING), *map(str.capitalize, MISSING), "NaN"}))


_TRUTH = ({"false": 0.0, "true": 1.0}, {"no": 0.0, "yes": 1.0}, {"f": 0.0, "t": 1.0}, {"n": 0.0, "y": 1.0})
_LARGEST_WHOLE = 2.0**53  # beyond it a float no longer stands for one whole number
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


def kind_of(texts: Texts, decimal: str, marks: Marks, form: Form = PLAIN, *, day_first: bool | None = None) -> Kind | None:
    """What most of the cells are: numeric, date or time if ``mostly`` says so, boolean if all of those present are, else text.

    None when no cell is present.

    Args:
        decimal: what stands before the decimals of a number.
        marks: texts that mean a missing value, beside the usual ones.
        form: how numbers of this column are written.
        day_first: whether 3/4/24 is in April, as the user says: then it is a date in any case.
    """
    counts = np.bincount(texts.codes, minlength=len(texts.distinct))
    present = {text: int(count) for text, count in zip(texts.distinct, counts, strict=True) if not is_missing(text, marks)}
    if not present:
        return None
    if mostly(present, lambda text: form.number(text, decimal) is not None):
        return "numeric"
    words = {text.casefold() for text in present}
    if any(words <= pair.keys() for pair in _TRUTH):
        return "boolean"
    if mostly(present, is_time):
        return "time"
    short = short_years([*present], day_first) is not None
    return "date" if mostly(present, lambda text: is_date(text) or (short and is_short(text))) else "categorical"


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


def recognized(
    texts: Texts,
    decimal: str,
    marks: Marks,
    among: Sequence[str],
    *,
    thousands: bool = False,
    decimals: bool = False,
    day_first: bool | None = None,
    learnt: bool = False,
) -> tuple[Kind | None, Form]:
    """What most of the cells are, and how numbers are written that would be texts otherwise (see ``form_of``).

    Args:
        among: what may group the digits of a number.
        thousands, decimals: whether the user says what groups digits, or what stands before decimals.
        day_first: as the user says.
        learnt: whether the column is to be predicted: times of day are classes then.
    """
    kind = kind_of(texts, decimal, marks, day_first=day_first)
    if kind == "categorical" and among:
        form = form_of(texts.distinct, decimal, among, thousands=thousands, decimals=decimals)
        if form is not None and kind_of(texts, decimal, marks, form) == "numeric":
            return "numeric", form
    return ("categorical" if learnt and kind == "time" else kind), PLAIN


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
