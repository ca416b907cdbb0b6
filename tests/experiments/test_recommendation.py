"""Recommendation: rankings counted by hand, baselines against least squares and numpy, cold users, a user's own file."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge

import dlrun
from dlrun.baselines import estimators
from dlrun.baselines.ratings import DAMPING, RANKS
from dlrun.baselines.rows import Fold, beside
from dlrun.baselines.sample import Sample
from dlrun.data.dataset import Data
from dlrun.data.interactions import read
from dlrun.data.preprocessing import Scalings, fit, fit_each
from dlrun.data.sources.ratings import ratings
from dlrun.data.splits import Split, Splits, split, splits
from dlrun.engine import batches
from dlrun.engine.measuring import derived
from dlrun.engine.predictor import DataForm
from dlrun.engine.trainer import fit as train
from dlrun.errors import DataError, InputError
from dlrun.experiments.planning.cohorts import plan

SMALL = {"dataset": "ratings", "dataset.users": 30, "dataset.items": 20, "dataset.rows": 300, "trainer.max_steps": None}


def small(**given: Any) -> Data:
    return ratings(users=30, items=20, rows=300, **given)


def first_items(score: Any, data: Data, part: Split) -> list[set[int]]:
    """For each user the ten items of highest score that training rows do not have of the user, by a loop."""
    found = []
    for user in range(1, 31):
        seen = {int(item) for row in part.train for u, item in [data.x[row].tolist()] if u == user}
        rest = [item for item in range(31, 51) if item not in seen]
        found.append(set(sorted(rest, key=lambda item: -score(user, item))[:10]))
    return found


@pytest.mark.parametrize("model", ["factorization", "two_towers"])
def test_rankings_are_those_of_a_loop(model: str, spec_of: Callable[..., Any], datasets: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(derived, "_TOGETHER", 200)  # a few users at a time
    specs = [spec_of(model=model, seed=seed, **SMALL, **{"trainer.epochs": 3, "optimizer.lr": 0.02}) for seed in (0, 1)]
    (planned,) = plan(specs, datasets)
    data = planned.cohort.data
    for run, outcome in zip(planned.cohort.runs, train(planned.cohort), strict=True):
        part, scaling = planned.cohort.splits[run.split], planned.cohort.preprocessing[run.split]
        w = {name: torch.from_numpy(value).double() for name, value in outcome.weights.items()}

        def side(x: torch.Tensor, whose: str, w: dict[str, torch.Tensor] = w) -> torch.Tensor:
            hidden = (x @ w[f"1.{whose}_weight"] + w[f"1.{whose}_bias"]).relu()
            return hidden @ w[f"3.{whose}_weight"] + w[f"3.{whose}_bias"]

        def score(user: int, item: int, w: dict[str, torch.Tensor] = w, side: Any = side) -> float:
            p, q = w["0.weight"][user - 1], w["0.weight"][item - 1]
            if model == "factorization":
                return float(p @ q + w["0.bias"][user - 1] + w["0.bias"][item - 1] + w["1.bias"])
            return float(side(p, "user") @ side(q, "item").T + w["4.bias"])

        known = set(data.x[part.train].ravel().tolist())
        assert known == set(range(1, 51)), "none is cold here"
        shown = first_items(score, data, part)
        shares = []
        for user in range(1, 31):
            likes = [int(data.x[row, 1]) for row in part.test if data.x[row, 0] == user and data.y[row] >= 4.0]
            if likes:
                shares.append(np.mean([item in shown[user - 1] for item in likes]))
        assert outcome.metrics["test/recall@10"] == pytest.approx(np.mean(shares))
        assert "train/recall@10" not in outcome.metrics, "what training rows have is never recommended"
        predicted = [score(*data.x[row].tolist()) / scaling.y_factor.item() + scaling.y_shift.item() for row in part.test]
        rmse = np.sqrt(np.mean((np.array(predicted) - data.y[part.test, 0]) ** 2))
        assert outcome.metrics["test/rmse"] == pytest.approx(rmse, rel=1e-5)


def test_of_many_users_some_are_ranked(spec_of: Callable[..., Any], train_all: Callable[..., Any], monkeypatch: Any) -> None:
    (every,) = train_all([spec_of(model="factorization", **SMALL, **{"trainer.epochs": 1})])
    monkeypatch.setattr(derived, "PAIRS", 10 * 20)
    (some,) = train_all([spec_of(model="factorization", **SMALL, **{"trainer.epochs": 1})])
    assert some.metrics["test/rmse"] == every.metrics["test/rmse"]
    assert 0.0 <= some.metrics["test/recall@10"] <= 1.0
    assert some.metrics["test/recall@10"] != every.metrics["test/recall@10"]


# Users and items without training rows


def cold_part(data: Data) -> Split:
    """A split that tests on all ratings of user 1 and item 31."""
    subset = np.zeros(len(data), dtype=np.int8)
    subset[1::7] = 1
    subset[(data.x[:, 0] == 1) | (data.x[:, 1] == 31)] = 2
    return Split(subset)


def test_who_is_cold_gets_the_mean_and_the_bias_of_the_other(spec_of: Callable[..., Any], datasets: Any) -> None:
    given = {"trainer.epochs": 2, "trainer.dtype": "float64", "optimizer.lr": 0.05}
    (planned,) = plan([spec_of(model="factorization", **SMALL, **given)], datasets)
    data, part = planned.cohort.data, cold_part(planned.cohort.data)
    scaling = fit(data, part.train)
    cohort = replace(planned.cohort, splits=Splits.of([part]), preprocessing=Scalings.of([scaling]))
    (outcome,) = train(replace(cohort, runs=[replace(cohort.runs[0], split=0)]))
    w, predicted = outcome.weights, outcome.predictions["test"][:, 0]
    rows = part.test.tolist()
    for row, value in zip(rows, predicted, strict=True):
        user, item = data.x[row].tolist()
        known = w["0.bias"][[number - 1 for number in (user, item) if number not in (1, 31)]].sum() + w["1.bias"][0]
        assert value == pytest.approx(float(known) / scaling.y_factor.item() + scaling.y_shift.item(), rel=1e-6)
    assert any((data.x[row] == [1, 31]).any() for row in rows)


def test_cold_ones_are_counted(call: Callable[..., Any]) -> None:
    found = call("dataset=ratings", "dataset.rows=400", "model=factorization", "trainer.epochs=1")
    assert found.code == 0, found.err
    assert "test rows of ratings" in found.out + found.err
    assert "without training rows; these get a vector and a bias of 0" in found.out + found.err


@pytest.mark.parametrize("materialized", [True, False])
def test_numbers_without_training_rows_become_0(materialized: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    data = small(seed=1)
    parts = Splits.of([cold_part(data), split(data, seed=0, test=0.0, validation=0.0)])
    parts = parts.select([0, 0])
    if not materialized:
        monkeypatch.setattr(batches, "MATERIALIZED_BYTES", 0)
    table = batches.Batches(data, parts, fit_each(data, parts), [1, 0])
    x = table.subset("test")[0]
    assert x.dtype == np.int64
    raw = data.x[parts[0].test]
    assert np.array_equal(x[0], np.where((raw == 1) | (raw == 31), 0, raw))
    assert np.array_equal(table.subset("train")[0][1], data.x[parts[0].train])


def test_test_ratings_change_no_weight(spec_of: Callable[..., Any], datasets: Any) -> None:
    (planned,) = plan([spec_of(model="two_towers", **SMALL, **{"trainer.epochs": 2})], datasets)
    cohort = planned.cohort
    y = cohort.data.y.copy()
    y[cohort.splits[0].test] = 1e6
    (clean,), (garbage,) = train(cohort), train(replace(cohort, data=replace(cohort.data, y=y)))
    assert all(np.array_equal(value, garbage.weights[name]) for name, value in clean.weights.items())
    assert clean.metrics["test/rmse"] < 10 < garbage.metrics["test/rmse"]


# Baselines


@pytest.fixture(scope="module")
def fold() -> Fold:
    data = small(seed=2)
    part = split(data, seed=0)
    return Fold(data, part, fit(data, part.train))


def predictions_of(name: str, fold: Fold) -> Any:
    """In the units of the data, for test rows."""
    table = batches.Batches(fold.data, Splits.of([fold.split]), Scalings.of([fold.preprocessing]), [0], floats="float64")
    (x, y), held, (new, _) = (table.subset(name) for name in ("train", "validation", "test"))
    sample = Sample(
        task=dlrun.components.tasks.TASKS["recommendation"],
        outputs=1,
        x=x,
        y=y,
        validation=(held[0], held[1]),
        window=None,
        steps=(),
        seeds=[0],
        users=30,
        words=50,
    )
    return table.original(estimators.ESTIMATORS[name].fit(sample)(new))[0, :, 0]


@pytest.mark.parametrize(("name", "column"), [("user_mean", 0), ("item_mean", 1)])
def test_means_are_those_of_a_table(name: str, column: int, fold: Fold) -> None:
    train_rows, test_rows = fold.split.train, fold.split.test
    table = pd.DataFrame({"key": fold.data.x[train_rows, column], "y": fold.data.y[train_rows, 0]})
    means = table.groupby("key")["y"].mean()
    expected = means.reindex(fold.data.x[test_rows, column]).fillna(table["y"].mean())
    np.testing.assert_allclose(predictions_of(name, fold), expected, rtol=1e-9)


def one_hot(x: Any) -> Any:
    out = np.zeros((len(x), 50))
    for row, pair in enumerate(x.tolist()):
        out[row, [number - 1 for number in pair]] = 1
    return out


def test_biases_are_a_ridge_regression(fold: Fold) -> None:
    data, part = fold.data, fold.split
    centre = float(data.y[part.train].mean())
    best: tuple[float, Any, Any] | None = None
    for damping in DAMPING:
        model = Ridge(alpha=max(damping, 1e-9), fit_intercept=False, solver="svd")
        model.fit(one_hot(data.x[part.train]), data.y[part.train, 0] - centre)
        held = model.predict(one_hot(data.x[part.validation])) + centre
        error = float(((held - data.y[part.validation, 0]) ** 2).mean())
        if best is None or error < best[0]:
            best = error, model, damping
    assert best is not None
    assert best[2] > 0, "damping helps with ten ratings a user"
    expected = best[1].predict(one_hot(data.x[part.test])) + centre
    np.testing.assert_allclose(predictions_of("biases", fold), expected, atol=2e-3)


def test_svd_adds_the_best_matrix_of_low_rank(fold: Fold, monkeypatch: pytest.MonkeyPatch) -> None:
    data, part = fold.data, fold.split
    monkeypatch.setattr("dlrun.baselines.ratings.RANKS", (2,))
    monkeypatch.setattr("dlrun.baselines.ratings.DAMPING", (1e12,))  # no biases: what is left is the centred matrix
    matrix = np.zeros((31, 51))
    centre = float(data.y[part.train].mean())
    for (user, item), y in zip(data.x[part.train].tolist(), data.y[part.train, 0].tolist(), strict=True):
        matrix[user, item] = y - centre
    u, s, v = np.linalg.svd(matrix)
    low = (u[:, :2] * s[:2]) @ v[:2]
    expected = [low[user, item] + centre for user, item in data.x[part.test].tolist()]
    np.testing.assert_allclose(predictions_of("svd", fold), expected, rtol=1e-6)
    assert max(RANKS) == 16


def test_they_stand_beside_the_runs(fold: Fold) -> None:
    rows, notes = beside(["auto"], {(0, None): fold}, "rmse", {})
    assert notes == []
    names = [row.factors["baseline"] for row in rows]
    assert names == ["mean", "user_mean", "item_mean", "biases", "svd"]
    errors = dict(zip(names, (float(row.metrics["test/rmse"] or 0) for row in rows), strict=True))
    assert errors["biases"] < errors["item_mean"] < errors["mean"]
    assert all(0.0 <= (row.metrics["test/recall@10"] or 0) <= 1.0 for row in rows)
    assert all("train/recall@10" not in row.metrics for row in rows)


# A user's own file

ROWS = (
    "who,what,stars,when\nann,tea,5,1\nann,milk,2,2\nbob,tea,4,3\nbob,beer,1,4\nann,tea,3,5\neve,,4,6\neve,milk,?,7\n"
    + "".join(f"u{n % 9},i{n % 7},{1 + n % 5},0\n" for n in range(63))
)


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own.csv").write_text(ROWS)
    return str(tmp_path / "own.csv")


def test_a_file_is_read(own: str) -> None:
    data = ratings(path=own)
    assert (data.features, data.targets, data.task, data.users) == (("who", "what"), ("stars",), "recommendation", 11)
    assert data.vocabulary[:2] == ("who=ann", "who=bob")
    assert "what=tea" in data.vocabulary[data.users :]
    names = [[data.vocabulary[number - 1] for number in row] for row in data.x.tolist()]
    assert dict(zip(map(tuple, names), data.y[:, 0].tolist(), strict=True))["who=ann", "what=tea"] == 3.0, "the last one counts"
    assert len(data) == 5 - 1 + 63
    assert data.notes[0].startswith("own.csv: 67 ratings (stars) of 10 items (what) by 11 users (who)")
    assert data.notes[1:] == (
        "own.csv: 2 rows without a user, an item or a rating are left out",
        "own.csv: 1 ratings of a pair that is rated again below are left out",
        "own.csv: recall@10 is 1 for every model, since there are no more than 10 items; compare by rmse",
    )
    assert data.liked is not None
    assert np.array_equal(data.liked[:, 1] != 0, data.y[:, 0] >= 4.0)
    assert ratings(path=own, liked=5.0).fingerprint != data.fingerprint


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"user": "whom"}, "has no column whom.*did you mean 'who'"),
        ({"user": "zzzzzz"}, "has no column zzzzzz; it has who, what, stars, when"),
        (
            {"liked": 9.0},
            "dataset.liked=9: the highest rating in own.csv is 5, so no user likes an item; type dataset.liked=5 or less",
        ),
        ({"rating": "who", "item": "who"}, "needs one each for user, item and rating"),
        ({"rating": "what", "item": "stars"}, "column what, row 1 holds 'tea'; ratings are numbers"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(own: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        ratings(path=own, **given)


def test_equal_ratings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "same.csv").write_text("who,what,stars\n" + "".join(f"u{n % 9},i{n % 7},3\n" for n in range(63)))
    with pytest.raises(DataError, match="stars is 3 in every row, so there is nothing to learn"):
        ratings(path=str(tmp_path / "same.csv"))


def test_more_ratings_than_pairs_and_wrong_models_are_refused(spec_of: Callable[..., Any], datasets: Any) -> None:
    with pytest.raises(DataError, match="have 600 pairs; take fewer rows"):
        ratings(users=30, items=20, rows=601)
    with pytest.raises(InputError, match="the rows are pairs of a user and an item; type model=factorization"):
        plan([spec_of(model="cnn1d", **SMALL)], datasets)
    assert plan([spec_of(model="mlp", **SMALL)], datasets), "one input for each user and item"
    with pytest.raises(InputError, match="dot needs vectors of a user and an item"):
        plan([spec_of(dataset="diabetes", **{"model.layers": ["dot"]})], datasets)
    with pytest.raises(InputError, match="factors needs users and items, but the rows are sequences"):
        plan([spec_of(dataset="sentences", model="factorization")], datasets)


def test_new_pairs_are_predicted_by_name(own: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["dataset=ratings", f"dataset.path={own}", "model=factorization", "trainer.epochs=2", "trainer.batch_size=8"]
    run = dlrun.run(*words, progress=False)
    table = pd.DataFrame({"what": ["tea", "i3", "unheard of"], "who": ["ann", "nobody", "nobody"]})
    found = run.predict(table)
    assert found.shape == (3,)
    assert found.tolist() == pytest.approx(run.predict([["ann", "tea"], ["nobody", "i3"], ["nobody", "unheard of"]]).tolist())
    shift, offset = run._form["y_shift"][0], float(run.weights["1.bias"][0]) / run._form["y_factor"][0]
    assert found[2] == pytest.approx(shift + offset, rel=1e-5), "what is left is the mean"
    table[["who", "what"]].to_csv("pairs.csv", index=False)
    from dlrun.trained.ensemble import Ensemble
    from dlrun.trained.of_file import FileRows

    (written,) = FileRows(Ensemble((run,)), "pairs.csv").tables()
    assert written["predicted stars"].tolist() == pytest.approx(found.tolist())
    with pytest.raises(DataError, match="column who: is missing"):
        run.predict(table[["what"]])
    assert read([[1.0, "x"]], ("a=1", "b=x"), ("a", "b")).tolist() == [[1, 2]]
    assert DataForm((2,), dlrun.components.tasks.TASKS["recommendation"], 1, ("a=1", "b=x"), users=1).stand_in().modality.pairs


def test_it_learns_what_users_like(train_all: Callable[..., Any], spec_of: Callable[..., Any]) -> None:
    """On ratings of rank 2 the vectors beat any biases; the table of a sweep has both."""
    given = {"dataset.users": 60, "dataset.items": 40, "dataset.rows": 1800, "dataset.tastes": 2, "dataset.noise": 0.1}
    how = {"trainer.max_steps": None, "trainer.epochs": 25, "optimizer.lr": 0.03, "model.embedding": 4, "trainer.batch_size": 64}
    specs = [spec_of(dataset="ratings", model="factorization", seed=seed, **given, **how) for seed in (0, 1)]
    outcomes = train_all(specs)
    data = ratings(users=60, items=40, rows=1800, tastes=2, noise=0.1)
    parts = splits(data, (0, 1))
    folds = {(seed, None): Fold(data, part, fit(data, part.train)) for seed, part in enumerate(parts)}
    rows, _ = beside(["biases"], folds, "rmse", {})
    for outcome, row in zip(outcomes, rows, strict=True):
        assert outcome.metrics["test/rmse"] < 0.8 * float(row.metrics["test/rmse"] or 0)
