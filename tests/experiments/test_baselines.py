"""Baselines: each against scikit-learn on the same rows, and how they stand in the table."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event, current_thread, main_thread
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn import linear_model, metrics
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from threadpoolctl import OpenBLASController, threadpool_info, threadpool_limits

from dlrun.baselines import estimators, library
from dlrun.baselines import rows as baselines
from dlrun.baselines.rows import Fits, Fold, baseline_problems, beside, names_of
from dlrun.comparison.table import Row
from dlrun.components.tasks import TASKS
from dlrun.data.dataset import Data
from dlrun.data.preprocessing import fit
from dlrun.data.sources import curves, images, points, real, relations, tables
from dlrun.data.splits import splits
from dlrun.errors import InputError

DATA: dict[str, Callable[[], Data]] = {
    "diabetes": real.diabetes,
    "outliers": tables.outliers,
    "moons": points.moons,
    "iris": real.iris,
    "multilabel": lambda: tables.multilabel(rows=200),
}
SEEDS = (0, 5)


def folds_of(data: Data, seeds: Sequence[int] = SEEDS, validation: float = 0.2) -> dict[tuple[int, int | None], Fold]:
    made = splits(data, seeds, validation=validation)
    return {(seed, None): Fold(data, part, fit(data, part.train)) for seed, part in zip(seeds, made, strict=True)}


def rows_of(name: str, data: Data, metric: str, **given: Any) -> list[Row]:
    rows, notes = beside([name], folds_of(data, **given), metric, {})
    assert notes == []
    return rows


# The oracle: scikit-learn, one split at a time, on arrays that were prepared by hand


def arrays(fold: Fold, rows: NDArray[np.int64]) -> tuple[Any, Any]:
    data, scaling = fold.data, fold.preprocessing
    y = data.train_y if data.train_y is not None and rows is fold.split.train else data.y
    return scaling.inputs(data.x[rows]).reshape(len(rows), -1), scaling.targets(y[rows])


def probabilities(model: Any, x: Any, task: str) -> Any:
    found = model.predict_proba(x)
    if isinstance(found, list):  # a tree or a dummy for several labels
        return np.stack([part[:, -1] for part in found], 1)
    return found[:, 1:] if task == "binary" else found


def predicted(model: Any, fold: Fold, rows: NDArray[np.int64]) -> Any:
    x, _ = arrays(fold, rows)
    if fold.data.task != "regression":
        return probabilities(model, x, fold.data.task)
    return fold.preprocessing.original(model.predict(x).reshape(len(x), -1))


def figure(data: Data, rows: NDArray[np.int64], prediction: Any) -> float:
    y = data.y[rows]
    if data.task == "regression":
        return float(metrics.r2_score(y, prediction))
    if data.task == "multilabel":
        return float(metrics.f1_score(y, prediction > 0.5, average="micro"))
    return float(metrics.log_loss(y.ravel(), prediction[:, 0] if data.task == "binary" else prediction))


METRIC = {"regression": "r2", "binary": "log_loss", "multiclass": "log_loss", "multilabel": "micro_f1"}


def candidates(name: str, task: str, seed: int) -> list[Any]:
    """What the estimator chooses from, as scikit-learn has it."""
    values, several = task == "regression", task == "multilabel"

    def each(model: Any) -> Any:
        return OneVsRestClassifier(model) if several else model

    logistic = [each(linear_model.LogisticRegression(C=c, tol=1e-8, max_iter=10_000)) for c in (1.0, *estimators.POLYNOMIAL)]
    products = [PolynomialFeatures(2, include_bias=False), StandardScaler()]
    return {
        "mean": [DummyRegressor() if values else DummyClassifier(strategy="prior")],
        "linear": [linear_model.LinearRegression()],
        "ridge": [linear_model.Ridge(alpha=alpha) for alpha in estimators.RIDGE],
        "lasso": [linear_model.Lasso(alpha=alpha, max_iter=10_000) for alpha in library.LASSO],
        "logistic": logistic[:1],
        "polynomial": [
            make_pipeline(*products, model)
            for model in ([linear_model.Ridge(alpha=alpha) for alpha in estimators.RIDGE] if values else logistic[1:])
        ],
        "tree": [
            DecisionTreeRegressor(max_depth=depth, random_state=seed)
            if values
            else each(DecisionTreeClassifier(max_depth=depth, random_state=seed))
            for depth in library.DEPTHS
        ],
        "boosting": [
            HistGradientBoostingRegressor(random_state=seed)
            if values
            else each(HistGradientBoostingClassifier(random_state=seed))
        ],
    }[name]


def best(models: list[Any], fold: Fold) -> Any:
    """The model with the least squared error on validation rows."""
    task = fold.data.task
    x, y = arrays(fold, fold.split.train)
    xv, yv = arrays(fold, fold.split.validation)
    true = np.eye(fold.data.outputs)[yv] if task == "multiclass" else yv
    errors = []
    for model in models:
        model.fit(x, y.ravel() if y.shape[-1] == 1 else y)
        out = model.predict(xv).reshape(len(xv), -1) if task == "regression" else probabilities(model, xv, task)
        errors.append(((out - true) ** 2).mean())
    return models[int(np.argmin(errors))]


CASES = [
    (name, source, task)
    for source, task in (("diabetes", "regression"), ("moons", "binary"), ("iris", "multiclass"), ("multilabel", "multilabel"))
    for name, estimator in estimators.ESTIMATORS.items()
    if task in estimator.tasks
    and name not in ("naive", "seasonal", "tfidf")  # in test_forecasting, test_data_text; raw: in test_embeddings
]


@pytest.mark.filterwarnings("ignore")  # of scikit-learn's
@pytest.mark.parametrize(("name", "source", "task"), CASES, ids=[f"{name}-{source}" for name, source, _ in CASES])
def test_equals_scikit_learn_on_the_same_rows(name: str, source: str, task: str) -> None:
    data = DATA[source]()
    rows = rows_of(name, data, METRIC[task])
    assert [(row.seed, row.fold, row.factors) for row in rows] == [(seed, None, {"baseline": name}) for seed in SEEDS]
    for row, fold in zip(rows, folds_of(data).values(), strict=True):
        model = best(candidates(name, task, row.seed), fold)
        for subset in ("train", "validation", "test"):
            part = getattr(fold.split, subset)
            expected = figure(data, part, predicted(model, fold, part))
            assert row.metrics[f"{subset}/{METRIC[task]}"] == pytest.approx(expected, abs=2e-4), subset


ELSEWHERE = {"pca", "user_mean", "item_mean", "biases", "svd"}  # in test_clustering.py and test_recommendation.py


def test_every_estimator_is_tested() -> None:
    assert {name for name, *_ in CASES} == set(estimators.ESTIMATORS) - {"naive", "seasonal", "tfidf", "raw"} - ELSEWHERE


@pytest.mark.parametrize("name", ["linear", "tree"])
def test_gross_errors_are_learnt_from_and_not_measured_with(name: str) -> None:
    """Targets that are corrupted in training alone are what a baseline trains on, as the runs do."""
    data = tables.outliers(one_sided=True, share=0.3)
    (row,) = rows_of(name, data, "r2", seeds=[0])
    clean = Data("clean", data.x, data.y, "regression", 1, data.features, data.targets)
    (better,) = rows_of(name, clean, "r2", seeds=[0])
    assert better.metrics["test/r2"] > 0.5 > row.metrics["test/r2"]


@pytest.mark.parametrize("name", ["mean", "linear", "logistic", "tree", "boosting"])
def test_only_training_rows_are_fitted_on(name: str) -> None:
    data = real.iris() if name == "logistic" else real.diabetes()
    metric = "log_loss" if name == "logistic" else "r2"
    (fold,) = folds_of(data, [0]).values()
    x, y = data.x.copy(), data.y.copy()
    x[fold.split.test] = 1e3
    y[fold.split.test] = y[fold.split.train[0]].copy()
    other = Data(data.name, x, y, data.task, data.outputs, data.features, data.targets, data.classes)
    (before,), _ = beside([name], {(0, None): fold}, metric, {})
    (after,), _ = beside([name], {(0, None): Fold(other, fold.split, fold.preprocessing)}, metric, {})
    for subset in ("train", "validation"):
        assert before.metrics[f"{subset}/{metric}"] == after.metrics[f"{subset}/{metric}"]
    assert before.metrics[f"test/{metric}"] != after.metrics[f"test/{metric}"]


def test_splits_do_not_depend_on_their_company_nor_on_the_memory() -> None:
    data = real.diabetes()
    wanted = ["mean", "linear", "ridge", "polynomial"]
    together, _ = beside(wanted, folds_of(data, range(6)), "r2", {})
    alone = [row for key, fold in folds_of(data, range(6)).items() for row in beside(wanted, {key: fold}, "r2", {})[0]]
    order = {(row.factors["baseline"], row.seed): row for row in alone}
    for row in together:
        assert row.metrics == pytest.approx(dict(order[row.factors["baseline"], row.seed].metrics), abs=1e-9)


def test_a_pool_fits_them_beforehand_and_what_it_has_not_come_to_is_fitted_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, wanted = real.diabetes(), ["mean", "linear"]
    folds = folds_of(data, range(4))
    monkeypatch.setattr(baselines, "TOGETHER", 1)  # a part for each split
    expected = beside(wanted, folds, "r2", {"model": "mlp"})
    measure, here, begun, goes_on = baselines._measure, [], Event(), Event()

    def look(chosen: Any, part: Any, *given: Any) -> Any:
        here.append((current_thread() is main_thread(), [seed for seed, _ in part]))
        if here[-1] == (True, [1]):
            goes_on.set()
        elif here[-1] == (False, [0]):
            begun.set()
            goes_on.wait()
        return measure(chosen, part, *given)

    monkeypatch.setattr(baselines, "_measure", look)
    with ThreadPoolExecutor(1) as pool:
        fits = Fits(wanted, folds, "r2", 0.5, pool)
        begun.wait()
        assert fits.rows({"model": "mlp"}) == expected
    assert sorted(here) == [(False, [0]), (True, [1]), (True, [2]), (True, [3])]
    here.clear()
    with ThreadPoolExecutor(1) as pool:
        fits = Fits(wanted, folds, "r2", 0.5, pool)
    assert fits.rows({"model": "mlp"}) == expected
    assert here == [(False, [0]), (False, [1]), (False, [2]), (False, [3])]


def test_the_mean_alone_is_the_mean_in_company() -> None:
    for source in (real.diabetes, real.iris, real.digits):
        data = source()
        metric = "r2" if data.task == "regression" else "accuracy"
        alone, _ = beside(["mean"], folds_of(data), metric, {})
        company, _ = beside(["mean", "tree"], folds_of(data), metric, {})
        assert alone == [row for row in company if row.factors["baseline"] == "mean"]


def test_folds_of_unequal_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    data = real.wine()
    made = splits(data, [3] * 4, fold=range(4), folds=4)
    folds = {(3, k): Fold(data, part, fit(data, part.train)) for k, part in enumerate(made)}
    assert len({len(part.test) for part in made}) == 2
    rows, _ = beside(["logistic"], folds, "accuracy", {"model": "mlp"})
    assert {(row.seed, row.fold) for row in rows} == set(folds)
    assert all(row.factors == {"model": "mlp", "baseline": "logistic"} for row in rows)
    monkeypatch.setattr(baselines, "TOGETHER", 1)  # one split at a time
    again, _ = beside(["logistic"], folds, "accuracy", {"model": "mlp"})
    for one, other in zip(rows, sorted(again, key=lambda row: [row.fold for row in rows].index(row.fold)), strict=True):
        assert one.metrics == pytest.approx(dict(other.metrics), abs=1e-9)


def test_features_that_are_constant_missing_or_depend_on_each_other() -> None:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(80, 3, dtype=torch.float64, generator=draw)
    y = x[:, :1] - x[:, 1:2] + 0.1 * torch.randn(80, 1, dtype=torch.float64, generator=draw)
    x = torch.cat([x, x[:, :1] + x[:, 1:2], torch.ones(80, 1)], 1)
    x[::9, 2] = torch.nan
    names = tuple("abcde")
    data = Data("odd", x, y, "regression", 1, names, ("y",))
    for name in ("linear", "ridge", "lasso", "polynomial", "tree", "boosting"):
        for row in rows_of(name, data, "r2"):
            assert row.metrics["test/r2"] > 0.5, name
    classes = Data("odd", x, (y > 0).double(), "binary", 1, names, ("y",), ("no", "yes"))
    for row in rows_of("logistic", classes, "accuracy"):
        assert row.metrics["test/accuracy"] > 0.85


def test_several_targets_and_a_class_without_a_training_row() -> None:
    data = real.diabetes()
    two = Data("two", data.x, np.concatenate([data.y, -data.y], 1), "regression", 2, data.features, ("a", "b"))
    for name in ("mean", "linear", "ridge", "lasso", "polynomial", "tree", "boosting"):
        one, both = rows_of(name, data, "r2")[0], rows_of(name, two, "r2")[0]
        assert both.metrics["test/r2"] == pytest.approx(one.metrics["test/r2"], abs=1e-6), name
    y = np.arange(60) % 3
    (fold,) = folds_of(
        Data("rare", np.random.default_rng(0).standard_normal((60, 2)), y, "multiclass", 3, ("a", "b"), ("y",)), [0]
    ).values()
    y = y.copy()
    y[fold.split.train] = y[fold.split.train].clip(max=1)
    rare = Data("rare", fold.data.x, y, "multiclass", 3, ("a", "b"), ("y",))
    for name in ("mean", "logistic", "tree", "boosting"):
        (row,), _ = beside([name], {(0, None): Fold(rare, fold.split, fold.preprocessing)}, "accuracy", {})
        assert row.metrics["test/log_loss"] > 1.0, name


def test_without_validation_rows_the_middle_is_taken() -> None:
    data = real.diabetes()
    for row, fold in zip(rows_of("ridge", data, "r2", validation=0.0), folds_of(data, validation=0.0).values(), strict=True):
        assert "validation/r2" not in row.metrics
        x, y = arrays(fold, fold.split.train)
        model = linear_model.Ridge(alpha=1.0).fit(x, y)
        assert row.metrics["test/r2"] == pytest.approx(figure(data, fold.split.test, predicted(model, fold, fold.split.test)))


def test_logistic_regression_of_classes_that_a_line_separates() -> None:
    x = torch.linspace(-1, 1, 100, dtype=torch.float64)[:, None] * torch.tensor([1.0, 100.0])
    data = Data("line", x, (x[:, :1] > 0).double(), "binary", 1, ("a", "b"), ("y",), ("no", "yes"))
    for row in rows_of("logistic", data, "accuracy"):
        assert row.metrics["train/accuracy"] > 0.95


# Which ones


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("pool", [False, True])
def test_they_are_solved_by_one_thread_and_others_have_their_threads_again(
    fails: bool, pool: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, seen = baselines._measure, []

    def look(*given: Any) -> Any:
        seen.append(blas_threads())
        if fails:
            raise MemoryError
        return measure(*given)

    monkeypatch.setattr(baselines, "_measure", look)
    with threadpool_limits(2, "blas"), ThreadPoolExecutor(1) as executor:
        OpenBLASController.clear_controlling_thread()  # another thread may set the number
        fits = baselines.Fits(["logistic"], folds_of(points.moons()), "accuracy", 0.5, executor if pool else None)
        if fails:
            with pytest.raises(MemoryError):
                fits.rows({})
        else:
            assert len(fits.rows({})[0]) == len(SEEDS)
        assert blas_threads() == {2}
    assert seen == [{1}]


def test_names() -> None:
    assert names_of(["auto", "none", None, "ridge", ["tree", "ridge"]]) == ("auto", "ridge", "tree")
    assert baseline_problems("auto") == baseline_problems(None) == baseline_problems(["mean", "auto"]) == []
    assert "did you mean 'logistic'?" in baseline_problems(["logistik"])[0]
    assert baseline_problems(3) == [f"baseline=3: must be auto, none or a list of {', '.join(estimators.ESTIMATORS)}"]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (real.diabetes, ["mean", "linear"]),
        (points.moons, ["mean", "logistic"]),
        (real.iris, ["mean", "logistic"]),
        (curves.forecasting, ["mean", "naive", "seasonal", "linear"]),
        (relations.pairs, ["raw"]),
        (relations.triplets, ["raw"]),
        (images.shapes, []),
    ],
)
def test_auto_is_what_costs_next_to_nothing(source: Callable[[], Data], expected: list[str]) -> None:
    data = source()
    rows, notes = beside(["auto"], folds_of(data, [0]), TASKS[data.task].main_metric, {})
    assert ([row.factors["baseline"] for row in rows], notes) == (expected, [])


def test_what_is_left_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    data = real.diabetes()
    folds = folds_of(data, [0])
    _, notes = beside(["logistic", "naive", "mean"], folds, "r2", {})
    assert notes == [
        "baseline logistic left out: it serves binary, multiclass, multilabel data, and diabetes is regression",
        "baseline naive left out: diabetes has no windows of a series, whose last value is named 'lag 0'",
    ]
    rows, notes = beside(["mean"], folds, "loss", {})
    assert (rows, notes) == ([], ["no baselines: they have no loss; type metric=r2 to compare with them"])
    monkeypatch.setattr(baselines, "RATE", 1.0)
    monkeypatch.setattr(baselines, "LARGEST", 10)
    rows, notes = beside(["auto", "polynomial"], folds, "r2", {})
    assert [row.factors["baseline"] for row in rows] == ["mean"]
    assert "baseline linear left out: it would take about" in notes[0]
    assert "type baseline=[linear] for it" in notes[0]
    assert notes[1] == "baseline polynomial left out: 10 features have 17,290 products in all"


# In the table


def test_they_stand_in_the_table_of_a_sweep(call: Callable[..., Any]) -> None:
    found = call("-m", "dataset=moons,shapes,diabetes", "seed=0,1,2")
    assert found.code == 0
    assert [cell.status for cell in found.sweep.cells].count("skipped") == 3  # shapes with an mlp
    assert len(found.records) == 6
    by_dataset = {(row["dataset"], row["baseline"]): row for row in found.table}
    assert set(by_dataset) == {
        ("moons", ""),
        ("moons", "mean"),
        ("moons", "logistic"),
        ("diabetes", ""),
        ("diabetes", "mean"),
        ("diabetes", "linear"),
    }
    linear = by_dataset["diabetes", "linear"]
    assert (linear["n"], linear["pairs"]) == ("3", "3")
    assert linear["verdict"].startswith(("better", "not enough evidence"))
    assert by_dataset["diabetes", ""]["verdict"] == "reference", "the reference is a run, though five steps lose to a line"
    assert float(linear["test/r2 mean"]) > 0.3 > float(by_dataset["diabetes", ""]["test/r2 mean"])
    text = (found.sweep.folder / "comparison.md").read_text()
    assert "| linear |" in text
    assert "linear" in found.out
    assert "fitting baselines" not in found.err


def test_other_ones_and_none(call: Callable[..., Any]) -> None:
    found = call("-m", "dataset=moons", "seed=0,1", "activation=relu,tanh", "baseline=[tree,ridge]")
    assert {(row["activation"], row["baseline"]) for row in found.table} == {("relu", ""), ("tanh", ""), ("", "tree")}
    assert "fitting baselines on 2 splits of moons" in found.err
    assert "baseline ridge left out" in found.out
    assert "baseline ridge left out" in (found.sweep.folder / "comparison.md").read_text()
    first = {record.id for record in found.records}
    found = call("-m", "dataset=moons", "seed=0,1", "activation=relu,tanh", "baseline=none")
    assert "baseline" not in found.table[0]
    assert {record.id for record in found.records} == first, "they are no part of what a run is"


def test_swept_by_mistake_they_all_stand(call: Callable[..., Any]) -> None:
    found = call("-m", "dataset=moons", "seed=0,1", "baseline=mean,logistic")
    assert [row["baseline"] for row in found.table if row["baseline"]] == ["logistic", "mean"]
    assert len(found.records) == 2


def test_a_single_run_has_those_that_are_asked_for(call: Callable[..., Any]) -> None:
    assert "logistic" not in call("dataset=moons").out
    found = call("dataset=moons", "baseline=[logistic,mean]")
    assert found.code == 0
    assert found.sweep is None
    assert "logistic" in found.out
    assert "best of yours" in found.out
    assert call("dataset=moons", "baseline=[logistc]").code == 2


def test_a_wrong_name_is_refused_with_all_else(spec_of: Callable[..., Any]) -> None:
    with pytest.raises(InputError) as caught:
        spec_of(baseline=["mena"], seed=-1)
    assert len(caught.value.problems) == 2
    assert "did you mean 'mean'?" in caught.value.problems[1]
