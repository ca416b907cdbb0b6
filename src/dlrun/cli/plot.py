"""``dlrun plot``: one chart of a run or a sweep, to a file or in the terminal."""

from collections.abc import Sequence
from pathlib import Path

from dlrun.cli.compare import compared
from dlrun.cli.report import boundaries, own_code
from dlrun.cli.stored import JSON, split
from dlrun.cli.terminal.screen import show_json
from dlrun.errors import InputError, nearest, printable
from dlrun.results.files import write_named

KINDS = {
    "curves": "learning curves of training and validation",
    "boundary": "what is predicted over two inputs",
    "confusion": "true and predicted classes",
    "reliability": "predicted probabilities, and how often they came true",
    "roc": "true against false positive rates",
    "predicted": "predicted against true values",
    "residuals": "true minus predicted values",
    "masks": "images with the class of each pixel, true and predicted",
    "gradients": "gradient norms by layer",
    "results": "the metric of each group",
    "differences": "paired differences to the reference",
    "sensitivity": "the metric against a setting that is a number",
    "means": "the metric by each of several settings",
    "heatmap": "the metric by two settings",
    "budget": "the best on validation rows after each trial of dlrun tune",
    "ranks": "average ranks over three datasets or more, and the critical difference",
}

USAGE = f"""\
usage: dlrun plot [RUN | SWEEP ... | WHERE ...] KIND [-o FILE] [--metric M] [--reference R] [--import MODULE]
                  [--json] [output_dir=PATH]

Draws one chart: in the terminal, or to FILE (.svg, .png, .pdf, or .json for its Vega-Lite); --json prints the Vega-Lite where
no file is named. All but the terminal needs the extra:
pip install 'dlrun[report]'. Charts of predictions are of the first group of a sweep. --import names your module, which the
boundary of a model of your own needs. KIND is one of

{chr(10).join(f"  {name:<13}{what}" for name, what in KINDS.items())}

Examples:
  dlrun plot 8bc176b3 curves
  dlrun plot 8bc176b3 boundary -o boundary.svg
  dlrun plot confusion
  dlrun plot monday sensitivity -o lr.png
"""


def run(words: Sequence[str]) -> int:
    """Draw a chart. Returns the exit code."""
    store, rest, flags = split(own_code(words), "plot", valued=("-o", "--output", "--metric", "--reference"), switches=(JSON,))
    kinds = [word for word in rest if word in KINDS]
    if len(kinds) != 1:
        unknown = next((word for word in reversed(rest) if "=" not in word), "")
        said = f"{' '.join(kinds)}: takes one kind of chart" if kinds else f"{unknown or 'plot'}: takes the kind of a chart"
        raise InputError(f"{said}: one of {', '.join(KINDS)}{nearest(unknown, KINDS) if unknown and not kinds else ''}")
    kind = kinds[0]
    target = flags.get("-o") or flags.get("--output")
    stored, sections = compared(store, [word for word in rest if word != kind], flags)
    if target is None and JSON not in flags:
        from dlrun.cli.terminal.charts import show
        from dlrun.report.evidence import Evidence

        show(kind, sections, Evidence(stored.store, stored.records))
        return 0
    from dlrun.report.build import charts_of
    from dlrun.report.figures import drawn, standing

    charts = charts_of(kind, sections, stored, boundaries)
    if not charts:
        raise InputError(f"{kind}: {nothing(kind)}")
    if target is None:
        show_json({"charts": [standing(chart) for chart in charts]})
        return 0
    path, files = Path(target), []
    for number, chart in enumerate(charts, 1):
        file = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        files.append(str(write_named(file, drawn(chart, path.suffix))))
    if JSON in flags:
        show_json({"files": files})
    else:
        print(printable("\n".join(files)))
    return 0


def nothing(kind: str) -> str:
    """Why there may be no chart of a kind."""
    of_settings = {
        "sensitivity": "no setting of these runs is a number with three values or more",
        "heatmap": "these runs do not differ in two settings",
        "means": "these runs are not every combination of several settings, with the same seeds",
        "differences": "there is one group of runs",
        "results": "there is one group of runs",
        "boundary": "the models of these runs do not have two inputs, have no weights, or need --import",
        "curves": "these runs have no history",
        "gradients": "these models have one layer, or were not measured",
        "budget": "no dlrun tune chose these runs, or none of its trials has a value",
        "ranks": "there are no three datasets on which the same groups were measured",
    }
    return of_settings.get(kind, "these runs have no predictions of that kind (see predictions=false), or are of another task")
