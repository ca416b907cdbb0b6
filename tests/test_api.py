"""dlrun from Python: what it returns is what the command keeps, and predictions are those that the run was measured by."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import dlrun
from dlrun import own_modules, registry
from dlrun.cli.main import main
from dlrun.components.metrics import METRICS
from dlrun.config.composing.from_python import words
from dlrun.config.spec import from_config
from dlrun.engine.measuring.evaluation import figure
from dlrun.engine.measuring.forms import Forms
from dlrun.errors import DataError, InputError, RunError, StoreError
from dlrun.experiments.planning.cohorts import Datasets, plan
from dlrun.results import folders
from dlrun.results.folders import RunFolder
from kept import results

QUIET: dict[str, Any] = {"progress": False}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.delenv("DLRUN_OUTPUT_DIR", raising=False)
    monkeypatch.setattr(registry, "_added", [])
    monkeypatch.setattr(own_modules, "_imported", set())
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_importing_it_is_quick() -> None:
    heavy = ("torch", "hydra", "pandas", "numpy", "omegaconf")
    code = f"import dlrun, sys; print([name for name in {heavy} if name in sys.modules], dir(dlrun))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("[] ")
    assert all(f"'{name}'" in done.stdout for name in dlrun.__all__)
    with pytest.raises(AttributeError, match="no attribute 'tran'"):
        dlrun.tran  # noqa: B018


def test_a_run_is_the_commands_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = dlrun.run("dataset=xor", "trainer=smoke", activation="tanh", seed=3, **{"optimizer.lr": 0.02}, **QUIET)
    assert capsys.readouterr() == ("", "")
    assert run.status == "done"
    assert run.reason == ""
    assert run.folder == folder / "outputs" / "runs" / run.id
    assert run.config["optimizer"]["lr"] == 0.02
    assert run.config["activation"]["_target_"] == "torch.nn.Tanh"
    assert list(run.history.columns[:2]) == ["epoch", "train/loss"]
    assert len(run.history) == run.record.epochs
    assert repr(run).startswith(f"<Run {run.id} done: test/")
    assert main(["dataset=xor", "trainer=smoke", "activation=tanh", "seed=3", "optimizer.lr=0.02", "logger=none"]) == 0
    assert [path.name for path in (folder / "outputs" / "runs").glob("[0-9a-f]*")] == [run.id]
    assert dlrun.load(run.id).metrics == run.metrics


def test_progress_is_shown_where_it_is_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    dlrun.run("dataset=xor", "trainer=smoke")
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("xor: epoch 1/2")


def on_test_rows(run: Any) -> tuple[Any, Any]:
    """Raw features and targets of the rows that the run was tested on."""
    spec = from_config(run.config, run.record.choices, run.record.overrides)
    (planned,) = plan([spec], Datasets())
    data, test = planned.cohort.data, planned.cohort.splits[0].test
    return torch.from_numpy(data.x[test]), torch.from_numpy(data.y[test])


def agrees(run: Any, prediction: Any, y: torch.Tensor, *names: str) -> None:
    """The run's own metrics are those of this prediction."""
    shown = np.asarray(prediction)
    shown = (shown[:, None] if shown.ndim == 1 else shown)[None]
    for name in names:
        again = figure(METRICS[run.record.data["task"]][name], Forms([("value", "identity")], shown, shown), y[None].numpy(), {})
        assert float(again[0]) == pytest.approx(run.metrics[f"test/{name}"], rel=1e-4, abs=1e-6), name


