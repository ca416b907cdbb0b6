"""Segmentation losses: overlap of masks, alone or together with the cross entropy of pixels.

Dice counts each class by its own area, so a small object weighs as much as a large background, which is what cross entropy
over pixels does not do.

Shapes: R runs, B images, K classes, I x J pixels. The class axis is axis 2.
"""

from torch import Tensor
from torch.nn.functional import one_hot

from dlrun.components.hyperparameters import NonNegative, Probability, Row
from dlrun.components.losses.multiclass import cross_entropy, cross_entropy_gradient
from dlrun.components.losses.shapes import holds_classes, per_run, softmax


def dice(output: Tensor, target: Tensor, *, smooth: NonNegative = 1.0) -> Tensor:
    """Soft Dice loss: mean over images and classes of 1 - (2 sum(p y) + s) / (sum p + sum y + s), sums over pixels.

    Milletari, Navab & Ahmadi 2016, arXiv:1606.04797, with p = softmax(z) and plain sums in the denominator.

    Args:
        output: [R, B, K, I, J], logits.
        target: int64 [R, B, I, J], or probabilities [R, B, K, I, J].
        smooth: s, in pixels; it keeps a class that is neither there nor predicted at a loss of 0.

    Returns:
        [R], from 0 (equal masks) to about 1.
    """
    overlap, area, _, _ = _overlap(output, target, smooth)
    return per_run(1 - overlap / area)


def dice_gradient(output: Tensor, target: Tensor, *, smooth: NonNegative = 1.0) -> Tensor:
    """By p: (D - 2 y) / (sum p + sum y + s) / (B K), D the Dice coefficient, then back through softmax: [R, B, K, I, J]."""
    overlap, area, p, y = _overlap(output, target, smooth)
    area_mean = area * (output.shape[1] * output.shape[2])
    by_p = (overlap / area - 2 * y).div_(area_mean)
    return by_p.sub_((by_p * p).sum(2, keepdim=True)).mul_(p)


def dice_cross_entropy(output: Tensor, target: Tensor, *, weight: Probability = 0.5, smooth: NonNegative = 1.0) -> Tensor:
    """Dice and cross entropy, weight * dice + (1 - weight) * cross_entropy: overlap with a smooth gradient.

    Args:
        output: [R, B, K, I, J], logits.
        target: int64 [R, B, I, J], or probabilities [R, B, K, I, J].
        weight: the share of dice.
        smooth: as in ``dice``.

    Returns:
        [R].
    """
    share = weight.flatten() if isinstance(weight, Tensor) else weight
    return share * dice(output, target, smooth=smooth) + (1 - share) * cross_entropy(output, target)


def dice_cross_entropy_gradient(
    output: Tensor, target: Tensor, *, weight: Probability = 0.5, smooth: NonNegative = 1.0
) -> Tensor:
    """The same mixture of gradients, weight * dice_gradient + (1 - weight) * cross_entropy_gradient: [R, B, K, I, J]."""
    return dice_gradient(output, target, smooth=smooth).mul_(weight).add_(cross_entropy_gradient(output, target).mul_(1 - weight))


def _overlap(output: Tensor, target: Tensor, smooth: Row) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Twice the overlap and both areas, each plus ``smooth`` [R, B, K, 1, 1], and the masks p and y [R, B, K, I, J]."""
    p = softmax(output)
    y = one_hot(target, output.shape[2]).movedim(-1, 2).to(p.dtype) if holds_classes(output, target) else target
    overlap = 2 * (p * y).sum(dim=(3, 4), keepdim=True) + smooth
    area = p.sum(dim=(3, 4), keepdim=True) + y.sum(dim=(3, 4), keepdim=True) + smooth
    return overlap, area, p, y
