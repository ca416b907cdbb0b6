"""What the verbs share about the terminal: the console they print on, and whether it is one."""

import os
import sys
from typing import TextIO

from rich.console import Console

PLAIN_WIDTH = 100  # columns of tables that go to a file or a pipe


def is_terminal(stream: TextIO) -> bool:
    """Whether ``stream`` can be drawn on again and again: a terminal that nobody asked to be plain (CI, NO_COLOR, TERM=dumb)."""
    return stream.isatty() and os.environ.get("TERM") != "dumb" and not (os.environ.get("CI") or os.environ.get("NO_COLOR"))


def console(stream: TextIO | None = None) -> Console:
    """A rich console for ``stream`` (stdout when None): colours and the real width on a terminal, plain text elsewhere.

    NO_COLOR takes the colours away and leaves the rest.
    """
    stream = stream or sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else PLAIN_WIDTH
    return Console(file=stream, width=width, highlight=False, emoji=False, markup=False, soft_wrap=False)
