"""Regularizers that stand at every activation: dropout behind it, batch_norm between the linear map and it.

Shapes: R runs, H units of a layer.
"""

from dlrun.components.hyperparameters import OpenShare, Positive, Row, Share
from dlrun.components.regularizers.base import AroundActivation


class Dropout(AroundActivation):
    """While training, each hidden activation is 0 with probability p, and divided by 1 - p otherwise.

    Srivastava, Hinton, Krizhevsky, Sutskever & Salakhutdinov 2014. Evaluation uses every unit as it is.
    """

    kind = "dropout"
    place = "after"

    def __init__(self, *, p: Share = 0.5) -> None:
        self.p = p

    @property
    def values(self) -> dict[str, Row]:
        """p: a float, or a column [R, 1]."""
        return {"p": self.p}


class BatchNorm(AroundActivation):
    """Each unit is normalized over the batch, then scaled and shifted: gamma (z - mean) / sqrt(var + eps) + beta.

    Ioffe & Szegedy 2015, arXiv:1502.03167. Evaluation uses running statistics, r <- (1 - momentum) r + momentum s.
    """

    kind = "batch_norm"
    place = "before"

    def __init__(self, *, momentum: OpenShare = 0.1, eps: Positive = 1e-5) -> None:
        self.momentum, self.eps = momentum, eps

    @property
    def values(self) -> dict[str, Row]:
        """Momentum and eps: floats, or columns [R, 1]."""
        return {"momentum": self.momentum, "eps": self.eps}
