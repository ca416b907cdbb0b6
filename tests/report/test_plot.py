"""``dlrun plot``: charts in the terminal and as files."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dlrun.cli.plot import KINDS
from dlrun.cli.terminal.drawing import scatter

Call = Callable[..., tuple[int, str, str]]
SHORT = ("trainer.epochs=2", "logger=none")


def test_charts_of_classes_in_the_terminal(call: Call, kept: str) -> None:
    said = {
        kind: call("plot", kind, kept)
        for kind in ("curves", "confusion", "boundary", "reliability", "roc", "gradients", "results")
    }
    assert {code for code, _, _ in said.values()} == {0}
    assert "validation/loss, mean of 2 runs" in said["curves"][1]
    assert "different signs" in said["confusion"][1]
    assert {"·", "#"} < {*said["boundary"][1]}
    assert "came true" in said["reliability"][1]
    assert "layer 3" in said["gradients"][1]
    assert "best of yours" in said["results"][1]
    assert "against log10 of optimizer.lr" in call("plot", "sensitivity", kept)[1]


def test_charts_of_values_in_the_terminal(call: Call) -> None:
    assert call("dataset=diabetes", *SHORT)[0] == 0
    run = call("runs", "--json")[1].partition('"id": "')[2][:8]
    assert "true minus predicted progression (up)" in call("plot", run, "residuals")[1]
    assert "predicted progression (up) against true" in call("plot", "predicted", run)[1]
    code, _, err = call("plot", run, "roc")
    assert (code, "roc: these runs have no predictions of that kind" in err) == (2, True)
    assert "no setting of these runs is a number" in call("plot", run, "sensitivity", "-o", "g.svg")[2]
    assert "ranks: there are no three datasets" in call("plot", run, "ranks")[2]


def test_a_chart_is_a_file_of_its_suffix(call: Call, folder: Path, kept: str) -> None:
    for name, start in {"a.svg": b"<svg", "b/c.json": b"{"}.items():
        code, out, _ = call("plot", "results", "-o", name, kept)
        assert (code, out) == (0, f"{name}\n")
        assert (folder / name).read_bytes().startswith(start)
    code, _, err = call("plot", "curves", "-o", "f.gif", kept)
    assert (code, "can be written as .svg, .png, .pdf, .json, not .gif" in err) == (2, True)
    assert "type -o differences.svg" in call("plot", "differences", kept)[2]


@pytest.mark.parametrize("words", [(), ("curve",), ("curves", "roc")])
def test_a_kind_is_needed(call: Call, words: tuple[str, ...]) -> None:
    code, _, err = call("plot", *words)
    assert (code, "boundary" in err, "heatmap" in err) == (2, True, True)
    assert ("did you mean" in err or "curves?" in err or words != ("curve",)) is True


def test_the_help_names_every_kind(call: Call) -> None:
    assert all(f"  {kind}" in call("plot", "--help")[1] for kind in KINDS)


def test_points_lie_where_they_should() -> None:
    lines = scatter([0.0, 1.0, float("nan")], [0.0, 1.0, 0.5], width=20, height=6, unicode=False)
    assert lines[0].endswith("*")
    assert lines[4].split()[1] == "*"
    assert all(len(line) <= 20 for line in lines)
    assert "*" in "".join(scatter([2.0], [3.0], width=20, height=6, unicode=False))
