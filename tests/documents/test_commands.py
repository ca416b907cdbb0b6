"""Every command that README.md and the pages of docs/ show works, and prints what the page says it prints.

Commands run in the order of their page, in a folder with the files that they name. A block that shows no output trains for three
steps with two seeds; one that does, as it stands. docs/own-code.md and docs/claims.md have tests of their own.
"""

import json
import re
import shlex
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from dlrun.cli.main import VERBS

Call = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).parents[2]
ELSEWHERE = ("own-code.md", "claims.md")
HEAVY = ("report.md",)  # charts in three formats each
PAGES = [ROOT / "README.md", *(page for page in sorted((ROOT / "docs").glob("*.md")) if page.name not in ELSEWHERE)]
RUN = re.compile(r"\b[0-9a-f]{8}(?:[0-9a-f]{4})?\b")  # the id of a run, which is another one here
# a command goes on in further lines within quotes and behind a backslash
TYPED = re.compile(r"""(?P<command>(?:[^\n"'\\]|\\.|"[^"]*"|'[^']*')*)\n?(?P<output>.*)""", re.DOTALL)
CODES = {"settle": (0, 4), "gate": (0, 3)}  # three steps are not enough to be sure of anything
FEWER = (
    (re.compile(r"seed=range\(0,\d+\)"), "seed=0,1"),
    (re.compile(r"budget=\d+"), "budget=4"),
    (re.compile(r"batch=\d+"), "batch=4"),
    (re.compile(r"trainer.epochs=\d+"), "trainer.epochs=2"),
)
ADDED = {  # to the words of a verb that trains
    "train": ("trainer.max_steps=3",),
    "tune": ("trainer.epochs=9", "batch=4", "fresh=2"),
    "settle": ("trainer.max_steps=3", "--max-seeds 30"),
    "claims": ("trainer.max_steps=3", "--seeds 5"),
}
TABLE = "dataset=csv dataset.path=my.csv dataset.target=price"
BEFORE = {  # what is typed before a command that asks for it
    "predict latest": [f"-m {TABLE} activation=relu,tanh seed=0,1"],
    "predict": [f"{TABLE} seed=0", f"{TABLE} seed=1"],
    "evaluate latest": [f"-m {TABLE} activation=relu,tanh seed=0,1"],
    "evaluate": [f"{TABLE} seed=0"],
    "export": [f"{TABLE} seed=0"],
    "plot 8bc176b3": ["dataset=moons"],
}


@dataclass(frozen=True)
class Shown:
    """A command, and the lines of output below it."""

    words: list[str]
    output: list[str]
    whole: bool  # whether its block shows output, so that it has to be the one that is shown


