"""A linear model ends at scikit-learn's optimum of the same loss: full batches, float64, enough epochs.

How the numbers correspond. dlrun's loss is a mean over rows plus ``weight * sum w^2``; neither side penalizes the intercept.
Ridge minimizes ``sum (y - xw)^2 + alpha sum w^2``: alpha = n weight. LogisticRegression minimizes ``C sum loss + 0.5 sum w^2``:
C = 1 / (2 n weight). Lasso minimizes ``sum (y - xw)^2 / (2 n) + alpha sum |w|``: alpha = weight / 2.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import ElasticNet, Lasso, LinearRegression, LogisticRegression, Ridge

from dlrun import registry
from dlrun.engine.cohort import Cohort
from dlrun.engine.trainer import Outcome, fit
from dlrun.experiments.planning.cohorts import plan

Array = NDArray[np.float64]


@pytest.fixture
def solve(spec_of: Callable[..., Any], datasets: Any) -> Callable[..., list[tuple[Outcome, Array, Array]]]:
    """Train linear models, two seeds for each weight of the penalty; with each its training rows as scikit-learn sees them."""

    def go(regularizer: str, weights: Sequence[float], **given: Any) -> list[tuple[Outcome, Array, Array]]:
        shared: dict[str, Any] = {"model": "linear", "trainer.dtype": "float64", "trainer.max_steps": None}
        shared |= {"trainer.evaluate_every": 10_000, "optimizer": "sgd"} | given
        specs = [
            spec_of([regularizer], seed=seed, **(shared | {f"regularizer.{regularizer}.weight": weight}))
            for weight in weights
            for seed in (0, 1)
        ]
        (planned,) = plan(specs, datasets)
        found = []
        for run, outcome in zip(planned.cohort.runs, fit(planned.cohort), strict=True):
            assert outcome.status == "done"
            found.append((outcome, *rows(planned.cohort, run.split)))
        return found

    return go


def rows(cohort: Cohort, split: int) -> tuple[Array, Array]:
    data, scaling, train = cohort.data, cohort.preprocessing[split], cohort.splits[split].train
    return scaling.inputs(data.x[train]), scaling.targets(data.y[train])


def close(outcome: Outcome, coefficients: Array, intercept: Array, tolerance: float = 1e-3) -> None:
    weight, bias = outcome.weights["0.weight"], outcome.weights["0.bias"]
    np.testing.assert_allclose(weight, coefficients, atol=tolerance)
    np.testing.assert_allclose(bias[0], intercept, atol=tolerance)


WEIGHTS = (0.003, 0.1, 1.0)


def test_mse_and_l2_is_ridge(solve: Callable[..., Any]) -> None:
    given = {
        "dataset": "diabetes",
        "trainer.batch_size": 266,
        "trainer.epochs": 2500,
        "optimizer.lr": 0.05,
        "optimizer.momentum": 0.95,
    }
    for weight, (outcome, x, y) in zip(np.repeat(WEIGHTS, 2), solve("l2", WEIGHTS, **given), strict=True):
        oracle = Ridge(alpha=len(x) * weight, tol=1e-12).fit(x, y[:, 0])
        close(outcome, oracle.coef_[:, None], np.array([oracle.intercept_]))
        prediction = oracle.predict(x)
        assert outcome.metrics["train/r2"] == pytest.approx(1 - np.mean((y[:, 0] - prediction) ** 2) / np.var(y[:, 0]), abs=1e-5)


def test_mse_alone_is_least_squares(solve: Callable[..., Any]) -> None:
    given = {
        "dataset": "diabetes",
        "trainer.batch_size": 266,
        "trainer.epochs": 4000,
        "optimizer.lr": 0.1,
        "optimizer.momentum": 0.98,
    }
    for outcome, x, y in solve("l2", [0.0], **given):
        oracle = LinearRegression().fit(x, y[:, 0])
        close(outcome, oracle.coef_[:, None], np.array([oracle.intercept_]))


RATES = {  # each optimizer at its default flags; the rate is what people tune
    "sgd": 0.02,
    "asgd": 0.1,
    "adam": 0.02,
    "adamw": 0.02,
    "nadam": 0.02,
    "radam": 0.02,
    "adamax": 0.02,
    "rmsprop": 0.02,
    "adagrad": 0.2,
    "adadelta": 1.0,
    "lion": 0.003,
}
LAMBDAS = (0.02, 0.1, 0.4)


Found = tuple[dict[str, Any], float, Outcome, Array, Array]  # what a run was given, lambda, outcome, its training rows


@pytest.fixture
def sparse(spec_of: Callable[..., Any], datasets: Any) -> Callable[..., list[Found]]:
    """Linear models on diabetes with l1, with l2 too if ``ridge``, in one cohort: each of ``several`` with each lambda."""

    def go(several: Sequence[dict[str, Any]], ridge: bool, **given: Any) -> list[Found]:
        shared: dict[str, Any] = {"dataset": "diabetes", "model": "linear", "scheduler": "cosine", "seed": 0}
        shared |= {"trainer.dtype": "float64", "trainer.max_steps": None, "trainer.evaluate_every": 10_000} | given
        penalties = ("l1", "l2") if ridge else ("l1",)
        pairs = [(mine, weight) for mine in several for weight in LAMBDAS]
        specs = [
            spec_of(list(penalties), **(shared | mine | {f"regularizer.{name}.weight": weight for name in penalties}))
            for mine, weight in pairs
        ]
        (planned,) = plan(specs, datasets)
        assert list(planned.specs) == specs
        found = zip(pairs, planned.cohort.runs, fit(planned.cohort), strict=True)
        return [(mine, weight, outcome, *rows(planned.cohort, run.split)) for (mine, weight), run, outcome in found]

    return go


def penalized(weight: float, ridge: bool, x: Array, y: Array, coefficients: Array, intercept: float) -> float:
    """What l1 (and l2) minimize together with mse."""
    error = float(np.mean((y[:, 0] - x @ coefficients - intercept) ** 2))
    return error + weight * float(np.abs(coefficients).sum()) + ridge * weight * float(np.square(coefficients).sum())


def of_scikit_learn(weight: float, ridge: bool, x: Array, y: Array) -> tuple[Array, float]:
    """Half of the same objective: alpha (r |w| + (1 - r) w^2 / 2) with alpha r = weight / 2 and alpha (1 - r) = weight."""
    if ridge:
        found = ElasticNet(alpha=1.5 * weight, l1_ratio=1 / 3, tol=1e-12, max_iter=100_000).fit(x, y[:, 0])
    else:
        found = Lasso(alpha=weight / 2, tol=1e-12, max_iter=100_000).fit(x, y[:, 0])
    return found.coef_, float(found.intercept_)


def coefficients_of(outcome: Outcome) -> tuple[Array, float]:
    return outcome.weights["0.weight"][:, 0], outcome.weights["0.bias"].item()


def test_every_optimizer_is_tried_with_l1() -> None:
    assert set(RATES) == set(registry.options("optimizer"))


def of_all(factor: float, names: Iterable[str]) -> list[dict[str, Any]]:
    """Optimizers by name, at their rates times ``factor``."""
    return [{"optimizer": name, "optimizer.lr": RATES[name] * factor} for name in names]


@pytest.mark.parametrize("ridge", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["lasso", "elastic net"])
def test_l1_is_the_lasso_with_every_optimizer(ridge: bool, sparse: Callable[..., list[Found]]) -> None:
    """The optimum and the zeros of scikit-learn's Lasso and ElasticNet."""
    given = {"trainer.batch_size": 266, "trainer.epochs": 1500}
    for optimizer, weight, outcome, x, y in sparse(of_all(1.0, RATES), ridge, **given):
        wanted, mine = of_scikit_learn(weight, ridge, x, y), coefficients_of(outcome)
        assert penalized(weight, ridge, x, y, *mine) <= (1 + 1e-4) * penalized(weight, ridge, x, y, *wanted), optimizer
        assert np.array_equal(mine[0] == 0, wanted[0] == 0), optimizer
        assert outcome.diagnostics["zero_weights"] == pytest.approx(np.mean(wanted[0] == 0)), optimizer


