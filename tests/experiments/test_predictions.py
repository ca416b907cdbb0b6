"""What a run predicted for its own rows: kept as it was measured by, and as it would predict again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import dlrun
from dlrun.cli.main import main
from dlrun.errors import DataError, StoreError
from dlrun.results.folders import RunFolder
from dlrun.results.formats import PREDICTIONS, TARGETS
from dlrun.results.store import Store

Call = Callable[..., Any]


def rows_of(name: str) -> NDArray[np.float64]:
    from dlrun import registry
    from dlrun.config.resolver import resolve

    option = registry.load_option("dataset", name)
    data: Any = resolve(option["_target_"], "dataset")()
    return data.x  # type: ignore[no-any-return]


@pytest.mark.parametrize("subset", ["validation", "test"])
@pytest.mark.parametrize("words", [("dataset=diabetes",), ("dataset=iris",), ("dataset=moons",), ("dataset=moons", "loss=hinge")])
def test_they_are_those_of_predict(words: tuple[str, ...], subset: Any, call: Call) -> None:
    assert call(*words, "trainer=smoke").code == 0
    run = dlrun.load(Store(Path("outputs")).ids()[0], output_dir="outputs")
    table = run.predictions(subset)
    assert len(table) == run.record.data["sizes"][subset]
    again = run.predict(rows_of(words[0].partition("=")[2])[table["row"].tolist()])
    if run.classes:
        shown = table[f"probability {run.classes[-1]}"]
        assert np.allclose(shown, again if again.ndim == 1 else again[:, -1], atol=1e-6)
        assert (table["true"] == table["predicted"]).mean() == pytest.approx(run.metrics[f"{subset}/accuracy"])
    else:
        assert np.allclose(table["predicted progression"], again, rtol=1e-6)
        error = table["true progression"] - table["predicted progression"]
        assert np.sqrt((error**2).mean()) == pytest.approx(run.metrics[f"{subset}/rmse"], rel=1e-6)


def test_of_folds_each_run_has_its_own_rows(call: Call) -> None:
    called = call("-m", "dataset=diabetes", "dataset.folds=5", "trainer=smoke", "baseline=[]")
    tested = [called.store.arrays(record.id, TARGETS)["test_rows"] for record in called.records]
    assert sorted(np.concatenate(tested)) == list(range(442))
    for record, rows in zip(called.records, tested, strict=True):
        assert len(called.store.arrays(record.id, PREDICTIONS)["test"]) == len(rows) == record.data["sizes"]["test"]


def test_quantiles_and_labels_have_a_column_each(call: Call) -> None:
    called = call("-m", "dataset=diabetes", "loss=quantile", "loss.tau=[0.1,0.9]", "seed=0", "baseline=[]")
    run = dlrun.load(called.records[0].id, output_dir="outputs")
    assert [*run.predictions()] == ["row", "true progression", "predicted 0.1", "predicted 0.9"]
    called = call("-m", "dataset=multilabel", "seed=0", "baseline=[]")
    run = dlrun.load(called.records[0].id, output_dir="outputs")
    label = run.classes[0]
    table = run.predictions()
    assert ((table[f"probability {label}"] > 0.5) == (table[f"predicted {label}"] == 1)).all()


def test_a_run_keeps_none_when_told_so_or_when_they_are_no_table(call: Call) -> None:
    called = call("-m", "dataset=iris", "seed=0", "predictions=false", "baseline=[]")
    run = dlrun.load(called.records[0].id, output_dir="outputs")
    with pytest.raises(StoreError, match="has no predictions"):
        run.predictions()
    assert call("-m", "dataset=iris", "seed=0", "baseline=[]").records[0].id == run.id, "the same run"
    called = call("-m", "dataset=pairs", "seed=0", "baseline=[]")
    with pytest.raises(DataError, match="are no table"):
        dlrun.load(called.records[0].id, output_dir="outputs").predictions()


def test_a_sweep_writes_folders_too(call: Call) -> None:
    words = ("-m", "dataset=iris", "seed=0,1", "baseline=[]")
    first = call(*words)
    assert not list(first.store.runs.glob("*/result.json"))
    again = call(*words, "folders=true")
    assert sorted(path.name for path in again.store.runs.iterdir()) == again.store.ids()
    folder = RunFolder(again.store.runs / again.store.ids()[0])
    assert folder.files().record.metrics == again.store.read_record(again.store.ids()[0]).metrics
    assert set(folder.files().arrays) == {PREDICTIONS, TARGETS}


def test_the_run_of_a_folder_is_trained_again(call: Call, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("dataset=iris", "activation=gelu", "seed=4", "optimizer.lr=0.02").code == 0
    (folder,) = Path("outputs/runs").iterdir()
    store = Store(Path("outputs"))
    before = store.read_record(folder.name)
    assert main(["--config-dir", str(folder), "-cn", "config"]) == 0
    assert store.ids() == [folder.name]
    after = store.read_record(folder.name)
    assert (after.metrics, after.factors) == (before.metrics, before.factors)
    assert {"experiment": "None", **after.choices} == before.choices
    capsys.readouterr()
    assert main(["-m", "--config-dir", str(folder), "--config-name", "config", "seed=4,5", "baseline=[]"]) == 0
    assert "2 runs: 2 done, 1 of them taken over" in capsys.readouterr().out
    assert [record.choices["activation"] for record in store.records()] == ["gelu", "gelu"]


def test_the_folder_of_a_run_holds_no_options(call: Call) -> None:
    assert call("dataset=iris").code == 0
    (folder,) = Path("outputs/runs").iterdir()
    called = call("--config-dir", str(folder))
    assert called.code == 2
    assert "is the folder of a run; type --config-name config as well" in called.err
    with pytest.raises(dlrun.errors.InputError, match="is the folder of a run"):
        dlrun.run(config_dir=folder)
