"""What the tests of reports share: a parsed page, and the JavaScript left out, which takes seconds to bundle."""

from collections.abc import Callable
from pathlib import Path

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