def test_l1_in_small_batches_has_the_zeros_of_the_lasso(sparse: Callable[..., list[Found]]) -> None:
    """The noise of small batches frees no weight from 0, but for one whose gradient is within 0.02 of lambda."""
    given = {"trainer.batch_size": 16, "trainer.epochs": 200}
    for optimizer, weight, outcome, x, y in sparse(of_all(0.5, ["sgd", "adam", "lion"]), False, **given):
        (wanted, intercept), mine = of_scikit_learn(weight, False, x, y), coefficients_of(outcome)[0]
        slack = weight - np.abs(2 * x.T @ (y[:, 0] - x @ wanted - intercept) / len(x))
        sure = (np.abs(slack) > 0.02) & (wanted == 0) | (np.abs(wanted) > 0.02)
        assert np.array_equal(mine[sure] == 0, wanted[sure] == 0), optimizer


@pytest.mark.slow
def test_l1_is_the_lasso_with_other_flags_and_clipping(sparse: Callable[..., list[Found]]) -> None:
    several = [
        {"optimizer": "sgd", "optimizer.momentum": 0.0, "optimizer.lr": 0.1},
        {"optimizer": "sgd", "optimizer.nesterov": True, "optimizer.lr": 0.02},
        {"optimizer": "sgd", "optimizer.dampening": 0.5, "optimizer.lr": 0.03},
        {"optimizer": "rmsprop", "optimizer.momentum": 0.9, "optimizer.lr": 0.003},
        {"optimizer": "rmsprop", "optimizer.centered": True, "optimizer.lr": 0.005},
        {"optimizer": "adam", "optimizer.amsgrad": True, "optimizer.lr": 0.02},
        {"optimizer": "adam", "trainer.clip_norm": 0.05, "optimizer.lr": 0.02},
        {"optimizer": "sgd", "trainer.clip_value": 0.05, "optimizer.lr": 0.02},
    ]
    given = {"trainer.batch_size": 266, "trainer.epochs": 1500}
    for flags, weight, outcome, x, y in sparse(several, False, **given):
        wanted, mine = of_scikit_learn(weight, False, x, y), coefficients_of(outcome)
        assert penalized(weight, False, x, y, *mine) <= (1 + 1e-3) * penalized(weight, False, x, y, *wanted), flags
        assert np.array_equal(mine[0] == 0, wanted[0] == 0), flags


