"""Multiclass losses: one class of K is right (or the target shares itself out among them).

cross_entropy takes logits and nll log-probabilities; on z and log_softmax(z) they are the same number. On an output with pixels
both work a pixel at a time.

Weights w_k of classes give a weighted mean: a row of class y counts w_y times, in the sum and in what the sum is divided by, so
that the loss is independent of the scale of the weights. A row of probability targets y_k counts sum_k w_k y_k times. Label
smoothing moves targets but not the count of rows: with targets y_k = (1 - s) u_k + s / K the divisor is made of u, the targets
before smoothing. For class indices that is [(1 - s) w_y (-log p_y) + s / K sum_k w_k (-log p_k)] / sum w_y, as in
torch.nn.CrossEntropyLoss(weight, label_smoothing=s). (For other probability targets torch divides by B, whatever the weights.)

Shapes: R runs, B batch rows, K classes, the class axis is axis 2, pixels may follow. Targets are class indices (int64, without
the class axis) or probabilities that sum to 1 (with it).
"""

import math

from dlrun.components.hyperparameters import Row
from dlrun.components.losses.reduction import Values, Weighted
from dlrun.components.losses.shapes import Balanced, Weights, along_classes, entries, holds_classes, log_softmax, softmax
from dlrun.lazy import Tensor, torch


def nll(output: Tensor, target: Tensor, smoothing: Row = 0.0, *, class_weight: Weights | Balanced | None = None) -> Values:
    """Negative log-likelihood: mean of -log p_y, or of -sum_k y_k log p_k for probability targets. As torch.nn.NLLLoss.

    Args:
        output: [R, B, K, ...], log-probabilities (a log-softmax head).
        target: int64 [R, B, ...], or probabilities [R, B, K, ...].
        smoothing: s, if the target was smoothed: a number, or one a run that broadcasts against the output.
        class_weight: one weight w_k a class; the mean is then weighted, see above. In a config "balanced" is n / (K n_k) of the n
            training rows, n_k of them of class k.

    Returns:
        [R, B, ...], in nats; weighted with class weights.
    """
    if holds_classes(output, target):
        cost = output.gather(2, target.unsqueeze(2)).squeeze(2)
        if class_weight is None:
            return -cost
        weight = _row_weights(class_weight, output, target)
        return Weighted(-(weight * cost), weight)
    if class_weight is None:
        return (-target * output).sum(2)
    weighted = target * along_classes(class_weight, output)
    return Weighted(-(weighted * output).sum(2), _count(weighted, class_weight, smoothing, (2,)).squeeze(2))


def nll_gradient(
    output: Tensor, target: Tensor, smoothing: Row = 0.0, *, class_weight: Weights | Balanced | None = None
) -> Tensor:
    """-y_k / B, or -w_k y_k over the divisor of the weighted mean: [R, B, K, ...]. 0 for a batch that weighs nothing."""
    rows = entries(output) // output.shape[2]
    if not holds_classes(output, target):
        if class_weight is None:
            return target * (-1.0 / rows)
        weighted = target * along_classes(class_weight, output)
        return weighted.div_(_divisor(-_count(weighted, class_weight, smoothing)))
    gradient = torch.zeros_like(output)
    if class_weight is None:
        return gradient.scatter_(2, target.unsqueeze(2), -1.0 / rows)
    return gradient.scatter_(2, target.unsqueeze(2), -_row_shares(class_weight, output, target))


def cross_entropy(
    output: Tensor, target: Tensor, smoothing: Row = 0.0, *, class_weight: Weights | Balanced | None = None
) -> Values:
    """Cross entropy of logits: nll(log_softmax(z), y). As torch.nn.CrossEntropyLoss.

    Args:
        output: [R, B, K, ...], logits z.
        target: int64 [R, B, ...], or probabilities [R, B, K, ...].
        smoothing: s, if the target was smoothed, as in ``nll``.
        class_weight: one weight a class, as in ``nll``.

    Returns:
        [R, B, ...], in nats; weighted with class weights.
    """
    return nll(log_softmax(output), target, smoothing, class_weight=class_weight)


def cross_entropy_gradient(
    output: Tensor, target: Tensor, smoothing: Row = 0.0, *, class_weight: Weights | Balanced | None = None
) -> Tensor:
    """(softmax(z) - y) / B (weighted as in ``nll``): [R, B, K, ...]. Probability targets must sum to 1."""
    rows = entries(output) // output.shape[2]
    gradient = softmax(output)
    if holds_classes(output, target):
        minus_one(gradient, target)
        return gradient.div_(rows) if class_weight is None else gradient.mul_(_row_shares(class_weight, output, target))
    if class_weight is None:
        return gradient.sub_(target).div_(rows)
    weighted = target * along_classes(class_weight, output)
    divisor = _divisor(_count(weighted, class_weight, smoothing))
    return gradient.mul_(weighted.sum(2, keepdim=True)).sub_(weighted).div_(divisor)


def minus_one(probability: Tensor, target: Tensor) -> Tensor:
    """Take 1 from the entry of each row's class, in place: probability [R, B, K, ...], target int64 [R, B, ...]."""
    index = target.unsqueeze(2)
    return probability.scatter_add_(2, index, probability.new_full((1,), -1.0).expand(index.shape))


def _row_weights(class_weight: Weights | Balanced, output: Tensor, target: Tensor) -> Tensor:
    return along_classes(class_weight, output).flatten()[target]


def _row_shares(class_weight: Weights | Balanced, output: Tensor, target: Tensor) -> Tensor:
    """Each row's share in the weighted mean of its run: [R, B, 1, ...], 1 in sum over a run; 0 where no row weighs anything."""
    weight = _row_weights(class_weight, output, target).unsqueeze(2)
    return weight / _divisor(weight.sum(dim=tuple(range(1, weight.dim())), keepdim=True))


def _count(weighted: Tensor, class_weight: Weights | Balanced, smoothing: Row, axes: tuple[int, ...] = ()) -> Tensor:
    """How often the rows of each run count, [R, 1, ..., 1]: sum over rows and classes of w_k u_k, u the targets before smoothing.

    From w_k y_k [R, B, K, ...]: sum_k w_k y_k = (1 - s) sum_k w_k u_k + s mean(w). Smoothing by 1 leaves nothing of the labels,
    and each row counts mean(w). With ``axes``, of which the class axis 2 is one, the sum is over these alone.
    """
    axes = axes or tuple(range(1, weighted.dim()))
    count = weighted.sum(dim=axes, keepdim=True)
    if not isinstance(smoothing, Tensor) and smoothing in (0, 1):
        return count
    summed = math.prod(weighted.shape[axis] for axis in axes) // weighted.shape[2]
    mean = along_classes(class_weight, weighted).mean() * summed
    hard = (count - smoothing * mean) / (1 - smoothing)
    return torch.where(smoothing < 1, hard, count) if isinstance(smoothing, Tensor) else hard


def _divisor(count: Tensor) -> Tensor:
    """A count to divide a gradient by: where no row counts all gradients are 0, and so is 0 / 1."""
    return torch.where(count == 0, torch.ones_like(count), count)
