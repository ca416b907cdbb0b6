"""Logistic and softmax regression with a squared penalty, fitted on all splits at once.

Shapes: S splits of the same sizes, n rows, D features, K outputs.
"""

from collections.abc import Callable

import numpy as np

from dlrun.baselines.sample import Predict, Sample, dense
from dlrun.components.arrays import Array
from dlrun.components.links import log_softmax, log_sum_exp, sigmoid, softmax, softplus

_NEWTON_STEPS = 50
_SOLVER_STEPS = 200
_HALVINGS = 20


def fitted(sample: Sample, strength: float) -> Predict:
    """The weights that minimize 0.5 |w|^2 + strength * (sum of log losses), intercepts not penalized, by Newton's method.

    Each step solves for the direction with conjugate gradients, which need no matrix of D K x D K, and halves it until the
    objective falls. Splits, and labels of several, go their own ways: their sums are taken ``over`` the rest.
    """
    x = _with_one(sample.x)
    true = dense(sample, sample.y)
    exclusive = sample.exclusive
    over = (1, 2) if exclusive else (1,)
    penalized = np.ones((x.shape[2], 1))
    penalized[-1] = 0

    def total(values: Array) -> Array:
        found: Array = values.sum(over, keepdims=True)
        return found

    def objective(weight: Array) -> Array:
        z = x @ weight
        losses = log_sum_exp(z, 2) - (true * z).sum(2, keepdims=True) if exclusive else softplus(z) - true * z
        return strength * total(losses) + 0.5 * total(penalized * np.square(weight))

    weight = np.zeros((len(x), x.shape[2], true.shape[2]))
    squares = np.square(x)
    for _ in range(_NEWTON_STEPS):
        z = x @ weight
        p = softmax(z, 2) if exclusive else sigmoid(z)
        gradient = strength * (x.swapaxes(1, 2) @ (p - true)) + penalized * weight
        moving = np.abs(gradient).max(over, keepdims=True) > 1e-7 * strength * x.shape[1]
        if not moving.any():
            break

        def curvature(direction: Array, p: Array = p) -> Array:
            dz = x @ direction
            dp = p * (dz - (p * dz).sum(2, keepdims=True)) if exclusive else p * (1 - p) * dz
            found: Array = strength * (x.swapaxes(1, 2) @ dp) + penalized * direction
            return found

        diagonal = strength * (squares.swapaxes(1, 2) @ (p * (1 - p))) + penalized + 1e-12
        step = np.where(moving, _solve(curvature, -gradient, diagonal, total), 0.0)  # whoever is there stays there
        slope, before = total(gradient * step), objective(weight)
        length = np.ones_like(before)
        for _ in range(_HALVINGS):
            short = objective(weight + length * step) > before + 1e-4 * length * slope + 1e-12 * np.abs(before)
            if not short.any():
                break
            length = np.where(short, length / 2, length)
        weight = weight + length * step
    found = weight

    def predict(x: Array) -> Array:
        z: Array = _with_one(x) @ found
        return log_softmax(z, 2) if exclusive else z

    return predict


def _with_one(x: Array) -> Array:
    """Inputs with a column of ones behind, for the intercept."""
    return np.concatenate([x, np.ones_like(x[..., :1])], 2)


def _solve(matrix: Callable[[Array], Array], right: Array, diagonal: Array, total: Callable[[Array], Array]) -> Array:
    """Conjugate gradients, preconditioned by the diagonal, until the residual is a hundredth of what it was."""
    found, residual = np.zeros_like(right), right
    scaled = residual / diagonal
    direction, product = scaled, total(residual * scaled)
    goal = 1e-4 * total(np.square(right))
    for _ in range(_SOLVER_STEPS):
        active = total(np.square(residual)) > goal
        if not active.any():
            break
        image = matrix(direction)
        length = np.where(active, product / (total(direction * image) + 1e-300), 0.0)
        found, residual = found + length * direction, residual - length * image
        scaled = residual / diagonal
        following = total(residual * scaled)
        direction = scaled + np.where(active, following / (product + 1e-300), 0.0) * direction
        product = following
    return found