def test_cross_entropy_and_l2_is_softmax_regression(solve: Callable[..., Any]) -> None:
    given = {"dataset": "iris", "trainer.batch_size": 90, "trainer.epochs": 2000, "optimizer.lr": 0.5, "optimizer.momentum": 0.9}
    for weight, (outcome, x, y) in zip(np.repeat(WEIGHTS, 2), solve("l2", WEIGHTS, **given), strict=True):
        oracle = LogisticRegression(C=1 / (2 * len(x) * weight), tol=1e-10, max_iter=10_000).fit(x, y)
        weights, bias = outcome.weights["0.weight"], outcome.weights["0.bias"][0]
        np.testing.assert_allclose(weights, oracle.coef_.T, atol=1e-3)
        # a number common to all scores changes nothing: both intercepts are compared with their mean taken away
        np.testing.assert_allclose(bias - bias.mean(), oracle.intercept_ - oracle.intercept_.mean(), atol=1e-3)
        assert outcome.metrics["train/accuracy"] == pytest.approx(oracle.score(x, y))


@pytest.mark.parametrize("loss", ["bce_with_logits", "bce"])
def test_bce_and_l2_is_logistic_regression(loss: str, solve: Callable[..., Any]) -> None:
    given = {"dataset": "breast_cancer", "loss": loss, "trainer.batch_size": 341, "trainer.epochs": 1500}
    given |= {"optimizer.lr": 0.2, "optimizer.momentum": 0.9}
    for weight, (outcome, x, y) in zip(np.repeat(WEIGHTS, 2), solve("l2", WEIGHTS, **given), strict=True):
        oracle = LogisticRegression(C=1 / (2 * len(x) * weight), tol=1e-10, max_iter=10_000).fit(x, y[:, 0])
        close(outcome, oracle.coef_.T, oracle.intercept_)
        assert outcome.metrics["train/accuracy"] == pytest.approx(oracle.score(x, y[:, 0]))


def test_l1_and_l2_are_the_elastic_net(sparse: Callable[..., list[Found]]) -> None:
    """With some optimizers and flags; with every one in the slow tests."""
    several = [
        *of_all(1.0, ["sgd", "adam"]),
        {"optimizer": "sgd", "optimizer.nesterov": True, "optimizer.lr": 0.02},
        {"optimizer": "adam", "trainer.clip_norm": 0.05, "optimizer.lr": 0.02},
    ]
    for flags, weight, outcome, x, y in sparse(several, True, **{"trainer.batch_size": 266, "trainer.epochs": 800}):
        wanted, mine = of_scikit_learn(weight, True, x, y), coefficients_of(outcome)
        assert penalized(weight, True, x, y, *mine) <= (1 + 1e-3) * penalized(weight, True, x, y, *wanted), flags
        assert np.array_equal(mine[0] == 0, wanted[0] == 0), flags


def test_adam_with_a_schedule_gets_there_too(solve: Callable[..., Any]) -> None:
    given: dict[str, Any] = {"dataset": "diabetes", "trainer.batch_size": 266, "trainer.epochs": 2000, "optimizer": "adam"}
    given |= {"optimizer.lr": 0.03, "scheduler": "cosine"}
    for outcome, x, y in solve("l2", [0.1], **given):
        oracle = Ridge(alpha=len(x) * 0.1, tol=1e-12).fit(x, y[:, 0])
        close(outcome, oracle.coef_[:, None], np.array([oracle.intercept_]))
