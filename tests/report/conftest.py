"""What the tests of reports share: a parsed page, kept runs, and the JavaScript left out, which takes seconds to bundle."""

import json
from collections.abc import Callable
from pathlib import Path

import altair
import jsonschema
import pytest

from pages import Page


@pytest.fixture
def page(folder: Path) -> Callable[[str], Page]:
    """``page("report.html")``: a file in the working folder."""
    return lambda name: Page((folder / name).read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlrun.experiments.boundary.GRID", 6)


@pytest.fixture
def unbundled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlrun.report.figures.programs", lambda: "window.vegaEmbed = () => 0; // </script>")


@pytest.fixture(scope="session")
def validator() -> jsonschema.protocols.Validator:
    """What a specification has to be."""
    schema = json.loads((Path(altair.__file__).parent / "vegalite/v6/schema/vega-lite-schema.json").read_text(encoding="utf-8"))
    return jsonschema.Draft7Validator(schema)


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> str:
    """``output_dir=...`` of a sweep on xor, trained once: two activations, three learning rates, two seeds."""
    from dlrun.cli.main import main

    root = tmp_path_factory.mktemp("kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        words = ("dataset=xor", "activation=relu,tanh", "optimizer.lr=0.001,0.01,0.1", "seed=0,1", "trainer.epochs=2")
        assert main(["-m", *words, "logger=none", f"output_dir={root}"]) == 0
    return f"output_dir={root}"
