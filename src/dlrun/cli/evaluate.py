"""``dlrun evaluate``: the metrics of runs on a file of rows whose targets are known."""

from collections.abc import Mapping, Sequence

from dlrun.cli.arguments import JSON
from dlrun.cli.predict import ensemble_and_file, tell
from dlrun.cli.report import own_code
from dlrun.cli.stored import split
from dlrun.cli.terminal.screen import console, show_json, waiting

USAGE = """\
usage: dlrun evaluate RUN ... FILE [--json] [--device D] [--import MODULE] [output_dir=PATH]
       dlrun evaluate SWEEP [WHERE ...] FILE ...

Measures runs on the rows of FILE, which has the columns that they were trained with and the target, as dlrun predict takes
them. Rows without a target are left out; the class of an image is its folder in FILE. Prints the metrics of the task beside
those of the run's own test rows; of several runs the mean and the standard deviation over the runs, and the metrics of the
mean of their predictions (the ensemble).

  --json   {"file", "rows", "runs": [{"id", "metrics": {"rmse": 1.2}}], "ensemble": {...}}

Examples:
  dlrun evaluate 8bc176b3 labelled.csv
  dlrun evaluate latest activation=relu labelled.csv --json
"""


def run(words: Sequence[str]) -> int:
    """Measure, and print. Returns the exit code."""
    store, rest, flags = split(own_code(words), "evaluate", valued=("--device",), switches=(JSON,))
    runs, file, notes = ensemble_and_file(store, rest, "evaluate", flags.get("--device", "cpu"))
    with waiting("measuring"):
        from dlrun.trained.of_file import FileRows

        rows = FileRows(runs, file, labelled=True)
        found, together, count = rows.measured()
    tell([*notes, *rows.notes])
    tests = [run.metrics for run in runs.runs]
    if JSON in flags:
        several = [{"id": each.id, "metrics": dict(metrics)} for each, metrics in zip(runs.runs, found, strict=True)]
        content = {"file": rows.file.name, "rows": count, "runs": several}
        show_json(content | ({"ensemble": dict(together)} if len(found) > 1 else {}))
        return 0
    _table(f"{rows.file.name}: {count:,} rows", found, together, tests)
    return 0


def _table(
    title: str, found: Sequence[Mapping[str, float]], together: Mapping[str, float], tests: Sequence[Mapping[str, float]]
) -> None:
    import numpy as np
    from rich.table import Table

    from dlrun.cli.terminal.run_table import number
    from dlrun.errors import printable

    def mean(several: Sequence[Mapping[str, float]], name: str) -> float | None:
        values = [metrics[name] for metrics in several if name in metrics]
        return float(np.mean(values)) if values else None

    one = len(found) == 1
    table = Table(box=None, padding=(0, 0, 0, 3), pad_edge=False, header_style="bold")
    for place, heading in enumerate((printable(title), *(["value"] if one else ["mean", "sd", "ensemble"]), "own test rows")):
        table.add_column(heading, justify="right" if place else "left")
    for name in found[0]:
        cells = [mean(found, name)]
        if not one:
            cells += [float(np.std([metrics[name] for metrics in found], ddof=1)), together.get(name)]
        table.add_row(name, *map(number, (*cells, mean(tests, f"test/{name}"))))
    console().print(table)
