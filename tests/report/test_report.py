"""``dlrun report``: what the file has for each kind of task, and what it must not have."""

import base64
import hashlib
import json
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from dlrun.comparison.groups import comparison
from dlrun.report.charts.compared import differences, results
from dlrun.report.html.page import MOST_SHOWN, Part, render
from dlrun.report.sections import Section
from dlrun.report.words import answer, question
from pages import Page

Call = Callable[..., tuple[int, str, str]]
SHORT = ("trainer.epochs=2", "logger=none")
EVERY = {"results", "differences", "curves", "gradients"}
TASKS = {
    "kept": ((), {"boundary", "confusion", "reliability", "roc", "means", "heatmap", "sensitivity"}),
    "iris": (("dataset=iris", "activation=relu,tanh"), {"confusion", "reliability", "roc"}),
    "diabetes": (("dataset=diabetes", "optimizer.lr=0.001,0.01,0.1"), {"sensitivity", "predicted", "residuals"}),
    "shapes": (
        ("dataset=shapes", "model=segmenter", "dataset.rows=40", "loss=dice,cross_entropy"),
        {"masks", "confusion", "reliability"},
    ),
    "multilabel": (("dataset=multilabel", "activation=relu,tanh"), {"reliability", "roc"}),
    "quantiles": (("dataset=heteroscedastic", "loss=quantile", "loss.tau=[0.1,0.5,0.9]", "optimizer=adam,sgd"), set()),
}


def titles(names: set[str], page: Page) -> set[str]:
    """Which of the names have a chart: by a word of the headings."""
    words = {
        "results": "of each group",
        "differences": "Paired differences",
        "curves": "Learning curves",
        "gradients": "Gradient norms",
        "boundary": "Decision boundary",
        "confusion": "Confusion matrix",
        "reliability": "Reliability",
        "roc": "ROC",
        "means": "by each setting",
        "heatmap": " by optimizer.lr and activation",
        "sensitivity": " against optimizer.lr",
        "predicted": "Predicted against true",
        "residuals": "Residuals",
        "masks": "Images, true and predicted",
    }
    assert names <= words.keys()
    return {name for name, word in words.items() if any(word in heading for heading in page.texts["h3"])}


def scales(part: Any) -> list[dict[str, Any]]:
    """All scales of a specification."""
    if isinstance(part, dict):
        own = [part["scale"]] if isinstance(part.get("scale"), dict) else []
        return own + [scale for value in part.values() for scale in scales(value)]
    return [scale for value in part for scale in scales(value)] if isinstance(part, list) else []


@pytest.mark.parametrize("task", [pytest.param(task, marks=[pytest.mark.slow] * (place % 2)) for place, task in enumerate(TASKS)])
@pytest.mark.usefixtures("unbundled")
def test_a_sweep_of_each_task_has_its_charts(
    call: Call, page: Callable[[str], Page], validator: jsonschema.protocols.Validator, kept: str, task: str
) -> None:
    words, charts = TASKS[task]
    assert not words or call("-m", *words, *SHORT, "seed=0,1")[0] == 0
    code, out, err = call("report", "-o", "out.html", *(() if words else (kept,)))
    assert (code, err) == (0, "")
    found = page("out.html")
    assert titles(charts, found) == charts | EVERY
    assert f"{len(found.drawings)} charts" in out
    assert len(found.attributes("data-chart")) == len(found.drawings) == len(found.texts["figcaption"])
    for drawing in found.drawings:
        assert not [*validator.iter_errors(drawing | {"datasets": {}})]
        assert all(drawing["datasets"].values())
        assert not [scale for scale in scales(drawing) if scale.get("type") == "log" and "zero" in scale], "Vega warns of that"
    heads = found.texts["th"]
    assert ("true" in heads) == (task != "shapes"), "an image has no single true class"
    assert any(text.startswith("Which ") for text in found.texts["p"])
    assert any("has the best mean" in text for text in found.texts["p"])
    assert any(text.startswith("We trained ") and "torch" in text for text in found.texts["p"])
    assert all(any(word in text for text in found.texts["dd"]) for word in ("fingerprint", "torch", "--multirun"))
    for name in ("src", "action", "formaction", "srcset", "poster"):
        assert not found.attributes(name)
    assert {href[0] for href in found.attributes("href") if href != "data:,"} <= {"#"}


