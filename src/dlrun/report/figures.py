"""Charts as files: SVG, PNG, PDF, drawn by vl-convert without a browser; and the programs that draw them in one."""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

from dlrun.errors import InputError, nearest
from dlrun.report.charts.base import WIDTH, Chart, alt, config
from dlrun.results.files import write_named

SCALE = 1.25  # pixels of a PNG for each of the chart


def drawn(chart: Chart, suffix: str) -> bytes:
    """A chart as the content of a file.

    Args:
        suffix: .svg, .png, .pdf, or .json for its Vega-Lite.

    Raises:
        InputError: there is no such format.
    """
    alt()
    import vl_convert

    formats: dict[str, Callable[[dict[str, Any]], bytes]] = {
        ".svg": lambda spec: vl_convert.vegalite_to_svg(spec).encode(),
        ".png": lambda spec: bytes(vl_convert.vegalite_to_png(spec, scale=SCALE)),
        ".pdf": lambda spec: bytes(vl_convert.vegalite_to_pdf(spec)),
        ".json": lambda spec: json.dumps(spec, indent=1).encode(),
    }
    if suffix not in formats:
        raise InputError(
            f"a chart can be written as {', '.join(formats)}, not {suffix or 'without a suffix'}{nearest(suffix, formats)}"
        )
    return formats[suffix](standing(chart))


def standing(chart: Chart) -> dict[str, Any]:
    """The specification of a chart that stands alone: with its title, a width and the light style."""
    spec = deepcopy(dict(chart.spec))
    if spec.get("width") == "container":
        spec["width"] = WIDTH
    if "title" not in spec:
        spec["title"] = chart.title
    return spec | {"config": config(dark=False)}


def save(charts: Mapping[str, Chart], folder: Path, suffixes: tuple[str, ...] = (".svg", ".png", ".pdf")) -> list[Path]:
    """Write charts into a folder, each in several formats. Returns the files.

    Args:
        charts: by the names of their files.

    Raises:
        StoreError: they cannot be written.
    """
    return [
        write_named(folder / f"{name}{suffix}", drawn(chart, suffix)) for name, chart in charts.items() for suffix in suffixes
    ]


@cache
def programs() -> str:
    """Vega, Vega-Lite and Vega-Embed as one JavaScript text, which asks the network for nothing."""
    alt()
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
