"""Regression losses: the price of a residual r = p - y, where p is the output and y the target.

mse prices r squared, mae its size; huber and log_cosh go from the one to the other; quantile prices the two sides differently.

Shapes: R runs, B batch rows, K outputs. Output and target are [R, B, K] in the same units.
"""

from dlrun.components.hyperparameters import OpenShare, Positive, Row
from dlrun.components.losses.shapes import along_classes, entries
from dlrun.lazy import Tensor, torch


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error: mean of (p - y)^2.

    Args:
        output: [R, B, K], any real value.
        target: [R, B, K].

    Returns:
        [R, B, K], in squared units of the target.
    """
    return (output - target).square()


def mse_gradient(output: Tensor, target: Tensor) -> Tensor:
    """2 (p - y) / (B K): [R, B, K]."""
    return torch.sub(output, target).mul_(2.0 / entries(output))


def mae(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error: mean of |p - y|.

    Args:
        output: [R, B, K], any real value.
        target: [R, B, K].

    Returns:
        [R, B, K], in units of the target.
    """
    return (output - target).abs()


def mae_gradient(output: Tensor, target: Tensor) -> Tensor:
    """sign(p - y) / (B K), which is 0 where they are equal: [R, B, K]."""
    return torch.sub(output, target).sign_().div_(entries(output))


def huber(output: Tensor, target: Tensor, *, delta: Positive = 1.0) -> Tensor:
    """Huber's loss: 0.5 r^2 if |r| <= delta, else delta (|r| - 0.5 delta). Huber 1964; as torch.nn.HuberLoss.

    Args:
        output: [R, B, K], any real value.
        target: [R, B, K].
        delta: the residual at which the price turns from squared to linear, in units of the target.

    Returns:
        [R, B, K], in squared units of the target.
    """
    size = (output - target).abs()
    inner = size.clamp(max=delta)
    return inner * (size - 0.5 * inner)


def huber_gradient(output: Tensor, target: Tensor, *, delta: Positive = 1.0) -> Tensor:
    """The residual held to [-delta, delta], over B K: [R, B, K]."""
    return torch.sub(output, target).clamp_(-delta, delta).div_(entries(output))  # type: ignore[arg-type]  # as in huber


def quantile(output: Tensor, target: Tensor, *, tau: OpenShare | list[OpenShare] = 0.5) -> Tensor:
    """Quantile (pinball) loss: tau (y - p) if y >= p, else (tau - 1)(y - p). Koenker & Bassett 1978.

    Its minimum is the tau-quantile of y given x. A list of taus takes one output column each, and the loss is their mean.

    Args:
        output: [R, B, K], or [R, B, T] for a list of T taus.
        target: [R, B, K], or [R, B, 1] for a list of taus.
        tau: the share of targets that should lie below the output.

    Returns:
        [R, B, K], in units of the target.
    """
    shortfall = target - output
    fraction = _fractions(tau, output)
    return torch.where(shortfall >= 0, fraction * shortfall, (fraction - 1) * shortfall)


def quantile_gradient(output: Tensor, target: Tensor, *, tau: OpenShare | list[OpenShare] = 0.5) -> Tensor:
    """(1 if p > y else 0) - tau, over B K: [R, B, K]."""
    return torch.gt(output, target).to(output.dtype).sub_(_fractions(tau, output)).div_(entries(output))


def _fractions(tau: OpenShare | list[OpenShare], output: Tensor) -> Row:
    return along_classes(tau, output) if isinstance(tau, list) else tau


_LINEAR_FROM = 20.0  # beyond this, log cosh r = |r| - log 2 to the last bit of float64


def log_cosh(output: Tensor, target: Tensor) -> Tensor:
    """Log-cosh loss: mean of log cosh(p - y), about 0.5 r^2 near 0 and |r| - log 2 far away.

    Computed as log1p(2 sinh(r/2)^2), exact for small r where log(cosh) cancels; a large residual adds its excess linearly
    instead of overflowing.

    Args:
        output: [R, B, K], any real value.
        target: [R, B, K].

    Returns:
        [R, B, K], in units of the target for large residuals.
    """
    size = (output - target).abs()
    inner = size.clamp(max=_LINEAR_FROM)
    return torch.log1p(2 * torch.sinh(0.5 * inner).square()) + (size - inner)


def log_cosh_gradient(output: Tensor, target: Tensor) -> Tensor:
    """tanh(p - y) / (B K): [R, B, K]."""
    return torch.sub(output, target).tanh_().div_(entries(output))
