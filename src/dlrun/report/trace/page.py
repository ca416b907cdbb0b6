"""A trace as one HTML file that asks the network for nothing and runs no script."""

from collections.abc import Sequence
from pathlib import Path

from dlrun import __version__
from dlrun.errors import InputError
from dlrun.report.tables import clean
from dlrun.report.trace.blocks import blocks
from dlrun.report.trace.graph import graph
from dlrun.report.trace.steps import Trace

_HERE = Path(__file__).parent


def as_page(trace: Trace, row: int, command: Sequence[str]) -> str:
    """The whole page. Names may come from a file that somebody sent: Jinja escapes every value.

    Raises:
        InputError: Jinja is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise InputError(
            f"--format html: needs {error.name or 'jinja2'}, which is not installed; run: pip install 'dlrun[report]'"
        ) from error
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["clean"] = clean
    style = _HERE.parent / "html" / "page.css"
    return environment.get_template("trace.html").render(
        title=clean(trace.title),
        version=__version__,
        style=Markup(style.read_text(encoding="utf-8")),
        blocks=blocks(trace, row),
        graphs=[graph(step, row) for step in trace.steps[:1]],
        command=clean(" ".join(command)),
    )