@pytest.mark.usefixtures("unbundled")
def test_a_run_has_a_report_of_its_own(call: Call, page: Callable[[str], Page], kept: str) -> None:
    run = json.loads(call("runs", "--json", kept)[1])[0]["id"]
    assert call("report", run, kept)[0] == 0
    found = page("report.html")
    assert titles(set(), found) == {"curves", "gradients", "boundary", "confusion", "reliability", "roc"}
    assert "test/accuracy" in found.texts["th"]
    assert run in found.texts["td"]


@pytest.mark.usefixtures("unbundled")
def test_what_a_setting_was_chosen_by_has_a_curve_of_its_own(call: Call, page: Callable[[str], Page]) -> None:
    words = ("dataset=iris", "optimizer=sgd,adam", "optimizer.lr=0.001,0.01,0.1", "tune_over=[optimizer.lr]")
    assert call("-m", *words, "seed=0,1", *SHORT)[0] == 0
    assert call("report")[0] == 0
    found = page("report.html")
    assert titles(set(), found) == EVERY | {"sensitivity", "confusion", "reliability", "roc"}
    assert found.texts["h3"][0] == "validation/accuracy against optimizer.lr"
    assert "These runs chose the value; the table is of others." in found.texts["figcaption"][0]
    rows = found.drawings[0]["datasets"]["rows1"]
    assert {(row["group"], row["x"]) for row in rows} == {(name, x) for name in ("sgd", "adam") for x in (0.001, 0.01, 0.1)}
    assert {"type": "log", "nice": False, "padding": 16} in scales(found.drawings[0])
    assert any("optimizer.lr, tuned or by default, gives the best" in text for text in found.texts["p"])
    assert {"(tuned)", "(default)"} <= {word for drawing in found.drawings for word in str(drawing).replace("'", " ").split()}


def test_the_answer_names_every_group_once_on_these_rows_and_on_new_ones() -> None:
    values = {"a": 0.9, "b": 0.5, "c": 0.88}
    rows = [
        {"activation": name, "seed": seed, "test/accuracy": mean + 0.02 * (seed % 5) + 0.01 * (seed % 3) * (name == "c")}
        | {"test/rows": 100.0, "train/rows": 100.0}
        for name, mean in values.items()
        for seed in range(10)
    ]
    compared = tuple(comparison(rows, "test/accuracy", higher_is_better=True))
    said = answer(Section("moons", "test/accuracy", (), compared))
    assert question(Section("moons", "test/accuracy", (), compared)).startswith("Which activation gives the best test accuracy")
    assert said[0].startswith("a has the best mean test accuracy: 0.94 (10 runs")
    assert {item.group.label.partition("=")[2]: item.verdict.word for item in compared if item.verdict}["b"] == "worse"
    assert "Worse than it: b." in said or "Worse than it: c and b." in said


def test_the_best_of_yours_is_not_called_the_best_where_a_baseline_is_better() -> None:
    means = {("a", ""): 0.8, ("b", ""): 0.5, ("", "linear"): 0.9}
    rows = [
        {"activation": name, "baseline": other, "seed": seed, "test/accuracy": mean + 0.01 * seed}
        for (name, other), mean in means.items()
        for seed in range(3)
    ]
    compared = tuple(comparison(rows, "test/accuracy", higher_is_better=True))
    said = answer(Section("moons", "test/accuracy", (), compared))[0]
    assert said.startswith("a has the best mean test accuracy of yours: 0.81 (")
    alone = tuple(comparison([row for row in rows if row["activation"] != "b"], "test/accuracy", higher_is_better=True))
    assert " has a mean test accuracy: 0.81 (" in answer(Section("moons", "test/accuracy", (), alone))[0]


