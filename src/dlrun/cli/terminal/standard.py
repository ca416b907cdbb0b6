"""The standard streams of the process, whatever they were connected to when it was started.

A reader that leaves (``dlrun ... | head -1``) is no error: what is written afterwards is discarded, and the runs go on. A stream
that was closed (``>&-``) writes to nowhere. A device that takes nothing more is reported once, at the end.
"""

import errno
import io
import os
import select
import sys
from typing import Any, TextIO


class Output(io.FileIO):
    """A file descriptor that may stop taking what is written to it.

    Attributes:
        failure: the first error of a write; None while there was none. A reader that left is no failure.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.failure: OSError | None = None
        # A terminal that was closed answers EIO, as a broken disk does
        self._left = (errno.EPIPE, errno.EIO) if os.isatty(descriptor) else (errno.EPIPE,)

    def write(self, data: Any) -> int:
        """Write ``data``, or discard it where nobody takes it."""
        try:
            while (count := super().write(data)) is None:  # another process made the descriptor non-blocking, and it is full
                select.select([], [self], [])
            return count
        except OSError as error:
            if error.errno not in self._left:
                self.failure = self.failure or error
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), self.fileno())  # for what libraries and child processes write, too
        return memoryview(data).nbytes


def prepare() -> Output | None:
    """Make stdin, stdout and stderr usable. Returns the descriptor of stdout, None where stdout is none."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # closed: the next file that anybody opens would get its number, and what is printed would go into it
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115 (it lasts as long as the process)
    sys.stdout, output = _around(sys.stdout, 1)
    sys.stderr, _ = _around(sys.stderr, 2)
    return output


def _around(stream: TextIO | None, descriptor: int) -> tuple[TextIO, Output | None]:
    """``stream`` with an Output below it; as it is where it does not write to ``descriptor``."""
    try:
        if stream is not None:
            stream.flush()
            if stream.fileno() != descriptor:
                return stream, None
    except (OSError, ValueError):  # an object without a descriptor, or one that is closed
        return sys.stderr if stream is None else stream, None
    output = Output(descriptor)
    wrapped = io.TextIOWrapper(
        io.BufferedWriter(output),
        encoding=getattr(stream, "encoding", None),
        errors="backslashreplace",  # names from a file need not fit the terminal's encoding
        line_buffering=descriptor == 2 or output.isatty(),
        write_through=getattr(stream, "write_through", False),
    )
    return wrapped, output
