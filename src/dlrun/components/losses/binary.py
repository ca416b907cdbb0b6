"""Binary losses: each output column is a yes-or-no question of its own (one for binary, K for multilabel).

bce takes a probability p, bce_with_logits the logit z with p = sigmoid(z). The second is the same number without rounding p to
0 or 1, so it still has a gradient where the first has lost it.

Shapes: R runs, B batch rows, K labels. Output and target are [R, B, K]; targets are 0, 1 or anything between.
"""

from dlrun.components.hyperparameters import NonNegative, Row
from dlrun.components.losses.shapes import Balanced, Weights, along_classes, entries
from dlrun.lazy import Tensor, torch

_LOWEST_LOG = -100.0  # torch.nn.BCELoss holds log p to this, so that p = 0 costs 100 and not infinity
_LEAST_VARIANCE = 1e-12  # torch's bound on p (1 - p) in the gradient, for the same reason


def bce(output: Tensor, target: Tensor) -> Tensor:
    """Binary cross entropy of probabilities: mean of -y log p - (1 - y) log(1 - p). As torch.nn.BCELoss.

    Args:
        output: [R, B, K], probabilities in [0, 1] (a sigmoid head). Logarithms are held to -100.
        target: [R, B, K], in [0, 1].

    Returns:
        [R, B, K], in nats.
    """
    yes = output.log().clamp(min=_LOWEST_LOG)
    no = torch.log1p(-output).clamp(min=_LOWEST_LOG)
    return (target - 1) * no - target * yes


def bce_gradient(output: Tensor, target: Tensor) -> Tensor:
    """(p - y) / (p (1 - p)) / (B K), with p (1 - p) held to 1e-12 from below: [R, B, K]."""
    variance = (1 - output).mul_(output).clamp_(min=_LEAST_VARIANCE).mul_(entries(output))
    return torch.sub(output, target).div_(variance)


def bce_with_logits(output: Tensor, target: Tensor, *, pos_weight: NonNegative | Weights | Balanced | None = None) -> Tensor:
    """Binary cross entropy of logits: mean of -w y log p - (1 - y) log(1 - p), p = sigmoid(z). As torch.nn.BCEWithLogitsLoss.

    Args:
        output: [R, B, K], logits z.
        target: [R, B, K], in [0, 1].
        pos_weight: w, the weight of positives: one number, or one for each of K labels. None is 1; in a config "balanced" is
            negatives / positives among the training rows.

    Returns:
        [R, B, K], in nats.
    """
    weight = _weight(pos_weight, output)
    yes = target if weight is None else weight * target
    return (target - 1) * torch.nn.functional.logsigmoid(-output) - yes * torch.nn.functional.logsigmoid(output)


def bce_with_logits_gradient(
    output: Tensor, target: Tensor, *, pos_weight: NonNegative | Weights | Balanced | None = None
) -> Tensor:
    """((1 - y + w y) sigmoid(z) - w y) / (B K): [R, B, K]."""
    weight = _weight(pos_weight, output)
    if weight is None:
        return output.sigmoid().sub_(target).div_(entries(output))
    yes = weight * target
    return output.sigmoid().mul_(yes - target + 1).sub_(yes).div_(entries(output))


def _weight(pos_weight: NonNegative | Weights | Balanced | None, output: Tensor) -> Row | None:
    return along_classes(pos_weight, output) if isinstance(pos_weight, list | str) else pos_weight
