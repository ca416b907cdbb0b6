"""The estimators for scikit-learn: its own checks, pipelines, searches, and the mean of several seeds."""

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_wine
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

from dlrun.sklearn import DlrunClassifier, DlrunRegressor

SMALL: dict[str, Any] = {"hidden": (16,), "seeds": 2, "epochs": 60, "lr": 0.02}
ESTIMATORS = [DlrunClassifier(**SMALL), DlrunRegressor(**SMALL)]
DOSE = (  # those that have found most mistakes in estimators; the slow test does all
    "check_fit_score_takes_y",
    "check_dict_unchanged",
    "check_fit_idempotent",
    "check_n_features_in",
    "check_methods_subset_invariance",
    "check_estimators_nan_inf",
    "check_classifiers_classes",
    "check_regressor_multioutput",
    "check_dont_overwrite_attributes",
    "check_parameters_default_constructible",
)


def name(check: Any) -> str:
    return str(getattr(check, "func", check).__name__)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(ESTIMATORS)
def test_every_check_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_some_checks_of_scikit_learn(estimator: Any) -> None:
    done = []
    for each, check in estimator_checks_generator(estimator):
        if name(check) in DOSE:
            check(each)
            done.append(name(check))
    assert len(set(done)) >= 7


def test_in_a_pipeline_and_a_search() -> None:
    x, y = load_wine(return_X_y=True)
    names = np.array(["barbera", "barolo", "grignolino"])[y]
    model = make_pipeline(PolynomialFeatures(1, include_bias=False), DlrunClassifier(**SMALL, random_state=0))
    search = GridSearchCV(model, {"dlrunclassifier__activation": ["identity", "tanh"]}, cv=2).fit(x, names)
    assert search.best_score_ > 0.9
    again = pickle.loads(pickle.dumps(search))
    np.testing.assert_array_equal(again.predict_proba(x), search.predict_proba(x))
    np.testing.assert_array_equal(clone(search.best_estimator_).fit(x, names).predict(x), search.predict(x))


def test_many_seeds_are_trained_and_their_mean_is_predicted() -> None:
    x, y = load_diabetes(return_X_y=True)
    model = DlrunRegressor(hidden=(8,), seeds=6, epochs=30, lr=0.01, random_state=3).fit(x, y)
    mean, sd = model.predict(x[:5], return_std=True)
    each = np.stack([network.predict(x[:5])[:, 0] for network in model.networks_])
    assert (each.std(0) > 0).all()
    np.testing.assert_allclose(mean, each.mean(0))
    np.testing.assert_allclose(sd, each.std(0, ddof=1))
    one = DlrunRegressor(hidden=(8,), seeds=1, epochs=30, lr=0.01, random_state=3)
    ensemble = cross_val_score(model, x, y, cv=3).mean()
    assert ensemble > 0.4
    assert ensemble > cross_val_score(one, x, y, cv=3).mean(), "the mean of several networks is better than one of them"


def test_settings_are_those_of_the_command_line_and_errors_those_of_scikit_learn() -> None:
    x = np.array([[0.0, np.nan], [1.0, 2.0], [2.0, 1.0], [3.0, 0.0]] * 5)
    y = np.array([0, 1, 0, 1] * 5)
    stopped = DlrunClassifier(
        seeds=1,
        regularizer=("l2", "early_stopping"),
        validation=0.2,
        overrides=("regularizer.early_stopping.patience=1",),
        random_state=0,
    )
    draw = np.random.default_rng(0)
    assert stopped.fit(draw.normal(size=(60, 3)), draw.integers(0, 2, 60)).n_iter_ < 100
    for wrong, said in (
        ({"activation": "rellu"}, "activation=rellu: no such option.*did you mean 'relu'"),
        ({"loss": "mse"}, "mse"),
        ({"seeds": 0}, "seeds=0: must be a whole number of at least 1"),
        ({"overrides": ("optimizer.momentun=1",)}, "momentun"),
    ):
        with pytest.raises(ValueError, match=said):
            DlrunClassifier(**wrong).fit(x, y)
    one = {
        "hidden": np.int64(3),
        "regularizer": "l2",
        "overrides": "model.init=xavier",
        "seeds": 1,
        "epochs": 1,
        "random_state": 0,
    }
    listed = {**one, "hidden": [3], "regularizer": ["l2"], "overrides": ["model.init=xavier"]}
    assert np.array_equal(DlrunClassifier(**one).fit(x, y).predict_proba(x), DlrunClassifier(**listed).fit(x, y).predict_proba(x))
    with pytest.raises(ValueError, match="all 2 networks diverged; a smaller lr may help"):
        DlrunRegressor(seeds=2, optimizer="sgd", lr=1e30, epochs=5).fit(x, y)
