"""Runs on the user's own table: the task settled before the rest is checked, one reading for a sweep, what is kept of a run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

import dlrun
from dlrun.cli.main import main
from dlrun.data.preprocessing import Preprocessing
from dlrun.data.sources import files, real
from dlrun.data.sources.files import csv
from dlrun.data.splits import split
from dlrun.data.table.encoding import Encoding, encode
from dlrun.errors import DataError, InputError
from dlrun.experiments.planning.cohorts import Datasets, plan
from dlrun.experiments.train import identity
from kept import results

Make = Callable[..., Any]
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A table of houses; the working folder is where it lies."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DLRUN_OUTPUT_DIR", raising=False)
    rows = [
        [
            i % 23,
            ["red", "green", "blue", ""][i % 4],
            "yes" if i % 3 else "no",
            "big" if i % 23 > 10 else "small",
            i % 23 * 2 + i % 4 + 0.5,
        ]
        for i in range(120)
    ]
    Path("houses.csv").write_text("size,color,garden,kind,price\n" + "".join(f"{','.join(map(str, row))}\n" for row in rows))
    return "houses.csv"


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    def command(*words: str) -> tuple[int, str, str]:
        code = main(words)
        return code, *capsys.readouterr()

    return command


@pytest.mark.parametrize(
    ("target", "task", "loss", "metric"),
    [
        ("price", "regression", "mse", "r2"),
        ("kind", "binary", "bce_with_logits", "accuracy"),
        ("color", "multiclass", "cross_entropy", "accuracy"),
    ],
)
def test_the_task_settles_loss_and_metric(target: str, task: str, loss: str, metric: str, table: str, spec_of: Make) -> None:
    run = spec_of(dataset="csv", **{"dataset.path": table, "dataset.target": target})
    assert (run.preparation.task, run.row.loss.name, run.metric) == (task, loss, metric)
    assert run.config["dataset"]["task"] == task
    (planned,) = plan([run], Datasets())
    assert planned.cohort.data.task == task


@pytest.mark.parametrize("left_open", [None, "auto"])
def test_an_inferred_task_is_the_same_run_as_a_given_one(left_open: str | None, table: str, spec_of: Make) -> None:
    keys = {"dataset.path": table, "dataset.target": "price"}
    one, other = (spec_of(dataset="csv", **keys, **{"dataset.task": task}) for task in (left_open, "regression"))
    assert identity(one, "data") == identity(other, "data")


def test_where_the_file_lies_is_no_part_of_the_run(table: str, spec_of: Make) -> None:
    Path("elsewhere").mkdir()
    Path("elsewhere/same.csv").write_bytes(Path(table).read_bytes())
    specs = [
        spec_of(dataset="csv", **{"dataset.path": path, "dataset.target": "price"}) for path in (table, "elsewhere/same.csv")
    ]
    ids = {identity(run, plan([run], Datasets())[0].cohort.data.fingerprint) for run in specs}
    assert len(ids) == 1


def test_any_dataset_can_be_asked_for_its_task(spec_of: Make) -> None:
    assert spec_of(dataset="iris", **{"dataset.task": None}).preparation.task == "multiclass"
    assert spec_of(dataset="iris", **{"dataset.task": "auto"}).row.loss.name == "cross_entropy"


def test_problems_of_the_file_stand_beside_the_others(table: str, spec_of: Make) -> None:
    keys = {"dataset.path": table, "dataset.target": "prize", "optimizer.lr": -1, "metric": "r2"}
    with pytest.raises(InputError) as caught:
        spec_of(dataset="csv", **keys)
    of_the_file, typed = sorted(caught.value.problems)
    assert of_the_file.endswith("; type dataset.target=price")
    assert typed.startswith("optimizer.lr=-1: must be")


def test_a_wrong_setting_is_told_before_the_file_is_read(table: str, spec_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "examine", lambda *_: pytest.fail("read"))
    with pytest.raises(InputError, match=r"dataset.decimal=x: must be one of ., ,"):
        spec_of(dataset="csv", **{"dataset.path": table, "dataset.target": "price", "dataset.decimal": "x"})
    with pytest.raises(InputError, match=r"dataset.task=guess: must be one of"):
        spec_of(dataset="csv", **{"dataset.path": table, "dataset.target": "price", "dataset.task": "guess"})


def test_a_user_s_dataset_that_fails_to_tell_its_task(spec_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise ValueError("no such database")

    broken.__module__ = real.__name__  # as far as targets can tell
    monkeypatch.setattr(real, "iris", broken)
    with pytest.raises(InputError, match="dataset=iris: ValueError: no such database"):
        spec_of(**{"dataset.task": None, "dataset": "iris"})


def test_a_run_says_what_it_found_and_keeps_it(table: str, call: Call) -> None:
    code, _, err = call("dataset=csv", f"dataset.path={table}", "dataset.target=price", "trainer.epochs=2")
    assert code == 0
    said = "dataset houses.csv: 120 rows, target price: regression"
    assert err.startswith(said)
    assert "1 numeric, 1 true or false, 2 categorical (color: 3 and missing, kind: 2)" in err
    (folder,) = (path.parent for path in Path("outputs/runs").glob("*/result.json"))
    assert said in (folder / "run.log").read_text()
    encoding = Encoding.from_json(json.loads((folder / "encoding.json").read_text()))
    fitted = Preprocessing.from_json(json.loads((folder / "preprocessing.json").read_text()))
    data = csv(path=table, target="price")
    assert encoding == data.encoding
    rows = {"size": [3, None], "color": ["red", "violet"], "garden": [True, "no"], "kind": ["big", "small"]}
    inputs = fitted.inputs(encode(rows, encoding))
    assert np.isfinite(inputs).all()
    assert inputs[1, 1:5].tolist() == [0, 0, 0, 0]
    result = json.loads((folder / "result.json").read_text())
    assert result["data"]["name"] == "houses.csv"
    assert set(result["digests"]) >= {"encoding.json", "preprocessing.json"}


def test_a_sweep_reads_the_file_once(table: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    examine = files.examine
    monkeypatch.setattr(files, "examine", lambda *given: looked.append(given) or examine(*given))
    words = ["-m", "dataset=csv", f"dataset.path={table}", "dataset.target=price", "model=linear,mlp", "seed=range(0,3)"]
    code, _, err = call(*words, "trainer.epochs=1")
    assert code == 0
    assert len(looked) == 1
    assert err.count("dataset houses.csv: 120 rows") == 1
    assert ["encoding.json" in result["digests"] for result in results(Path("outputs")).values()] == [True] * 6
    code, out, _ = call("plan", *words[1:], "trainer.epochs=1")
    assert code == 0
    assert "6 finished already" in out


def test_a_sweep_over_targets(table: str, call: Call) -> None:
    code, out, _ = call(
        "-m", "dataset=csv", f"dataset.path={table}", "dataset.target=price,kind", "trainer.epochs=1", "baseline=[]"
    )
    assert code == 0
    assert "dataset.target=price" in out
    assert "dataset.target=kind" in out
    tasks = {result["data"]["task"] for result in results(Path("outputs")).values()}
    assert tasks == {"regression", "binary"}


def test_several_targets_are_trained_measured_and_predicted(table: str, call: Call) -> None:
    words = ["dataset=csv", f"dataset.path={table}", "dataset.target=[price,size]", "trainer.epochs=2"]
    code, _, err = call(*words)
    assert code == 0, err
    assert "targets price, size: regression (2 numbers a row)" in err
    (folder,) = (path.parent for path in Path("outputs/runs").glob("*/result.json"))
    kept = json.loads((folder / "preprocessing.json").read_text())
    assert (kept["outputs"], kept["targets"], len(kept["y_shift"])) == (2, ["price", "size"], 2)
    run = dlrun.load(folder)
    assert run.features == ("color", "garden", "kind")
    assert run.predict([["red", "yes", "big"], ["", "no", "small"]]).shape == (2, 2)
    data = csv(path=table, target=["price", "size"])
    test = split(data, seed=0).test
    rows = pandas.read_csv(table, keep_default_na=False)
    error = run.predict(rows.iloc[test]) - data.y[test]
    assert run.metrics["test/rmse"] == pytest.approx(np.sqrt(np.square(error).mean()), rel=1e-5)


def test_predictions_for_what_pandas_makes_of_the_file(table: str) -> None:
    rows = pandas.DataFrame(
        {
            "region": [None if i % 40 == 7 else i * 3 % 5 for i in range(120)],
            "zip": [["01234", "00987"][i % 2] for i in range(120)],
            "when": [f"2014-0{i % 9 + 1}-11 09:20" for i in range(120)],
        }
    )
    rows.assign(y=[float(i % 5 + i % 2) for i in range(120)]).to_csv("my.csv", index=False)
    given = {
        "dataset.path": "my.csv",
        "dataset.target": "y",
        "dataset.categorical": ["region", "zip"],
        "dataset.task": "regression",
    }
    run = dlrun.run("dataset=csv", progress=False, **given, **{"trainer.epochs": 3})
    as_texts = run.predict(pandas.read_csv("my.csv", dtype=str, keep_default_na=False))
    read = pandas.read_csv("my.csv", parse_dates=["when"])
    assert (read["region"].dtype, read["zip"].dtype) == ("float64", "int64")
    with pytest.warns(UserWarning, match="column zip: numbers stand for codes of the training, 1234 for 01234, 987 for 00987"):
        assert run.predict(read) == pytest.approx(as_texts)
    with pytest.warns(UserWarning, match="column zip: numbers stand for codes"):
        assert run.predict(read.set_index(["zip", "when"])) == pytest.approx(as_texts)
    with pytest.warns(UserWarning, match="column zip: numbers stand for codes"):
        assert run.predict([[1, 1234, "2014-03-11 09:20"]]) == run.predict([["1.0", "01234", "2014-03-11 09:20"]])
    assert abs(run.predict([[1, "01234", "2014-03-11 09:21"]]) - run.predict([[1, "01234", "2014-03-11 09:20"]])) < 0.01
    with pytest.raises(DataError, match="column zip: stands in the table more than once"):
        run.predict(pandas.concat([read, read[["zip"]]], axis=1))
    with pytest.raises(DataError, match=r"predict: has shape \[2\]; rows need 3 values"):
        run.predict([[1], [1, 2]])
    with pytest.warns(UserWarning, match="column zip: 120 of 120 values are none") as told:
        run.predict(read.assign(zip=range(120)))
    assert told[0].filename == __file__


def test_labels_of_a_table(table: str, call: Call) -> None:
    Path("labels.csv").write_text("a,b,y,z\n" + "".join(f"{i % 7},{i % 5},{i % 2},{int(i % 7 > 3)}\n" for i in range(80)))
    code, _, err = call("-m", "dataset=csv", "dataset.path=labels.csv", "dataset.target=[y,z]", "trainer.epochs=1", "seed=0,1")
    assert code == 0, err
    assert {result["data"]["task"] for result in results(Path("outputs")).values()} == {"multilabel"}


def test_folds_of_a_table(table: str, call: Call) -> None:
    code, _, _ = call(
        "-m", "dataset=csv", f"dataset.path={table}", "dataset.target=kind", "dataset.folds=3", "trainer.epochs=1", "seed=0,1"
    )
    assert code == 0
    assert len(results(Path("outputs"))) == 6


def test_training_on_indicators_reaches_the_obvious_answer(tmp_path: Path, train_all: Make, spec_of: Make) -> None:
    rows = "".join(f"{['low', 'mid', 'high'][i % 3]},{i % 7},{[1, 5, 9][i % 3]}.25\n" for i in range(300))
    (tmp_path / "levels.csv").write_text(f"level,noise,y\n{rows}")
    keys = {"dataset.path": str(tmp_path / "levels.csv"), "dataset.target": "y", "dataset.task": "regression"}
    spec = spec_of(
        dataset="csv", model="linear", optimizer="adam", trainer="default", **keys, **{"trainer.epochs": 60, "optimizer.lr": 0.05}
    )
    (outcome,) = train_all([spec])
    assert outcome.metrics["test/r2"] > 0.999


def test_a_table_too_large_for_copies_trains_alike(
    table: str, train_all: Make, spec_of: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {"dataset.path": table, "dataset.target": "price"}
    specs = [spec_of(dataset="csv", seed=seed, **keys) for seed in range(3)]
    small = train_all(specs)
    monkeypatch.setattr("dlrun.engine.batches.MATERIALIZED_BYTES", 0)
    for one, other in zip(small, train_all(specs), strict=True):
        assert one.metrics["test/rmse"] == pytest.approx(other.metrics["test/rmse"], rel=1e-4)
        assert all(np.allclose(one.weights[name], other.weights[name], atol=1e-4) for name in one.weights)
