"""Ctrl-C and SIGTERM while training: the first asks the loop to stop, the second does not ask."""

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Self


class Interruption:
    """A context in which SIGINT and SIGTERM set a flag. Calling it tells whether one has arrived; a second one raises."""

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[int, Any] = {}

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.signal != 0

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM, 0 when none came."""
        return 128 + self.signal if self.signal else 0

    def __enter__(self) -> Self:
        """Take the signals over, where that is possible (the main thread)."""
        try:
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._arrived)
        except ValueError:  # not the main thread: whoever owns it owns the signals
            pass
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if not self.signal:
            self.signal = number
            return
        before: Callable[[int, FrameType | None], object] | int | None = self._before.get(number)
        if callable(before):  # raises what the command makes an exit code of
            before(number, frame)
        raise KeyboardInterrupt
