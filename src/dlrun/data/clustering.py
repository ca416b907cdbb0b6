"""Data with classes as data whose rows are put into clusters: the inputs are the targets, and the classes are kept aside.

Shapes: N rows, D numbers of a row.
"""

import math
from dataclasses import replace

import numpy as np

from dlrun.components.tasks import TASKS
from dlrun.data.dataset import Data
from dlrun.errors import DataError


def for_task(data: Data, task: str, clusters: int | None = None) -> Data:
    """The same data as a task takes it: as it is for its own, without its classes for clustering.

    Args:
        clusters: into how many clusters its rows are put; as many as there are classes when not given.

    Raises:
        DataError: the data is for another task.
    """
    if TASKS[task].clusters and TASKS[data.task].clusters:
        return replace(data, clusters=clusters or data.clusters)
    if TASKS[task].clusters:
        return without_classes(data, clusters)
    if data.task != task:
        raise DataError(f"dataset.task={task}: the data is for {data.task}; type dataset.task={data.task}")
    return data


def without_classes(data: Data, clusters: int | None = None) -> Data:
    """The inputs as their own targets, and the classes as what metrics alone are told.

    Raises:
        DataError: the data has no class for each row, or inputs that cannot be targets.
    """
    task = TASKS[data.task]
    if not (task.exclusive or task.two_classes) or task.pixels or data.modality.integral:
        raise DataError(
            f"dataset.task=clustering: clusters are compared with a class for each row of numbers, and {data.name} is "
            f"{data.task.replace('_', ' ')} data; type dataset=clusters or dataset=digits"
        )
    missing = int(np.isnan(data.x).any(tuple(range(1, data.x.ndim))).sum())
    if missing:
        raise DataError(
            f"dataset.task=clustering: {missing:,} rows of {data.name} have missing values, and a model has to give back what "
            "it is given; fill them in, or leave the rows or columns out"
        )
    known = data.y.ravel().astype(np.int64)
    count = clusters or max(len(data.classes), 2)
    width = math.prod(data.shape)
    names = data.features if len(data.features) == width else tuple(f"value {place + 1}" for place in range(width))
    note = f"{data.name}: {data.targets[0]} is compared with {count} clusters, and no model is told of it"
    return Data(
        name=data.name,
        x=data.x,
        y=data.x.reshape(len(data), -1).copy(),
        task="clustering",
        outputs=width,
        features=data.features,
        targets=names,
        known=known,
        clusters=count,
        encoding=data.encoding,
        notes=(*data.notes, note),
        subset=data.subset,
        groups=data.groups,
        time=data.time,
        weights=data.weights,
    )
