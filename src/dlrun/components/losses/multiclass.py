"""Multiclass losses: one class of K is right (or the target shares itself out among them).

cross_entropy takes logits and nll log-probabilities; on z and log_softmax(z) they are the same number. On an output with pixels
both work a pixel at a time.

Shapes: R runs, B batch rows, K classes, the class axis is axis 2, pixels may follow. Targets are class indices (int64, without
the class axis) or probabilities that sum to 1 (with it).
"""

import torch
from torch import Tensor

from dlrun.components.losses.shapes import Weights, along_classes, entries, holds_classes, log_softmax, per_run, softmax


def nll(output: Tensor, target: Tensor, *, class_weight: Weights | None = None) -> Tensor:
    """Negative log-likelihood: mean of -log p_y, or of -sum_k y_k log p_k for probability targets. As torch.nn.NLLLoss.

    Args:
        output: [R, B, K, ...], log-probabilities (a log-softmax head).
        target: int64 [R, B, ...], or probabilities [R, B, K, ...].
        class_weight: one weight w_k a class. With indices the mean is weighted: sum of w_y l over sum of w_y. With probabilities
            each term is weighted and the sum divided by B, as torch does.

    Returns:
        [R], in nats.
    """
    if not holds_classes(output, target):
        cost = -target * output if class_weight is None else -target * output * along_classes(class_weight, output)
        return per_run(cost.sum(2))
    cost = output.gather(2, target.unsqueeze(2)).squeeze(2)
    if class_weight is None:
        return -per_run(cost)
    weight = _row_weights(class_weight, output, target)
    return -(weight * cost).flatten(1).sum(1) / weight.flatten(1).sum(1)


def nll_gradient(output: Tensor, target: Tensor, *, class_weight: Weights | None = None) -> Tensor:
    """-y_k / B (times w_k, over the sum of weights for indices): [R, B, K, ...]."""
    rows = entries(output) // output.shape[2]
    if not holds_classes(output, target):
        gradient = target * (-1.0 / rows)
        return gradient if class_weight is None else gradient.mul_(along_classes(class_weight, output))
    gradient = torch.zeros_like(output)
    if class_weight is None:
        return gradient.scatter_(2, target.unsqueeze(2), -1.0 / rows)
    return gradient.scatter_(2, target.unsqueeze(2), -_row_shares(class_weight, output, target))


def cross_entropy(output: Tensor, target: Tensor, *, class_weight: Weights | None = None) -> Tensor:
    """Cross entropy of logits: nll(log_softmax(z), y). As torch.nn.CrossEntropyLoss.

    Args:
        output: [R, B, K, ...], logits z.
        target: int64 [R, B, ...], or probabilities [R, B, K, ...].
        class_weight: one weight a class, as in ``nll``.

    Returns:
        [R], in nats.
    """
    return nll(log_softmax(output), target, class_weight=class_weight)


def cross_entropy_gradient(output: Tensor, target: Tensor, *, class_weight: Weights | None = None) -> Tensor:
    """(softmax(z) - y) / B (weighted as in ``nll``): [R, B, K, ...]. Probability targets must sum to 1."""
    rows = entries(output) // output.shape[2]
    gradient = softmax(output)
    if holds_classes(output, target):
        minus_one(gradient, target)
        return gradient.div_(rows) if class_weight is None else gradient.mul_(_row_shares(class_weight, output, target))
    if class_weight is None:
        return gradient.sub_(target).div_(rows)
    weighted = target * along_classes(class_weight, output)
    return gradient.mul_(weighted.sum(2, keepdim=True)).sub_(weighted).div_(rows)


def minus_one(probability: Tensor, target: Tensor) -> Tensor:
    """Take 1 from the entry of each row's class, in place: probability [R, B, K, ...], target int64 [R, B, ...]."""
    index = target.unsqueeze(2)
    return probability.scatter_add_(2, index, probability.new_full((1,), -1.0).expand(index.shape))


def _row_weights(class_weight: Weights, output: Tensor, target: Tensor) -> Tensor:
    return along_classes(class_weight, output).flatten()[target]


def _row_shares(class_weight: Weights, output: Tensor, target: Tensor) -> Tensor:
    """Each row's share in the weighted mean of its run: [R, B, 1, ...], 1 in sum over a run."""
    weight = _row_weights(class_weight, output, target).unsqueeze(2)
    return weight / weight.sum(dim=tuple(range(1, weight.dim())), keepdim=True)
