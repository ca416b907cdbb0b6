"""The table that a run ends with."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from dlrun.cli.terminal.screen import console
from dlrun.comparison.symptoms import symptoms
from dlrun.errors import printable

SPLITS = ("train", "validation", "test")


class Record(Protocol):
    """What the table needs to know of a run."""

    @property
    def id(self) -> str: ...  # noqa: D102
    @property
    def name(self) -> str | None: ...  # noqa: D102
    @property
    def status(self) -> str: ...  # noqa: D102
    @property
    def reason(self) -> str | None: ...  # noqa: D102
    @property
    def metrics(self) -> Mapping[str, float | None]: ...  # noqa: D102
    @property
    def diagnostics(self) -> Mapping[str, float | Sequence[float] | None]: ...  # noqa: D102
    @property
    def data(self) -> Mapping[str, Any]: ...  # noqa: D102
    @property
    def parameters(self) -> int: ...  # noqa: D102
    @property
    def epochs(self) -> int: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102


def run_table(record: Record, folder: Path | str) -> None:
    """Print the metrics of a run, one line each, on training, validation and test rows; then its diagnostics and its folder.

    Args:
        record: the run. Metrics are in the units of the data.
        folder: where the run is kept; printed whole, so that it can be copied.
    """
    from rich.columns import Columns
    from rich.table import Table
    from rich.text import Text

    output = console(sys.stdout)
    names = list(dict.fromkeys(key.partition("/")[2] for key in record.metrics))
    splits = [split for split in SPLITS if any(key.startswith(f"{split}/") for key in record.metrics)]
    table = Table(box=None, padding=(0, 0, 0, 3), pad_edge=False, header_style="bold")
    table.add_column(Text(printable(record.name or record.id)), style="cyan")
    for split in splits:
        table.add_column(split, justify="right", style="bold" if split == "test" else "")
    for name in names:
        table.add_row(name, *(number(record.metrics.get(f"{split}/{name}")) for split in splits))
    output.print(table)
    epochs = f"{record.epochs} epoch{'s' * (record.epochs != 1)}"
    facts = f"{record.status}, {record.parameters:,} parameters, {epochs}, {record.seconds:.2f} s"
    output.print(
        Text(printable(facts + (f": {record.reason}" if record.reason else ""))),
        style="" if record.status in ("done", "stopped") else "yellow",
    )
    for symptom in symptoms(record):
        output.print(Text(printable(symptom.text), style="yellow"))
    if record.diagnostics:
        said = [Text(f"{name.replace('_', ' ')} {number(value)}", "dim") for name, value in record.diagnostics.items()]
        output.print(Columns(said, padding=(0, 3)))
    output.print(Text(printable(str(folder))), style="bold", soft_wrap=True)


def number(value: float | Sequence[float] | None) -> str:
    """A figure with four significant digits; a list of them in brackets; a dash where there is none."""
    if value is None:
        return "-"
    if isinstance(value, int | float):
        if value and not 1e-4 <= abs(value) < 1e6:
            return f"{value:.3e}"
        digits = 4 if abs(value) < 10 else 3 if abs(value) < 100 else 2 if abs(value) < 1000 else 1
        return f"{value:.{digits}f}"
    return f"[{', '.join(number(item) for item in value)}]"