CASES: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "regression": (["dataset=diabetes"], ("rmse", "r2", "mae")),
    "raw targets": (["dataset=diabetes", "dataset.standardize_target=false", "optimizer.lr=1"], ("rmse",)),
    "binary": (["dataset=moons"], ("accuracy", "log_loss", "auroc")),
    "probability head": (["dataset=breast_cancer", "loss=bce"], ("accuracy", "log_loss")),
    "classes": (["dataset=iris"], ("accuracy", "log_loss")),
    "words": (["dataset=sentences", "model=bag_of_words"], ("accuracy", "log_loss")),
    "signals": (["dataset=signals", "model=cnn1d"], ("accuracy", "log_loss")),
    "log_probability head": (["dataset=wine", "loss=nll"], ("accuracy", "log_loss")),
    "sparsemax": (["dataset=wine", "loss=sparsemax"], ("accuracy",)),
    "margins": (["dataset=moons", "loss=hinge"], ("accuracy",)),
    "running statistics": (["dataset=moons", "regularizer=[batch_norm,dropout]"], ("accuracy", "log_loss")),
    "learned activation": (["dataset=iris", "activation=prelu"], ("accuracy", "log_loss")),
    "best epoch": (["dataset=iris", "regularizer=[early_stopping]", "trainer.max_steps=null"], ("log_loss",)),
    "averaged weights": (["dataset=diabetes", "optimizer=asgd"], ("rmse",)),
    "float64": (["dataset=diabetes", "trainer.dtype=float64"], ("rmse",)),
    "several labels": (["dataset=multilabel"], ("hamming", "micro_f1")),
    "images": (["dataset=digits", "model=cnn"], ("accuracy", "log_loss")),
    "masks": (["dataset=shapes", "model=segmenter", "dataset.rows=60"], ("iou",)),
    "a fold": (["dataset=iris", "dataset.folds=3", "dataset.fold=1"], ("accuracy",)),
    "outliers in training": (["dataset=outliers"], ("rmse",)),
}


@pytest.mark.parametrize("case", CASES)
def test_predictions_are_those_that_were_measured(case: str) -> None:
    given, names = CASES[case]
    run = dlrun.run(*given, "trainer=smoke", **QUIET)
    x, y = on_test_rows(run)
    known = METRICS[run.record.data["task"]]
    again = dlrun.load(run.folder)
    agrees(run, again.predict(x.numpy()), y, *(name for name in names if name in known))
    assert any(name in known for name in names)
    np.testing.assert_allclose(again.predict(x[:2].numpy()), run.predict(x.numpy())[:2], rtol=1e-4, atol=1e-6)


def test_shapes_of_predictions() -> None:
    run = dlrun.run("dataset=moons", "trainer=smoke", **QUIET)
    assert run.features == ("x1", "x2")
    assert run.classes == ("upper", "lower")
    found = run.predict([[0.0, 1.0], [1.0, -0.5]])
    assert found.shape == (2,)
    assert ((found >= 0) & (found <= 1)).all()
    iris = dlrun.run("dataset=iris", "trainer=smoke", **QUIET)
    assert iris.predict(np.zeros((3, 4))).shape == (3, 3)
    np.testing.assert_allclose(iris.predict(np.ones((3, 4))).sum(1), 1, rtol=1e-6)
    taus = dlrun.run("dataset=diabetes", "loss=quantile", "trainer=smoke", **{"loss.tau": [0.1, 0.5, 0.9]}, **QUIET)
    assert taus.predict(np.zeros((2, 10))).shape == (2, 3)
    pairs = dlrun.run("dataset=pairs", "trainer=smoke", **QUIET)
    x, _ = on_test_rows(pairs)
    both = pairs.predict(x.numpy())
    assert both.shape == (len(x), 2, 16)
    np.testing.assert_allclose(pairs.predict(x[:, 1].numpy()), both[:, 1], rtol=1e-5, atol=1e-6)
    assert iris.predict(np.zeros((0, 4))).shape == (0, 3)


def test_tables(folder: Path) -> None:
    run = dlrun.run("dataset=iris", "trainer=smoke", **QUIET)
    x, y = on_test_rows(run)
    table = pd.DataFrame(x.numpy(), columns=list(run.features))
    shuffled = table[list(run.features)[::-1]].assign(more="text")
    agrees(run, run.predict(shuffled), y, "accuracy", "log_loss")
    holes = table.copy()
    holes.iloc[0, 0] = np.nan
    assert np.isfinite(run.predict(holes)).all(), "a missing value is filled as in training"
    for bad, said in (
        (table.drop(columns=[run.features[1]]), r"column sepal width \(cm\): is missing; did you mean 'petal width"),
        (np.zeros(4), r"rows of shape \[\].* \(for a single row, put it into a list\)"),
        (np.zeros((2, 5)), r"rows of shape \[5\]; training had \[4\]"),
        (np.full((2, 4), np.inf), "infinite"),
        ([["a", "b", "c", "d"]], "takes numbers"),
    ):
        with pytest.raises(DataError, match=said):
            run.predict(bad)


