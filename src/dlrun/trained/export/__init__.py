"""Runs in the formats of others. ``write(run, folder)`` of a format's file gives the paths, and lines of Python to print."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from dlrun.trained.run import Run

FORMATS = {"torch": "sequential", "onnx": "onnx_graph", "torch-export": "program"}
"""The name of a format and the file of this package."""


def export(run: Run, form: str, folder: Path) -> tuple[list[Path], str]:
    """Write a run in a format of FORMATS; the paths, and lines of Python that use them.

    Raises:
        InputError: the run cannot be written so; with the reason.
        RunError: what would be written does not compute what the run does.
    """
    write: Callable[[Run, Path], tuple[list[Path], str]] = import_module(f"dlrun.trained.export.{FORMATS[form]}").write
    return write(run, folder)
