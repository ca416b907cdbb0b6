"""Codes of rows: those of the weights by hand, from a file and from the run's own data, and their trustworthiness."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

import dlrun
from dlrun.data.sources.real import wine
from dlrun.data.splits import split
from dlrun.errors import DataError, InputError
from dlrun.trained.codes import of_file, of_own_rows

Call = Callable[..., tuple[int, str, str]]
WORDS = ("dataset=wine", "dataset.task=clustering", "model=autoencoder", "model.code=2", "trainer.epochs=3", "logger=none")


@pytest.fixture
def run(folder: Path) -> dlrun.Run:
    return dlrun.run(*WORDS, progress=False)


def by_hand(run: dlrun.Run, x: Any) -> Any:
    """The two numbers in the middle of the autoencoder."""
    w = {name: value.astype(np.float64) for name, value in run.weights.items()}
    hidden = np.maximum(run.prepared(x) @ w["0.weight"] + w["0.bias"], 0)
    return hidden @ w["2.weight"] + w["2.bias"]


def test_codes_of_own_rows_and_their_trustworthiness(run: dlrun.Run) -> None:
    data = wine()
    found, part = of_own_rows(run), split(data, seed=0)
    np.testing.assert_allclose(found.codes, by_hand(run, data.x), atol=1e-4)
    subset = found.beside["subset"]
    assert all((subset[getattr(part, name)] == name).all() for name in ("train", "validation", "test"))
    x = run.prepared(data.x)
    assert found.trust == pytest.approx(trustworthiness(x[part.test], found.codes[part.test], n_neighbors=5))
    components = PCA(2).fit(x[part.train]).transform(x[part.test])
    assert found.trust_pca == pytest.approx(trustworthiness(x[part.test], components, n_neighbors=5))


def test_codes_of_a_file(run: dlrun.Run, call: Call, folder: Path) -> None:
    data = wine()
    table = pd.DataFrame(data.x[:40], columns=list(data.features))
    table["name"] = [f"w{place}" for place in range(40)]
    table.sample(frac=1, axis=1, random_state=0).to_csv("new.csv", index=False)
    code, out, err = call("encode", run.id, "new.csv", "-o", "codes.csv", "--keep", "name")
    assert code == 0, err
    written = pd.read_csv("codes.csv")
    assert [*written.columns] == ["row", "name", "code 1", "code 2"]
    np.testing.assert_allclose(written[["code 1", "code 2"]], by_hand(run, data.x[:40]), atol=1e-4)
    np.testing.assert_allclose(run.encode(data.x[:40]), by_hand(run, data.x[:40]), atol=1e-4)
    kept = of_file(run, "new.csv")
    assert f"codes {kept.trust:.4f}; 2 principal components {kept.trust_pca:.4f}" in out
    assert out.splitlines()[0] == "40 rows, 2 numbers each"
    assert out.splitlines()[-1] == str(folder / "codes.csv")
    code, out, err = call("encode", run.id, "new.csv")
    assert (code, out.splitlines()[0]) == (0, "row,code 1,code 2")
    assert "trustworthiness of new.csv" in err
    assert call("encode", run.id, "-o", "codes.npy")[0] == 0
    assert np.load("codes.npy").shape == (178, 2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "encode: takes a run and a file of rows"),
        (("ID", "-o", "codes.xls"), "-o codes.xls: takes a name that ends in .csv or .npy"),
        (("ID", "--keep", "a"), "--keep: takes columns of a file"),
        (("ID", "no.csv"), "no.csv"),
        (("ID", "--kep=a"), "did you mean '--keep'?"),
    ],
)
def test_mistakes_get_one_line(words: tuple[str, ...], said: str, run: dlrun.Run, call: Call) -> None:
    code, out, err = call("encode", *(run.id if word == "ID" else word for word in words))
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_other_models_have_codes_too_and_modules_have_none(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlp = dlrun.run("dataset=iris", "model.hidden=[9,4]", "trainer.epochs=1", "logger=none", progress=False)
    found = of_own_rows(mlp)
    assert found.codes.shape == (150, 4)
    assert found.trust is not None
    pairs = dlrun.run(
        "dataset=ratings", "dataset.rows=200", "model=factorization", "trainer.max_steps=2", "logger=none", progress=False
    )
    own = of_own_rows(pairs)
    assert (own.codes.shape, own.trust, own.why) == ((200, 20), None, "rows of words and of users have no distances")
    embedded = dlrun.run(
        "dataset=pairs", "dataset.rows=40", "model=embedder", "trainer.max_steps=2", "logger=none", progress=False
    )
    assert of_own_rows(embedded).codes.shape == (40, 2 * 16)
    monkeypatch.syspath_prepend(str(folder))
    Path("coded_net.py").write_text(
        "import torch\n\n\nclass Net(torch.nn.Linear):\n    def __init__(self, inputs, outputs):\n"
        "        super().__init__(*inputs, outputs)\n"
    )
    Path("conf/model").mkdir(parents=True)
    Path("conf/model/net.yaml").write_text("# mine\n_target_: coded_net.Net\n")
    given = {"imports": ["coded_net"], "config_dir": "conf", "progress": False}
    with pytest.raises(InputError, match="model=net: is a module of your own, whose code is not known"):
        of_own_rows(dlrun.run("dataset=iris", "model=net", "trainer.max_steps=2", "logger=none", **given))


def test_data_that_changed_is_refused(folder: Path) -> None:
    x = wine().x[:60]
    pd.DataFrame(x).assign(label=list("ab") * 30).to_csv("own.csv", index=False)
    words = ("dataset=csv", "dataset.path=own.csv", "dataset.target=label", "trainer.max_steps=2", "logger=none")
    run = dlrun.run(*words, progress=False)
    assert of_own_rows(run).codes.shape == (60, 32)
    pd.DataFrame(x + 1).assign(label=list("ab") * 30).to_csv("own.csv", index=False)
    with pytest.raises(DataError, match="is another now; give the rows in a file"):
        of_own_rows(run)
