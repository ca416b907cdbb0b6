"""The site that ``make docs`` builds: without a warning, each page within reach, and nothing loaded from elsewhere."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from dlrun import registry

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs" / "_build" / "html"
MADE = {"genindex.html", "py-modindex.html", "search.html"}  # by Sphinx, beside the pages
Pages = dict[str, Any]


@pytest.mark.slow
def test_site() -> None:
    """One test, since several processes would build in one folder. What ``make docs`` has built is not built again."""
    pytest.importorskip("furo")
    pytest.importorskip("myst_nb")
    from bs4 import BeautifulSoup

    words = ["-W", "--keep-going", "-q", "-b", "html", "docs", str(SITE)]
    done = subprocess.run([sys.executable, "-m", "sphinx", *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = {str(file.relative_to(SITE)): file.read_text(encoding="utf-8") for file in SITE.rglob("*.html")}
    pages = {name: BeautifulSoup(text, "html.parser") for name, text in found.items()}
    every_page_is_within_reach(pages)
    no_link_leads_to_nothing(pages)
    nothing_is_loaded_from_elsewhere(pages)
    the_catalogue_has_every_option(pages)
    assert len(pages["activations.html"].select(".cell_output img[src$=svg]")) == 2, "the charts of the notebook"


def targets(name: str, page: Any) -> Iterator[tuple[str, str]]:
    """The files that a page links to, each with the place in it."""
    for link in page.find_all("a", href=True):
        parts = urlsplit(link["href"])
        if not parts.scheme and not parts.netloc:
            file = (SITE / name).parent.joinpath(unquote(parts.path)) if parts.path else SITE / name
            yield str(file.resolve().relative_to(SITE)), unquote(parts.fragment)


def every_page_is_within_reach(pages: Pages) -> None:
    reached: set[str] = set()
    left = ["index.html"]
    while left:
        name = left.pop()
        if name in pages and name not in reached:
            reached.add(name)
            left += [target for target, _ in targets(name, pages[name])]
    assert pages.keys() - reached <= MADE
    assert len(reached) > 70


def no_link_leads_to_nothing(pages: Pages) -> None:
    places = {name: {tag["id"] for tag in page.find_all(id=True)} | {""} for name, page in pages.items()}
    lost = [
        (name, target, place)
        for name, page in pages.items()
        for target, place in targets(name, page)
        if not (SITE / target).exists() or place not in places.get(target, {""})
    ]
    assert lost == []


def nothing_is_loaded_from_elsewhere(pages: Pages) -> None:
    for name, page in pages.items():
        loaded = [tag["src"] for tag in page.find_all(src=True)] + [tag["href"] for tag in page.find_all("link", href=True)]
        assert [address for address in loaded if urlsplit(address).netloc] == [], name
    for file in [*SITE.rglob("*.css"), *SITE.rglob("*.svg")]:
        text = file.read_text(encoding="utf-8")
        assert re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//[^)\s]*", text) == [], file


def the_catalogue_has_every_option(pages: Pages) -> None:
    for group in registry.groups():
        headings = {heading.get_text().removesuffix("¶") for heading in pages[f"catalogue/{group}.html"].find_all("h2")}
        assert headings == {*registry.options(group)}
