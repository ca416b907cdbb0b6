"""A Sphinx extension: dlrun's docstrings, which are plain text with a few sections, as fields of reStructuredText."""

import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

FIELDS = {"Args": "param", "Attributes": "ivar", "Raises": "raises"}
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Example):")
BLANK = "\N{ZERO WIDTH SPACE}"  # between names of parameters, of which the first would be a type to Sphinx
MADE_BY_DLRUN = ("dlrun.Run", "dlrun.Ensemble")
ALIASES = (
    (re.compile(r"[\w.~]*_Buffer \| .*?\| str\](?=[,)]| \|)"), "ArrayLike"),
    (re.compile(r"[\w.~]*ndarray\[tuple\[[\w.~]*Any, \.\.\.\], [\w.~]*dtype\[[\w.~]*?(\w+)\]\]"), r"NDArray[\1]"),
)
ENTRY = re.compile(r"([\w, ]+): (.*)")


def setup(app: Sphinx) -> dict[str, Any]:
    """Convert each docstring that autodoc reads."""
    app.connect("autodoc-process-docstring", convert)
    app.connect("autodoc-process-signature", shorten)
    app.connect("doctree-read", punctuate)
    return {"parallel_read_safe": True}


def convert(app: Sphinx, what: str, name: str, found: object, options: object, lines: list[str]) -> None:
    """Replace the lines of a docstring, in place, as Sphinx asks for."""
    lines[:] = converted(lines)


def shorten(
    app: Sphinx, what: str, name: str, found: object, options: object, given: str | None, back: str | None
) -> tuple[str, str | None] | None:
    """Leave the arguments of what dlrun alone makes out, and call numpy's types what the source calls them."""
    if given is None or name in MADE_BY_DLRUN:
        return None if given is None else ("", None)
    for pattern, alias in ALIASES:
        given, back = pattern.sub(alias, given), back and pattern.sub(alias, back)
    return given, back


def punctuate(app: Sphinx, page: nodes.document) -> None:
    """Put a dash between a parameter and its meaning, where Sphinx puts two hyphens, and blanks between parameters."""
    for text in [*page.findall(nodes.Text)]:
        if text == " -- ":
            text.parent.replace(text, nodes.Text(" \N{EN DASH} "))
        elif BLANK in text:
            text.parent.replace(text, nodes.Text(text.replace(BLANK, " ")))


def converted(lines: list[str]) -> Iterator[str]:
    """Args, attributes and errors become fields, a name at a time; all other text stays, without any markup but code."""
    section = ""
    for line in lines:
        if begun := SECTION.fullmatch(line):
            section = begun[1]
            yield from ("", ":returns:" if section == "Returns" else "")
        elif section == "Example":
            yield line.partition("# doctest:")[0].strip()
        elif section in FIELDS and (entry := ENTRY.fullmatch(line.removeprefix("    "))) and not line.startswith(" " * 5):
            names = entry[1].split(", ") if section == "Raises" else [entry[1].replace(" ", BLANK)]
            yield from (f":{FIELDS[section]} {plain(name)}: {plain(entry[2])}" for name in names)
        elif line and not line.startswith(" "):
            section = ""
            yield plain(line)
        else:
            yield plain(line)


def plain(text: str) -> str:
    """Text in which nothing but ``code`` means anything to reStructuredText."""
    parts = re.split(r"(``.+?``)", text)
    return "".join(part if place % 2 else re.sub(r"([*|`\\]|_(?!\w))", r"\\\1", part) for place, part in enumerate(parts))
