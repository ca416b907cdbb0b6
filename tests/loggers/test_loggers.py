"""Loggers of runs: what each tool's own reader reads back is the history, the settings, the final metrics and the status."""

import csv
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dlrun
from dlrun.results.store import Store

Call = Callable[..., tuple[int, str, str]]
# of three runs one diverges
SWEEP = ("-m", "dataset=diabetes", "trainer=smoke", "optimizer=sgd", "optimizer.lr=0.01,1e30", "seed=1,2", "baseline=[]")
QUICK = ("dataset=xor", "trainer=smoke", "baseline=[]")


def known(folder: Path) -> dict[str, tuple[Any, dict[int, dict[str, float]]]]:
    """Each run's record, and its finite numbers by epoch."""
    store = Store(folder / "outputs")
    found = {}
    for record in store.records(store.ids()):
        history = store.history(record.id)
        epochs = {
            int(epoch): {
                name: float(column[place])
                for name, column in history.items()
                if name != "epoch" and column[place] is not None and abs(column[place]) < float("inf")
            }
            for place, epoch in enumerate(history.get("epoch", ()))
        }
        found[record.id] = record, epochs
    return found


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def records(path: Path) -> Iterator[Any]:
    """The messages of a .wandb file, which is a LevelDB log: blocks of 32 KB with pieces of a checksum, a length and a type."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, at, message = path.read_bytes(), 7, b""
    while at + 7 <= len(content):
        left = 32768 - at % 32768
        if left < 7:
            at += left
            continue
        size, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        message += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):  # whole, or the last piece
            found = Record()
            found.ParseFromString(message)
            yield found
            message = b""


def final(record: Any) -> dict[str, float]:
    return {name: value for name, value in record.metrics.items() if value is not None}


def test_csv_has_the_history_and_how_runs_ended(call: Call, folder: Path) -> None:
    assert call(*SWEEP, "logger=[none,csv]", "logger.csv.path=there")[0] == 1
    runs = known(folder)
    assert sorted(record.status for record, _ in runs.values()) == ["diverged", "diverged", "done", "done"]
    found: dict[str, dict[int, dict[str, float]]] = {}
    for row in lines_of(folder / "there" / "epochs.csv"):
        found.setdefault(row["run"], {}).setdefault(int(row["epoch"]), {})[row["metric"]] = float(row["value"])
    lines = lines_of(folder / "there" / "runs.csv")
    for run, (record, epochs) in runs.items():
        assert found.get(run, {}) == {epoch: values for epoch, values in epochs.items() if values}
        mine = [line for line in lines if line["run"] == run]
        assert {(line["status"], line["seed"]) for line in mine} == {(record.status, str(record.seed))}
        assert {line["name"]: float(line["value"]) for line in mine if line["kind"] == "metric"} == final(record)
        settings = {line["name"]: line["value"] for line in mine if line["kind"] == "setting"}
        assert float(settings["optimizer.lr"]) in (0.01, 1e30)
        assert settings["model.hidden"] == "[5]"
    assert not any(line["name"].startswith("logger") for line in lines)


def test_one_name_or_a_list_beside_a_display(call: Call, folder: Path) -> None:
    code, out, err = call(*QUICK, "logger=csv", "seed=7")
    assert (code, "accuracy" in out, "warning" in err) == (0, True, False)
    assert call(*QUICK, "logger=[none,csv,lines]", "logger.path=events.jsonl", "seed=8")[1] == ""
    assert '"run_ended"' in (folder / "events.jsonl").read_text()
    assert {line["seed"] for line in lines_of(folder / "logs" / "runs.csv")} == {"7", "8"}
    assert dlrun.run(*QUICK, logger=["csv"], seed=9, progress=False).status == "done"
    code, _, err = call(*QUICK, "logger=none", "logger.csv.path=x")
    assert (code, "csv is not selected; add logger=[csv]" in err) == (2, True)
    assert "logger.csv.pth=x: no such key; logger.csv takes path" in call(*QUICK, "logger=csv", "logger.csv.pth=x")[2]
    assert "logger.csv.path" in call("show", "logger/csv")[1]
    assert call(*QUICK, "logger=[cvs]")[2].endswith("did you mean 'csv'?\n")


def test_a_logger_that_fails_is_told_once_and_ends_no_run(call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, run: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dlrun.loggers.csv.Csv.log", full)
    code, out, err = call("-m", *QUICK, "seed=1,2,3", "logger=[console,csv]", "hydra.launcher.processes=1")
    assert (code, "3 runs: 3 done" in out) == (0, True)
    assert err.count("logger csv: failed, and logs no more of this experiment (OSError: [Errno 28] No space left") == 1
    with pytest.warns(UserWarning, match="logger csv: failed"):
        assert dlrun.run(*QUICK, logger="csv", progress=False).status == "done"


@pytest.mark.parametrize(("name", "library"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow"), ("wandb", "wandb")])
def test_what_is_not_installed_is_told_with_the_command(
    call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, library: str
) -> None:
    for module in [each for each in sys.modules if each.partition(".")[0] == library or each == "torch.utils.tensorboard"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, library, None)
    code, out, err = call(*QUICK, f"logger={name}")
    assert (code, out) == (2, "")
    assert f"logger={name}: needs {library}, which is not installed; run: pip install 'dlrun[{name}]'" in err
    assert not (folder / "outputs").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_reads_the_history(call: Call, folder: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    assert call(*SWEEP, "logger=[none,tensorboard]", "name=lr")[0] == 1
    assert call(*SWEEP, "logger=[none,tensorboard]", "name=lr")[0] == 1  # taken over, and not written twice
    for run, (record, epochs) in known(folder).items():
        (events,) = (folder / "tensorboard" / "lr" / run).glob("events*")
        reader = EventAccumulator(str(events), size_guidance={"tensors": 0})
        reader.Reload()
        tags = reader.Tags()["tensors"]
        found: dict[int, dict[str, float]] = {}
        last: dict[str, float] = {}
        for tag in tags:
            for event in reader.Tensors(tag):
                value = make_ndarray(event.tensor_proto)
                if tag.startswith("final/"):
                    last[tag.removeprefix("final/")] = float(value)
                elif "/text_summary" in tag:
                    assert value.item().decode().startswith(record.status)
                elif value.dtype.kind == "f":
                    found.setdefault(event.step, {})[tag] = float(value)
        assert found == {epoch: values for epoch, values in epochs.items() if values}
        assert last == final(record)
        assert "status/text_summary" in tags
        assert b"_hparams_/session_start_info" in events.read_bytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_reads_the_history(call: Call, folder: Path) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    from mlflow.tracking import MlflowClient

    assert call(*SWEEP, "logger=[none,mlflow]", "logger.mlflow.experiment=mine")[0] == 1
    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("mine")
    every = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in every if "mlflow.parentRunId" not in run.data.tags]
    children = {run.data.tags["dlrun.id"]: run for run in every if run is not parent}
    runs = known(folder)
    assert (children.keys(), parent.info.status) == (runs.keys(), "FAILED")
    for run, (record, epochs) in runs.items():
        child = children[run]
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert (child.data.tags["dlrun.status"], child.info.status) == (
            record.status,
            {"done": "FINISHED", "diverged": "FAILED"}[record.status],
        )
        found: dict[int, dict[str, float]] = {}
        last: dict[str, float] = {}
        for name in child.data.metrics:
            for metric in client.get_metric_history(child.info.run_id, name):
                if name.startswith("final/"):
                    last[name.removeprefix("final/")] = metric.value
                else:
                    found.setdefault(metric.step, {})[name] = metric.value
        assert found == {epoch: values for epoch, values in epochs.items() if values}
        assert last == final(record)
        assert child.data.params["optimizer.lr"] in ("0.01", "1e+30", "1e30")
        assert child.data.params["seed"] == str(record.seed)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_wandb_reads_the_history(call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    assert call(*SWEEP[:-2], "seed=1", "baseline=[]", "logger=[none,wandb]")[0] == 1
    runs = known(folder)
    files = {path.stem.removeprefix("run-"): path for path in (folder / "wandb").glob("offline-run-*/*.wandb")}
    assert files.keys() == runs.keys()
    for run, (record, epochs) in runs.items():
        found: dict[int, dict[str, float]] = {}
        summary: dict[str, Any] = {}
        config: dict[str, Any] = {}
        for each in records(files[run]):
            if each.WhichOneof("record_type") == "run":
                config |= {item.key: json.loads(item.value_json) for item in each.run.config.update}
            if each.WhichOneof("record_type") == "summary":
                summary |= {item.key or item.nested_key[0]: json.loads(item.value_json) for item in each.summary.update}
            if each.WhichOneof("record_type") == "history":
                values = {item.key or item.nested_key[0]: json.loads(item.value_json) for item in each.history.item}
                found[values["epoch"]] = {name: value for name, value in values.items() if "/" in name}
        assert {epoch: {k: v for k, v in values.items() if "/" in k} for epoch, values in epochs.items()} == found
        assert {name: summary[f"final/{name}"] for name in final(record)} == final(record)
        assert (summary["status"], config["seed"]) == (record.status, record.seed)
