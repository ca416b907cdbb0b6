"""A console on which no text can steer the terminal."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.segment import Segment

from dlrun.errors import printable


class SafeConsole(Console):
    """rich's console, but that control characters in texts are spelled out; its own control codes stay what they are."""

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of ``renderable``."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else "\n".join(map(printable, text.split("\n"))), style, control)
