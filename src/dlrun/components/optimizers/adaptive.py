"""Optimizers that divide the gradient by a measure of its past size, without Adam's bias corrections.

    RMSprop     the root of a moving mean square
    Adagrad     the root of the sum of all squares
    Adadelta    a moving mean square, and the size of past updates in place of a learning rate

Shapes: R rows (runs) of the group, P parameters of a run. g is the gradient.
"""

from dlrun.components.hyperparameters import NonNegative, Positive, Probability, Row
from dlrun.components.optimizers.base import (
    Optimizer,
    Scratch,
    State,
    add,
    add_ratio,
    add_scaled,
    average,
    average_square,
    cast,
    scale,
)
from dlrun.lazy import Tensor, torch


class RMSprop(Optimizer):
    """The gradient divided by the root of its moving mean square.

    ``g += weight_decay theta``; ``v = alpha v + (1 - alpha) g^2``; ``s = sqrt(v) + eps``; ``theta -= lr g / s``.
    With ``centered``, ``s = sqrt(v - a^2) + eps``, where a is the moving average of g: a standard deviation.
    With momentum, ``b = momentum b + g / s``; ``theta -= lr b``.
    Tieleman & Hinton 2012, lecture 6.5; centered: Graves 2013, arXiv:1308.0850.
    """

    def __init__(
        self,
        *,
        lr: Positive = 1e-2,
        alpha: Probability = 0.99,
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 0.0,
        momentum: NonNegative = 0.0,
        centered: bool = False,
    ) -> None:
        self._lr, self._alpha, self._eps, self._weight_decay = lr, alpha, eps, weight_decay
        self._momentum, self._centered = momentum, centered
        self._scratch = Scratch()
        self._has_momentum = isinstance(momentum, Tensor) or momentum > 0

    def state(self, theta: Tensor) -> State:
        """square_avg, with momentum also momentum_buffer, with centered also grad_avg: [R, P], zeros."""
        present = {"square_avg": True, "momentum_buffer": self._has_momentum, "grad_avg": self._centered}
        return {name: torch.zeros_like(theta) for name, needed in present.items() if needed}

    def step(self, theta: Tensor, grad: Tensor, state: State, t: int, factor: Row) -> None:
        """One update in place; see ``Optimizer.step``."""
        add_scaled(grad, theta, self._weight_decay)
        square = state["square_avg"]
        average_square(square, grad, self._alpha, self._scratch)
        if self._centered:
            mean = state["grad_avg"]
            average(mean, grad, 1 - self._alpha)
            size = torch.addcmul(square, mean, mean, value=-1, out=self._scratch.like(square)).sqrt_()
        else:
            size = torch.sqrt(square, out=self._scratch.like(square))
        add(size, self._eps)
        if self._has_momentum:
            buffer = scale(state["momentum_buffer"], self._momentum).addcdiv_(grad, size)
            add_scaled(theta, buffer, -self._lr * factor)
        else:
            add_ratio(theta, grad, size, -self._lr * factor, scratch=grad)


class Adagrad(Optimizer):
    """The gradient divided by the root of the sum of all its squares: steps shrink for good.

    ``g += weight_decay theta``; ``v += g^2`` from v = initial_accumulator_value;
    ``theta -= lr / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps)``. Duchi, Hazan & Singer 2011, JMLR 12.
    """

    def __init__(
        self,
        *,
        lr: Positive = 1e-2,
        lr_decay: NonNegative = 0.0,
        weight_decay: NonNegative = 0.0,
        initial_accumulator_value: NonNegative = 0.0,
        eps: NonNegative = 1e-10,
    ) -> None:
        self._lr, self._lr_decay, self._weight_decay, self._eps = lr, lr_decay, weight_decay, eps
        self._scratch = Scratch()
        self._initial = initial_accumulator_value

    def state(self, theta: Tensor) -> State:
        """The matrix sum [R, P], filled with initial_accumulator_value."""
        return {"sum": add(torch.zeros_like(theta), self._initial)}

    def step(self, theta: Tensor, grad: Tensor, state: State, t: int, factor: Row) -> None:
        """One update in place; see ``Optimizer.step``."""
        add_scaled(grad, theta, self._weight_decay)
        total = state["sum"].addcmul_(grad, grad)
        size = add(torch.sqrt(total, out=self._scratch.like(total)), self._eps)
        add_ratio(theta, grad, size, self._lr * (factor / (-1 - (t - 1) * self._lr_decay)), scratch=grad)


class Adadelta(Optimizer):
    """The gradient scaled by the ratio of past updates to past gradients: lr = 1 needs no tuning.

    ``g += weight_decay theta``; ``v = rho v + (1 - rho) g^2``; ``d = sqrt(u + eps) / sqrt(v + eps) g``;
    ``u = rho u + (1 - rho) d^2``; ``theta -= lr d``. Zeiler 2012, arXiv:1212.5701.
    """

    def __init__(
        self,
        *,
        lr: Positive = 1.0,
        rho: Probability = 0.9,
        eps: NonNegative = 1e-6,
        weight_decay: NonNegative = 0.0,
    ) -> None:
        self._lr, self._rho, self._eps, self._weight_decay = lr, rho, eps, weight_decay
        self._scratch = Scratch()

    def state(self, theta: Tensor) -> State:
        """square_avg and acc_delta: [R, P], zeros."""
        return {"square_avg": torch.zeros_like(theta), "acc_delta": torch.zeros_like(theta)}

    def step(self, theta: Tensor, grad: Tensor, state: State, t: int, factor: Row) -> None:
        """One update in place; see ``Optimizer.step``."""
        add_scaled(grad, theta, self._weight_decay)
        square, moved = state["square_avg"], state["acc_delta"]
        average_square(square, grad, self._rho, self._scratch)
        size = self._scratch.like(square)
        delta = grad.div_(torch.add(square, cast(self._eps, square), out=size).sqrt_())
        delta.mul_(torch.add(moved, cast(self._eps, moved), out=size).sqrt_())
        average_square(moved, delta, self._rho, self._scratch)
        add_scaled(theta, delta, -self._lr * factor)