def test_the_users_own_table(folder: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "size": rng.normal(size=120),
            "colour": rng.choice(["red", "blue"], 120),
            "day": pd.date_range("2024-01-01", periods=120),
        }
    )
    table["price"] = table["size"] * 2 + (table["colour"] == "red")
    table.to_csv("houses.csv", index=False)
    given = {"dataset.path": "houses.csv", "dataset.target": "price"}
    run = dlrun.run("dataset=csv", "trainer=smoke", **given, **QUIET)
    assert run.features == ("size", "colour", "day")
    os.remove("houses.csv")  # what was learnt from it is in the run's folder
    again = dlrun.load(run.id)
    found = again.predict(table.drop(columns="price"))
    assert found.shape == (120,)
    np.testing.assert_allclose(again.predict(table[["day", "colour", "size", "price"]]), found)
    np.testing.assert_allclose(again.predict(table[["size", "colour", "day"]].to_numpy(object)), found)
    with pytest.raises(DataError, match="column colour: is missing"):
        again.predict(table.drop(columns="colour"))
    assert np.isfinite(again.predict(table.assign(colour="green"))).all()


def test_loading(folder: Path) -> None:
    run = dlrun.run("dataset=iris", "trainer=smoke", **QUIET)
    rows = np.ones((2, 4))
    expected = run.predict(rows)
    shutil.copytree(run.folder, folder / "elsewhere" / "my best run")
    for name in (run.id, run.id[:6], run.folder, str(run.folder), folder / "elsewhere" / "my best run"):
        np.testing.assert_array_equal(dlrun.load(name).predict(rows), expected)
    other = dlrun.run("dataset=iris", "trainer=smoke", output_dir="other", **QUIET)
    np.testing.assert_array_equal(dlrun.load(other.id, output_dir="other").predict(rows), expected)
    for name in ("abc", "0" * 12, "nothing", folder):
        with pytest.raises(StoreError):
            dlrun.load(name)


def test_damaged_runs_are_refused(folder: Path) -> None:
    run = dlrun.run("dataset=iris", "trainer=smoke", **QUIET)
    other = dlrun.run("dataset=iris", "trainer=smoke", **{"model.hidden": [3]}, **QUIET)
    rows = np.ones((2, 4))

    def damaged(name: str, content: bytes) -> Any:
        copy = folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(run.folder, copy)
        (copy / name).write_bytes(content)
        return dlrun.load(copy)

    weights = (run.folder / "model.safetensors").read_bytes()
    for content in (
        weights[:-1],
        weights[:-1] + bytes([weights[-1] ^ 1]),
        b"",
        (other.folder / "model.safetensors").read_bytes(),
    ):
        with pytest.raises(StoreError, match=r"model\.safetensors: is damaged"):
            damaged("model.safetensors", content).predict(rows)
    with pytest.raises(StoreError, match=r"preprocessing\.json: is damaged"):
        damaged("preprocessing.json", b"{}").predict(rows)
    with pytest.raises(StoreError, match=r"config\.yaml: is damaged"):
        damaged("config.yaml", (other.folder / "config.yaml").read_bytes()).predict(rows)
    mixed = replace(RunFolder(run.folder).files(), config=other.config)
    folders.write(mixed, folder / "mixed")
    with pytest.raises(InputError, match="does not fit the run's config"):
        dlrun.load(folder / "mixed").predict(rows)
    for content in (b"", b"- 1\n", b"a: [", b"\xff"):
        with pytest.raises(InputError):
            damaged("config.yaml", content).predict(rows)
    with pytest.raises(StoreError):
        damaged("result.json", b"{}")
    failed = json.loads((run.folder / "result.json").read_text()) | {"status": "failed", "digests": {}}
    with pytest.raises(StoreError, match="has no weights"):
        damaged("result.json", json.dumps(failed).encode()).predict(rows)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("activation", {"_target_": "os.getcwd"}),
        ("optimizer", {"_target_": "torch.get_num_threads"}),
        ("model", {"_target_": "builtins.len"}),
        ("loss", {"_target_": "beside.touch", "tasks": ["multiclass"]}),
    ],
)
def test_a_received_run_never_executes(folder: Path, monkeypatch: pytest.MonkeyPatch, key: str, value: dict[str, Any]) -> None:
    (folder / "beside.py").write_text("open('canary', 'w')\n\ndef touch(**given):\n    open('canary', 'w')\n")
    monkeypatch.syspath_prepend(str(folder))
    run = dlrun.run("dataset=iris", "trainer=smoke", **QUIET)
    sent = RunFolder(run.folder).files()
    folders.write(replace(sent, config=run.config | {key: value}), run.folder)
    with pytest.raises(InputError, match=f"{key}._target_="):
        dlrun.load(run.folder).predict(np.ones((1, 4)))
    (run.folder / "config.yaml").write_text("a: !!python/object/apply:beside.touch []\n")
    (run.folder / "result.json").write_text(sent.record.to_json())  # without digests
    with pytest.raises(InputError, match="not valid YAML"):
        _ = dlrun.load(run.folder).config
    assert not (folder / "canary").exists()


