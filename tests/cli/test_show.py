"""ls and show, and the curves that show draws."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from dlrun import registry
from dlrun.cli.terminal.drawing import draw, is_curve

Call = Callable[..., tuple[int, str, str]]

OPTIONS = [f"{group}/{name}" for group in registry.groups() for name in registry.options(group)]


def test_ls_has_a_line_for_each_option(call: Call) -> None:
    code, out, _ = call("ls")
    assert code == 0
    assert [line.split()[0].replace("=", "/") for line in out.splitlines()] == OPTIONS
    code, out, _ = call("ls", "optimizer", "loss")
    assert code == 0
    assert len(out.splitlines()) == len(registry.options("optimizer")) + len(registry.options("loss"))


def test_ls_of_an_own_folder(call: Call, tmp_path: Path) -> None:
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "mine.yaml").write_text("# Mine alone.\n_target_: os.getcwd\nlr: 1\n")
    code, out, _ = call("ls", "optimizer", "-cd", str(tmp_path))
    assert code == 0
    assert "optimizer=mine" in out
    code, out, _ = call("show", "-cd", str(tmp_path), "optimizer/mine")
    assert code == 0
    assert "Mine alone." in out


@pytest.mark.parametrize("option", OPTIONS)
def test_show_explains_every_option(call: Call, option: str) -> None:
    code, out, err = call("show", option)
    assert (code, err) == (0, "")
    group, name = option.split("/")
    said = out.replace("\n", " ")
    assert registry.summary(group, name).split()[0] in said
    for key in registry.load_option(group, name):
        assert key in said or key in ("_target_", "defaults")
    assert ("derivative" in out and any(map(is_curve, out))) == (group == "activation")
    assert all(len(line) <= 100 or "the file is" in line for line in out.splitlines())


def test_show_names_ranges(call: Call) -> None:
    _, out, _ = call("show", "elu", "adamw")
    assert "a number of at least 0" in out
    assert "a number above 0" in out
    assert "optimizer.weight_decay" in out
    _, out, _ = call("show", "dropout")
    assert "regularizer.dropout.p" in out


def test_show_explains_what_options_share(call: Call) -> None:
    _, out, _ = call("show", "dataset/xor", "model/mlp")
    assert "a number in [0, 1)" in out
    assert "one of auto, value, logit" in out.replace("\n", " ")
    for key in ("validation", "test", "folds", "fold", "stratify", "standardize"):
        assert len(next(line for line in out.splitlines() if line.startswith(f"dataset.{key} ")).split()) > 4
    _, out, _ = call("show", "trainer/default")
    assert "\notherwise" not in out


def test_curve_has_the_shape_of_its_function() -> None:
    xs = [i / 50 - 2 for i in range(201)]
    lines = draw(xs, [abs(x) for x in xs], width=42, height=13)
    assert len(lines) == 13
    assert lines[0].startswith("2 ")
    assert lines[-2].startswith("0 ")
    assert lines[-1].split() == ["-2", "2"]
    rows = [[column for column, character in enumerate(line[2:]) if is_curve(character)] for line in lines[:-1]]
    assert all(rows), "the curve has no holes"
    assert min(rows[0]) == 0
    assert max(rows[0]) == 39
    assert {19, 20} & set(rows[-1])
    assert all(abs(min(row) + max(row) - 39) <= 1 for row in rows), "the curve is symmetric"
    assert all(len(line) == 42 for line in lines)


def test_curve_leaves_gaps_and_takes_constants() -> None:
    xs = [i / 10 - 1 for i in range(21)]
    gap = draw(xs, [x if x > 0 else math.nan for x in xs], width=30, height=6, unicode=False)
    assert not any(is_curve(character) for line in gap for character in line[:12])
    flat = draw(xs, [1.0] * 21, width=30, height=6, unicode=False)
    assert sum(map(is_curve, "".join(flat))) == 28
    assert flat[0].startswith("2 ")
    assert all(map(str.isascii, flat))
    assert not any(is_curve(character) for line in draw(xs, [math.nan] * 21, width=30, height=6) for character in line)
