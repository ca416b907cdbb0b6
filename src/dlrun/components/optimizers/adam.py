"""Adam and its kin: a moving average of the gradient, divided by a measure of its size.

    Adam     size = root of the mean square; weight decay is a part of the gradient
    AdamW    the same with weight decay applied to the weights
    NAdam    Adam whose average looks one step ahead (Nesterov)
    RAdam    Adam that waits until the mean square can be trusted
    Adamax   size = decaying maximum

With m, v the moving averages, the corrected update ``(m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)`` is computed as
``sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps * sqrt(1 - b2^t))``: equal, and one pass over the matrix less.

Shapes: R rows (runs) of the group, P parameters of a run. b1, b2 are the betas, g the gradient.
"""

from dlrun.components.hyperparameters import NonNegative, Positive, Row, Share
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
    product,
    scale,
    shrink,
)
from dlrun.lazy import Tensor, torch

Betas = tuple[Share, Share]


class _Moments:
    """What Adam, NAdam and RAdam begin a step with: weight decay, and the averages m and v of the gradient and of its square."""

    def __init__(self, lr: Row, betas: tuple[Row, Row], weight_decay: Row, decoupled: bool) -> None:
        self.betas, self.scratch = betas, Scratch()
        self._coupled: Row = 0.0 if decoupled else weight_decay
        self._decoupled: Row = product(weight_decay, lr) if decoupled else 0.0

    @staticmethod
    def state(theta: Tensor) -> State:
        return {"exp_avg": torch.zeros_like(theta), "exp_avg_sq": torch.zeros_like(theta)}

    def move(self, theta: Tensor, grad: Tensor, state: State, factor: Row) -> tuple[Tensor, Tensor]:
        """Decay the weights (or add the decay to ``grad``), and move m and v on: m, v."""
        beta1, beta2 = self.betas
        shrink(theta, product(self._decoupled, factor))
        add_scaled(grad, theta, self._coupled)
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        average(mean, grad, 1 - beta1)
        average_square(square, grad, beta2, self.scratch)
        return mean, square


class Adam(Optimizer):
    """Adam: steps of about lr in every coordinate, whatever the gradient's size.

    ``g += weight_decay theta``; ``m = b1 m + (1 - b1) g``; ``v = b2 v + (1 - b2) g^2``;
    ``theta -= lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)``.
    With ``amsgrad`` v is replaced by its maximum so far. With ``decoupled_weight_decay`` the decay is AdamW's.
    Kingma & Ba 2015, arXiv:1412.6980; amsgrad: Reddi, Kale & Kumar 2018, arXiv:1904.09237.
    """

    def __init__(
        self,
        *,
        lr: Positive = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 0.0,
        amsgrad: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        self._lr, self._eps, self._amsgrad = lr, eps, amsgrad
        self._moments = _Moments(lr, betas, weight_decay, decoupled_weight_decay)

    def state(self, theta: Tensor) -> State:
        """exp_avg and exp_avg_sq, with amsgrad also max_exp_avg_sq: [R, P], zeros."""
        return self._moments.state(theta) | ({"max_exp_avg_sq": torch.zeros_like(theta)} if self._amsgrad else {})

    def step(self, theta: Tensor, grad: Tensor, state: State, t: int, factor: Row) -> None:
        """One update in place; see ``Optimizer.step``."""
        beta1, beta2 = self._moments.betas
        mean, square = self._moments.move(theta, grad, state, factor)
        if self._amsgrad:
            square = torch.maximum(state["max_exp_avg_sq"], square, out=state["max_exp_avg_sq"])
        correction = (1 - beta2**t) ** 0.5
        size = add(torch.sqrt(square, out=grad), self._eps * correction)
        add_ratio(theta, mean, size, self._lr * (factor * (correction / (beta1**t - 1))), self._moments.scratch)


class AdamW(Optimizer):
    """Adam with decoupled weight decay: the weights shrink by themselves and the decay does not enter the averages.

    ``theta *= 1 - lr weight_decay``, then Adam's update without decay. ``amsgrad`` as in Adam.
    Loshchilov & Hutter 2019, arXiv:1711.05101.
    """

    def __init__(
        self,
        *,
        lr: Positive = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        self._adam = Adam(lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad, decoupled_weight_decay=True)

    def state(self, theta: Tensor) -> State:
        """exp_avg and exp_avg_sq, with amsgrad also max_exp_avg_sq: [R, P], zeros."""
        return self._adam.state(theta)

    def step(self, theta: Tensor, grad: Tensor, state: State, t: int, factor: Row) -> None:
        """One update in place; see ``Optimizer.step``."""
        self._adam.step(theta, grad, state, t, factor)


class NAdam(Optimizer):
    """Adam with Nesterov's look-ahead, whose momentum warms up.

    ``mu_t = b1 (1 - 0.96^(t momentum_decay) / 2)``; with M_t the product of mu_1 to mu_t and m, v as in Adam,
    ``theta -= lr (mu_{t+1} m / (1 - M_{t+1}) + (1 - mu_t) g / (1 - M_t)) / (sqrt(v / (1 - b2^t)) + eps)``.
    Weight decay as in Adam, with ``decoupled_weight_decay`` as in AdamW. Dozat 2016, "Incorporating Nesterov momentum into Adam".
    """

    def __init__(
        self,
        *,
        lr: Positive = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 0.0,
        momentum_decay: NonNegative = 4e-3,
        decoupled_weight_decay: bool = False,
    ) -> None:
        self._lr, self._eps, self._momentum_decay = lr, eps, momentum_decay
        self._moments = _Moments(lr, betas, weight_decay, decoupled_weight_decay)

    def state(self, theta: Tensor) -> State:
        """exp_avg and exp_avg_sq [R, P], zeros; mu_product [R, 1], ones.

        mu_product is in float64: with it in float32, torch's own rounding is 6e-8 a step.
        """
        ones = torch.ones(theta.shape[0], 1, dtype=torch.float64, device=theta.device)
        return self._moments.state(theta) | {"mu_product": ones}

    def step(self, theta: Tensor, grad: Tensor, state: State, t: int, factor: Row) -> None:
        """One update in place; see ``Optimizer.step``."""
        beta1, beta2 = self._moments.betas
        mean, square = self._moments.move(theta, grad, state, factor)
        correction = (1 - beta2**t) ** 0.5
        now = beta1 * (1 - 0.5 * 0.96 ** (t * self._momentum_decay))
        ahead = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * self._momentum_decay))
        reached = state["mu_product"].mul_(now)
        rate = self._lr * (factor * -correction)
        scale(grad, rate * (1 - now) / (1 - reached))
        add_scaled(grad, mean, rate * ahead / (1 - reached * ahead))
        theta.addcdiv_(grad, add(torch.sqrt(square, out=self._moments.scratch.like(square)), self._eps * correction))


