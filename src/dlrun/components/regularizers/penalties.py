"""Penalties on weights: l1, l2, max_norm. Biases and normalization parameters are left alone.

    regularizer=[l1]          lambda * sum |w|, by a proximal step: weights become exactly 0
    regularizer=[l2]          lambda * sum w^2, added to the loss
    regularizer=[max_norm]    every unit's incoming weights are scaled back to length c
    regularizer=[l1,l2]       the elastic net of Zou & Hastie 2005

Shapes: R runs, P parameters.
"""

from typing import Literal

import torch
from torch import Tensor

from dlrun.components.hyperparameters import NonNegative, Positive
from dlrun.components.regularizers.base import AfterStep, Penalty, Weights, each_run


class L1(Penalty, AfterStep):
    """weight * sum |w| (Tibshirani 1996).

    With ``method="proximal"`` the penalty acts behind each optimizer step as the soft threshold
    w <- sign(w) max(|w| - lr weight, 0), the proximal map of lr * weight * |w| (ISTA: Daubechies, Defrise & De Mol 2004), so that
    weights become exactly 0. With ``method="subgradient"`` weight * sign(w) is added to the gradient, and weights only hover
    around 0.
    """

    def __init__(
        self, weights: Weights, *, weight: NonNegative = 1e-3, method: Literal["proximal", "subgradient"] = "proximal"
    ) -> None:
        self.weights, self.weight, self.method = weights, weight, method

    def value(self, theta: Tensor) -> Tensor:
        """Weight * sum |w|: [R]."""
        return ((theta.abs() * self.weights.mask).sum(1, keepdim=True) * self.weight).flatten()

    def add_gradient(self, theta: Tensor, grad: Tensor) -> None:
        """Add weight * sign(w), when the method is the subgradient."""
        if self.method == "subgradient":
            grad += theta.sign().mul_(self.weights.mask).mul_(self.weight)

    def after_step(self, theta: Tensor, lr: float | Tensor) -> None:
        """Soft-threshold the weights by lr * weight, when the method is proximal."""
        if self.method == "proximal":
            threshold = self.weights.mask * (self.weight * lr)
            theta.sub_(torch.clamp(theta, -threshold, threshold))


class L2(Penalty):
    """weight * sum w^2, added to the loss (Hoerl & Kennard 1970). Its gradient is 2 * weight * w.

    With sgd, weight = lambda / 2 is the same as weight_decay = lambda, except that weight_decay also pulls on biases. The notes'
    form lambda / 2 * sum w^2 is weight = lambda / 2.
    """

    def __init__(self, weights: Weights, *, weight: NonNegative = 1e-3) -> None:
        self.weights, self.weight = weights, weight

    def value(self, theta: Tensor) -> Tensor:
        """Weight * sum w^2: [R]."""
        return ((theta.square() * self.weights.mask).sum(1, keepdim=True) * self.weight).flatten()

    def add_gradient(self, theta: Tensor, grad: Tensor) -> None:
        """Add 2 * weight * w."""
        grad.addcmul_(theta, self.weights.mask * (2.0 * self.weight))


class MaxNorm(AfterStep):
    """Scale every unit's incoming weights back to a length of at most ``max_norm`` behind each step (Srebro & Shraibman 2005)."""

    def __init__(self, weights: Weights, *, max_norm: Positive = 3.0) -> None:
        self.weights, self.max_norm = weights, max_norm

    def after_step(self, theta: Tensor, lr: float | Tensor) -> None:
        """w_j <- w_j * min(1, max_norm / ||w_j||) for the incoming weights w_j of each unit j."""
        for start, stop, shape in self.weights.places:
            weight = theta[:, start:stop].view(len(theta), *shape)
            incoming = [1] if len(shape) == 2 else list(range(2, len(shape) + 1))  # linear [in, out], convolution [out, in, k, k]
            length = weight.square().sum(incoming, keepdim=True).sqrt_()
            weight.mul_((each_run(self.max_norm, length) / length.clamp_(min=1e-12)).clamp_(max=1.0))
