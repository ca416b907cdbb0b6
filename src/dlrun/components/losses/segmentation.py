"""Segmentation losses: overlap of masks, alone or together with the cross entropy of pixels.

Dice counts each class by its own area, so a small object weighs as much as a large one, which is what cross entropy over pixels
does not do. Class 0 is the background. Its Dice coefficient is left out unless asked for, as by Milletari et al.: where shapes
cover a share f of the pixels, at p = 1/2 it pulls all pixels together towards the background by 2 (1-f)^2 / (3/2-f)^2, while the
shapes pull the other way by 2 f^2 / (1/2+f)^2, at f = 0.05 a fiftieth of that. A network follows before it can tell shapes from
ground, softmax saturates, and nothing leads back.

Shapes: R runs, B images, K classes, I x J pixels. The class axis is axis 2.
"""

from dlrun.components.hyperparameters import NonNegative, Probability, Row
from dlrun.components.losses.multiclass import cross_entropy, cross_entropy_gradient
from dlrun.components.losses.reduction import Mixed
from dlrun.components.losses.shapes import holds_classes, softmax
from dlrun.lazy import Tensor, torch


def dice(output: Tensor, target: Tensor, *, smooth: NonNegative = 1.0, background: bool = False) -> Tensor:
    """Soft Dice loss: mean over images and classes of 1 - (2 sum(p y) + s) / (sum p + sum y + s), sums over pixels.

    Milletari, Navab & Ahmadi 2016, arXiv:1606.04797, with p = softmax(z), plain sums below, and any number of classes.

    Args:
        output: [R, B, K, I, J], logits.
        target: int64 [R, B, I, J], or probabilities [R, B, K, I, J].
        smooth: s, in pixels; it keeps a class that is neither there nor predicted at a loss of 0.
        background: whether the mean is over class 0 too.

    Returns:
        [R, B, C, 1, 1] for C classes that count, from 0 (equal masks) to about 1.
    """
    overlap, area, _, _ = _overlap(output, target, smooth)
    return 1 - (overlap / area)[:, :, _first(background) :]


def dice_gradient(output: Tensor, target: Tensor, *, smooth: NonNegative = 1.0, background: bool = False) -> Tensor:
    """By p: (D - 2 y) / (sum p + sum y + s) / (B C), D the Dice coefficient and C the classes that count, then back through
    softmax: [R, B, K, I, J].
    """
    overlap, area, p, y = _overlap(output, target, smooth)
    first = _first(background)
    area_mean = area * (output.shape[1] * (output.shape[2] - first))
    by_p = (overlap / area - 2 * y).div_(area_mean)
    by_p[:, :, :first] = 0
    return by_p.sub_((by_p * p).sum(2, keepdim=True)).mul_(p)


def dice_cross_entropy(
    output: Tensor, target: Tensor, *, weight: Probability = 0.5, smooth: NonNegative = 1.0, background: bool = False
) -> Mixed:
    """Dice and cross entropy, weight * dice + (1 - weight) * cross_entropy: overlap with a smooth gradient.

    Args:
        output: [R, B, K, I, J], logits.
        target: int64 [R, B, I, J], or probabilities [R, B, K, I, J].
        weight: the fraction of dice.
        smooth, background: as in ``dice``; cross entropy counts every pixel, whatever its class.

    Returns:
        A mixture of [R, B, C, 1, 1] and [R, B, I, J].
    """
    fraction = weight.flatten() if isinstance(weight, Tensor) else weight
    return Mixed(
        (fraction, 1 - fraction), (dice(output, target, smooth=smooth, background=background), cross_entropy(output, target))
    )


def dice_cross_entropy_gradient(
    output: Tensor, target: Tensor, *, weight: Probability = 0.5, smooth: NonNegative = 1.0, background: bool = False
) -> Tensor:
    """The same mixture of gradients, weight * dice_gradient + (1 - weight) * cross_entropy_gradient: [R, B, K, I, J]."""
    by_overlap = dice_gradient(output, target, smooth=smooth, background=background)
    return by_overlap.mul_(weight).add_(cross_entropy_gradient(output, target).mul_(1 - weight))


def _first(background: bool) -> int:
    """The first class that Dice counts."""
    return 0 if background else 1


def _overlap(output: Tensor, target: Tensor, smooth: Row) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Twice the overlap and both areas, each plus ``smooth`` [R, B, K, 1, 1], and the masks p and y [R, B, K, I, J]."""
    p = softmax(output)
    y = (
        torch.nn.functional.one_hot(target, output.shape[2]).movedim(-1, 2).to(p.dtype)
        if holds_classes(output, target)
        else target
    )
    overlap = 2 * (p * y).sum(dim=(3, 4), keepdim=True) + smooth
    area = p.sum(dim=(3, 4), keepdim=True) + y.sum(dim=(3, 4), keepdim=True) + smooth
    return overlap, area, p, y
