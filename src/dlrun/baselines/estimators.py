"""The estimators that stand beside the runs of a comparison: what a network has to beat.

    mean                        the mean of the training targets; for classes their shares, so that the commonest is predicted
    naive                       the last value of a window, for forecasting
    seasonal                    the value one season before each target; the length of the season is chosen
    linear, ridge, lasso        linear regression; without a penalty, with a squared one, with an absolute one
    logistic                    logistic or softmax regression, as scikit-learn's: 0.5 |w|^2 + the sum of the log losses
    tfidf                       texts by the frequency of their words, rare ones counting more; then logistic
    polynomial                  all products of two features, scaled; then ridge or logistic
    tree                        a decision tree
    boosting                    gradient boosting on histograms, as scikit-learn sets it up
    raw                         the features as they are, in place of an embedding or a code; for pairs, triplets and clusters
    user_mean, item_mean        of ratings; and biases, svd (see ratings.py)
    pca                         the first principal components in place of a code, one fewer than there are clusters

Each is fitted on training rows alone. What has to be chosen, the strength of a penalty or the depth of a tree, is chosen on
validation rows by squared error (of probabilities: the Brier score), and is the middle of its list where there are none.
lasso, tree and boosting are scikit-learn's, whose import takes seconds; the others are fitted on all splits at once.

Shapes: S splits of the same sizes, n rows of a subset, D features, K outputs, A alternatives to choose from.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dlrun.baselines import library, logistic, ratings
from dlrun.baselines.sample import Predict, Sample, chosen, dense
from dlrun.components.arrays import Array, quiet
from dlrun.components.tasks import TASKS

RIDGE = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
POLYNOMIAL = (1e-2, 1e-1, 1.0)  # C of the logistic regression; ridge has its own list
TFIDF = (1.0, 10.0, 100.0)  # C of the logistic regression
_SHORTEST = 1e-12  # as long as this counts a row that is shorter


def mean(sample: Sample) -> Predict:
    """The mean of the training targets, or the shares of the classes."""
    centre = dense(sample, sample.y).mean(1, keepdims=True)
    centre = centre if sample.regression else sample.logarithms(centre)
    return lambda x: np.repeat(centre, x.shape[1], axis=1)


def naive(sample: Sample) -> Predict:
    """The last value that is known stays as it is."""
    assert sample.window is not None
    window = sample.window
    return lambda x: window(x)[..., 0]


def seasonal(sample: Sample) -> Predict:
    """The latest value at the same place of a season, whose length has the least squared error on training rows."""
    assert sample.window is not None
    window, known = sample.window, sample.window(sample.x).shape[3]
    places = [[-step % length for step in sample.steps] for length in range(1, known + 1)]

    def latest(each: Sequence[int]) -> Predict:
        return lambda x: window(x)[:, :, np.arange(len(each)), each]

    return chosen(replace(sample, validation=(sample.x, sample.y)), [latest(each) for each in places])


def raw(sample: Sample) -> Predict:
    """The features themselves, prepared as for the runs (standardized, unless the dataset says otherwise): nothing is learnt."""
    return lambda x: x


def pca(sample: Sample) -> Predict:
    """The first K - 1 principal components, for K clusters: those span what k-means looks for (Ding & He 2004)."""
    shift = sample.x.mean(1, keepdims=True)
    rows = np.linalg.svd(sample.x - shift, full_matrices=False).Vh[:, : max(1, sample.clusters - 1)]
    return lambda x: (x - shift) @ rows.swapaxes(1, 2)


def linear(sample: Sample) -> Predict:
    """Least squares with an intercept; of all solutions the smallest, where features depend on each other."""
    shift, centre = sample.x.mean(1, keepdims=True), sample.y.mean(1, keepdims=True)
    weight = np.stack([np.linalg.lstsq(x, y)[0] for x, y in zip(sample.x - shift, sample.y - centre, strict=True)])
    return lambda x: (x - shift) @ weight + centre


def ridge(sample: Sample) -> Predict:
    """Min |y - x w - b|^2 + alpha |w|^2."""
    shift, centre = sample.x.mean(1, keepdims=True), sample.y.mean(1, keepdims=True)
    x, y = sample.x - shift, sample.y - centre
    gram, moment = x.swapaxes(1, 2) @ x, x.swapaxes(1, 2) @ y
    penalty = np.array(RIDGE)[:, None, None, None] * np.eye(x.shape[2])
    weights = np.linalg.solve(gram + penalty, np.broadcast_to(moment, (len(RIDGE), *moment.shape)))  # [A, S, D, K]

    def affine(weight: Array) -> Predict:
        return lambda x: (x - shift) @ weight + centre

    return chosen(sample, [affine(weight) for weight in weights])


def logistic_regression(sample: Sample) -> Predict:
    """Logistic regression with C = 1; one of its own for each label of several."""
    return logistic.fitted(sample, 1.0)


def tfidf(sample: Sample) -> Predict:
    """Logistic regression of the counts c of words, each times log((1 + n) / (1 + d)) + 1, in rows of length 1.

    d of the n training rows have the word (Salton & Buckley 1988; the weights are those of scikit-learn's TfidfVectorizer); words
    that none of them has do not count.
    """
    having = (sample.x > 0).sum(1, keepdims=True)
    rarity = np.where(having > 0, np.log((1 + sample.x.shape[1]) / (1 + having)) + 1, 0.0)

    def weighed(x: Array) -> Array:
        weights = x * rarity
        found: Array = weights / np.maximum(np.linalg.norm(weights, axis=2, keepdims=True), _SHORTEST)
        return found

    held = sample.validation and (weighed(sample.validation[0]), sample.validation[1])
    richer = replace(sample, x=weighed(sample.x), validation=held)
    fitted = chosen(richer, [logistic.fitted(richer, strength) for strength in TFIDF])
    return lambda x: fitted(weighed(x))


@quiet
def polynomial(sample: Sample) -> Predict:
    """Products of two features, scaled to a standard deviation of 1; then a linear model of them."""
    first = _products(sample.x)
    shift, deviation = first.mean(1, keepdims=True), first.std(1, keepdims=True)
    factor = np.where(deviation > 0, 1 / deviation, 0.0)

    def prepared(x: Array) -> Array:
        found: Array = (_products(x) - shift) * factor
        return found

    held = sample.validation and (prepared(sample.validation[0]), sample.validation[1])
    richer = replace(sample, x=(first - shift) * factor, validation=held)
    if sample.regression:
        fitted = ridge(richer)
    else:
        fitted = chosen(richer, [logistic.fitted(richer, strength) for strength in POLYNOMIAL])
    return lambda x: fitted(prepared(x))


def _products(x: Array) -> Array:
    row, column = np.triu_indices(x.shape[2])
    return np.concatenate([x, x[..., row] * x[..., column]], 2)


@dataclass(frozen=True)
class Estimator:
    """How it is fitted. The tasks that it serves name it (see ``Task.baselines``)."""

    name: str
    fit: Callable[[Sample], Predict]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The names of the tasks that it serves."""
        return tuple(name for name, task in TASKS.items() if self.name in task.baselines)


ESTIMATORS = {
    name: Estimator(name, fit)
    for name, fit in {
        "mean": mean,
        "naive": naive,
        "seasonal": seasonal,
        "linear": linear,
        "ridge": ridge,
        "lasso": library.lasso,
        "logistic": logistic_regression,
        "tfidf": tfidf,
        "polynomial": polynomial,
        "tree": library.tree,
        "boosting": library.boosting,
        "raw": raw,
        "pca": pca,
        "user_mean": ratings.user_mean,
        "item_mean": ratings.item_mean,
        "biases": ratings.biases,
        "svd": ratings.svd,
    }.items()
}