def shown(page: Path) -> list[Shown]:
    """The commands of a page in their order."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        parts = [TYPED.match(part) for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
        outputs = [part["output"].splitlines() for part in parts if part]
        words = [shlex.split(part["command"].replace("\\\n", ""), comments=True) for part in parts if part]
        found += [Shown(*pair, whole=any(outputs)) for pair in zip(words, outputs, strict=True)]
    return found


@pytest.fixture
def here(folder: Path) -> Path:
    """The files that pages name: a table, texts, ratings, images, an experiment."""
    import numpy as np
    import pandas as pd
    from PIL import Image
    from sklearn.datasets import load_digits, load_iris

    draw = np.random.default_rng(0)
    rows = np.arange(1000)
    table = pd.DataFrame(draw.normal(size=(1000, 5)).round(3), columns=["area", "rooms", "floor", "age", "distance"])
    table.iloc[:12, 3] = np.nan
    table["color"], table["size"] = np.array(["red", "green", "blue"])[rows % 3], np.array(["S", "M", "L", "XL"])[rows % 4]
    table["sold"] = pd.date_range("2020-01-01", periods=1000).astype(str)
    table["price"] = 100.5 + rows % 812
    table.to_csv("my.csv", index=False)
    for name in ("new.csv", "labelled.csv"):
        table.head(50).rename_axis("id").to_csv(name)
    table.head(50).to_parquet("new.parquet")
    np.save("new.npy", load_digits().images[:20, None])
    load_iris(as_frame=True).frame.rename(columns={"target": "species"}).to_csv("flowers.csv", index=False)
    who, what, stars = draw.integers(0, 20, 300), draw.integers(0, 15, 300), draw.integers(1, 6, 300)
    pd.DataFrame({"who": who, "what": what, "stars": stars}).to_csv("stars.csv", index=False)
    words = [f'"{draw.choice(["good", "bad"])} film number {row}",{"yes" if row % 2 else "no"}' for row in range(60)]
    (folder / "reviews.csv").write_text("\n".join(["review,verdict", *words]), encoding="utf-8")
    for kind in ("cat", "dog"):
        (folder / "photos" / kind).mkdir(parents=True)
        for number in range(30):
            Image.fromarray(draw.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / "photos" / kind / f"{number}.png")
    labels = [f"{kind}/{number}.png,{kind}" for kind in ("cat", "dog") for number in range(30)]
    (folder / "labels.csv").write_text("\n".join(["file,class", *labels]), encoding="utf-8")
    for name in ("baseline", "a", "b", "c"):
        (folder / "ideas" / "experiment").mkdir(parents=True, exist_ok=True)
        (folder / "ideas" / "experiment" / f"{name}.yaml").write_text("# @package _global_\n# An idea.\nseed: 0\n")
    (folder / "conf" / "experiment").mkdir(parents=True)
    (folder / "conf" / "experiment" / "mine.yaml").write_text("# @package _global_\n# Mine.\nseed: 0\n")
    (folder / "docs" / "pictures").mkdir(parents=True)
    return folder


def test_pages_have_commands() -> None:
    assert sum(len(shown(page)) for page in PAGES) > 100


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_stand_where_they_are_tested(page: Path) -> None:
    """In blocks of ``console``, and verbs that text mentions exist."""
    text = page.read_text(encoding="utf-8")
    others = re.sub(r"^```console\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"^(?:    |\$ )(?:dlrun|pip|make) [\w-].*|^```(?:bash|sh|shell)", others, re.MULTILINE) == []
    assert set(re.findall(r"`dlrun ([a-z]+)[ `]", others)) <= {*VERBS, "groups"}, "docs/contributing.md adds the verb groups"
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets()


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, id=page.stem, marks=[pytest.mark.slow] if page.name in HEAVY else []) for page in PAGES if shown(page)],
)
def test_commands(page: Path, here: Path, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dlrun.experiments.executors.find_spec", lambda library: library)
    for command in shown(page):
        program, *words = command.words
        if program != "dlrun":
            OTHERS[program](words)
            continue
        if any(word.startswith("hydra.launcher.executor=") for word in words):  # tests/sweeps/test_clusters.py trains on clusters
            words = ["plan", *words]
        if any(RUN.search(word) or word == "latest" for word in words):
            start = next((start for start in BEFORE if " ".join(words).startswith(start)), None)
            for line in BEFORE.get(start or "", ()):
                assert call(*shlex.split(line), *ADDED["train"])[0] == 0
            words = named(words, [run["id"] for run in json.loads(call("runs", "--json", "--limit", "2")[1])])
        code, out, err = call(*(words if command.whole else less(words)))
        assert code in CODES.get(words[0] if words else "", (0,)), (command.words, out, err)
        printed = [masked(line) for line in [*out.splitlines(), *err.splitlines()]]
        for line in command.output:
            assert any(follows(masked(line), words) for words in printed), (line, out, err)


def named(words: list[str], runs: list[str]) -> list[str]:
    """The words with the ids of the latest runs in the place of those of the page."""
    typed = [*dict.fromkeys(found[:8] for word in words for found in RUN.findall(word))]
    now = dict(zip(typed, runs, strict=False))
    return [RUN.sub(lambda found: now[found[0][:8]][: len(found[0])], word) for word in words]


def less(words: list[str]) -> list[str]:
    """The words of a command that trains for three steps."""
    for pattern, fewer in FEWER:
        words = [pattern.sub(fewer, word) for word in words]
    added = ADDED.get(words[0] if words and words[0] in VERBS else "train", ())
    return [*words, *(word for more in added if more.split()[0] not in words for word in more.split())]


def masked(line: str) -> list[str]:
    """The words of a line of output, without ids."""
    return RUN.sub("ID", line).split()


def follows(wanted: list[str], words: list[str]) -> bool:
    """Whether the words that a page has of a line stand in it in this order."""
    left = iter(words)
    return all(word in left for word in wanted)


def check_extras(words: list[str]) -> None:
    """``pip install 'dlrun[extra]'`` names extras that there are, or what is no part of dlrun."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {extra for word in words for found in re.findall(r"(?:dlrun|\.)\[(.*)\]", word) for extra in found.split(",")}
    assert words[0] == "install"
    assert extras <= project["optional-dependencies"].keys()


def targets() -> set[str]:
    """The targets of the Makefile."""
    lines = re.findall(r"^([a-z -]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    return {name for line in lines for name in line.split()}


def check_target(words: list[str]) -> None:
    """``make target`` names one that there is."""
    assert words[0] in targets()


def run_python(words: list[str]) -> None:
    """``python -c TEXT``."""
    assert words[0] == "-c"
    exec(words[1], {})


OTHERS: dict[str, Callable[[list[str]], None]] = {
    "pip": check_extras,
    "make": check_target,
    "python": run_python,
    "chromium": lambda words: None,  # for a picture
    "dask": lambda words: None,  # begins what does not end
    "ray": lambda words: None,
}
