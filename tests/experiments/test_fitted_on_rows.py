"""What is fitted on which rows: test rows change nothing of a run, balanced weights, weights of rows, thresholds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_curve
from sklearn.utils.class_weight import compute_class_weight

import dlrun
from dlrun.data.balance import class_weights
from dlrun.data.sources.files import csv
from dlrun.data.sources.real import iris, wine
from dlrun.data.splits import split
from dlrun.engine.measuring.thresholds import best
from dlrun.errors import InputError

Table = dict[str, list[str]]
Train = Callable[..., Any]

SHORT = {"trainer.epochs": 2, "model.hidden": [4], "baseline": "none"}


@pytest.fixture
def train(tmp_path: Path) -> Train:
    """Trains a run on a table, which is written to a file."""

    def call(table: Table, *, test: Table | None = None, **how: Any) -> Any:
        given = {f"dataset.{key}": value for key, value in how.pop("dataset", {}).items()}
        files = {"dataset.path": table} | ({} if test is None else {"dataset.test_path": test})
        for number, (key, content) in enumerate(files.items()):
            path = tmp_path / f"{number}.csv"
            path.unlink(missing_ok=True)
            path.write_text("\n".join([",".join(content), *map(",".join, zip(*content.values(), strict=True))]) + "\n")
            given[key] = str(path)
        settings = {"dataset": "csv", "dataset.target": "y", "output_dir": str(tmp_path / "out")}
        return dlrun.run(**settings, **given, **(SHORT | how))

    return call


def rows(count: int = 60) -> Table:
    return {
        "patient": [f"P{row % 12:03}" for row in range(count)],
        "day": [str(row // 2) for row in range(count)],
        "set": [("train", "train", "dev", "test", "train")[row % 5] for row in range(count)],
        "size": [str((row * 37) % 23 / 4) for row in range(count)],
        "color": [("red", "green", "blue")[row % 3] for row in range(count)],
        "y": [("ill", "well", "dead")[row * 7 % 11 % 3] for row in range(count)],
    }


def same(one: Any, other: Any) -> bool:
    return all(np.array_equal(value, other.weights[name]) for name, value in one.weights.items())


KINDS: dict[str, dict[str, Any]] = {
    "drawn": {},
    "folds": {"folds": 3, "fold": 1},
    "group": {"group": "patient"},
    "groups in folds": {"group": "patient", "folds": 3, "fold": 2},
    "time": {"time": "day"},
    "time in folds": {"time": "day", "folds": 3, "fold": 1},
    "column": {"split_column": "set"},
    "file": {},
}


@pytest.mark.parametrize("kind", KINDS)
def test_garbage_in_test_rows_changes_neither_weights_nor_preprocessing(kind: str, train: Train, tmp_path: Path) -> None:
    table, how = rows(), {"columns": ["size", "color"], **({} if "time" in kind else {"stratify": False}), **KINDS[kind]}
    if kind == "file":
        tested = list(range(40, 60))
    else:
        path = tmp_path / "look.csv"
        path.write_text("\n".join([",".join(table), *map(",".join, zip(*table.values(), strict=True))]) + "\n")
        names = {key: how[key] for key in ("group", "time", "split_column") if key in how}
        folds = {key: how[key] for key in ("folds", "fold") if key in how}
        tested = split(csv(path=str(path), target="y", **names), seed=0, stratify=False, **folds).test.tolist()
    dead = [row for row in tested if table["y"][row] == "dead"] or tested[:1]
    table["y"] = ["dead" if row in dead else "ill" if label == "dead" else label for row, label in enumerate(table["y"])]
    spoilt = {name: list(values) for name, values in table.items()}
    for place, row in enumerate(tested):
        spoilt["size"][row] = ("1e30", "", "-7")[place % 3]
        spoilt["color"][row] = "violet" if kind in ("column", "file") else "blue"
        spoilt["y"][row] = ("well", "dead")[place % 2]
    found = []
    for each in (table, spoilt):
        cut = {"test": {name: values[40:] for name, values in each.items()}} if kind == "file" else {}
        first = {name: values[:40] for name, values in each.items()} if kind == "file" else each
        found.append(train(first, dataset=how, loss="cross_entropy", **{"loss.class_weight": "balanced"}, **cut))
    one, other = found
    assert same(one, other)
    assert one.predictor.preprocessing.to_json() == other.predictor.preprocessing.to_json()
    assert one.history.equals(other.history)
    assert one.metrics["test/loss"] != other.metrics["test/loss"]


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    data, train = wine(), split(wine(), seed=1).train
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=data.y[train])
    assert class_weights(data, train) == pytest.approx(wanted.tolist(), rel=1e-15)
    few = iris()
    assert class_weights(few, np.arange(60)) == [60 / (2 * 50), 60 / (2 * 10), 0.0]


def test_a_balanced_loss_is_that_with_the_weights_typed(train: Train) -> None:
    table = rows()
    how = {"loss": "cross_entropy", "dataset": {"split_column": "set"}}
    balanced = train(table, **how, **{"loss.class_weight": "balanced"})
    counts = np.unique([y for y, part in zip(table["y"], table["set"], strict=True) if part == "train"], return_counts=True)[1]
    typed = train(table, **how, **{"loss.class_weight": (counts.sum() / (3 * counts)).tolist()})
    assert same(balanced, typed)
    assert balanced.metrics["test/loss"] == typed.metrics["test/loss"]
    predictor = balanced.predictor
    measured = predictor.measure(np.zeros((2, *balanced.shape)), np.array([0, 1]))
    assert measured["loss"] == pytest.approx(typed.predictor.measure(np.zeros((2, *balanced.shape)), np.array([0, 1]))["loss"])


def test_balanced_positives(train: Train) -> None:
    table = rows() | {
        "y": ["no" if row % 5 else "yes" for row in range(60)],
        "set": ["train"] * 40 + ["dev"] * 10 + ["test"] * 10,
    }
    how = {"loss": "bce_with_logits", "dataset": {"split_column": "set"}}
    balanced, typed = (train(table, **how, **{"loss.pos_weight": value}) for value in ("balanced", [4.0]))
    assert same(balanced, typed)
    assert balanced.metrics["test/loss"] == typed.metrics["test/loss"]


# Weights of rows


def weighted(count: int = 40) -> Table:
    return {
        "a": [str((row * 29) % 17 - 8) for row in range(count)],
        "b": [str((row * 13) % 7 - 3) for row in range(count)],
        "w": [str(row % 3) for row in range(count)],
        "set": ["train"] * (count - 16) + ["dev"] * 8 + ["test"] * 8,
        "y": [str(((row * 29) % 17 - 8) * 0.5 + row % 5) for row in range(count)],
    }


def repeated(table: Table) -> Table:
    """Each row as often as its weight says."""
    times = [int(weight) for weight in table["w"]]
    return {
        name: [v for value, count in zip(values, times, strict=True) for v in [value] * count] for name, values in table.items()
    }


PLAIN = {"standardize": False, "standardize_target": False, "split_column": "set", "columns": ["a", "b"]}


@pytest.mark.parametrize("loss", ["mse", "huber", "log_cosh", "quantile"])
def test_a_weight_is_a_row_that_often(loss: str, train: Train) -> None:
    table = weighted()
    how: dict[str, Any] = {"loss": loss, "optimizer": "sgd", "optimizer.momentum": 0.0, "trainer.dtype": "float64"}
    how |= {"trainer.batch_size": sum(part == "train" for part in table["set"])}
    one = train(table, dataset=PLAIN | {"weight": "w"}, **how)
    more = repeated(table)
    other = train(more, dataset=PLAIN, **how | {"trainer.batch_size": sum(part == "train" for part in more["set"])})
    for name, value in one.weights.items():
        assert value == pytest.approx(other.weights[name], rel=1e-9, abs=1e-12)
    assert one.metrics["validation/loss"] == pytest.approx(other.metrics["validation/loss"], rel=1e-9)
    assert one.metrics["test/rmse"] != pytest.approx(other.metrics["test/rmse"], rel=1e-3), "metrics count each row once"


def test_equal_weights_change_no_bit_and_neither_do_neighbours(train: Train, tmp_path: Path) -> None:
    table = weighted() | {"w": ["3"] * 40}
    how: dict[str, Any] = {"trainer.engine": "torch", "trainer.batch_size": 5}
    plain = train(table, dataset=PLAIN, **how)
    assert same(plain, train(table, dataset=PLAIN | {"weight": "w"}, **how))
    alone = train(weighted(), dataset=PLAIN | {"weight": "w"}, seed=2, **how)
    words = {f"dataset.{key}": value for key, value in PLAIN.items() if key != "columns"} | SHORT | how
    del words["model.hidden"]
    words |= {"dataset.path": str(tmp_path / "0.csv"), "output_dir": str(tmp_path / "more"), "dataset.target": "y"}
    lists = ("dataset.columns=[a,b]", "model.hidden=[4]")
    others = dlrun.sweep("seed=range(0,5)", *lists, dataset="csv", **words, **{"dataset.weight": "w"})
    (mine,) = others.loc[(others.seed == 2) & (others.id.str.len() == 12), "id"]
    assert same(alone, dlrun.load(mine, output_dir=str(tmp_path / "more")))
    assert alone.record.cohort["engine"] == "torch"


@pytest.mark.parametrize(
    ("change", "how", "said"),
    [
        ({"w": ["0"] * 24 + ["1"] * 16}, {}, "dataset.weight: all training rows of 0.csv weigh 0"),
        (
            {},
            {"regularizer": ["augmentation"], "regularizer.augmentation.kind": "mixup"},
            "mixes rows, which dataset.weight weighs",
        ),
    ],
)
def test_weights_that_mean_nothing(change: Table, how: dict[str, Any], said: str, train: Train) -> None:
    with pytest.raises(InputError, match=said):
        train(weighted() | change, dataset=PLAIN | {"weight": "w"}, **how)


# Thresholds


@given(
    rows_=st.lists(st.tuples(st.integers(-6, 6), st.booleans()), min_size=3, max_size=30),
    rule=st.sampled_from(["f1", "youden"]),
)
@settings(max_examples=80, deadline=None)
def test_no_threshold_is_better_than_the_chosen_one(rows_: list[tuple[int, bool]], rule: str) -> None:
    odds = np.array([value / 2 for value, _ in rows_])
    truth = np.array([label for _, label in rows_])
    chosen = best(rule, odds[None, :, None], truth[None, :, None].astype(np.float64)).item()
    predicted = odds > chosen
    if rule == "f1":
        every = [f1_score(truth, odds > cut, zero_division=0) for cut in np.arange(-3.25, 3.5, 0.5)]
        assert f1_score(truth, predicted, zero_division=0) == pytest.approx(max(every))
    elif truth.any() and not truth.all():
        false, true, _ = roc_curve(truth, odds, drop_intermediate=False)
        assert predicted[truth].mean() - predicted[~truth].mean() == pytest.approx((true - false).max())


def test_a_threshold_that_was_worked_out_by_hand() -> None:
    odds, first, second = (np.array(each).reshape(1, 4, 1) for each in ([3.0, 2.0, 1.0, -1.0], [1.0, 1, 0, 0], [1.0, 1, 1, 0]))
    assert best("f1", odds, first).tolist() == [[1.5]]
    assert best("youden", odds, second).tolist() == [[0.0]]
    saturated = np.array([np.inf, np.inf, -np.inf, -np.inf]).reshape(1, 4, 1)
    assert np.isfinite(best("f1", saturated, first)).all()


def test_a_threshold_is_chosen_on_validation_and_applied_to_test(train: Train) -> None:
    table = rows(200) | {"y": ["yes" if (row * 37) % 23 > 16 else "no" for row in range(200)]}
    table["size"] = [str(float(size) + row % 7 / 3) for row, size in enumerate(table["size"])]
    runs = {
        rule: train(table, dataset={"columns": ["size"]}, threshold=rule, **{"trainer.epochs": 8}) for rule in (0.5, "f1", 0.3)
    }
    chosen = runs["f1"].record.diagnostics["threshold"]
    assert same(runs[0.5], runs["f1"])
    assert "threshold" not in runs[0.5].record.diagnostics
    assert runs[0.3].record.diagnostics["threshold"] == pytest.approx(0.3)
    assert runs["f1"].metrics["test/auroc"] == runs[0.5].metrics["test/auroc"]
    assert runs["f1"].metrics["test/log_loss"] == runs[0.5].metrics["test/log_loss"]
    for rule, cut in (("f1", chosen), (0.3, 0.3)):
        for subset in ("validation", "test"):
            kept = runs[rule].predictions(subset)
            wanted = f1_score(kept["true"] == "yes", kept["probability yes"] > cut, zero_division=0)
            assert runs[rule].metrics[f"{subset}/f1"] == pytest.approx(wanted)
            assert ((kept["predicted"] == "yes") == (kept["probability yes"] > cut)).all()
    kept = runs["f1"].predictions("validation")
    every = [
        f1_score(kept["true"] == "yes", kept["probability yes"] > cut, zero_division=0) for cut in np.linspace(0.01, 0.99, 99)
    ]
    assert runs["f1"].metrics["validation/f1"] >= max(every) - 1e-12


def test_a_threshold_needs_two_classes_and_validation_rows(train: Train) -> None:
    with pytest.raises(InputError, match="in multiclass data the likeliest class is predicted"):
        train(rows(), threshold="f1")
    with pytest.raises(InputError, match="threshold=f1: is chosen on validation rows, and there are none"):
        train(rows() | {"y": ["no", "yes"] * 30}, threshold="f1", dataset={"validation": 0})
