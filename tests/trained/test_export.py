"""Runs in the formats of others: what is written computes what the run does, on raw rows."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

import dlrun
from dlrun.errors import InputError, RunError
from dlrun.trained.export import checked, export

Call = Callable[..., tuple[int, str, str]]
Train = Callable[..., dlrun.Run]
QUICK = ("trainer=smoke", "baseline=[]", "logger=none")


def onnx_columns(table: pd.DataFrame) -> dict[str, Any]:
    """A table as the inputs of a graph: what docs/export.md says."""
    texts = table[["city", "garden"]].astype(object).where(table[["city", "garden"]].notna(), "")
    days = pd.to_datetime(table["day"]).to_numpy().astype("datetime64[D]").astype(np.float64)
    columns = {name: table[name].to_numpy(np.float64) for name in ("size", "rooms")}
    return {name: np.asarray(values)[:, None] for name, values in {**columns, **dict(texts.items()), "day": days}.items()}


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("kind", ("activation=tanh",)),
        pytest.param(
            "kind", ("model.head=probability", "loss=bce", "activation=swish", "activation.beta=1.5"), marks=pytest.mark.slow
        ),
        ("price", ("loss=quantile", "loss.tau=[0.1,0.5,0.9]", "regularizer=[batch_norm,dropout]")),
        pytest.param("price", ("activation=prelu", "dataset.missing=[-999]"), marks=pytest.mark.slow),
    ],
)
def test_onnxruntime_computes_what_the_run_does_on_raw_rows_of_a_csv(
    trained: Train, table: pd.DataFrame, target: str, words: tuple[str, ...], folder: Path
) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    run = trained(target, *words)
    (path,), lines = export(run, "onnx", folder / "there")
    rows = pd.concat([table, table.assign(city="Berlin", day="1969-02-28", rooms=-999)], ignore_index=True)
    session = onnxruntime.InferenceSession(path)
    found = session.run(None, onnx_columns(rows))
    expected = run.predict(rows)
    if target == "kind":
        label, probability = found
        np.testing.assert_allclose(probability[:, 1], expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(probability.sum(1), 1)
        assert label.tolist() == run.predict_table(rows).predicted.tolist()
        assert session.get_modelmeta().custom_metadata_map["classes"] == '["cheap", "dear"]'
    else:
        np.testing.assert_allclose(found[0], expected.reshape(len(rows), -1), rtol=1e-5, atol=1e-5 * table.price.std())
    assert "# days since 1970-01-01: day" in lines


@pytest.mark.parametrize(
    "words",
    [
        ("dataset=iris", "activation=gelu", "loss=nll", "model.head=log_probability"),
        pytest.param(("dataset=multilabel", "activation=elu"), marks=pytest.mark.slow),
        ("dataset=digits", "model=cnn", "regularizer=[batch_norm]", "activation=mish"),
    ],
)
def test_weights_load_into_the_sequential_that_is_printed(call: Call, words: tuple[str, ...], folder: Path) -> None:
    run = dlrun.run(*words, *QUICK, progress=False)
    code, out, err = call("export", run.id, "--format", "torch", "--to", "there")
    assert (code, err) == (0, "")
    files = [folder / "there" / f"{run.id}{suffix}" for suffix in (".pt", ".json", ".txt")]
    assert out.startswith("".join(f"{file}\n" for file in files))
    (lines,) = (out.partition("\n\n")[2],)
    assert lines.strip() == files[2].read_text().strip()
    scope: dict[str, Any] = {}
    execute: Callable[[str, dict[str, Any]], None] = exec
    execute(lines.replace(f'"{run.id}.pt"', f'"there/{run.id}.pt"'), scope)
    model, scaling = scope["model"], json.loads(files[1].read_text())
    state = torch.load(files[0], weights_only=True)
    if len(run.shape) == 1:
        for name, value in run.weights.items():
            if name.endswith("weight"):
                assert (state[name].numpy() == value.T).all(), "[out, in], under the name that the run has for it"
    raw = checked.features(run)
    x = torch.from_numpy(raw)
    fill, shift, factor = (torch.tensor(scaling[name], dtype=torch.float64) for name in ("fill", "shift", "factor"))
    output = model(((torch.where(x.isnan(), fill, x) - shift) * factor).float()).double()
    link = next((line.removeprefix("# ").partition(" are the")[0] for line in lines.splitlines() if "probabilities" in line), "")
    probability = eval(link, {"torch": torch, "output": output})
    np.testing.assert_allclose(probability.detach(), run.predict(raw), rtol=1e-5, atol=1e-6)
    if pytest.importorskip("onnxruntime") and len(run.shape) > 1:
        import onnxruntime

        (path,), _ = export(run, "onnx", folder / "there")
        found = onnxruntime.InferenceSession(path).run(["probability"], {"x": raw})[0]
        np.testing.assert_allclose(found, run.predict(raw), rtol=1e-5, atol=1e-6)


def test_residual_connections_are_exported(folder: Path) -> None:
    run = dlrun.run("dataset=wine", "model=residual_mlp", "regularizer=[dropout]", *QUICK, progress=False)
    raw = checked.features(run)
    x = torch.from_numpy(raw)
    (path,), _ = export(run, "torch-export", folder / "there")
    np.testing.assert_allclose(torch.export.load(path).module()(x).detach(), run.predict(raw), rtol=1e-5, atol=1e-6)
    with pytest.raises(InputError, match="has residual connections, which a plain Sequential has no form of; type --format onnx"):
        export(run, "torch", folder / "there")
    onnxruntime = pytest.importorskip("onnxruntime")
    (path,), _ = export(run, "onnx", folder / "there")
    session = onnxruntime.InferenceSession(path)
    columns = {each.name: x[:, [place]].numpy() for place, each in enumerate(session.get_inputs())}
    found = session.run(["probability"], columns)[0]
    np.testing.assert_allclose(found, run.predict(raw), rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_a_program_of_torch_computes_what_the_run_does(trained: Train, table: pd.DataFrame, folder: Path) -> None:
    run = trained("price", "activation=swish", "activation.beta=2")
    (path,), _ = export(run, "torch-export", folder / "there")
    found = torch.export.load(path).module()(run.rows(table))
    np.testing.assert_allclose(found.detach(), run.predict(table), rtol=1e-5)


def test_probabilities_by_sparsemax_have_no_form_in_onnx(call: Call) -> None:
    pytest.importorskip("onnxruntime")
    sparse = dlrun.run("dataset=iris", "loss=sparsemax", *QUICK, progress=False)
    assert "probabilities by sparsemax have no form in ONNX" in call("export", sparse.id, "--format", "onnx")[2]


def test_what_cannot_be_exported_is_refused_with_the_reason(
    call: Call, trained: Train, table: pd.DataFrame, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained("price", "activation=swish", "activation.beta=2")
    with pytest.raises(InputError, match=r"swish with hyperparameters that no module of torch\.nn has; type --format onnx"):
        export(run, "torch", folder / "there")
    pairs = dlrun.run("dataset=pairs", *QUICK, progress=False)
    words = dlrun.run("dataset=sentences", "model=bag_of_words", *QUICK, progress=False)
    for each, said in ((pairs, "several members"), (words, "sequences of words")):
        code, out, err = call("export", each.id, "--format", "torch")
        assert (code, out, said in err) == (2, "", True)
    assert "--format onx: takes one of folder, torch, onnx, torch-export" in call("export", run.id, "--format", "onx")[2]
    monkeypatch.setattr(checked, "TOLERANCE", -1.0)  # nothing is exact enough
    tanh = trained("price", "activation=tanh")
    with pytest.raises(RunError, match="nothing was written"):
        export(tanh, "torch", folder / "there")
    assert not (folder / "there").exists()
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert "run: pip install 'dlrun[onnx]'" in call("export", run.id, "--format", "onnx")[2]
