"""Areas under curves by one sort of all runs at once.

Shapes: R runs, N rows.
"""

import numpy as np
import torch
from torch import Tensor

_FORMS = {  # of a float: the integer of its size, and how many bits of it leave room for a sign and a class
    torch.float32: (torch.int32, 30),
    torch.float64: (torch.int64, 62),
}


def auroc(score: Tensor, positive: Tensor) -> Tensor:
    """Share of (positive, negative) pairs in which the positive has the higher score, ties counted half. Mann & Whitney 1947.

    Args:
        score: [R, N], any numbers that rise with the probability of the positive class, infinite ones too. Best are those from
            before a sigmoid or softmax, which rounds large ones to the same probability.
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
        score: [R, N], as for ``auroc``.
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

    The scores become integers in the same order, and the class rides along in an added lowest bit, so that a sort of plain
    integers (on a CPU numpy's vectorized one, 40 times faster than an argsort) orders both.
    """
    key = (_ordered(score) << 1) | positive
    key = torch.from_numpy(np.sort(key.numpy(), axis=1)) if key.device.type == "cpu" else key.sort(dim=1).values
    y, level = (key & 1).long(), key >> 1
    opens = torch.ones_like(level, dtype=torch.bool)  # a row that opens a group of equal scores
    torch.ne(level[:, 1:], level[:, :-1], out=opens[:, 1:])
    lower = torch.arange(y.shape[1], device=y.device).expand_as(y)
    positives_lower = y.cumsum(1) - y
    # both counts grow along a row, so their running maximum over openings is their value at the group's opening
    return y, (lower * opens).cummax(1).values, (positives_lower * opens).cummax(1).values


def _ordered(score: Tensor) -> Tensor:
    """Integers that are ordered and equal as the scores of each run are, with a bit to spare: [R, N], nothing is rounded.

    The bits of a positive float sort as it does. Counted from those of the run's smallest score that is not 0 they fit, with a
    sign, into all bits but one, unless scores differ by more than a factor of 2^127 (float32) or 2^1023 (float64), as with
    infinite ones. Then they are replaced by their ranks.
    """
    exact = (score if score.dtype in _FORMS else score.float()).contiguous()
    form, room = _FORMS[exact.dtype]
    size = exact.abs().view(form)
    size.masked_fill_(exact.isnan(), 0)  # such a run has no figure, and need not slow down the others
    if size.numel() == 0:
        return size
    least = size.masked_fill(size == 0, torch.iinfo(form).max).amin(1, keepdim=True)
    size = (size - least + 1).clamp_(min=0)  # 0 stays 0
    if int(size.amax()) >= 1 << room:
        ranks: Tensor = torch.unique(exact + 0.0, return_inverse=True)[1]  # -0 + 0 is 0
        return ranks
    return torch.where(exact < 0, -size, size)
