"""Logistic and softmax regression with a squared penalty, fitted on all splits at once.

Shapes: S splits of the same sizes, n rows, D features, K outputs.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from dlrun.baselines.sample import Predict, Sample, dense

_NEWTON_STEPS = 50
_SOLVER_STEPS = 200
_HALVINGS = 20


def fitted(sample: Sample, strength: float) -> Predict:
    """The weights that minimize 0.5 |w|^2 + strength * (sum of log losses), intercepts not penalized, by Newton's method.

    Each step solves for the direction with conjugate gradients, which need no matrix of D K x D K, and halves it until the
    objective falls. Splits, and labels of several, go their own ways: their sums are taken ``over`` the rest.
    """
    x = F.pad(sample.x, (0, 1), value=1.0)
    true = dense(sample, sample.y)
    exclusive = sample.exclusive
    over = (1, 2) if exclusive else (1,)
    penalized = torch.ones(x.shape[2], 1, dtype=x.dtype)
    penalized[-1] = 0

    def total(values: Tensor) -> Tensor:
        return values.sum(over, keepdim=True)

    def objective(weight: Tensor) -> Tensor:
        z = x @ weight
        losses = z.logsumexp(2, keepdim=True) - (true * z).sum(2, keepdim=True) if exclusive else F.softplus(z) - true * z
        return strength * total(losses) + 0.5 * total(penalized * weight.square())

    weight = x.new_zeros(len(x), x.shape[2], true.shape[2])
    squares = x.square()
    for _ in range(_NEWTON_STEPS):
        z = x @ weight
        p = z.softmax(2) if exclusive else z.sigmoid()
        gradient = strength * (x.mT @ (p - true)) + penalized * weight
        moving = gradient.abs().amax(over, keepdim=True) > 1e-7 * strength * x.shape[1]
        if not moving.any():
            break

        def curvature(direction: Tensor, p: Tensor = p) -> Tensor:
            dz = x @ direction
            dp = p * (dz - (p * dz).sum(2, keepdim=True)) if exclusive else p * (1 - p) * dz
            return strength * (x.mT @ dp) + penalized * direction

        diagonal = strength * (squares.mT @ (p * (1 - p))) + penalized + 1e-12
        step = torch.where(moving, _solve(curvature, -gradient, diagonal, total), 0.0)  # whoever is there stays there
        slope, before = total(gradient * step), objective(weight)
        length = torch.ones_like(before)
        for _ in range(_HALVINGS):
            short = objective(weight + length * step) > before + 1e-4 * length * slope + 1e-12 * before.abs()
            if not short.any():
                break
            length = torch.where(short, length / 2, length)
        weight = weight + length * step
    found = weight

    def predict(x: Tensor) -> Tensor:
        z = F.pad(x, (0, 1), value=1.0) @ found
        return z.log_softmax(2) if exclusive else z

    return predict


def _solve(matrix: Callable[[Tensor], Tensor], right: Tensor, diagonal: Tensor, total: Callable[[Tensor], Tensor]) -> Tensor:
    """Conjugate gradients, preconditioned by the diagonal, until the residual is a hundredth of what it was."""
    found, residual = torch.zeros_like(right), right
    scaled = residual / diagonal
    direction, product = scaled, total(residual * scaled)
    goal = 1e-4 * total(right.square())
    for _ in range(_SOLVER_STEPS):
        active = total(residual.square()) > goal
        if not active.any():
            break
        image = matrix(direction)
        length = torch.where(active, product / (total(direction * image) + 1e-300), 0.0)
        found, residual = found + length * direction, residual - length * image
        scaled = residual / diagonal
        following = total(residual * scaled)
        direction = scaled + torch.where(active, following / (product + 1e-300), 0.0) * direction
        product = following
    return found
