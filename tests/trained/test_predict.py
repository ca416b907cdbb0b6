"""``dlrun predict`` and ``dlrun evaluate``: new rows of files, by one run or by an ensemble."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import dlrun
from dlrun.data.sources.folder import images
from dlrun.errors import InputError
from dlrun.trained import new_rows
from dlrun.trained.chosen import _one_configuration

Call = Callable[..., tuple[int, str, str]]
Train = Callable[..., dlrun.Run]
QUICK = ("trainer=smoke", "baseline=[]", "logger=none")


def read(text: str) -> pd.DataFrame:
    from io import StringIO

    return pd.read_csv(StringIO(text))


def test_rows_stay_in_order_and_go_through_the_preprocessing_of_the_training(
    call: Call, trained: Train, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained("kind")
    new = table.drop(columns="kind")[["garden", "city", "price", "day", "rooms", "size"]].assign(id=range(60, 0, -1))
    new.loc[7, "city"] = "Berlin"
    new.to_csv("new.csv", index=False, sep=";")
    expected = run.predict(new)
    for rows in (1 << 13, 7):  # all at once, or in pieces
        monkeypatch.setattr(new_rows, "PIECE", rows)
        code, out, err = call("predict", run.id[:8], "new.csv", "--keep", "id")
        found = read(out)
        assert (code, list(found)) == (0, ["row", "id", "predicted", "probability dear"])
        assert (found.row.tolist(), found.id.tolist()) == ([*range(60)], [*range(60, 0, -1)])
        np.testing.assert_allclose(found["probability dear"], expected, rtol=1e-5)
        assert (found.predicted == np.where(expected > 0.5, "dear", "cheap")).all()
        assert "1 column plays no part: price" in err
        assert "column city: 1 value is none of the categories of the training and without effect, such as Berlin" in err
    pd.testing.assert_frame_equal(run.predict_table(new), found[["predicted", "probability dear"]], check_dtype=False, rtol=1e-5)
    for name in ("out.csv", "out.parquet", "out.json"):
        assert call("predict", run.id, "new.csv", "-o", name)[1] == f"{Path(name).absolute()}\n"
    there = [pd.read_csv("out.csv"), pd.read_parquet("out.parquet"), pd.DataFrame(json.loads(Path("out.json").read_text()))]
    for each in there:
        np.testing.assert_allclose(each["probability dear"], expected, rtol=1e-5)
    new.to_parquet("new.parquet")
    assert call("predict", run.id, "new.parquet")[1] == call("predict", run.id, "new.csv")[1]


def test_image_files_are_rows_of_a_run_on_images(call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = pytest.importorskip("PIL.Image")
    draw = np.random.default_rng(0)
    for number in range(12):
        place = folder / "photos" / ("day", "night")[number % 2] / f"{number:02}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(draw.integers(0, 100, (9, 11, 3), np.uint8) + np.uint8(100 * (1 - number % 2))).save(place)
    words = ("dataset=images", "dataset.path=photos", "dataset.size=8", "dataset.colour=true", "trainer.batch_size=4")
    run = dlrun.run(*words, *QUICK, progress=False)
    (folder / "photos" / "day" / "broken.jpg").write_text("none")
    expected = run.predict(images(path="photos", size=8, colour=True).x)
    for numbers in (1 << 22, 400):  # all at once, or two by two
        monkeypatch.setattr(new_rows, "_NUMBERS", numbers)
        code, out, err = call("predict", run.id, "photos", "--keep", "class")
        found = read(out)
        assert (code, list(found)) == (0, ["row", "file", "class", "predicted", "probability night"])
        assert found.file.tolist() == [
            f"{kind}/{n:02}.png" for kind, first in (("day", 0), ("night", 1)) for n in range(first, 12, 2)
        ]
        np.testing.assert_allclose(found["probability night"], expected, rtol=1e-5)
        assert "note: photos: 1 file cannot be read and is left out: day/broken.jpg (" in err
    (one,) = json.loads(call("predict", run.id, "photos/night/03.png", "--json")[1])
    assert (one["file"], one["probability night"]) == ("03.png", pytest.approx(expected[7], rel=1e-5))
    measured = json.loads(call("evaluate", run.id, "photos", "--json")[1])
    right = (found.predicted == found["class"]).mean()
    assert (measured["rows"], measured["runs"][0]["metrics"]["accuracy"]) == (12, pytest.approx(right))
    (folder / "empty").mkdir()
    assert "error: empty: has no image files (.png, .jpg" in call("predict", run.id, "empty")[2]
    moons = dlrun.run("dataset=moons", *QUICK, progress=False)
    assert "error: photos: is a folder; give a file" in call("predict", moons.id, "photos")[2]


def test_what_is_wrong_with_a_file_is_told_in_a_line(call: Call, trained: Train, table: pd.DataFrame) -> None:
    run = trained("kind")
    table.drop(columns=["city", "rooms"]).rename(columns={"size": "sizes"}).to_csv("lacks.csv", index=False)
    table.assign(rooms=["many", *table.rooms[1:]]).to_csv("words.csv", index=False)
    table.assign(kind="dear").replace({"kind": {"dear": "big"}}).to_csv("classes.csv", index=False)
    table.assign(kind=None).to_csv("unlabelled.csv", index=False)
    for words, said in {
        (
            "predict",
            run.id,
            "lacks.csv",
        ): "lacks.csv: 3 columns are missing that the run was trained with: size, rooms, city; the "
        "file has sizes, day, garden, price, kind",
        ("predict", run.id, "words.csv"): "words.csv: column rooms: line 2 holds 'many', and it wants numbers",
        ("predict", run.id, "houses.csv", "--keep", "name"): "houses.csv: a column is missing that --keep names: name",
        ("predict", run.id): "predict: takes a run and a file of rows",
        ("predict", run.id, "nothing.csv"): "nothing.csv: there is no such file",
        ("predict", run.id, "houses.csv", "-o", "x.xls"): "-o x.xls: takes a name that ends in .csv, .parquet, .json, .npy",
        ("predict", run.id, "activation=relu", "houses.csv"): "activation=relu: goes with the name of a sweep",
        ("evaluate", run.id, "classes.csv"): "classes.csv line 2: kind is 'big', and the classes of the run are cheap, dear",
        ("evaluate", run.id, "unlabelled.csv"): "unlabelled.csv: no row has a value of kind",
    }.items():
        code, out, err = call(*words)
        assert (code, out, err.count("\n")) == (2, "", 1), words
        assert said in err
    assert not [path for path in Path().iterdir() if ".part" in path.name or path.name.startswith(".x")]


@pytest.mark.parametrize("target", ["kind", "price"])
def test_the_metrics_of_its_own_test_rows_are_those_that_the_run_has(
    call: Call, trained: Train, table: pd.DataFrame, target: str
) -> None:
    run = trained(target, "loss=pinball" if target == "price" else "loss=bce_with_logits")
    table.iloc[run.predictions()["row"]].to_csv("test.csv", index=False)
    code, out, _ = call("evaluate", run.id, "test.csv", "--json")
    content = json.loads(out)
    (found,) = content["runs"]
    assert (code, content["rows"], "ensemble" in content) == (0, 12, False)
    for name, value in run.metrics.items():
        if name.startswith("test/"):
            assert found["metrics"][name.removeprefix("test/")] == pytest.approx(value, rel=2e-5), name
    assert "own test rows" in call("evaluate", run.id, "test.csv")[1]


def test_the_seeds_of_a_configuration_are_an_ensemble(call: Call, table: pd.DataFrame, folder: Path) -> None:
    words = ("dataset=csv", "dataset.path=houses.csv", "dataset.target=price", "dataset.drop=[kind]")
    assert call("-m", *words, *QUICK, "activation=relu,tanh", "seed=range(0,3)")[0] == 0
    code, _, err = call("predict", "latest", "houses.csv")
    assert (code, "runs of several configurations (activation=relu,tanh); choose one, such as activation=relu" in err) == (
        2,
        True,
    )
    found = read(call("predict", "latest", "activation=tanh", "houses.csv")[1])
    runs = dlrun.ensemble("latest", "activation=tanh").runs
    each = np.stack([dlrun.load(run.id).predict(table) for run in runs])
    assert [run.record.seed for run in runs] == [0, 1, 2]
    np.testing.assert_allclose(found["predicted price"], each.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found["sd price"], each.std(0, ddof=1), rtol=1e-6)
    assert call("predict", *(run.id for run in runs), "houses.csv")[1] == call("predict", "activation=tanh", "houses.csv")[1]
    shutil.copytree(dlrun.results.store.Store.at(None).export(runs[0].id, folder / "there"), folder / "copy")
    np.testing.assert_allclose(read(call("predict", "copy", "houses.csv", "output_dir=empty")[1])["predicted price"], each[0])
    content = json.loads(call("evaluate", "latest", "activation=tanh", "houses.csv", "--json")[1])
    rmse = np.sqrt(((each.mean(0) - table.price) ** 2).mean())
    assert content["ensemble"]["rmse"] == pytest.approx(rmse, rel=1e-6)
    assert rmse < np.mean([run["metrics"]["rmse"] for run in content["runs"]]), "a mean is not worse than the mean of its parts"


def test_data_that_is_no_table_of_ones_own(call: Call, folder: Path) -> None:
    iris = dlrun.run("dataset=iris", *QUICK, progress=False)
    pd.DataFrame(np.ones((3, 4)), columns=list(iris.features)[::-1]).to_csv("iris.csv", index=False)
    found = read(call("predict", iris.id, "iris.csv")[1])
    assert list(found)[2:] == [f"probability {name}" for name in iris.classes]
    np.testing.assert_allclose(found.iloc[:, 2:], iris.predict(np.ones((3, 4))), rtol=1e-5)
    digits = dlrun.run("dataset=digits", "model=cnn", *QUICK, progress=False)
    rows = np.random.default_rng(0).normal(size=(3, *digits.shape))
    np.save("digits.npy", rows)
    assert call("predict", digits.id, "digits.npy", "-o", "out.npy")[0] == 0
    np.testing.assert_allclose(np.load("out.npy"), digits.predict(rows), rtol=1e-5)
    assert "give them as an array of that shape" in call("predict", digits.id, "iris.csv")[2]
    words = dlrun.run("dataset=sentences", "model=bag_of_words", *QUICK, progress=False)
    texts = [" ".join(words.vocabulary[:3]), words.vocabulary[-1]]
    pd.DataFrame({words.features[0]: texts}).to_csv("texts.csv", index=False)
    found = read(call("predict", words.id, "texts.csv")[1])
    np.testing.assert_allclose(found.iloc[:, -1], np.asarray(words.predict(texts)).reshape(2, -1)[:, -1], rtol=1e-5)
    with pytest.raises(InputError, match="take runs that learnt the same"):
        dlrun.ensemble(iris, digits)


def test_quantiles_and_several_targets_have_their_names(call: Call, trained: Train, table: pd.DataFrame) -> None:
    run = trained("price", "loss=quantile", **{"loss.tau": [0.1, 0.5, 0.9]})
    found = read(call("predict", run.id, "houses.csv")[1])
    assert list(found)[1:] == ["predicted 0.1", "predicted 0.5", "predicted 0.9"]
    np.testing.assert_allclose(found.iloc[:, 1:], run.predict(table), rtol=1e-6)


def test_of_several_configurations_the_example_is_one_that_is_there() -> None:
    factors = {"a": {"regularizer": "[]", "optimizer.lr": 0.2}, "b": {"regularizer": "[l2]", "optimizer.lr": 0.1, "l2.weight": 3}}
    records: Any = [SimpleNamespace(id=name) for name in factors]
    stored: Any = SimpleNamespace(factors=factors)
    with pytest.raises(InputError, match=r"choose one, such as regularizer=\[\] optimizer\.lr=0\.2$"):
        _one_configuration("latest", records, stored)
