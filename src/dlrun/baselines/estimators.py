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

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dlrun.baselines import ratings
from dlrun.components.tasks import TASKS, Task

RIDGE = (1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3)
LASSO = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
POLYNOMIAL = (1e-2, 1e-1, 1.0)  # C of the logistic regression; ridge has its own list
TFIDF = (1.0, 10.0, 100.0)  # C of the logistic regression
DEPTHS = (1, 2, 3, 4, 5, 7, 10, 20, None)

_NEWTON_STEPS = 50
_SOLVER_STEPS = 200
_HALVINGS = 20

Predict = Callable[[Tensor], Tensor]
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
    x: Tensor
    y: Tensor
    validation: tuple[Tensor, Tensor] | None
    window: Callable[[Tensor], Tensor] | None
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

    def values(self, prediction: Tensor) -> Tensor:
        """What a prediction says: values, or probabilities."""
        if self.regression:
            return prediction
        return prediction.exp() if self.exclusive else prediction.sigmoid()

    def logarithms(self, probability: Tensor) -> Tensor:
        """Probabilities as predictions of classes are given."""
        return probability.log() if self.exclusive else probability.logit()


# Without scikit-learn


def mean(sample: Sample) -> Predict:
    """The mean of the training targets, or the shares of the classes."""
    centre = _dense(sample, sample.y).mean(1, keepdim=True)
    centre = centre if sample.regression else sample.logarithms(centre)
    return lambda x: centre.expand(-1, x.shape[1], -1)


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
        index = torch.tensor(each)
        return lambda x: window(x).gather(3, index.view(1, 1, -1, 1).expand(*x.shape[:2], -1, 1)).squeeze(3)

    return chosen(replace(sample, validation=(sample.x, sample.y)), [latest(each) for each in places])


def raw(sample: Sample) -> Predict:
    """The features themselves, prepared as for the runs (standardized, unless the dataset says otherwise): nothing is learnt."""
    return lambda x: x


def pca(sample: Sample) -> Predict:
    """The first K - 1 principal components, for K clusters: those span what k-means looks for (Ding & He 2004)."""
    shift = sample.x.mean(1, keepdim=True)
    directions = torch.linalg.svd(sample.x - shift, full_matrices=False).Vh.mT[..., : max(1, sample.clusters - 1)]
    return lambda x: (x - shift) @ directions


def linear(sample: Sample) -> Predict:
    """Least squares with an intercept; of all solutions the smallest, where features depend on each other."""
    shift, centre = sample.x.mean(1, keepdim=True), sample.y.mean(1, keepdim=True)
    weight = torch.linalg.lstsq(sample.x - shift, sample.y - centre, driver="gelsd").solution
    return lambda x: (x - shift) @ weight + centre


def ridge(sample: Sample) -> Predict:
    """Min |y - x w - b|^2 + alpha |w|^2."""
    shift, centre = sample.x.mean(1, keepdim=True), sample.y.mean(1, keepdim=True)
    x, y = sample.x - shift, sample.y - centre
    gram, moment = x.mT @ x, x.mT @ y
    penalty = torch.tensor(RIDGE, dtype=x.dtype).view(-1, 1, 1, 1) * torch.eye(x.shape[2], dtype=x.dtype)
    weights = torch.linalg.solve(gram + penalty, moment.expand(len(RIDGE), -1, -1, -1))  # [A, S, D, K]

    def affine(weight: Tensor) -> Predict:
        return lambda x: (x - shift) @ weight + centre

    return chosen(sample, [affine(weight) for weight in weights])


def logistic(sample: Sample) -> Predict:
    """Logistic regression with C = 1; one of its own for each label of several."""
    return _logistic(sample, 1.0)


def tfidf(sample: Sample) -> Predict:
    """Logistic regression of the counts c of words, each times log((1 + n) / (1 + d)) + 1, in rows of length 1.

    d of the n training rows have the word (Salton & Buckley 1988; the weights are those of scikit-learn's TfidfVectorizer); words
    that none of them has do not count.
    """
    having = (sample.x > 0).sum(1, keepdim=True)
    rarity = torch.where(having > 0, ((1 + sample.x.shape[1]) / (1 + having)).log() + 1, 0.0)

    def weighed(x: Tensor) -> Tensor:
        return F.normalize(x * rarity, dim=2)

    held = sample.validation and (weighed(sample.validation[0]), sample.validation[1])
    richer = replace(sample, x=weighed(sample.x), validation=held)
    fitted = chosen(richer, [_logistic(richer, strength) for strength in TFIDF])
    return lambda x: fitted(weighed(x))


