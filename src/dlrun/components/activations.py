"""Activations: what stands between two linear maps.

A conf file names torch's own class where torch has one. ``ROWWISE`` knows the same map as a plain function whose
hyperparameters may differ from run to run (a float, or a column that broadcasts), and its derivative, so that the hot path
needs no autograd. A class or function that is not listed there works too: autograd differentiates it.

    forward(x, **hyperparameters) -> y              x, y: any shape, [R, B, H] in a stacked model
    backward(grad, x, y, **hyperparameters) -> dx   grad: the gradient of the loss with respect to y
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from dlrun.components.hyperparameters import Finite, NonNegative, Positive, Row
from dlrun.lazy import Tensor, torch


@dataclass(frozen=True)
class Activation:
    """A map and its derivative. ``backward`` is None where autograd has to find it.

    ``elementwise`` is False where an output depends on several inputs, so that a derivative for each unit has no meaning.
    """

    forward: Callable[..., Tensor]
    backward: Callable[..., Tensor] | None = None
    elementwise: bool = True


def identity(x: Tensor) -> Tensor:
    """f(x) = x; range (-inf, inf)."""
    return x


def identity_backward(grad: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """f'(x) = 1."""
    return grad


def sigmoid(x: Tensor) -> Tensor:
    """f(x) = 1 / (1 + e^{-x}); range (0, 1)."""
    return torch.sigmoid(x)


