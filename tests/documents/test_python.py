"""The Python of the pages on what was trained, and the notebook, work. tests/own_code has the pages on own code and on Python."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

import dlrun

DOCS = Path(__file__).parents[2] / "docs"
Call = Callable[..., tuple[int, str, str]]


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), re.DOTALL)


def test_after_training(call: Call) -> None:
    assert call("-m", "dataset=iris", "activation=relu,tanh", "seed=0,1", "trainer.max_steps=3")[0] == 0
    run = dlrun.run("dataset=iris", "trainer.max_steps=3", progress=False)
    frame = pd.DataFrame([[5.1, 3.5, 1.4, 0.2]], columns=list(run.features))
    shared: dict[str, Any] = {"dlrun": dlrun, "frame": frame}
    (block,) = blocks("after-training.md")
    exec(block.replace("8bc176b3", run.id[:8]), shared)
    assert shared["run"].predict_table(frame)["predicted"][0] in run.classes
    assert shared["both"].predict(frame).shape == shared["both"].spread(frame).shape == (1, 3)


def test_export(call: Call) -> None:
    """The lines that the page has are those that the command prints of such a run."""
    run = dlrun.run("dataset=diabetes", "trainer.max_steps=3", progress=False, **{"model.hidden": [32]})
    code, out, _ = call("export", run.id, "--format", "torch", "--to", "service")
    assert code == 0
    (block,) = blocks("export.md")
    assert block.replace("8bc176b3d366", run.id) in out


def test_sklearn() -> None:
    from sklearn.datasets import load_iris
    from sklearn.model_selection import GridSearchCV

    X, y = load_iris(return_X_y=True)
    shared: dict[str, Any] = {"GridSearchCV": GridSearchCV, "X": X, "y": y}
    (block,) = blocks("sklearn.md")
    exec(block.replace("seeds=10", "seeds=2, epochs=2"), shared)
    assert shared["mean"].shape == shared["sd"].shape == (len(X),)


def test_notebook(folder: Path) -> None:
    """Its cells one after the other; that their charts can be drawn, the site shows."""
    shared: dict[str, Any] = {}
    notebook = json.loads((DOCS / "activations.ipynb").read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] for cell in cells), "what a build computes is not kept"
    for cell in cells:
        exec("".join(cell["source"]), shared)
    found = shared["networks"].predict_table(shared["pd"].read_csv("my.csv"))
    assert len(found) == 442
    assert list(found) == ["predicted target", "sd target"]
