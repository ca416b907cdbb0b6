"""Rows that are typed into a config, for a look at numbers of one's own.

Shapes: N rows, D features, K outputs or classes.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dlrun.components.tasks import TASKS
from dlrun.data.dataset import Data, Several
from dlrun.errors import DataError

Row = list[float]


def inline(
    *,
    x: list[Row] | None = None,
    y: list[float] | list[Row] | None = None,
    task: Literal["regression", "binary", "multiclass", "multilabel"] = "regression",
    classes: Several | None = None,
) -> Data:
    """The rows as they are typed.

    Args:
        x: N rows of D numbers.
        y: a target for each row: a number or K numbers (regression), 0 or 1 (binary), a class from 0 (multiclass), or K times 0
            or 1 (multilabel).
        task: what is to be learnt.
        classes: how many there are in multiclass; the largest in y and one more when not given.

    Raises:
        DataError: x or y is missing, rows have different lengths, or y does not fit the task.
    """
    if x is None or y is None:
        raise DataError("dataset=inline: needs rows and targets, such as 'dataset.x=[[0,1],[1,0]]' 'dataset.y=[0,1]'")
    if len(x) != len(y):
        raise DataError(f"dataset.y: has {len(y)} targets, and dataset.x has {len(x)} rows; give a target to every row")
    inputs = _matrix("x", x)
    targets = _matrix("y", [each if isinstance(each, list) else [each] for each in y])
    names = tuple(f"x{place + 1}" for place in range(inputs.shape[1]))
    if not TASKS[task].exclusive:
        outputs = tuple(f"y{place + 1}" for place in range(targets.shape[1])) if targets.shape[1] > 1 else ("y",)
        labels = ("0", "1") if TASKS[task].two_classes else outputs if TASKS[task].classes else ()
        return Data("inline", inputs, targets, task, len(outputs), names, outputs, labels)
    numbers = targets.ravel().astype(np.int64)
    if targets.shape[1] != 1 or not (numbers == targets[:, 0]).all():
        raise DataError("dataset.y: task multiclass takes one whole number for each row; for others type dataset.task=regression")
    count = classes or max(2, int(numbers.max()) + 1)
    return Data("inline", inputs, numbers, task, count, names, ("y",), tuple(map(str, range(count))))


def _matrix(name: str, rows: list[Row]) -> NDArray[np.float64]:
    lengths = sorted({len(row) for row in rows})
    if len(lengths) != 1 or not lengths[0]:
        raise DataError(f"dataset.{name}: its rows have {' and '.join(map(str, lengths)) or 'no'} numbers; give each as many")
    return np.array(rows, dtype=np.float64)
