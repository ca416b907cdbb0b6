"""Regularizers that change the training batch: augmentation, mixup, label smoothing. Evaluation sees the data as they are.

    regularizer=[augmentation] regularizer.augmentation.kind=noise      tables: noise, mask, mixup
    regularizer=[augmentation] regularizer.augmentation.kind=shift      images: shift, flip, rotate, crop, noise, mask, mixup
    regularizer=[label_smoothing]                                       targets t become t (1 - s) + s / K

Shapes: R runs, B batch rows, D features, C channels, H x W pixels, K exclusive classes (``classes``; 1 where labels may
occur together).
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dlrun import streams
from dlrun.components.hyperparameters import Probability, Row
from dlrun.components.regularizers.base import BatchTransform, each_run
from dlrun.lazy import Tensor, torch

Kind = Literal["noise", "mask", "mixup", "shift", "flip", "rotate", "crop"]
_QUANTILES = 4096


class Augmentation(BatchTransform):
    """A random change of the training inputs. What ``strength`` means depends on ``kind``.

    noise: the standard deviation of Gaussian noise (inputs are standardized); mask: the probability of a feature being set to 0,
    the mean of a standardized one; mixup: alpha of Beta(alpha, alpha), from which the share of another row is drawn (Zhang et al.
    2018, arXiv:1710.09412); shift: the largest shift as a share of the image; flip: the probability of a mirror image; rotate:
    the largest angle as a share of 180 degrees; crop: the largest share of the side that is cut away before scaling back.
    """

    def __init__(self, classes: int, *, kind: Kind = "noise", strength: Probability = 0.1) -> None:
        self.classes, self.kind, self.strength = classes, kind, strength
        self._quantiles: Tensor | None = None  # [1, Q], or [R, Q] where alpha differs

    def batch(self, x: Tensor, y: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """The changed batch. Raises ValueError for an image transform of rows that are not images."""
        if self.kind == "noise":
            noise = streams.normal(keys, x[0].numel(), x.dtype).view(x.shape)
            return x + noise * each_run(self.strength, x), y
        if self.kind == "mask":
            strength = self.strength.flatten() if isinstance(self.strength, Tensor) else self.strength
            return x.masked_fill(streams.bernoulli(keys, x[0].numel(), strength).view(x.shape), 0.0), y
        if self.kind == "mixup":
            return self._mixup(x, y, keys)
        return self._move(x, y, keys)

    def _mixup(self, x: Tensor, y: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        fraction = self._beta(streams.derive(keys, 1)).to(x.dtype)
        partner = streams.permutations(streams.derive(keys, 2), x.shape[1])
        row = torch.arange(len(x), device=x.device).unsqueeze(1)
        soft = soften(y, self.classes, x.dtype)
        fraction_x, fraction_y = each_run(fraction, x), each_run(fraction, soft)
        return fraction_x * x + (1 - fraction_x) * x[row, partner], fraction_y * soft + (1 - fraction_y) * soft[row, partner]

    def _beta(self, keys: Tensor) -> Tensor:
        """One share for each run, from Beta(strength, strength): a quantile picked at random. [R]."""
        pick = streams.bits(keys, 1).flatten() & (_QUANTILES - 1)
        if self._quantiles is None or self._quantiles.device != keys.device:
            alphas = self.strength.flatten().tolist() if isinstance(self.strength, Tensor) else [self.strength]
            self._quantiles = torch.from_numpy(np.stack([beta_quantiles(alpha) for alpha in alphas])).to(keys.device)
        return self._quantiles.expand(len(pick), -1).gather(1, pick.unsqueeze(1)).flatten()

    def _move(self, x: Tensor, y: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Shift, flip, rotate or crop every image by its own random amount: an affine map of the grid. Masks go along."""
        runs, rows = x.shape[:2]
        draw = streams.uniform(keys, 3 * rows, x.dtype).view(runs, 3, rows)
        strength: Row = each_run(self.strength, draw[:, 0])
        first, second, third = ((draw[:, i] * 2 - 1) for i in range(3))
        one, zero = torch.ones_like(first), torch.zeros_like(first)
        if self.kind == "shift":  # the grid runs from -1 to 1, so a share of the side is twice that share
            grid = [one, zero, 2 * strength * first, zero, one, 2 * strength * second]
        elif self.kind == "flip":
            grid = [torch.where(draw[:, 0] < strength, -one, one), zero, zero, zero, one, zero]
        elif self.kind == "rotate":
            angle = first * strength * torch.pi
            grid = [angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero]
        else:
            side = 1 - strength * third.abs()
            grid = [side, zero, (1 - side) * first, zero, side, (1 - side) * second]
        affine = torch.stack(grid, dim=-1).view(runs * rows, 2, 3)
        images = x.flatten(0, 1)
        places = torch.nn.functional.affine_grid(affine, list(images.shape), align_corners=False)
        moved = torch.nn.functional.grid_sample(images, places, align_corners=False).view(x.shape)
        return moved, self._moved_masks(y, places) if y.dim() >= 4 else y

    def _moved_masks(self, y: Tensor, places: Tensor) -> Tensor:
        """Masks sampled at the nearest pixel; what comes in from outside is class 0, the ground."""
        soft = soften(y, self.classes, places.dtype)
        moved = torch.nn.functional.grid_sample(soft.flatten(0, 1), places, mode="nearest", align_corners=False)
        moved[:, 0] += 1 - moved.sum(1)
        return moved.view(soft.shape) if y.is_floating_point() else moved.argmax(1).view(y.shape)


@cache
def beta_quantiles(alpha: float) -> NDArray[np.float64]:
    """Quantiles of Beta(alpha, alpha) at the midpoints of 4,096 equal steps; alpha = 0 is a coin of 0 and 1."""
    from scipy.special import betaincinv  # only mixup needs it

    middle = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
    found: NDArray[np.float64] = betaincinv(alpha, alpha, middle) if alpha > 0 else middle.round()
    return found


def soften(y: Tensor, classes: int, dtype: torch.dtype) -> Tensor:
    """Class indices [R, B, ...] as probabilities [R, B, K, ...]; anything else as it is."""
    return y if y.is_floating_point() else torch.nn.functional.one_hot(y, classes).to(dtype).movedim(-1, 2)


class LabelSmoothing(BatchTransform):
    """t (1 - s) + s / K for K exclusive classes; the binary and multilabel form t (1 - s) + s / 2 pulls towards one half.

    Szegedy, Vanhoucke, Ioffe, Shlens & Wojna 2016, arXiv:1512.00567.
    """

    soft_targets = True

    def __init__(self, classes: int, *, smoothing: Probability = 0.1) -> None:
        self.classes, self.smoothing = classes, smoothing

    def batch(self, x: Tensor, y: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Softened targets."""
        soft = soften(y, self.classes, x.dtype)
        smoothing = each_run(self.smoothing, soft)
        fraction = 1.0 / self.classes if self.classes > 1 else 0.5
        return x, soft * (1 - smoothing) + smoothing * fraction
