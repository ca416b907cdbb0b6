"""Predictions as columns with names, for tables and files.

Shapes: n rows, K outputs or classes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlrun.components.tasks import Task
from dlrun.errors import DataError

Columns = dict[str, NDArray[Any]]


def quantities(task: Task, names: Sequence[str], levels: Sequence[object]) -> list[str]:
    """What the numbers that ``Run.predict`` gives for a row are called.

    Args:
        names: of the classes or labels, or of the targets of a regression.
        levels: of the quantiles, where a regression predicts some; then they are what is predicted.

    Raises:
        DataError: a prediction is no list of numbers: masks, embeddings.
    """
    if task.pixels or task.members:
        raise DataError(f"predict: what is predicted of {task.name} data is no table; write it as an array with -o FILE.npy")
    if task.classes:
        return [f"probability {name}" for name in (names[1:2] if task.two_classes else names)]
    return [f"predicted {name}" for name in (levels or names)]


def columns(
    task: Task, names: Sequence[str], levels: Sequence[object], found: NDArray[Any], thresholds: Sequence[float] = (0.5,)
) -> Columns:
    """Predictions [n] or [n, K] as columns: of classes that exclude each other ``predicted`` is the likeliest one, of two the
    second where its probability is above the threshold; labels are 0 and 1, each with its threshold or all with one.
    """
    above = np.resize(np.array(thresholds), len(names))
    called, numbers = quantities(task, names, levels), found.reshape(len(found), -1)
    out: Columns = {}
    if task.two_classes:
        out["predicted"] = np.array(names, dtype=object)[(numbers[:, 0] > above[0]).astype(int)]
    elif task.exclusive:
        out["predicted"] = np.array(names, dtype=object)[numbers.argmax(1)]
    elif task.classes:
        out |= {f"predicted {name}": (numbers[:, place] > above[place]).astype(int) for place, name in enumerate(names)}
    return out | {name: numbers[:, place] for place, name in enumerate(called)}


def spreads(task: Task, names: Sequence[str], levels: Sequence[object], found: NDArray[Any]) -> Columns:
    """Standard deviations [n] or [n, K] as columns: ``sd`` and what they are the deviations of."""
    called, numbers = quantities(task, names, levels), found.reshape(len(found), -1)
    return {f"sd {name.removeprefix('predicted ')}": numbers[:, place] for place, name in enumerate(called)}


def levels_of(task: Task, config: Mapping[str, Any], outputs: int, targets: int) -> Sequence[object]:
    """The levels of the quantiles that a run predicts; none where its outputs are its targets."""
    tau = (config.get("loss") or {}).get("tau")
    return tau if not task.classes and isinstance(tau, list) and outputs != targets else ()
