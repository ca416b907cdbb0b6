"""MNIST-1D: ten digits as signals of 40 values, moved, scaled, sheared and under noise. Greydanus & Kobak 2020, arXiv:2011.14439.

Construction and random numbers are those of the package ``mnist1d`` 0.0.2.post1: the rows are the published ones to ten decimals.
The split is theirs too: the first four fifths of the rows are for training, the rest for testing.

Shapes: N rows, P points of a signal before it is sampled.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from dlrun.components.hyperparameters import Interval
from dlrun.data.dataset import TEST, TRAIN, Data
from dlrun.data.sources.draws import check_size, settled

Array = NDArray[np.float64]
Rows = Annotated[int, Interval(20)]
LegacySeed = Annotated[int, Interval(0, (1 << 32) - 1)]  # what numpy's older generator takes

STROKES = (  # the outline of each digit, from above to below
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
PADDING = (36, 60)  # zeros behind a digit, at least and at most
POINTS = 72  # P: a digit with its padding, stretched
SHIFTS = 48  # places by which it is moved, in a circle
SCALE, SHEAR = 0.4, 0.75  # how much its height and its slope vary
SMOOTH_NOISE, NOISE = 0.25, 0.02  # where there is no digit; everywhere
WIDTH = 2.0  # of the Gaussian that smooths the former
LENGTH = 40
TRAINED = 0.8  # of the rows
_NOT_ZERO = 1e-8  # added to a digit, whose first value is 0 as the padding is


@dataclass(frozen=True)
class _Drawn:
    """Random numbers of all rows, in the order of the package: a row after the other."""

    padding: NDArray[np.int64]  # [N]
    scale: Array  # [N]
    shift: NDArray[np.int64]  # [N]
    smooth: Array  # [N, P]
    noise: Array  # [N, P]
    shear: Array  # [N]


def mnist1d(*, rows: Rows = 5000, shuffled: bool = False, seed: LegacySeed = 42) -> Data:
    """Signals [N, 1, 40] of ten digits, with the official split.

    Formula: a digit of 12 points, 36 to 60 zeros behind it, stretched to 72 points, times 1 + 0.4 (u - 1/2), moved by 0 to 47
    places in a circle; smooth noise 0.25 * Gauss(2) * N(0, 1) where it is 0; 0.02 * N(0, 1) everywhere; minus a line of slope
    0.75 (u - 1/2); 40 values of that. All values together have mean 0 and standard deviation 1.

    Args:
        rows: how many, as nearly as possible a tenth of them of each digit; the published data has 5,000.
        shuffled: the 40 values in another order, the same for all rows: neighbours say nothing any more.
        seed: draws the data; the published data has 42.
    """
    check_size(rows, 2 * POINTS)
    generator = np.random.RandomState(seed)  # the published data was drawn by it
    label = np.arange(rows) * len(STROKES) // rows
    signals = _signals(label, _drawn(generator, len(label)))
    order = generator.permutation(len(label))
    signals, label = signals[order], label[order]
    if shuffled:
        signals = signals[:, generator.permutation(LENGTH)]
    signals = (signals - signals.mean()) / signals.std()
    subset = np.full(len(label), TEST, dtype=np.int8)
    subset[: int(len(label) * TRAINED)] = TRAIN
    return Data(
        "mnist1d",
        settled(signals)[:, None],
        label,
        "multiclass",
        len(STROKES),
        ("value",),
        ("digit",),
        tuple(map(str, range(len(STROKES)))),
        subset=subset,
    )


def _drawn(generator: np.random.RandomState, rows: int) -> _Drawn:
    found = _Drawn(
        np.empty(rows, np.int64),
        np.empty(rows),
        np.empty(rows, np.int64),
        np.empty((rows, POINTS)),
        np.empty((rows, POINTS)),
        np.empty(rows),
    )
    low, high = PADDING
    for row in range(rows):
        found.padding[row] = low + int(generator.rand() * (high - low + 1))
        found.scale[row] = generator.rand() - 0.5
        found.shift[row] = generator.choice(SHIFTS)
        found.smooth[row] = generator.randn(POINTS)
        found.noise[row] = generator.randn(POINTS)
        found.shear[row] = generator.rand() - 0.5
    return found


def _signals(label: NDArray[np.int64], drawn: _Drawn) -> Array:
    """The signal of each row, before all are scaled together: [N, 40]."""
    from scipy.ndimage import gaussian_filter1d

    stretched = {padding: _stretched(padding) for padding in range(PADDING[0], PADDING[1] + 1)}
    signals = np.stack([stretched[padding][digit] for padding, digit in zip(drawn.padding.tolist(), label, strict=True)])
    signals *= (1 + SCALE * drawn.scale)[:, None]
    places = (np.arange(POINTS) - drawn.shift[:, None]) % POINTS
    signals = np.take_along_axis(signals, places, 1)
    signals = np.where(signals != 0, signals, gaussian_filter1d(SMOOTH_NOISE * drawn.smooth, WIDTH)) + NOISE * drawn.noise
    signals -= SHEAR * drawn.shear[:, None] * np.linspace(-0.5, 0.5, POINTS)
    return np.stack([_sampled(signal, LENGTH) for signal in signals])


def _stretched(padding: int) -> Array:
    """The ten digits with so many zeros behind them, at P points: [10, P]."""
    strokes = np.array(STROKES, dtype=np.float64)
    strokes -= strokes.mean(1, keepdims=True)
    strokes /= strokes.std(1, keepdims=True)
    digits = (strokes - strokes[:, :1]) / 6
    return np.stack([_sampled(np.concatenate([digit + _NOT_ZERO, np.zeros(padding)]), POINTS) for digit in digits])


def _sampled(signal: Array, length: int) -> Array:
    """So many values of a signal, evenly spaced from its first to its last, on lines between those that it has."""
    found: Array = np.interp(np.linspace(0, 1, length), np.linspace(0, 1, len(signal)), signal)
    return found
