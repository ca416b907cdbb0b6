"""``dlrun report``: one HTML file of sweeps or of a run."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dlrun.cli.arguments import split_imports
from dlrun.cli.compare import compared
from dlrun.cli.stored import JSON, split
from dlrun.cli.terminal.screen import show_json
from dlrun.errors import InputError, plural, printable
from dlrun.results.files import write_named

if TYPE_CHECKING:
    from dlrun.report.charts.base import Chart
    from dlrun.report.charts.boundary import Boundary
    from dlrun.report.evidence import Evidence
    from dlrun.report.html.page import Part

USAGE = """\
usage: dlrun report [SWEEP ... | WHERE ... | RUN] [-o FILE] [--figures DIR] [--metric M] [--reference R] [--import MODULE]
                    [--json] [output_dir=PATH]

Writes one HTML file, which needs no network: question and answer, the ranked table, charts, methods, commands, versions. It is
of sweeps (the latest when none is named; several are put together), of runs with settings, such as dataset=moons, or of one
run, which is an id or its beginning. Nothing is trained.

  -o FILE         the file; report.html when left out
  --figures DIR   the charts as SVG, PNG and PDF files, too
  --metric M      rmse, validation/accuracy, seconds: any metric, on any split
  --reference R   what every group is compared with: best (of yours), or what names one group, such as relu
  --import MODULE your module, which the decision boundary of a model of your own needs

It needs the extra: pip install 'dlrun[report]'

Examples:
  dlrun report
  dlrun report monday tuesday -o week.html
  dlrun report 8bc176b3
  dlrun report --figures figures
"""


def run(words: Sequence[str]) -> int:
    """Write a report. Returns the exit code."""
    store, rest, flags = split(
        own_code(words), "report", valued=("-o", "--output", "--figures", "--metric", "--reference"), switches=(JSON,)
    )
    target = Path(flags.get("-o") or flags.get("--output") or "report.html")
    if target.suffix not in (".html", ".htm"):
        raise InputError(f"-o {target}: a report is one HTML file; type -o {target.with_suffix('.html')}")
    from dlrun.report.charts.base import alt
    from dlrun.report.figures import programs, save

    alt()
    stored, sections = compared(store, rest, flags)
    from dlrun.report.build import about, over_datasets, parts
    from dlrun.report.html.page import render

    found, over = parts(sections, stored, boundaries), over_datasets(sections)
    title = ", ".join(sweep.name or sweep.folder.name for sweep in stored.sweeps) or ", ".join(rest) or "runs"
    page = render(f"dlrun report: {title}", found, over, about(stored), programs())
    charts = _named(found) | ({over.chart.name: over.chart} if over else {})
    files = [write_named(target, page.encode(errors="backslashreplace"))]
    if "--figures" in flags:
        files += save(charts, Path(flags["--figures"]))
    if JSON in flags:
        show_json({"files": [str(path) for path in files], "charts": [*charts]})
        return 0
    print(printable(f"{target}: {plural(len(charts), 'chart')}, {len(page) / 1e6:.1f} MB"))
    if len(files) > 1:
        print(printable(f"{flags['--figures']}: {plural(len(files) - 1, 'file')}"))
    return 0


def boundaries(evidence: "Evidence", runs: Mapping[str, str]) -> "list[Boundary]":
    """What runs predict over their two inputs. It takes torch, which nothing else here does."""
    from dlrun.experiments.boundary import boundaries as predicted

    def refused(reason: str) -> None:
        print(printable(f"warning: no decision boundary: {reason}"), file=sys.stderr)

    return predicted(evidence, runs, refused)


def own_code(words: Sequence[str]) -> list[str]:
    """Import the modules that the user named, and return the other words."""
    imports, others = split_imports(words)
    if imports:
        from dlrun import own_modules

        for module in imports:
            own_modules.trust(module)
    return others


def _named(parts: "Sequence[Part]") -> "dict[str, Chart]":
    """Charts by the names of their files: ``curves``, ``2-curves`` of the second comparison, ``sensitivity-2``."""
    found: dict[str, Chart] = {}
    for number, part in enumerate(parts, 1):
        for chart in part.charts:
            name = first = chart.name if len(parts) == 1 else f"{number}-{chart.name}"
            count = 1
            while name in found:
                count += 1
                name = f"{first}-{count}"
            found[name] = chart
    return found