def polynomial(sample: Sample) -> Predict:
    """Products of two features, scaled to a standard deviation of 1; then a linear model of them."""
    first = _products(sample.x)
    shift, deviation = first.mean(1, keepdim=True), first.std(1, keepdim=True, correction=0)
    factor = torch.where(deviation > 0, 1 / deviation, 0.0)

    def prepared(x: Tensor) -> Tensor:
        return (_products(x) - shift) * factor

    held = sample.validation and (prepared(sample.validation[0]), sample.validation[1])
    richer = replace(sample, x=(first - shift) * factor, validation=held)
    if sample.regression:
        fitted = ridge(richer)
    else:
        fitted = chosen(richer, [_logistic(richer, strength) for strength in POLYNOMIAL])
    return lambda x: fitted(prepared(x))


def _products(x: Tensor) -> Tensor:
    row, column = torch.triu_indices(x.shape[2], x.shape[2])
    return torch.cat([x, x[..., row] * x[..., column]], 2)


def _dense(sample: Sample, y: Tensor) -> Tensor:
    """Targets as rows of numbers [S, n, K]: classes as rows of the identity."""
    return F.one_hot(y, sample.outputs).double() if sample.exclusive else y


def chosen(sample: Sample, alternatives: Sequence[Predict]) -> Predict:
    """For each split the alternative with the least squared error on validation rows; the middle one where there are none."""
    if sample.validation is None:
        return alternatives[len(alternatives) // 2]
    x, y = sample.validation
    true = _dense(sample, y)
    errors = torch.stack([(sample.values(predict(x)) - true).square().mean((1, 2)) for predict in alternatives])
    best = errors.argmin(0)

    def predict(x: Tensor) -> Tensor:
        out: Tensor | None = None
        for number in sorted(set(best.tolist())):
            found = alternatives[number](x)
            out = found.clone() if out is None else torch.where((best == number).view(-1, 1, 1), found, out)
        assert out is not None
        return out

    return predict


def _logistic(sample: Sample, strength: float) -> Predict:
    """The weights that minimize 0.5 |w|^2 + strength * (sum of log losses), intercepts not penalized, by Newton's method.

    Each step solves for the direction with conjugate gradients, which need no matrix of D K x D K, and halves it until the
    objective falls. Splits, and labels of several, go their own ways: their sums are taken ``over`` the rest.
    """
    x = F.pad(sample.x, (0, 1), value=1.0)
    true = _dense(sample, sample.y)
    exclusive = sample.exclusive
    over = (1, 2) if exclusive else (1,)
    penalized = torch.ones(x.shape[2], 1, dtype=x.dtype)
    penalized[-1] = 0

    def total(values: Tensor) -> Tensor:
        return values.sum(over, keepdim=True)

    def objective(weight: Tensor) -> Tensor:
        z = x @ weight
        losses = z.logsumexp(2, keepdim=True) - (true * z).sum(2, keepdim=True) if exclusive else F.softplus(z) - true * z
        return strength * total(losses) + 0.5 * total(penalized * weight.square())

    weight = x.new_zeros(len(x), x.shape[2], true.shape[2])
    squares = x.square()
    for _ in range(_NEWTON_STEPS):
        z = x @ weight
        p = z.softmax(2) if exclusive else z.sigmoid()
        gradient = strength * (x.mT @ (p - true)) + penalized * weight
        moving = gradient.abs().amax(over, keepdim=True) > 1e-7 * strength * x.shape[1]
        if not moving.any():
            break

        def curvature(direction: Tensor, p: Tensor = p) -> Tensor:
            dz = x @ direction
            dp = p * (dz - (p * dz).sum(2, keepdim=True)) if exclusive else p * (1 - p) * dz
            return strength * (x.mT @ dp) + penalized * direction

        diagonal = strength * (squares.mT @ (p * (1 - p))) + penalized + 1e-12
        step = torch.where(moving, _solve(curvature, -gradient, diagonal, total), 0.0)  # whoever is there stays there
        slope, before = total(gradient * step), objective(weight)
        length = torch.ones_like(before)
        for _ in range(_HALVINGS):
            short = objective(weight + length * step) > before + 1e-4 * length * slope + 1e-12 * before.abs()
            if not short.any():
                break
            length = torch.where(short, length / 2, length)
        weight = weight + length * step
    fitted = weight

    def predict(x: Tensor) -> Tensor:
        z = F.pad(x, (0, 1), value=1.0) @ fitted
        return z.log_softmax(2) if exclusive else z

    return predict


def _solve(matrix: Callable[[Tensor], Tensor], right: Tensor, diagonal: Tensor, total: Callable[[Tensor], Tensor]) -> Tensor:
    """Conjugate gradients, preconditioned by the diagonal, until the residual is a hundredth of what it was."""
    found, residual = torch.zeros_like(right), right
    scaled = residual / diagonal
    direction, product = scaled, total(residual * scaled)
    goal = 1e-4 * total(right.square())
    for _ in range(_SOLVER_STEPS):
        active = total(residual.square()) > goal
        if not active.any():
            break
        image = matrix(direction)
        length = torch.where(active, product / (total(direction * image) + 1e-300), 0.0)
        found, residual = found + length * direction, residual - length * image
        scaled = residual / diagonal
        following = total(residual * scaled)
        direction = scaled + torch.where(active, following / (product + 1e-300), 0.0) * direction
        product = following
    return found


# scikit-learn's


def lasso(sample: Sample) -> Predict:
    """Min |y - x w - b|^2 / (2 n) + alpha |w|_1, on standardized targets."""
    from sklearn.linear_model import Lasso

    return _fitted(sample, [partial(Lasso, alpha=alpha, max_iter=10_000) for alpha in LASSO])


def tree(sample: Sample) -> Predict:
    """A decision tree whose depth is chosen."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    kind = DecisionTreeRegressor if sample.regression else DecisionTreeClassifier
    return _fitted(sample, [partial(kind, max_depth=depth) for depth in DEPTHS])


def boosting(sample: Sample) -> Predict:
    """Gradient boosting with scikit-learn's own settings: 100 trees of 31 leaves."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    kind = HistGradientBoostingRegressor if sample.regression else HistGradientBoostingClassifier
    return _fitted(sample, [kind], _decided)


Array = NDArray[np.float64]
Logarithms = Callable[[Any, Array], Array]
"""A fitted classifier, rows [n, D] -> log p of the classes that it knows [n, K]."""


def _counted(model: Any, rows: Array) -> Array:
    """Of a tree, whose probabilities are shares of training rows, zeros among them."""
    with np.errstate(divide="ignore"):
        out: Array = np.log(model.predict_proba(rows))
    return out


def _decided(model: Any, rows: Array) -> Array:
    """Of a sum of log odds, or of one sum a class."""
    from scipy.special import log_softmax

    z = model.decision_function(rows)
    out: Array = log_softmax(np.stack([np.zeros_like(z), z], 1) if z.ndim == 1 else z, axis=1)
    return out


def _fitted(sample: Sample, alternatives: Sequence[Callable[..., Any]], logarithms: Logarithms = _counted) -> Predict:
    """Fit scikit-learn's estimators split by split, one for each output or label; exclusive classes share one."""

    def together(make: Callable[..., Any]) -> Predict:
        models = [
            _each_output(sample, partial(make, random_state=seed & 0xFFFFFFFF), logarithms, x.numpy(), y.numpy())
            for seed, x, y in zip(sample.seeds, sample.x, sample.y, strict=True)
        ]
        return lambda x: torch.from_numpy(np.stack([model(rows.numpy()) for model, rows in zip(models, x, strict=True)]))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of scikit-learn's: a lasso that has not converged is judged by its predictions
        return chosen(sample, [together(make) for make in alternatives])


def _each_output(sample: Sample, make: Callable[[], Any], logarithms: Logarithms, x: Array, y: Array) -> Callable[[Array], Array]:
    if sample.exclusive:
        model = make().fit(x, y)

        def of_classes(rows: Array) -> Array:
            out = np.full((len(rows), sample.outputs), -np.inf)
            out[:, model.classes_] = logarithms(model, rows)  # a class may have no training row
            return out

        return of_classes
    columns = [_one_output(sample, make, logarithms, x, target) for target in y.T]
    return lambda rows: np.stack([column(rows) for column in columns], 1)


def _one_output(sample: Sample, make: Callable[[], Any], logarithms: Logarithms, x: Array, y: Array) -> Callable[[Array], Array]:
    if (y == y[0]).all():  # there is nothing to tell apart
        same = float(y[0]) if sample.regression else (np.inf if y[0] else -np.inf)
        return lambda rows: np.full(len(rows), same)
    model = make().fit(x, y)

    def values(rows: Array) -> Array:
        if sample.regression:
            out: Array = model.predict(rows)
            return out
        known = logarithms(model, rows)
        difference: Array = known[:, 1] - known[:, 0]
        return difference

    return values


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
        "lasso": lasso,
        "logistic": logistic,
        "tfidf": tfidf,
        "polynomial": polynomial,
        "tree": tree,
        "boosting": boosting,
        "raw": raw,
        "pca": pca,
        "user_mean": ratings.user_mean,
        "item_mean": ratings.item_mean,
        "biases": ratings.biases,
        "svd": ratings.svd,
    }.items()
}
