"""How many digits of a number are shown: as many as its own spread allows, whatever stands above and below it."""

import math
from collections.abc import Sequence

LARGE = 1e6  # from here on a number is written with an exponent
_SMALL = 1e-3  # below it too, where a whole column is
_DECIMALS = 4  # of numbers of which no spread is known
_DIGITS = 7  # those of float32
_MOST = 8  # decimals: what is left of a perfect fit, 1e-16, is 0


def decimals(value: float | None, sd: float = math.nan) -> int:
    """How many decimals a value has: two digits of its spread, and four of itself where those take no more than four decimals.

    Args:
        sd: the spread of what it is a mean of; NaN where none is known.
    """
    spread = sd if math.isfinite(sd) else 0.0
    largest = max(abs(value) if value is not None and math.isfinite(value) else 0.0, spread)
    if largest == 0:
        return _DECIMALS
    size = math.floor(math.log10(largest))
    of_itself = min(3 - size, _DECIMALS)
    of_spread = 1 - math.floor(math.log10(spread)) if spread else 0
    return min(_MOST, max(0, of_itself, min(of_spread, _DIGITS - 1 - size)))


def figures(values: Sequence[float | None], places: Sequence[int] = ()) -> tuple[str, ...]:
    """The numbers of a column; nothing for None and NaN.

    Args:
        places: the decimals of each; those of the number itself when not given.
    """
    known = [abs(value) for value in values if value is not None and math.isfinite(value)]
    tiny = 0 < max(known, default=0.0) < _SMALL
    places = places or [decimals(value) for value in values]
    return tuple(_figure(value, place, tiny) for value, place in zip(values, places, strict=True))


def number(value: float | None) -> str:
    """A number in four digits, whole ones in full; nothing for None and NaN."""
    if value is None or math.isnan(value):
        return ""
    if isinstance(value, int):
        return str(value)
    return f"{value:.4g}" if abs(value) < 1e4 or abs(value) >= 1e9 else f"{value:.0f}"


def short(value: float) -> str:
    """The size of a number in three digits, without an exponent where it has few: ``0.172``, ``2633``."""
    size = abs(value)
    return f"{size:.0f}" if 100 <= size < LARGE else f"{size:.3g}"


def _figure(value: float | None, places: int, tiny: bool) -> str:
    if value is None or not math.isfinite(value):
        return ""
    if tiny or abs(value) >= LARGE:
        return number(float(value))
    text = f"{value:.{places}f}"
    return text.removeprefix("-") if float(text) == 0 else text
