"""What holds for the functions of the catalogue, up to floating-point accuracy and without any training.

Each function returns a figure and the bounds between which it must lie. Components are looked up when a function is called, so
that it looks at what training uses.

Shapes: R runs, B batch rows, K outputs, P parameters.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dlrun.components import activations, losses, optimizers
from dlrun.components.losses.reduction import per_run
from dlrun.components.regularizers import L2
from dlrun.components.regularizers.base import Weights
from dlrun.lazy import Tensor, torch

Found = tuple[float, float, float]

ROUNDING = 1e-12  # of float64, in sums of a few terms of size 1
_STEP, _STEP_ERROR = 1e-6, 1e-5


def _grid() -> Tensor:
    return torch.linspace(-20, 20, 40_001, dtype=torch.float64)


def sigmoid_slope() -> Found:
    """The largest derivative of the sigmoid is 0.25."""
    return float(_slopes("torch.nn.Sigmoid", _grid()).max()), 0.25 - ROUNDING, 0.25 + ROUNDING


def smooth_at_0() -> Found:
    """The one-sided derivatives of gelu and of swish at 0 are equal."""
    return max(_jump("torch.nn.GELU", approximate="none"), _jump("torch.nn.SiLU")), 0.0, _STEP_ERROR


def relu_kink() -> Found:
    """The one-sided derivatives of relu at 0 differ by 1."""
    return _jump("torch.nn.ReLU"), 1 - _STEP_ERROR, 1 + _STEP_ERROR


def leaky_relu_kink() -> Found:
    """The one-sided derivatives of leaky_relu at 0 differ by 1 - negative_slope, 0.99 by default."""
    return _jump("torch.nn.LeakyReLU", negative_slope=0.01), 0.99 - _STEP_ERROR, 0.99 + _STEP_ERROR


def softmax_sums_to_1() -> Found:
    """Rows of a softmax are positive and sum to 1: the largest deviation."""
    p = activations.ROWWISE["torch.nn.Softmax"].forward(_logits(5))
    return max(float((p.sum(-1) - 1).abs().max()), float((-p).max())), 0.0, ROUNDING


def sigmoids_sum_to_1() -> Found:
    """The sigmoids of three logits do not sum to 1: the median deviation."""
    p = activations.ROWWISE["torch.nn.Sigmoid"].forward(_logits(3))
    return float((p.sum(-1) - 1).abs().median()), 0.1, math.inf


def cross_entropy_is_nll_of_log_softmax() -> Found:
    """cross_entropy of z and nll of log_softmax(z) have equal values and gradients: the largest difference."""
    z, target = _logits(5), _classes(5)
    log_softmax = activations.ROWWISE["torch.nn.LogSoftmax"]
    log_p = log_softmax.forward(z)
    assert log_softmax.backward is not None
    through = log_softmax.backward(losses.GRADIENTS[losses.nll](log_p, target), z, log_p)
    values = _value(losses.cross_entropy(z, target)) - _value(losses.nll(log_p, target))
    slopes = losses.GRADIENTS[losses.cross_entropy](z, target) - through
    return max(abs(values), float(slopes.abs().max())), 0.0, ROUNDING


def bce_with_logits_error() -> Found:
    """bce_with_logits in float32 at logits up to +-200: the largest error of its value and gradient, relative above 1."""
    return _worst_of_logits(losses.bce_with_logits, losses.GRADIENTS[losses.bce_with_logits]), 0.0, 1e-6


def sigmoid_then_bce_error() -> Found:
    """A sigmoid and bce in float32 at the same logits: the largest error is at least one half."""
    sigmoid = activations.ROWWISE["torch.nn.Sigmoid"]
    backward = sigmoid.backward
    assert backward is not None

    def gradient(z: Tensor, y: Tensor) -> Tensor:
        p = sigmoid.forward(z)
        return backward(losses.GRADIENTS[losses.bce](p, y), z, p)

    return _worst_of_logits(lambda z, y: losses.bce(sigmoid.forward(z), y), gradient), 0.5, math.inf


def robust_slopes() -> Found:
    """The slopes of mae, huber and log_cosh are at most 1, however large the residual: the largest up to 1,000."""
    return max(float(_slope(loss).max()) for loss in (losses.mae, losses.huber, losses.log_cosh)), 0.0, 1 + ROUNDING


def mse_slope() -> Found:
    """The slope of mse is twice the residual: at 1,000 it is 2,000."""
    return float(_slope(losses.mse).max()), 2000 - 1e-9, 2000 + 1e-9


def sparsemax_is_no_cross_entropy() -> Found:
    """The sparsemax loss and the cross entropy of the same scores differ: the mean difference."""
    z, target = _logits(5), _classes(5)
    return abs(_value(losses.sparsemax_loss(z, target)) - _value(losses.cross_entropy(z, target))), 0.01, math.inf


def sparsemax_loss_is_0() -> Found:
    """The sparsemax loss is 0 where the right score leads by 1, and its prediction is then certain: the largest deviation."""
    z = torch.tensor([[[2.0, 1.0, -3.0], [0.5, 3.0, 1.0]]], dtype=torch.float64)
    target = torch.tensor([[0, 1]])
    certain = losses.sparsemax(z).gather(2, target.unsqueeze(2)) - 1
    return max(float(losses.sparsemax_loss(z, target).abs().max()), float(certain.abs().max())), 0.0, ROUNDING


def adamw_decay() -> Found:
    """Without a gradient a step of adamw multiplies weights by 1 - lr weight_decay: the largest deviation."""
    theta = _weights()
    moved = _stepped(optimizers.AdamW(lr=0.1, weight_decay=0.01), theta, [torch.zeros_like(theta)])
    return float((moved / theta - (1 - 0.1 * 0.01)).abs().max()), 0.0, ROUNDING


def adam_decay() -> Found:
    """Without a gradient the first step of adam with weight decay is lr, whatever the size of a weight: the largest deviation."""
    theta = _weights()
    moved = _stepped(optimizers.Adam(lr=0.1, weight_decay=0.01), theta, [torch.zeros_like(theta)])
    return float(((moved - theta).abs() - 0.1).abs().max()), 0.0, 1e-4


def decay_is_half_lambda() -> Found:
    """100 steps of sgd with weight_decay=0.02 and with an l2 penalty of weight 0.01 on all parameters: the largest difference."""
    decayed, penalized = _with_penalty(weight_decay=0.02, weight=0.01)
    return float((decayed - penalized).abs().max()), 0.0, ROUNDING


def decay_is_not_lambda() -> Found:
    """The same with an l2 penalty of weight 0.02, lambda instead of lambda / 2: the largest difference."""
    decayed, penalized = _with_penalty(weight_decay=0.02, weight=0.02)
    return float((decayed - penalized).abs().max()), 1e-3, math.inf


def adagrad_step() -> Found:
    """With a constant gradient the 900th step of adagrad is a third of the 100th."""
    return _step_ratio(optimizers.Adagrad(lr=0.1)), 1 / 3 - 1e-4, 1 / 3 + 1e-4


def rmsprop_step() -> Found:
    """With a constant gradient the 900th step of rmsprop is about as long as the 100th."""
    return _step_ratio(optimizers.RMSprop(lr=0.1)), 0.7, 1.1


def adadelta_step() -> Found:
    """With a constant gradient the 900th step of adadelta is at least as long as the 100th."""
    return _step_ratio(optimizers.Adadelta(lr=1.0)), 1.0, math.inf


# What they are made of


def _weights() -> Tensor:
    """[1, P], of sizes from 0.1 to 3."""
    return torch.tensor([[0.1, -0.5, 1.0, -3.0]], dtype=torch.float64)


def _stepped(optimizer: optimizers.Optimizer, theta: Tensor, gradients: Iterable[Tensor]) -> Tensor:
    """Theta after a step with each gradient."""
    theta = theta.clone()
    state = optimizer.state(theta)
    for t, gradient in enumerate(gradients, 1):
        optimizer.step(theta, gradient.clone(), state, t, 1.0)
    return theta


def _with_penalty(*, weight_decay: float, weight: float) -> tuple[Tensor, Tensor]:
    """Theta after 100 steps of sgd on random gradients, with weight decay and with an l2 penalty instead."""
    generator = torch.Generator().manual_seed(2)
    theta = _weights()
    gradients = [torch.randn(theta.shape, generator=generator, dtype=theta.dtype) for _ in range(100)]
    decayed = _stepped(optimizers.SGD(lr=0.1, momentum=0.9, weight_decay=weight_decay), theta, gradients)
    penalty = L2(Weights(torch.ones_like(theta), ()), weight=weight)
    penalized, plain = theta.clone(), optimizers.SGD(lr=0.1, momentum=0.9)
    state = plain.state(penalized)
    for t, gradient in enumerate(gradients, 1):
        penalty.add_gradient(penalized, gradient)
        plain.step(penalized, gradient, state, t, 1.0)
    return decayed, penalized


def _step_ratio(optimizer: optimizers.Optimizer) -> float:
    """How long the 900th step is beside the 100th, with a gradient of 1 in each."""
    theta = torch.zeros(1, 1, dtype=torch.float64)
    state = optimizer.state(theta)
    places = []
    for t in range(1, 901):
        optimizer.step(theta, torch.ones_like(theta), state, t, 1.0)
        places.append(float(theta))
    return (places[899] - places[898]) / (places[99] - places[98])


def _slopes(target: str, x: Tensor, **hyperparameters: Any) -> Tensor:
    """The derivative at x by the function that training uses."""
    known = activations.ROWWISE[target]
    assert known.backward is not None
    return known.backward(torch.ones_like(x), x, known.forward(x, **hyperparameters), **hyperparameters)


def _jump(target: str, **hyperparameters: Any) -> float:
    """How far the derivative just above 0 is from that just below, by difference quotients of the function."""
    x = torch.tensor([-_STEP, 0.0, _STEP], dtype=torch.float64)
    below, at, above = activations.ROWWISE[target].forward(x, **hyperparameters).tolist()
    return float(abs((above - at) - (at - below)) / _STEP)


def _logits(classes: int) -> Tensor:
    """[1, 256, classes], of a few sizes."""
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(1, 256, classes, generator=generator, dtype=torch.float64)


def _classes(classes: int) -> Tensor:
    return torch.randint(classes, (1, 256), generator=torch.Generator().manual_seed(1))


def _slope(loss: Callable[[Tensor, Tensor], Any]) -> Tensor:
    """The absolute derivative of a regression loss at residuals up to 1,000, one in each run."""
    output = torch.tensor([0.5, 1.0, 10.0, 1000.0], dtype=torch.float64).view(-1, 1, 1)
    return losses.GRADIENTS[loss](output, torch.zeros_like(output)).abs()


def _value(values: Any) -> float:
    """The loss of the only run."""
    return float(per_run(values))


def _worst_of_logits(loss: Callable[[Tensor, Tensor], Any], gradient: Callable[[Tensor, Tensor], Tensor]) -> float:
    """The largest error of a binary loss and its gradient, of single logits in float32 with either target."""
    worst = 0.0
    for z in [sign * size for size in (0.0, 1.0, 5.0, 20.0, 50.0, 85.0, 120.0, 200.0) for sign in (1, -1)]:
        for y in (0.0, 1.0):
            output, target = torch.tensor([[[z]]]), torch.tensor([[[y]]])
            wrong = -z if y else z  # the logit of the wrong answer
            exact = max(wrong, 0.0) + math.log1p(math.exp(-abs(wrong)))
            slope = 1 / (1 + math.exp(-wrong)) * (-1 if y else 1)
            worst = max(worst, _error(_value(loss(output, target)), exact), _error(float(gradient(output, target)), slope))
    return worst


def _error(value: float, exact: float) -> float:
    """The error, relative to the exact number where that is above 1."""
    return abs(value - exact) / max(abs(exact), 1.0)


IDENTITIES: Mapping[str, Callable[[], Found]] = {
    function.__name__: function
    for function in (
        sigmoid_slope,
        smooth_at_0,
        relu_kink,
        leaky_relu_kink,
        softmax_sums_to_1,
        sigmoids_sum_to_1,
        cross_entropy_is_nll_of_log_softmax,
        bce_with_logits_error,
        sigmoid_then_bce_error,
        robust_slopes,
        mse_slope,
        sparsemax_is_no_cross_entropy,
        sparsemax_loss_is_0,
        adamw_decay,
        adam_decay,
        decay_is_half_lambda,
        decay_is_not_lambda,
        adagrad_step,
        rmsprop_step,
        adadelta_step,
    )
}
