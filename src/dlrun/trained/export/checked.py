"""What is exported is compared with the run before it is written, on rows that are made for it.

Shapes: n rows, D features.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dlrun import streams
from dlrun.errors import RunError
from dlrun.trained.run import Run

ROWS = 64
TOLERANCE = 1e-5  # of the size of a prediction, and of the standard deviation of the targets


def features(run: Run) -> Tensor:
    """Rows of features as ``Run.rows`` gives them, not scaled, with missing values and new categories: float64 [ROWS, ...]."""
    scaling = run.predictor.preprocessing
    key = streams.keys([0], "data")
    normal = streams.normal(key, ROWS * int(np.prod(run.shape))).double().view(ROWS, *run.shape)
    spread = torch.where(scaling.factor > 0, 1 / scaling.factor, 1.0)
    x = scaling.shift + 1.5 * normal * spread
    if run.encoding is not None:
        x = torch.where(run.encoding.indicators, 0.0, x)
        for start, end in _categories(run):
            places = torch.arange(ROWS) % (end - start + 1)  # the last one is no category
            x[:, start:end] = torch.eye(end - start + 1, dtype=torch.float64)[places][:, :-1]
    if len(run.shape) == 1 and run.encoding is not None:
        absent = (torch.arange(ROWS)[:, None] + torch.arange(x.shape[1])) % 11 == 0
        x = torch.where(absent & ~_of_categories(run), torch.nan, x)
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


def _of_categories(run: Run) -> Tensor:
    mask = torch.zeros(run.shape[0], dtype=torch.bool)
    for start, end in _categories(run):
        mask[start:end] = True
    return mask
