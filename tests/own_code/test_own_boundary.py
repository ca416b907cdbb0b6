"""Charts that call a user's own code: the decision boundary."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dlrun import own_modules

Call = Callable[..., tuple[int, str, str]]


def test_the_boundary_of_own_code_is_drawn_once_it_is_imported(call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlrun.report.figures.programs", lambda: "")
    monkeypatch.setattr("dlrun.experiments.boundary.GRID", 6)
    (folder / "planar.py").write_text("def bent(x):\n    return x.relu()\n")
    (folder / "conf" / "activation").mkdir(parents=True)
    (folder / "conf" / "activation" / "bent.yaml").write_text("_target_: planar.bent\n")
    words = ("--config-dir", "conf", "dataset=xor", "activation=bent", "trainer.epochs=1", "logger=none")
    assert call("--import", "planar", *words)[0] == 0
    own_modules._imported.clear()
    reason = "activation._target_=planar.bent: planar was not imported; if it is yours or you trust it, type --import planar"
    code, _, err = call("plot", "boundary", "dataset=xor")
    assert (code, err.splitlines()[0]) == (2, f"warning: no decision boundary: {reason}")
    code, out, err = call("plot", "boundary", "dataset=xor", "--import", "planar")
    assert (code, err, "different signs" in out) == (0, "", True)
    own_modules._imported.clear()
    assert call("report", "dataset=xor", "--import=planar")[2] == ""
    assert "Decision boundary" in Path("report.html").read_text(encoding="utf-8")
