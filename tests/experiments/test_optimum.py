"""A linear model ends at scikit-learn's optimum of the same loss: full batches, float64, enough epochs.

How the numbers correspond. dlrun's loss is a mean over rows plus ``weight * sum w^2``; neither side penalizes the intercept.
Ridge minimizes ``sum (y - xw)^2 + alpha sum w^2``: alpha = n weight. LogisticRegression minimizes ``C sum loss + 0.5 sum w^2``:
C = 1 / (2 n weight). Lasso minimizes ``sum (y - xw)^2 / (2 n) + alpha sum |w|``: alpha = weight / 2.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge

from dlrun.engine.cohort import Cohort
from dlrun.engine.trainer import Outcome, fit
from dlrun.experiments.plan import plan

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
    return scaling.inputs(data.x[train]).numpy(), scaling.targets(data.y[train]).numpy()


def close(outcome: Outcome, coefficients: Array, intercept: Array, tolerance: float = 1e-3) -> None:
    weight, bias = outcome.weights["0.weight"].numpy(), outcome.weights["0.bias"].numpy()
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


def test_mse_and_l1_is_the_lasso_with_the_same_zeros(solve: Callable[..., Any]) -> None:
    weights = (0.05, 0.3)
    given = {
        "dataset": "diabetes",
        "trainer.batch_size": 266,
        "trainer.epochs": 3000,
        "optimizer.lr": 0.1,
        "optimizer.momentum": 0.0,
        # plain proximal gradient steps
    }
    for weight, (outcome, x, y) in zip(np.repeat(weights, 2), solve("l1", weights, **given), strict=True):
        oracle = Lasso(alpha=weight / 2, tol=1e-12, max_iter=100_000).fit(x, y[:, 0])
        close(outcome, oracle.coef_[:, None], np.array([oracle.intercept_]))
        assert np.array_equal(outcome.weights["0.weight"].numpy()[:, 0] == 0, oracle.coef_ == 0)
        assert outcome.diagnostics["zero_weights"] == pytest.approx(np.mean(oracle.coef_ == 0))


def test_cross_entropy_and_l2_is_softmax_regression(solve: Callable[..., Any]) -> None:
    given = {"dataset": "iris", "trainer.batch_size": 90, "trainer.epochs": 2000, "optimizer.lr": 0.5, "optimizer.momentum": 0.9}
    for weight, (outcome, x, y) in zip(np.repeat(WEIGHTS, 2), solve("l2", WEIGHTS, **given), strict=True):
        oracle = LogisticRegression(C=1 / (2 * len(x) * weight), tol=1e-10, max_iter=10_000).fit(x, y)
        weights, bias = outcome.weights["0.weight"].numpy(), outcome.weights["0.bias"].numpy()[0]
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


def test_adam_with_a_schedule_gets_there_too(solve: Callable[..., Any]) -> None:
    given: dict[str, Any] = {"dataset": "diabetes", "trainer.batch_size": 266, "trainer.epochs": 2000, "optimizer": "adam"}
    given |= {"optimizer.lr": 0.03, "scheduler": "cosine"}
    for outcome, x, y in solve("l2", [0.1], **given):
        oracle = Ridge(alpha=len(x) * 0.1, tol=1e-12).fit(x, y[:, 0])
        close(outcome, oracle.coef_[:, None], np.array([oracle.intercept_]))