def test_the_answer_is_short_however_many_groups_there_are() -> None:
    rows = [
        {"activation": f"a{place:03}", "seed": seed, "test/accuracy": (0.3 if seed == 0 else 0.9) + 0.001 * seed + place / 1e5}
        for place in range(120)
        for seed in range(10)
    ]
    section = Section("moons", "test/accuracy", (), tuple(comparison(rows, "test/accuracy", higher_is_better=True)))
    stuck = [sentence for sentence in answer(section) if "Stuck runs of" in sentence or "more groups" in sentence]
    assert len(stuck) == 9
    assert stuck[-1] == "The same holds for 112 more groups; the table has them."
    found = Page(render("a", [Part(section, {}, ())], None, {}, ""))
    (table,) = [attrs for tag, attrs in found.tags if tag == "table"]
    assert table["class"] == "results first", "the style sheet hides what lies behind the first rows"
    assert f"tr:nth-child(n+{MOST_SHOWN + 1})" in found.source
    assert "Show all 120 rows" in found.texts["button"]
    few = Page(render("a", [Part(replace(section, compared=section.compared[:MOST_SHOWN]), {}, ())], None, {}, ""))
    assert not few.attributes("aria-controls")


def test_a_caption_says_that_not_every_run_has_a_dot() -> None:
    rows = [{"activation": name, "seed": seed, "test/r2": seed / 150} for name in ("a", "b") for seed in range(150)]
    compared = comparison(rows, "test/r2", higher_is_better=True)
    for chart in (results(compared, "test/r2"), differences(compared, "test/r2")):
        assert "Dots are of the first 100 of 150 runs." in chart.caption
    few = comparison([row for row in rows if row["seed"] < 100], "test/r2", higher_is_better=True)
    assert "Dots" not in results(few, "test/r2").caption


@pytest.mark.usefixtures("unbundled")
def test_one_seed_has_no_intervals_and_no_marks_for_them(call: Call, page: Callable[[str], Page]) -> None:
    assert call("-m", "dataset=iris", "optimizer.lr=0.001,0.01,0.1", "seed=0", *SHORT)[0] == 0
    assert call("report")[0] == 0
    for drawing in page("report.html").drawings[:3]:
        known = {key for rows in drawing["datasets"].values() for row in rows for key in row}
        assert "low" not in known
        assert '"low"' not in json.dumps([layer["encoding"].get("x", {}) for layer in drawing["layer"] if "encoding" in layer])


