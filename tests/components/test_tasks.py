"""Tasks: every one is whole, and nothing else compares their names."""

import re
from pathlib import Path

import numpy as np
import pytest

from dlrun import registry
from dlrun.baselines.estimators import ESTIMATORS
from dlrun.components.tasks import TASKS, Task
from dlrun.data.dataset import Data
from dlrun.engine.measuring.diagnostics import _OF_CLASSES

SOURCE = Path(__file__).parents[2] / "src" / "dlrun"
NAMES = "|".join(TASKS)
COMPARED = re.compile(rf"(==|!=|\bin) *\(?\"({NAMES})\"")  # such as task == "binary", or task in ("binary", ...)
KEYED = re.compile(rf"\"({NAMES})\": ")  # a second table of tasks


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_task_is_whole(task: Task) -> None:
    assert task.served_by(registry.load_option("loss", task.loss)["tasks"])
    assert task.main_metric in task.metrics
    assert task.metrics[task.main_metric].default
    assert set(task.baselines) <= set(ESTIMATORS)
    assert set(task.quick) <= set(task.baselines)
    assert set(task.diagnostics) <= set(_OF_CLASSES)


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_targets_are_as_data_takes_them(task: Task) -> None:
    row = (task.members, 3) if task.members else (1, 2, 2) if task.pixels else (3,)
    outputs = task.outputs or 2
    y = task.target(4, outputs, task.pixels_of(row))
    assert y.ndim == task.target_axes
    features = () if task.members else tuple("abc"[: row[0]])
    data = Data("", np.zeros((4, *row)), y, task.name, outputs, features, ())
    assert data.labels is None or data.labels.shape == (4,)
    with pytest.raises(Exception, match=f"must be .* for task {task.name}"):
        Data("", np.zeros((4, *row)), y[..., None], task.name, outputs, features, ())


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda file: str(file.relative_to(SOURCE)))
def test_names_of_tasks_are_compared_nowhere(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert [found.group() for found in COMPARED.finditer(text)] == []
    tables = {"metrics/__init__.py"}  # the metrics of each task
    if not str(file).endswith(tuple(tables)):
        assert [found.group() for found in KEYED.finditer(text)] == []
