"""Ranks, log loss and predictions of models whose logits are so large that a float32 sigmoid or softmax rounds them off."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

import dlrun
from dlrun.baselines.rows import Fold, beside
from dlrun.config.spec import from_config
from dlrun.data.dataset import Data
from dlrun.data.preprocessing import fit as prepare
from dlrun.data.sources import points, real
from dlrun.data.splits import NONE, Split, split
from dlrun.errors import DataError
from dlrun.experiments.planning.cohorts import Datasets, plan
from dlrun.results.formats import PREDICTIONS
from dlrun.results.store import Store

MOST = -np.log(np.finfo(np.float64).eps)
SATURATED = [
    "optimizer=sgd",
    "optimizer.lr=30",
    "optimizer.momentum=0",
    "trainer.epochs=6",
    "trainer.max_steps=null",
    "model.init=default",
]


def rows_of(run: Any) -> tuple[Any, Any]:
    """Raw features and targets of the test rows."""
    spec = from_config(run.config, run.record.choices, run.record.overrides)
    (planned,) = plan([spec], Datasets())
    data, test = planned.cohort.data, planned.cohort.splits[0].test
    return data.x[test], data.y[test]


def predicted(run: Any, x: Any, engine: str) -> tuple[Any, Any]:
    """Logarithms of the predictions for the test rows x, to the last bit as they were measured, and those that ``predict`` gives.

    Torch predicts, so that what the kernel has measured is what it kept.
    """
    again = run.predict(x, log=True)
    if engine == "torch":
        return again, again
    kept = Store(Path("outputs")).arrays(run.id, PREDICTIONS)["test"]
    return kept.reshape(again.shape).astype(np.float64), again


@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize("loss", ["bce_with_logits", "bce", "hinge"])
def test_binary_figures_are_scikit_learns_on_the_logits(loss: str, engine: str, folder: Any) -> None:
    """Large logits by large weights of a linear model, so that the test does not depend on how a deep one diverges."""
    words = ("dataset=breast_cancer", "model=linear", f"loss={loss}", f"trainer.engine={engine}")
    run = dlrun.run(*words, *SATURATED, progress=False)
    x, y = rows_of(run)
    (z, again), true = predicted(run, x, engine), y[:, 0]
    np.testing.assert_allclose(again, z, rtol=1e-4)
    p = 1 / (1 + np.exp(-np.clip(z, -700, 700)))
    np.testing.assert_allclose(run.predict(x), 1 / (1 + np.exp(-np.clip(again, -700, 700))), rtol=1e-12, atol=1e-300)
    assert np.mean(np.abs(z) > 17) > 0.3, "logits that float32 rounds off"
    assert run.predict(x).dtype == np.float64
    found = {name.partition("/")[2]: value for name, value in run.metrics.items() if name.startswith("test/")}
    assert found["auroc"] == pytest.approx(sk.roc_auc_score(true, z), abs=1e-12)
    assert found["average_precision"] == pytest.approx(sk.average_precision_score(true, z), abs=1e-12)
    cost = np.logaddexp(0, -(2 * true - 1) * z)
    assert found["log_loss"] == pytest.approx(np.minimum(cost, MOST).mean(), rel=1e-9)
    assert found["brier"] == pytest.approx(sk.brier_score_loss(true, p), rel=1e-9)
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(true, p > 0.5))
    rounded = torch.from_numpy(z).float().sigmoid()
    assert sk.roc_auc_score(true, rounded) != pytest.approx(found["auroc"], abs=1e-4), "rounding would have shown"


@pytest.mark.parametrize("engine", ["auto", "torch"])
@pytest.mark.parametrize("loss", ["cross_entropy", "nll", "sparsemax"])
def test_multiclass_figures_are_scikit_learns_on_the_logits(loss: str, engine: str, folder: Any) -> None:
    words = ("dataset=digits", "model=linear", f"loss={loss}", f"trainer.engine={engine}")
    run = dlrun.run(*words, *SATURATED, "trainer.epochs=2", progress=False)
    x, y = rows_of(run)
    p, (log_p, again) = run.predict(x), predicted(run, x, engine)
    np.testing.assert_allclose(np.exp(again), p, atol=1e-12)
    exact = 1e-9 if engine == "torch" else 1e-6  # what is kept is rounded to float32
    assert run.metrics["test/log_loss"] == pytest.approx(np.minimum(-log_p[range(len(y)), y], MOST).mean(), rel=exact)
    assert run.metrics["test/accuracy"] == pytest.approx(sk.accuracy_score(y, p.argmax(1)))
    zeros = run.record.diagnostics["zero_probabilities"]
    assert zeros > 0.5 if loss == "sparsemax" else zeros == 0, "what float32 rounds to 0 is no zero of the model"


def test_logarithms_are_for_classes(folder: Any) -> None:
    run = dlrun.run("dataset=diabetes", "trainer=smoke", progress=False)
    with pytest.raises(DataError, match=r"log=True is for probabilities of classes.*leave it out"):
        run.predict(np.zeros((1, 10)), log=True)


def fold_of(data: Data) -> dict[tuple[int, int | None], Fold]:
    part = split(data, seed=0)
    return {(0, None): Fold(data, part, prepare(data, part.train, standardize=False))}


def test_baselines_rank_by_what_is_not_rounded() -> None:
    """A line separates the classes by far: float64 sigmoids of its logits are 1, and mislabelled rows among them are ranked."""
    x = 400 * np.random.default_rng(0).standard_normal((300, 1))
    y = (x > 0).astype(np.float64)
    (fold,) = fold_of(Data("far", x, y, "binary", 1, ("a",), ("y",), ("no", "yes"))).values()
    wrong = fold.split.test[np.flatnonzero(x[fold.split.test, 0] > 300)[:3]]
    y = y.copy()
    y[wrong] = 0
    data = replace(fold.data, y=y)
    (row,), _ = beside(["logistic"], {(0, None): Fold(data, fold.split, fold.preprocessing)}, "auroc", {})
    test = fold.split.test
    assert row.metrics["test/auroc"] == pytest.approx(sk.roc_auc_score(y[test, 0], x[test, 0]))
    assert row.metrics["test/average_precision"] == pytest.approx(sk.average_precision_score(y[test, 0], x[test, 0]))
    assert row.metrics["test/log_loss"] == pytest.approx(3 * MOST / len(test), rel=1e-2)


@pytest.mark.parametrize(("source", "name"), [(points.moons, "tree"), (points.moons, "boosting"), (real.iris, "tree")])
@pytest.mark.filterwarnings("ignore")
def test_the_log_loss_of_baselines_is_scikit_learns(source: Callable[[], Data], name: str) -> None:
    """Zeros of a tree cost 36.04 nats, what no run can exceed either."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.tree import DecisionTreeClassifier

    data = source()
    (fold,) = (made := fold_of(data)).values()
    depth = {"max_depth": None}
    train, test = fold.split.train, fold.split.test
    kind = DecisionTreeClassifier(**depth, random_state=0) if name == "tree" else HistGradientBoostingClassifier(random_state=0)
    model = kind.fit(data.x[train], data.y[train].ravel())
    subset = fold.split.subset.copy()
    subset[fold.split.validation] = NONE
    made = {(0, None): replace(fold, split=Split(subset))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dlrun.baselines.library.DEPTHS", (None,))
        (row,), _ = beside([name], made, "log_loss", {})
    p = model.predict_proba(data.x[test])
    assert row.metrics["test/log_loss"] == pytest.approx(sk.log_loss(data.y[test].ravel(), p), rel=1e-6)
    if data.task == "binary":
        assert row.metrics["test/auroc"] == pytest.approx(sk.roc_auc_score(data.y[test].ravel(), p[:, 1]), abs=1e-12)
