"""Penalties on weights: l1, l2, max_norm. Biases and normalization parameters are left alone.

    regularizer=[l1]          lambda * sum |w|, by steps that stop at 0: weights become exactly 0
    regularizer=[l2]          lambda * sum w^2, added to the loss
    regularizer=[max_norm]    every unit's incoming weights are scaled back to length c
    regularizer=[l1,l2]       the elastic net of Zou & Hastie 2005

Shapes: R runs, P parameters.
"""

from typing import Literal

from dlrun.components.hyperparameters import NonNegative, Positive
from dlrun.components.optimizers.base import Scratch, State, average
from dlrun.components.regularizers.base import AfterStep, Kink, Penalty, Weights, each_run
from dlrun.lazy import Tensor, torch

_RECENT = 4  # see L1: the average looks back over about a quarter of the steps so far


class L1(Kink):
    """weight * sum |w| (Tibshirani 1996).

    With ``method="proximal"`` the optimum has exact zeros: those of the lasso, with l2 those of the elastic net. Each step

    1. averages the gradient g of everything but this penalty, ``a += 4 / (t + 3) (g - a)`` in step t;
    2. gives each weight a side s: sign(w); at w = 0 the side to which the average pulls harder than the penalty holds, -sign(a)
       where |a| > weight, else 0;
    3. hands g + weight s to the optimizer, 0 where s = 0;
    4. sets to 0 every weight that the optimizer's step has taken off its side.

    For plain gradient descent this is the soft threshold w <- sign(w) max(|w| - lr weight, 0) of ISTA (Daubechies, Defrise & De
    Mol 2004), but that a weight which changes its sign stops at 0 on its way. Since the penalty enters as a gradient and the
    zeros by their side, no length of a step appears, and momentum, adaptive steps, schedules and clipping all lead to the
    same optimum (Andrew & Gao 2007 chose sides this way for quasi-Newton steps). One batch's gradient alone would free weights
    from 0 by its noise at any learning rate; its average does not (Xiao 2010, "Dual Averaging Methods for Regularized Stochastic
    Learning"; the weights 4 / (t + 3) are those of Shamir & Zhang 2013).

    Weight decay of the optimizer's own (adamw, lion, asgd's lambd) is no part of this objective and acts beside it.

    With ``method="subgradient"`` weight * sign(w) is added to the gradient, and weights only hover around 0.
    """

    def __init__(
        self, weights: Weights, *, weight: NonNegative = 1e-3, method: Literal["proximal", "subgradient"] = "proximal"
    ) -> None:
        self.weights, self.weight, self.method = weights, weight, method
        self._slope = weights.mask * weight  # [1, P], or [R, P] where runs differ: 0 for what is not penalized
        self._lowest = torch.where(self._slope > 0, 0.0, -torch.inf)  # how far on the other side of 0 a weight may be
        self._scratch = Scratch()

    def value(self, theta: Tensor) -> Tensor:
        """Weight * sum |w|: [R]."""
        return ((theta.abs() * self.weights.mask).sum(1, keepdim=True) * self.weight).flatten()

    def add_gradient(self, theta: Tensor, grad: Tensor) -> None:
        """Add weight * sign(w), when the method is the subgradient."""
        if self.method == "subgradient":
            grad += theta.sign().mul_(self._slope)

    def state(self, theta: Tensor) -> State:
        """The average of the gradient, grad_avg [R, P]; nothing for the subgradient."""
        return {"grad_avg": torch.zeros_like(theta)} if self.method == "proximal" else {}

    def choose(self, theta: Tensor, grad: Tensor, state: State, t: int) -> Tensor:
        """See ``Kink.choose``, and the steps 1 to 3 above."""
        mean, slope = state["grad_avg"], self._slope
        average(mean, grad, _RECENT / (t + _RECENT - 1))
        signs = torch.clamp(mean, -slope, slope, out=self._scratch.like(mean)).sub_(mean)
        signs = torch.where(theta == 0, signs, theta, out=signs).sign_()
        torch.addcmul(slope, grad, signs, out=grad).mul_(signs)  # (g s + weight) s
        return signs

    def project(self, theta: Tensor, signs: Tensor) -> None:
        """See ``Kink.project``. ``signs`` is used as scratch."""
        theta.masked_fill_(torch.mul(theta, signs, out=signs) <= self._lowest, 0.0)


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
