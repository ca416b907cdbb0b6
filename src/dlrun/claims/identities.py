"""What holds for the functions of the catalogue, up to floating-point accuracy and without any training.

Each function returns a figure and the bounds between which it must lie. Components are looked up when a function is called, so
that it looks at what training uses.

Shapes: R runs, B batch rows, K outputs, P parameters.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from dlrun.components import activations, losses
from dlrun.components.losses.reduction import per_run

Found = tuple[float, float, float]

ROUNDING = 1e-12  # of float64, in sums of a few terms of size 1
_STEP, _STEP_ERROR = 1e-6, 1e-5
_GRID = torch.linspace(-20, 20, 40_001, dtype=torch.float64)


def sigmoid_slope() -> Found:
    """The largest derivative of the sigmoid is 0.25."""
    return float(_slopes("torch.nn.Sigmoid", _GRID).max()), 0.25 - ROUNDING, 0.25 + ROUNDING


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
    """bce_with_logits in float32 at logits up to +-200: the largest relative error of its value and gradient."""
    return _worst_of_logits(losses.bce_with_logits, losses.GRADIENTS[losses.bce_with_logits]), 0.0, 1e-5


def sigmoid_then_bce_error() -> Found:
    """A sigmoid and bce in float32 at the same logits: the largest relative error is above one half."""
    sigmoid = activations.ROWWISE["torch.nn.Sigmoid"]
    backward = sigmoid.backward
    assert backward is not None

    def gradient(z: Tensor, y: Tensor) -> Tensor:
        p = sigmoid.forward(z)
        return backward(losses.GRADIENTS[losses.bce](p, y), z, p)

    return _worst_of_logits(lambda z, y: losses.bce(sigmoid.forward(z), y), gradient), 0.5, math.inf


# What they are made of


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


def _value(values: Any) -> float:
    """The loss of the only run."""
    return float(per_run(values))


def _worst_of_logits(loss: Callable[[Tensor, Tensor], Any], gradient: Callable[[Tensor, Tensor], Tensor]) -> float:
    """The largest relative error of a binary loss and its gradient, of single logits in float32 with either target."""
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
    """The relative error; below the smallest normal number of float32 the error in units of that."""
    return abs(value - exact) / max(abs(exact), torch.finfo(torch.float32).tiny)


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
    )
}
