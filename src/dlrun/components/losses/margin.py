"""Margin losses: a score must be right by a margin of 1, and past that costs nothing.

Shapes: R runs, B batch rows, K scores.
"""

from dlrun.components.losses.shapes import entries, holds_classes
from dlrun.lazy import Tensor, torch


def hinge(output: Tensor, target: Tensor, *, squared: bool = False) -> Tensor:
    """Hinge loss: mean of max(0, 1 - t z), t = 2 y - 1. Multiclass: sum over j != y of max(0, 1 - z_y + z_j) / K.

    The multiclass form is Weston & Watkins 1999, as torch.nn.MultiMarginLoss.

    Args:
        output: [R, B, K], scores z.
        target: 0 or 1 [R, B, K] for binary, class indices int64 [R, B] for multiclass.
        squared: square each term.

    Returns:
        [R, B, K].
    """
    if holds_classes(output, target):
        short = _class_shortfall(output, target)
    else:
        short = torch.relu(1 - (2 * target - 1) * output)
    return short.square() if squared else short


def hinge_gradient(output: Tensor, target: Tensor, *, squared: bool = False) -> Tensor:
    """-t where 1 - t z > 0, over B K; for classes +1 at each j that comes too close and minus their number at y: [R, B, K].

    Squared: the same times 2 max(0, ...).
    """
    if not holds_classes(output, target):
        sign = 2 * target - 1
        slope = _slope(torch.relu_(1 - sign * output), squared)
        return slope.mul_(sign).mul_((-2.0 if squared else -1.0) / entries(output))
    slope = _slope(_class_shortfall(output, target), squared).mul_((2.0 if squared else 1.0) / entries(output))
    return slope.scatter_(2, target.unsqueeze(2), slope.sum(2, keepdim=True).neg_())


def _class_shortfall(output: Tensor, target: Tensor) -> Tensor:
    """max(0, 1 - z_y + z_j), and 0 at j = y: [R, B, K]."""
    index = target.unsqueeze(2)
    return torch.relu(output - output.gather(2, index) + 1).scatter(2, index, 0.0)


def _slope(short: Tensor, squared: bool) -> Tensor:
    """Half the derivative of short^2, or the derivative of short (1 where it is above 0), in place."""
    return short if squared else short.sign_()
