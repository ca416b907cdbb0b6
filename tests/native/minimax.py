"""Computes the polynomials of src/dlrun/native/functions.h: python tests/native/minimax.py

Each is the polynomial of least greatest error, by Lawson's algorithm: least squares on Chebyshev points, whose weights are
multiplied by the size of the error until all peaks of the error are equal (Lawson 1961). The coefficients are rounded to floats
from the lowest power on, and the ones above are fitted again each time, so that they make up for the rounding.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

Numbers = NDArray[Any]


class Fit(NamedTuple):
    """What a polynomial of x stands for, where, and what an error of it is multiplied by to give that of the function."""

    name: str
    degree: int
    low: float
    high: float
    function: Callable[[Numbers], Numbers]
    weight: Callable[[Numbers], Numbers]
    rounded: Callable[[float, int], float] = lambda c, power: float(np.float32(c))


def log1p_rest(m: Numbers) -> Numbers:
    """(log(1 + m) - m + m^2 / 2) / m^3, by its series near 0."""
    return np.asarray(sum((-m) ** k / (k + 3) for k in range(60)))


def expm1_rest(r: Numbers) -> Numbers:
    """(e^r - 1 - r) / r^2, by its series."""
    return np.asarray(sum(r**k / special.factorial(k + 2) for k in range(20)))


def expm1_ratio(r: Numbers) -> Numbers:
    """(e^r - 1) / r."""
    return 1 + r * expm1_rest(r)


def log1p_ratio(e: Numbers) -> Numbers:
    """log(1 + e) / e."""
    return np.log1p(e) / np.maximum(e, 1e-300)


def log2_ratio(z: Numbers) -> Numbers:
    """log2(m) / s for s = (m - 1) / (m + 1), as a function of z = s^2: 2 atanh(s) / (s log 2)."""
    return np.asarray(sum(z**k / (2 * k + 1) for k in range(20)) * 2 / np.log(2))


def tail_ratio(w: Numbers) -> Numbers:
    """Phi(-t) e^(t^2 / 2) / u for w + 1/4 = u = 1 / (1 + t / 4)."""
    u = w + 0.25
    t: Numbers = (1 / u - 1) * 4
    found: Numbers = 0.5 * special.erfcx(t / np.sqrt(2)) / u
    return found


def first_in_two(c: float, power: int) -> float:
    """The first coefficient as the sum of two floats, of which the kernel adds the larger one last."""
    whole = float(np.float32(c))
    return whole + float(np.float32(c - whole)) if power == 0 else whole


def fitted(fit: Fit, points: int = 2000, rounds: int = 3000) -> tuple[Numbers, float]:
    """The coefficients from the lowest power on, and the greatest error."""
    x = fit.low + (fit.high - fit.low) * (0.5 - 0.5 * np.cos(np.pi * (np.arange(points) + 0.5) / points))
    f, weight = fit.function(x), fit.weight(x)
    powers = x[:, None] ** np.arange(fit.degree + 1)
    coefficients = np.zeros(fit.degree + 1)
    for k in range(fit.degree + 1):
        rest = f - powers[:, :k] @ coefficients[:k]
        coefficients[k:] = lawson(powers[:, k:] * weight[:, None], rest * weight, rounds if k == 0 else rounds // 4)
        coefficients[k] = fit.rounded(coefficients[k], k)
    return coefficients, float(np.abs((powers @ coefficients - f) * weight).max())


def lawson(columns: Numbers, f: Numbers, rounds: int) -> Numbers:
    """The combination of the columns nearest to f in the greatest error."""
    scale = np.abs(columns).max(0)
    columns = columns / scale
    weight, best, least = np.ones(len(f)) / len(f), np.zeros(columns.shape[1]), np.inf
    for _ in range(rounds):
        root = np.sqrt(weight)
        found = np.linalg.lstsq(columns * root[:, None], f * root, rcond=None)[0]
        error = np.abs(columns @ found - f)
        if error.max() < least:
            best, least = found, error.max()
        weight = weight * (error + 1e-3 * error.max())
        weight /= weight.sum()
    return np.asarray(best / scale)


HALF = np.log(2) / 2 * 1.0001
FITS = (
    Fit("exp_near_zero", 4, -HALF, HALF, expm1_ratio, lambda r: r / np.exp(r)),
    Fit("expm1_near_zero", 4, -HALF, HALF, expm1_rest, lambda r: 1 / (1 / r + expm1_rest(r))),
    Fit("log1p_near_zero", 6, -1 / 3, 1 / 3, log1p_rest, lambda m: m**3 / np.log1p(m)),
    Fit("log1p_of_share", 8, 0, 1, log1p_ratio, lambda e: 1 / log1p_ratio(e)),
    Fit("power, log", 4, 0, 0.04, log2_ratio, lambda z: 1 / log2_ratio(z), lambda c, power: c),
    Fit("power, exp", 6, -0.5, 0.5, np.exp2, lambda r: np.exp2(-r), lambda c, power: c),
    Fit("normal", 9, 1 / (1 + 13.25 / 4) - 0.25, 0.75, tail_ratio, lambda w: 1 / tail_ratio(w), first_in_two),
)

if __name__ == "__main__":
    for fit in FITS:
        coefficients, error = fitted(fit)
        print(f"{fit.name}, degree {fit.degree}: error {error:.2g}", ", ".join(float(c).hex() for c in coefficients))
