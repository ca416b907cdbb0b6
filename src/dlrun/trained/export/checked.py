"""What is exported is compared with the run before it is written, on rows that are made for it.

Shapes: n rows, D features.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun import streams
from dlrun.errors import RunError
from dlrun.trained.run import Run

ROWS = 64
TOLERANCE = 1e-5  # of the size of a prediction, and of the standard deviation of the targets


def features(run: Run) -> NDArray[np.float64]:
    """Rows of features as ``Run.rows`` gives them, not scaled, with missing values and new categories: float64 [ROWS, ...]."""
    scaling = run.predictor.preprocessing
    key = streams.keys([0], "data")
    normal = streams.normal(key, ROWS * int(np.prod(run.shape))).astype(np.float64).reshape(ROWS, *run.shape)
    spread = 1 / np.where(scaling.factor > 0, scaling.factor, 1.0)
    x = scaling.shift + 1.5 * normal * spread
    if run.encoding is not None:
        x = np.where(run.encoding.indicators, 0.0, x)
        for start, end in _categories(run):
            places = np.arange(ROWS) % (end - start + 1)  # the last one is no category
            x[:, start:end] = np.eye(end - start + 1)[places][:, :-1]
    if len(run.shape) == 1 and run.encoding is not None:
        absent = (np.arange(ROWS)[:, None] + np.arange(x.shape[1])) % 11 == 0
        x = np.where(absent & ~_of_categories(run), np.nan, x)
    return x


def agree(run: Run, what: str, expected: NDArray[Any], found: NDArray[Any], scale: Any = 1.0) -> None:
    """Compare predictions of the run and of what is to be written.

    Raises:
        RunError: they differ by more than TOLERANCE * (|expected| + scale) somewhere; nothing is written.
    """
    apart = np.abs(expected - found) / (np.abs(expected) + scale)
    if expected.shape != found.shape or not (apart <= TOLERANCE).all():
        worst = float(np.nanmax(apart)) if expected.shape == found.shape else float("inf")
        raise RunError(
            f"export: {what} of run {run.id} is not what the run computes (relative difference {worst:.1e}, and at most "
            f"{TOLERANCE:g} is allowed); nothing was written"
        )


def _categories(run: Run) -> Iterator[tuple[int, int]]:
    """Where the features of each categorical column begin and end."""
    assert run.encoding is not None
    ends = np.cumsum([0, *(len(column.features) for column in run.encoding.columns)]).tolist()
    for column, (start, end) in zip(run.encoding.columns, pairwise(ends), strict=True):
        if column.kind == "categorical":
            yield start, end


def _of_categories(run: Run) -> NDArray[np.bool_]:
    mask = np.zeros(run.shape[0], dtype=np.bool_)
    for start, end in _categories(run):
        mask[start:end] = True
    return mask
