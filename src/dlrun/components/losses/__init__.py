"""Losses: functions of (output, target) that give a value for each entry of the output, and their gradients.

    regression      mse, mae, huber, quantile, log_cosh                     values
    binary          bce, bce_with_logits                                    one probability or logit a label
    multiclass      cross_entropy, nll                                      classes that exclude each other, of rows or pixels
    margin          hinge                                                   binary or multiclass scores
    focal           focal                                                   binary, multiclass or multilabel logits
    sparse          sparsemax_loss, and the projection sparsemax            multiclass scores, predictions with exact zeros
    segmentation    dice, dice_cross_entropy                                masks
    embedding       cosine_embedding, triplet_margin                        pairs and triplets of vectors

A loss takes output [R, B, ...] and target and returns values [R, B, ...], of which ``reduction`` makes the loss of each row
[R, B] and of each run [R], the mean over everything but the runs. No run's values read another's rows, so the gradient of the sum
over runs is the gradient of every run's own loss. ``GRADIENTS`` holds the gradient of the mean for each loss that has it in
closed form: the same arguments, and a tensor like the output. The others go through autograd.

Hyperparameters are numbers, or columns that hold one number a run and broadcast against the output: [R, 1, 1] for an output
[R, B, K], [R, 1, 1, 1] for [R, B, 2, E], [R, 1, 1, 1, 1] for [R, B, K, height, width].
"""

from collections.abc import Callable

from dlrun.components.losses.binary import bce, bce_gradient, bce_with_logits, bce_with_logits_gradient
from dlrun.components.losses.embedding import cosine_embedding, triplet_margin
from dlrun.components.losses.focal import focal, focal_gradient
from dlrun.components.losses.margin import hinge, hinge_gradient
from dlrun.components.losses.multiclass import cross_entropy, cross_entropy_gradient, nll, nll_gradient
from dlrun.components.losses.reduction import Mixed, Reduction, Values, Weighted, per_row, per_run
from dlrun.components.losses.regression import (
    huber,
    huber_gradient,
    log_cosh,
    log_cosh_gradient,
    mae,
    mae_gradient,
    mse,
    mse_gradient,
    quantile,
    quantile_gradient,
)
from dlrun.components.losses.segmentation import dice, dice_cross_entropy, dice_cross_entropy_gradient, dice_gradient
from dlrun.components.losses.sparse import sparsemax, sparsemax_loss, sparsemax_loss_gradient
from dlrun.lazy import Tensor

__all__ = [
    "GRADIENTS",
    "SMOOTHED",
    "Mixed",
    "Reduction",
    "Values",
    "Weighted",
    "bce",
    "bce_with_logits",
    "cosine_embedding",
    "cross_entropy",
    "dice",
    "dice_cross_entropy",
    "focal",
    "hinge",
    "huber",
    "log_cosh",
    "mae",
    "mse",
    "nll",
    "per_row",
    "per_run",
    "quantile",
    "sparsemax",
    "sparsemax_loss",
    "triplet_margin",
]

GRADIENTS: dict[Callable[..., Values], Callable[..., Tensor]] = {
    mse: mse_gradient,
    mae: mae_gradient,
    huber: huber_gradient,
    quantile: quantile_gradient,
    log_cosh: log_cosh_gradient,
    bce: bce_gradient,
    bce_with_logits: bce_with_logits_gradient,
    cross_entropy: cross_entropy_gradient,
    nll: nll_gradient,
    hinge: hinge_gradient,
    focal: focal_gradient,
    sparsemax_loss: sparsemax_loss_gradient,
    dice: dice_gradient,
    dice_cross_entropy: dice_cross_entropy_gradient,
}

SMOOTHED = frozenset({cross_entropy, nll})
"""Losses that take by how much their targets were smoothed, as the argument ``smoothing``."""
