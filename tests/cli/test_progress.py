"""The progress of a training and the table it ends with, in a pipe and on a terminal."""

import io
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from dlrun.cli.main import main
from dlrun.cli.terminal.progress import RunProgress
from dlrun.cli.terminal.run_table import number, run_table
from dlrun.cli.terminal.sweep import SweepProgress
from dlrun.engine.progress import Progress
from dlrun.experiments.sweep import Grid
from dlrun.results.sweeps import Cell

REPORT = Progress(
    runs=1,
    finished=0,
    diverged=0,
    epoch=0,
    epochs=200,
    step=0,
    steps=4400,
    seconds=0.0,
    loss=0.5,
    metric_name="validation/r2",
    metric=0.25,
)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@dataclass
class Run:
    id: str = "3f9a1c77d2e4"
    name: str | None = None
    status: str = "done"
    reason: str | None = None
    metrics: dict[str, float | None] = field(
        default_factory=lambda: {"train/loss": 0.5, "train/mse": 2900.25, "test/mse": 3000.5, "test/loss": None}
    )
    diagnostics: dict[str, float | list[float]] = field(
        default_factory=lambda: {"zero_weights": 0.0, "gradient_norm": [0.5, 1.25e-7]}
    )
    data: dict[str, object] = field(default_factory=dict)
    parameters: int = 1061
    epochs: int = 1
    seconds: float = 1.5


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "NO_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def train(epochs: int = 200, stop_at: int | None = None) -> None:
    with RunProgress("diabetes") as shown:
        for epoch in range(1, (stop_at or epochs) + 1):
            finished = int(epoch in (epochs, stop_at))
            shown.update(replace(REPORT, epoch=epoch, epochs=epochs, step=22 * epoch, seconds=0.01 * epoch, finished=finished))


def test_plain_lines_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    train()
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert 3 <= len(lines) <= 10
    assert lines[0].startswith("diabetes: epoch 1/200, loss 0.5000, validation/r2 0.2500, 2200 steps/s, ETA ")
    assert lines[-1].startswith("diabetes: epoch 200/200, ")
    assert lines[-1].endswith("2.0 s")


def test_early_stopping_ends_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    train(stop_at=30)
    assert capsys.readouterr().err.splitlines()[-1].startswith("diabetes: epoch 30/200")


@pytest.mark.parametrize(("name", "value"), [("CI", "true"), ("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_terminal_that_wants_plain_lines(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stderr", Terminal())
    train()
    assert "\033" not in sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert sys.stderr.getvalue().count("\n") <= 10  # type: ignore[attr-defined]


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr("dlrun.cli.terminal.progress.REDRAW", 0.0)
    train(epochs=5)
    shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
    assert "\033" in shown
    assert "5/5  loss 0.5000  validation/r2 0.2500  2200 steps/s" in shown


def test_nothing_when_disabled(capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress("diabetes", enabled=False) as shown:
        shown.update(REPORT)
    assert capsys.readouterr() == ("", "")


def test_a_cohort_counts_its_runs(capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress("sweep") as shown:
        shown.update(replace(REPORT, runs=64, finished=3, diverged=1, seconds=4000.0, step=1))
    assert capsys.readouterr().err.rstrip().endswith("0 steps/s, ETA 4887:46:40, 3/64 runs, 1 diverged")


def test_what_is_left_of_a_cohort_that_goes_on_counts_the_time_before(capsys: pytest.CaptureFixture[str]) -> None:
    cells = [Cell(f"{number:012x}", (f"seed={number}",), number) for number in range(2)]
    with SweepProgress("sweep", Grid(cells, {}, [])) as shown:
        shown.cohort(0, 1, 2)
        shown.progress(replace(REPORT, runs=2, finished=0, step=50, steps=100, seconds=5000.0))
        shown._show(force=True)
        assert "ETA 1:23:2" in capsys.readouterr().err


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    run_table(Run(), "/somewhere/runs/3f9a1c77d2e4")
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[:3] == [["3f9a1c77d2e4", "train", "test"], ["loss", "0.5000", "-"], ["mse", "2900.2", "3000.5"]]
    assert " ".join(lines[3]) == "done, 1,061 parameters, 1 epoch, 1.50 s"
    assert " ".join(lines[4]) == "zero weights 0.0000 gradient norm [0.5000, 1.250e-07]"
    assert lines[-1] == ["/somewhere/runs/3f9a1c77d2e4"]


def test_table_gives_the_reason(capsys: pytest.CaptureFixture[str]) -> None:
    run_table(Run(status="diverged", reason="the loss is nan", name="mine", diagnostics={}), "x" * 200)
    out = capsys.readouterr().out
    assert out.startswith("mine ")
    assert "diverged, 1,061 parameters, 1 epoch, 1.50 s: the loss is nan" in out
    assert "x" * 200 in out


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0.0000"), (0.45678, "0.4568"), (54.0512, "54.051"), (123.456, "123.46"), (2921.44, "2921.4"), (1.5e-6, "1.500e-06")],
)
def test_figures(value: float, text: str) -> None:
    assert number(value) == text


def test_curves_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with RunProgress("moons", enabled="curves") as shown:
        for epoch in range(1, 6):
            shown.update(replace(REPORT, epoch=epoch, epochs=5, step=22 * epoch, loss=1 / epoch, metric=epoch / 10, seconds=1.0))
    last = terminal.getvalue().rpartition("train/loss by epoch")[2]
    assert "0.2" in last  # the lowest loss is on its axis
    assert "validation/r2 by epoch" in last
    assert "moons: epoch 5/5, loss 0.2000, validation/r2 0.5000" in last


def test_watch_ends_with_the_boundary_of_two_inputs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    smoke = ["trainer=smoke", "logger=watch", f"output_dir={tmp_path}"]
    assert main(["dataset=moons", *smoke]) == 0
    out, err = capsys.readouterr()
    assert "x2 (up) against x1; " in out
    assert "epoch 1/" in err  # a pipe gets lines
    assert main(["dataset=iris", *smoke]) == 0
    assert "against" not in capsys.readouterr().out
