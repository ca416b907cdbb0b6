"""Sparsemax: the Euclidean projection of scores onto the simplex, and the loss that belongs to it.

Unlike softmax, sparsemax gives exact zeros to classes that are far behind. Martins & Astudillo 2016, arXiv:1602.02068.

Shapes: R runs, B batch rows, K classes.
"""

from dlrun.components.losses.multiclass import minus_one
from dlrun.components.losses.shapes import entries, holds_classes
from dlrun.lazy import Tensor, torch


def sparsemax(scores: Tensor, dim: int = -1) -> Tensor:
    """The probability vector p nearest to z: argmin over the simplex of ||p - z||^2 = max(0, z - threshold(z)).

    Args:
        scores: z, any shape with the classes along ``dim``.
        dim: the class axis.

    Returns:
        Like ``scores``: at least 0, 1 in sum, with exact zeros.
    """
    shifted = scores - scores.amax(dim, keepdim=True)  # the projection does not change, and sums stay small
    ordered = shifted.sort(dim=dim, descending=True).values
    size = scores.shape[dim]
    rank = torch.arange(1, size + 1, dtype=scores.dtype, device=scores.device)
    rank = rank.view(-1, *(1,) * (scores.dim() - 1 - dim % scores.dim()))
    # Above (sum of the k largest - 1) / k those k scores alone hold a mass of 1. So no k gives more than the threshold, and the
    # size of the support gives it exactly: the largest of these numbers is the threshold, without a search for the support.
    threshold = ((ordered.cumsum(dim) - 1) / rank).amax(dim, keepdim=True)
    return torch.relu(shifted - threshold)


def sparsemax_loss(output: Tensor, target: Tensor) -> Tensor:
    """Sparsemax loss: mean of -z_y + 0.5 sum_{j in S} (z_j^2 - threshold^2) + 0.5, with S the support of p = sparsemax(z).

    Computed as (p - y)'z - 0.5 ||p||^2 + 0.5 ||y||^2, its Fenchel-Young form, which also takes probability targets (Blondel,
    Martins & Niculae 2020) and does not cancel for large scores. It is 0 when z_y is ahead of all others by at least 1.

    Args:
        output: [R, B, K], scores z.
        target: int64 [R, B], or probabilities [R, B, K] that sum to 1.

    Returns:
        [R, B].
    """
    probability = sparsemax(output, 2)
    squares = 0.5 * probability.square().sum(2)
    if holds_classes(output, target):
        aim = output.gather(2, target.unsqueeze(2)).squeeze(2)
        # (p - y)'z with z measured from z_y, where y'z is 0
        return (probability * (output - aim.unsqueeze(2))).sum(2) - squares + 0.5
    return ((probability - target) * output).sum(2) - squares + 0.5 * target.square().sum(2)


def sparsemax_loss_gradient(output: Tensor, target: Tensor) -> Tensor:
    """(sparsemax(z) - y) / B: [R, B, K]."""
    gradient = sparsemax(output, 2)
    gradient = minus_one(gradient, target) if holds_classes(output, target) else gradient.sub_(target)
    return gradient.div_(entries(output) // output.shape[2])