SOURCE = """
from torch import nn

def mine(x):
    return x * x.tanh()

def fails(x):
    if len(x) == 1 and x.shape[1] > 3:
        raise ValueError("no luck")
    return x.tanh()

class Net(nn.Module):
    def __init__(self, *, inputs, outputs, activation):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(inputs[0], 6), nn.BatchNorm1d(6), nn.Linear(6, outputs)
        self.activation = activation

    def forward(self, x):
        return self.last(self.activation(self.norm(self.first(x))))
"""


@pytest.fixture
def own(folder: Path) -> dict[str, Any]:
    """Arguments that bring components of one's own."""
    (folder / "api_components.py").write_text(SOURCE)
    for option, target in {"activation/mine": "mine", "activation/fails": "fails", "model/net": "Net"}.items():
        (folder / "mine" / option).parent.mkdir(parents=True, exist_ok=True)
        (folder / "mine" / f"{option}.yaml").write_text(f"# Mine.\n_target_: api_components.{target}\n")
    return {"config_dir": "mine", "imports": ["api_components"], **QUIET}


def test_own_components(own: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    run = dlrun.run("dataset=iris", "trainer=smoke", activation="mine", model="net", **own)
    x, y = on_test_rows(run)
    monkeypatch.setattr(own_modules, "_imported", set())
    with pytest.raises(InputError, match="api_components was not imported"):
        dlrun.load(run.id).predict(x.numpy())
    module = sys.modules["api_components"]
    agrees(run, dlrun.load(run.id, imports=[module]).predict(x.numpy()), y, "accuracy", "log_loss")
    table = dlrun.sweep(
        "dataset=iris", "trainer=smoke", activation=["mine", "relu"], model=["net", "mlp"], baseline="none", **own
    )
    assert set(table["status"]) == {"done"}
    assert len(table) == 4
    with pytest.raises(RunError, match="ValueError: no luck"):
        dlrun.run("dataset=iris", "trainer=smoke", activation="fails", **own)
    with pytest.raises(InputError, match="config_dir=nowhere: is not a folder"):
        dlrun.run(config_dir="nowhere")
    with pytest.raises(InputError, match="there is no such module"):
        dlrun.run(imports=["no_such_module"])


def test_a_sweep_is_a_long_table(folder: Path) -> None:
    given: dict[str, Any] = {"seed": range(3), "activation": ["relu", "tanh"], "optimizer.lr": [0.01, 0.1]}
    table = dlrun.sweep("dataset=moons,xor", "trainer=smoke", **given, **QUIET)
    runs = table[table["baseline"] == ""]
    assert len(runs) == 2 * 2 * 2 * 3
    assert set(runs["status"]) == {"done"}
    assert runs["id"].is_unique
    assert list(table.columns[:5]) == ["id", "status", "seed", "fold", "reason"]
    assert set(runs["optimizer.lr"]) == {0.01, 0.1}
    one = runs[(runs["dataset"] == "xor") & (runs["seed"] == 1) & (runs["activation"] == "tanh") & (runs["optimizer.lr"] == 0.1)]
    assert dlrun.load(one["id"].item()).metrics["test/accuracy"] == one["test/accuracy"].item()
    assert (Path(table.attrs["folder"]) / "comparison.csv").is_file()
    again = dlrun.sweep("dataset=moons,xor", "trainer=smoke", **given, **QUIET)
    pd.testing.assert_frame_equal(table, again)


def test_what_cannot_be_trained_stands_in_the_table(folder: Path) -> None:
    table = dlrun.sweep("dataset=iris", "trainer=smoke", "baseline=none", loss=["mse", "cross_entropy"], **QUIET)
    assert list(table["status"]) == ["skipped", "done"]
    assert "class labels have no distances" in table["reason"][0]
    assert table["loss"][0] == "mse"
    lost = dlrun.sweep(
        "dataset=diabetes", "trainer=smoke", "baseline=none", "optimizer=sgd", **{"optimizer.lr": [1e30, 0.1]}, **QUIET
    )
    assert list(lost["status"]) == ["diverged", "done"]


def test_comparing(folder: Path) -> None:
    given: dict[str, Any] = {"seed": range(5), "activation": ["identity", "tanh"], "optimizer.lr": 0.05}
    table = dlrun.sweep("dataset=xor,diabetes", "trainer.epochs=20", "trainer.batch_size=32", **given, **QUIET)
    found = dlrun.compare(table)
    assert set(found["dataset"]) == {"xor", "diabetes"}
    xor = found[found["dataset"] == "xor"]
    assert xor["activation"].iloc[0] == "tanh"
    assert xor["verdict"].iloc[0] == "reference"
    assert xor["test/accuracy mean"].iloc[0] > 0.9
    assert str(xor.set_index("activation").loc["identity", "verdict"]).startswith("worse by")
    one = table[table["dataset"] == "xor"]
    assert "dataset" not in dlrun.compare(one)
    turned = dlrun.compare(one, metric="log_loss", reference="activation=identity")
    assert "test/log_loss mean" in turned
    assert turned.set_index("activation").loc["identity", "verdict"] == "reference"
    assert "seconds mean" in dlrun.compare(one, metric="seconds")
    by_name = dlrun.compare(Path(table.attrs["folder"]).name)
    runs_alone = dlrun.compare(table[table["baseline"] == ""])
    assert by_name["test/accuracy mean"].tolist()[:2] == runs_alone["test/accuracy mean"].tolist()[:2]
    table.to_csv("long.csv", index=False)
    read = dlrun.compare(pd.read_csv("long.csv"))
    assert read["verdict"].tolist() == found["verdict"].tolist(), "a table that was on disk compares alike"
    for wrong, said in (
        ({"metric": "acuracy"}, "did you mean 'accuracy'"),
        ({"reference": "activation=relu"}, "names no group"),
    ):
        with pytest.raises(InputError, match=said):
            dlrun.compare(one, **wrong)
    with pytest.raises(InputError, match="say higher_is_better"):
        dlrun.compare(one.assign(**{"test/mine": 1.0}), metric="mine")
    assert len(dlrun.compare(one.assign(**{"test/mine": 1.0}), metric="mine", higher_is_better=True)) == len(xor)
    with pytest.raises(StoreError, match="not found"):
        dlrun.compare("no_such_sweep")


def test_folds_share_rows(folder: Path) -> None:
    given: dict[str, Any] = {"activation": ["relu", "tanh"], "baseline": "none"}
    table = dlrun.sweep("dataset=iris", "dataset.folds=4", "trainer=smoke", **given, **QUIET)
    assert sorted(table["fold"].unique()) == [0, 1, 2, 3]
    found = dlrun.compare(table)
    apart = dlrun.compare(table.assign(seed=table["fold"], fold=None))
    assert found["difference"].iloc[1] == pytest.approx(apart["difference"].iloc[1])
    low, high = "difference ci low (uncorrected)", "difference ci high (uncorrected)"
    assert (found[high] - found[low]).iloc[1] > (apart[high] - apart[low]).iloc[1]
    assert found["difference ci low (corrected)"].isna().all(), "four pairs are too few for a verdict"


def test_bad_input_is_told_all_at_once() -> None:
    with pytest.raises(InputError) as caught:
        dlrun.run("optimizer=adm", "sed=1", "trainer.epochss=3", **QUIET)
    assert len(caught.value.problems) == 3
    assert "did you mean 'adam'?" in caught.value.problems[0]
    for call, said in (
        (lambda: dlrun.run("activation=relu,tanh", **QUIET), "activation=relu,tanh: holds several values"),
        (lambda: dlrun.run("seed"), "'seed': a setting is written 'key=value'"),
        (lambda: dlrun.run(**{"optimizer.lr": object()}), "optimizer.lr: object cannot be part of a config"),
        (lambda: dlrun.sweep(seed=[]), "seed: holds no value"),
        (lambda: dlrun.run(**{"optimizer.lr": -1}, **QUIET), "optimizer.lr=-1: must be a number above 0"),
        (lambda: dlrun.run("loss=mse", "dataset=iris", **QUIET), "class labels have no distances"),
        (lambda: dlrun.sweep("activation=relu,tanhh"), "did you mean 'tanh'"),
        (lambda: dlrun.run("seed=0,1", **QUIET), r"dlrun\.sweep\('seed=0,1'\) runs each of them"),
        (lambda: dlrun.run("dataset.folds=3", **QUIET), r'call dlrun\.sweep\("dataset\.folds=3"\)'),
        (lambda: dlrun.sweep(regularizer=["[]", "[dropout]"]), r"in Python regularizer=\['dropout'\]"),
        (lambda: dlrun.run(seed=[0, 1], **QUIET), "for a run of each, type -m seed=0,1"),
    ):
        with pytest.raises(InputError, match=said):
            call()


def test_python_values_as_words() -> None:
    given = {
        "a": 1,
        "b": 1e-5,
        "c": True,
        "d": None,
        "e": "word",
        "f": "two words, with 'quotes' and \\",
        "g": "null",
        "h": [1, [2.5, "x"]],
        "i": {"k": [1]},
        "j": np.float64(0.5),
        "k": np.arange(2),
        "l": Path("a/b.csv"),
        "m": "1e-3",
        "n": torch.tensor(3),
        "o": "",
    }
    found = words(["z=1,2"], given)
    assert found[:6] == ["z=1,2", "a=1", "b=1e-05", "c=true", "d=null", "e=word"]
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parsed = {override.key_or_group: override.value() for override in OverridesParser.create().parse_overrides(found[1:])}
    plain = {"j": 0.5, "k": [0, 1], "l": "a/b.csv", "n": 3}
    texts = {key: str(value) if key in "efgmo" else value for key, value in parsed.items()}
    assert {key: getattr(value, "text", value) for key, value in texts.items() if key not in "hi"} == {
        key: value for key, value in (given | plain).items() if key not in "hi"
    }
    assert words([], {"seed": range(3), "x": ["a", "b c"], "y": 1}, swept=True) == ["seed=0,1,2", "x=a,'b c'", "y=1"]
    assert words([], {"hidden": [[8], [8, 8]]}, swept=True) == ["hidden=[8],[8,8]"]


def test_sweeps_that_are_listed_by_name(folder: Path) -> None:
    common = ("dataset=xor", "trainer=smoke", "baseline=none")
    rates = np.arange(0.1, 0.25, 0.1) * 3  # 0.30000000000000004 and 0.6000000000000001
    paper = dlrun.sweep(*common, "name=paper", **{"optimizer.lr": rates}, seed=[0, 1], **QUIET)
    assert set(paper["optimizer.lr"]) == {0.3, 0.6}
    weekly = dlrun.sweep(*common, "name=weekly", "optimizer.lr=0.3,0.5", seed=[2, 3], **QUIET)
    found = dlrun.compare(["paper", "weekly"])
    assert dict(zip(found["optimizer.lr"], found["n"], strict=True)) == {0.3: 4, 0.6: 2, 0.5: 2}
    assert found["n"].tolist() == dlrun.compare([paper, weekly])["n"].tolist()
    with pytest.raises(InputError, match="give a table, the name of a sweep, or a list of these"):
        dlrun.compare([paper, 3])  # type: ignore[list-item]


def test_folds_of_one_call(folder: Path) -> None:
    assert len(dlrun.sweep("dataset.folds=3", "dataset=xor", "trainer=smoke", "baseline=none", **QUIET)) == 3
    sets = {"regularizer": [[], ["dropout"]]}
    assert len(dlrun.sweep("dataset=xor", "trainer=smoke", "baseline=none", **sets, **QUIET)) == 2


def test_hydra_of_the_caller_is_left_alone(folder: Path) -> None:
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.hydra_config import HydraConfig

    (folder / "theirs").mkdir()
    (folder / "theirs" / "app.yaml").write_text("x: 1\ny: 2\n")
    with initialize_config_dir(str(folder / "theirs"), version_base="1.2"):
        before, settings = GlobalHydra.instance().hydra, HydraConfig.instance().cfg
        assert compose("app").x == 1
        assert dlrun.run("dataset=xor", "trainer=smoke", **QUIET).status == "done"
        assert len(dlrun.sweep("dataset=xor", "trainer=smoke", "baseline=none", seed=[0, 1], **QUIET)) == 2
        with pytest.raises(InputError, match="did you mean 'adam'"):
            dlrun.run("optimizer=adm")
        assert GlobalHydra.instance().hydra is before
        assert compose("app", overrides=["x=5"]).x == 5
        assert HydraConfig.instance().cfg is settings
    assert not GlobalHydra.instance().is_initialized()


def test_an_experiment_that_sweeps(folder: Path) -> None:
    (folder / "mine" / "experiment").mkdir(parents=True)
    text = "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '0,1', activation: 'relu,tanh'}}}\n"
    (folder / "mine" / "experiment" / "both.yaml").write_text(text)
    given = {"config_dir": "mine", **QUIET}
    assert len(dlrun.sweep("experiment=both", "trainer=smoke", "dataset=xor", "baseline=none", **given)) == 4
    assert len(dlrun.sweep("experiment=both", "trainer=smoke", "dataset=xor", "baseline=none", activation="elu", **given)) == 2
    with pytest.raises(InputError, match=r"asks for a sweep; call dlrun\.sweep"):
        dlrun.run("experiment=both", **given)


def test_warnings_are_pythons() -> None:
    with pytest.warns(UserWarning, match="sums? to 1|exclusive classes|softmax in hidden layers"):
        dlrun.run("dataset=iris", "activation=softmax", "trainer=smoke", **QUIET)


INTERRUPTS = """
import os
import signal
import torch

calls = 0

def relu(x):
    global calls
    calls += x.shape[-2] > 3  # not when it is tried
    if calls == 100:
        os.kill(PROCESS, signal.SIGINT)
    return torch.relu(x)
"""


@pytest.mark.parametrize("call", [dlrun.run, dlrun.sweep])
def test_stopping_keeps_what_there_is(call: Callable[..., Any], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "stopped", raising=False)
    monkeypatch.setattr(own_modules, "_imported", set())
    (folder / "stopped.py").write_text(INTERRUPTS.replace("PROCESS", str(os.getpid())))  # in a sweep it runs in a worker
    own = {"imports": ["stopped"], "activation._target_": "stopped.relu"}
    with pytest.raises(KeyboardInterrupt, match=r"is kept in|carry on with: dlrun resume"):
        call("dataset=moons", "trainer.epochs=10000000", "baseline=none", **own, **QUIET)
    (record,) = results(folder / "outputs").values()
    assert record["status"] == "interrupted"
    assert sys.modules["stopped"].calls <= 110  # the run is measured, and takes no step behind the signal


def test_from_a_folder_that_cannot_be_written(folder: Path) -> None:
    (folder / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        dlrun.run("trainer=smoke", output_dir="file/below", **QUIET)
