"""Focal loss: cross entropy that turns its attention from easy rows to hard ones. Lin et al. 2017, arXiv:1708.02002.

A row predicted with probability p_t for its true class has its cross entropy multiplied by (1 - p_t)^gamma. One file for the
three tasks, since the formula is one; only what p_t is differs.

Shapes: R runs, B batch rows, K labels or classes.
"""

from dlrun.components.hyperparameters import NonNegative, Row
from dlrun.components.losses.multiclass import minus_one
from dlrun.components.losses.shapes import Weights, along_classes, entries, holds_classes, log_softmax
from dlrun.components.tasks import TASKS
from dlrun.lazy import Tensor, torch

Alpha = NonNegative | Weights | None


def focal(output: Tensor, target: Tensor, *, task: str, gamma: NonNegative = 2.0, alpha: Alpha = None) -> Tensor:
    """Focal loss: mean of -alpha_t (1 - p_t)^gamma log p_t. With gamma = 0 and no alpha it is the cross entropy.

    A soft target is a share of each class: the loss is then the mean of the loss over the classes, weighted by their shares.

    Args:
        output: [R, B, K], logits.
        target: [R, B, K] in [0, 1] for binary and multilabel; int64 [R, B] or probabilities [R, B, K] for multiclass.
        task: the name of a task of classes, for whether they exclude each other.
        gamma: how strongly easy rows are played down.
        alpha: binary and multilabel: the weight of positives, negatives weigh 1 - alpha (a number, or one a label).
            multiclass: one weight a class; a number scales the loss. None weighs all by 1.

    Returns:
        [R, B, K]. The mean divides by the number of rows, not by the sum of weights.
    """
    weight = _weights(alpha, output)
    if TASKS[task].exclusive:
        log_p = log_softmax(output)
        cost = -log_p * (-torch.expm1(log_p)) ** gamma
        if weight is not None:
            cost = weight * cost
        if holds_classes(output, target):
            return cost.gather(2, target.unsqueeze(2))
        return (target * cost).sum(2)
    yes = -torch.nn.functional.logsigmoid(output) * torch.sigmoid(-output) ** gamma
    no = -torch.nn.functional.logsigmoid(-output) * torch.sigmoid(output) ** gamma
    if weight is not None:
        yes, no = weight * yes, (1 - weight) * no
    return target * yes + (1 - target) * no


def focal_gradient(output: Tensor, target: Tensor, *, task: str, gamma: NonNegative = 2.0, alpha: Alpha = None) -> Tensor:
    """For y = 1: (1 - p)^gamma (gamma p log p - (1 - p)) / (B K), mirrored for y = 0; multiclass through softmax: [R, B, K].

    No power below gamma appears, so it stays finite where p_t rounds to 1, for any gamma.
    """
    weight = _weights(alpha, output)
    if TASKS[task].exclusive:
        return _multiclass_gradient(output, target, gamma, weight)
    p, q = torch.sigmoid(output), torch.sigmoid(-output)
    yes = (torch.nn.functional.logsigmoid(output).mul_(p).mul_(gamma).sub_(q)).mul_(q**gamma).mul_(target)
    no = (torch.nn.functional.logsigmoid(-output).mul_(q).mul_(gamma).sub_(p)).mul_(p**gamma).mul_(1 - target)
    if weight is not None:
        yes.mul_(weight)
        no.mul_(1 - weight)
    return yes.sub_(no).div_(entries(output))


def _multiclass_gradient(output: Tensor, target: Tensor, gamma: Row, weight: Row | None) -> Tensor:
    # With l_k = log p_k, the cost of class k has the derivative -s_k by l_k, where
    # s_k = q_k^gamma (1 - gamma p_k l_k / q_k), q_k = 1 - p_k, and dl_k/dz_j = [j = k] - p_j.
    log_p = log_softmax(output)
    rows = entries(output) // output.shape[2]
    hard = holds_classes(output, target)
    own = log_p.gather(2, target.unsqueeze(2)) if hard else log_p
    q = -torch.expm1(own)
    # l / q tends to -1 as q tends to 0, and q^gamma carries the product to its limit; the bound only keeps 0 / 0 away
    ratio = own / q.clamp(min=torch.finfo(q.dtype).tiny)
    slope = (1 - gamma * own.exp() * ratio).mul_(q**gamma).div_(rows)
    if weight is not None:
        slope.mul_(weight[target].unsqueeze(2) if hard and isinstance(weight, Tensor) and weight.dim() == 1 else weight)
    p = log_p.exp_()
    if hard:
        return minus_one(p, target).mul_(slope)
    slope.mul_(target)
    return p.mul_(slope.sum(2, keepdim=True)).sub_(slope)


def _weights(alpha: Alpha, output: Tensor) -> Row | None:
    return along_classes(alpha, output) if isinstance(alpha, list) else alpha
