"""A Sphinx extension: writes a page for each group of conf/ into docs/catalogue, from the registry that ``dlrun show`` reads."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from dlrun import registry
from dlrun.cli.show import explained
from dlrun.suggestions.values import show

WHAT = {
    "activation": "What stands between the layers of a network.",
    "claim": "Statements about training that `dlrun claims` tests; [Claims about training, tested](../claims.md) has verdicts.",
    "dataset": "What is learnt. [Your own table](../data.md) tells how files are read, and how rows are split.",
    "experiment": "Named sets of changes to all other groups.",
    "logger": "What shows and keeps the course of a training. [Loggers](../loggers.md) has a table of them.",
    "loss": "What training makes small. Without one the task's own is taken: `mse`, `bce_with_logits`, `cross_entropy`.",
    "model": "The network, as a list of layers.",
    "optimizer": "How a gradient becomes a step.",
    "regularizer": "What works against overfitting: penalties, limits, noise, and stopping early.",
    "scheduler": "The learning rate over the steps of a training.",
    "trainer": "How long to train, in which batches, and where.",
}
LISTED = ("claim", "experiment")  # groups whose options are shown as files, since their keys are no hyperparameters


def setup(app: Sphinx) -> dict[str, Any]:
    """Write the pages before Sphinx looks for what it has to read."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir) / "catalogue"))
    return {"parallel_read_safe": True}


def write(folder: Path) -> None:
    """Write the pages; those that stay as they were are left alone, so that Sphinx does not read them again."""
    folder.mkdir(exist_ok=True)
    pages = {f"{group}.md": page(group) for group in registry.groups()} | {"index.md": index()}
    for stale in {file.name for file in folder.iterdir()} - pages.keys():
        (folder / stale).unlink()
    for name, text in pages.items():
        file = folder / name
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


def index() -> str:
    """The groups, and the settings that stand in no group."""
    lines = ["# Catalogue", ""]
    lines += ["All that can be selected, and every setting, with its default. These pages are made of the files in `conf/`,"]
    lines += ["as is what `dlrun ls` and `dlrun show` print.", "", "| group | options | what |", "|---|---:|---|"]
    lines += [f"| [{group}]({group}.md) | {len(registry.options(group))} | {WHAT[group]} |" for group in registry.groups()]
    lines += ["", "## Settings without a group", "", "| key | default | meaning |", "|---|---|---|"]
    lines += [f"| {code(key)} | {code(show(value))} | {plain(said)} |" for key, value, said in roots()]
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", "", *registry.groups(), "```", ""])


def roots() -> Iterator[tuple[str, Any, str]]:
    """The keys of config.yaml, each with its value and the comment above it."""
    said: list[str] = []
    content = registry.read(registry.root() / "config.yaml")
    for line in (registry.root() / "config.yaml").read_text(encoding="utf-8").splitlines():
        key = line.partition(":")[0]
        if line.startswith("# "):
            said.append(line[2:])
        elif key in registry.root_keys():
            yield key, content[key], " ".join(said)
        if not line.startswith("#"):
            said = []


def page(group: str) -> str:
    """One group: each of its options under a heading."""
    lines = [f"# {group}", "", WHAT[group], ""]
    if group == registry.CLAIM:
        lines += ["`dlrun claims NAME` tests one."]
    elif registry.is_set(group):
        lines += [f"`{group}=[NAME,NAME]` selects several, `{group}=[]` none."]
    else:
        lines += [f"`{group}=NAME` selects one."]
    if chosen := registry.defaults()[group]:
        lines += [f"Without a word it is `{', '.join(chosen)}`."]
    for name in registry.options(group):
        lines += ["", *option(group, name)]
    return "\n".join([*lines, ""])


def option(group: str, name: str) -> Iterator[str]:
    """One option: what its file says of it, its keys, and where it comes from."""
    found = explained(group, name)
    yield from (f"## {name}", "")
    yield from ("\\\n".join(map(sentence, found["text"])), "")
    file = registry.path(group, name)
    if group in LISTED:
        rows = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        yield from ("```yaml", *rows, "```", "")
    elif found["parameters"]:
        yield from ("| key | default | allowed | meaning |", "|---|---|---|---|")
        for row in found["parameters"]:
            yield f"| {code(row['key'])} | {code(show(row['default']))} | {plain(row['allowed'])} | {plain(row['meaning'])} |"
        yield ""
    target = registry.load_option(group, name).get("_target_")
    yield f"Source: {code(f'conf/{group}/{file.name}')}" + (f", {code(target)}" if target else "")


def sentence(line: str) -> str:
    """A line of a file's header; formulas are code."""
    formula = line.removeprefix("Formula: ")
    return plain(line) if formula == line else f"Formula: {code(formula)}"


def plain(text: str) -> str:
    """Text in which no character means anything to Markdown; papers are links."""
    marked = re.sub(r"([\\`*_{}\[\]<>()#+~|$^])", r"\\\1", text)
    return re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", marked)


def code(text: str) -> str:
    """Text as code in a cell of a table."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{text.replace('|', chr(92) + '|')}{fence}"