def sigmoid_backward(grad: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """f'(x) = y (1 - y), at most 0.25."""
    out: Tensor = torch.ops.aten.sigmoid_backward(grad, y)
    return out


def tanh(x: Tensor) -> Tensor:
    """f(x) = (e^x - e^{-x}) / (e^x + e^{-x}); range (-1, 1)."""
    return torch.tanh(x)


def tanh_backward(grad: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """f'(x) = 1 - y^2."""
    out: Tensor = torch.ops.aten.tanh_backward(grad, y)
    return out


def relu(x: Tensor) -> Tensor:
    """f(x) = x if x > 0 else 0."""
    return torch.relu(x)


def relu_backward(grad: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """f'(x) = 1 for x > 0, else 0."""
    out: Tensor = torch.ops.aten.threshold_backward(grad, y, 0.0)
    return out


def leaky_relu(x: Tensor, *, negative_slope: Finite = 0.01) -> Tensor:
    """f(x) = x if x > 0 else negative_slope * x (Maas, Hannun & Ng 2013)."""
    if isinstance(negative_slope, Tensor):
        return torch.where(x > 0, x, x * negative_slope)
    return torch.nn.functional.leaky_relu(x, negative_slope)


def leaky_relu_backward(grad: Tensor, x: Tensor, y: Tensor, *, negative_slope: Row) -> Tensor:
    """f'(x) = 1 if x > 0 else negative_slope."""
    if isinstance(negative_slope, Tensor):
        return torch.where(x > 0, grad, grad * negative_slope)
    out: Tensor = torch.ops.aten.leaky_relu_backward(grad, x, negative_slope, False)
    return out


def elu(x: Tensor, *, alpha: NonNegative = 1.0) -> Tensor:
    """f(x) = x if x > 0 else alpha (e^x - 1); range (-alpha, inf) (Clevert, Unterthiner & Hochreiter 2016)."""
    if isinstance(alpha, Tensor):
        positive = x > 0
        return torch.where(positive, x, torch.expm1(x.masked_fill(positive, 0.0)) * alpha)
    return torch.nn.functional.elu(x, alpha)


def elu_backward(grad: Tensor, x: Tensor, y: Tensor, *, alpha: Row) -> Tensor:
    """f'(x) = 1 if x > 0 else y + alpha."""
    if isinstance(alpha, Tensor):
        return torch.where(x > 0, grad, grad * (y + alpha))
    out: Tensor = torch.ops.aten.elu_backward(grad, alpha, 1.0, 1.0, True, y)
    return out


SELU_ALPHA = 1.6732632423543772848170429916717  # the fixed point for mean 0 and variance 1 in Klambauer et al. 2017
SELU_SCALE = 1.0507009873554804934193349852946


def selu(x: Tensor) -> Tensor:
    """f(x) = scale x if x > 0 else scale alpha (e^x - 1) (Klambauer et al. 2017)."""
    return torch.selu(x)


def selu_backward(grad: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """f'(x) = scale if x > 0 else y + scale * alpha."""
    out: Tensor = torch.ops.aten.elu_backward(grad, SELU_ALPHA, SELU_SCALE, 1.0, True, y)
    return out


def gelu(x: Tensor, *, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """f(x) = x Phi(x), or its tanh form 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) (Hendrycks & Gimpel 2016)."""
    return torch.nn.functional.gelu(x, approximate=approximate)


def gelu_backward(grad: Tensor, x: Tensor, y: Tensor, *, approximate: str) -> Tensor:
    """f'(x) = Phi(x) + x phi(x)."""
    out: Tensor = torch.ops.aten.gelu_backward(grad, x, approximate=approximate)
    return out


def swish(x: Tensor, *, beta: Finite = 1.0) -> Tensor:
    """f(x) = x sigmoid(beta x); torch's SiLU when beta = 1 (Ramachandran, Zoph & Le 2017)."""
    if not isinstance(beta, Tensor) and beta == 1.0:
        return torch.nn.functional.silu(x)
    return x * torch.sigmoid(x * beta)


def swish_backward(grad: Tensor, x: Tensor, y: Tensor, *, beta: Row) -> Tensor:
    """f'(x) = s + beta y (1 - s) with s = sigmoid(beta x)."""
    if not isinstance(beta, Tensor) and beta == 1.0:
        out: Tensor = torch.ops.aten.silu_backward(grad, x)
        return out
    s = torch.sigmoid(x * beta)
    return grad * (s + (y * (1 - s)).mul_(beta))


def softmax(x: Tensor, *, dim: Literal[-1] = -1) -> Tensor:
    """f(z)_i = e^{z_i} / sum_j e^{z_j} over the last axis: positive, sums to 1."""
    return torch.softmax(x, dim=dim)


def softmax_backward(grad: Tensor, x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Df = y * (grad - sum(grad * y))."""
    out: Tensor = torch.ops.aten._softmax_backward_data(grad, y, -1, y.dtype)
    return out


def log_softmax(x: Tensor) -> Tensor:
    """f(z)_i = z_i - log sum_j e^{z_j} over the last axis."""
    return torch.log_softmax(x, dim=-1)


def log_softmax_backward(grad: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Df = grad - e^y * sum(grad)."""
    out: Tensor = torch.ops.aten._log_softmax_backward_data(grad, y, -1, y.dtype)
    return out


def softplus(x: Tensor, *, beta: Positive = 1.0) -> Tensor:
    """f(x) = log(1 + e^{beta x}) / beta, linear for beta x > 20 so that e^x cannot overflow; range (0, inf)."""
    if isinstance(beta, Tensor):
        return torch.nn.functional.softplus(x * beta) / beta
    return torch.nn.functional.softplus(x, beta)


def softplus_backward(grad: Tensor, x: Tensor, y: Tensor, *, beta: Row) -> Tensor:
    """f'(x) = sigmoid(beta x)."""
    if isinstance(beta, Tensor):
        scaled: Tensor = torch.ops.aten.softplus_backward(grad, x * beta, 1.0, 20.0)
        return scaled
    out: Tensor = torch.ops.aten.softplus_backward(grad, x, beta, 20.0)
    return out


def silu(x: Tensor) -> Tensor:
    """f(x) = x sigmoid(x)."""
    return torch.nn.functional.silu(x)


def silu_backward(grad: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """f'(x) = s + y (1 - s) with s = sigmoid(x)."""
    return swish_backward(grad, x, y, beta=1.0)


def mish(x: Tensor) -> Tensor:
    """f(x) = x tanh(softplus(x)) (Misra 2020)."""
    return torch.nn.functional.mish(x)


def mish_backward(grad: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """f'(x) of x tanh(softplus(x))."""
    out: Tensor = torch.ops.aten.mish_backward(grad, x)
    return out


def hardswish(x: Tensor) -> Tensor:
    """f(x) = x min(max(x + 3, 0), 6) / 6 (Howard et al. 2019)."""
    return torch.nn.functional.hardswish(x)


def hardswish_backward(grad: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """f'(x) = 0 below -3, 1 above 3, x/3 + 1/2 between."""
    out: Tensor = torch.ops.aten.hardswish_backward(grad, x)
    return out


ROWWISE: dict[str, Activation] = {
    "torch.nn.Identity": Activation(identity, identity_backward),
    "torch.nn.Sigmoid": Activation(sigmoid, sigmoid_backward),
    "torch.nn.Tanh": Activation(tanh, tanh_backward),
    "torch.nn.ReLU": Activation(relu, relu_backward),
    "torch.nn.LeakyReLU": Activation(leaky_relu, leaky_relu_backward),
    "torch.nn.ELU": Activation(elu, elu_backward),
    "torch.nn.SELU": Activation(selu, selu_backward),
    "torch.nn.GELU": Activation(gelu, gelu_backward),
    "torch.nn.SiLU": Activation(silu, silu_backward),
    "torch.nn.Softmax": Activation(softmax, softmax_backward, elementwise=False),
    "torch.nn.LogSoftmax": Activation(log_softmax, log_softmax_backward, elementwise=False),
    "torch.nn.Softplus": Activation(softplus, softplus_backward),
    "torch.nn.Mish": Activation(mish, mish_backward),
    "torch.nn.Hardswish": Activation(hardswish, hardswish_backward),
    "dlrun.components.activations.swish": Activation(swish, swish_backward),
    "dlrun.components.activations.leaky_relu": Activation(leaky_relu, leaky_relu_backward),
}
