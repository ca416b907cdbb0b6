"""What ends training early: the first Ctrl-C or SIGTERM asks the loop to stop, a second one does not ask; and time."""

import math
import signal
from collections.abc import Callable
from time import monotonic
from types import FrameType
from typing import Any, Self

TIME_OVER = 1  # the exit code when the time was over


class Interruption:
    """Whether to stop. Within its context SIGINT and SIGTERM set a flag; a second one raises.

    Args:
        timeout_s: seconds from the first time that the context is entered until the time is over; None for no limit.
    """

    def __init__(self, timeout_s: float | None = None) -> None:
        self.signal, self.late = 0, False
        self._timeout, self._end = math.inf if timeout_s is None else timeout_s, math.inf
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Whether to stop."""
        if not self.late and monotonic() >= self._end:
            self.late = True
        return self.late or self.signal != 0

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM, 1 when the time was over, else 0."""
        return 128 + self.signal if self.signal else TIME_OVER * self.late

    @property
    def reason(self) -> str:
        """In words, where the time was over and no signal came; else empty."""
        return f"timeout_s={self._timeout:g}: the time is over" if self.late and not self.signal else ""

    def __enter__(self) -> Self:
        """Take the signals over, where that is possible (the main thread)."""
        self._end = min(self._end, monotonic() + self._timeout)
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._arrived)
        except ValueError:  # not the main thread: whoever owns it owns the signals
            pass
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        while self._before:
            signal.signal(*self._before.popitem())

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if not self.signal:
            self.signal = number
            return
        before: Callable[[int, FrameType | None], object] | int | None = self._before.get(number)
        if callable(before):  # raises what the command makes an exit code of
            before(number, frame)
        raise KeyboardInterrupt
