"""Optimizers that take the gradient as it is, or its sign.

    SGD     gradient descent, with momentum
    ASGD    gradient descent whose answer is the average of the weights
    Lion    the sign of a momentum

Shapes: R rows (runs) of the group, P parameters of a run. g is the gradient.
"""

from dlrun.components.hyperparameters import NonNegative, Positive, Probability, Row, Share
from dlrun.components.optimizers.base import Optimizer, Scratch, State, add_scaled, average, cast, product, scale, shrink
from dlrun.errors import raise_all
from dlrun.lazy import Tensor, torch


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum.

    ``g += weight_decay theta``; ``b = g`` in the first step, then ``b = momentum b + (1 - dampening) g``;
    ``theta -= lr b``, or with ``nesterov`` ``theta -= lr (g + momentum b)``.
    Without momentum, ``theta -= lr g`` whatever the dampening. Polyak 1964; Sutskever et al. 2013 (nesterov).

    Raises:
        InputError: nesterov without momentum, or with dampening.
    """

    def __init__(
        self,
        *,
        lr: Positive = 1e-3,
        momentum: NonNegative = 0.0,
        dampening: Probability = 0.0,
        weight_decay: NonNegative = 0.0,
        nesterov: bool = False,
    ) -> None:
        if nesterov:
            found = []
            if bool(torch.as_tensor(momentum <= 0).any()):
                found.append("optimizer.nesterov=true: needs a momentum; type optimizer.momentum=0.9 or optimizer.nesterov=false")
            if bool(torch.as_tensor(dampening != 0).any()):
                found.append(
                    "optimizer.nesterov=true: allows no dampening; type optimizer.dampening=0 or optimizer.nesterov=false"
                )
            raise_all(found)
        self._lr, self._momentum, self._weight_decay, self._nesterov = lr, momentum, weight_decay, nesterov
        # Rows without momentum ignore dampening.
        self._kept: Row = 1 - dampening
        if isinstance(momentum, Tensor):
            self._kept = torch.where(momentum == 0, torch.ones_like(momentum), self._kept)

    def state(self, theta: Tensor) -> State:
        """momentum_buffer [R, P], zeros; nothing where no row has momentum."""
        return {"momentum_buffer": torch.zeros_like(theta)} if _present(self._momentum) else {}

    def step(self, theta: Tensor, grad: Tensor, state: State, t: int, factor: Row) -> None:
        """One update in place; see ``Optimizer.step``."""
        add_scaled(grad, theta, self._weight_decay)
        if _present(self._momentum):
            buffer = scale(state["momentum_buffer"], self._momentum)
            add_scaled(buffer, grad, 1.0 if t == 1 else self._kept)
            if self._nesterov:
                add_scaled(grad, buffer, self._momentum)
            else:
                grad = buffer
        add_scaled(theta, grad, -self._lr * factor)


def _present(number: Row) -> bool:
    return isinstance(number, Tensor) or number != 0


class ASGD(Optimizer):
    """Averaged gradient descent: runs are evaluated with the mean of the weights since step t0.

    ``g += weight_decay theta``; ``eta = lr / (1 + lambd lr (t - 1))^alpha``; ``theta = (1 - lambd eta) theta - eta g``;
    ``a += mu (theta - a)`` with ``mu = 1 / max(1, t - 1 - t0)``. Evaluation uses a. A step's theta enters a when the next step
    begins or when a is asked for, so that what regularizers do to theta behind the step counts too.
    A schedule changes lr at once; torch's class notices one step late. Polyak & Juditsky 1992.
    """

    def __init__(
        self,
        *,
        lr: Positive = 1e-2,
        lambd: NonNegative = 1e-4,
        alpha: NonNegative = 0.75,
        t0: NonNegative = 1e6,
        weight_decay: NonNegative = 0.0,
    ) -> None:
        self._lr, self._lambd, self._alpha, self._t0, self._weight_decay = lr, lambd, alpha, t0, weight_decay

    def state(self, theta: Tensor) -> State:
        """The average without the present theta, ax [R, P], and the share with which that is to enter it, mu [R, 1]."""
        return {"ax": theta.clone(), "mu": torch.ones_like(theta[:, :1])}

    def step(self, theta: Tensor, grad: Tensor, state: State, t: int, factor: Row) -> None:
        """One update in place; see ``Optimizer.step``."""
        average(state["ax"], theta, state["mu"])
        add_scaled(grad, theta, self._weight_decay)
        lr = self._lr * factor
        eta = lr / (1 + self._lambd * lr * (t - 1)) ** self._alpha
        shrink(theta, product(self._lambd, eta))
        add_scaled(theta, grad, -eta)
        age = t - 1 - self._t0
        if isinstance(age, Tensor):
            state["mu"].copy_(1 / age.clamp(min=1))
        else:
            state["mu"].fill_(1 / max(1, age))

    def evaluation(self, theta: Tensor, state: State) -> Tensor:
        """The averaged weights, [R, P]. torch keeps them in its state and never uses them."""
        return torch.lerp(state["ax"], theta, state["mu"])


class Lion(Optimizer):
    """Evolved sign momentum: every weight moves by exactly lr, in the direction of a momentum.

    ``theta *= 1 - lr weight_decay``; ``theta -= lr sign(b1 m + (1 - b1) g)``; ``m = b2 m + (1 - b2) g``.
    Its learning rate is to be 3 to 10 times smaller than AdamW's. Chen et al. 2023, algorithm 2, arXiv:2302.06675.
    """

    def __init__(self, *, lr: Positive = 1e-4, betas: tuple[Share, Share] = (0.9, 0.99), weight_decay: NonNegative = 0.0) -> None:
        self._lr, self._betas, self._decoupled = lr, betas, product(weight_decay, lr)
        self._scratch = Scratch()

    def state(self, theta: Tensor) -> State:
        """exp_avg [R, P], zeros."""
        return {"exp_avg": torch.zeros_like(theta)}

    def step(self, theta: Tensor, grad: Tensor, state: State, t: int, factor: Row) -> None:
        """One update in place; see ``Optimizer.step``."""
        beta1, beta2 = self._betas
        mean = state["exp_avg"]
        shrink(theta, product(self._decoupled, factor))
        direction = torch.lerp(mean, grad, cast(1 - beta1, mean), out=self._scratch.like(mean)).sign_()
        add_scaled(theta, direction, -self._lr * factor)
        average(mean, grad, 1 - beta2)
