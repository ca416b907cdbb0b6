"""A network that cannot learn says so, with the figures of its layers."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dlrun import registry
from dlrun.cli.main import main
from dlrun.comparison.symptoms import CLAIMS, SAID, symptoms, told


@dataclass
class Ran:
    diagnostics: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float | None] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)


def kinds(**given: Any) -> list[str]:
    return [found.kind for found in symptoms(Ran(**given))]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"diagnostics": {"dead_units": [0.1, 0.49], "saturation": [0.3, 0.8]}}, []),
        ({"diagnostics": {"dead_units": [0.1, 0.5], "saturation": [0.3, 1.0]}}, ["dead"]),
        ({"diagnostics": {"dead_units": [0.0, 0.0], "saturation": [0.95, 0.1]}}, ["saturated"]),
        ({"diagnostics": {"gradient_norm_at_start": [0.9e-5, 1e-3, 0.1]}}, ["vanished"]),
        ({"diagnostics": {"gradient_norm_at_start": [1.1e-5, 1e-3, 0.1]}}, []),
        ({"diagnostics": {"gradient_norm_at_start": [0.0]}}, []),  # one layer
        ({"diagnostics": {"gradient_norm_at_start": [None, 0.1]}}, ["vanished"]),  # not finite
        ({"metrics": {"train/r2": 0.01}}, ["constant"]),
        ({"metrics": {"train/r2": 0.1}}, []),
        ({"metrics": {"train/balanced_accuracy": 0.11}, "data": {"classes": 10, "sizes": {"train": 1000}}}, ["constant"]),
        ({"metrics": {"train/balanced_accuracy": 0.2}, "data": {"classes": 10, "sizes": {"train": 1000}}}, []),
        (
            {"metrics": {"train/balanced_accuracy": 0.5, "train/auroc": 0.51}, "data": {"classes": 2, "sizes": {"train": 240}}},
            ["constant"],
        ),
        (
            {"metrics": {"train/balanced_accuracy": 0.5, "train/auroc": 0.9}, "data": {"classes": 2, "sizes": {"train": 240}}},
            [],
        ),  # one threshold
        ({"metrics": {"train/balanced_accuracy": 0.56}, "data": {"classes": 2, "sizes": {"train": 240}}}, ["constant"]),
        ({"metrics": {"train/balanced_accuracy": 0.56}, "data": {"classes": 2, "sizes": {"train": 2400}}}, []),
        ({"metrics": {"train/balanced_accuracy": 0.5}}, []),  # of an earlier version: the classes are not known
        ({}, []),
    ],
)
def test_limits(given: dict[str, Any], expected: list[str]) -> None:
    assert kinds(**given) == expected


def test_a_table_counts_them_by_row() -> None:
    dead, fine = Ran({"dead_units": [1.0]}), Ran({"dead_units": [0.0]})
    runs = [("lr=1", dead), ("lr=1", dead), ("lr=0.1", dead), ("lr=0.1", fine), ("lr=0.01", fine)]
    (line,) = told(runs)
    assert line.startswith("units died: 3 runs (2 of 2 in lr=1, 1 of 2 in lr=0.1); ")
    assert told([("lr=0.01", fine)]) == []


def test_the_claims_that_are_named_exist() -> None:
    assert set(CLAIMS) <= set(SAID)
    assert set(CLAIMS.values()) <= set(registry.options("claim"))


def test_ten_classes_with_all_units_dead(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["dataset=digits", "optimizer=sgd", "optimizer.lr=1", f"output_dir={tmp_path}"]
    assert main(line) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "units died: " in said
    assert "100% of those of hidden layer 2 give the same output for every row" in said
    assert "nothing was learned: on training rows balanced accuracy is 0.100, and that of one class for all rows 0.100" in said
    assert main(["-m", *line, "trainer.epochs=100", "seed=0"]) == 0
    assert "units died: 1 run (1 of 1 in " in capsys.readouterr().out


def test_a_deep_sigmoid_network(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    deep = ["dataset=digits", "model=deep_mlp", "activation=sigmoid", "trainer.epochs=2", f"output_dir={tmp_path}"]
    assert main(deep) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "gradients vanished: at the start their norm was 0.379 in layer 11, and in the layers before 0.0627, 0.00908" in said
    assert main([*deep[:2], "activation=relu", *deep[3:]]) == 0
    assert "vanished" not in capsys.readouterr().out
