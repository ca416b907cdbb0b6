"""What is written to a terminal, a pipe and a notebook: its width, and that no text steers it."""

import io
import sys
from collections.abc import Callable

import pytest
from rich.table import Table
from rich.text import Text

from dlrun.cli.help import overview
from dlrun.cli.main import VERBS
from dlrun.cli.terminal.progress import RunProgress
from dlrun.cli.terminal.run_table import run_table
from dlrun.cli.terminal.screen import LEAST, MOST, PLAIN_WIDTH, columns, console, is_notebook, is_terminal, waiting, write_line
from dlrun.engine.progress import Progress
from dlrun.results.record import RunRecord

Call = Callable[..., tuple[int, str, str]]
STEERING = "a\033[2J\033]0;title\007b\r\x9b31mc\u202ed"
SPELLED = "a\\x1b[2J\\x1b]0;title\\x07b\\r\\x9b31mc\\u202ed"


class Screen(io.StringIO):
    """A terminal of 80 columns that cannot be asked for its size."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("variable", ["COLUMNS", "LINES"])
@pytest.mark.parametrize("value", ["0", "-5", "abc", "", "²", "1e3", "60", "1000000", "9" * 30])
def test_columns_and_lines_that_are_none_print_the_whole_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    with monkeypatch.context() as here:  # pytest reads it too
        here.setenv(variable, value)
        run_table(RunRecord("abcdef123456", "done", metrics={"train/r2": 0.5, "test/r2": 0.25}), "/runs/abcdef123456")
        assert "optimizer" in overview(VERBS)
    out = capsys.readouterr().out
    assert all(word in out for word in ("abcdef123456", "0.5000", "0.2500", "done", "/runs/abcdef123456"))
    assert len(out) < 2000


def test_the_width_is_asked_for_or_the_terminals_or_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert columns(io.StringIO()) == PLAIN_WIDTH
    assert columns(Screen()) == 80
    for value, width in (("0", PLAIN_WIDTH), ("1", LEAST), ("60", 60), ("1000000", MOST)):
        monkeypatch.setenv("COLUMNS", value)
        assert columns(io.StringIO()) == console(io.StringIO()).width == width


def test_streams_that_are_missing_or_closed_are_no_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", None)
    for stream in (None, closed):
        assert not is_terminal(stream)
        write_line("nobody reads this", stream)
    with waiting("for nobody"):
        pass


def test_no_text_steers_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    screen = Screen()
    out = console(screen)
    table = Table(title=STEERING)
    table.add_column(STEERING)
    table.add_row(Text(f"[red]{STEERING}"))
    out.print(STEERING, f"[bold]{STEERING}[/bold]")
    out.print(table)
    out.print(Text("bold", style="bold"))
    write_line(STEERING, screen)
    shown = screen.getvalue()
    assert "\033[1mbold\033[0m" in shown  # rich's own codes are left
    assert "[red]" in shown
    assert "[bold]" in shown
    assert SPELLED in shown
    assert not any(code in shown for code in ("\033[2J", "\033]0", "\007", "\r", "\x9b", "\u202e"))


def test_a_reason_cannot_make_lines_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    run_table(RunRecord("abcdef123456", "failed", reason="no\nerror: forged", name="\033[31m"), "/runs/\nx")
    out = capsys.readouterr().out
    assert "no\\nerror: forged" in out
    assert "/runs/\\nx" in out
    assert "\033" not in out


def test_a_notebooks_stream_is_known() -> None:
    stream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    assert is_notebook(stream)
    assert not is_notebook(sys.stderr)
    assert not is_notebook(None)


def test_a_notebook_rewrites_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    monkeypatch.setattr(sys, "stderr", cell)
    with RunProgress("xor") as shown:
        for step in range(1, 101):
            shown.update(Progress(1, 0, 0, step, 100, step, 100, 1.0, 0.5, "validation/r2", 0.5))
    assert cell.getvalue().count("\n") == 1
    assert cell.getvalue().count("\r") > 3
    assert cell.getvalue().rpartition("\r")[2].startswith("xor: epoch 100/100")


def test_a_terminal_shows_what_it_waits_for_and_takes_it_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with waiting("loading torch"):
        assert screen.getvalue() == "loading torch\r"
    assert screen.getvalue() == "loading torch\r\033[K"
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with waiting("loading torch"):
        assert sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


def test_completion_says_how_to_install_it(call: Call) -> None:
    assert call("-sc")[::2] == (
        2,
        "error: --shell-completion: takes install=bash, install=zsh or install=fish; for bash, "
        'type eval "$(dlrun -sc install=bash)"\n',
    )
    assert 'eval "$(dlrun -sc install=bash)"' in call("--help")[1]