class RAdam(Optimizer):
    """Adam with a rectified variance: plain momentum first, adaptive steps once the mean square can be trusted.

    ``rho_inf = 2 / (1 - b2) - 1``; ``rho = rho_inf - 2 t b2^t / (1 - b2^t)``; m, v as in Adam, ``m' = m / (1 - b1^t)``.
    While rho <= 5: ``theta -= lr m'``. Then ``theta -= lr r m' sqrt(1 - b2^t) / (sqrt(v) + eps)`` with
    ``r^2 = (rho - 4)(rho - 2) rho_inf / ((rho_inf - 4)(rho_inf - 2) rho)``. Weight decay as in Adam, with
    ``decoupled_weight_decay`` as in AdamW. Liu et al. 2020, arXiv:1908.03265.
    """

    def __init__(
        self,
        *,
        lr: Positive = 1e-3,
        betas: Betas = (0.9, 0.999),
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 0.0,
        decoupled_weight_decay: bool = False,
    ) -> None:
        self._lr, self._eps = lr, eps
        self._moments = _Moments(lr, betas, weight_decay, decoupled_weight_decay)

    def state(self, theta: Tensor) -> State:
        """exp_avg and exp_avg_sq: [R, P], zeros."""
        return self._moments.state(theta)

    def step(self, theta: Tensor, grad: Tensor, state: State, t: int, factor: Row) -> None:
        """One update in place; see ``Optimizer.step``."""
        beta1, beta2 = self._moments.betas
        mean, square = self._moments.move(theta, grad, state, factor)
        longest = 2 / (1 - beta2) - 1
        length = longest - 2 * t * beta2**t / (1 - beta2**t)
        rate = self._lr * (factor / (beta1**t - 1))
        if isinstance(length, Tensor):
            early = length <= 5
            size = add(torch.sqrt(square, out=grad), self._eps).masked_fill_(early, 1.0)
            rate = rate * (_rectification(length, longest) * (1 - beta2**t) ** 0.5).masked_fill(early, 1.0)
            add_ratio(theta, mean, size, rate, self._moments.scratch)
        elif length > 5:
            size = add(torch.sqrt(square, out=grad), self._eps)
            rate = rate * (_rectification(length, longest) * (1 - beta2**t) ** 0.5)
            add_ratio(theta, mean, size, rate, self._moments.scratch)
        else:
            # The same order of operations as with columns, and so the same bits.
            theta.add_(torch.mul(mean, cast(rate, mean), out=grad))


def _rectification(length: Row, longest: Row) -> Row:
    """RAdam's r for averages of ``length`` steps, ``longest`` in the limit."""
    return ((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length)) ** 0.5


class Adamax(Optimizer):
    """Adam whose measure of size is a decaying maximum instead of a mean square.

    ``g += weight_decay theta``; ``m = b1 m + (1 - b1) g``; ``u = max(b2 u, |g| + eps)``; ``theta -= lr / (1 - b1^t) m / u``.
    Kingma & Ba 2015, section 7.1, arXiv:1412.6980.
    """

    def __init__(
        self,
        *,
        lr: Positive = 2e-3,
        betas: Betas = (0.9, 0.999),
        eps: NonNegative = 1e-8,
        weight_decay: NonNegative = 0.0,
    ) -> None:
        self._lr, self._betas, self._eps, self._weight_decay = lr, betas, eps, weight_decay

    def state(self, theta: Tensor) -> State:
        """exp_avg and exp_inf: [R, P], zeros."""
        return {"exp_avg": torch.zeros_like(theta), "exp_inf": torch.zeros_like(theta)}

    def step(self, theta: Tensor, grad: Tensor, state: State, t: int, factor: Row) -> None:
        """One update in place; see ``Optimizer.step``."""
        beta1, beta2 = self._betas
        add_scaled(grad, theta, self._weight_decay)
        mean, size = state["exp_avg"], state["exp_inf"]
        average(mean, grad, 1 - beta1)
        torch.maximum(scale(size, beta2), add(grad.abs_(), self._eps), out=size)
        add_ratio(theta, mean, size, self._lr * (factor / (beta1**t - 1)), scratch=grad)
