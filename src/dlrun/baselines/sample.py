"""What an estimator is fitted on and gives, and the choice between several by validation rows.

Shapes: S splits of the same sizes, n rows of a subset, D features, K outputs.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from dlrun.components.arrays import Array, quiet
from dlrun.components.links import logit, sigmoid
from dlrun.components.tasks import Task

Predict = Callable[[Array], Array]
"""Inputs [S, n, D] -> predictions [S, n, K]: values on the scale of the targets; for classes logarithms, as of runs.

Of binary and multilabel data they are log odds, log(p / (1 - p)), of multiclass data log p: infinite where p is 0 or 1. In a
probability large ones would be rounded to 1, and rows could no longer be ranked by it.
Of pairs and triplets: [S, n, M, D] -> embeddings [S, n, M, E] of the M members. For clusters: [S, n, D] -> codes [S, n, E].
"""


@dataclass(frozen=True)
class Sample:
    """What an estimator may see: prepared inputs, targets as runs are trained on them, float64.

    Args:
        outputs: K.
        x, y: of the training rows: [S, n, D], of pairs and triplets [S, n, M, D], and [S, n, K] or classes [S, n].
        validation: the same of the validation rows; None where there are none.
        window: the values of each window [S, n, K, L], the last one first, on the scale of each target, a function of the inputs;
            None for other data.
        steps: how many steps behind the last value of a window each target is.
        seeds: of the splits, for what draws random numbers.
        clusters: into how many clusters rows are put; 0 for other tasks.
        users, words: of ratings, how many users there are, and users and items together; 0 for other tasks.
    """

    task: Task
    outputs: int
    x: Array
    y: Array
    validation: tuple[Array, Array] | None
    window: Callable[[Array], Array] | None
    steps: Sequence[int]
    seeds: Sequence[int]
    clusters: int = 0
    users: int = 0
    words: int = 0

    @property
    def regression(self) -> bool:
        """Whether values are predicted, and not probabilities."""
        return not self.task.classes

    @property
    def exclusive(self) -> bool:
        """Whether each row is of one class of several."""
        return self.task.exclusive

    def values(self, prediction: Array) -> Array:
        """What a prediction says: values, or probabilities."""
        if self.regression:
            return prediction
        return np.exp(prediction) if self.exclusive else sigmoid(prediction)

    @quiet
    def logarithms(self, probability: Array) -> Array:
        """Probabilities as predictions of classes are given."""
        return np.log(probability) if self.exclusive else logit(probability)


def dense(sample: Sample, y: Array) -> Array:
    """Targets as rows of numbers [S, n, K]: classes as rows of the identity."""
    return np.eye(sample.outputs)[y] if sample.exclusive else y


def chosen(sample: Sample, alternatives: Sequence[Predict]) -> Predict:
    """For each split the alternative with the least squared error on validation rows; the middle one where there are none."""
    if sample.validation is None:
        return alternatives[len(alternatives) // 2]
    x, y = sample.validation
    true = dense(sample, y)
    errors = np.stack([np.square(sample.values(predict(x)) - true).mean((1, 2)) for predict in alternatives])
    best = errors.argmin(0)

    def predict(x: Array) -> Array:
        out: Array | None = None
        for number in sorted(set(best.tolist())):
            found = alternatives[number](x)
            out = found if out is None else np.where((best == number)[:, None, None], found, out)
        assert out is not None
        return out

    return predict