@pytest.mark.usefixtures("unbundled")
def test_several_datasets_are_parts_of_one_page_with_ranks_over_them(
    call: Call, page: Callable[[str], Page], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dlrun.report.figures.drawn", lambda chart, suffix: suffix.encode())
    assert call("-m", "dataset=iris,wine,xor", "activation=relu,tanh", "seed=0", "baseline=none", *SHORT)[0] == 0
    code, out, _ = call("report", "--figures", "charts")
    found = page("report.html")
    assert found.texts["h2"][:3] == ["iris: test/accuracy", "wine: test/accuracy", "xor: test/accuracy"]
    assert any("average ranks over 3 datasets" in line for line in found.texts["li"])
    assert {"#part-1", "#part-2", "#part-3"} <= {*found.attributes("href")}
    assert len({*found.attributes("data-chart")}) == len(found.drawings)
    assert found.texts["h3"][-1] == "Average ranks over 3 datasets"
    assert "#over" in found.attributes("href")
    assert {file.name for file in (folder / "charts").glob("ranks*")} == {"ranks.svg", "ranks.png", "ranks.pdf"}
    assert (code, f"report.html: {len(found.drawings)} charts" in out) == (0, True)
    said = call("plot", "ranks")[1]
    assert said.startswith("average ranks over 3 datasets, 1 is best\n")
    assert said.count("│") == 2, "two groups on three datasets are never told apart"
    assert call("plot", "ranks", "-o", "ranks.svg")[:2] == (0, "ranks.svg\n")


@pytest.mark.usefixtures("unbundled")
def test_the_commands_train_the_same_runs(call: Call, page: Callable[[str], Page]) -> None:
    assert call("-m", "dataset=iris", "activation=relu,tanh", "dataset.folds=2", "seed=3,1,2", *SHORT)[0] == 0
    assert call("report")[0] == 0
    commands = page("report.html").texts["code"]
    assert len(commands) == 2
    for command in commands:
        assert "6 runs: 6 done, 6 of them taken over" in call(*shlex.split(command)[1:], "logger=lines")[1]


HOSTILE = ["<script>alert(1)</script>", '=HYPERLINK("http://x","y")', "\x1b[31mred", "</script><img src=x onerror=alert(2)>"]


@pytest.mark.usefixtures("unbundled")
def test_names_of_a_file_are_text_and_nothing_else(call: Call, page: Callable[[str], Page], folder: Path) -> None:
    target = "y<b>&amp;"
    rows = "".join(f"{i % 7},{i % 5},{i},{i % 3},{'<u>yes</u>' if i % 2 else '=no'}\n" for i in range(40))
    head = ",".join('"' + name.replace('"', '""') + '"' for name in [*HOSTILE, target])
    (folder / "<b>.csv").write_text(f"{head}\n{rows}")
    words = ("dataset=csv", 'dataset.path="<b>.csv"', f'dataset.target="{target}"', 'name="<i>name"')
    assert call("-m", *words, "activation=relu,tanh", "seed=0,1", *SHORT)[0] == 0
    assert call("report")[0] == 0
    found = page("report.html")
    assert {tag for tag, _ in found.tags}.isdisjoint({"b", "u", "i", "img", "iframe", "object", "a[onerror]"})
    assert not [name for _, attrs in found.tags for name in attrs if name.startswith("on")]
    assert len(found.texts["script"]) == 3
    assert "\x1b" not in found.source
    data = next(text for text in found.texts["script"] if text.startswith('{"charts"'))
    assert not {"<", ">", "&"} & {*data}
    assert "<u>yes</u>" in found.texts["td"]
    assert "dlrun report: <i>name" in found.texts["h1"]
    assert any("<u>yes</u>" in str(drawing) for drawing in found.drawings)
    assert any("<b>.csv" in heading for heading in found.texts["h2"])
    policy = next(attrs["content"] or "" for tag, attrs in found.tags if attrs.get("http-equiv"))
    assert policy.startswith("default-src 'none'")
    scripts = [text for text in found.texts["script"] if text != data]
    hashes = {"sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts}
    assert hashes == {*re.findall(r"'(sha256-[^']+)'", policy)}


def test_the_programs_are_in_the_file_and_charts_in_a_folder(call: Call, folder: Path) -> None:
    assert call("dataset=pairs", "model=embedder", *SHORT)[0] == 0
    assert call("report", "dataset=pairs", "--figures", "charts")[0] == 0
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "vegaEmbed" in text
    assert len(text) < 6e6
    starts = {".svg": b"<svg", ".png": b"\x89PNG", ".pdf": b"%PDF"}
    files = sorted((folder / "charts").iterdir())
    assert {file.stem for file in files} == {"curves", "gradients"}
    assert len(files) == 3 * len({file.stem for file in files})
    assert all(file.read_bytes().startswith(starts[file.suffix]) for file in files)


@pytest.mark.parametrize("library", ["altair", "vl_convert"])
def test_without_the_extra_it_says_what_to_type(call: Call, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    from dlrun.report.charts.base import alt

    alt.cache_clear()
    monkeypatch.setitem(sys.modules, library, None)
    code, _, err = call("report")
    alt.cache_clear()
    assert (code, err.count("\n")) == (2, 1)
    assert f"charts need {library}" in err
    assert "pip install 'dlrun[report]'" in err


def test_what_cannot_be_reported_is_refused(call: Call) -> None:
    assert "type -o out.html" in call("report", "-o", "out.pdf")[2]
    assert "sweep 'latest': not found" in call("report")[2]
    assert "takes -o" in call("report", "--figure", "x")[2]
