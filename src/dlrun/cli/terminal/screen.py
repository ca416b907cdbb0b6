"""What the verbs share about the terminal: its size, whether it can be redrawn, what may be written to it."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, TextIO

from dlrun.errors import printable

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_WIDTH = 100  # columns of tables that go to a file or a pipe
LEAST, MOST = 20, 10_000  # columns that are believed; below, words cannot be read any more
LINES = 25


def write_line(line: str, stream: TextIO | None = None, *, mark: str = "") -> None:
    """Write one line to ``stream``, stderr when None, behind a ``mark`` of dlrun's own. Nothing happens where nobody reads it."""
    stream = stream or sys.stderr
    if stream is not None:  # there is none in a program without a console
        with suppress(BrokenPipeError, ValueError):  # closed by the reader, or by the program that imports dlrun
            stream.write(f"{mark}{printable(line)}\n")
            stream.flush()


def show_json(content: Any) -> None:
    """Print one JSON document. Numbers that are not finite are null in it."""
    try:
        text = json.dumps(content, indent=1, allow_nan=False)
    except (TypeError, ValueError):
        from dlrun.results.record import plain

        text = json.dumps(plain(content, "", []), indent=1)
    print(text)


def rewrite_line(line: str, before: str) -> None:
    """Write ``line`` on stderr in the place of the line ``before``, in a notebook's cell."""
    with suppress(BrokenPipeError, ValueError):
        sys.stderr.write(f"\r{printable(line).ljust(len(printable(before)))}")
        sys.stderr.flush()


def is_terminal(stream: TextIO | None) -> bool:
    """Whether ``stream`` can be drawn on again and again: a terminal that nobody asked to be plain (CI, NO_COLOR, TERM=dumb)."""
    plain = os.environ.get("TERM") == "dumb" or os.environ.get("CI") or os.environ.get("NO_COLOR")
    return _is_tty(stream) and not plain


def is_notebook(stream: TextIO | None) -> bool:
    """Whether ``stream`` is that of a notebook's cell, where a carriage return begins the line anew."""
    return type(stream).__module__.partition(".")[0] == "ipykernel"


def asked(name: str) -> int | None:
    """The environment variable COLUMNS or LINES, where it holds a number of columns or lines that there can be."""
    try:
        number = int(os.environ.get(name, ""))
    except ValueError:
        return None
    return min(number, MOST) if number > 0 else None


def columns(stream: TextIO | None = None) -> int:
    """Columns of the terminal that ``stream`` (stdout when None) is; PLAIN_WIDTH where it is none. COLUMNS goes before."""
    stream = stream or sys.stdout
    wanted = asked("COLUMNS")
    if wanted is None and _is_tty(stream):
        with suppress(OSError, ValueError):
            wanted = os.get_terminal_size(stream.fileno()).columns
        wanted = wanted or 80  # a terminal that does not know its size says 0
    return PLAIN_WIDTH if wanted is None else max(wanted, LEAST)


def console(stream: TextIO | None = None) -> "Console":
    """A rich console for ``stream`` (stdout when None): colours and the real width on a terminal, plain text elsewhere.

    NO_COLOR takes the colours away and leaves the rest.
    """
    from dlrun.cli.terminal.safe_console import SafeConsole

    stream = stream or sys.stdout
    given = "COLUMNS" in os.environ or "LINES" in os.environ  # rich takes the numbers in them as they are, even 0
    follows = _is_tty(stream) and not given and columns(stream) > LEAST  # a window may be made larger while it is drawn on
    width, height = (None, None) if follows else (columns(stream), asked("LINES") or LINES)
    return SafeConsole(
        file=stream, width=width, height=height, highlight=False, emoji=False, markup=False, soft_wrap=False, force_jupyter=False
    )


@contextmanager
def waiting(words: str) -> Iterator[None]:
    """Show what is being done until something is printed: on a terminal alone, on stderr, gone afterwards."""
    if not is_terminal(sys.stderr):
        yield
        return
    with suppress(OSError):
        sys.stderr.write(f"{words[: columns(sys.stderr) - 1]}\r")  # what is printed meanwhile is written over it
        sys.stderr.flush()
    try:
        yield
    finally:
        with suppress(OSError):
            sys.stderr.write("\033[K")
            sys.stderr.flush()


def _is_tty(stream: TextIO | None) -> bool:
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # it is closed
        return False
